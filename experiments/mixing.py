"""MoSE-MI: a network over teachers, which learns from validation."""

from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg import KG
from dsom_pyg.evaluation import Scorer
from dsom_pyg.graph import add_reciprocals, draw, with_split, within
from dsom_pyg.models import Model
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.teachers import MetaLearner, TeacherEnsemble
from dsom_pyg.training import FitResult, ModelTask, Run, drawn_with
from experiments.table import Mixed


def mixed(
    run: Run, what: Mixed, ensemble: TeacherEnsemble
) -> tuple[MetaLearner, FitResult]:
    r"""A network over the teachers, of validation triples alone."""
    graph = run.graph
    held = graph.triples('val')
    mask = draw(held, 0.1, run.seed, 'nothing')
    data = with_split(graph.data, 'train', held.select(~mask))
    data = with_split(data, 'val', held.select(mask))
    seen = graph.triples('train')
    seen = add_reciprocals(
        seen.select(~within(seen, held)), graph.num_relations
    )
    known = QueryIndex(seen, graph.num_entities, graph.num_relations)
    with drawn_with(run.seed + 2):
        model = MetaLearner(ensemble, what.hidden, what.final_relu)
    result = run.fit('mixed', Mixing(model, known), what.loop, KG(data))
    return model, result


class Mixing(ModelTask):
    r"""Training on other triples than those that the filter of its choice of
    an epoch has to know as well.

    Args:
        model: What is trained.
        known: Further answers that are no rivals.
    """

    def __init__(self, model: Model, known: QueryIndex) -> None:
        super().__init__(model)
        self.known = known

    def scorer(self) -> Scorer:
        return Unrivalled(self.model, self.known)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), 'further_known': len(self.known)}


class Unrivalled(nn.Module):
    r"""A scorer that gives some answers less than any other.

    Args:
        scorer: What it is asked.
        known: These answers.
    """

    def __init__(self, scorer: Model, known: QueryIndex) -> None:
        super().__init__()
        self.scorer, self.known = scorer, known
        self.num_entities = scorer.num_entities
        self.num_relations = scorer.num_relations

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Scores ``[B, E]``, or those of a part of the entities."""
        asked = head_index, rel_type
        scores = self.scorer.score_tails(*asked, entities, precision)
        low, high, _ = entities.indices(self.num_entities)
        found = self.known.to(scores.device).lookup(*asked)
        here = (found.tail >= low) & (found.tail < high)
        lowest = torch.finfo(scores.dtype).min
        scores[found.row[here], found.tail[here] - low] = lowest
        return scores
