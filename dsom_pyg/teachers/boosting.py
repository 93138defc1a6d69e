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
    for rel in of_relation.unique().tolist():
        queries = order[of_relation == rel]
        pairs = held.rows(queries)
        if pairs.row.numel() < FEWEST:
            continue
        right = []
        size = queries_at_once(ensemble, wide=True)
        for some in queries.split(size):
            right.append(_right(ensemble, held, known, some, precision))
        table[rel] = boosted_weights(torch.cat(right, dim=1), again)
    return Boosted(table.to(device))


def _right(
    ensemble: TeacherEnsemble,
    held: QueryIndex,
    known: QueryIndex,
    queries: Tensor,
    precision: str,
) -> Tensor:
    # Which entities each teacher ranks below each target, bool [M, K, E].
    head, rel = held.head[queries], held.rel[queries]
    pairs, others = held.rows(queries), known.lookup(head, rel)
    rival = torch.ones(len(queries), ensemble.num_entities, dtype=torch.bool)
    rival = rival.to(head.device)
    rival[others.row, others.tail] = False
    rows = []
    for logits in ensemble.each(head, rel, precision=precision):
        target = logits[pairs.row, pairs.tail]
        above = logits[pairs.row] >= target[:, None]
        above &= rival[pairs.row]
        above[torch.arange(len(target)), pairs.tail] = False
        rows.append(~above)
    return torch.stack(rows)


def boosted_weights(right: Tensor, again: bool = False) -> Tensor:
    r"""Weights of M teachers, ``[M]``.

    Args:
        right: Whether each ranks an entity below the target of a query, bool
            ``[M, K, E]``.
        again: See :func:`boost`.
    """
    share = torch.ones(right.shape[1:], device=right.device)
    share /= share.numel()
    weights = torch.zeros(len(right))
    picked: set[int] = set()
    for _ in range(len(right)):
        each = [_strength(share, one) for one in right]
        free = [
            m
            for m in range(len(right))
            if (weights[m] <= 0 if again else m not in picked)
        ]
        if not free:
            break
        best = max(free, key=lambda m: (each[m], -m))
        picked.add(best)
        weights[best] += each[best]
        sign = right[best].to(torch.get_default_dtype()).mul_(2).sub_(1)
        share *= sign.mul_(-each[best]).exp_()
        share /= share.sum()
    return weights


def _strength(share: Tensor, right: Tensor) -> float:
    good = float(share[right].sum(dtype=torch.double))
    bad = float(share[~right].sum(dtype=torch.double))
    return 0.5 * math.log((good + SMALL) / (bad + SMALL))
