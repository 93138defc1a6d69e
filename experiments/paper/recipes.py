"""The library's recipe on each of the six benchmarks.

Settings are chosen on validation, by ``python -m experiments search`` and by
the trials in ``results/notes``; test is read once, in the end.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe, recipes
from dsom_pyg.models import ComplEx, CrossEntropy


def of_relations(channels: int) -> Recipe:
    r"""Whoever has entity rows of its own learns to tell relations as well
    (``python -m experiments relations``: on validation of FB15k-237 that
    brings a model of triples 0.9 points of MRR, on MKG-W nothing).
    """
    recipe = recipes.held_out(channels)
    objective = CrossEntropy(relations=1.0)
    structure = partial(ComplEx, n3=0.05, objective=objective)
    model = partial(ComplEx, n3=0.01, objective=objective)
    return replace(
        recipe,
        teachers=replace(recipe.teachers, structure=structure),
        student=replace(recipe.student, model=model),
    )


# From D to the recipe of a dataset.
RECIPES: dict[str, Callable[[int], Recipe]] = {
    'DB15K': recipes.held_out,
    'FB15k_237': of_relations,
    'MKG_W': recipes.held_out,
    'MKG_Y': recipes.held_out,
    'WN18': recipes.held_out,
    'WN9': recipes.held_out,
}
