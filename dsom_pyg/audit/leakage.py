"""Counts that reveal leakage between splits, without loops over triples.

Letters used in shapes: T triples.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.graph import Triples

# Fewer shared pairs say nothing about two relations.
LEAST = 5


class RelationPair(NamedTuple):
    r"""Two relations with mostly the same entity pairs, perhaps reversed.

    Args:
        first, second: The relations.
        shared: Entity pairs of the first that the second has too.
        share: Their share among the pairs of the first.
        share_second: Their share among the pairs of the second.
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


def repeats(codes: Tensor) -> Tensor:
    r"""Which rows repeat an earlier one, bool ``[T]``."""
    order = torch.sort(codes, stable=True).indices
    ordered = codes[order]
    out = torch.zeros(codes.numel(), dtype=torch.bool)
    out[order[1:]] = ordered[1:] == ordered[:-1]
    return out


def reversed_in(part: Triples, train: Triples, num_entities: int) -> Tensor:
    r"""Which triples have their pair reversed in train, bool ``[T]``.

    Any relation counts.
    """
    known = train.head * num_entities + train.tail
    return torch.isin(part.tail * num_entities + part.head, known)


def paired_otherwise_in(
    part: Triples, train: Triples, num_entities: int, num_rels: int
) -> Tensor:
    r"""Which triples have their pair in train under another relation.

    Shapes:
        - **output:** :math:`(T)`, bool
    """
    known = torch.unique(triple_codes(train, num_entities, num_rels))
    head = known // num_entities // num_rels
    pair, count = torch.unique(
        head * num_entities + known % num_entities, return_counts=True
    )
    asked = part.head * num_entities + part.tail
    if not pair.numel():
        return torch.zeros_like(asked, dtype=torch.bool)
    place = torch.searchsorted(pair, asked).clamp(max=pair.numel() - 1)
    relations = count[place] * (pair[place] == asked)
    same = torch.isin(triple_codes(part, num_entities, num_rels), known)
    return relations - same.long() > 0


def relation_pairs(
    triples: Triples,
    num_entities: int,
    num_rels: int,
    threshold: float,
    reverse: bool,
    least: int = LEAST,
) -> list[RelationPair]:
    r"""Relations that share most of their entity pairs with another one.

    The analysis of `Toutanova and Chen
    <https://aclanthology.org/W15-4007>`_ (2015) and `Akrami et al.
    <https://arxiv.org/abs/2003.08001>`_ (2020). Self loops do not count. A
    relation that is its own reverse is symmetric.

    Args:
        triples: The triples.
        num_entities: E.
        num_rels: R.
        threshold: Least share of the pairs of the first relation.
        reverse: Compare with reversed pairs.
        least: Pairs that two relations must share to be listed.
            (default: :obj:`5`)

    Returns:
        The pairs of relations, those that share most first.
    """
    code = torch.unique(triple_codes(triples, num_entities, num_rels))
    query, tail = code // num_entities, code % num_entities
    head, rel = query // num_rels, query % num_rels
    keep = head != tail
    head, rel, tail = head[keep], rel[keep], tail[keep]
    size = torch.bincount(rel, minlength=num_rels)
    pair, order = torch.sort(head * num_entities + tail)
    asked = (
        (tail * num_entities + head)
        if reverse
        else head * (num_entities) + tail
    )
    start = torch.searchsorted(pair, asked)
    count = torch.searchsorted(pair, asked, right=True) - start
    # Every triple meets all triples of its (reversed) pair.
    row = torch.arange(rel.numel()).repeat_interleave(count)
    offset = torch.arange(row.numel()) - (count.cumsum(0) - count)[row]
    other = rel[order[start[row] + offset]]
    both, shared = torch.unique(
        rel[row] * num_rels + other, return_counts=True
    )
    first, second = both // num_rels, both % num_rels
    share = shared / size[first]
    keep = (share >= threshold) & (shared >= least)
    if not reverse:
        keep &= first != second
    out = [
        RelationPair(a, b, n, n / int(size[a]), n / int(size[b]))
        for a, b, n in zip(
            first[keep].tolist(),
            second[keep].tolist(),
            shared[keep].tolist(),
            strict=True,
        )
    ]
    return sorted(out, key=lambda each: (-each.shared, each[:2]))


def component_sizes(triples: Triples) -> list[int]:
    r"""Entities in each connected part of the triples, largest first."""
    import networkx as nx  # type: ignore[import-untyped, unused-ignore]

    graph = nx.Graph()
    graph.add_edges_from(triples.edge_index.t().tolist())
    return sorted(map(len, nx.connected_components(graph)), reverse=True)
