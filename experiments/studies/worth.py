"""What is a better text worth?

Short texts are those of the benchmark: a phrase on DB15K and FB15k-237, a
title on MKG-W. Longer ones stand beside them: a first sentence, or the
description of Wikidata where there is one; all-mpnet-base-v2 encodes them in
place of all-MiniLM-L6-v2. Without texts there is one teacher, of structure.
Further rows choose how much a pair of a query with n tails weighs where texts
are longer, n^-a.
"""

from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from experiments import encoders
from experiments.changes import only, shuffled_texts
from experiments.studies.rarity import exact
from experiments.table import Row, Table

RARE = exact(0.5)
OF_TEACHERS = Recipe(teachers=Teachers(loop=RARE))
OF_ALL = Recipe(teachers=Teachers(loop=RARE), student=Student(loop=RARE))
ALONE = Recipe(teachers=Teachers(joint=False), policy=MeanOfTeachers())

TABLES = (
    Table(
        ('DB15K', 'FB15k_237', 'MKG_W'),
        (
            Row('no texts', ALONE, change=partial(only, names=())),
            Row('texts of others', Recipe(), change=shuffled_texts),
            Row('short texts', Recipe()),
            Row('longer texts', Recipe(), more_texts=True),
            Row(
                'longer texts, mpnet',
                Recipe(),
                more_texts=True,
                encoder=encoders.mpnet,
            ),
            Row(
                'longer texts, a = 0.5 of teachers',
                OF_TEACHERS,
                only_validation=True,
                more_texts=True,
            ),
            Row(
                'longer texts, a = 0.5 of all',
                OF_ALL,
                only_validation=True,
                more_texts=True,
            ),
        ),
    ),
)
