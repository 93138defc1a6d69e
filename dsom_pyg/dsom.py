"""DSoM on one page: what to train, and the order in which it is trained."""

from dataclasses import dataclass, field
from pathlib import Path

from torch_geometric.data import HeteroData

from dsom_pyg import stages
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from dsom_pyg.policies import HeldOut, PolicyChoice
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import Combiner, EnsembleScorer, TeacherEnsemble
from dsom_pyg.training import FitResult, Run


@dataclass(kw_only=True, frozen=True)
class Recipe:
    r"""What :func:`train_dsom` trains. See :mod:`dsom_pyg.recipes` for
    complete ones, the paper's among them.

    Args:
        teachers: Who teaches.
        policy: Who decides which teachers to believe: the exchangeable part,
            see :mod:`dsom_pyg.policies`.
        student: Who learns, and answers at test time.
        seed: Of all draws.
        device, precision, progress: See :func:`~dsom_pyg.training.fit`.
    """

    teachers: Teachers = field(default_factory=Teachers)
    policy: PolicyChoice = field(default_factory=HeldOut)
    student: Student = field(default_factory=Student)
    seed: int = 0
    device: str = 'cpu'
    precision: str | None = None
    progress: bool | None = None


@dataclass
class DSoM:
    r"""What :func:`train_dsom` returns.

    Attributes:
        student: What answers at test time.
        ensemble: Its teachers.
        policy: How they were weighed.
        seen: N(h, r) of what they were trained on.
        results: What happened, stage by stage.
    """

    student: Model
    ensemble: TeacherEnsemble
    policy: Combiner
    seen: QueryIndex
    results: dict[str, FitResult]

    @property
    def teachers(self) -> EnsembleScorer:
        r"""The teachers as the policy weighs them, as a scorer."""
        return EnsembleScorer(self.ensemble, self.policy, self.seen)


def train_dsom(
    data: HeteroData | KG,
    recipe: Recipe | None = None,
    folder: str | Path | None = None,
) -> DSoM:
    r"""Train teachers, a policy, and the student that learns from them.

    Args:
        data: The graph, with features of its modalities.
        recipe: How. (default: :func:`dsom_pyg.recipes.held_out`)
        folder: Every stage writes a file there after each epoch, and goes on
            from it. A larger committee takes up the teachers and folds of a
            smaller one; remove the files of later stages first.
    """
    recipe = recipe or Recipe()
    run = Run(
        graph=KG.of(data),
        folder=None if folder is None else Path(folder),
        seed=recipe.seed,
        device=recipe.device,
        precision=recipe.precision,
        progress=recipe.progress,
    )
    teachers, student = recipe.teachers, recipe.student
    student.start.check(run.graph)
    # Eq. 1 and 3: each teacher learns the training triples on its own.
    ensemble = stages.fit_teachers(run, teachers)
    # Eq. 5-10: who is believed. The paper's policy is only set up here and
    # learns below, along with the student; the others have learned now.
    policy = recipe.policy.prepare(run, teachers, ensemble)
    # Eq. 4, 11 and 12, Algorithm 1: the student learns the training triples,
    # and what its teachers, so weighed, say of every entity.
    begun = stages.start_student(run, student, teachers, ensemble)
    trained = stages.distil(run, student, begun, ensemble, policy)
    seen = run.graph.index('train')
    return DSoM(trained, ensemble, policy, seen, run.results)
