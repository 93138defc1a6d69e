"""Counts that reveal leakage between splits, without loops over triples.

Letters used in shapes: T triples. Masks are bool, ``[T]``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.graph import Triples


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


def triple_codes(part: Triples, num_entities: int, num_rels: int) -> Tensor:
    r"""One number for each triple, equal for equal ones, ``[T]``."""
    query = part.head * num_rels + part.edge_type
    return query * num_entities + part.tail


def reversed_in(part: Triples, train: Triples, num_entities: int) -> Tensor:
    r"""Which triples have their pair reversed in train, in any relation."""
    known = train.head * num_entities + train.tail
    return torch.isin(part.tail * num_entities + part.head, known)


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
    reverse: bool,
    least: int = 5,
) -> list[RelationPair]:
    r"""Relations that share most of their entity pairs with another one, or
    with its reversed pairs; those that share most first.

    The analysis of `Toutanova and Chen
    <https://aclanthology.org/W15-4007>`_ (2015) and `Akrami et al.
    <https://arxiv.org/abs/2003.08001>`_ (2020). Self loops do not count. A
    relation that is its own reverse is symmetric. A :obj:`threshold` is a
    share; fewer than :obj:`least` pairs say nothing about two relations.
    """
    code = torch.unique(triple_codes(triples, num_entities, num_rels))
    query, tail = code // num_entities, code % num_entities
    head, rel = query // num_rels, query % num_rels
    keep = head != tail
    head, rel, tail = head[keep], rel[keep], tail[keep]
    size = torch.bincount(rel, minlength=num_rels)
    pair, order = torch.sort(head * num_entities + tail)
    a, b = (tail, head) if reverse else (head, tail)
    asked = a * num_entities + b
    start = torch.searchsorted(pair, asked)
    count = torch.searchsorted(pair, asked, right=True) - start
    # Every triple meets all triples of its (reversed) pair.
    row = torch.arange(rel.numel()).repeat_interleave(count)
    offset = torch.arange(row.numel()) - (count.cumsum(0) - count)[row]
    other = rel[order[start[row] + offset]]
    both = rel[row] * num_rels + other
    both, shared = torch.unique(both, return_counts=True)
    first, second = both // num_rels, both % num_rels
    share = shared / size[first]
    keep = (share >= threshold) & (shared >= least)
    if not reverse:
        keep &= first != second
    found = torch.stack([first, second, shared])[:, keep].t().tolist()
    out = [
        RelationPair(a, b, n, n / int(size[a]), n / int(size[b]))
        for a, b, n in found
    ]
    return sorted(out, key=lambda each: (-each.shared, each[:2]))


def component_sizes(triples: Triples) -> list[int]:
    r"""Entities in each connected part of the triples, largest first."""
    import networkx as nx  # type: ignore[import-untyped, unused-ignore]

    graph = nx.Graph()
    graph.add_edges_from(triples.edge_index.t().tolist())
    return sorted(map(len, nx.connected_components(graph)), reverse=True)
