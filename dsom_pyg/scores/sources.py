"""Where scores come from: how a chunk is made, and who gets its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.precision import resolve_precision
from dsom_pyg.processes import Shard
from dsom_pyg.scores.tables import Basis, EntityTable, TableGradient, rows_at

# Scores of a chunk: on a CPU two MiB, which stay in its caches. With a quarter
# of that steps take up to 1.6 times as long on a Xeon with bf16 units, where
# narrow products are slow (``benchmarks/scale.py --chunk``).
CHUNK_CPU, CHUNK_GPU, COLUMNS = 2**19, 2**26, 512
# Scores that are kept at most between two walks through all of them; those
# with a gradient are walked through once more.
KEEP, KEEP_LEARNING = 2**26, 2**28

# Numbers that a comparison of some queries with some rows holds at once.
TILE_CPU, TILE_GPU = 2**18, 2**26

# Scores of queries and rows.
Compare = Callable[[Tensor, Tensor], Tensor]
# Adds a part to the gradient of a chunk, and returns it. Given are the
# entities, their scores [B, C], the gradient so far (none before the first
# part), and whether this is the last part, which may write over the scores.
Part = Callable[[slice, Tensor, Tensor | None, bool], Tensor]


# Adds to the gradient of a chunk what single scores of it get.
Spots = Callable[[slice, Tensor], None]


class Workspace:
    r"""Memory that one chunk after the other takes. On a CPU new memory comes
    page by page, which takes longer than what is written there.

    Args:
        dtype: Of what is written.
        device: Where it is.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._flat = torch.empty(0, dtype=dtype, device=device)

    def take(self, shape: Sequence[int]) -> Tensor:
        r"""Memory of this shape, which whoever took some before loses."""
        flat, size = self._flat, math.prod(shape)
        if flat.device.type != 'cpu':
            return flat.new_empty(shape)
        if flat.numel() < size:
            flat = self._flat = flat.new_empty(size)
        return flat[:size].view(*shape)


class ScoreSource:
    r"""What the functions of some scores share: how to make a chunk, and the
    parts of the gradient.
    """

    # It knows no tensor with a history: autograd would hold it, and it
    # autograd.

    # Of drawn entities, which the scores have been lessened by, [C].
    log_p: Tensor | None = None

    def __init__(
        self, like: Tensor, shape: tuple[int, int], shard: Shard | None = None
    ) -> None:
        # The shape of what this process makes.
        self.shape, self.dtype, self.device = shape, like.dtype, like.device
        self.shard, self.most = shard, KEEP
        self._slices: list[slice] | None = None
        self.parts: list[Part] = []
        self.spots: list[Spots] = []
        # The best of each query and whose they are, by how many.
        self.best: dict[int, tuple[Tensor, Tensor]] = {}
        # The first chunks, by their number.
        self.kept: dict[int, Tensor] = {}
        self._store: Tensor | None = None

    def make(self, some: slice, room: Workspace | None = None) -> Tensor:
        # It may be made in the room, and who asks may change it.
        raise NotImplementedError

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        # The scores of pairs, without walking through all others.
        raise NotImplementedError

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        # The gradients of the tensors that the scores are made of.
        raise NotImplementedError

    def share(self, shard: Shard) -> ScoreSource:
        # The same scores of the entities of one process, without gradient.
        # This one makes those of all.
        raise NotImplementedError

    def room(self, dtype: torch.dtype | None = None) -> Workspace:
        return Workspace(dtype or self.dtype, self.device)

    def take(self, some: slice, room: Workspace | None = None) -> Tensor:
        # A chunk, for the last time: it may be changed.
        kept = self.kept.pop(some.start // self.width, None)
        if kept is None:
            return self.make(some, room)
        return self._copy(kept, room) if self.casts else kept

    @property
    def kept_type(self) -> torch.dtype:
        # Of chunks that are kept; it must hold what was made.
        return self.dtype

    @property
    def casts(self) -> bool:
        # Whether chunks are copies anyway, of those that are kept.
        return self.kept_type != self.dtype

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

    def walk(self, change: bool = False) -> Iterator[tuple[slice, Tensor]]:
        # Each chunk may take the place of the one before. They may be changed
        # if that is asked for.
        room = self.room()
        for some in self.slices():
            yield some, self.chunk(some, change, room)

    def chunk(
        self, some: slice, change: bool = False, room: Workspace | None = None
    ) -> Tensor:
        kept = self._kept(some)
        if kept is None:
            return self.make(some, room)
        return self._copy(kept, room) if change or self.casts else kept

    def stored(self, some: slice, room: Workspace | None = None) -> Tensor:
        # A chunk as it is kept, which may be of another type.
        kept = self._kept(some)
        return self.make(some, room) if kept is None else kept

    def _copy(self, chunk: Tensor, room: Workspace | None) -> Tensor:
        return (room or self.room()).take(chunk.shape).copy_(chunk)

    def _kept(self, some: slice) -> Tensor | None:
        # Of the slices some are kept; any other part of the entities is made.
        at = (some.start or 0) // self.width
        if some != self.slices()[at]:
            return None
        kept = self.kept.get(at)
        if kept is not None:
            return kept
        if self.shape[0] * some.stop > self.most:
            return None
        place = self._place(some)
        self.fill(place, some)
        self.kept[at] = place
        return place

    def fill(self, place: Tensor, some: slice) -> None:
        # Make a chunk that is kept, in its place.
        place.copy_(self.make(some))

    def _place(self, some: slice) -> Tensor:
        # For a chunk that is kept: one piece of memory for all of them, since
        # many small ones leave holes that the system does not get back.
        rows, size = self.shape
        if self._store is None:
            most = min(self.most, rows * size)
            self._store = torch.empty(
                most, dtype=self.kept_type, device=self.device
            )
        part = self._store[rows * some.start : rows * some.stop]
        return part.view(rows, some.stop - some.start)

    def keep_more(self) -> None:
        # A walk back will come.
        self.most = KEEP_LEARNING

    @property
    def fits(self) -> bool:
        # Whether all chunks are kept.
        return self.shape[0] * self.shape[1] <= self.most

    def free(self) -> None:
        self.parts.clear()
        self.spots.clear()
        self.kept.clear()
        self._store = None

    def gradients(self) -> Iterator[tuple[slice, Tensor]]:
        # What was kept last is freed first: it is in the cache.
        room = self.room()
        for some in reversed(self.slices()):
            chunk, grad = self.take(some, room), None
            for at, part in enumerate(self.parts, 1):
                grad = part(some, chunk, grad, at == len(self.parts))
            if grad is None:
                grad = torch.zeros_like(chunk)
            for spots in self.spots:
                spots(some, grad)
            yield some, grad
        self.free()


class Term(NamedTuple):
    r"""Coordinates ``[B, k]``, the basis ``[E, k]`` that they are multiplied
    with, and where its gradient goes.
    """

    coordinates: Tensor
    basis: Tensor
    table: TableGradient | None

    def whole(self, shard: Shard | None) -> Basis:
        # The basis as it was given, without gradient.
        return self.basis if shard is None else EntityTable(self.basis, shard)

    def share(self, shard: Shard) -> Term:
        # Its rows of one process.
        return Term(self.coordinates, shard.part(self.basis), None)


class Products(ScoreSource):
    r"""Sums of products of coordinates with bases."""

    def __init__(
        self,
        terms: list[Term],
        precision: str,
        shard: Shard | None,
        log_p: Tensor | None,
    ) -> None:
        first = terms[0]
        shape = len(first.coordinates), len(first.basis)
        super().__init__(first.coordinates, shape, shard)
        precision = resolve_precision(precision, self.device)
        self.terms, self.precision, self.log_p = terms, precision, log_p
        # What products take. A cast of their factors costs as much as the
        # chunk, so it is not done for each of these.
        self.type = torch.bfloat16 if precision == 'bf16' else self.dtype
        self.coordinates = [term.coordinates.to(self.type) for term in terms]
        self.bases = [term.basis for term in terms]
        self._of_rows = self.room(self.type)
        self._of_products = self.room(self.type)

    @property
    def kept_type(self) -> torch.dtype:
        # Products come in their type, sums do not.
        alone = len(self.terms) == 1 and self.log_p is None
        return self.type if alone else self.dtype

    def make(self, some: slice, room: Workspace | None = None) -> Tensor:
        start, stop, _ = some.indices(self.shape[1])
        out = (room or self.room()).take((self.shape[0], stop - start))
        self.fill(out, some)
        return out

    def fill(self, place: Tensor, some: slice) -> None:
        first = self._rows(0, some).t()
        if place.dtype == self.type:
            torch.mm(self.coordinates[0], first, out=place)
        else:
            self._add(place, self.coordinates[0], first, fresh=True)
        for at in range(1, len(self.terms)):
            rows = self._rows(at, some)
            self._add(place, self.coordinates[at], rows.t(), fresh=False)
        if self.log_p is not None:
            place.sub_(self.log_p[some])

    def share(self, shard: Shard) -> ScoreSource:
        assert self.log_p is None  # those of drawn entities are whole
        terms = [term.share(shard) for term in self.terms]
        return Products(terms, self.precision, shard, None)

    def _rows(self, at: int, some: slice) -> Tensor:
        basis = self.bases[at]
        here = basis.device == self.device and basis.numel() <= KEEP
        if basis.dtype != self.type and here:
            basis = self.bases[at] = basis.to(self.type)
        rows = basis[some]
        if self.device.type != 'cpu':
            return rows.to(self.device, self.type, non_blocking=True)
        if rows.dtype == self.type:
            return rows
        return self._of_rows.take(rows.shape).copy_(rows)

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        # Rounded as in a chunk: the difference of two scores that are made
        # in two ways would be as large as what rounding takes.
        products = [
            self._rounded(
                (
                    self._rounded(term.coordinates[row])
                    * self._rounded(rows_at(term.basis, tail))
                ).sum(dim=1)
            )
            for term in self.terms
        ]
        out = torch.stack(products).sum(dim=0)
        return out if self.log_p is None else out - self.log_p[tail]

    def _rounded(self, x: Tensor) -> Tensor:
        # As factors and results of products are.
        return x.to(self.type).to(self.dtype)

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        out: list[Tensor | None] = []
        targets = []
        tables = [term.table for term in self.terms if term.table]
        for table in dict.fromkeys(tables):
            table.begin()
        for at, term in enumerate(self.terms):
            query = basis = None
            if needed[2 * at]:
                query = torch.zeros_like(term.coordinates)
            fresh = True
            if needed[2 * at + 1]:
                if term.table is None:
                    basis = torch.empty_like(term.basis)
                elif term.table.whole is None:
                    basis = term.table.room()
                else:
                    basis, fresh = term.table.whole, False
            targets.append((query, basis, fresh))
        room = self.room(self.type)
        for some, grad in self.gradients():
            if grad.dtype != self.type:
                grad = room.take(grad.shape).copy_(grad)
            for at, (query, basis, fresh) in enumerate(targets):
                if query is not None:
                    self._add(query, grad, self._rows(at, some), fresh=False)
                if basis is not None:
                    # Each chunk has rows of its own.
                    rows = basis[some]
                    self._add(rows, grad.t(), self.coordinates[at], fresh)
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
        if self.type != self.dtype:
            product = self._of_products.take((a.size(0), b.size(1)))
            torch.mm(a, b, out=product)
            if fresh:
                out.copy_(product)
            else:
                out.add_(product)
        else:
            torch.addmm(out, a, b, beta=0.0 if fresh else 1.0, out=out)


class Compared(ScoreSource):
    r"""Any function of a query and a row of each entity."""

    def __init__(
        self,
        term: Term,
        compare: Compare,
        compare_all: Compare,
        width: int,
        log_p: Tensor | None,
        shard: Shard | None = None,
    ) -> None:
        shape = len(term.coordinates), len(term.basis)
        super().__init__(term.coordinates, shape, shard)
        self.term, self.log_p = term, log_p
        self.compare, self.compare_all, self.wide = compare, compare_all, width
        most = TILE_CPU if self.device.type == 'cpu' else TILE_GPU
        self.step = max(1, most // max(1, width * shape[0]))

    @torch.no_grad()
    def make(self, some: slice, room: Workspace | None = None) -> Tensor:
        rows = self.term.basis[some].to(self.device)
        query = self.term.coordinates
        parts = [self.compare_all(query, x) for x in rows.split(self.step)]
        out = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return out if self.log_p is None else out.sub_(self.log_p[some])

    @torch.no_grad()
    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        rows = rows_at(self.term.basis, tail)
        out = self.compare(self.term.coordinates[row], rows)
        return out if self.log_p is None else out - self.log_p[tail]

    def share(self, shard: Shard) -> ScoreSource:
        assert self.log_p is None  # those of drawn entities are whole
        how = self.compare, self.compare_all, self.wide, None
        return Compared(self.term.share(shard), *how, shard)

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        term = self.term
        query = torch.zeros_like(term.coordinates)
        if term.table is None:
            basis = torch.empty_like(term.basis)
        else:
            basis = term.table.room()
        for some, grad in self.gradients():
            rows, of_rows = term.basis[some].to(self.device), basis[some]
            for at in range(0, len(rows), self.step):
                tile = slice(at, at + self.step)
                more, of_rows[tile] = self._back(rows[tile], grad[:, tile])
                query += more
        if term.table is None:
            return [query, basis]
        term.table.begin()
        before = term.table.whole
        term.table.whole = basis if before is None else before.add_(basis)
        return [query, basis.new_zeros(())]

    @torch.enable_grad()
    def _back(self, rows: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        # Made once more, so that what lies between is held for a tile alone.
        query = self.term.coordinates.detach().requires_grad_()
        rows = rows.detach().requires_grad_()
        scores = self.compare_all(query, rows)
        of_query, of_rows = torch.autograd.grad(scores, (query, rows), grad)
        return of_query, of_rows


class Matrix(ScoreSource):
    r"""A matrix that is there."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix, (matrix.size(0), matrix.size(1)))
        self.matrix = matrix

    def make(self, some: slice, room: Workspace | None = None) -> Tensor:
        return self._copy(self.matrix[:, some], room)

    def _kept(self, some: slice) -> Tensor:
        return self.matrix[:, some]

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        return self.matrix[row, tail]

    def share(self, shard: Shard) -> ScoreSource:
        out = Matrix(self.matrix[:, shard.start : shard.stop])
        out.shard = shard
        return out

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        out = torch.empty_like(self.matrix)
        for some, grad in self.gradients():
            out[:, some] = grad
        return [out]


class WeightedSum(ScoreSource):
    r"""Other scores, weighted by weights ``[B, M]`` of each query."""

    def __init__(self, parts: Sequence[ScoreSource], weights: Tensor) -> None:
        first = parts[0]
        like = torch.empty(0, dtype=first.dtype, device=first.device)
        super().__init__(like, first.shape, first.shard)
        self.sources, self.weights = parts, weights
        # The parts are kept in its place.
        self.most, self._of_parts = 0, self.room()

    def make(self, some: slice, room: Workspace | None = None) -> Tensor:
        first, *others = self.sources
        out = first.chunk(some, change=True, room=room)
        out.mul_(self.weights[:, 0, None])
        for at, source in enumerate(others, 1):
            chunk = source.chunk(some, room=self._of_parts)
            out.addcmul_(chunk, self.weights[:, at, None])
        return out

    def pick(self, row: Tensor, tail: Tensor) -> Tensor:
        each = [source.pick(row, tail) for source in self.sources]
        return (torch.stack(each, dim=1) * self.weights[row]).sum(dim=1)

    def share(self, shard: Shard) -> ScoreSource:
        parts = [source.share(shard) for source in self.sources]
        return WeightedSum(parts, self.weights)

    def back(self, needed: Sequence[bool]) -> list[Tensor | None]:
        out = torch.zeros_like(self.weights)
        for some, grad in self.gradients():
            for at, source in enumerate(self.sources):
                chunk = source.chunk(some, change=True, room=self._of_parts)
                out[:, at] += chunk.mul_(grad).sum(dim=1)
        return [out if self.shard is None else self.shard.sum(out)]
