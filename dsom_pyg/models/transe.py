"""TransE: a relation is a step from head to tail."""

from typing import Any

import torch
from torch import Tensor

from dsom_pyg.models.entity import EntityModule
from dsom_pyg.models.kge import KGE
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective


class TransE(KGE):
    r"""`TransE <https://papers.nips.cc/paper/5071>`_ (Bordes et al., 2013):
    :math:`-\lVert h + r - t \rVert_p` over all :math:`2D` real coordinates.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        p: 1 or 2.
        scale, objective, reciprocals: See :class:`~dsom_pyg.models.KGE`.
    """

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        p: int = 1,
        scale: float = 1e-3,
        objective: Objective = CROSS_ENTROPY,
        reciprocals: bool = True,
    ) -> None:
        if p not in (1, 2):
            raise ValueError(f'p must be 1 or 2, got {p}')
        super().__init__(
            entities,
            num_relations,
            scale=scale,
            objective=objective,
            reciprocals=reciprocals,
        )
        self.p = p

    def options(self) -> dict[str, Any]:
        return {**super().options(), 'p': self.p}

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return head + rel

    def inverse(self, rel: Tensor) -> Tensor:
        return -rel

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(query - rows, ord=self.p, dim=-1)

    def compare_all(self, query: Tensor, rows: Tensor) -> Tensor:
        # Exact: the way through products loses what is near.
        mode = 'donot_use_mm_for_euclid_dist'
        return -torch.cdist(query, rows, p=self.p, compute_mode=mode)

    def pair_width(self) -> int:
        # On a GPU the gradient of `cdist` holds a number for each coordinate.
        on_cpu = self.relations.device.type == 'cpu'
        return 1 if on_cpu else super().pair_width()
