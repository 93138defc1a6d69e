"""MulDE: teachers that agree with the student weigh more."""

from math import inf
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import Combiner, Weighing

TINY = 1e-7


def check_mulde(top: int, soft: float, tau: float, lr: float) -> None:
    r"""Raise :class:`ValueError` unless :class:`MulDE` can have these."""
    if top < 1 or not isinstance(top, Integral):
        raise ValueError(f'top must be a positive integer, got {top}')
    if not 0 <= soft < inf:
        raise ValueError(f'soft is a weight, at least 0, got {soft}')
    for name, value in (('tau', tau), ('lr', lr)):
        if not 0 < value < inf:
            raise ValueError(f'{name} must be positive, got {value}')


class MulDE(Combiner):
    r"""The Senior of MulDE (Wang et al., 2021, `arXiv:2010.07152
    <https://arxiv.org/abs/2010.07152>`_), which combines teachers for a
    student, the Junior.

    Each teacher is scaled by relation, :math:`\tilde s^i = \sigma(G_{r,i})
    s^i`, G all ones at first. On the K entities that the student scores
    highest, :math:`d_i = KL(P_{stu} \,\|\, \mathrm{softmax}\, \tilde s^i)`,
    and weights are :math:`\mathrm{softmax}_i(-d_i / \rho)`, with :math:`\rho =
    e^{\lfloor n / 5 \rfloor}` in epoch n, counted from 0. The gates learn from
    a binary cross-entropy of the combined logits, and from the distillation.
    The student learns from neither weights nor gates, which MulDE as published
    does not detach.

    Args:
        num_teachers: M.
        num_relations: R.
        top: K.
        soft: Weight of the distillation.
        tau: Its temperature.
        lr: Learning rate of Adam.
    """

    wide = False
    by_target = True

    def __init__(
        self,
        num_teachers: int,
        num_relations: int,
        top: int = 500,
        soft: float = 2.0,
        tau: float = 4.0,
        lr: float = 5e-4,
    ) -> None:
        super().__init__()
        check_mulde(top, soft, tau, lr)
        self.gates = nn.Parameter(torch.ones(2 * num_relations, num_teachers))
        self.top, self.soft, self.tau, self.lr = top, soft, tau, lr

    @property
    def num_relations(self) -> int:
        r"""R."""
        return len(self.gates) // 2

    def weights(self, answers: Answers) -> Tensor:
        scale = self.gates[answers.rel].sigmoid()
        return scale / scale.size(1)

    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student: Scores | None = None,
    ) -> Weighing:
        if student is None:
            return Weighing(self.weights(answers).detach())
        junior, best = student.best(self.top)
        row = torch.arange(len(answers), device=best.device)
        pairs = Pairs(row.repeat_interleave(best.size(1)), best.flatten())
        each = torch.stack(
            [x.at(pairs).view_as(junior) for x in answers.streams], dim=1
        )
        scale = self.gates[answers.rel].sigmoid()
        attention = contrast_attention(
            junior, (each * scale[:, :, None]).detach(), self.epochs_done
        )
        weights = attention * scale
        if targets is None or not (self.training and weights.requires_grad):
            return Weighing(weights.detach())
        senior = (each * weights[:, :, None]).sum(dim=1)
        hard = F.binary_cross_entropy_with_logits(
            senior, _labels(best, targets), reduction='none'
        ).mean(dim=1)
        soft = senior_kl(senior, junior, self.tau)
        count = targets.count(len(answers))
        loss = ((hard + self.soft * soft) * count).sum() / count.sum()
        metrics = {
            f'weight {m}': value
            for m, value in zip(
                answers.ensemble.modalities,
                weights.detach().mean(dim=0),
                strict=True,
            )
        }
        return Weighing(weights.detach(), loss, metrics)


def contrast_attention(junior: Tensor, each: Tensor, epoch: int) -> Tensor:
    r"""Weights ``[B, M]`` of teachers by how near they are to the student.

    Args:
        junior: Scores of the student, ``[B, K]``.
        each: Those of the teachers, ``[B, M, K]``.
        epoch: Counted from 0.
    """
    p = junior.softmax(dim=1)[:, None] + TINY
    divergence = (p * (p.log() - each.log_softmax(dim=2))).sum(dim=2)
    rho = torch.tensor(float(epoch // 5)).exp().to(divergence)
    return (-divergence / rho).softmax(dim=1)


def senior_kl(senior: Tensor, junior: Tensor, tau: float) -> Tensor:
    r""":math:`\tau^2 KL(\mathrm{softmax}(S / \tau) \,\|\,
    \mathrm{softmax}(j / \tau))` of each query, ``[B]``.
    """
    p = (senior / tau).softmax(dim=1) + TINY
    log_q = (junior / tau).log_softmax(dim=1)
    return tau**2 * (p * (p.log() - log_q)).sum(dim=1)


def _labels(ids: Tensor, targets: Pairs) -> Tensor:
    # Which of the entities [B, K] are targets, as numbers.
    both = torch.cat([ids.flatten(), targets.tail])
    size = int(both.max()) + 1
    row = torch.arange(len(ids), device=ids.device)[:, None]
    known = targets.row * size + targets.tail
    return torch.isin(row * size + ids, known).to(torch.get_default_dtype())
