"""Does a teacher of pure noise do harm? Compare with the same rows of the
table 'combiners'.
"""

from experiments.changes import with_noise
from experiments.table import Row, Table
from experiments.tables.combiners import OVER_THREE

TABLES = (
    Table(
        ('DB15K',),
        tuple(
            Row(name, what, change=with_noise)
            for name, what in OVER_THREE.items()
        ),
    ),
)
