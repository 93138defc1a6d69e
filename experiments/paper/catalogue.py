"""Everything that the paper's tables show, each trained once.

A row is one kind of run. Tables and figures name rows; who measures a row for
one table has it for all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from dsom_pyg import KG, Recipe
from dsom_pyg.models import (
    GCOTE,
    OTE,
    ComplEx,
    CrossEntropy,
    DistMult,
    KvsAll,
    Model,
    Negatives,
    RotatE,
    SelfAdversarial,
    TransE,
    TuckER,
)
from dsom_pyg.policies import (
    AsInPaper,
    BestStrategy,
    BestTeacher,
    Boosting,
    ConfTeacher,
    MeanOfTeachers,
    OneTeacher,
    PolicyChoice,
    Senior,
)
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Adam, Distill, Loop
from experiments.changes import first, missing_texts
from experiments.paper.recipes import RECIPES
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
    'smoke': Profile('smoke', 8, 1, ('WN9',), 1, 1500),
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
    if profile.epochs is not None:
        recipe, two, student = _shorter(recipe, two, student, profile.epochs)

    def taught(policy: PolicyChoice, **options: object) -> Recipe:
        distill = replace(student.distill, **options)  # type: ignore[arg-type]
        learner = replace(student, distill=distill)
        if distill.decoupled == 'target':
            loop = replace(learner.loop, batch_by='triples')
            learner = replace(learner, loop=loop)
        return Recipe(teachers=two, policy=policy, student=learner)

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
        **comparators(profile),
        'teachers': recipe.teachers,
        'MoSE-AI': Combined(two, MeanOfTeachers()),
        'MoSE-BI': Combined(two, Boosting()),
        'MoSE-MI': Mixed(two),
        'RC on validation': Combined(two, on_validation()),
        'policy of the library': Combined(recipe.teachers, recipe.policy),
        'mean of two': taught(MeanOfTeachers()),
        'mean of three': replace(recipe, policy=MeanOfTeachers()),
        'ConfTeacher': taught(ConfTeacher()),
        'BestTeacher': taught(BestTeacher()),
        'BestStrategy': taught(BestStrategy()),
        'MulDE': taught(Senior(), decoupled='nobody', among=500),
        'student of structure': alone('structure'),
        'student of text': alone('text'),
        "DSoM, the paper's policy": taught(rc),
        "the paper's policy, NEKD alone": taught(rc, beta=0.0),
        "the paper's policy, NNKD alone": taught(rc, alpha=0.0),
        "the paper's policy, vanilla KD": taught(rc, decoupled='nobody'),
        "the paper's policy, DKD": taught(rc, decoupled='target'),
        'DSoM, library': recipe,
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
    validated = ('MoSE-BI', 'MoSE-MI', 'RC on validation')
    change = profile.triples and partial(first, count=profile.triples)
    gaps = {
        f'{share} % of texts missing': Row(
            f'{share} % of texts missing',
            recipe,
            change=partial(missing_texts, share=share / 100),
        )
        for share in SHARES
    }
    return gaps | {
        name: Row(
            name,
            each,
            change=change or None,
            keeps_validation=name in validated,
        )
        for name, each in what.items()
    }


def on_validation() -> PolicyChoice:
    r"""The library's policy, learned from the validation split."""
    from dsom_pyg.policies import HeldOut
    from dsom_pyg.training import OnValidation

    return HeldOut(evidence=OnValidation())


def comparators(profile: Profile) -> dict[str, SingleModel]:
    r"""Models of triples alone, each by the objective of its authors."""
    negatives = SelfAdversarial(
        margin=9.0,
        temperature=1.0,
        negatives=Negatives(256, shared=True),
        subsampling=True,
    )
    products = replace(negatives, margin=0.0)
    # These hold every coordinate of every pair.
    fewer = replace(negatives, negatives=Negatives(64, shared=True))
    loop = Loop(
        epochs=profile.distances,
        batch_size=1000,
        batch_by='triples',
        optimizer=Adam(lr=0.002),
        cooldown=1.0,
    )

    def of(model: object) -> SingleModel:
        return SingleModel(
            channels=profile.channels,
            model=model,  # type: ignore[arg-type]
            loop=loop,
            entity_scale=0.02,
        )

    distance = {'objective': negatives, 'reciprocals': False, 'scale': 0.02}
    product = {'objective': products, 'reciprocals': False, 'scale': 0.02}
    queries = replace(loop, batch_size=250, batch_by='queries')
    half = min(100, profile.channels)
    tucker = partial(
        TuckER,
        relation_channels=2 * half,
        head_dropout=0.3,
        matrix_dropout=0.4,
        query_dropout=0.5,
        batch_norm=True,
        objective=KvsAll(0.1),
    )
    turned = of(partial(OTE, objective=fewer))
    # As of the authors: a tenth of the rate, for a quarter of the time.
    gentle = replace(
        loop,
        epochs=-(-profile.distances // 4),
        optimizer=replace(loop.optimizer, lr=0.0002),
    )
    return {
        'TransE': of(partial(TransE, **distance)),
        'DistMult': of(partial(DistMult, n3=1e-5, **product)),
        'ComplEx': of(partial(ComplEx, n3=1e-5, **product)),
        'RotatE': of(partial(RotatE, objective=fewer, reciprocals=False)),
        'TuckER': SingleModel(
            channels=half,
            model=tucker,
            loop=replace(queries, optimizer=Adam(lr=0.001)),
        ),
        'OTE': turned,
        'GC-OTE': replace(turned, second=with_contexts, second_loop=gentle),
    }


def with_contexts(model: Model, graph: KG) -> GCOTE:
    r"""The second stage of GC-OTE."""
    assert isinstance(model, OTE)
    return GCOTE.of(model, graph.triples('train'))


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
