"""TuckER: a core tensor makes a matrix of every relation."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsom_pyg.models.bilinear import Bilinear
from dsom_pyg.models.entity import EntityModule, draw_normal
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective


class TuckER(Bilinear):
    r"""`TuckER <https://arxiv.org/abs/1901.09590>`_ (Balažević et al., 2019):
    :math:`\mathcal{W} \times_1 h \times_2 r \times_3 t`, all real.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        relation_channels: Width of a relation. (default: :math:`2D`)
        head_dropout, matrix_dropout, query_dropout: Of the rows of heads, of
            the matrices of relations (once a batch for each relation), and of
            queries.
        batch_norm: Normalise heads and queries over the batch.
        n3, scale, objective: See :class:`~dsom_pyg.models.Bilinear`.
    """

    complex_rows = False

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        relation_channels: int | None = None,
        head_dropout: float = 0.0,
        matrix_dropout: float = 0.0,
        query_dropout: float = 0.0,
        batch_norm: bool = False,
        n3: float = 0.0,
        scale: float = 0.1,
        objective: Objective = CROSS_ENTROPY,
    ) -> None:
        if getattr(objective, 'relations', 0.0):
            raise ValueError(
                'TuckER tells no relations, which would take a matrix for '
                'each triple and relation; take CrossEntropy(relations=0.0)'
            )
        super().__init__(entities, num_relations, n3, scale, objective)
        width = 2 * entities.hidden_channels
        if relation_channels is not None:
            shape = 2 * num_relations, relation_channels
            self.relations = nn.Parameter(torch.empty(shape))
            draw_normal(self.relations, scale)
        channels = self.relations.size(1)
        self.core = nn.Parameter(torch.empty(channels, width, width))
        self.head_dropout = head_dropout
        self.matrix_dropout = matrix_dropout
        self.query_dropout = query_dropout
        norms = [nn.BatchNorm1d(width) for _ in range(2)] if batch_norm else []
        self.norms = nn.ModuleList(norms)
        self.reset_core()

    def reset_core(self) -> None:
        r"""Draw the core tensor."""
        if not self.core.is_meta:
            nn.init.uniform_(self.core, -1.0, 1.0)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.reset_core()
        for norm in self.norms:
            assert isinstance(norm, nn.BatchNorm1d)
            norm.reset_parameters()

    def options(self) -> dict[str, Any]:
        return {
            'relation_channels': self.relations.size(1),
            'batch_norm': bool(self.norms),
        }

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        query = (self._prepared(head)[:, None] @ self._matrices(rel))[:, 0]
        return self._dropped(self._normed(1, query), self.query_dropout)

    def queries(self, head: Tensor, rel_type: Tensor, rel: Tensor) -> Tensor:
        # The matrix costs more than all else of a query, and a batch has fewer
        # relations than queries. In training these share what is dropped.
        order = rel_type.argsort()
        _, counts = rel_type[order].unique_consecutive(return_counts=True)
        first = order[counts.cumsum(0) - counts]
        heads = self._prepared(head)[order].split(counts.tolist())
        matrices = self._matrices(rel[first])
        parts = [x @ matrix for x, matrix in zip(heads, matrices, strict=True)]
        query = torch.cat(parts or [head])[order.argsort()]
        return self._dropped(self._normed(1, query), self.query_dropout)

    def _prepared(self, head: Tensor) -> Tensor:
        return self._dropped(self._normed(0, head), self.head_dropout)

    def _matrices(self, rel: Tensor) -> Tensor:
        matrix = (rel @ self.core.flatten(1)).unflatten(1, self.core.shape[1:])
        return self._dropped(matrix, self.matrix_dropout)

    def _dropped(self, x: Tensor, share: float) -> Tensor:
        return F.dropout(x, share, self.training)

    def _normed(self, at: int, x: Tensor) -> Tensor:
        if not self.norms:
            return x
        norm = self.norms[at]
        assert isinstance(norm, nn.BatchNorm1d)
        if norm.training and len(x) == 1:
            # One row has no variance: what was seen before is taken.
            norm = norm.eval()
            out: Tensor = norm(x)
            norm.train()
            return out
        out = norm(x)
        return out
