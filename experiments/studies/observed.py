"""Do teachers that only count help those that learn?

How often an entity answers a relation, whoever asks, and what other relations
link the head to: models of factors know either badly. The library's recipe has
such teachers beside its own, chosen on validation. What test says of it
without them is in *combiners*.
"""

from dataclasses import replace

from dsom_pyg import Recipe
from experiments.table import Row, Table

DEFAULT = Recipe()
ROWS = {
    'none': None,
    'frequency': ('frequency',),
    'links': ('links',),
    'frequency and links': ('frequency', 'links'),
}
CHOSEN = 'frequency and links'
TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        tuple(
            Row(
                name,
                replace(
                    DEFAULT,
                    teachers=replace(DEFAULT.teachers, observed=observed),
                ),
                only_validation=name != CHOSEN,
            )
            for name, observed in ROWS.items()
        ),
    ),
)
