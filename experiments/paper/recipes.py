"""The library's recipe on each of the six benchmarks.

Settings are chosen on validation, by ``python -m experiments search`` and by
the trials in ``results/notes``; test is read once, in the end.
"""

from collections.abc import Callable
from functools import partial

from dsom_pyg import Recipe, recipes

# From D to the recipe of a dataset.
RECIPES: dict[str, Callable[[int], Recipe]] = {
    'DB15K': recipes.held_out,
    'FB15k_237': partial(recipes.held_out, relations=1.0),
    'MKG_W': recipes.held_out,
    'MKG_Y': recipes.held_out,
    'WN18': recipes.held_out,
    'WN9': recipes.held_out,
}
