from collections import defaultdict
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    EDGE,
    TripleGraph,
    Triples,
    _nothing_like,
    add_reciprocals,
    drop_modality,
    fingerprint,
    first_twin,
    get_split,
    hold_out,
    known_triples,
    make_data,
    merge_val,
    modalities,
    pool_features,
    set_split,
    triple_graph,
    within,
)
from dsom_pyg.kg import KG
from dsom_pyg.metrics import CATEGORIES, relation_categories
from dsom_pyg.query_index import Pairs, QueryIndex


def triples(*rows: tuple[int, int, int]) -> Triples:
    h, r, t = torch.tensor(rows).t()
    return Triples(torch.stack([h, t]), r)


def as_set(part: Triples) -> set[tuple[int, int, int]]:
    return set(
        zip(
            part.head.tolist(),
            part.edge_type.tolist(),
            part.tail.tolist(),
            strict=True,
        )
    )


def random_triples(count: int, seed: int = 0) -> Triples:
    generator = torch.Generator().manual_seed(seed)
    return Triples(
        torch.randint(30, (2, count), generator=generator),
        torch.randint(5, (count,), generator=generator),
    )


def test_reciprocals() -> None:
    both = add_reciprocals(triples((0, 1, 2), (3, 0, 4)), num_relations=5)
    assert as_set(both) == {(0, 1, 2), (3, 0, 4), (2, 6, 0), (4, 5, 3)}


def test_query_index_is_the_dictionary_of_tails() -> None:
    part = random_triples(400)  # with duplicates
    expected = defaultdict(set)
    for h, r, t in as_set(part):
        expected[h, r].add(t)
    index = QueryIndex(part)
    assert len(index) == len(expected)
    assert index.tail.numel() == len(as_set(part))
    head, rel = torch.cartesian_prod(torch.arange(30), torch.arange(7)).t()
    found = index.lookup(head, rel)
    for i, query in enumerate(zip(head.tolist(), rel.tolist(), strict=True)):
        tails = found.tail[found.row == i].tolist()
        assert tails == sorted(expected.get(query, set()))
    assert found.row.tolist() == sorted(found.row.tolist())


def test_query_index_by_position_and_count() -> None:
    triples = random_triples(200)
    index = QueryIndex(triples)
    distinct = set(
        zip(
            triples.head.tolist(),
            triples.edge_type.tolist(),
            triples.tail.tolist(),
            strict=True,
        )
    )
    heads = torch.arange(12)
    expected = [sum(h == head for h, _, _ in distinct) for head in range(12)]
    assert index.degree(heads).tolist() == expected
    position = torch.tensor([5, 0, 5])
    rows = index.rows(position)
    again = index.lookup(index.head[position], index.rel[position])
    assert torch.equal(rows.row, again.row)
    assert torch.equal(rows.tail, again.tail)
    ptr = index.ptr
    assert rows.count(3).tolist() == (
        (ptr[position + 1] - ptr[position]).tolist()
    )


def test_narrow_integers_do_not_overflow() -> None:
    wide = random_triples(200)
    wide = Triples(wide.edge_index * 400, wide.edge_type * 100)
    narrow = Triples(wide.edge_index.int(), wide.edge_type.int())
    assert torch.equal(QueryIndex(narrow).tail, QueryIndex(wide).tail)
    assert torch.equal(QueryIndex(narrow).head, QueryIndex(wide).head)
    head, rel = torch.tensor([3_000_000]), torch.tensor([1000])
    index = QueryIndex(Triples(torch.stack([head, rel]), rel))
    for kind in (torch.long, torch.int):
        found = index.lookup(head.to(kind), rel.to(kind))
        assert found.tail.tolist() == [1000]


def test_empty_query_index() -> None:
    none = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    found = QueryIndex(none).lookup(torch.tensor([1]), torch.tensor([0]))
    assert found.row.numel() == 0


def test_neighbors_hold_no_val_or_test_triple() -> None:
    data = FakeMMKG()[0]
    train = as_set(add_reciprocals(get_split(data, 'train'), 4))
    index = QueryIndex(add_reciprocals(get_split(data, 'train'), 4))
    pairs = index.rows(torch.arange(len(index)))
    rows = zip(
        index.head[pairs.row].tolist(),
        index.rel[pairs.row].tolist(),
        pairs.tail.tolist(),
        strict=True,
    )
    assert set(rows) == train


def test_known_triples_hold_every_split_and_the_extra_ones() -> None:
    data = make_data(
        9, 2, triples((0, 0, 1)), triples((1, 0, 2)), triples((2, 1, 3))
    )
    extra = triples((7, 1, 8))
    data[EDGE].filter_edge_index = extra.edge_index
    data[EDGE].filter_edge_type = extra.edge_type
    assert as_set(known_triples(data)) == {
        (0, 0, 1),
        (1, 0, 2),
        (2, 1, 3),
        (7, 1, 8),
    }


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (
            triples((0, 0, 9)),
            r"tails of split 'train': 9 at position 0 is outside 0..8",
        ),
        (
            triples((0, 0, 1), (0, 2, 1)),
            r'relations of .*: 2 at position 1 is outside 0..1',
        ),
        (triples((0, -1, 1)), r'relations of .*: -1 at position 0'),
        (
            Triples(torch.zeros(3, 1).long(), torch.zeros(1).long()),
            r'shape \[2, N\]',
        ),
        (
            Triples(torch.zeros(2, 2).long(), torch.zeros(1).long()),
            r"2 heads of split 'train', 1 relations .*, 2 tails",
        ),
    ],
)
def test_bad_triples_are_named(bad: Triples, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_data(9, 2, bad)


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        get_split(FakeMMKG()[0], 'valid')


def test_hold_out_keeps_every_entity_and_relation_in_train() -> None:
    data = FakeMMKG(60, 6, 400)[0]
    before = get_split(data, 'train')
    smaller, taken = hold_out(data, 0.2, seed=3)
    after = get_split(smaller, 'train')
    assert as_set(get_split(data, 'train')) == as_set(before)
    assert as_set(after) | as_set(taken) == as_set(before)
    assert not as_set(after) & as_set(taken)
    assert taken.edge_type.numel() == round(0.2 * before.edge_type.numel())
    for mine, theirs in (
        (after.edge_index, before.edge_index),
        (after.edge_type, before.edge_type),
    ):
        assert set(mine.flatten().tolist()) == set(theirs.flatten().tolist())
    same, _ = hold_out(data, 0.2, seed=3)
    other, _ = hold_out(data, 0.2, seed=4)
    assert fingerprint(same) == fingerprint(smaller) != fingerprint(other)
    with pytest.raises(ValueError, match='ratio'):
        hold_out(data, 1.0)
    with pytest.raises(ValueError, match="got 'all'"):
        hold_out(data, 0.2, keep='all')


def test_hold_out_of_a_chain_takes_nothing_it_must_not() -> None:
    # Every triple is the only one of its head.
    data = make_data(4, 1, triples((0, 0, 1), (1, 0, 2), (2, 0, 3)))
    smaller, _ = hold_out(data, 0.9)
    kept = get_split(smaller, 'train')
    assert set(kept.edge_index.flatten().tolist()) == {0, 1, 2, 3}


def test_merge_val() -> None:
    data = FakeMMKG()[0]
    merged = merge_val(data)
    both = as_set(get_split(data, 'train')) | as_set(get_split(data, 'val'))
    assert as_set(get_split(merged, 'train')) == both
    assert get_split(merged, 'val').edge_type.numel() == 0
    assert get_split(data, 'val').edge_type.numel() > 0
    assert as_set(known_triples(merged)) == as_set(known_triples(data))


def test_a_graph_of_train_alone() -> None:
    data = make_data(3, 1, Triples.of([(0, 0, 1)]))
    for key in ('val_edge_index', 'val_edge_type'):
        del data[EDGE][key]
    assert get_split(data, 'val').edge_index.shape == (2, 0)
    assert len(merge_val(data)[EDGE].edge_type) == 1
    assert KG(data).index('val').tail.numel() == 0
    # Others do not tell how many relations there are.
    del data[EDGE].num_relations
    with pytest.raises(ValueError, match=r'has no num_relations.*make_data'):
        KG(data)
    empty = HeteroData()
    with pytest.raises(ValueError, match='has no num_relations'):
        KG(empty)
    assert not empty.edge_types


def test_features_are_means_over_items() -> None:
    data = HeteroData()
    data['entity'].num_nodes = 3
    data['sound'].x = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 5.0]])
    data['sound', 'is_of', 'entity'].edge_index = torch.tensor(
        [[0, 1, 2], [2, 2, 0]]
    )
    x, present = pool_features(data, 'sound')
    assert x.tolist() == [[5.0, 5.0], [0.0, 0.0], [2.0, 2.0]]
    assert present.tolist() == [True, False, True]
    assert modalities(data) == ['sound']
    with pytest.raises(ValueError, match=r"'image'.*\['sound'\]"):
        pool_features(data, 'image')
    for bad in ('nan', 'inf', '-inf'):
        data['sound'].x[1, 0] = float(bad)
        with pytest.raises(ValueError, match='row 1'):
            pool_features(data, 'sound')


def categories(part: Triples, num_relations: int) -> list[str]:
    index = QueryIndex(add_reciprocals(part, num_relations))
    return [CATEGORIES[c] for c in relation_categories(index, num_relations)]


def test_relation_categories() -> None:
    part = triples(
        *((i, 0, i + 1) for i in range(3)),  # 1-1
        *((0, 1, i) for i in range(1, 4)),  # one head, many tails
        *((i, 2, 0) for i in range(1, 4)),  # many heads, one tail
        *((i, 3, j) for i in range(2) for j in range(2, 4)),
    )
    assert categories(part, 5) == ['1-1', '1-N', 'N-1', 'N-N', '1-1']


def test_boundary_of_relation_categories() -> None:
    # A side is "many" if its queries have more than 1.5 answers on average.
    # Relation 0: three answers of two heads, 3 / 2 = 1.5 exactly: one.
    # Relation 1: 13 answers of nine heads, 13 / 9 = 1.44: still one.
    # Relation 2: 14 answers of nine heads, 14 / 9 = 1.56: many.
    # All tails differ, so that each has one head.
    counts = {0: [2, 1], 1: [5, *[1] * 8], 2: [6, *[1] * 8]}
    tails = iter(range(100, 200))
    rows = [
        (head, relation, next(tails))
        for relation, answers in counts.items()
        for head, count in enumerate(answers)
        for _ in range(count)
    ]
    assert categories(triples(*rows), 3) == ['1-1', '1-1', '1-N']
    # The same triples the other way round, and with every triple twice: a
    # duplicate is no further answer.
    mirrored = [(t, r, h) for h, r, t in rows] * 2
    assert categories(triples(*mirrored), 3) == ['1-1', '1-1', 'N-1']


def test_fingerprint_sees_triples_and_filter() -> None:
    data = FakeMMKG()[0]
    before = fingerprint(data)
    assert before == fingerprint(FakeMMKG()[0])
    data[EDGE].filter_edge_index = torch.tensor([[0], [1]])
    data[EDGE].filter_edge_type = torch.tensor([0])
    assert fingerprint(data) != before
    part = get_split(data, 'test')
    set_split(data, 'test', Triples(part.edge_index.flip(0), part.edge_type))
    assert fingerprint(data) != before


def test_pairs_count_rows_without_tails() -> None:
    pairs = Pairs(torch.tensor([0, 0, 2]), torch.tensor([4, 5, 6]))
    assert pairs.count(4).tolist() == [2, 0, 1, 0]


def test_results_do_not_depend_on_torch_scatter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('torch_scatter')
    data, found = FakeMMKG()[0], []
    for installed in (True, False):
        monkeypatch.setattr(
            'torch_geometric.typing.WITH_TORCH_SCATTER', installed
        )
        x, present = pool_features(data, 'image')
        smaller, _ = hold_out(data, 0.2)
        found.append((x, present, get_split(smaller, 'train').edge_index))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_hold_out_in_either_role() -> None:
    # Everybody is once a head and once a tail.
    rows = [(i, 0, 50 + i % 5) for i in range(50)]
    rows += [(t, 1, h) for h, _, t in rows]
    data = make_data(55, 2, triples(*rows))
    assert hold_out(data, 0.2)[1].edge_type.numel() == 0
    smaller, taken = hold_out(data, 0.2, keep='entities')
    assert taken.edge_type.numel() == 20
    left = get_split(smaller, 'train')
    assert left.edge_index.unique().numel() == 55
    assert left.edge_type.unique().numel() == 2


def test_hold_out_anything() -> None:
    # Every triple is the only one of its head, its tail and its relation.
    rows = [(i, i, 50 + i) for i in range(50)]
    data = make_data(100, 50, triples(*rows))
    assert hold_out(data, 0.2)[1].edge_type.numel() == 0
    found = set()
    for seed in range(40):
        smaller, taken = hold_out(data, 0.2, seed, keep='nothing')
        assert taken.edge_type.numel() == 10
        left = as_set(get_split(smaller, 'train'))
        assert left | as_set(taken) == set(rows)
        assert len(left) == 40
        found |= as_set(taken)
    # Each has a chance of 1 - 0.8^40 to be taken once.
    assert found == set(rows)


@pytest.mark.parametrize('modality', ['image', 'text'])
def test_drop_modality(modality: str) -> None:
    data = FakeMMKG(60, 4, 200)[0]
    before, had = pool_features(data, modality)
    edges = data[modality].x.size(0)
    present = []
    for rate in (0, 0.2, 0.5, 0.8, 1):
        x, has = pool_features(drop_modality(data, modality, rate), modality)
        assert has.sum() == had.sum() - round(rate * int(had.sum()))
        # What is left is untouched, and a higher rate takes more away.
        assert torch.equal(x[has], before[has])
        assert not x[~has].any()
        assert not present or (present[-1] | ~has).all()
        present.append(has)
    assert data[modality].x.size(0) == edges
    other = drop_modality(data, modality, 0.5, seed=1)
    assert not torch.equal(pool_features(other, modality)[1], present[2])
    again = drop_modality(data, modality, 0.5)
    assert torch.equal(pool_features(again, modality)[1], present[2])
    assert again[modality].x.size(0) < edges
    with pytest.raises(ValueError, match=r'\[0, 1\], got 2'):
        drop_modality(data, modality, 2)
    with pytest.raises(ValueError, match="modality 'sound'"):
        drop_modality(data, 'sound', 0.5)


def test_drop_modality_keeps_what_belongs_to_items_and_edges() -> None:
    data = FakeMMKG(60, 4, 200)[0]
    items, edge = data['text'], ('text', 'describes', 'entity')
    count = len(items.x)
    items.label, items.note = torch.arange(count), torch.arange(3)
    items.num_nodes = count
    data[edge].weight = torch.arange(data[edge].edge_index.size(1))
    found = drop_modality(data, 'text', 0.5)
    kept = found['text'].label
    assert torch.equal(found['text'].x, items.x[kept])
    assert found['text'].num_nodes == len(kept) < count
    assert torch.equal(found['text'].note, items.note)
    weight = found[edge].weight
    assert torch.equal(
        found[edge].edge_index[1], data[edge].edge_index[1, weight]
    )
    assert len(items.label) == count


def test_ids_are_whole_numbers_of_64_bits() -> None:
    wide = random_triples(20)
    narrow = Triples(wide.edge_index.int(), wide.edge_type.int())
    size = int(wide.edge_index.max()) + 1
    one, two = (make_data(size, 9, part) for part in (wide, narrow))
    assert fingerprint(one) == fingerprint(two)
    assert get_split(two, 'train').edge_index.dtype == torch.long
    broken = Triples(wide.edge_index.float(), wide.edge_type)
    with pytest.raises(
        ValueError, match=r"heads of split 'train' must .* got torch.float32"
    ):
        make_data(size, 9, broken)


@pytest.mark.parametrize(
    'x',
    [
        torch.zeros(2),
        torch.zeros(2, 0),
        torch.zeros(2, 3).to_sparse(),
        torch.zeros(2, 3, dtype=torch.complex64),
        [[1.0], [2.0]],
    ],
)
def test_features_that_are_no_matrix(x: Any) -> None:
    triples = Triples(torch.zeros(2, 1).long(), torch.zeros(1).long())
    data = make_data(2, 1, triples)
    data['text'].x = x
    data['text', 'describes', 'entity'].edge_index = torch.zeros(2, 2).long()
    with pytest.raises(ValueError, match="of modality 'text' must be a dense"):
        pool_features(data, 'text')


def test_means_of_half_precision_do_not_overflow() -> None:
    triples = Triples(torch.zeros(2, 1).long(), torch.zeros(1).long())
    data = make_data(1, 1, triples)
    data['text'].x = torch.full((2, 3), 40000.0).half()
    edge = torch.tensor([[0, 1], [0, 0]])
    data['text', 'describes', 'entity'].edge_index = edge
    x, _ = pool_features(data, 'text')
    assert (x == 40000).all()


def test_splits_that_are_not_given() -> None:
    train = Triples.of([(0, 0, 1)])
    graph = TripleGraph(3, 1, {'train': train})
    empty = dict.fromkeys(('val', 'test'), Triples.of(()))
    whole = TripleGraph(3, 1, {'train': train, **empty})
    assert graph.fingerprint() == whole.fingerprint()
    assert KG(graph).fingerprint == KG(whole).fingerprint
    for split in ('val', 'test'):
        assert len(KG(graph).triples(split).edge_type) == 0


def test_what_is_missing_of_a_graph_is_named() -> None:
    data = make_data(5, 2, Triples.of([(0, 1, 2)]))
    store = data[EDGE]
    kept = store.edge_type
    del store.edge_type
    with pytest.raises(ValueError, match='has edge_index and no edge_type'):
        triple_graph(data)
    del store.edge_index
    with pytest.raises(ValueError, match='has no edge_index in its edges'):
        triple_graph(data)
    store.edge_index, store.edge_type = torch.tensor([[0], [2]]), kept
    assert triple_graph(data).num_entities == 5
    del data['entity'].num_nodes
    with pytest.raises(ValueError, match="no num_nodes in its nodes 'entity'"):
        triple_graph(data)
    with pytest.raises(ValueError, match=r'a table of shape \[2, 4\]'):
        Triples.of([(0, 0, 1, 9), (2, 0, 3, 9)])  # type: ignore[list-item]


def test_splits_that_are_missing_are_where_train_is() -> None:
    part = Triples.of([(0, 1, 2)]).to('meta')
    for graph in (
        TripleGraph(3, 2, {'train': Triples.of([(0, 1, 2)])}),
        triple_graph(make_data(3, 2, Triples.of([(0, 1, 2)]))),
    ):
        for name in ('val', 'test'):
            empty = graph.split(name)
            assert not empty.edge_type.numel()
            assert empty.edge_index.shape == (2, 0)
    data = HeteroData()
    store = data[EDGE]
    store.edge_index, store.edge_type = part
    assert get_split(data, 'val').edge_type.device.type == 'meta'
    assert _nothing_like(part).edge_index.device.type == 'meta'


def test_keys_of_huge_ids_do_not_wrap() -> None:
    far = 2**33, 2**31 - 1
    head, tail = torch.tensor([[0, far[0], far[0]], [0, 0, far[1]]])
    part = Triples(torch.stack([head, tail]), torch.zeros(3).long())
    assert first_twin(part).tolist() == [0, 1, 2]
    assert within(part, part.select(torch.tensor([1]))).tolist() == [
        False,
        True,
        False,
    ]
