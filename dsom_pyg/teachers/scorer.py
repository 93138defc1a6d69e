"""Teachers and how they are combined, as a scorer of its own."""

from torch import Tensor, nn

from dsom_pyg.graph import check_sizes
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.scores import Scores
from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.teachers.combiner import Combiner
from dsom_pyg.teachers.ensemble import TeacherEnsemble


class EnsembleScorer(nn.Module):
    r"""The combined teachers as a scorer, for evaluation.

    Args:
        ensemble: The teachers.
        combiner: How they are weighed.
        seen: N(h, r) of what the teachers were trained on, see
            :meth:`~dsom_pyg.kg.KG.index`; needed where the combiner reads a
            :class:`~dsom_pyg.teachers.CompactState`.

    Raises:
        ValueError: They are for different numbers of entities or relations.
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        combiner: Combiner,
        seen: QueryIndex | None = None,
    ) -> None:
        super().__init__()
        check_sizes(teachers=ensemble, combiner=combiner, seen=seen)
        self.ensemble, self.combiner, self.seen = ensemble, combiner, seen

    @property
    def num_entities(self) -> int:
        r"""E."""
        return self.ensemble.num_entities

    @property
    def num_relations(self) -> int:
        r"""R."""
        return self.ensemble.num_relations

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Combined logits, ``[B, E]``; no target is involved. Nobody looks at
        the ids here: :func:`~dsom_pyg.predict_tails` does.
        """
        return self._scores(head_index, rel_type, precision).part(entities)

    def own_scores(
        self, head_index: Tensor, rel_type: Tensor
    ) -> tuple[Tensor, Shard] | None:
        r"""As of a model, :meth:`~dsom_pyg.models.Model.own_scores`."""
        return self._scores(head_index, rel_type, 'fp32').own()

    def _scores(
        self, head_index: Tensor, rel_type: Tensor, precision: str
    ) -> Scores:
        query, context = (head_index, rel_type), Context()
        if self.seen is not None:
            # Where the queries are; a copy only if they have moved.
            self.seen = self.seen.to(head_index.device)
            context = Context(seen=self.seen.lookup(*query))
        answers = Answers(self.ensemble, *query, precision, context)
        weights = self.combiner.weights(answers)
        return self.ensemble.scores(*query, weights, precision)
