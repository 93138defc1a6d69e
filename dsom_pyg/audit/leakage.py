"""Counts that reveal leakage between splits, without loops over triples.

Letters used in shapes: T triples. Masks are bool, ``[T]``.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from dsom_pyg.graph import Triples

# Entries of sparse products that are held at a time: some 30 MB.
BLOCK = 1 << 20


class RelationPair(NamedTuple):
    r"""Two relations with mostly the same entity pairs, perhaps reversed.

    ``shared`` pairs of the first are in the second too. They are a ``share``
    of the pairs of the first, and a ``share_second`` of those of the second.
    """

    first: int
    second: int
    shared: int
    share: float
    share_second: float


class RelationPairs(NamedTuple):
    r"""How many pairs of relations there are of a sort, and some of them,
    those that share most first.
    """

    total: int
    most: list[RelationPair]


def triple_codes(part: Triples, num_entities: int, num_rels: int) -> Tensor:
    r"""One number for each triple, equal for equal ones, ``[T]``."""
    if num_entities**2 * num_rels > 2**63:
        raise ValueError(
            f'{num_entities:,} entities and {num_rels:,} relations are too '
            f'many: 64 bits do not number all triples that they can form'
        )
    query = part.head * num_rels + part.edge_type
    return query * num_entities + part.tail


def reversed_in(part: Triples, train: Triples, num_entities: int) -> Tensor:
    r"""Which triples have their pair reversed in train, in any relation.
    Self loops, which are their own reverse, do not count.
    """
    known = train.head * num_entities + train.tail
    reverse = torch.isin(part.tail * num_entities + part.head, known)
    return reverse & (part.head != part.tail)


def paired_otherwise_in(
    part: Triples, train: Triples, num_entities: int, num_rels: int
) -> Tensor:
    r"""Which triples have their pair in train under another relation."""
    known = torch.unique(triple_codes(train, num_entities, num_rels))
    head, tail = known // num_entities // num_rels, known % num_entities
    pairs = (head * num_entities + tail).sort().values
    asked = part.head * num_entities + part.tail
    start = torch.searchsorted(pairs, asked)
    count = torch.searchsorted(pairs, asked, right=True) - start
    same = torch.isin(triple_codes(part, num_entities, num_rels), known)
    return count > same.long()


def relation_pairs(
    triples: Triples,
    num_entities: int,
    num_rels: int,
    threshold: float,
    least: int = 5,
    keep: int = 5,
) -> dict[str, RelationPairs]:
    r"""Relations that share most of their entity pairs with another one
    (``'repeated'``), with the reversed pairs of another one (``'reversed'``)
    or with their own reversed pairs (``'symmetric'``).

    The analysis of `Toutanova and Chen
    <https://aclanthology.org/W15-4007>`_ (2015) and `Akrami et al.
    <https://arxiv.org/abs/2003.08001>`_ (2020). Self loops do not count. A
    :obj:`threshold` is a share; fewer than :obj:`least` pairs say nothing
    about two relations. All are counted; those that share most, up to
    :obj:`keep` of each sort, are listed.
    """
    code = torch.unique(triple_codes(triples, num_entities, num_rels))
    query, tail = code // num_entities, code % num_entities
    head, rel = query // num_rels, query % num_rels
    # A relation of too few pairs cannot share enough with any other.
    size = torch.bincount(rel[head != tail], minlength=num_rels)
    use = (head != tail) & (size[rel] >= least)
    names, row = rel[use].unique(return_inverse=True)
    pairs = torch.stack([head[use], tail[use]])
    codes = torch.cat([pairs, pairs.flip(0)], 1)
    codes, column = (codes[0] * num_entities + codes[1]).unique(
        return_inverse=True
    )
    # Relations by pairs, and relations by pairs the other way round.
    given, turned = (
        csr_array(
            (np.ones(len(row), np.int32), (row.numpy(), part)),
            (len(names), len(codes)),
        )
        for part in column.numpy().reshape(2, -1)
    )
    # Most share too little; they are dropped as early as possible.
    need = np.maximum(least, threshold * size[names].numpy() * (1 - 1e-9))
    itself = np.arange(len(names))
    found = {
        'symmetric': [(itself, itself, given.multiply(turned).sum(axis=1))],
        'reversed': _shared(given, turned, least),
        'repeated': _shared(given, given, least),
    }
    out = {}
    for kind, parts in found.items():
        total, most = 0, list[RelationPair]()
        for first, second, shared in parts:
            enough = np.flatnonzero(shared >= need[first])
            total += len(enough)
            first, second, shared = (
                values[enough] for values in (first, second, shared)
            )
            for at in _largest(shared, keep):
                a, b = int(names[first[at]]), int(names[second[at]])
                n = int(shared[at])
                both = n / int(size[a]), n / int(size[b])
                most.append(RelationPair(a, b, n, *both))
            most = sorted(most, key=lambda x: (-x.shared, x[:2]))[:keep]
        out[kind] = RelationPairs(total, most)
    return out


def _largest(values: np.ndarray, keep: int) -> np.ndarray:
    # Places of the largest values, in no order; of equal ones the first.
    if len(values) <= keep:
        return np.arange(len(values))
    limit = np.partition(values, -keep)[-keep]
    above = np.flatnonzero(values > limit)
    equal = np.flatnonzero(values == limit)[: keep - len(above)]
    return np.concatenate([above, equal])


def _shared(
    given: csr_array, other: csr_array, least: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    # Two different rows, and how many columns they share, if that is enough:
    # some rows at a time, so that memory holds them.
    by_pair = other.T.tocsr()  # every product would do it again
    for rows in _blocks(given @ other.sum(axis=0)):
        both = given[rows] @ by_pair
        both.sort_indices()
        at = np.flatnonzero(both.data >= least)
        first = np.searchsorted(both.indptr, at, side='right') - 1 + rows.start
        second = both.indices[at]
        apart = first != second
        yield first[apart], second[apart], both.data[at][apart]


def _blocks(work: np.ndarray) -> Iterator[slice]:
    # Rows one after the other whose work together is about a block, or one
    # row that has more.
    done = work.cumsum() // BLOCK
    starts = np.flatnonzero(np.diff(done, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(work)]):
        yield slice(start, stop)


def component_sizes(triples: Triples) -> list[int]:
    r"""Entities in each connected part of the triples, largest first."""
    ids, (head, tail) = triples.edge_index.unique(return_inverse=True)
    # Older SciPy walks through graphs of such indices alone.
    ends = head.int().numpy(), tail.int().numpy()
    edges = np.ones(len(head), bool), ends
    graph = coo_array(edges, (len(ids), len(ids)))
    _, part = connected_components(graph, directed=False)
    return sorted(np.bincount(part).tolist(), reverse=True)
