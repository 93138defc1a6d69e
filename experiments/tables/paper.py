"""What does the policy do as the paper writes it?"""

from dataclasses import replace
from functools import partial

from dsom_pyg import recipes
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.training import Loop
from experiments.changes import with_noise
from experiments.table import Row, SingleModel, Table

PAPER = recipes.paper()
MEAN = replace(PAPER, policy=MeanOfTeachers())
PLAIN = SingleModel(model=partial(ComplEx, n3=0.05), loop=Loop())

TABLES = (
    Table(
        ('DB15K',),
        (
            Row('plain ComplEx-N3', PLAIN),
            Row('single teachers', PAPER.teachers),
            Row('mean', MEAN),
            Row("the paper's policy", PAPER),
            Row(
                'single teachers, with noise',
                PAPER.teachers,
                change=with_noise,
            ),
            Row('mean, with noise', MEAN, change=with_noise),
            Row("the paper's policy, with noise", PAPER, change=with_noise),
        ),
    ),
)
