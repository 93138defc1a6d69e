"""MoSE-MI: a small network mixes what the teachers say of each entity."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dsom_pyg.losses import query_cross_entropy
from dsom_pyg.models import Model
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.teachers.ensemble import TeacherEnsemble

# How many numbers of the hidden layer are made at once.
MOST = 1 << 22


class MetaLearner(Model):
    r"""Meta-learner inference of MoSE (`Zhao et al.
    <https://arxiv.org/abs/2210.08821>`_, 2022): :math:`g(x) = \mathrm{relu}(w
    \cdot \mathrm{relu}(W x + b) + b')` of the logits x of M teachers, the same
    for all queries and entities. It learns by cross-entropy, on triples that
    the teachers have not seen.

    Args:
        ensemble: The teachers; they are frozen here.
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
        self.asked = (ensemble.requires_grad_(False).eval(),)
        self.final_relu, self.hidden = final_relu, hidden
        self.mlp = nn.Sequential(
            nn.Linear(len(ensemble), hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    @property
    def ensemble(self) -> TeacherEnsemble:
        r"""The teachers."""
        (ensemble,) = self.asked
        assert isinstance(ensemble, TeacherEnsemble)
        return ensemble

    def to(self, *words: Any, **more: Any) -> 'MetaLearner':
        r"""Its teachers go where it goes."""
        self.ensemble.to(*words, **more)
        return super().to(*words, **more)

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
            logits = self.ensemble.each(*query)
        # The hidden layer is wide: never that of all entities at once.
        step = max(1, MOST // max(1, self.hidden * len(head_index)))
        parts = zip(*(x.split(step, dim=1) for x in logits), strict=True)
        again = partial(
            checkpoint,
            self._mix,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        return torch.cat([again(*part) for part in parts], dim=1)

    def _mix(self, *logits: Tensor) -> Tensor:
        out: Tensor = self.mlp(torch.stack(logits, dim=-1))[..., 0]
        return out.relu() if self.final_relu else out

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        scores = self.score_tails(batch.head, batch.rel, precision=precision)
        weight = batch.pair_weights()
        return {'ce': query_cross_entropy(scores, batch.targets, weight)}
