"""Ids are looked at where they come in, whatever is asked."""

from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from transe import TransE

from dsom_pyg import KG, evaluate, predict_tails
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    EDGE,
    Triples,
    add_reciprocals,
    check_ids,
    drop_modality,
    get_split,
    make_data,
    pool_features,
    set_split,
    with_split,
)
from dsom_pyg.metrics import relation_categories
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import Queries, QueryIndex, unlabeled_queries
from dsom_pyg.teachers import Lookup, Mean, TeacherEnsemble, ask
from dsom_pyg.training import DistillTask

E, R = 20, 4
DATA = FakeMMKG()[0]
GRAPH = KG(DATA)


def model() -> ComplEx:
    return ComplEx(EntityEmbedding(E, 4), R)


def ensemble() -> TeacherEnsemble:
    return TeacherEnsemble({'structure': model()})


def asked(head: Tensor, rel: Tensor) -> Tensor:
    seen = GRAPH.index('train')
    return ask(Mean(), ensemble(), Queries(head, rel), seen)


def distilled(head: Tensor, rel: Tensor) -> DistillTask:
    unlabeled = Queries(head, rel)
    return DistillTask(model(), ensemble(), Mean(), unlabeled=unlabeled)


def index(head: Tensor, rel: Tensor) -> QueryIndex:
    triples = Triples(torch.stack([torch.zeros_like(head), head]), rel)
    return QueryIndex(triples, E, R)


# What takes queries of E entities and R relations with reciprocals.
QUERIES: dict[str, Callable[[Tensor, Tensor], object]] = {
    'predict_tails': lambda h, r: predict_tails(model(), h, r),
    'model': lambda h, r: model()(h, r, torch.zeros(len(h)).long()),
    'tails of a model': lambda h, r: model()(torch.zeros(len(r)).long(), r, h),
    'distance': lambda h, r: TransE(E, R)(h, r, torch.zeros(len(h)).long()),
    'ensemble': lambda h, r: ensemble()(h, r),
    'ask': asked,
    'unlabeled queries': distilled,
    'index': index,
}
GOOD = torch.tensor([3, 19, 0]), torch.tensor([7, 0, 5])
BAD = [
    (GOOD[0], torch.tensor([7, -1, -2]), '-1 at position 1 is outside 0..7'),
    (GOOD[0], torch.tensor([7, 0, 8]), '8 at position 2 is outside 0..7'),
    (torch.tensor([-3, 1, 2]), GOOD[1], '-3 at position 0 is outside 0..19'),
    (torch.tensor([3, 20, 99]), GOOD[1], '20 at position 1 is outside 0..19'),
    (torch.tensor([0.7, 1.0, 2.0]), GOOD[1], 'int64 or int32, got torch.flo'),
    (GOOD[0], torch.tensor([True, False, True]), 'int32, got torch.bool'),
    (GOOD[0].byte(), GOOD[1], 'int64 or int32, got torch.uint8'),
]


@pytest.mark.parametrize('door', QUERIES)
@pytest.mark.parametrize(('head', 'rel', 'message'), BAD)
def test_queries(door: str, head: Tensor, rel: Tensor, message: str) -> None:
    QUERIES[door](*GOOD)
    QUERIES[door](GOOD[0].int(), GOOD[1].int())
    with pytest.raises(ValueError, match=message):
        QUERIES[door](head, rel)


@pytest.mark.parametrize('door', ['predict_tails', 'ensemble', 'ask'])
def test_shapes_of_queries(door: str) -> None:
    head, rel = GOOD
    with pytest.raises(ValueError, match='3 head_index, 2 rel_type'):
        QUERIES[door](head, rel[:2])
    with pytest.raises(ValueError, match=r'one dimension, got shape \[1, 3\]'):
        QUERIES[door](head[None], rel[None])
    with pytest.raises(ValueError, match=r'one dimension, got shape \[\]'):
        QUERIES[door](head[0], rel[0])


def test_the_message_names_the_first_bad_id() -> None:
    ids = torch.tensor([1, 5, -2, 7])
    message = r'^head_index: 5 at position 1 is outside 0\.\.4$'
    with pytest.raises(ValueError, match=message):
        check_ids(head_index=(ids, 5))
    message = '^other: -2 at position 2 is negative$'
    with pytest.raises(ValueError, match=message):
        check_ids(fine=(ids.abs(), 8), other=(ids, None))
    with pytest.raises(
        ValueError, match=r'other must be a tensor .* got list'
    ):
        check_ids(fine=(ids, None), other=([1], 5))  # type: ignore[arg-type]
    check_ids(none=(ids[:0], 0), nothing=(ids[:0].int(), None))


def test_an_unknown_scorer_is_asked_of_no_negative_ids() -> None:
    class Silent:
        def score_tails(self, head: Tensor, rel: Tensor, *_: object) -> Tensor:
            return torch.zeros(len(head), 5)

    _, tails = predict_tails(Silent(), *GOOD)
    assert tails.shape == (3, 5)
    with pytest.raises(ValueError, match=r'head_index: -1 .* is negative'):
        predict_tails(Silent(), GOOD[0] - 1, GOOD[1])
    # What is excluded tells how many there are.
    known = QueryIndex(Triples(torch.tensor([[0], [1]]), ZERO + 2), 5, 2)
    with pytest.raises(ValueError, match=r'head_index: 19 .* outside 0\.\.4'):
        predict_tails(Silent(), *GOOD, exclude=known)
    with pytest.raises(ValueError, match=r'rel_type: 7 .* outside 0\.\.3'):
        predict_tails(Silent(), GOOD[0] % 5, GOOD[1], exclude=known)


def test_keys_of_a_lookup() -> None:
    weights = torch.ones(3, 2)
    for head, rel, message in BAD:
        if 'outside' not in message:
            with pytest.raises(ValueError, match=message):
                Lookup(head, rel, weights)
    with pytest.raises(ValueError, match=r'rel_type: -1 .* is negative'):
        Lookup(GOOD[0], GOOD[1] - 1, weights)


# What takes a part of train, by the name of the door.
def handmade(part: Triples) -> HeteroData:
    data = HeteroData()
    data['entity'].num_nodes, data[EDGE].num_relations = E, R
    data[EDGE].edge_index, data[EDGE].edge_type = part
    return data


def with_filter(part: Triples) -> HeteroData:
    data = handmade(get_split(DATA, 'train'))
    data[EDGE].filter_edge_index, data[EDGE].filter_edge_type = part
    return data


PARTS: dict[str, Callable[[Triples], object]] = {
    'make_data': lambda part: make_data(E, R, part),
    'make_data, test': lambda part: make_data(
        E, R, get_split(DATA, 'train'), test=part
    ),
    'set_split': lambda part: set_split(DATA.clone(), 'val', part),
    'with_split': lambda part: with_split(DATA, 'train', part),
    'with_train': lambda part: GRAPH.with_train(part),
    'KG': lambda part: KG(handmade(part)),
    'KG.of': lambda part: KG.of(with_filter(part)),
    'evaluate': lambda part: evaluate(
        model(), handmade(part), 'train', ['train']
    ),
}


@pytest.mark.parametrize('door', PARTS)
def test_triples(door: str) -> None:
    ends = torch.tensor([[0, 19], [3, 4]])
    rel = torch.tensor([0, 3])
    PARTS[door](Triples(ends, rel))
    for edge_index, edge_type, message in (
        (ends - 1, rel, 'heads of .*: -1 at position 0 is outside 0..19'),
        (ends + 1, rel, 'heads of .*: 20 at position 1 is outside 0..19'),
        (ends.flip(0) + 1, rel, 'tails of .*: 20 at position 1'),
        (ends, rel + 1, 'relations of .*: 4 at position 1 is outside 0..3'),
        (ends, rel - 1, 'relations of .*: -1 at position 0'),
        (ends, rel.float(), 'relations of .* got torch.float32'),
        (ends + 0.5, rel, 'heads of .* got torch.float32'),
        (ends.t()[:1], rel, r'must have shape \[2, N\], got \[1, 2\]'),
        (ends[0], rel, r'must have shape \[2, N\], got \[2\]'),
        (ends.tolist(), rel, r'must have shape \[2, N\], got list'),
        (ends, rel[:1], '2 heads of .*, 1 relations of .*, 2 tails of'),
        (ends, rel[None], r'relations of .* got shape \[1, 2\]'),
    ):
        with pytest.raises(ValueError, match=message):
            PARTS[door](Triples(edge_index, edge_type))
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        set_split(DATA.clone(), 'valid', Triples(ends, rel))


def test_reciprocals_of_fewer_relations_would_be_other_relations() -> None:
    triples = Triples(torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r'3 at position 1 is outside 0..2'):
        add_reciprocals(triples, 3)


@pytest.mark.parametrize('function', [pool_features, drop_modality])
def test_edges_of_features(function: Callable[..., object]) -> None:
    def data(item: int, entity: int) -> HeteroData:
        data = make_data(3, 1, Triples(torch.zeros(2, 1).long(), ZERO))
        data['text'].x = torch.ones(2, 5)
        edges = torch.tensor([[0, item], [1, entity]])
        data['text', 'describes', 'entity'].edge_index = edges
        return data

    words = () if function is pool_features else (0.5,)
    function(data(1, 2), 'text', *words)
    for item, entity, message in (
        (-1, 0, "items of modality 'text': -1 at position 1 is outside 0..1"),
        (2, 0, "items of modality 'text': 2 at position 1"),
        (1, -1, "entities of modality 'text': -1 at position 1"),
        (1, 3, "entities of modality 'text': 3 at .* outside 0..2"),
    ):
        with pytest.raises(ValueError, match=message):
            function(data(item, entity), 'text', *words)
    broken = data(1, 2)
    store = broken['text', 'describes', 'entity']
    store.edge_index = store.edge_index[:1]
    with pytest.raises(ValueError, match=r"'text' must have shape \[2, N\]"):
        function(broken, 'text', *words)


ZERO = torch.zeros(1).long()


def dictionary(part: Triples) -> dict[tuple[int, int], list[int]]:
    found = defaultdict(set)
    rows = zip(part.head, part.edge_type, part.tail, strict=True)
    for h, r, t in rows:
        found[int(h), int(r)].add(int(t))
    return {query: sorted(tails) for query, tails in found.items()}


def test_a_lookup_finds_nothing_for_what_is_no_query() -> None:
    triples = get_split(DATA, 'train')
    known, found = dictionary(triples), QueryIndex(triples)
    queries = torch.cartesian_prod(torch.arange(-3, 25), torch.arange(-9, 13))
    pairs = found.lookup(*queries.t())
    for row, query in enumerate(queries.tolist()):
        tails = pairs.tail[pairs.row == row].tolist()
        assert tails == known.get(tuple(query), [])
    # So large that the key is one of another query.
    wrapped = torch.tensor([2**62]), torch.tensor([0])
    assert found.lookup(*wrapped).row.numel() == 0


@pytest.mark.parametrize('size', [10**6, 10**8, 10**12])
def test_large_ids_have_rows_of_their_own(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    few = torch.randint(size - 20, size, (2, 300), generator=generator)
    rel = torch.randint(4000, (300,), generator=generator) // 500 * 500
    triples = Triples(few, rel)
    expected, found = dictionary(triples), QueryIndex(triples)
    assert len(found) == len(expected)
    queries = list(zip(found.head.tolist(), found.rel.tolist(), strict=True))
    assert queries == sorted(expected)
    pairs = found.rows(torch.arange(len(found)))
    again = found.lookup(found.head, found.rel)
    assert torch.equal(again.row, pairs.row)
    assert torch.equal(again.tail, pairs.tail)
    for row, query in enumerate(queries):
        assert pairs.tail[pairs.row == row].tolist() == expected[query]


def test_ids_that_no_key_can_hold() -> None:
    ends = torch.tensor([[2**40], [0]])
    with pytest.raises(ValueError, match=f'{2**40} .* {2**30} .* 63 bits'):
        QueryIndex(Triples(ends, torch.tensor([2**30])))


def test_an_index_that_tells_its_sizes_keeps_them() -> None:
    train = get_split(DATA, 'train')
    both = add_reciprocals(train, R)
    told = QueryIndex(both, E, R).to('cpu')
    assert (told.num_entities, told.num_relations) == (E, R)
    assert QueryIndex(both).num_relations is None
    with pytest.raises(
        ValueError, match=r'4 relations needs reciprocals, 4..7'
    ):
        QueryIndex(train, E, R)
    with pytest.raises(ValueError, match=r'heads of an index: \d+ at'):
        QueryIndex(both, 5, R)
    with pytest.raises(ValueError, match=r'relations of an index: \d at'):
        QueryIndex(both, E, 3)
    empty = Triples(both.edge_index[:, :0], both.edge_type[:0])
    assert len(QueryIndex(empty, E, R)) == 0


def test_categories_are_of_the_relations_of_the_index() -> None:
    both = add_reciprocals(get_split(DATA, 'train'), R)
    for found in (QueryIndex(both), GRAPH.index('train')):
        assert len(relation_categories(found, R)) == R
        with pytest.raises(ValueError, match=r'outside 0\.\.5|is 3.* of 4'):
            relation_categories(found, 3)
    with pytest.raises(ValueError, match=r'num_relations is 5.* of 4'):
        relation_categories(GRAPH.index('train'), 5)


def test_unlabeled_queries_of_fewer_entities() -> None:
    with pytest.raises(ValueError, match=r'heads: \d+ at .* outside 0..9'):
        unlabeled_queries(GRAPH.index('train'), 10, 5)
