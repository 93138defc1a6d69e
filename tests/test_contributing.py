"""What CONTRIBUTING shows, run as it stands there."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg import KG, Recipe, evaluate, train_dsom
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.models import EntityEmbedding
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Loop, ModelTask, fit

TEXT = (Path(__file__).parents[1] / 'CONTRIBUTING.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.S)
LOOP = Loop(epochs=2, batch_size=50)


@pytest.fixture(scope='module')
def shown() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, 'CONTRIBUTING.md', 'exec'), names)
    return names


def recipe(**parts: Any) -> Recipe:
    small = Recipe(
        teachers=Teachers(channels=4, loop=LOOP),
        policy=MeanOfTeachers(),
        student=Student(channels=4, loop=LOOP, unlabeled=None),
    )
    return replace(small, **parts)


def test_all_are_short() -> None:
    assert len(BLOCKS) == 5
    for block in BLOCKS:
        assert len(block.strip().splitlines()) < 15


@pytest.mark.parametrize('name', ['RotatedDistMult', 'Shift'])
def test_models(shown: dict[str, Any], name: str) -> None:
    """They learn alone, teach, and are taught."""
    graph = KG(FakeMMKG()[0])
    torch.manual_seed(0)
    table = EntityEmbedding(graph.num_entities, 4, scale=0.1)
    model = shown[name](table, graph.num_relations)
    result = fit(ModelTask(model), graph, replace(LOOP, epochs=5))
    assert result.history[-1]['loss'] < result.history[0]['loss']
    index = torch.arange(5)
    scores = model.score_tails(index, index % 2)
    assert torch.allclose(model(index, index % 2, index), scores.diag())
    made = shown[name]
    given = recipe(
        teachers=Teachers(channels=4, structure=made, feature=made, loop=LOOP),
        student=Student(channels=4, model=made, loop=LOOP, unlabeled=None),
    )
    trained = train_dsom(graph, given)
    assert type(trained.student) is made
    assert len(evaluate(trained.student, graph, split='val')) > 0


def test_dataset_and_encoder(shown: dict[str, Any]) -> None:
    dataset = shown['Ring'](None, text_encoder=shown['Lengths']())
    assert dataset.entity_names[8] == 'n8'
    x, present = KG(dataset[0]).features['text']
    assert present.all()
    assert (x == 2).all()  # letters of 'n0' to 'n8'
    trained = train_dsom(dataset[0], recipe())
    assert trained.student.num_entities == 9


def test_policy_and_recipe(shown: dict[str, Any]) -> None:
    """The teacher with the highest probability answers alone."""
    graph = KG(FakeMMKG()[0])
    made = shown['surest'](seed=3)
    assert made.seed == 3
    trained = train_dsom(graph, recipe(policy=made.policy))
    head = torch.arange(6)
    each = torch.stack(trained.ensemble.each(head, head % 2))
    surest = each.softmax(dim=2).amax(dim=2).argmax(dim=0)
    scores = trained.teachers.score_tails(head, head % 2)
    assert torch.allclose(scores, each[surest, head], atol=1e-5)
