"""Judges that did not see what they judge.

A model believes what it was trained on. So train is split into parts
(cross-fitting): teachers learn the rest of each part, a student learns from
them, and both judge the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dsom_pyg import stages
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.completion.suspects import Suspicion, belief, standardised
from dsom_pyg.dsom import Recipe
from dsom_pyg.graph import SPLITS, Triples, concat, first_twin, within
from dsom_pyg.kg import KG
from dsom_pyg.pyg import HeteroData
from dsom_pyg.teachers import EnsembleScorer, Mean
from dsom_pyg.training import FitResult, KFolds, Run


def suspicion(
    data: HeteroData | KG,
    recipe: Recipe | None = None,
    folds: int = 4,
    folder: str | Path | None = None,
    results: Mapping[str, FitResult] | None = None,
) -> Suspicion:
    r"""How much known triples are believed by who did not see them, see
    :func:`beliefs`. Some relations can be told better than others, so beliefs
    are compared within a relation.
    """
    graph = KG.of(data)
    known = distinct(graph)
    total = beliefs(graph, recipe, folds, folder, results)
    return Suspicion(known, standardised(total, known.edge_type))


def distinct(graph: KG) -> Triples:
    r"""The triples of all splits, each once."""
    every = concat(*map(graph.triples, SPLITS))
    first = first_twin(every)
    return every.select(first == torch.arange(len(first)))


def beliefs(
    data: HeteroData | KG,
    recipe: Recipe | None = None,
    folds: int = 4,
    folder: str | Path | None = None,
    results: Mapping[str, FitResult] | None = None,
) -> Tensor:
    r"""Train judges, and let each judge what it did not see.

    The mean of the teachers and the student of a fold say how many of the
    candidates for the tail of a triple, and how many of those for its head,
    they hold to be likelier, see
    :func:`~dsom_pyg.completion.suspects.belief`. What both say is added up.
    Triples of validation and test are judged by all folds, and get the mean.

    Args:
        data: The graph, with features of its modalities.
        recipe: How teachers and students are trained; its policy is not.
            (default: :func:`dsom_pyg.recipes.held_out`)
        folds: Parts of train, 2 or more. Each costs a training.
        folder: Where stages are saved, and go on from. Teachers of folds that
            the recipe's policy has trained there are taken.
        results: Of the training of the whole graph, whose teachers chose
            their epochs. (default: the epochs of the recipe)

    Returns:
        A value for each of the :func:`distinct` triples, ``[T]``.
    """
    recipe, graph = recipe or Recipe(), KG.of(data)
    run = Run(
        graph=graph,
        folder=None if folder is None else Path(folder),
        seed=recipe.seed,
        device=recipe.device,
        precision=recipe.precision,
        progress=recipe.progress,
        results=dict(results or {}),
    )
    known = distinct(graph)
    unseen = ~within(known, graph.triples('train'))
    ranges = Ranges(
        graph.index('train'), graph.num_entities, graph.num_relations
    )
    total = torch.zeros(len(known.edge_type))
    with run.interruptible():
        # No policy weighs those that only count, and a mean would trust them
        # as much as others.
        teachers = replace(recipe.teachers, observed=None)
        parts = stages.fit_folds(run, teachers, KFolds(folds))
        for at, fold in enumerate(parts):
            own = replace(
                run,
                graph=fold.graph,
                results={},
                within=f'judge-{at + 1}-of-{len(parts)}/',
            )
            learner = recipe.student, teachers, fold.ensemble
            begun = stages.start_student(own, *learner)
            words = recipe.student, begun, fold.ensemble, Mean()
            student = stages.distil(own, *words)
            seen = fold.graph.index('train')
            mine = within(known, fold.held) | unseen
            share = torch.where(unseen[mine], 1 / len(parts), 1.0)
            for judge in (
                student.cpu().eval(),
                EnsembleScorer(fold.ensemble.cpu(), Mean(), seen),
            ):
                asked = judge, graph, ranges, known.select(mine)
                total[mine] += share * belief(*asked)
    return total
