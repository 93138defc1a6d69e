"""Do teachers that only count help those that learn?

How often an entity answers a relation, whoever asks, and what other relations
link the head to, and what others with a trait of the head answer: models of
factors know that badly. The library's recipe
with such teachers beside its own, chosen on validation.
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
    'frequency, links and traits': ('frequency', 'links', 'traits'),
}
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
                only_validation=True,
            )
            for name, observed in ROWS.items()
        ),
    ),
)
