"""Recipes by the size of the graph."""

from dataclasses import replace
from typing import Any

import pytest

from dsom_pyg import KG, Recipe, datasets, recipes
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.dsom import train_dsom
from dsom_pyg.graph import make_data, merge_val
from dsom_pyg.models import KGE, ComplEx, CrossEntropy
from dsom_pyg.policies import HeldOut, MeanOfTeachers
from dsom_pyg.training import RowwiseAdagrad


def test_large_graphs_and_those_without_features() -> None:
    large = KG(FakeMMKG(10_000, 3, 12_000)[0])
    bare = KG(make_data(20, 3, large.triples('train').select(slice(0, 0))))
    for graph in (large, bare):
        found = recipes.of_size(graph, seed=3)
        assert repr(found) == repr(recipes.held_out(seed=3))


def test_small_and_tiny_graphs() -> None:
    data = FakeMMKG(300, 3, 4_000)[0]
    graph = KG(data)
    assert len(graph.index('train')) < 4_000
    assert repr(recipes.of_size(graph)) == repr(recipes.tiny())
    graph = KG(FakeMMKG(3_000, 3, 9_000)[0])
    assert len(graph.index('train')) >= 4_000
    assert repr(recipes.of_size(graph)) == repr(recipes.small())


@pytest.mark.parametrize('recipe', [recipes.small, recipes.tiny])
def test_without_validation_nobody_looks(
    recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = KG(merge_val(FakeMMKG(30, 3, 120)[0]))
    monkeypatch.setattr(recipes, 'TINY', 10_000 * (recipe is recipes.tiny))
    chosen = recipes.of_size(graph, channels=4, epochs=3)
    assert repr(chosen) == repr(recipe(4, 3, eval_every=0))
    results = train_dsom(graph, chosen).results
    epochs = {name: len(result.history) for name, result in results.items()}
    folds = sum(name.startswith('fold') for name in epochs)
    assert folds == (4 if recipe is recipes.tiny else 1)
    assert epochs['student'] == (3 if recipe is recipes.tiny else 1)


def test_models_with_rows_of_their_own_tell_relations() -> None:
    graph = KG(FakeMMKG(40, 3, 150)[0])
    short = recipes.held_out(4, relations=0.5)
    loop = replace(short.teachers.loop, epochs=1)
    ensemble = short.teachers.build(graph, 0)
    told = {}
    for name in ensemble.modalities:
        model = ensemble[name]
        assert isinstance(model, KGE)
        assert isinstance(model.objective, CrossEntropy)
        told[name] = model.objective.relations
    assert told == {'structure': 0.5, 'image': 0, 'text': 0, 'joint': 0.5}
    student = train_dsom(
        graph,
        replace(
            short,
            teachers=replace(short.teachers, loop=loop),
            policy=MeanOfTeachers(),
            student=replace(short.student, loop=loop),
        ),
    ).student
    assert isinstance(student, ComplEx)
    assert isinstance(student.objective, CrossEntropy)
    assert (student.objective.relations, student.n3) == (0.5, 0.01)
    assert repr(recipes.held_out(relations=0.0)) == repr(recipes.held_out())


def test_rare_queries_of_teachers() -> None:
    rare, plain = recipes.held_out(4, rarity=1.0), recipes.held_out(4)
    loop = replace(plain.teachers.loop, equal_pairs=True, rarity=1.0)
    teachers = replace(plain.teachers, loop=loop)
    assert repr(rare) == repr(replace(plain, teachers=teachers))
    exact = recipes.held_out(4, rarity=0.0).teachers.loop
    assert (exact.equal_pairs, exact.rarity) == (True, 0.0)


def test_the_best_by_benchmark() -> None:
    found = recipes.best('MKG_Y', channels=8, seed=3)
    assert (found.student.channels, found.seed) == (8, 3)
    assert (found.teachers.channels, found.teachers.committee) == (256, 3)
    assert isinstance(found.policy, HeldOut)
    assert recipes.best('MKG_Y').student.channels == 256
    assert recipes.best('MKG_Y').teachers.observed == ('frequency', 'links')
    assert recipes.best('MKG_W').student.channels == 640
    assert recipes.best('MKG_W').teachers.one_hop == 64
    tell = recipes.best('FB15k_237')
    assert repr(tell) == repr(recipes.held_out(relations=1.0))
    for name in recipes.BEST:
        assert hasattr(datasets, name)
        assert isinstance(recipes.best(name), Recipe)
    with pytest.raises(ValueError, match="for 'MKG-W', but for Countries, D"):
        recipes.best('MKG-W')


def test_very_large_graphs_have_an_optimizer_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = KG(FakeMMKG(30, 3, 120)[0])
    monkeypatch.setattr(recipes, 'LARGE', 30)
    found = recipes.of_size(graph, channels=4)
    for loop in (found.teachers.loop, found.student.loop):
        assert loop.optimizer == RowwiseAdagrad(lr=0.4)
    monkeypatch.setattr(recipes, 'LARGE', 31)
    assert found != recipes.of_size(graph)
