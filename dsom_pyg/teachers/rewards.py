"""What a policy is rewarded for: how well weighted teachers answer."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from dsom_pyg.losses import paper_advantage, target_cross_entropy
from dsom_pyg.query_index import Pairs
from dsom_pyg.scatter import segment
from dsom_pyg.scores import Scores, as_scores, weighted_sum
from dsom_pyg.scores.chunks import InChunks
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import based
from dsom_pyg.words import in_words

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
        said = answers.streams, targets, answers.context.known
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
        return f'{type(self).__name__}({in_words(self.advantage)})'


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
        said = answers.streams, targets, answers.context.known
        return 100 * reciprocal_ranks(actions, *said, base)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def combined_cross_entropy(
    weights: Tensor,
    logits: Sequence[Scores | Tensor],
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
    each = [as_scores(x) for x in logits]
    if not all(x.at(targets).isfinite().all() for x in each):
        raise FloatingPointError('a teacher gave a non-finite score')
    combined = weighted_sum(weights, each)
    score = combined.at(targets)
    log_z = combined.logsumexp(without=known)[targets.row]
    if known is not None:
        log_z = torch.logaddexp(log_z, score)
    return log_z - score


@torch.no_grad()
def reciprocal_ranks(
    actions: Tensor,
    logits: Sequence[Scores | Tensor],
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
    each = [as_scores(x) for x in logits]
    source, row = each[0].source, targets.row
    # To the bit as those of their rivals.
    of_targets = [x.at(targets, walk=True) for x in each]
    scale = None if base is None else base[row]
    # Each pair is a row of its own here, and its target no rival.
    own = torch.arange(row.numel(), device=row.device)
    target = InChunks(own, targets.tail, source)
    filtered = None
    if known is not None:
        filtered = InChunks(known.row, known.tail, source)
    ahead = actions.new_zeros(row.numel(), len(actions))
    for chunks in zip(*(x.source.walk() for x in each), strict=True):
        some = chunks[0][0]
        rival = torch.ones_like(chunks[0][1])
        if filtered is not None:
            filtered.put(some, rival, 0.0)
        rival = rival[row]
        target.put(some, rival, 0.0)
        # Where a teacher ties, all entities are weighed: bounded by pairs.
        step = max(1, WEIGHED // (rival.size(1) * len(actions)))
        for at in own.split(step):
            lead = [
                chunk[row[at]] - scores[at, None]
                for (_, chunk), scores in zip(chunks, of_targets, strict=True)
            ]
            more = None if scale is None else scale[at]
            ahead[at] += _ahead(actions, lead, rival[at] > 0, more)
    if source.shard is not None:
        source.shard.sum(ahead)
    return (1 + ahead).reciprocal()


def _ahead(
    actions: Tensor,
    lead: Sequence[Tensor],
    rival: Tensor,
    scale: Tensor | None,
) -> Tensor:
    # How many rivals are ahead of each target under each weighting, [K, A];
    # who is equal counts a half.
    if not all(x.isfinite().all() for x in lead):
        raise FloatingPointError(
            'a teacher gave a non-finite score; a ranking with NaN would '
            'look perfect'
        )
    some = torch.stack([x >= 0 for x in lead]).any(dim=0)
    pair, entity = (rival & some).nonzero(as_tuple=True)
    leads = torch.stack([x[pair, entity] for x in lead], dim=1)
    if scale is not None:
        leads = leads * scale[pair]
    score = leads @ actions.t()
    if scale is not None:
        # An action of teachers that the base leaves out: the base decides.
        void = scale @ (actions > 0).to(scale).t() == 0
        if void.any():
            score = leads.sum(dim=1, keepdim=True).where(void[pair], score)
    # By signs, in a single pass.
    rivals = torch.bincount(pair, minlength=len(rival))
    ptr = nn.functional.pad(rivals.cumsum(0), (1, 0))
    signs = segment(score.sign_(), ptr)
    return (signs + rivals[:, None]) / 2
