"""What a policy is rewarded for: how well weighted teachers answer."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dsom_pyg.losses import (
    Scores,
    paper_advantage,
    row_blocks,
    target_cross_entropy,
)
from dsom_pyg.query_index import Pairs
from dsom_pyg.scatter import segment
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import based
from dsom_pyg.teachers.ensemble import weighted_sum

# Entities times weightings that are ranked at a time.
WEIGHED = 2**23

# From the cross-entropies of an action, of all teachers and of the student
# to how good the action was.
Advantage = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Reward(Protocol):
    r"""How good actions are, for each (query, target) pair of a batch."""

    def __call__(
        self,
        actions: Tensor,
        answers: Answers,
        targets: Pairs,
        student: Scores | None,
        base: Tensor | None,
        everyone: Tensor,
    ) -> Tensor:
        r"""The reward ``[K, A]`` of each of A actions.

        Args:
            actions: Weightings of the teachers, ``[A, M]``.
            answers: What the teachers say.
            targets: Tails of the queries, K pairs.
            student: What the student says, ``[B, E]``.
            base: Weights that the actions multiply, ``[B, M]``.
            everyone: Those of all teachers together, ``[B, M]``.
        """


class CrossEntropyReward:
    r"""The paper's: whose cross-entropy on the target is lower.

    Args:
        advantage: From the cross-entropies of the action, of all teachers
            and of the student (each ``[K]``) to :math:`\delta`.
    """

    def __init__(self, advantage: Advantage = paper_advantage) -> None:
        self.advantage = advantage

    def __call__(
        self,
        actions: Tensor,
        answers: Answers,
        targets: Pairs,
        student: Scores | None,
        base: Tensor | None,
        everyone: Tensor,
    ) -> Tensor:
        # Actions and the mean by the same function: where they are the same,
        # delta must be exactly 0.
        said = answers.each, targets, answers.context.known
        ce_all, ce_student = combined_cross_entropy(everyone, *said), None
        if student is not None:
            ce_student = target_cross_entropy(student, targets)
        columns = []
        for action in actions:
            weights = action.expand(len(answers), -1)
            if base is not None:
                # As they are used: how sharp they are counts here.
                weights = based(weights, base)
            ce = combined_cross_entropy(weights, *said)
            columns.append(self.advantage(ce, ce_all, ce_student))
        return torch.stack(columns, dim=1)

    def __repr__(self) -> str:
        name = getattr(self.advantage, '__name__', str(self.advantage))
        return f'{type(self).__name__}({name})'


class RankReward:
    r"""The filtered reciprocal rank of the target, in percent.

    Taken on triples that the teachers were not trained on it is what is
    reported in the end, up to the luck of the draw. Where the answers name no
    :obj:`known` tails, as in a distillation, the rank is not filtered.
    """

    def __call__(
        self,
        actions: Tensor,
        answers: Answers,
        targets: Pairs,
        student: Scores | None,
        base: Tensor | None,
        everyone: Tensor,
    ) -> Tensor:
        said = answers.each, targets, answers.context.known
        return 100 * reciprocal_ranks(actions, *said, base)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def combined_cross_entropy(
    weights: Tensor,
    logits: Sequence[Tensor],
    targets: Pairs,
    known: Pairs | None = None,
) -> Tensor:
    r"""Cross-entropy of each pair under a combination that is not kept.

    Args:
        weights: Of each query and teacher, ``[B, M]``; a gradient flows into
            them.
        logits: Of each teacher, M times ``[B, E]``.
        targets: Tails of the queries, K pairs.
        known: True tails that are no rivals, as in a filtered ranking; the
            targets must be among them.
    """
    row, tail = targets.row, targets.tail
    at_target = torch.stack([x[row, tail] for x in logits], dim=1)
    if not at_target.isfinite().all():
        raise FloatingPointError('a teacher gave a non-finite score')
    score = (weights[row] * at_target).sum(dim=1)
    parts = []
    for rows in row_blocks(logits[0]):
        combined = weighted_sum(weights[rows], [x[rows] for x in logits])
        parts.append(_without(combined, known, rows).logsumexp(dim=1))
    log_z = torch.cat(parts)[row]
    if known is not None:
        log_z = torch.logaddexp(log_z, score)
    return log_z - score


@torch.no_grad()
def reciprocal_ranks(
    actions: Tensor,
    logits: Sequence[Tensor],
    targets: Pairs,
    known: Pairs | None = None,
    base: Tensor | None = None,
) -> Tensor:
    r"""Reciprocal rank of each pair under each of A weightings, ``[K, A]``,
    ties realistic.

    As weights are not negative, an entity that no teacher ranks above the
    target is below it under every weighting: only the few others are
    weighed.

    Args:
        actions: Weightings ``[A, M]``, non-negative, some weight in each.
        logits: Of each teacher, M times ``[B, E]``.
        targets: Tails of the queries, row by row.
        known: True tails that are no rivals; every other entity is one.
        base: Weights ``[B, M]``, not negative, that the actions multiply;
            where that leaves none of them, they count alone.
    """
    parts = []
    # Where a teacher ties, all entities are weighed: bounded by pairs.
    step = max(1, WEIGHED // (logits[0].size(1) * len(actions)))
    for rows in row_blocks(logits[0]):
        inside = _inside(targets, rows)
        row, tail = targets.row[inside] - rows.start, targets.tail[inside]
        block = [x[rows] for x in logits]
        rival = _without(torch.zeros_like(block[0]), known, rows) == 0
        for r, t in zip(row.split(step), tail.split(step), strict=True):
            scale = None if base is None else base[rows][r]
            parts.append(_block_ranks(actions, block, rival[r], r, t, scale))
    return torch.cat(parts).reciprocal()


def _block_ranks(
    actions: Tensor,
    logits: Sequence[Tensor],
    rival: Tensor,
    row: Tensor,
    tail: Tensor,
    scale: Tensor | None,
) -> Tensor:
    lead = [x[row] - x[row, tail][:, None] for x in logits]
    if not all(x.isfinite().all() for x in lead):
        raise FloatingPointError(
            'a teacher gave a non-finite score; a ranking with NaN would '
            'look perfect'
        )
    rival[torch.arange(len(row), device=row.device), tail] = False
    ahead = torch.stack([x >= 0 for x in lead]).any(dim=0)
    pair, entity = (rival & ahead).nonzero(as_tuple=True)
    leads = torch.stack([x[pair, entity] for x in lead], dim=1)
    if scale is not None:
        leads = leads * scale[pair]
    score = leads @ actions.t()
    if scale is not None:
        # An action of teachers that the base leaves out: the base decides.
        void = scale @ (actions > 0).float().t() == 0
        if void.any():
            score = leads.sum(dim=1, keepdim=True).where(void[pair], score)
    # Who is ahead counts 1, an equal 1/2; by signs, in a single pass.
    rivals = torch.bincount(pair, minlength=len(row))
    ptr = nn.functional.pad(rivals.cumsum(0), (1, 0))
    signs = segment(score.sign_(), ptr)
    return 1 + (signs + rivals[:, None]) / 2


def _inside(pairs: Pairs, rows: slice) -> slice:
    # Rows of pairs ascend, so those of a block lie together.
    edges = torch.tensor([rows.start, rows.stop], device=pairs.row.device)
    low, high = torch.searchsorted(pairs.row, edges).tolist()
    return slice(low, high)


def _without(combined: Tensor, known: Pairs | None, rows: slice) -> Tensor:
    if known is None:
        return combined
    inside = _inside(known, rows)
    at = (known.row[inside] - rows.start, known.tail[inside])
    minus_inf = combined.new_full((), -torch.inf)
    return combined.index_put(at, minus_inf)
