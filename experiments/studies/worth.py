"""What is a better text worth?

Short texts are those of the benchmark: a phrase on DB15K and FB15k-237, a
title on MKG-W. Longer ones stand beside them: a first sentence, or the
description of Wikidata where there is one; all-mpnet-base-v2 encodes them in
place of all-MiniLM-L6-v2. With one hop the teachers see the texts of a head's
neighbors, too, and the teacher of texts may be wider than the others. Without
texts there is one teacher, of structure. With frequency and links two further
teachers count what train says. All rows have the library's recipe of
their dataset; that of FB15k-237 is halved here, in width and in epochs, since
a row of the whole one takes four hours on a core.
"""

from dataclasses import replace
from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.policies import MeanOfTeachers
from experiments import encoders
from experiments.changes import only, shuffled_texts
from experiments.paper.recipes import RECIPES
from experiments.table import Row, Table


def halved(recipe: Recipe) -> Recipe:
    r"""Half the epochs of teachers and student."""
    teachers, student = (
        replace(part, loop=replace(part.loop, epochs=part.loop.epochs // 2))
        for part in (recipe.teachers, recipe.student)
    )
    return replace(recipe, teachers=teachers, student=student)


def rows(recipe: Recipe) -> tuple[Row, ...]:
    r"""A recipe with texts of each kind."""
    teachers = recipe.teachers
    alone = replace(
        recipe,
        teachers=replace(teachers, joint=False),
        policy=MeanOfTeachers(),
    )
    near = replace(recipe, teachers=replace(teachers, one_hop=64))
    counted = replace(teachers, observed=('frequency', 'links'))
    wide = replace(recipe, teachers=replace(teachers, feature_channels=512))
    return (
        Row('no texts', alone, change=partial(only, names=())),
        Row('texts of others', recipe, change=shuffled_texts),
        Row('short texts', recipe),
        Row('longer texts', recipe, more_texts=True),
        Row(
            'longer texts, frequency and links',
            replace(recipe, teachers=counted),
            more_texts=True,
        ),
        Row(
            'longer texts, mpnet',
            recipe,
            more_texts=True,
            encoder=encoders.mpnet,
        ),
        Row(
            'longer texts, mpnet, one hop',
            near,
            more_texts=True,
            encoder=encoders.mpnet,
        ),
        Row(
            'longer texts, mpnet, their teacher of D = 512',
            wide,
            more_texts=True,
            encoder=encoders.mpnet,
        ),
    )


RECIPE = {
    'DB15K': RECIPES['DB15K'](256),
    'FB15k_237': halved(RECIPES['FB15k_237'](128)),
    'MKG_W': RECIPES['MKG_W'](256),
}
TABLES = tuple(
    Table((dataset,), rows(recipe)) for dataset, recipe in RECIPE.items()
)
