"""Everything that the paper's tables show, each trained once.

A row is one kind of run. Tables and figures name rows; who measures a row for
one table has it for all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from dsom_pyg import Recipe
from dsom_pyg.losses import mean_advantage
from dsom_pyg.models import CrossEntropy
from dsom_pyg.policies import (
    AsInPaper,
    BestStrategy,
    BestTeacher,
    Boosting,
    ConfTeacher,
    HeldOut,
    MeanOfTeachers,
    OneTeacher,
    PolicyChoice,
    RewardedPolicy,
    Senior,
)
from dsom_pyg.recipes import committee
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import CrossEntropyReward, LogitState
from dsom_pyg.training import Distill, Loop, OnValidation
from experiments.changes import after, first, missing_texts
from experiments.paper.comparators import CHOSEN, LONGER, comparator
from experiments.paper.recipes import RECIPES
from experiments.paper.sources import source
from experiments.table import Combined, Mixed, Row, SingleModel

MKGS = ('DB15K', 'MKG_W', 'MKG_Y')
# Measured before with three seeds: the row, and other names of its models.
COMBINERS: dict[str, tuple[str, dict[str, str]]] = {
    'plain ComplEx-N3': ('single teachers', {'model': 'structure'}),
    'DSoM, library': ('policy', {}),
    "DSoM, the paper's policy": ("the paper's policy", {}),
    'mean of two': ('mean of structure and text', {}),
    'mean of three': ('mean', {}),
    'teachers': ('single teachers', {}),
}


# Of distillation, in Table 4.
FORMS: dict[str, dict[str, object]] = {
    'NEKD alone': {'beta': 0.0},
    'NNKD alone': {'alpha': 0.0},
    'vanilla KD': {'decoupled': 'nobody'},
    'no tau squared': {'scale_tau': False},
    'sum form': {'form': 'sum'},
}
# Of students, in Figure 4.
WIDTHS = (32, 64, 128, 256, 512)
# Of entities whose texts are taken away, in percent, there as well.
SHARES = (20, 40, 60, 80)


@dataclass(frozen=True)
class Profile:
    r"""How large everything is.

    Args:
        name: The folder of its results.
        channels: D.
        epochs: Of teachers and students; :obj:`None` for the recipe's own.
        datasets: What is measured, if not all that a table has.
        distances: Epochs of the models that learn from negatives.
        triples: Of the graph, at most; :obj:`None` for all.
    """

    name: str
    channels: int
    epochs: int | None = None
    datasets: tuple[str, ...] | None = None
    distances: int = 60
    triples: int | None = None


PROFILES = {
    'smoke': Profile('smoke', 8, 1, None, 1, 1500),
    'small': Profile('small', 256),
    'paper': Profile('large', 2000, 100, None, 1000),
}


class Home(NamedTuple):
    r"""Where the runs of a row lie.

    Args:
        folder: Of results.
        row: What it is called there.
        models: What its models are called there, if otherwise.
    """

    folder: str
    row: str
    models: Mapping[str, str]


def home(profile: Profile, dataset: str, name: str) -> Home:
    r"""Where the runs of a row of the catalogue lie."""
    if name == f'D = {profile.channels}':
        name = 'DSoM, library'
    before = profile.name == 'small' and dataset in MKGS
    if before and (dataset, name) == ('DB15K', 'committee of six'):
        row = f'{name}, D = {profile.channels}'
        return Home('committees', row, {})
    if before and name in COMBINERS:
        return Home('combiners', *COMBINERS[name])
    return Home(profile.name, name, {})


def rows(profile: Profile, dataset: str) -> Mapping[str, Row]:
    r"""All rows of a dataset, by name."""
    recipe = RECIPES[dataset](profile.channels)
    two = replace(recipe.teachers, joint=False)
    student = replace(
        recipe.student, distill=Distill(tau=4.0, gamma=2.0), unlabeled=None
    )
    six = committee(channels=profile.channels)
    if profile.epochs is not None:
        six = _shorter(six, two, student, profile.epochs)[0]
        recipe, two, student = _shorter(recipe, two, student, profile.epochs)

    def taught(
        policy: PolicyChoice, by_triples: bool = False, **options: object
    ) -> Recipe:
        distill = replace(student.distill, **options)  # type: ignore[arg-type]
        learner = replace(student, distill=distill)
        if by_triples or distill.decoupled == 'target':
            # On DB15K a query has two triples: steps of the same size.
            loop = learner.loop
            size = 2 * loop.batch_size
            loop = replace(loop, batch_by='triples', batch_size=size)
            learner = replace(learner, loop=loop)
        return Recipe(teachers=two, policy=policy, student=learner)

    def by_library(**options: object) -> Recipe:
        own = recipe.student
        distill = replace(own.distill, **options)  # type: ignore[arg-type]
        return replace(recipe, student=replace(own, distill=distill))

    def wide(channels: int) -> Recipe:
        return replace(
            recipe, student=replace(recipe.student, channels=channels)
        )

    def alone(name: str) -> Recipe:
        return taught(OneTeacher(name=name))

    def of_triples(relations: float | None) -> SingleModel:
        # The recipe's own, whatever that learns beside entities.
        made = two.structure
        assert isinstance(made, partial)
        words = {k: x for k, x in made.keywords.items() if k != 'objective'}
        if relations is not None:
            words['objective'] = CrossEntropy(relations)
        model = partial(made.func, **words)
        return SingleModel(
            channels=profile.channels, model=model, loop=two.loop
        )

    rc = AsInPaper()
    what = {
        'plain ComplEx-N3': of_triples(None),
        'ComplEx-N3, relations too': of_triples(1.0),
        **{
            name: comparator(
                name,
                profile.channels,
                profile.distances * LONGER.get((dataset, name), 1),
                **chosen,
            )
            for name, chosen in CHOSEN.items()
        },
        'teachers': recipe.teachers,
        'MoSE-AI': Combined(two, MeanOfTeachers()),
        'MoSE-BI': Combined(two, Boosting()),
        'MoSE-MI': Mixed(two),
        'RC on validation': Combined(two, rc_on_validation()),
        'policy of the library on validation': Combined(
            two, HeldOut(evidence=OnValidation())
        ),
        'policy of the library': Combined(recipe.teachers, recipe.policy),
        'mean of two': taught(MeanOfTeachers()),
        'student without teachers': taught(MeanOfTeachers(), gamma=0.0),
        'mean of two, NEKD alone': taught(MeanOfTeachers(), beta=0.0),
        'mean of two, NEKD alone, no tau squared': taught(
            MeanOfTeachers(), beta=0.0, scale_tau=False
        ),
        'mean of three': replace(recipe, policy=MeanOfTeachers()),
        'ConfTeacher': taught(ConfTeacher()),
        'BestTeacher': taught(BestTeacher()),
        'BestStrategy': taught(BestStrategy()),
        'MulDE': taught(Senior(), decoupled='nobody', among=500),
        'student of structure': alone('structure'),
        'student of text': alone('text'),
        "DSoM, the paper's policy": taught(rc),
        "the paper's policy, NDKD": taught(rc),
        "the paper's policy, NDKD by triples": taught(rc, by_triples=True),
        "the paper's policy, NEKD alone": taught(rc, beta=0.0),
        "the paper's policy, NNKD alone": taught(rc, alpha=0.0),
        "the paper's policy, vanilla KD": taught(rc, decoupled='nobody'),
        "the paper's policy, DKD": taught(rc, decoupled='target'),
        "the paper's policy, no tau squared": taught(rc, scale_tau=False),
        "the paper's policy, sum form": taught(rc, form='sum'),
        **{
            f'DSoM, library, {name}': by_library(**options)
            for name, options in FORMS.items()
        },
        'DSoM, library': recipe,
        'committee of six': six,
        **{f'gamma = {x}': taught(rc, gamma=float(x)) for x in (0.5, 1, 4, 8)},
        **{f'tau = {x}': taught(rc, tau=float(x)) for x in (1, 2, 8)},
        **{f'alpha = {x}': taught(rc, alpha=float(x)) for x in (0.25, 4)},
        **{f'beta = {x}': taught(rc, beta=float(x)) for x in (0.25, 4)},
        **{f'D = {x}': wide(x) for x in WIDTHS},
        **{
            f'committee of {x}': replace(
                recipe, teachers=replace(recipe.teachers, committee=x)
            )
            for x in (2, 4)
        },
    }
    validated = (
        'MoSE-BI',
        'MoSE-MI',
        'RC on validation',
        'policy of the library on validation',
    )
    change = profile.triples and partial(first, count=profile.triples)

    def gap(share: int) -> Row:
        missing = partial(missing_texts, share=share / 100)
        both = partial(after, changes=(change, missing)) if change else missing
        name = f'{share} % of texts missing'
        return Row(name, recipe, change=both, source=source(name))

    gaps = {(row := gap(share)).name: row for share in SHARES}
    return gaps | {
        name: Row(
            name,
            each,
            change=change or None,
            keeps_validation=name in validated,
            source=source(name),
        )
        for name, each in what.items()
    }


def rc_on_validation() -> PolicyChoice:
    r"""The paper's policy, learned from the validation split. There is no
    student yet, so the mean of the teachers stands in its reward.
    """
    learner = RewardedPolicy(
        base=None,
        state=LogitState,
        reward=CrossEntropyReward(mean_advantage),
        decision='sample',
        estimator='sampled',
        prior=0.0,
        kl=0.0,
        mlp_channels=1024,
        dropout=0.0,
        lr=1e-3,
    )
    return HeldOut(learner=learner, evidence=OnValidation())


def _shorter(
    recipe: Recipe, teachers: Teachers, student: Student, epochs: int
) -> tuple[Recipe, Teachers, Student]:
    def loop(old: Loop) -> Loop:
        return replace(old, epochs=epochs)

    short = replace(
        recipe,
        teachers=replace(recipe.teachers, loop=loop(recipe.teachers.loop)),
        student=replace(recipe.student, loop=loop(recipe.student.loop)),
    )
    two = replace(teachers, loop=loop(teachers.loop))
    return short, two, replace(student, loop=loop(student.loop))
