"""Models that count: against loops over the triples."""

import math

import pytest
import torch
from torch import Tensor

from dsom_pyg.graph import Triples, add_reciprocals
from dsom_pyg.models import Observed, OtherLinks, TailFrequency
from dsom_pyg.models.sharded import device_of
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex

E, R, T = 9, 3, 40


def some_graph(seed: int = 0) -> tuple[QueryIndex, set[tuple[int, int, int]]]:
    draw = torch.Generator().manual_seed(seed)
    ends = torch.randint(E, (2, T), generator=draw)
    both = add_reciprocals(
        Triples(ends, torch.randint(R, (T,), generator=draw)), R
    )
    known = zip(
        both.head.tolist(),
        both.edge_type.tolist(),
        both.tail.tolist(),
        strict=True,
    )
    return QueryIndex(both, E, R), set(known)


def every_query(size: int = E, rels: int = R) -> tuple[Tensor, Tensor]:
    place = torch.arange(size * 2 * rels)
    return place // (2 * rels), place % (2 * rels)


def found(model: Observed) -> Tensor:
    queries = every_query(model.num_entities, model.num_relations)
    return model.score_tails(*queries).exp() - model.floor


def test_frequency_is_the_share_of_heads_that_have_the_tail() -> None:
    index, known = some_graph()
    expected = torch.zeros(E, 2 * R, E)
    for rel in range(2 * R):
        heads = {h for h, r, _ in known if r == rel}
        for tail in range(E):
            having = {h for h, r, t in known if (r, t) == (rel, tail)}
            if heads:
                expected[:, rel, tail] = len(having) / len(heads)
    share = found(TailFrequency(index))
    torch.testing.assert_close(share, expected.flatten(0, 1))


def test_links_are_the_best_of_other_relations() -> None:
    index, known = some_graph()
    pairs = [{(h, t) for h, r, t in known if r == k} for k in range(2 * R)]
    expected = torch.zeros(E, 2 * R, E)
    for head, by, tail in known:
        for rel in range(2 * R):
            if rel != by:
                share = len(pairs[by] & pairs[rel]) / (len(pairs[by]) + 3)
                best = max(share, expected[head, rel, tail].item())
                expected[head, rel, tail] = best
    share = found(OtherLinks(index))
    torch.testing.assert_close(share, expected.flatten(0, 1))
    # Something was found, and not all.
    assert 0 < int((share > 0.01).sum()) < share.numel()


def test_an_answer_is_no_evidence_of_itself() -> None:
    # One relation, and none goes back: nobody else says 0 -> 1.
    one = Triples(torch.tensor([[0], [1]]), torch.tensor([0]))
    index = QueryIndex(add_reciprocals(one, 1), 2, 1)
    assert found(OtherLinks(index)).abs().max() < 1e-6


def test_a_part_of_the_entities_and_a_triple_score_alike() -> None:
    index, _ = some_graph()
    head, rel = every_query()
    for kind in (TailFrequency, OtherLinks):
        model = kind(index)
        whole = model.score_tails(head, rel)
        assert torch.equal(
            model.score_tails(head, rel, slice(2, 5)), whole[:, 2:5]
        )
        assert torch.equal(model.scores(head, rel).dense(), whole)
        tail = head.flip(0)
        assert torch.equal(
            model(head, rel, tail), whole[torch.arange(len(head)), tail]
        )
        assert whole.min() == pytest.approx(math.log(model.floor))
        assert not list(model.parameters())
        assert not model.state_dict()
        assert device_of(model.to('meta')).type == 'meta'
        with pytest.raises(ValueError, match='tells E and R'):
            kind(QueryIndex(Triples(torch.zeros(2, 1).long(), rel[:1])))


def test_it_cannot_be_trained() -> None:
    index, _ = some_graph()
    none = torch.empty(0, dtype=torch.long)
    pairs = Pairs(none, none)
    with pytest.raises(ValueError, match='OtherLinks counts and learns'):
        OtherLinks(index).loss(QueryBatch(none, none, pairs, pairs), 'fp32')


def test_what_no_triple_has() -> None:
    nothing = Triples(torch.zeros(2, 0).long(), torch.zeros(0).long())
    index = QueryIndex(nothing, E, R)
    for kind in (TailFrequency, OtherLinks):
        assert found(kind(index)).abs().max() < 1e-6
