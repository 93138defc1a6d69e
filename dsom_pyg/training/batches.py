"""Batches of distinct queries, or of triples as their special case."""

from collections.abc import Iterator

import torch

from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex

BATCHES = ('queries', 'triples')


class QueryLoader:
    r"""Shuffled batches of an epoch.

    Args:
        index: N(h, r) over training triples with reciprocals.
        batch_size: Queries, or triples, in a batch; the last one may be
            smaller.
        batch_by: ``'queries'``: distinct queries, each with all its tails;
            the objective of an epoch is the same as with triples for half
            to a quarter of the work. ``'triples'``: every query carries one
            tail. (default: ``'queries'``)
        seed: Of the shuffling; every iteration goes on from the last one.
    """

    def __init__(
        self,
        index: QueryIndex,
        batch_size: int,
        batch_by: str = 'queries',
        seed: int = 0,
    ) -> None:
        if batch_by not in BATCHES:
            raise ValueError(
                f"batch_by must be one of {BATCHES}, got '{batch_by}'"
            )
        if batch_size < 1:
            raise ValueError(f'batch_size must be positive, got {batch_size}')
        if len(index) == 0:
            raise ValueError('there are no training triples')
        self.index, self.batch_size = index, batch_size
        self.batch_by = batch_by
        # On the host: the same order on every device.
        self.generator = torch.Generator().manual_seed(seed)
        self.row_of_pair = index.rows(
            torch.arange(len(index), device=index.head.device)
        ).row

    @property
    def _size(self) -> int:
        by_query = self.batch_by == 'queries'
        return len(self.index) if by_query else self.index.tail.numel()

    def __len__(self) -> int:
        return -(-self._size // self.batch_size)

    def __iter__(self) -> Iterator[QueryBatch]:
        index = self.index
        order = torch.randperm(self._size, generator=self.generator)
        for chosen in order.to(index.head.device).split(self.batch_size):
            if self.batch_by == 'queries':
                neighbors = index.rows(chosen)
                targets, position = neighbors, chosen
            else:
                position = self.row_of_pair[chosen]
                row = torch.arange(chosen.numel(), device=chosen.device)
                targets = Pairs(row, index.tail[chosen])
                neighbors = index.rows(position)
            yield QueryBatch(
                index.head[position], index.rel[position], targets, neighbors
            )
