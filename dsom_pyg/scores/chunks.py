"""What is worked out from scores chunk by chunk."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from dsom_pyg.scores.sources import ScoreSource

# Where the host must not wait for the device, it cannot know which pairs are
# in a chunk.
HOSTS = ('cpu',)
NEG_INF = -math.inf
# Entities among which it pays to look for the best: those of one narrow chunk
# after the other take six times as long.
MANY = 2048
LOG2E = 1 / math.log(2)
# Below that numbers in fp32 are rounded by less than 1e-4.
MODERATE = 1024.0
# So many pairs are worth a thought: the score of one that is picked costs as
# much as so many that are made side by side.
PAIRS, PICKED = 2**15, 128


def exponents(
    chunk: Tensor, base: Tensor, scale: float, out: Tensor
) -> Tensor:
    r"""Powers of 2 with these are ``exp(scale * (chunk - base))``, for scores
    ``[B, C]`` and a value ``[B]`` a row. They may be written over the chunk.
    """
    # Powers of 2 take a tenth of the time of those of e where they are near
    # the least positive number. One pass multiplies and adds, and rounds
    # once; before it the value is rounded, as a log-sum-exp of its size is. Of
    # large numbers differences come first, which are exact.
    factor = scale * LOG2E
    host = base.device.type in HOSTS and base.numel() > 0
    if host and float(base.abs().amax()) < MODERATE:
        shift = (base * -factor)[:, None]
        return torch.add(shift, chunk, alpha=factor, out=out)
    return torch.sub(chunk, base[:, None], out=out).mul_(factor)


def added(out: Tensor | None, more: Tensor, weight: Tensor) -> Tensor:
    r"""The sum of ``weight * more`` and what is there, if anything; it is
    written over one of them.
    """
    return more.mul_(weight) if out is None else out.addcmul_(more, weight)


class Sums:
    r"""Sums of exponentials over chunks, each relative to the largest score
    so far: a running log-sum-exp ``[B]``, and weighted sums beside it.

    Args:
        source: Of the chunks.
        scale: Of the exponents.
    """

    def __init__(self, source: ScoreSource, scale: float = 1.0) -> None:
        rows, self.shard = source.shape[0], source.shard
        self.scale = scale
        like = torch.empty(0, dtype=source.dtype, device=source.device)
        self._room = source.room()
        self.top = like.new_full((rows,), NEG_INF)
        self.total = like.new_zeros(rows)
        self.weighted = like.new_zeros(rows)

    def add(
        self, chunk: Tensor, values: Tensor | None = None, over: bool = False
    ) -> None:
        r"""Add a chunk ``[B, C]``, and its exponentials times some values. The
        chunk may be written over.
        """
        top = torch.maximum(self.top, chunk.amax(dim=1))
        # A row of -inf has no top; its sums stay 0.
        finite = finite_or_0(top)
        shrink = ((self.top - finite) * self.scale).exp()
        place = chunk if over else self._room.take(chunk.shape)
        weight = exponents(chunk, finite, self.scale, place).exp2_()
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


class Highest:
    r"""The highest scores of each query over chunks, and whose they are.
    Of equal ones those of lower ids come first, so that chunks, batches and
    processes make no difference.

    Args:
        source: Of the chunks.
        count: How many; all, if there are fewer.
    """

    def __init__(self, source: ScoreSource, count: int) -> None:
        self.count, self.shard = count, source.shard
        rows = source.shape[0]
        like = torch.empty(0, dtype=source.dtype, device=source.device)
        self.values = like.new_empty(rows, 0)
        self.ids = like.new_empty(rows, 0, dtype=torch.long)
        # Chunks that have not been looked at, which begin there.
        self._waiting: list[Tensor] = []
        self._start, self._width = 0, 0

    def add(self, some: slice, chunk: Tensor) -> None:
        r"""Add the scores ``[B, C]`` of some entities, in their order."""
        if not self._waiting:
            self._start, self._width = some.start, 0
        self._waiting.append(chunk)
        self._width += chunk.size(1)
        if self._width >= max(MANY, 8 * self.count):
            self._look()
        else:  # the next one may take its place
            self._waiting[-1] = chunk.clone()

    def _look(self) -> None:
        if not self._waiting:
            return
        chunk = torch.cat(self._waiting, dim=1)
        values, ids = _highest(chunk, self.count)
        start = self._start + (0 if self.shard is None else self.shard.start)
        self._merge(
            torch.cat([self.values, values], dim=1),
            torch.cat([self.ids, ids + start], dim=1),
        )
        self._waiting = []

    def _merge(self, values: Tensor, ids: Tensor) -> None:
        values, ids = in_order(values, ids)
        self.values = values[:, : self.count]
        self.ids = ids[:, : self.count]

    def join(self) -> None:
        r"""Come to an end, when all chunks are added, with what other
        processes have.
        """
        self._look()
        if self.shard is None:
            return
        # Processes may have fewer entities than that, each another number.
        width = min(self.count, max(self.shard.widths))
        more = (0, width - self.values.size(1))
        values, ids = (
            pad(self.values, more, value=NEG_INF),
            pad(self.ids, more, value=self.shard.size),
        )
        self._merge(self.shard.beside(values), self.shard.beside(ids))
        # All of them together may have fewer, and the rest are pads.
        self.values = self.values[:, : self.shard.size]
        self.ids = self.ids[:, : self.shard.size]


def highest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    r"""The highest scores of each row ``[B, E]`` and their columns, best
    first; of equal ones those of lower columns.
    """
    return in_order(*_highest(scores, min(count, scores.size(1))))


def in_order(values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    r"""Scores ``[B, K]``, best first, and whose they are; of equal ones
    those of lower ids first.
    """
    order = ids.argsort(dim=1)
    values, ids = values.gather(1, order), ids.gather(1, order)
    values, place = values.sort(dim=1, descending=True, stable=True)
    return values, ids.gather(1, place)


def _highest(chunk: Tensor, count: int) -> tuple[Tensor, Tensor]:
    # The highest scores and their columns; where the last of them has equals
    # that found no room, the lowest columns of these.
    size = chunk.size(1)
    if count >= size:
        return chunk, torch.arange(size, device=chunk.device).expand_as(chunk)
    values, ids = chunk.topk(count + 1, dim=1)
    last, values, ids = values[:, -1], values[:, :-1], ids[:, :-1]
    # A device would have to be waited for.
    tied: Tensor | slice = slice(None)
    if chunk.device.type in HOSTS:
        tied = (values[:, -1] == last).nonzero()[:, 0]
        if not tied.numel():
            return values, ids
    above = values[tied] > last[tied, None]
    column = torch.arange(size, device=chunk.device)
    equal = column.where(chunk[tied] == last[tied, None], size)
    lowest = equal.topk(count, dim=1, largest=False).values
    place = torch.arange(count, device=chunk.device)
    place = place - above.sum(dim=1, keepdim=True)
    lowest = lowest.gather(1, place.clamp(min=0)).clamp(max=size - 1)
    ids[tied] = ids[tied].where(above, lowest)
    return values, ids


class Moments:
    r"""Mean and deviation of the scores of each query over chunks; -inf does
    not count.

    Args:
        source: Of the chunks.
    """

    def __init__(self, source: ScoreSource) -> None:
        self.shard, self._room = source.shard, source.room()
        like = torch.empty(0, dtype=source.dtype, device=source.device)
        self.count = like.new_zeros(source.shape[0])
        self.mean = torch.zeros_like(self.count)
        # Sum of squares of what lies between a score and the mean.
        self.square = torch.zeros_like(self.count)

    def add(self, chunk: Tensor) -> None:
        r"""Add a chunk ``[B, C]``."""
        place = self._room.take(chunk.shape)
        # As numbers: a CPU sums those in a quarter of the time.
        count = torch.gt(chunk, NEG_INF, out=place).sum(dim=1)
        mean = finite_or_0(chunk, place).sum(dim=1) / count.clamp(min=1)
        torch.sub(chunk, mean[:, None], out=place)
        square = finite_or_0(place, place).square_().sum(dim=1)
        # Of two parts, by Chan, Golub and LeVeque (1979).
        total, apart = self.count + count, mean - self.mean
        share = count / total.clamp(min=1)
        self.mean += apart * share
        self.square += square + apart.square() * self.count * share
        self.count = total

    def join(self) -> None:
        r"""Take in what other processes have, when all chunks are added."""
        if self.shard is None:
            return
        mine = torch.stack([self.count, self.count * self.mean])
        total, summed = self.shard.sum(mine)
        mean = summed / total.clamp(min=1)
        apart = self.count * (self.mean - mean).square()
        self.square = self.shard.sum(self.square + apart)
        self.count, self.mean = total, mean

    def deviation(self) -> Tensor:
        r"""The root of the mean square."""
        return (self.square / self.count.clamp(min=1)).sqrt()


def finite_or_0(x: Tensor, out: Tensor | None = None) -> Tensor:
    r"""0 in place of -inf, alone."""
    # Filling what a mask tells takes many times as long.
    kept = {'nan': math.nan, 'posinf': math.inf}
    return torch.nan_to_num(x, neginf=0.0, **kept, out=out)


class InChunks:
    r"""Pairs of query and entity, by the chunks that the entities are in."""

    # On a host they are sorted, and each chunk sees its own. A device would
    # have to be waited for, so each chunk sees all, and takes nothing of
    # those outside.

    def __init__(self, row: Tensor, tail: Tensor, source: ScoreSource) -> None:
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
            old = out.take(at)
            stays = ~inside | (old == value)  # no -inf is added to -inf
            change = (value - old).masked_fill(stays, 0.0)
            out.put_(at, change, accumulate=True)
            return
        row, column, _ = self._inside(some)
        out[row, column] = value

    def read(self, walk: bool = False) -> Tensor:
        r"""The scores of the pairs, ``[K]``, as they were given. They are
        read from the chunks if all are kept, if that is cheaper, or in a walk
        that is asked for.
        """
        source = self.source
        out = torch.zeros(self.count, dtype=source.dtype, device=source.device)
        whole = walk or len(source.kept) == len(source.slices())
        whole = whole or self._many
        if self.masked:
            out = self._read_masked(whole)
        elif whole:
            room = source.room()
            for some in source.slices():
                row, column, which = self._inside(some)
                chunk = source.stored(some, room)
                out[which] = chunk[row, column].to(out.dtype)
        else:
            values = source.pick(self.row, self.tail)
            if self.order is None:
                return values
            out.index_copy_(0, self.order, values)
        return out if source.shard is None else source.shard.sum(out)

    @property
    def _many(self) -> bool:
        rows, size = self.source.shape
        return self.count > max(PAIRS, rows * size // PICKED)

    def _read_masked(self, whole: bool) -> Tensor:
        source, size = self.source, self.source.shape[1]
        if not whole:
            mine = (self.tail >= 0) & (self.tail < size)
            values = source.pick(self.row, self.tail.clamp(0, size - 1))
            return values.masked_fill(~mine, 0.0)
        out = torch.zeros(self.count, dtype=source.dtype, device=source.device)
        for some in source.slices():
            at, inside = self._places(some)
            here = source.stored(some).take(at).to(out.dtype)
            out = torch.where(inside, here, out)
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
