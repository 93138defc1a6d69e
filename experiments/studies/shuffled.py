"""What happens if every entity has the texts of another one? Compare with the
same rows of the table 'combiners'.
"""

from experiments.changes import shuffled_texts
from experiments.table import Row, Table
from experiments.tables.combiners import OVER_THREE

TABLES = (
    Table(
        ('MKG_W',),
        tuple(
            Row(name, what, change=shuffled_texts)
            for name, what in OVER_THREE.items()
        ),
    ),
)
