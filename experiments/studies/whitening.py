"""Do features of texts whose columns are uncorrelated teach more?

Alone, a teacher of texts may learn twice as much from them, with another N3
than it has by default (``python -m experiments search MKG_Y texts``). Here
all teachers see them, in the library's recipe.
"""

from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.models import ComplEx
from experiments.changes import whitened_texts
from experiments.table import Row, Table

DEFAULT = Recipe()
ROWS: dict[str, tuple[float | None, float]] = {
    'as they are': (None, 0.01),
    'as they are, N3 0.001': (None, 0.001),
    'half whitened': (0.5, 0.01),
    'half whitened, N3 0.001': (0.5, 0.001),
    'whitened': (1.0, 0.01),
}
TABLES = (
    Table(
        ('DB15K', 'FB15k_237', 'MKG_W', 'MKG_Y', 'WN9'),
        tuple(
            Row(
                name,
                replace(
                    DEFAULT,
                    teachers=replace(
                        DEFAULT.teachers, feature=partial(ComplEx, n3=n3)
                    ),
                ),
                change=(power and partial(whitened_texts, power=power))
                or None,
                only_validation=True,
            )
            for name, (power, n3) in ROWS.items()
        ),
    ),
)
