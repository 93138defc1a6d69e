"""Does a wider student learn more from single teachers, and does a wider
teacher of texts teach it more?
"""

from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.models import ComplEx
from dsom_pyg.stages import Student, Teachers
from experiments.paper.recipes import RECIPES
from experiments.table import Row, SingleModel, Table


def policy(
    channels: int, teachers: int, n3: float, trial: bool = False
) -> Row:
    r"""A student of some width, of teachers of some width."""
    return Row(
        f'policy, D = {channels}, teachers of D = {teachers}, N3 {n3}',
        Recipe(
            teachers=Teachers(channels=teachers),
            student=Student(channels=channels, model=partial(ComplEx, n3=n3)),
        ),
        only_validation=trial,
    )


def wider(channels: int, recipe: Recipe) -> Recipe:
    r"""A recipe with a student of another width."""
    student = replace(recipe.student, channels=channels)
    return replace(recipe, student=student)


# Alone, a teacher of texts wants more width than the others have.
TEXTS = tuple(
    Row(
        f'default, teacher of texts of D = {size or 256}',
        Recipe(teachers=Teachers(feature_channels=size)),
        only_validation=True,
    )
    for size in (None, 512)
)

TABLES = (
    Table(
        ('DB15K',),
        (
            Row('plain ComplEx-N3, D = 640', SingleModel(channels=640)),
            Row('plain ComplEx-N3, D = 2000', SingleModel(channels=2000)),
            Row('teachers of D = 256', Teachers(), only_validation=True),
            Row('teachers of D = 2000', Teachers(channels=2000)),
            policy(640, 256, 0.01),
            policy(2000, 256, 0.01, trial=True),
            policy(2000, 2000, 0.01),
            policy(2000, 2000, 0.03),
            policy(2000, 2000, 0.1, trial=True),
            *TEXTS,
        ),
    ),
    Table(('MKG_W', 'MKG_Y'), TEXTS),
    Table(
        ('FB15k_237',),
        (
            Row(
                'policy, relations told, D = 640, teachers of D = 256',
                wider(640, RECIPES['FB15k_237'](256)),
            ),
        ),
    ),
)
