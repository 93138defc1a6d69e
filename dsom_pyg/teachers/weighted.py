"""Weights of the teachers, fitted on triples that they have not seen."""

import torch
from torch import Tensor, nn

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import Combiner, Weighing
from dsom_pyg.teachers.rewards import combined_cross_entropy


class Weighted(Combiner):
    r"""A weight for each teacher, or for each teacher and relation.

    The combined logits are :math:`\sum_m w_{m,r} F^m` with positive weights
    that need not sum to 1: a weight is the inverse temperature of its
    teacher as well. :class:`~dsom_pyg.training.PolicyTask` learns them from
    the cross-entropy of held-out triples, so the combination is calibrated.

    Relations with few such triples would fit noise. So the logarithm of
    :math:`w_{m,r}` is a global one plus an offset, and the offsets have a
    Gaussian prior: what is minimised is

    .. math::
        \frac{1}{K} \Big(\sum_k CE_k +
        \lambda \sum_{m,r} o_{m,r}^2\Big)

    over all K pairs, spread over the batches in which a relation occurs.

    Args:
        num_teachers: M.
        counts: Held-out (query, tail) pairs of each relation, ``[2R]``;
            :obj:`None` for one weight a teacher, a calibrated mean.
        shrinkage: :math:`\lambda`.
        mask_missing: Leave out teachers whose modality the head lacks.
        lr: Learning rate of Adam.
    """

    wide = False
    counts: Tensor

    def __init__(
        self,
        num_teachers: int,
        counts: Tensor | None = None,
        shrinkage: float = 10.0,
        mask_missing: bool = False,
        lr: float = 0.05,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.shrinkage, self.mask_missing = shrinkage, mask_missing
        start = torch.full((num_teachers,), 1 / num_teachers).log()
        self.log_weight = nn.Parameter(start)
        self.offset = None
        if counts is not None:
            shape = counts.numel(), num_teachers
            self.offset = nn.Parameter(torch.zeros(shape))
            counts = counts.clamp(min=1).to(torch.get_default_dtype())
            self.register_buffer('counts', counts, persistent=False)

    @property
    def num_relations(self) -> int | None:
        r"""R, if there are weights by relation."""
        return None if self.offset is None else len(self.offset) // 2

    def weights(self, answers: Answers) -> Tensor:
        log_weight = self.log_weight.expand(len(answers), -1)
        if self.offset is not None:
            log_weight = log_weight + self.offset[answers.rel]
        weights = log_weight.exp()
        if not self.mask_missing:
            return weights
        # Nobody available: better all than nothing.
        mask = answers.available | ~answers.available.any(dim=1, keepdim=True)
        return weights * mask

    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student: Scores | None = None,
    ) -> Weighing:
        weights = self.weights(answers)
        if not self.training or not weights.requires_grad or targets is None:
            return Weighing(weights.detach())
        known = answers.context.known
        ce = combined_cross_entropy(weights, answers.streams, targets, known)
        ce = ce.mean()
        loss = ce + self._penalty(answers, targets)
        return Weighing(weights.detach(), loss, {'ce': ce.detach()})

    def _penalty(self, answers: Answers, targets: Pairs) -> Tensor:
        if self.offset is None:
            return self.log_weight.new_zeros(())
        # Each pair carries its share of the prior of its relation.
        rel = answers.rel[targets.row]
        squares = self.offset.square().sum(dim=1) / self.counts
        return self.shrinkage * squares[rel].mean()
