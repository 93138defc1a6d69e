"""The library's recipe on each of the six benchmarks.

Their settings are those of the trials on validation in ``results/notes``, most
of them on DB15K; ``results/notes/2026-11-29-searches.md`` tells what has been
searched since, and where.
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
