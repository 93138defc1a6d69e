r"""Scores of all entities that need not be held at once.

A loss over all entities needs of a matrix ``[B, E]`` of scores only sums over
its rows, and some of its values. Here the matrix is made in chunks of
entities. Each is used while it is in a CPU's cache, or in a GPU's memory, and
is forgotten then. Where all of it is small, the chunks are kept, so that
nothing is computed twice.

Letters: B queries, E entities, C entities of a chunk, K pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dsom_pyg.processes import Shard
from dsom_pyg.query_index import Pairs, SampledCandidates
from dsom_pyg.scores.chunks import (
    NEG_INF,
    Highest,
    InChunks,
    Sums,
    added,
    exponents,
    finite_or_0,
)
from dsom_pyg.scores.sources import (
    Compare,
    Compared,
    Matrix,
    Products,
    ScoreSource,
    Term,
    WeightedSum,
)
from dsom_pyg.scores.tables import Basis, EntityTable, once, rows_at


class Scores:
    r"""Scores ``[B, E]``, made in chunks of entities.

    They are sums of products of coordinates ``[B, k]`` with bases ``[E, k]``,
    and gradients flow into both. A function of the scores does not walk back
    through them itself: it leaves its part of their gradient here. One walk
    adds the parts of all functions up. So the scores are made twice at most,
    however many losses there are.

    Where several processes share the entities, each makes the scores of its
    own, and what is made of all of them is joined.

    Args:
        terms: Coordinates and basis of each sum.
        precision: Of the products.
        candidates: The scores are those of these entities alone, each less
            the logarithm of its probability.
    """

    def __init__(
        self,
        terms: Sequence[tuple[Tensor, Basis]],
        precision: str = 'fp32',
        candidates: SampledCandidates | None = None,
    ) -> None:
        log_p = None
        if candidates is not None:
            ids, log_p = candidates.ids, candidates.log_p
            terms = [(x, _some_rows(y, ids)) for x, y in terms]
        plain, tensors, shards = [], [], set()
        for coordinates, basis in terms:
            table = basis if isinstance(basis, EntityTable) else None
            shards.add(table.shard if table else None)
            rows = table.matrix if table else basis
            assert isinstance(rows, Tensor)
            of_table = table.gradient if table else None
            plain.append(Term(coordinates.detach(), rows.detach(), of_table))
            tensors += [coordinates, table.token if table else rows]
        [shard] = shards
        self.source: ScoreSource = Products(plain, precision, shard, log_p)
        self.token: Tensor = _WalkBack.apply(self.source, *tensors)
        if self.token.requires_grad:
            self.source.keep_more()

    @classmethod
    def of(cls, matrix: Tensor) -> Scores:
        r"""The scores of a matrix ``[B, E]`` that is there."""
        return cls._made_of(Matrix(matrix.detach()), matrix)

    @classmethod
    def compared(
        cls,
        query: Tensor,
        basis: Basis,
        compare: Compare,
        compare_all: Compare,
        width: int,
        candidates: SampledCandidates | None = None,
    ) -> Scores:
        r"""Scores that are any function of a query ``[B, k]`` and of a row of
        the basis ``[E, k']``, which all entities share.

        Args:
            query: What is compared.
            basis: A row for each entity.
            compare: From queries and rows, whose leading axes are broadcast,
                to scores.
            compare_all: From queries ``[B, k]`` and rows ``[C, k']`` to
                ``[B, C]``; a gradient flows through it.
            width: How many numbers that holds for each pair.
            candidates: As of all scores.
        """
        log_p = None
        if candidates is not None:
            ids, log_p = candidates.ids, candidates.log_p
            basis = _some_rows(basis, ids)
        table = basis if isinstance(basis, EntityTable) else None
        rows = table.matrix if table else basis
        assert isinstance(rows, Tensor)
        term = Term(
            query.detach(), rows.detach(), table.gradient if table else None
        )
        source = Compared(term, compare, compare_all, width, log_p)
        out = cls._made_of(source, query, table.token if table else rows)
        if out.token.requires_grad:
            source.keep_more()
        return out

    @classmethod
    def _made_of(cls, source: ScoreSource, *tensors: Tensor) -> Scores:
        out = cls.__new__(cls)
        out.source = source
        out.token = _WalkBack.apply(source, *tensors)
        return out

    @property
    def shape(self) -> tuple[int, int]:
        r"""B and E."""
        rows, width = self.source.shape
        shard = self.source.shard
        return rows, width if shard is None else shard.size

    def beside(self, other: Scores) -> Scores:
        r"""The same scores without gradient, made by the same processes for
        the same entities as other ones.
        """
        mine, theirs = self.source.shard, other.source.shard
        out = self.detach()
        if theirs is None:
            return out if mine is None else Scores.of(out.dense())
        if mine is None:
            out.source = self.source.share(theirs)
        elif mine != theirs:
            raise ValueError(f'scores of {mine.size} entities, and of others')
        return out

    @property
    def dtype(self) -> torch.dtype:
        r"""Of the scores."""
        return self.source.dtype

    @property
    def device(self) -> torch.device:
        r"""Where the scores are made."""
        return self.source.device

    @property
    def requires_grad(self) -> bool:
        r"""Whether a gradient flows back from here."""
        return self.token.requires_grad

    def detach(self) -> Scores:
        r"""The same scores without gradient."""
        out = type(self).__new__(type(self))
        out.source, out.token = self.source, self.token.detach()
        return out

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        r"""The entities and the scores ``[B, C]`` of each chunk, without
        gradient. They must not be changed, and may be overwritten when a
        gradient flows back. Of several processes each has entities of its
        own, counted from 0.
        """
        for some in self.source.slices():
            yield some, self.source.chunk(some)

    def dense(self) -> Tensor:
        r"""All scores at once, ``[B, E]``."""
        out: Tensor = _Dense.apply(self.token, self.source)
        return out

    def at(self, pairs: Pairs, walk: bool = False) -> Tensor:
        r"""The scores ``[K]`` of pairs of query and entity.

        Args:
            pairs: The pairs.
            walk: Read them where all scores are made, so that they are equal
                to the last bit. Otherwise those of pairs alone may be made.
        """
        some = InChunks(pairs.row, pairs.tail, self.source)
        out: Tensor = _At.apply(self.token, self.source, some, walk)
        return out

    def logsumexp(self, without: Pairs | None = None) -> Tensor:
        r"""Log-sum-exp over all entities, or over those that are in none of
        some distinct pairs, ``[B]``.
        """
        pairs = None
        if without is not None:
            pairs = InChunks(without.row, without.tail, self.source)
        out: Tensor = _LogSumExp.apply(self.token, self.source, pairs)
        return out

    def among(self, candidates: SampledCandidates) -> Scores:
        r"""The scores of these entities alone, each less the logarithm of its
        probability, without gradient.
        """
        source = self.source
        if isinstance(source, Products):
            terms = [
                (x.coordinates, x.whole(source.shard)) for x in source.terms
            ]
            return Scores(terms, source.precision, candidates).detach()
        if isinstance(source, Compared):
            basis = source.term.whole(source.shard)
            how = source.compare, source.compare_all, source.wide, candidates
            query = source.term.coordinates
            return Scores.compared(query, basis, *how).detach()
        if isinstance(source, WeightedSum):
            bare = SampledCandidates(
                candidates.ids, torch.zeros_like(candidates.log_p)
            )
            token = source.weights
            parts = [Scores._made_of(x, token) for x in source.sources]
            parts = [part.among(bare) for part in parts]
            some = weighted_sum(source.weights, parts).dense()
        else:
            some = self.detach().dense()[:, candidates.ids]
        return Scores.of(some - candidates.log_p)

    def best(self, count: int) -> tuple[Tensor, Tensor]:
        r"""The highest scores of each query and whose they are, ``[B, K]``, K
        at most E, without gradient.
        """
        found = self.source.best
        if count not in found:
            best = Highest(self.source, count)
            for some, chunk in self.source.walk():
                best.add(some, chunk)
            best.join()
            found[count] = best.values, best.ids
        return found[count]

    def softplus(self) -> tuple[Tensor, Tensor]:
        r"""Sums over all entities, ``[B]`` each: of :math:`\log(1 + e^s)`,
        and of the scores.
        """
        out: tuple[Tensor, Tensor] = _Softplus.apply(self.token, self.source)
        return out

    def own(self) -> tuple[Tensor, Shard] | None:
        r"""Of several processes that share the entities, the scores ``[B, C]``
        of those that this one holds, without gradient; :obj:`None` if all
        hold all.
        """
        source = self.source
        if source.shard is None:
            return None
        return source.make(slice(None)), source.shard

    def part(self, entities: slice) -> Tensor:
        r"""The scores of some entities, ``[B, C]``, without gradient."""
        if self.source.shard is not None:
            return self.detach().dense()[:, entities]
        return self.source.make(entities)


def _some_rows(basis: Basis, ids: Tensor) -> Tensor:
    # With gradient.
    return (
        basis.rows(ids)
        if isinstance(basis, EntityTable)
        else rows_at(basis, ids)
    )


def as_scores(scores: Scores | Tensor) -> Scores:
    r"""Scores, also of a matrix ``[B, E]``."""
    return scores if isinstance(scores, Scores) else Scores.of(scores)


def weighted_sum(
    weights: Tensor, parts: Sequence[Scores | Tensor], again: bool = True
) -> Scores:
    r"""Weighted sum ``[B, E]`` of M scores, each ``[B, E]`` and without
    gradient, under weights ``[B, M]`` (Eq. 7), into which a gradient flows.

    Args:
        weights: Of each query and part.
        parts: The scores.
        again: Whether more is to be made of the parts. If not, or if they
            are too large to be kept, no part of products is made alone:
            weights multiply the coordinates of the query.
    """
    if weights.size(1) != len(parts):
        raise ValueError(
            f'got weights of {weights.size(1)} teachers for {len(parts)}'
        )
    sources = [as_scores(part).source for part in parts]
    products = [x for x in sources if isinstance(x, Products)]
    keeps = again and all(source.fits for source in sources)
    if keeps or len(products) < len(sources):
        out = WeightedSum(sources, weights.detach())
        return Scores._made_of(out, weights)
    terms: list[tuple[Tensor, Basis]] = []
    for at, source in enumerate(products):
        for term in source.terms:
            part = term.coordinates * weights[:, at, None]
            terms.append((part, term.whole(source.shard)))
    return Scores(terms, products[0].precision)


class _WalkBack(torch.autograd.Function):
    # Its output is a token that all functions of the scores take, so that
    # autograd comes here when all of them have left their parts.
    @staticmethod
    def forward(ctx: Any, source: ScoreSource, *tensors: Tensor) -> Tensor:
        ctx.source = source
        return tensors[0].new_zeros(())

    @staticmethod
    @once
    def backward(ctx: Any, _: Tensor) -> tuple[Any, ...]:
        return None, *ctx.source.back(ctx.needs_input_grad[1:])


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, source: ScoreSource) -> Tensor:
        ctx.source, ctx.like = source, token
        out = torch.empty(
            source.shape, dtype=source.dtype, device=source.device
        )
        for some, chunk in source.walk():
            out[:, some] = chunk
        return out if source.shard is None else source.shard.whole(out, 1)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if (shard := ctx.source.shard) is not None:
            grad = grad[:, shard.start : shard.stop]

        def part(
            some: slice, chunk: Tensor, out: Tensor | None, last: bool
        ) -> Tensor:
            more = grad[:, some]
            return more.clone() if out is None else out.add_(more)

        ctx.source.parts.append(part)
        return torch.zeros_like(ctx.like), None


class _At(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        source: ScoreSource,
        pairs: InChunks,
        walk: bool,
    ) -> Tensor:
        ctx.source, ctx.pairs, ctx.like = source, pairs, token
        return pairs.read(walk)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        pairs = ctx.pairs
        ctx.source.spots.append(lambda some, out: pairs.add(some, out, grad))
        return torch.zeros_like(ctx.like), None, None, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, source: ScoreSource, without: InChunks | None
    ) -> Tensor:
        sums, change = Sums(source), source.casts or without is not None
        for some, chunk in source.walk(change):
            if without is not None:
                without.put(some, chunk, NEG_INF)
            sums.add(chunk, over=change)
        sums.join()
        ctx.source, ctx.without, ctx.like = source, without, token
        ctx.log = sums.log()
        return ctx.log.clone()

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        log, weight, without = finite_or_0(ctx.log), grad[:, None], ctx.without
        room = ctx.source.room()

        def part(
            some: slice, chunk: Tensor, out: Tensor | None, last: bool
        ) -> Tensor:
            place = chunk if last else room.take(chunk.shape)
            p = exponents(chunk, log, 1.0, place)
            if without is not None:
                without.put(some, p, NEG_INF)
            return added(out, p.exp2_(), weight)

        ctx.source.parts.append(part)
        return torch.zeros_like(ctx.like), None, None


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, source: ScoreSource
    ) -> tuple[Tensor, Tensor]:
        sums = torch.zeros(
            2, source.shape[0], dtype=source.dtype, device=source.device
        )
        for _, chunk in source.walk():
            sums[0] += softplus(chunk).sum(dim=1)
            sums[1] += chunk.sum(dim=1)
        if source.shard is not None:
            source.shard.sum(sums)
        ctx.source, ctx.like = source, token
        return sums[0], sums[1]

    @staticmethod
    @once
    def backward(
        ctx: Any, grad: Tensor, of_sum: Tensor
    ) -> tuple[Tensor, None]:
        weight, more = grad[:, None], of_sum[:, None]

        def part(
            some: slice, chunk: Tensor, out: Tensor | None, last: bool
        ) -> Tensor:
            return added(out, chunk.sigmoid(), weight).add_(more)

        ctx.source.parts.append(part)
        return torch.zeros_like(ctx.like), None
