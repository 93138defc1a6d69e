"""The view of a graph: what it gives, and that it works it out once."""

from types import ModuleType

import pytest
import torch
from torch_geometric.data import HeteroData

import dsom_pyg
from dsom_pyg import KG
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    EDGE,
    SPLITS,
    TripleGraph,
    Triples,
    add_reciprocals,
    concat,
    fingerprint,
    get_split,
    known_triples,
    make_data,
    modalities,
    num_entities,
    num_relations,
    pool_features,
)
from dsom_pyg.metrics import relation_categories
from dsom_pyg.query_index import QueryIndex

DATA = FakeMMKG(30, 4, 200)[0]


def triples_of(index: QueryIndex) -> list[tuple[int, int, int]]:
    pairs = index.rows(torch.arange(len(index)))
    columns = index.head[pairs.row], index.rel[pairs.row], pairs.tail
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


def both_ways(triples: Triples, size: int) -> list[tuple[int, int, int]]:
    head, tail = triples.edge_index.tolist()
    rel = triples.edge_type.tolist()
    rows = set(zip(head, rel, tail, strict=True))
    return sorted(rows | {(t, r + size, h) for h, r, t in rows})


def test_degree_counts_a_triple_once() -> None:
    rows = [(0, 0, 1), (0, 0, 1), (1, 1, 2), (2, 0, 2)]
    graph = KG(make_data(4, 2, Triples.of(rows)))
    assert graph.degree.tolist() == [1, 2, 3, 0]


def test_what_is_no_graph() -> None:
    with pytest.raises(TypeError, match=r"need a graph, .* got 'Countries'"):
        KG.of('Countries')  # type: ignore[arg-type]


def test_a_view_says_what_the_functions_say() -> None:
    graph = KG(DATA)
    assert graph.num_entities == num_entities(DATA) == 30
    assert graph.num_relations == num_relations(DATA) == 4
    assert graph.modalities == modalities(DATA) == ['image', 'text']
    assert graph.fingerprint == fingerprint(DATA)
    for split in SPLITS:
        for ours, theirs in zip(
            graph.triples(split), get_split(DATA, split), strict=True
        ):
            assert torch.equal(ours, theirs)
    assert list(graph.features) == ['image', 'text']
    for name, (x, present) in graph.features.items():
        expected = pool_features(DATA, name)
        assert torch.equal(x, expected[0])
        assert torch.equal(present, expected[1])
    train = get_split(DATA, 'train')
    ends = train.edge_index.flatten().tolist()
    assert graph.degree.tolist() == [ends.count(e) for e in range(30)]
    expected = relation_categories(QueryIndex(add_reciprocals(train, 4)), 4)
    assert torch.equal(graph.relation_categories, expected)


@pytest.mark.parametrize(
    'splits', [('train',), ('val',), ('train', 'val'), SPLITS]
)
def test_an_index_holds_the_triples_of_its_splits(
    splits: tuple[str, ...],
) -> None:
    found = concat(*(get_split(DATA, split) for split in splits))
    assert triples_of(KG(DATA).index(*splits)) == both_ways(found, 4)


def test_the_filter_of_an_evaluation_holds_further_known_triples() -> None:
    def triple(head: int, tail: int) -> Triples:
        ends = torch.tensor([[head], [tail]])
        return Triples(ends, torch.zeros(1, dtype=torch.long))

    splits = [triple(0, 1), triple(1, 2), triple(2, 3)]
    data = make_data(5, 1, *splits)
    further = triple(3, 4)
    data[EDGE].filter_edge_index = further.edge_index
    data[EDGE].filter_edge_type = further.edge_type
    graph = KG(data)
    everything = concat(*splits, further)
    assert triples_of(graph.index(*SPLITS)) == both_ways(everything, 1)
    assert triples_of(graph.index('test', 'val', 'train')) == both_ways(
        known_triples(data), 1
    )
    # Of two splits it is no filter of an evaluation.
    two = concat(*splits[:2])
    assert triples_of(graph.index('train', 'val')) == both_ways(two, 1)


def test_everything_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = {}

    def counted(home: ModuleType | type, name: str) -> None:
        real = getattr(home, name)

        def call(*words: object) -> object:
            counts[name] = counts.get(name, 0) + 1
            return real(*words)

        monkeypatch.setattr(home, name, call)

    counted(dsom_pyg.kg, 'QueryIndex')
    counted(dsom_pyg.graph, 'pool_features')
    counted(TripleGraph, 'fingerprint')
    graph = KG(DATA)
    assert not counts  # nothing before it is asked for
    assert graph.index('train') is graph.index('train')
    assert graph.index('train', 'val') is graph.index('val', 'train')
    assert graph.features is graph.features
    assert graph.degree is graph.degree
    assert graph.relation_categories is graph.relation_categories
    assert graph.fingerprint == graph.fingerprint
    assert counts == {'QueryIndex': 2, 'pool_features': 2, 'fingerprint': 1}
    assert KG.of(graph) is graph
    assert KG.of(DATA).data is DATA


def test_other_training_triples_share_features() -> None:
    graph = KG(DATA)
    before = get_split(DATA, 'train').edge_index.clone()
    less = graph.triples('train').select(torch.arange(5))
    # Of the view, and of the view of a view; asked of these first.
    rest = graph.with_train(less)
    again = rest.with_train(graph.triples('train'))
    assert again.features is rest.features is graph.features
    # What hangs on the triples is their own.
    assert triples_of(rest.index('train')) == both_ways(less, 4)
    assert rest.degree.sum() == 10
    assert rest.fingerprint != graph.fingerprint
    assert again.fingerprint == graph.fingerprint
    assert triples_of(again.index('train')) == triples_of(graph.index('train'))
    for split in ('val', 'test'):
        for ours, theirs in zip(
            rest.triples(split), graph.triples(split), strict=True
        ):
            assert torch.equal(ours, theirs)
    # The graph itself stays as it was.
    assert torch.equal(get_split(DATA, 'train').edge_index, before)


def test_a_view_says_what_it_views() -> None:
    assert repr(KG(DATA)) == (
        "KG(30 entities, 4 relations, features of ['image', 'text'])"
    )


def test_features_of_entities_themselves_are_told() -> None:
    data = FakeMMKG()[0]
    data['entity'].x = torch.ones(20, 3)
    with pytest.warns(UserWarning, match=r"data\['entity'\].x are not used"):
        graph = KG(data)
    assert sorted(graph.features) == ['image', 'text']
    # Who looks changes nothing.
    empty = HeteroData()
    assert modalities(empty) == []
    assert empty.node_types == []
