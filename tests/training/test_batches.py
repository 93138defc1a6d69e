from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.losses import neighbor_decoupled_kd
from dsom_pyg.models import ComplEx, CrossEntropy, EntityEmbedding
from dsom_pyg.models.base import total
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.teachers import Mean, TeacherEnsemble
from dsom_pyg.training import (
    Distill,
    DistillTask,
    Loop,
    ModelTask,
    QueryLoader,
    fit,
)


def collect(loader: QueryLoader) -> list[tuple[int, int, int]]:
    rows = []
    for batch in loader:
        head, rel = batch.head[batch.targets.row], batch.rel[batch.targets.row]
        columns = (head, rel, batch.targets.tail)
        rows += zip(*(c.tolist() for c in columns), strict=True)
    return rows


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
@pytest.mark.parametrize('size', [1, 7, 10_000])
def test_an_epoch_holds_every_training_pair_once(
    batch_by: str, size: int
) -> None:
    index = KG(FakeMMKG()[0]).index('train')
    loader = QueryLoader(index, size, batch_by)
    pairs = index.rows(torch.arange(len(index)))
    columns = (index.head[pairs.row], index.rel[pairs.row], pairs.tail)
    expected = list(zip(*(c.tolist() for c in columns), strict=True))
    rows = collect(loader)
    assert sorted(rows) == sorted(expected)
    assert rows != expected or size == 10_000
    assert len(loader) == sum(1 for _ in loader)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_neighbors_are_complete(batch_by: str) -> None:
    index = KG(FakeMMKG()[0]).index('train')
    for batch in QueryLoader(index, 5, batch_by):
        expected = index.lookup(batch.head, batch.rel)
        assert torch.equal(batch.neighbors.row, expected.row)
        assert torch.equal(batch.neighbors.tail, expected.tail)
        if batch_by == 'triples':
            assert torch.equal(batch.targets.row, torch.arange(len(batch)))


def test_order_follows_the_seed_and_goes_on() -> None:
    index = KG(FakeMMKG()[0]).index('train')
    loader = QueryLoader(index, 4, seed=1)
    first, second = collect(loader), collect(loader)
    assert first != second
    again = QueryLoader(index, 4, seed=1)
    assert [collect(again), collect(again)] == [first, second]
    assert collect(QueryLoader(index, 4, seed=2)) != first


def test_bad_settings() -> None:
    index = KG(FakeMMKG()[0]).index('train')
    with pytest.raises(ValueError, match="'queries', 'triples'"):
        QueryLoader(index, 4, 'entities')
    with pytest.raises(ValueError, match='batch_size'):
        QueryLoader(index, 0)
    none = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    with pytest.raises(ValueError, match='no training triples'):
        QueryLoader(QueryIndex(none), 4)


def entity_gradient(
    model: ComplEx, batches: Iterable[QueryBatch]
) -> torch.Tensor:
    model.zero_grad()
    for batch in batches:
        # As `Task.update` counts it.
        (total(model.loss(batch, 'fp32')) * batch.weight).backward()
    gradient = model.entities.weight.grad
    assert gradient is not None
    return gradient.clone()


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_pairs_that_count_alike_make_the_gradient_of_all_triples(
    batch_by: str,
) -> None:
    graph = KG(FakeMMKG()[0])
    index = graph.index('train')
    model = ComplEx(
        EntityEmbedding(graph.num_entities, 4, scale=1.0), graph.num_relations
    ).double()
    # All triples in one batch: the mean over them.
    (batch,) = QueryLoader(index, 10_000, 'triples')
    whole = entity_gradient(model, [batch])
    loader = QueryLoader(index, 7, batch_by, equal_pairs=True)
    exact = entity_gradient(model, loader)
    # On average a full batch counts once.
    weights = sum(batch.weight for batch in loader)
    assert weights == pytest.approx(loader.size / 7)
    scale = loader.size / 7
    assert torch.allclose(exact, whole * scale, rtol=1e-9, atol=1e-12)
    # Without, the queries of large batches count less.
    other = entity_gradient(model, QueryLoader(index, 7, batch_by))
    off = (other / len(loader) - whole).norm() / whole.norm()
    assert off > (0.01 if batch_by == 'queries' else 1e-3)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
@pytest.mark.parametrize('rarity', [0.5, 1.0])
def test_pairs_count_as_their_query_is_rare(
    batch_by: str, rarity: float
) -> None:
    graph = KG(FakeMMKG()[0])
    index = graph.index('train')
    objective = CrossEntropy(relations=0.5)
    model = ComplEx(
        EntityEmbedding(graph.num_entities, 4, scale=1.0),
        graph.num_relations,
        objective=objective,
    ).double()
    # By hand: the loss of each triple alone, weighted.
    size, every = index.tail.numel(), index.rows(torch.arange(len(index)))
    tails = index.ptr.diff()[every.row].double()
    expected, total = torch.zeros_like(model.entities.weight), 0.0
    for at in range(size):
        query = every.row[at : at + 1]
        pair = Pairs(torch.zeros(1, dtype=torch.long), every.tail[at : at + 1])
        one = QueryBatch(index.head[query], index.rel[query], pair, pair)
        weight = float(tails[at] ** -rarity)
        expected += weight * entity_gradient(model, [one])
        total += weight
    loader = QueryLoader(index, 7, batch_by, equal_pairs=True, rarity=rarity)
    found = entity_gradient(model, loader)
    scale = loader.size / 7 / total
    torch.testing.assert_close(found, expected * scale, rtol=1e-5, atol=1e-8)
    # All queries count alike in the end.
    if rarity == 1.0:
        assert total == pytest.approx(len(index))
        (batch,) = QueryLoader(index, 10_000, rarity=rarity)
        ones = torch.ones(len(batch))
        torch.testing.assert_close(batch.query_weights(), ones)


def test_a_batch_counts_as_much_as_it_says() -> None:
    graph = KG(FakeMMKG()[0])
    sizes = graph.num_entities, graph.num_relations
    (batch,) = QueryLoader(graph.index('train'), 10_000)
    moved = []
    for weight in (1.0, 3.0):
        torch.manual_seed(0)
        model = ComplEx(EntityEmbedding(sizes[0], 4, scale=1.0), sizes[1])
        before = model.relations.detach().clone()
        sgd = torch.optim.SGD(model.parameters(), lr=1.0)
        ModelTask(model).update(replace(batch, weight=weight), 'fp32', [sgd])
        moved.append(model.relations.detach() - before)
    assert torch.allclose(moved[1], 3 * moved[0], rtol=1e-4, atol=1e-7)


def test_the_loop_says_whether_pairs_count_alike() -> None:
    graph = KG(FakeMMKG()[0])
    weights = []

    class Watched(ModelTask):
        def step(
            self, batch: QueryBatch, precision: str
        ) -> dict[str, torch.Tensor]:
            weights.append(batch.weight)
            return super().step(batch, precision)

    sizes = graph.num_entities, graph.num_relations
    for equal in (False, True):
        model = ComplEx(EntityEmbedding(sizes[0], 4), sizes[1])
        loop = Loop(epochs=1, batch_size=7, equal_pairs=equal)
        fit(Watched(model), graph, loop)
    count = len(weights) // 2
    assert weights[:count] == [1.0] * count
    assert len(set(weights[count:])) > 1


@pytest.mark.parametrize('rarity', [0.0, 0.5, 1.0])
def test_distillation_weighs_queries_as_their_targets(rarity: float) -> None:
    graph = KG(FakeMMKG()[0])
    sizes = graph.num_entities, graph.num_relations
    torch.manual_seed(0)
    student = ComplEx(EntityEmbedding(sizes[0], 4, scale=1.0), sizes[1])
    teachers = TeacherEnsemble.from_features(graph.features, *sizes, 4)
    distill = Distill(tau=2.0, gamma=1.0)
    task = DistillTask(student, teachers.eval(), Mean(), distill)
    task.optimizers(Loop())
    (batch,) = QueryLoader(graph.index('train'), 10_000, rarity=rarity)
    found = task.step(batch, 'fp32')['ndkd']
    asked = batch.head, batch.rel
    logits = torch.stack(list(teachers.each(*asked))).mean(dim=0)
    each = neighbor_decoupled_kd(
        logits, student.score_tails(*asked), batch.neighbors, 2.0
    )
    weight = batch.neighbors.count(len(batch)).float() ** (1 - rarity)
    expected = 4 * (each * weight).sum() / weight.sum()
    torch.testing.assert_close(found, expected)


def test_a_batch_larger_than_the_graph_weighs_one() -> None:
    index = KG(FakeMMKG()[0]).index('train')
    for size in (len(index), 5 * len(index)):
        (batch,) = QueryLoader(index, size, equal_pairs=True)
        assert batch.weight == pytest.approx(1)
