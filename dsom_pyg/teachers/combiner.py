"""How the answers of M teachers are weighed, query by query."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dsom_pyg.query_index import Pairs
from dsom_pyg.teachers.answers import Answers


@dataclass
class Decision:
    r"""What a combiner decided for a batch of queries.

    Shapes:
        - **weights:** :math:`(B, M)`, of the teachers, without gradient
        - **loss:** scalar that trains the combiner, or :obj:`None`
        - **metrics:** name to a detached scalar tensor
    """

    weights: Tensor
    loss: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Combiner(nn.Module):
    r"""Base class. A subclass gives :meth:`weights`; one that learns also
    overrides :meth:`forward`.
    """

    lr: float = 1e-3
    r"""Learning rate of Adam, which trains what learns here."""

    def weights(self, answers: Answers) -> Tensor:
        r"""The weights used where no target is known, ``[B, M]``.

        They are not negative. They need not sum to 1: their sum is how sharp
        the combined logits are.
        """
        raise NotImplementedError

    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student_logits: Tensor | None = None,
    ) -> Decision:
        r"""Weigh the teachers, and learn from the targets if there are any.

        Args:
            answers: Of the teachers to a batch of queries.
            targets: Tails of the queries, given in training only.
            student_logits: Of the student, given in training only.

        Shapes:
            - **student_logits:** :math:`(B, E)`
        """
        return Decision(self.weights(answers).detach())

    @property
    def learns(self) -> bool:
        r"""Whether there is anything to train."""
        return any(p.requires_grad for p in self.parameters())


class Mean(Combiner):
    r"""The plain mean of all teachers.

    Args:
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`False`)
    """

    def __init__(self, mask_missing: bool = False) -> None:
        super().__init__()
        self.mask_missing = mask_missing

    def weights(self, answers: Answers) -> Tensor:
        return mean_weights(answers, self.mask_missing)


def based(chosen: Tensor, base: Tensor) -> Tensor:
    r"""Weights of teachers that an action multiplies, scaled to their sum.

    Where the action leaves none of them, they stay as they are.

    Shapes:
        - **chosen, base, output:** :math:`(B, M)`
    """
    chosen = chosen * base
    chosen = chosen.where(chosen.sum(dim=1, keepdim=True) > 0, base)
    total = base.sum(dim=1, keepdim=True)
    return chosen * (total / chosen.sum(dim=1, keepdim=True))


def mean_weights(answers: Answers, mask_missing: bool) -> Tensor:
    r"""Equal weights ``[B, M]``, of all teachers or of the available ones."""
    mask = answers.available.float()
    if not mask_missing:
        mask = torch.ones_like(mask)
    # Nobody available: better all than nothing.
    mask = mask.masked_fill(mask.sum(dim=1, keepdim=True) == 0, 1.0)
    return mask / mask.sum(dim=1, keepdim=True)
