"""What is left if texts are missing for 20 to 80 % of the entities?"""

from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from experiments.changes import missing_texts
from experiments.table import Row, Table
from experiments.tables.combiners import OVER_THREE

MASKED = {'mean': Recipe(policy=MeanOfTeachers(mask_missing=True))}
TABLES = (
    Table(
        ('MKG_Y',),
        tuple(
            Row(
                f'{name}, {share} % missing',
                what,
                change=partial(missing_texts, share=share / 100),
            )
            for share in (20, 40, 60, 80)
            for name, what in (OVER_THREE | MASKED).items()
        ),
    ),
)
