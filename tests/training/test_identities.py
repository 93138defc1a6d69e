"""By what the files of a run are known: it must stay what it was, or runs of
before could not go on.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from dsom_pyg import Recipe, recipes, train_dsom
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.stages import Student, Teachers

# Written by commit 9481ed5.
BEFORE = json.loads(
    Path(__file__).with_name('identities.json').read_text(encoding='utf-8')
)
# Learned or drawn, and so not the same on each machine; and of later.
NOT_COMPARED = {
    *('frozen modules', 'fixed features'),
    *('details', 'attributes'),
}
RECIPES: dict[str, Callable[[], Recipe]] = {
    'held_out': lambda: recipes.held_out(channels=4),
    'small': lambda: recipes.small(channels=4, eval_every=0),
    'paper': lambda: recipes.paper(channels=4),
    'committee': lambda: recipes.committee(2, 4, 4, observed=('frequency',)),
}


def short(part: Teachers | Student) -> dict[str, object]:
    return {'loop': replace(part.loop, epochs=1)}


@pytest.mark.parametrize('name', RECIPES)
def test_stages_are_known_by_the_same_words(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]()
    recipe = replace(
        recipe,
        teachers=replace(recipe.teachers, **short(recipe.teachers)),
        student=replace(recipe.student, **short(recipe.student)),
        precision='fp32',
    )
    train_dsom(FakeMMKG(30, 3, 120)[0], recipe, tmp_path)
    now = {}
    for path in sorted(tmp_path.rglob('*.safetensors')):
        if path.stem == 'decisions':
            continue  # no stage
        with safe_open(path, 'pt') as file:
            told = json.loads(file.metadata()['identity'])
        stage = path.relative_to(tmp_path).with_suffix('').as_posix()
        now[f'{name}/{stage}'] = {
            key: x for key, x in told.items() if key not in NOT_COMPARED
        }
    assert now == {
        stage: told
        for stage, told in BEFORE.items()
        if stage.startswith(f'{name}/')
    }
