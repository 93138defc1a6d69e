"""How the answers of M teachers are weighed, query by query."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.teachers.answers import Answers


@dataclass
class Weighing:
    r"""What a combiner decided for a batch of queries.

    Args:
        weights: Of the teachers, ``[B, M]``, without gradient.
        loss: A scalar that trains the combiner.
        metrics: Detached scalars by name.
    """

    weights: Tensor
    loss: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


def shares_of(weights: Tensor) -> Tensor:
    r"""Weights ``[..., M]`` as shares of the sum of their sizes, which has no
    0; some may be negative, see :obj:`Combiner.signed`.
    """
    total = weights.abs().sum(dim=-1, keepdim=True)
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)


class Combiner(nn.Module):
    r"""Base class. A subclass gives :meth:`weights`; one that learns also
    overrides :meth:`forward`. One that is made for some E or R alone should
    tell them by :obj:`num_entities` and :obj:`num_relations`.
    """

    lr: float = 1e-3
    r"""Learning rate of Adam, which trains what learns here."""

    by_target = False
    r"""Whether :meth:`forward` says other weights than :meth:`weights` as it
    sees the targets or the student, so that it must be asked in every step.
    """

    wide = True
    r"""Whether it may hold all logits of a query at once, so that it is asked
    about few at a time where there are many entities.
    """

    signed = False
    r"""Whether a weight may be negative, so that nothing can be built on
    them.
    """

    epochs_done = 0
    r"""How many epochs the student has been trained."""

    def weights(self, answers: Answers) -> Tensor:
        r"""The weights used where no target is known, ``[B, M]``.

        They are not negative, unless it is :obj:`signed`. They need not sum
        to 1: their sum is how sharp the combined logits are.
        """
        raise NotImplementedError

    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student: Scores | None = None,
    ) -> Weighing:
        r"""Weigh the teachers. In training, learn from the targets and the
        scores of the student, ``[B, E]``, where they are given.
        """
        return Weighing(self.weights(answers).detach())

    def read(self, answers: Answers, targets: Pairs) -> None:
        r"""Work out, by :meth:`Answers.once
        <dsom_pyg.teachers.Answers.once>`, what :meth:`forward` will need of
        answers that do not change. Nothing need be.
        """

    @property
    def learns(self) -> bool:
        r"""Whether there is anything to train."""
        return any(p.requires_grad for p in self.parameters())


class Mean(Combiner):
    r"""The plain mean of all teachers; with :obj:`mask_missing` of those
    whose modality the head has.
    """

    wide = False

    def __init__(self, mask_missing: bool = False) -> None:
        super().__init__()
        self.mask_missing = mask_missing

    def weights(self, answers: Answers) -> Tensor:
        return mean_weights(answers, self.mask_missing)


def based(chosen: Tensor, base: Tensor) -> Tensor:
    r"""Base weights that an action multiplies, scaled to their sum; where it
    leaves none of them, they stay as they are. All are ``[B, M]``.
    """
    chosen = chosen * base
    chosen = chosen.where(chosen.sum(dim=1, keepdim=True) > 0, base)
    total = base.sum(dim=1, keepdim=True)
    return chosen * (total / chosen.sum(dim=1, keepdim=True))


def mean_weights(answers: Answers, mask_missing: bool) -> Tensor:
    r"""Equal weights ``[B, M]``, of all teachers or of the available ones."""
    mask = answers.available.to(torch.get_default_dtype())
    if not mask_missing:
        mask = torch.ones_like(mask)
    # Nobody available: better all than nothing.
    mask = mask.masked_fill(mask.sum(dim=1, keepdim=True) == 0, 1.0)
    return mask / mask.sum(dim=1, keepdim=True)
