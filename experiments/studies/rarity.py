"""How much is a pair of a query with n tails to weigh?

A pair weighs n^-a in the losses of teachers. *As now* each batch is divided by
its own pairs, which weighs those of frequent queries less without saying so.
"""

from dataclasses import replace

from dsom_pyg.stages import DECAYING_ADAM, Teachers
from dsom_pyg.training import Loop
from experiments.table import Row, SingleModel, Table


def exact(rarity: float | None) -> Loop:
    r"""A loop whose epochs add up to the weighted mean over all triples."""
    return replace(DECAYING_ADAM, equal_pairs=True, rarity=rarity)


LOOPS = {
    'as now': DECAYING_ADAM,
    'a = 0': exact(None),
    **{f'a = {rarity:g}': exact(rarity) for rarity in (0.5, 1.0)},
}
TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        tuple(
            Row(f'teachers, {name}', Teachers(loop=loop), only_validation=True)
            for name, loop in LOOPS.items()
        ),
    ),
    Table(
        ('FB15k_237', 'WN18'),
        tuple(
            Row(f'structure, {name}', SingleModel(loop=loop), {}, None, True)
            for name, loop in LOOPS.items()
        ),
    ),
)
