"""The tails of every query, in compressed rows.

Letters used in shapes: T triples, Q distinct queries, B queries of a batch,
K (query, tail) pairs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.graph import LARGEST, Triples, check_ids, check_triples

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ['Pairs', 'Queries', 'QueryIndex']


@dataclass(frozen=True, eq=False)
class Pairs:
    r"""(query, tail) pairs of a batch.

    Args:
        row: Position of the query in the batch, ascending, ``[K]``.
        tail: ``[K]``.
    """

    row: Tensor
    tail: Tensor

    def count(self, num_rows: int) -> Tensor:
        r"""Number of tails of every query, ``[B]``."""
        count = self.row.new_zeros(num_rows)
        return count.index_add_(0, self.row, torch.ones_like(self.row))


@dataclass(frozen=True, eq=False)
class SampledCandidates:
    r"""The entities that a loss is over, if not all.

    Args:
        ids: Distinct, ascending, ``[S]``.
        log_p: How probable it was that each is among them, as a logarithm,
            ``[S]``.
    """

    ids: Tensor
    log_p: Tensor

    def pairs(self, pairs: Pairs) -> Pairs:
        r"""Pairs with the places of their tails, all of which are among the
        candidates.
        """
        return Pairs(pairs.row, torch.searchsorted(self.ids, pairs.tail))


@dataclass(frozen=True)
class QueryBatch:
    r"""Queries with their training tails.

    Args:
        head, rel: The queries, ``[B]``.
        targets: The tails to learn, K pairs.
        neighbors: All of N(h, r) of each query; the same object as
            ``targets`` in a batch of distinct queries.
        weight: How much its loss, a mean over the targets, counts.
        candidates: The entities that losses are over, if not all.
        index: N(h, r) of all training triples.
        rarity: a; a target of a query with n tails weighs :math:`n^{-a}`.
    """

    head: Tensor
    rel: Tensor
    targets: Pairs
    neighbors: Pairs
    weight: float = 1.0
    candidates: SampledCandidates | None = None
    index: QueryIndex | None = None
    rarity: float = 0.0

    def __len__(self) -> int:
        return self.head.numel()

    def pair_weights(self) -> Tensor | None:
        r"""How much each target counts, ``[K]``; :obj:`None` if all count
        alike.
        """
        if not self.rarity:
            return None
        tails = self.neighbors.count(len(self))
        weight: Tensor = tails.to(torch.get_default_dtype()) ** -self.rarity
        return weight[self.targets.row]

    def query_weights(self) -> Tensor:
        r"""How much the targets of each query count together, ``[B]``."""
        row, each = self.targets.row, self.pair_weights()
        if each is None:
            return self.targets.count(len(self))
        return each.new_zeros(len(self)).index_add_(0, row, each)


class Queries(NamedTuple):
    r"""Queries ``[Q]`` without their answers; relations in
    :math:`0..2R - 1`.
    """

    head: Tensor
    rel: Tensor

    def digest(self) -> str:
        r"""SHA-256 of the queries in their order."""
        both = torch.stack([self.head, self.rel]).long().cpu()
        return hashlib.sha256(both.numpy().tobytes()).hexdigest()


class QueryIndex:
    r"""The tails of every query :math:`(h, r)` in compressed rows.

    One structure serves as N(h, r), built from training triples, and as the
    evaluation filter, built from all known ones. Duplicate triples count
    once. It is immutable; a query it does not know has no tails.

    Args:
        triples: Triples, reciprocals included if they are wanted.
        num_entities: E, if the index is to tell it.
        num_relations: R, if the index is to tell it: then triples must include
            reciprocals. :meth:`~dsom_pyg.kg.KG.index` tells both.

    Attributes:
        head, rel: The Q distinct queries, ``[Q]``, sorted by (head, rel).
        ptr: ``[Q + 1]``; the tails of query q are
            ``tail[ptr[q]:ptr[q + 1]]``, sorted.
        tail: ``[T']``.
        num_entities, num_relations: E and R, or :obj:`None`.

    Raises:
        ValueError: An id is out of range, shapes do not fit, reciprocals are
            missing, or E times 2R needs more than 63 bits.
    """

    def __init__(
        self,
        triples: Triples,
        num_entities: int | None = None,
        num_relations: int | None = None,
    ) -> None:
        both = None if num_relations is None else 2 * num_relations
        check_triples(triples, num_entities, both, 'an index')
        self.num_entities, self.num_relations = num_entities, num_relations
        # Keys of narrower integers would overflow.
        head, tail = triples.head.long(), triples.tail.long()
        rel = triples.edge_type.long()
        ends = [int(ids.max()) for ids in (head, rel, tail) if ids.numel()]
        num_heads, num_rels, num_tails = (end + 1 for end in ends or [0] * 3)
        if ends and num_relations is not None and num_rels <= num_relations:
            raise ValueError(
                f'an index of {num_relations} relations needs reciprocals, '
                f'{num_relations}..{2 * num_relations - 1}, and the triples '
                'have none; see dsom_pyg.graph.add_reciprocals'
            )
        if num_heads * num_rels > LARGEST:
            raise ValueError(
                f'heads up to {num_heads - 1} and relations up to '
                f'{num_rels - 1} need keys of more than 63 bits; number them '
                'without gaps'
            )
        self._num_rels = num_rels
        query, keys = head * num_rels + rel, None
        if num_heads * num_rels * num_tails > LARGEST:
            # Numbers of distinct queries take less room than their keys.
            keys, query = torch.unique(query, return_inverse=True)
        # One 63-bit code a triple: sorted, distinct, and decoded again.
        code = torch.unique(query * num_tails + tail)
        self.tail = code % num_tails
        query, counts = (code // num_tails).unique_consecutive(
            return_counts=True
        )
        self._key = query if keys is None else keys
        self.head = self._key // num_rels
        self.rel = self._key % num_rels
        self.ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def __repr__(self) -> str:
        return f'QueryIndex({len(self)} queries, {len(self.tail)} tails)'

    def __len__(self) -> int:
        return self.head.numel()

    def to(self, device: torch.device | str) -> QueryIndex:
        r"""A copy on another device."""
        copy = object.__new__(QueryIndex)
        for name, value in vars(self).items():
            moved = value.to(device) if isinstance(value, Tensor) else value
            setattr(copy, name, moved)
        return copy

    def rows(self, position: Tensor, total: int | None = None) -> Pairs:
        r"""Tails of the queries at positions ``[B]`` in 0..Q-1. Who knows how
        many they are says it, so that the host need not wait for a device.
        """
        start = self.ptr[position]
        row, at = spread(start, self.ptr[position + 1] - start, total)
        return Pairs(row, self.tail[at])

    def of_tails(self) -> Queries:
        r"""The query of each of :attr:`tail`, ``[T']``."""
        count = self.ptr.diff()
        both = self.head, self.rel
        return Queries(*(ids.repeat_interleave(count) for ids in both))

    def lookup(self, head: Tensor, rel: Tensor) -> Pairs:
        r"""Tails of queries ``[B]``, none for one that is not in the index."""
        row, at = self.find(head, rel)
        return Pairs(row, self.tail[at])

    def find(self, head: Tensor, rel: Tensor) -> tuple[Tensor, Tensor]:
        r"""Where the tails of queries ``[B]`` lie: for each the row of its
        query and its place in :attr:`tail`, both ``[K]``.
        """
        # Of 32 bits a key may be more than that.
        key = head.long() * self._num_rels + rel
        position = torch.searchsorted(self._key, key)
        position = position.clamp(max=max(len(self) - 1, 0))
        if len(self) == 0:
            empty = head.new_empty(0)
            return empty, empty
        # By itself a key may be that of another query: 2, -1 of 1, R - 1.
        known = (self.head[position] == head) & (self.rel[position] == rel)
        start = self.ptr[position]
        return spread(start, (self.ptr[position + 1] - start) * known)

    def counts(self, head: Tensor, rel: Tensor) -> Tensor:
        r"""How many tails queries ``[N]`` have, 0 if they are unknown."""
        row, _ = self.find(head, rel)
        count = head.new_zeros(head.numel())
        return count.index_add_(0, row, torch.ones_like(row).to(count))

    def degree(self, head: Tensor) -> Tensor:
        r"""How many tails heads ``[B]`` have over all relations, ``[B]``."""
        # Queries are sorted by head.
        start = torch.searchsorted(self.head, head)
        stop = torch.searchsorted(self.head, head, right=True)
        return self.ptr[stop] - self.ptr[start]


def spread(
    start: Tensor, count: Tensor, total: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""Row by row, as many places from :obj:`start` on as :obj:`count` says:
    for each the row and the place, both ``[K]``.
    """
    row = torch.arange(start.numel(), device=start.device)
    row = row.repeat_interleave(count, output_size=total)
    begin = count.cumsum(0) - count
    offset = torch.arange(row.numel(), device=row.device) - begin[row]
    return row, start[row] + offset


def unlabeled_queries(
    index: QueryIndex, num_entities: int, num: int, seed: int = 0
) -> Queries:
    r"""Plausible queries that have no answer in an index.

    A head that occurs with relation r is asked for relations that other
    heads of r occur with as well: a relation r' is drawn in proportion to
    the share of the heads of r that have r'. No other knowledge is used.

    Args:
        index: N(h, r) over training triples with reciprocals.
        num_entities: E.
        num: How many distinct queries to draw; fewer may be found.
        seed: Of the draw.

    Raises:
        ValueError: The index has a head beyond E.
    """
    check_ids(heads=(index.head, num_entities))
    head, rel = index.head.cpu(), index.rel.cpu()
    size = int(rel.max()) + 1 if len(rel) else 0
    _, place, count = head.unique_consecutive(
        return_inverse=True, return_counts=True
    )
    # Relations that go with no other one have nothing to offer.
    rows = torch.isin(rel, rel[count[place] > 1]).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    found = torch.empty(0, dtype=torch.long)
    draws = max(2 * num, 4096)
    shared = _shared_heads(place, rel, size) if rows.numel() else None
    for _ in range(20 if rows.numel() else 0):
        at = rows[torch.randint(len(rows), (draws,), generator=generator)]
        # Relation by relation, so that no matrix of all draws is needed.
        at = at[rel[at].argsort(stable=True)]
        counts = torch.bincount(rel[at], minlength=size).tolist()
        others = [
            _draw(shared, r, n, generator) for r, n in enumerate(counts) if n
        ]
        key = head[at] * size + torch.cat(others)
        new = ~torch.isin(key, head * size + rel)
        before = found.numel()
        found = torch.cat([found, key[new]]).unique()
        if found.numel() >= num or found.numel() == before:
            break
    order = torch.randperm(found.numel(), generator=generator)[:num]
    found = found[order].to(index.head.device)
    return Queries(found // size, found % size)


# How many heads two relations share, in compressed rows: of many relations
# few have heads in common. Heads are numbered without gaps.
def _shared_heads(head: Tensor, rel: Tensor, size: int) -> sparse.csr_array:
    from scipy import sparse

    ones = np.ones(len(head), dtype=np.int32)
    shape = size, int(head.max()) + 1
    has = sparse.csr_array((ones, (rel.numpy(), head.numpy())), shape=shape)
    shared = has @ has.T
    shared.sort_indices()
    return shared


# Draws from a row of the matrix above, as from the full row without its
# diagonal, to the last bit.
def _draw(
    shared: sparse.csr_array, r: int, count: int, generator: torch.Generator
) -> Tensor:
    row = slice(shared.indptr[r], shared.indptr[r + 1])
    others = torch.from_numpy(shared.indices[row]).long()
    weights = torch.from_numpy(shared.data[row]).float()
    weights[others == r] = 0.0
    if count > 1:
        # Zeros change no cumulative sum.
        return others[
            torch.multinomial(weights, count, True, generator=generator)
        ]
    # A single draw takes a random number for each column.
    full = torch.zeros(shared.shape[0]).index_put((others,), weights)
    return torch.multinomial(full, 1, True, generator=generator)
