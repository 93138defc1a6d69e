"""RotatE: a relation turns the head, coordinate by coordinate."""

import torch
from torch import Tensor, nn

from dsom_pyg.models.entity import EntityModule
from dsom_pyg.models.kge import KGE
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective

TINY = 1e-30


class RotatE(KGE):
    r"""`RotatE <https://arxiv.org/abs/1902.10197>`_ (Sun et al., 2019):
    :math:`-\sum_k |h_k e^{i \theta_k} - t_k|`, rows [real | imaginary], D
    angles a relation.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        scale: The largest of the initial angles.
        objective, reciprocals: See :class:`~dsom_pyg.models.KGE`.
    """

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        scale: float = torch.pi,
        objective: Objective = CROSS_ENTROPY,
        reciprocals: bool = True,
    ) -> None:
        super().__init__(
            entities,
            num_relations,
            scale=scale,
            objective=objective,
            reciprocals=reciprocals,
            relation_channels=entities.hidden_channels,
        )
        self.reset_relations()

    def reset_relations(self) -> None:
        r"""Draw all angles."""
        if not self.relations.is_meta:
            nn.init.uniform_(self.relations, -self.scale, self.scale)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.reset_relations()

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        real, imag = head.chunk(2, dim=-1)
        cos, sin = rel.cos(), rel.sin()
        return torch.cat(
            [real * cos - imag * sin, real * sin + imag * cos], -1
        )

    def inverse(self, rel: Tensor) -> Tensor:
        return -rel

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        real, imag = (query - rows).chunk(2, dim=-1)
        # The gradient of a root at 0 is no number. A norm over this axis has
        # one, and takes a hundred times as long.
        square = (real * real).addcmul_(imag, imag)
        return -square.add_(TINY).sqrt_().sum(dim=-1)
