import random

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    SPLITS,
    add_reciprocals,
    fingerprint,
    get_split,
    pool_features,
)
from dsom_pyg.query_index import QueryIndex


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_every_awkward_case_is_there(seed: int) -> None:
    data = FakeMMKG(seed=seed)[0]
    _, image = pool_features(data, 'image')
    _, text = pool_features(data, 'text')
    assert (~image).nonzero().flatten().tolist() == [1, 3]
    assert (~text).nonzero().flatten().tolist() == [2, 3]
    assert data['image'].x.shape == (19, 6)
    assert data['text'].x.shape == (18, 8)
    owners = data['image', 'depicts', 'entity'].edge_index[1]
    assert owners.bincount(minlength=20)[0] == 2
    train, val, test = (get_split(data, split) for split in SPLITS)
    assert [len(p.edge_type) for p in (train, val, test)] == [80, 10, 10]
    assert torch.unique(train.edge_index).tolist() == list(range(19))
    assert torch.unique(train.edge_type).tolist() == list(range(4))
    neighbors = QueryIndex(add_reciprocals(train, 4))
    for part in (val, test):
        assert 19 in part.edge_index
        both = add_reciprocals(part, 4)
        found = neighbors.lookup(both.head, both.edge_type)
        assert (found.count(len(both.edge_type)) == 0).any()


def test_splits_hold_distinct_triples_without_loops() -> None:
    data = FakeMMKG()[0]
    rows = [
        (*pair, rel)
        for split in SPLITS
        for part in [get_split(data, split)]
        for pair, rel in zip(
            part.edge_index.t().tolist(), part.edge_type.tolist(), strict=True
        )
    ]
    assert len(set(rows)) == len(rows) == 100
    assert all(head != tail for head, tail, _ in rows)


def test_deterministic_and_outside_the_global_state() -> None:
    before = torch.get_rng_state(), random.getstate()
    first, again = FakeMMKG(), FakeMMKG()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert fingerprint(first[0]) == fingerprint(again[0])
    for name in ('image', 'text'):
        assert torch.equal(first[0][name].x, again[0][name].x)
    other = FakeMMKG(seed=1)
    assert fingerprint(first[0]) != fingerprint(other[0])
    assert not torch.equal(first[0]['text'].x, other[0]['text'].x)


def test_names_and_sizes() -> None:
    dataset = FakeMMKG(num_entities=7, num_relations=6, num_triples=30)
    assert (dataset.num_entities, dataset.num_relations) == (7, 6)
    assert len(dataset) == 1
    assert dataset.entity_names[6] == 'entity 6'
    assert dataset.relation_names == [f'relation {i}' for i in range(6)]
    assert dataset.entity_texts[2] == []
    assert dataset.coverage() == {'image': 5 / 7, 'text': 5 / 7}
    assert str(dataset) == 'FakeMMKG(7 entities, 6 relations)'


@pytest.mark.parametrize(
    'sizes',
    [
        {'num_entities': 5},
        {'num_relations': 0},
        {'num_relations': 20},
        {'num_triples': 20},
        {'num_triples': 10_000},
    ],
)
def test_impossible_sizes(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match='got'):
        FakeMMKG(**sizes)  # type: ignore[arg-type]
