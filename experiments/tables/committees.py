"""Do several teachers of each kind make a better student?

The best student on DB15K is the row 'committee of six, D = 640'. Three
teachers of each kind, of D = 256, are what two cores train in hours;
all-mpnet-base-v2 encodes the texts. With one hop the teachers see the
texts of a head's neighbors, too; with frequency and links two further teachers
count what train says. What members bring beside width, validation tells on
MKG-Y: rows *size of D* cost as much as each other where size times D is equal.
On FB15k-237 and WN18 such rows end with the teachers.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from dsom_pyg import Recipe, recipes
from dsom_pyg.models import ComplEx
from dsom_pyg.stages import Teachers
from experiments import encoders
from experiments.table import Row, SingleModel, Table

SIX = recipes.committee()
# Chosen on validation, for single teachers of this width.
WIDE = replace(
    SIX,
    student=replace(
        SIX.student, channels=2000, model=partial(ComplEx, n3=0.03)
    ),
)
TRIALS = ((0.05, 0.01), (0.04, 0.006), (0.03, 0.003), (0.02, 0.0015))


def three(channels: int, **more: Any) -> Recipe:
    r"""Teachers as wide, and with the N3, of the default's."""
    return recipes.committee(3, channels, 256, n3=0.05, **more)


# What else teachers see, or who else is one.
MORE: dict[str, dict[str, Any]] = {
    '': {},
    ', one hop': {'one_hop': 64},
    ', frequency and links': {'observed': ('frequency', 'links')},
    ', one hop, frequency and links': {
        'one_hop': 64,
        'observed': ('frequency', 'links'),
    },
}

# Teachers of each kind, and their D; the first is the default, and the next
# four cost three times as much, the last six times.
SIZES = ((1, 256), (1, 768), (2, 384), (3, 256), (6, 128), (6, 256))


def sized(size: int, channels: int) -> Row:
    r"""A committee of so many that are so wide, and a student of D = 256."""
    return Row(
        f'{size} of D = {channels}',
        recipes.committee(size, 256, channels, n3=0.05),
        only_validation=True,
    )


def teachers_of(dataset: str, size: int, channels: int) -> Row:
    r"""The same, without a student, of the teachers of the best recipe."""
    teachers = recipes.best(dataset).teachers
    return Row(
        f'teachers alone, {size} of D = {channels}',
        replace(teachers, channels=channels, committee=size),
        only_validation=True,
    )


# One and two times the cost of the default.
FEW_SIZES = ((1, 256), (2, 128), (1, 512), (2, 256))

TABLES = (
    Table(
        ('DB15K',),
        (
            Row('single teachers', SIX.teachers),
            Row('committee of six, D = 256', recipes.committee(channels=256)),
            Row('committee of six, D = 640', SIX),
            Row('committee of six, D = 2000', WIDE),
            *(
                Row(
                    f'plain ComplEx-N3, D = {channels}',
                    SingleModel(
                        channels=channels, model=partial(ComplEx, n3=0.03)
                    ),
                )
                for channels in (256, 640, 2000)
            ),
            *(
                Row(
                    f'committees of four, N3 {n3}',
                    Teachers(
                        channels=640,
                        structure=partial(ComplEx, n3=n3),
                        feature=partial(ComplEx, n3=feature_n3),
                        committee=4,
                    ),
                    only_validation=True,
                )
                for n3, feature_n3 in TRIALS
            ),
        ),
    ),
    *(
        Table(
            (dataset,),
            (
                *(
                    Row(
                        f'committee of three, mpnet{name}, D = {channels}',
                        three(channels, **more),
                        more_texts=more_texts,
                        encoder=encoders.mpnet,
                    )
                    for name, more in MORE.items()
                    for channels in (256, 640)
                ),
                *(sized(*each) for each in SIZES if dataset == 'MKG_Y'),
            ),
        )
        for dataset, more_texts in (
            ('DB15K', True),
            ('MKG_W', True),
            ('MKG_Y', False),
        )
    ),
    *(
        Table((dataset,), tuple(teachers_of(dataset, *x) for x in FEW_SIZES))
        for dataset in ('FB15k_237', 'WN18')
    ),
)
