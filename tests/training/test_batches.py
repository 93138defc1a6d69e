import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.training import QueryLoader


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
