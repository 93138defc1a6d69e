"""What happens if every entity has the texts of another one? Compare with the
same rows of the table 'combiners'.
"""

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Teachers
from experiments.changes import shuffled_texts
from experiments.table import Row, Table
from experiments.tables.combiners import BY_RELATION, FIXED

TABLES = (
    Table(
        ('MKG_W',),
        tuple(
            Row(name, what, change=shuffled_texts)
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
