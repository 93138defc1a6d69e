"""Are snapshots of one training as good as a committee?

Without texts: a teacher of structure alone, in one training and as the mean of
three; beside them the mean of three snapshots of one training whose rate falls
to 0 three times, as long as three trainings and as long as one. All rows
choose a setting: they read no test triple.
"""

from dataclasses import replace
from functools import partial

from dsom_pyg.stages import DECAYING_ADAM, Teachers
from experiments.changes import only
from experiments.table import Row, SingleModel, Table

SHORT = replace(DECAYING_ADAM, epochs=DECAYING_ADAM.epochs // 3)
trial = partial(Row, change=partial(only, names=()), only_validation=True)

TABLES = (
    Table(
        ('MKG_W', 'MKG_Y'),
        (
            trial('one training', Teachers(joint=False)),
            trial('three trainings', Teachers(joint=False, committee=3)),
            trial('three snapshots', SingleModel(snapshots=3)),
            trial(
                'three snapshots, a third as long',
                SingleModel(snapshots=3, loop=SHORT),
            ),
        ),
    ),
)
