"""Does a teacher of pure noise do harm? Compare with the same rows of the
table 'combiners'.
"""

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Teachers
from experiments.changes import with_noise
from experiments.table import Row, Table
from experiments.tables.combiners import BY_RELATION, FIXED

TABLES = (
    Table(
        ('DB15K',),
        tuple(
            Row(name, what, change=with_noise)
            for name, what in (
                ('single teachers', Teachers()),
                ('mean', Recipe(policy=MeanOfTeachers())),
                ('fixed weights', Recipe(policy=FIXED)),
                ('weights by relation', Recipe(policy=BY_RELATION)),
                ('policy', Recipe()),
            )
        ),
    ),
)
