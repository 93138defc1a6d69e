"""From a graph to a student in one call."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.graph import num_entities
from dsom_pyg.nn import (
    AdaptiveCombiner,
    CombinedTeachers,
    ComplEx,
    QueryWeights,
    TeacherEnsemble,
)
from dsom_pyg.query_index import unlabeled_queries
from dsom_pyg.training.config import FitResult
from dsom_pyg.training.fit import fit, train_index
from dsom_pyg.training.recipe_config import RecipeConfig
from dsom_pyg.training.stages import (
    fit_folds,
    fit_policy,
    fit_teachers,
    fit_weights,
    start_student,
)
from dsom_pyg.training.tasks import DistillTask


@dataclass
class Trained:
    r"""What :func:`train_dsom` returns.

    Attributes:
        student: What answers at test time.
        ensemble: Its teachers.
        policy: What combined them.
        results: What happened in training, stage by stage: ``'teachers'``,
            ``'policy'``, ``'student'``, and ``'start'`` if the student's
            beginning had to be trained. Of a committee ``'teachers'`` is
            the first member, ``'teachers-2'`` and so on are the others.
    """

    student: ComplEx
    ensemble: TeacherEnsemble
    policy: AdaptiveCombiner
    results: dict[str, FitResult]

    def combined(self, data: HeteroData) -> CombinedTeachers:
        r"""The teachers as a scorer, for comparison with the student."""
        return CombinedTeachers(self.ensemble, self.policy, train_index(data))


def train_dsom(
    data: HeteroData,
    config: RecipeConfig | None = None,
    checkpoints: str | Path | None = None,
) -> Trained:
    r"""Train teachers, a policy on held-out triples, and the student.

    The stages, each of which can be had alone: teachers on all of train;
    teachers that never saw a part of it (:func:`cross_fit`); weights by
    relation and, over subsets of the weighted teachers, a policy that is
    rewarded by the ranks of that part (:class:`AdaptiveCombiner`); its
    decisions for all training queries and for plausible ones without a known
    answer (:class:`QueryWeights`, :func:`unlabeled_queries`); the student
    before distillation (:func:`start_student`), and distillation.

    Args:
        data: The graph, with features of its modalities.
        config: How. (default: :class:`RecipeConfig()`)
        checkpoints: A folder; every stage then writes a file there after
            each epoch, and goes on from it. A larger committee takes up the
            teachers and folds of a smaller one; the files of the stages
            after them have to be removed first. (default: :obj:`None`)
    """
    config = config or RecipeConfig()
    folder = None if checkpoints is None else Path(checkpoints)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)

    def path(stage: str) -> Path | None:
        return folder and folder / f'{stage}.safetensors'

    results = {}
    loop = config.teachers
    ensemble, trained = fit_teachers(data, config, folder)
    for at, result in enumerate(trained):
        results['teachers' if at == 0 else f'teachers-{at + 1}'] = result
    epochs = [result.best_epoch for result in trained]
    folds = fit_folds(data, config, epochs, folder)
    weights = fit_weights(data, folds, config, path('weights'))
    policy, results['policy'] = fit_policy(
        data, folds, config, path('policy'), weights
    )
    device = torch.device(loop.device)
    index = train_index(data).to(device)
    pool = None
    if config.unlabeled:
        pool = unlabeled_queries(
            index, num_entities(data), config.unlabeled, loop.seed
        )
    decided = QueryWeights.of(
        policy,
        ensemble,
        index,
        pool,
        precision=loop.resolved_precision(),
    )
    student, begun = start_student(data, ensemble, config, path('start'))
    if begun is not None:
        results['start'] = begun
    objective = config.objective(student)
    distill = DistillTask(student, ensemble, decided, objective, pool)
    loop = config.student_loop()
    results['student'] = fit(distill, data, loop, path('student'))
    return Trained(student.as_table(), ensemble, policy, results)
