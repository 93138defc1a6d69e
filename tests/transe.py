"""A model that is no dot product, as a user would write it."""

import torch
from torch import Tensor, nn

from dsom_pyg.losses import query_cross_entropy
from dsom_pyg.models import Model
from dsom_pyg.query_index import QueryBatch


class TransE(Model):
    """Minus the distance of the translated head from the tail."""

    def __init__(
        self, num_entities: int, num_relations: int, channels: int = 8
    ) -> None:
        super().__init__(num_entities, num_relations)
        self.entity = nn.Parameter(torch.empty(num_entities, channels))
        self.relation = nn.Parameter(torch.empty(2 * num_relations, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.entity)
        nn.init.normal_(self.relation)

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        query = self.entity[head_index] + self.relation[rel_type]
        return -torch.cdist(query, self.entity[entities], p=1)

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        logits = self.score_tails(batch.head, batch.rel, precision=precision)
        return {'ce': query_cross_entropy(logits, batch.targets)}
