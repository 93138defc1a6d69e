"""MoSE-MI: a small network mixes what the teachers say of each entity."""

import torch
from torch import Tensor, nn

from dsom_pyg.losses import query_cross_entropy
from dsom_pyg.models import Model
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.teachers.ensemble import TeacherEnsemble


class MetaLearner(Model):
    r"""Meta-learner inference of MoSE (`Zhao et al.
    <https://arxiv.org/abs/2210.08821>`_, 2022): :math:`g(x) = \mathrm{relu}(w
    \cdot \mathrm{relu}(W x + b) + b')` of the logits x of M teachers, the same
    for all queries and entities. It learns by cross-entropy, on triples that
    the teachers have not seen.

    Args:
        ensemble: The teachers; they stay as they are.
        hidden: Width of the hidden layer.
        final_relu: Whether g is never negative, as in the code of the
            authors. Then many entities tie at 0.
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        hidden: int = 32,
        final_relu: bool = True,
    ) -> None:
        super().__init__(ensemble.num_entities, ensemble.num_relations)
        self.ensemble = ensemble.requires_grad_(False).eval()
        self.final_relu = final_relu
        self.mlp = nn.Sequential(
            nn.Linear(len(ensemble), hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def train(self, mode: bool = True) -> 'MetaLearner':
        super().train(mode)
        self.ensemble.eval()
        return self

    def reset_parameters(self) -> None:
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        query = head_index, rel_type, entities, precision
        with torch.no_grad():
            logits = torch.stack(self.ensemble.each(*query), dim=-1)
        out: Tensor = self.mlp(logits)[..., 0]
        return out.relu() if self.final_relu else out

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        scores = self.score_tails(batch.head, batch.rel, precision=precision)
        return {'ce': query_cross_entropy(scores, batch.targets)}
