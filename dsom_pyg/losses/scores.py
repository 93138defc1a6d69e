r"""Scores of all entities that need not be held at once.

A loss over all entities needs of a matrix ``[B, E]`` of scores only sums over
its rows, and some of its values. Here the matrix is made in chunks of
entities. Each is used while it is in a CPU's cache, or in a GPU's memory, and
is forgotten then. Where all of it is small, the chunks are kept, so that
nothing is computed twice.

Letters: B queries, E entities, C entities of a chunk, K pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dsom_pyg.losses.tables import Basis, Table, TableGradient, rows_at
from dsom_pyg.precision import matmul, resolve_precision
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import Candidates, Pairs

NEG_INF = -math.inf
# Scores of a chunk: on a CPU half a MiB, which stays in the cache of a core.
# Products of fewer columns than these are slow.
CHUNK_CPU, CHUNK_GPU, COLUMNS = 2**17, 2**26, 512
# Scores that are kept at most between two walks through all of them; those
# with a gradient are walked through once more.
KEEP, KEEP_LEARNING = 2**26, 2**28
# Where the host must not wait for the device, it cannot know which pairs are
# in a chunk.
HOSTS = ('cpu',)
LOG2E = 1 / math.log(2)

# Adds to the gradient [B, C] of a chunk, given its scores [B, C].
Part = Callable[[slice, Tensor, Tensor], None]


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
        candidates: Candidates | None = None,
    ) -> None:
        log_p = None
        if candidates is not None:
            ids, log_p = candidates.ids, candidates.log_p
            terms = [
                (x, y.rows(ids) if isinstance(y, Table) else rows_at(y, ids))
                for x, y in terms
            ]
        plain, tensors, shards = [], [], set()
        for coordinates, basis in terms:
            table = basis if isinstance(basis, Table) else None
            shards.add(table.shard if table else None)
            rows = table.matrix if table else basis
            assert isinstance(rows, Tensor)
            of_table = table.gradient if table else None
            plain.append(_Term(coordinates.detach(), rows.detach(), of_table))
            tensors += [coordinates, table.token if table else rows]
        [shard] = shards
        self.source: Source = _Products(plain, precision, shard, log_p)
        self.token: Tensor = _WalkBack.apply(self.source, *tensors)
        if self.token.requires_grad:
            self.source.most = KEEP_LEARNING

    @classmethod
    def of(cls, matrix: Tensor) -> Scores:
        r"""The scores of a matrix ``[B, E]`` that is there."""
        out = cls.__new__(cls)
        out.source = _Matrix(matrix.detach())
        out.token = _WalkBack.apply(out.source, matrix)
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
        if mine == theirs:
            return self.detach()
        whole = self.dense().detach()
        if theirs is None:
            return Scores.of(whole)
        out = Scores.of(whole[:, theirs.start : theirs.stop])
        out.source.shard = theirs
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
        gradient. They must not be changed. Of several processes each has
        entities of its own, counted from 0.
        """
        return self.source.walk()

    def dense(self) -> Tensor:
        r"""All scores at once, ``[B, E]``."""
        out: Tensor = _Dense.apply(self.token, self.source)
        return out

    def at(self, pairs: Pairs) -> Tensor:
        r"""The scores ``[K]`` of pairs of query and entity."""
        out: Tensor = _At.apply(self.token, self.source, pairs.row, pairs.tail)
        return out

    def logsumexp(self) -> Tensor:
        r"""Log-sum-exp over all entities, ``[B]``."""
        out: Tensor = _LogSumExp.apply(self.token, self.source)
        return out


def as_scores(scores: Scores | Tensor) -> Scores:
    r"""Scores, also of a matrix ``[B, E]``."""
    return scores if isinstance(scores, Scores) else Scores.of(scores)


class Source:
    r"""What the functions of some scores share: how to make a chunk, and the
    parts of the gradient.
    """

    # It knows no tensor with a history: autograd would hold it, and it
    # autograd.

    def __init__(
        self, like: Tensor, shape: tuple[int, int], shard: Shard | None = None
    ) -> None:
        # The shape of what this process makes.
        self.shape, self.dtype, self.device = shape, like.dtype, like.device
        self.shard, self.most = shard, KEEP
        self._slices: list[slice] | None = None
        self.parts: list[Part] = []
        # The first chunks, by their number.
        self.kept: dict[int, Tensor] = {}

    def make(self, some: slice) -> Tensor:
        raise NotImplementedError

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        # The scores of pairs, without walking through all others.
        raise NotImplementedError

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        # The gradients of the tensors that the scores are made of.
        raise NotImplementedError

    def take(self, some: slice) -> Tensor:
        # A chunk, for the last time.
        at = some.start // self.width
        chunk = self.kept.pop(at, None)
        return self.make(some) if chunk is None else chunk

    @property
    def width(self) -> int:
        # Of a chunk.
        most = CHUNK_CPU if self.device.type == 'cpu' else CHUNK_GPU
        return max(COLUMNS, most // max(self.shape[0], 1))

    def slices(self) -> list[slice]:
        # Made once: there are thousands, and each chunk asks for its own.
        if self._slices is None:
            step, size = self.width, self.shape[1]
            starts = range(0, size, step)
            each = (slice(at, min(at + step, size)) for at in starts)
            self._slices = list(each)
        return self._slices

    def walk(self) -> Iterator[tuple[slice, Tensor]]:
        for at, some in enumerate(self.slices()):
            chunk = self.kept.get(at)
            if chunk is None:
                chunk = self.make(some)
                if self.shape[0] * some.stop <= self.most:
                    self.kept[at] = chunk
            yield some, chunk

    def free(self) -> None:
        self.parts.clear()
        self.kept.clear()

    def gradients(self) -> Iterator[tuple[slice, Tensor]]:
        # What was kept last is freed first: it is in the cache.
        for some in reversed(self.slices()):
            chunk = self.take(some)
            grad = torch.zeros_like(chunk)
            for part in self.parts:
                part(some, chunk, grad)
            yield some, grad
        self.free()


def own_products(
    terms: Sequence[tuple[Tensor, Basis]],
) -> tuple[Tensor, Shard] | None:
    r"""Sums of the products with the rows that this process holds, without
    gradient; :obj:`None` if it holds all.
    """
    shard = terms[0][1].shard if isinstance(terms[0][1], Table) else None
    if shard is None:
        return None
    source = Scores([(x.detach(), basis) for x, basis in terms]).source
    return source.make(slice(None)), shard


class _Term(NamedTuple):
    coordinates: Tensor
    basis: Tensor
    table: TableGradient | None


class _Products(Source):
    def __init__(
        self,
        terms: list[_Term],
        precision: str,
        shard: Shard | None,
        log_p: Tensor | None,
    ) -> None:
        first = terms[0]
        shape = len(first.coordinates), len(first.basis)
        super().__init__(first.coordinates, shape, shard)
        precision = resolve_precision(precision, self.device)
        self.terms, self.precision, self.log_p = terms, precision, log_p

    def make(self, some: slice) -> Tensor:
        first, *others = self.terms
        rows = self._rows(first, some)
        out = matmul(first.coordinates, rows.t(), self.precision)
        for term in others:
            rows = self._rows(term, some)
            self._add(out, term.coordinates, rows.t(), fresh=False)
        return out if self.log_p is None else out.sub_(self.log_p[some])

    def _rows(self, term: _Term, some: slice) -> Tensor:
        return term.basis[some].to(self.device, non_blocking=True)

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        products = [
            (
                term.coordinates[row]
                * rows_at(term.basis, tail).to(self.dtype)
            ).sum(dim=1)
            for term in self.terms
        ]
        out = torch.stack(products).sum(dim=0)
        return out if self.log_p is None else out - self.log_p[tail]

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        out: list[Tensor | None] = []
        targets = []
        for at, term in enumerate(self.terms):
            query = basis = None
            if needed[2 * at]:
                query = torch.zeros_like(term.coordinates)
            fresh = True
            if needed[2 * at + 1]:
                if term.table is not None and term.table.whole is not None:
                    basis, fresh = term.table.whole, False
                else:
                    basis = torch.empty_like(term.basis)
            targets.append((query, basis, fresh))
        for some, grad in self.gradients():
            for term, (query, basis, fresh) in zip(
                self.terms, targets, strict=True
            ):
                if query is not None:
                    rows = self._rows(term, some)
                    self._add(query, grad, rows, fresh=False)
                if basis is not None:
                    # Each chunk has rows of its own.
                    rows = basis[some]
                    self._add(rows, grad.t(), term.coordinates, fresh)
        for term, (query, basis, _) in zip(self.terms, targets, strict=True):
            if query is not None and self.shard is not None:
                self.shard.sum(query)
            if term.table is not None and basis is not None:
                before = term.table.whole
                if before is None or before is basis:
                    term.table.whole = basis
                else:  # the same table in another term
                    before.add_(basis)
                basis = basis.new_zeros(())
            out += [query, basis]
        return out

    def _add(self, out: Tensor, a: Tensor, b: Tensor, fresh: bool) -> None:
        if self.precision == 'bf16':
            product = matmul(a, b, 'bf16')
            if fresh:
                out.copy_(product)
            else:
                out.add_(product)
        else:
            torch.addmm(out, a, b, beta=0.0 if fresh else 1.0, out=out)


class _Matrix(Source):
    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix, (matrix.size(0), matrix.size(1)))
        self.matrix = matrix

    def make(self, some: slice) -> Tensor:
        return self.matrix[:, some]

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        return self.matrix[row, tail]

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        out = torch.empty_like(self.matrix)
        for some, grad in self.gradients():
            out[:, some] = grad
        return [out]


class _WalkBack(torch.autograd.Function):
    # Its output is a token that all functions of the scores take, so that
    # autograd comes here when all of them have left their parts.
    @staticmethod
    def forward(ctx: Any, source: Source, *tensors: Tensor) -> Tensor:
        ctx.source = source
        return tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Any, ...]:
        return None, *ctx.source.back(ctx.needs_input_grad[1:])


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, source: Source) -> Tensor:
        ctx.source, ctx.like = source, token
        out = torch.cat([chunk for _, chunk in source.walk()], dim=1)
        return out if source.shard is None else source.shard.whole(out, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if (shard := ctx.source.shard) is not None:
            grad = grad[:, shard.start : shard.stop]
        ctx.source.parts.append(lambda some, _, out: out.add_(grad[:, some]))
        return torch.zeros_like(ctx.like), None


class _At(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, source: Source, row: Tensor, tail: Tensor
    ) -> Tensor:
        pairs = InChunks(row, tail, source)
        ctx.source, ctx.pairs, ctx.like = source, pairs, token
        return pairs.read()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        pairs = ctx.pairs

        def part(some: slice, _: Tensor, out: Tensor) -> None:
            pairs.add(some, out, grad)

        ctx.source.parts.append(part)
        return torch.zeros_like(ctx.like), None, None, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, source: Source) -> Tensor:
        sums = Sums(source)
        for _, chunk in source.walk():
            sums.add(chunk)
        sums.join()
        ctx.source, ctx.like, ctx.log = source, token, sums.log()
        return ctx.log.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        log, weight = ctx.log, grad[:, None]

        def part(_: slice, chunk: Tensor, out: Tensor) -> None:
            out.addcmul_(exponents(chunk, log).exp2_(), weight)

        ctx.source.parts.append(part)
        return torch.zeros_like(ctx.like), None


def exponents(chunk: Tensor, base: Tensor, scale: float = 1.0) -> Tensor:
    r"""Powers of 2 with these are ``exp(scale * (chunk - base))``, for scores
    ``[B, C]`` and a value ``[B]`` a row.
    """
    # Powers of 2 take two thirds of the time of those of e, and a tenth where
    # they are near the least positive number. Differences come first, since
    # those of large numbers are exact.
    return (chunk - base[:, None]).mul_(scale * LOG2E)


class Sums:
    r"""Sums of exponentials over chunks, each relative to the largest score
    so far: a running log-sum-exp ``[B]``, and weighted sums beside it.

    Args:
        source: Of the chunks.
        scale: Of the exponents.
    """

    def __init__(self, source: Source, scale: float = 1.0) -> None:
        rows, self.shard = source.shape[0], source.shard
        self.scale = scale
        like = torch.empty(0, dtype=source.dtype, device=source.device)
        self.top = like.new_full((rows,), NEG_INF)
        self.total = like.new_zeros(rows)
        self.weighted = like.new_zeros(rows)

    def add(self, chunk: Tensor, values: Tensor | None = None) -> None:
        r"""Add a chunk ``[B, C]``, and its exponentials times some values."""
        top = torch.maximum(self.top, chunk.amax(dim=1))
        # A row of -inf has no top; its sums stay 0.
        finite = finite_or_0(top)
        shrink = ((self.top - finite) * self.scale).exp()
        weight = exponents(chunk, finite, self.scale).exp2_()
        self.total = self.total * shrink + weight.sum(dim=1)
        if values is not None:
            more = weight.mul_(values).sum(dim=1)
            self.weighted = self.weighted * shrink + more
        self.top = top

    def join(self) -> None:
        r"""Add what other processes have, when all chunks are added."""
        if self.shard is None:
            return
        top = self.shard.max(self.top.clone())
        shrink = ((self.top - finite_or_0(top)) * self.scale).exp()
        both = torch.stack([self.total * shrink, self.weighted * shrink])
        self.total, self.weighted = self.shard.sum(both)
        self.top = top

    def log(self) -> Tensor:
        r"""The log-sum-exp; -inf where nothing was added."""
        return self.total.log() + finite_or_0(self.top) * self.scale

    def mean(self) -> Tensor:
        r"""The values, weighted by the exponentials; 0 for an empty row."""
        return self.weighted / self.total.clamp(min=1e-30)


def finite_or_0(x: Tensor) -> Tensor:
    r"""0 in place of -inf."""
    return x.masked_fill(x == NEG_INF, 0.0)


class InChunks:
    r"""Pairs of query and entity, by the chunks that the entities are in."""

    # On a host they are sorted, and each chunk sees its own. A device would
    # have to be waited for, so each chunk sees all, and takes nothing of
    # those outside.

    def __init__(self, row: Tensor, tail: Tensor, source: Source) -> None:
        self.source, self.count = source, row.numel()
        self.masked = source.device.type not in HOSTS
        self.order: Tensor | None = None
        if (shard := source.shard) is not None:
            tail = tail - shard.start
        self.row, self.tail = row, tail
        if not self.masked:
            self._sort()

    def _sort(self) -> None:
        slices = self.source.slices()
        if self.source.shard is not None:
            inside = (self.tail >= 0) & (self.tail < self.source.shape[1])
            self.order = inside.nonzero()[:, 0]
            self.row = self.row[self.order]
            self.tail = self.tail[self.order]
        edges = [0, self.row.numel()]
        if len(slices) > 1:
            self.tail, order = self.tail.sort()
            self.row = self.row[order]
            self.order = order if self.order is None else self.order[order]
            starts = [some.start for some in slices]
            edges = torch.searchsorted(
                self.tail, torch.tensor([*starts, self.source.shape[1]])
            ).tolist()
        self.edges = {
            some.start: slice(low, high)
            for some, low, high in zip(slices, edges, edges[1:], strict=False)
        }

    def add(self, some: slice, out: Tensor, values: Tensor) -> None:
        r"""Add values ``[K]`` of the pairs to a chunk ``[B, C]``."""
        values = values.to(out.dtype)
        if self.masked:
            at, inside = self._places(some)
            values = values.masked_fill(~inside, 0.0)
            out.put_(at, values, accumulate=True)
            return
        row, column, which = self._inside(some)
        out.index_put_((row, column), values[which], accumulate=True)

    def put(self, some: slice, out: Tensor, value: float) -> None:
        r"""Set a chunk ``[B, C]`` to a value where the pairs are, which must
        be distinct.
        """
        if self.masked:
            at, inside = self._places(some)
            # Pairs outside add 0 somewhere. Others may go there as well.
            change = value - out.take(at)
            out.put_(at, change.masked_fill(~inside, 0.0), accumulate=True)
            return
        row, column, _ = self._inside(some)
        out[row, column] = value

    def read(self) -> Tensor:
        r"""The scores of the pairs, ``[K]``, as they were given."""
        source = self.source
        out = torch.zeros(self.count, dtype=source.dtype, device=source.device)
        whole = len(source.kept) == len(source.slices())
        if self.masked:
            out = self._read_masked(whole)
        elif whole:
            for some, chunk in source.walk():
                row, column, which = self._inside(some)
                out[which] = chunk[row, column]
        else:
            values = source.pick(self.row, self.tail)
            if self.order is None:
                return values
            out.index_copy_(0, self.order, values)
        return out if source.shard is None else source.shard.sum(out)

    def _read_masked(self, whole: bool) -> Tensor:
        source, size = self.source, self.source.shape[1]
        if not whole:
            mine = (self.tail >= 0) & (self.tail < size)
            values = source.pick(self.row, self.tail.clamp(0, size - 1))
            return values.masked_fill(~mine, 0.0)
        out = torch.zeros(self.count, dtype=source.dtype, device=source.device)
        for some, chunk in source.walk():
            at, inside = self._places(some)
            out = torch.where(inside, chunk.take(at), out)
        return out

    def _inside(self, some: slice) -> tuple[Tensor, Tensor, Any]:
        # Rows and columns of the pairs in a chunk, and which ones they are.
        part = self.edges[some.start]
        which = part if self.order is None else self.order[part]
        return self.row[part], self.tail[part] - some.start, which

    def _places(self, some: slice) -> tuple[Tensor, Tensor]:
        # For each pair its place in a chunk, and whether it is there.
        inside = (self.tail >= some.start) & (self.tail < some.stop)
        width = some.stop - some.start
        column = (self.tail - some.start).clamp(0, width - 1)
        return self.row * width + column, inside
