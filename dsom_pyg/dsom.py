"""DSoM on one page: what to train, and the order in which it is trained."""

from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path

from dsom_pyg import stages
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from dsom_pyg.policies import HeldOut, PolicyChoice
from dsom_pyg.pyg import HeteroData
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import (
    Combiner,
    EnsembleScorer,
    Lookup,
    TeacherEnsemble,
)
from dsom_pyg.training import FitResult, Progress, Run
from dsom_pyg.words import make_plain


@dataclass(kw_only=True, frozen=True)
class Recipe:
    r"""What :func:`train_dsom` trains. See :mod:`dsom_pyg.recipes` for
    complete ones, the paper's among them.

    Args:
        teachers: Who teaches.
        policy: Who decides which teachers to believe: the exchangeable part,
            see :mod:`dsom_pyg.policies`.
        student: Who learns, and answers at test time.
        seed: Seed of all random draws, less than 2**62.
        device, precision, progress: See :func:`~dsom_pyg.training.fit`.
    """

    teachers: Teachers = field(default_factory=Teachers)
    policy: PolicyChoice = field(default_factory=HeldOut)
    student: Student = field(default_factory=Student)
    seed: int = 0
    device: str = 'cpu'
    precision: str | None = None
    progress: bool | Progress | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        # Found out now, not after the teachers were trained.
        made = not isinstance(self.policy, type)
        if not (made and hasattr(self.policy, 'prepare')):
            raise TypeError(
                f'policy needs prepare(run, teachers, ensemble), which '
                f'{self.policy!r} has not; what learns from held-out triples '
                'is given as HeldOut(learner=...)'
            )
        whole = isinstance(self.seed, Integral)
        if isinstance(self.seed, bool) or not whole:
            raise TypeError(f'seed must be a whole number, got {self.seed!r}')
        if not abs(self.seed) < 2**62:  # stages add to it
            raise ValueError(
                f'seed must lie between -2**62 and 2**62, got {self.seed}'
            )


@dataclass
class DSoM:
    r"""What :func:`train_dsom` returns.

    Attributes:
        student: The trained student, which answers at test time.
        ensemble: Its teachers.
        policy: The combiner that weighs them.
        seen: N(h, r) of what they were trained on.
        results: What happened, stage by stage.
        recipe: How they were trained.
        decisions: What the policy said of the queries that the student
            learned from; :obj:`None` where it learned along, or needs answers.
    """

    student: Model
    ensemble: TeacherEnsemble
    policy: Combiner
    seen: QueryIndex
    results: dict[str, FitResult]
    recipe: Recipe
    decisions: Lookup | None = None

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
        folder: Each stage saves itself there after every epoch, and resumes
            from there. What a combiner that has learned says of every query
            is kept in ``decisions.safetensors``. To enlarge a committee,
            first delete the files of weights, policy and student; its
            teachers and folds are reused.
            While a stage trains, ``<stage>.previous.safetensors`` lies beside
            its file; to train it anew, delete both.

    Raises:
        FloatingPointError: A stage diverges; the last good epoch is saved.
        KeyboardInterrupt: It was interrupted; the message says what is saved.
        NotWritten: The disk of the folder is full or read-only.
        ValueError: The graph lacks what the recipe needs, or the folder
            belongs to another run.
    """
    recipe = recipe or Recipe()
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f'need a recipe, such as recipes.small(), got {recipe!r:.80}'
        )
    run = Run(
        graph=KG.of(data),
        folder=None if folder is None else Path(folder),
        seed=recipe.seed,
        device=recipe.device,
        precision=recipe.precision,
        progress=recipe.progress,
    )
    with run.interruptible():
        return _follow(recipe, run)


def _follow(recipe: Recipe, run: Run) -> DSoM:
    teachers, student = recipe.teachers, recipe.student
    # Found out now, not after the teachers were trained.
    student.check(run.graph, teachers)
    if check := getattr(recipe.policy, 'check', None):
        check(teachers.names(run.graph), run.graph, student.loop)
    # Eq. 1 and 3: each teacher learns the training triples on its own.
    ensemble = stages.fit_teachers(run, teachers)
    # Eq. 5-10: which teachers are believed. The default learns it now: it
    # trains further teachers without a part of train, and is rewarded on that
    # part. The paper's policy learns below, along with the student.
    policy = recipe.policy.prepare(run, teachers, ensemble)
    if not isinstance(policy, Combiner):
        raise TypeError(
            f'{type(recipe.policy).__name__}.prepare must return a Combiner, '
            f'got {policy!r:.80}'
        )
    # Eq. 4, 11 and 12: the student learns the training triples, and imitates
    # its teachers' weighted scores of all entities. Algorithm 1 is the step
    # of `training.tasks.DistillTask`. A policy that has learned is asked
    # before.
    begun = stages.start_student(run, student, teachers, ensemble)
    weighs = stages.ask_once(run, student, ensemble, policy)
    trained = stages.distil(run, student, begun, ensemble, weighs)
    seen = run.graph.index('train')
    decisions = weighs if isinstance(weighs, Lookup) else None
    return DSoM(
        trained, ensemble, policy, seen, run.results, recipe, decisions
    )
