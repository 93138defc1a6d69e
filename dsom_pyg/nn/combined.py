"""The combination of teachers as a scorer of its own."""

from torch import Tensor, nn

from dsom_pyg.nn.combiners import Combiner, combine
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble


class CombinedTeachers(nn.Module):
    r"""The combination of teachers as a scorer of its own, for evaluation.

    Args:
        ensemble: The teachers.
        combiner: How their logits become one row.
    """

    def __init__(self, ensemble: TeacherEnsemble, combiner: Combiner) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.combiner = combiner

    @property
    def num_entities(self) -> int:
        r"""E."""
        return next(iter(self.ensemble)).num_entities

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Combined logits, ``[B, E]``; no target is involved."""
        batch = TeacherBatch(self.ensemble, head_index, rel_type, precision)
        weights = self.combiner.weights(batch)
        logits = self.ensemble.each(head_index, rel_type, entities, precision)
        return combine(weights, logits)
