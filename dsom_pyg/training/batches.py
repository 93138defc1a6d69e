"""Batches of distinct queries, or of triples as their special case."""

from collections.abc import Iterator
from numbers import Integral

import torch

from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.training.sampled import Draw, Sampled

BATCHES = ('queries', 'triples')


def send(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    r"""A copy of what the host has drawn, for which it does not wait."""
    if device.type == 'cuda':
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def check_batches(batch_size: int, batch_by: str) -> None:
    r"""Raise :class:`ValueError` for what no batches can be made of."""
    if batch_by not in BATCHES:
        raise ValueError(
            f"batch_by must be one of {BATCHES}, got '{batch_by}'"
        )
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    if not isinstance(batch_size, Integral):
        raise ValueError(f'batch_size must be an integer, got {batch_size}')


class QueryLoader:
    r"""Shuffled batches of an epoch.

    Args:
        index: N(h, r) over training triples with reciprocals.
        batch_size: Queries, or triples, in a batch; the last one may be
            smaller.
        batch_by: ``'queries'``: distinct queries, each with all its tails,
            for half to a quarter of the work of ``'triples'``, each with one
            tail.
        seed: Of the shuffling; every iteration goes on from the last one.
        equal_pairs: Every (query, tail) pair counts alike, or as
            ``rarity`` says: a batch weighs as its pairs to those of a mean
            batch. The gradients of an epoch then add up to that of the mean
            over all training triples, as they do in batches of triples.
            Otherwise every batch counts alike, so a pair that shares its
            batch with many others counts less.
        rarity: a; a pair of a query with n tails weighs :math:`n^{-a}`.
        sampled: Losses are over some entities alone, which are drawn here.
        num_entities: E, to draw from.
    """

    def __init__(
        self,
        index: QueryIndex,
        batch_size: int,
        batch_by: str = 'queries',
        seed: int = 0,
        equal_pairs: bool = False,
        rarity: float = 0.0,
        sampled: Sampled | None = None,
        num_entities: int | None = None,
    ) -> None:
        check_batches(batch_size, batch_by)
        if len(index) == 0:
            raise ValueError('there are no training triples')
        self.index, self.batch_size = index, batch_size
        self.by_query = batch_by == 'queries'
        # On the host: the same order on every device.
        self.generator = torch.Generator().manual_seed(seed)
        every = torch.arange(len(index), device=index.head.device)
        self.row_of_pair = index.rows(every).row
        self.size = len(index) if self.by_query else index.tail.numel()
        self.equal_pairs, self.rarity = equal_pairs, rarity
        self.draw = None
        if sampled is not None:
            assert num_entities is not None
            self.draw = Draw(sampled, index, num_entities, self.generator)

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[QueryBatch]:
        index = self.index
        order = torch.randperm(self.size, generator=self.generator)
        order = order.to(index.head.device)
        rows = order if self.by_query else self.row_of_pair[order]
        # The pairs of all batches are counted at once, so that between two
        # steps the host need not wait for a device.
        totals = index.ptr.new_zeros(len(self))
        batch = torch.arange(self.size, device=rows.device) // self.batch_size
        tails = index.ptr.diff()[rows]
        totals.index_add_(0, batch, tails)
        for chosen, at, total, weight in zip(
            order.split(self.batch_size),
            rows.split(self.batch_size),
            totals.tolist(),
            self._weights(batch, tails),
            strict=True,
        ):
            targets = neighbors = index.rows(at, total)
            if not self.by_query:
                row = torch.arange(chosen.numel(), device=chosen.device)
                targets = Pairs(row, index.tail[chosen])
            head, rel = index.head[at], index.rel[at]
            drawn = self.draw(neighbors.tail) if self.draw else None
            known = neighbors, weight, drawn, index, self.rarity
            yield QueryBatch(head, rel, targets, *known)

    def _weights(
        self, batch: torch.Tensor, tails: torch.Tensor
    ) -> list[float]:
        # Of batches, from the batch of each query or triple, and from the
        # number of tails of its query.
        if not self.equal_pairs:
            return [1.0] * len(self)
        pairs = tails if self.by_query else torch.ones_like(tails)
        each = pairs.double() * tails.double() ** -self.rarity
        total = each.new_zeros(len(self)).index_add_(0, batch, each)
        mean = total.sum() * min(self.batch_size, self.size) / self.size
        out: list[float] = (total / mean).tolist()
        return out
