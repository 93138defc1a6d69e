"""How much is a pair of a query with n tails to weigh?

A pair weighs n^-a in the losses: of teachers, or of the student, whose
distillation weighs its queries so, too, or of both. *As now* each batch is
divided by its own pairs, which weighs those of frequent queries less without
saying so. What wins on validation is measured on test, and no other row.
"""

from dataclasses import replace

from dsom_pyg import Recipe
from dsom_pyg.stages import DECAYING_ADAM, Teachers
from dsom_pyg.training import Loop
from experiments.table import Row, SingleModel, Table


def exact(rarity: float | None) -> Loop:
    r"""A loop whose epochs add up to the weighted mean over all triples."""
    return replace(DECAYING_ADAM, equal_pairs=True, rarity=rarity)


LOOPS = {
    'as now': DECAYING_ADAM,
    'a = 0': exact(None),
    **{f'a = {rarity:g}': exact(rarity) for rarity in (0.5, 1.0)},
}


def students(recipe: Recipe) -> tuple[Row, ...]:
    r"""A recipe whose teachers and student weigh pairs so or so."""

    def weighed(teachers: str, student: str) -> Recipe:
        return replace(
            recipe,
            teachers=replace(recipe.teachers, loop=LOOPS[teachers]),
            student=replace(recipe.student, loop=LOOPS[student]),
        )

    ways = {
        'all as now': weighed('as now', 'as now'),
        'teachers a = 0.5': weighed('a = 0.5', 'as now'),
        'teachers a = 1': weighed('a = 1', 'as now'),
        'student a = 0': weighed('as now', 'a = 0'),
        'student a = 0.5': weighed('as now', 'a = 0.5'),
        'student a = 1': weighed('as now', 'a = 1'),
        'all a = 0.5': weighed('a = 0.5', 'a = 0.5'),
    }
    # The others are trials.
    best = 'teachers a = 1'
    return tuple(
        Row(f'distilled, {name}', recipe, only_validation=name != best)
        for name, recipe in ways.items()
    )


TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        (
            *(
                Row(
                    f'teachers, {name}',
                    Teachers(loop=loop),
                    only_validation=True,
                )
                for name, loop in LOOPS.items()
            ),
            *students(Recipe()),
        ),
    ),
    Table(
        ('FB15k_237', 'WN18'),
        tuple(
            Row(f'structure, {name}', SingleModel(loop=loop), {}, None, True)
            for name, loop in LOOPS.items()
        ),
    ),
)
