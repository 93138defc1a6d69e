"""Does it matter whether every training triple counts alike?

A batch of queries divides its loss by its own pairs, so the queries with many
tails count too little. With ``equal_pairs`` the gradients of an epoch add up
to that of all triples.
"""

from dataclasses import replace

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import DECAYING_ADAM, Student, Teachers
from experiments.table import Row, SingleModel, Table

EQUAL = replace(DECAYING_ADAM, equal_pairs=True)


def trial(name: str, what: Recipe | SingleModel) -> Row:
    r"""A row that chooses a setting."""
    return Row(name, what, only_validation=True)


TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        (
            trial('plain ComplEx-N3', SingleModel()),
            trial('plain ComplEx-N3, equal pairs', SingleModel(loop=EQUAL)),
            trial('mean', Recipe(policy=MeanOfTeachers())),
            trial(
                'mean, equal pairs',
                Recipe(
                    teachers=Teachers(loop=EQUAL),
                    policy=MeanOfTeachers(),
                    student=Student(loop=EQUAL),
                ),
            ),
        ),
    ),
)
