"""MoSE-BI: weights by relation, boosted on validation."""

import math

import torch
from torch import Tensor

from dsom_pyg.query_index import QueryIndex
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import Combiner
from dsom_pyg.teachers.ensemble import TeacherEnsemble
from dsom_pyg.teachers.lookup import queries_at_once

# A relation with fewer held-out triples gets equal weights.
FEWEST = 10
SMALL = 1e-10


class Boosted(Combiner):
    r"""Weights ``[2R, M]`` of each relation, see :func:`boost`. They may be
    negative, and need not sum to 1.
    """

    wide = False
    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer('table', table)
        self.signed = bool((table < 0).any())

    @property
    def num_relations(self) -> int:
        r"""R."""
        return len(self.table) // 2

    def weights(self, answers: Answers) -> Tensor:
        return self.table[answers.rel]


@torch.no_grad()
def boost(
    ensemble: TeacherEnsemble,
    held: QueryIndex,
    known: QueryIndex,
    again: bool = False,
    precision: str = 'fp32',
) -> Boosted:
    r"""Boosting inference of MoSE (`Zhao et al.
    <https://arxiv.org/abs/2210.08821>`_, 2022): for each relation teachers are
    added one after the other, each weighted by how few entities it ranks
    above the targets where the former ones did.

    Args:
        ensemble: The teachers.
        held: Triples that they have not seen, by query.
        known: Tails that are no rivals.
        again: A teacher of a weight of 0 or less may be picked again, and
            another one never, as in the code of the authors.
        precision: Of the products.
    """
    count, device = len(ensemble), held.head.device
    table = torch.full((2 * ensemble.num_relations, count), 1 / count)
    order = held.rel.argsort(stable=True)
    of_relation = held.rel[order]
    at_once = queries_at_once(ensemble, wide=True)
    for rel in of_relation.unique().tolist():
        queries = order[of_relation == rel]
        pairs = held.rows(queries)
        if pairs.row.numel() < FEWEST:
            continue
        counts = torch.zeros(2**count, dtype=torch.long)
        for some in queries.split(at_once):
            counts += _patterns(ensemble, held, known, some, precision)
        table[rel] = boosted_weights(counts, again)
    return Boosted(table.to(device))


def _patterns(
    ensemble: TeacherEnsemble,
    held: QueryIndex,
    known: QueryIndex,
    queries: Tensor,
    precision: str,
) -> Tensor:
    # What `boosted_weights` asks of these queries.
    head, rel = held.head[queries], held.rel[queries]
    pairs, others = held.rows(queries), known.lookup(head, rel)
    rival = torch.ones(len(queries), ensemble.num_entities, dtype=torch.bool)
    rival = rival.to(head.device)
    rival[others.row, others.tail] = False
    logits = ensemble.each(head, rel, precision=precision)
    counts = torch.zeros(2 ** len(logits), dtype=torch.long)
    # A query may have many targets.
    parts = (x.split(len(queries)) for x in (pairs.row, pairs.tail))
    for row, tail in zip(*parts, strict=True):
        free = rival[row]
        free[torch.arange(len(tail)), tail] = False
        pattern = torch.zeros(free.shape, dtype=torch.int, device=free.device)
        for m, one in enumerate(logits):
            above = (one[row] >= one[row, tail, None]) & free
            pattern += (~above).int() << m
        found = torch.bincount(pattern.flatten(), minlength=len(counts))
        counts += found.cpu()
    return counts


def boosted_weights(counts: Tensor, again: bool = False) -> Tensor:
    r"""Weights of M teachers, ``[M]``.

    An entity's share of the attention depends on nothing but which teachers
    rank it below the target, so it is enough to count these patterns.

    Args:
        counts: For how many pairs of a target and an entity these teachers,
            and no others, rank the entity below the target, ``[2^M]``: bit
            :math:`m` of a place stands for teacher :math:`m`.
        again: See :func:`boost`.
    """
    size = len(counts).bit_length() - 1
    places = torch.arange(len(counts))
    right = (places >> torch.arange(size)[:, None]) % 2 == 1
    share = counts.double() / counts.sum()
    weights = torch.zeros(size)
    picked: set[int] = set()
    for _ in range(size):
        each = [_strength(share, one) for one in right]
        free = [
            m
            for m in range(size)
            if (weights[m] <= 0 if again else m not in picked)
        ]
        if not free:
            break
        best = max(free, key=lambda m: (each[m], -m))
        picked.add(best)
        weights[best] += each[best]
        share *= (each[best] * (1 - 2 * right[best].double())).exp()
        share /= share.sum()
    return weights


def _strength(share: Tensor, right: Tensor) -> float:
    good, bad = float(share[right].sum()), float(share[~right].sum())
    return 0.5 * math.log((good + SMALL) / (bad + SMALL))
