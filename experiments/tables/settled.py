"""The library's recipe on the six benchmarks: the settled one of each.

Settings were chosen on validation, by `python -m experiments search` and by
the trials in results/notes; test is read once, in the end.
"""

from collections.abc import Callable

from dsom_pyg import Recipe, recipes
from experiments.table import Row, SingleModel, Table

# From D to the recipe of a dataset.
RECIPES: dict[str, Callable[[int], Recipe]] = {
    'DB15K': recipes.held_out,
    'FB15k_237': recipes.held_out,
    'MKG_W': recipes.held_out,
    'MKG_Y': recipes.held_out,
    'WN18': recipes.held_out,
    'WN9': recipes.held_out,
}


def _table(dataset: str) -> Table:
    recipe = RECIPES[dataset](256)
    teachers = recipe.teachers
    plain = SingleModel(
        channels=teachers.channels,
        model=teachers.structure,
        loop=teachers.loop,
    )
    rows = Row('plain ComplEx-N3', plain), Row('DSoM', recipe)
    return Table((dataset,), rows)


TABLES = tuple(_table(dataset) for dataset in RECIPES)
