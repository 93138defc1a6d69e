"""The combination of teachers as a scorer of its own."""

from torch import Tensor, nn

from dsom_pyg.nn.combiners import Combiner
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble
from dsom_pyg.query_index import QueryIndex


class CombinedTeachers(nn.Module):
    r"""The combination of teachers as a scorer of its own, for evaluation.

    Args:
        ensemble: The teachers.
        combiner: How their logits become one row.
        seen: Tails that the teachers were trained on, as
            :func:`~dsom_pyg.training.train_index` gives them; needed where
            the combiner reads a :class:`CompactState`. (default: none)
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        combiner: Combiner,
        seen: QueryIndex | None = None,
    ) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.combiner = combiner
        self.seen = seen

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
        seen = None
        if self.seen is not None:
            index = self.seen.to(head_index.device)
            seen = index.lookup(head_index, rel_type)
        batch = TeacherBatch(
            self.ensemble, head_index, rel_type, precision, seen
        )
        weights = self.combiner.weights(batch)
        return self.ensemble.combined(
            head_index, rel_type, weights, entities, precision
        )
