"""Teachers picked by rule: the paper's Table 2."""

import torch
from torch import Tensor

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.scores.chunks import Sums
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import Combiner, Weighing, mean_weights
from dsom_pyg.teachers.policy import subsets
from dsom_pyg.teachers.rewards import combined_cross_entropy


class MostConfident(Combiner):
    r"""ConfTeacher: the teacher whose best entity has the highest
    probability; the first one of several.

    Args:
        mask_missing: Leave out teachers whose modality the head lacks.
    """

    wide = False

    def __init__(self, mask_missing: bool = False) -> None:
        super().__init__()
        self.mask_missing = mask_missing

    @torch.no_grad()
    def weights(self, answers: Answers) -> Tensor:
        columns = []
        for scores in answers.streams:
            sums = Sums(scores.source)
            for _, chunk in scores.source.walk():
                sums.add(chunk)
            sums.join()
            columns.append(sums.top - sums.log())
        confidence = torch.stack(columns, dim=1)
        if self.mask_missing:
            there = mean_weights(answers, True) > 0
            confidence = confidence.masked_fill(~there, -torch.inf)
        best = confidence.argmax(dim=1)
        return torch.eye(len(columns), device=best.device)[best]


class Best(Combiner):
    r"""BestTeacher and BestStrategy: what has the lowest cross-entropy on the
    targets, so it reads the labels. A query without targets gets the mean.

    The fewest teachers go first among equals, then the order of the
    modalities. A query with several targets is judged by their mean; the
    paper's triples are one target each.

    Args:
        num_teachers: M.
        alone: Single teachers, else all subsets.
    """

    wide = False
    by_target = True
    actions: Tensor

    def __init__(self, num_teachers: int, alone: bool = False) -> None:
        super().__init__()
        actions = torch.eye(num_teachers)
        if not alone:
            every = subsets(num_teachers).flip(0)
            size = (every > 0).sum(dim=1)
            # By size; a stable sort keeps the order of the modalities.
            actions = every[size.argsort(stable=True)]
        self.register_buffer('actions', actions, persistent=False)

    def weights(self, answers: Answers) -> Tensor:
        return mean_weights(answers, False)

    @torch.no_grad()
    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student: Scores | None = None,
    ) -> Weighing:
        weights = self.weights(answers)
        if targets is None:
            return Weighing(weights)
        size = len(answers)
        columns = []
        for action in self.actions:
            ce = combined_cross_entropy(
                action.expand(size, -1), answers.streams, targets
            )
            total = ce.new_zeros(size)
            columns.append(total.index_add_(0, targets.row, ce))
        best = torch.stack(columns, dim=1).argmin(dim=1)
        asked = targets.count(size) > 0
        weights = torch.where(asked[:, None], self.actions[best], weights)
        return Weighing(weights)
