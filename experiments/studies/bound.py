"""What is a student bound by: its teachers, its queries, its width, or N3?

The default recipe on MKG-Y, one thing changed at a time. All rows choose a
setting: they read no test triple.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from dsom_pyg import Recipe
from dsom_pyg.models import ComplEx
from dsom_pyg.stages import DECAYING_ADAM, Unlabeled
from experiments.table import Row, Table

DEFAULT = Recipe()


def n3(weight: float) -> dict[str, Any]:
    r"""A student of ComplEx with another N3."""
    return {'model': partial(ComplEx, n3=weight)}


CHANGES: dict[str, dict[str, Any]] = {
    'as it is': {},
    **{f'N3 {weight:g}': n3(weight) for weight in (0.003, 0.03, 0.1)},
    'no unlabeled queries': {'unlabeled': None},
    **{
        f'{count:,} unlabeled queries': {'unlabeled': Unlabeled(count)}
        for count in (60_000, 1_000_000)
    },
    'D = 640': {'channels': 640},
    '24 epochs': {'loop': replace(DECAYING_ADAM, epochs=24)},
}
TABLES = (
    Table(
        ('MKG_Y',),
        tuple(
            Row(
                name,
                replace(DEFAULT, student=replace(DEFAULT.student, **change)),
                only_validation=True,
            )
            for name, change in CHANGES.items()
        ),
    ),
)
