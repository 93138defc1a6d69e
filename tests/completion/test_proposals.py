"""Proposals for a graph, against plain Python."""

import math
from dataclasses import replace

import pytest
import torch

from dsom_pyg.completion import Calibration, Completer, Ranges
from dsom_pyg.completion.proposals import (
    PRIOR_QUESTIONS,
    Found,
    Odds,
    Rates,
    _fitted,
    _some_of,
    most_probable,
)
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    SPLITS,
    TripleGraph,
    Triples,
    known_triples,
    make_data,
)
from dsom_pyg.kg import KG


def test_a_limit_is_positive(model: Completer) -> None:
    with pytest.raises(ValueError, match='limit must be positive, got 0'):
        model.complete(limit=0)
    with pytest.raises(ValueError, match='k must be positive, got 0'):
        model.complete(k=0)


def test_what_train_has_as_well_is_not_lacking() -> None:
    ring = [(at, 0, (at + 1) % 9) for at in range(9)]
    both = Triples.of(ring)
    more = Triples.of([*ring, (0, 0, 4)])
    rates = []
    for val in (both, more):
        graph = KG(make_data(9, 1, both, val=val))
        rates.append(Rates(graph, Ranges(graph.index('train'), 9, 1)).lacking)
    # Of 18 questions with an answer none lacks another: half a one stands
    # for that, which 50 further questions of each relation share.
    expected = 50 * (0.5 / 18) / (9 + 50)
    assert rates[0][:, 1].tolist() == pytest.approx([expected, expected])
    # One answer more, of a question that has one: the prior spreads it.
    assert (rates[1][:, 1] > 0).all()
    assert (rates[1][:, 1] < 0.2).all()


def test_rates_by_hand(model: Completer) -> None:
    graph, ranges = model.graph, model.knowledge.ranges
    size = 2 * graph.num_relations
    rates = Rates(graph, ranges).lacking
    train, val = graph.index('train'), graph.index('val')
    answered = set(zip(train.head.tolist(), train.rel.tolist(), strict=True))
    pairs = {(r, g): 0 for r in range(size) for g in (0, 1)}
    rows = val.rows(torch.arange(len(val))).row.tolist()
    for row in rows:
        h, r = int(val.head[row]), int(val.rel[row])
        pairs[r, int((h, r) in answered)] += 1
    asked = {}
    for r in range(size):
        heads = ranges.heads(r).nonzero()[:, 0].tolist()
        asked[r, 1] = sum((h, r) in answered for h in heads)
        asked[r, 0] = len(heads) - asked[r, 1]
    for group in (0, 1):
        total = sum(n for (_, g), n in asked.items() if g == group)
        shared = sum(n for (_, g), n in pairs.items() if g == group) / total
        for r in range(size):
            expected = (pairs[r, group] + PRIOR_QUESTIONS * shared) / (
                asked[r, group] + PRIOR_QUESTIONS
            )
            assert float(rates[r, group]) == pytest.approx(expected)


def test_all_that_is_proposed(model: Completer) -> None:
    part = known_triples(model.graph.data)
    known = set(
        zip(
            part.head.tolist(),
            part.edge_type.tolist(),
            part.tail.tolist(),
            strict=True,
        )
    )
    names = model.relations_known.names
    rates = Rates(model.graph, model.knowledge.ranges)
    index = model.knowledge.known
    expected = {}
    for rel, name in enumerate(names):
        for h in model.knowledge.ranges.heads(rel).nonzero()[:, 0].tolist():
            asked = torch.tensor([h]), torch.tensor([rel])
            has = index.lookup(*asked).row.numel() > 0
            rate = float(rates.lacking[rel, int(has)])
            for answer in model.answer(h, rel, k=3):
                triple = (model.entities.names[h], name, answer.name)
                claimed = min(1.0, rate * answer.probability)
                claimed = min(max(claimed, 1e-6), 1 - 1e-6)
                odds = model.parts.odds
                logit = math.log(claimed / (1 - claimed))
                logit = odds.slope * logit + odds.shift
                expected[triple] = 1 / (1 + math.exp(-logit))
                assert (h, rel, answer.id) not in known
    found = model.complete(k=3)
    got = {(p.head, p.relation, p.tail): p.probability for p in found}
    assert got.keys() == expected.keys()
    assert got == pytest.approx(expected, rel=1e-4)
    values = [p.probability for p in found]
    assert values == sorted(values, reverse=True)
    # Parts of it.
    some = model.complete('carries', k=3)
    assert {p.relation for p in some} == {'carries'}
    assert len(some) == sum(name == 'carries' for _, name, _ in expected)
    best = model.complete(k=3, limit=4)
    assert [p.probability for p in best] == pytest.approx(values[:4], rel=1e-4)
    middle = values[len(values) // 2] * 1.0001
    likely = model.complete(k=3, min_probability=middle)
    assert len(likely) == sum(value >= middle for value in values)


def test_about_some_entities(model: Completer) -> None:
    found = model.complete(entities=['MV Auk'], k=50)
    assert found
    assert all('MV Auk' in (p.head, p.tail) for p in found)
    triples = [(p.head, p.relation, p.tail) for p in found]
    assert len(set(triples)) == len(triples)
    assert model.complete(entities='MV Auk', k=50) == found
    # As probable as among all.
    for name in ('MV Auk', 'Elie'):
        found = model.complete(entities=[name], k=50)
        every = {p.id: p.probability for p in model.complete(k=50)}
        own = model.entities.id(name)
        expected = {x: p for x, p in every.items() if own in (x[0], x[2])}
        assert {p.id: p.probability for p in found} == pytest.approx(expected)
        # Also where it is not among the first answers to a question.
        few = model.complete(entities=[name], k=1)
        assert few
        for p in few:
            assert p.probability == pytest.approx(expected[p.id])
    assert any(p.tail == 'Elie' for p in few)


def test_the_best_of_many() -> None:
    found: list[Found] = [
        (0.1, 0.0, 0, 0, 1),
        (0.9, 0.0, 0, 0, 2),
        (0.3, 0.0, 0, 0, 1),  # the same from the other side
        (0.2, 0.0, 0, 0, 3),
        (0.2, 0.0, 0, 0, 1),
    ]
    every = most_probable(iter(found), 10)
    assert [(p, t) for p, _, _, _, t in every] == [
        (0.9, 2),
        (0.3, 1),
        (0.2, 3),
    ]
    assert most_probable(iter(found), 2) == every[:2]
    assert most_probable(iter(found), 1) == every[:1]


def test_the_best_of_very_many() -> None:
    generator = torch.Generator().manual_seed(0)
    triples = torch.randint(12, (3000, 2), generator=generator).tolist()
    p = torch.rand(3000, generator=generator).tolist()
    found: list[Found] = [
        (value, 0.0, head, 0, tail)
        for value, (head, tail) in zip(p, triples, strict=True)
    ]
    best: dict[tuple[int, int], float] = {}
    for value, _, head, _, tail in found:
        best[head, tail] = max(value, best.get((head, tail), 0.0))
    for limit in (1, 7, 100, 200):
        expected = sorted(best.values(), reverse=True)[:limit]
        kept = most_probable(iter(found), limit)
        assert [each[0] for each in kept] == expected
        assert len({each[2:] for each in kept}) == len(kept)


def test_odds_say_how_often_proposals_come_true(model: Completer) -> None:
    # By hand: what train alone proposes, with k = 3, and what of it is in
    # validation.
    parts, ranges = model.parts, model.knowledge.ranges
    temperature = parts.calibration.temperature
    words = parts.student, model.graph, ranges, temperature
    odds = Odds.fit(*words, k=3)
    none = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    splits = {split: model.graph.triples(split) for split in SPLITS}
    splits |= {'val': none, 'test': none}
    sizes = model.graph.num_entities, model.graph.num_relations
    blind = Completer(
        replace(parts, graph=KG(TripleGraph(*sizes, splits)), odds=Odds())
    )
    val = model.graph.triples('val')
    true = set(
        zip(
            val.head.tolist(),
            val.edge_type.tolist(),
            val.tail.tolist(),
            strict=True,
        )
    )
    rates = Rates(model.graph, ranges)
    train = model.graph.index('train')
    claimed, hits = [], []
    for rel in range(sizes[1]):
        for head in ranges.heads(rel).nonzero()[:, 0].tolist():
            asked = torch.tensor([head]), torch.tensor([rel])
            has = train.lookup(*asked).row.numel() > 0
            for answer in blind.answer(head, rel, k=3):
                p = answer.probability * float(rates.lacking[rel, int(has)])
                claimed.append(min(max(p, 1e-6), 1 - 1e-6))
                hits.append((head, rel, answer.id) in true)
    x = torch.tensor(claimed, dtype=torch.float64).logit()
    y = torch.tensor(hits, dtype=torch.float64)
    assert 0 < y.sum() < len(y)
    # Test has as many of the rest as its size says: the best log-loss.
    count = len(model.graph.triples('test').edge_type)
    rho = count / len(val.edge_type)
    assert rho > 0

    def loss(slope: float, shift: float) -> float:
        q = (slope * x + shift).sigmoid()
        p = q / (1 + rho * q)
        return float(-torch.where(y > 0, p.log(), (1 - p).log()).mean())

    assert odds.slope > 0
    assert odds != Odds()
    least = loss(*odds)
    for step in (-0.02, 0.02):
        assert loss(odds.slope + step, odds.shift) > least
        assert loss(odds.slope, odds.shift + step) > least
        assert loss(odds.slope + step, odds.shift - 2 * step) > least


@pytest.mark.parametrize('rho', [0.0, 0.5, 1.0, 3.0])
def test_what_test_has_is_not_taken_for_false(rho: float) -> None:
    # Validation and test are drawn of what is true, rho to one.
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(-7, 1, 200_000, dtype=torch.float64)
    q = (1.3 * x + 0.6).sigmoid()
    p = q / (1 + rho * q)
    drawn = torch.rand(len(x), generator=generator, dtype=torch.float64)
    in_val, in_test = drawn < p, (drawn >= p) & (drawn < (1 + rho) * p)
    made = _fitted(x, in_val, rho)
    assert made == pytest.approx((1.3, 0.6), abs=0.05)
    # That is how often the rest comes true.
    rest = x[~in_test], in_val[~in_test]
    assert made == pytest.approx(_fitted(*rest, 0.0), abs=0.05)


def test_odds_of_what_lies_apart() -> None:
    x = torch.tensor([-3.0, -2.0, 1.0, 2.0], dtype=torch.float64)
    slope, shift = _fitted(x, x > 0, 1.0)
    assert 1 < slope < 50
    assert abs(shift) < 50


def test_odds_keep_the_order() -> None:
    p = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    assert torch.allclose(Odds().of(p)[1:4], p[1:4])
    made = Odds(2.0, 1.0).of(p)
    assert (made.diff() > 0).all()
    assert float(made[2]) == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_odds_after_decisions() -> None:
    claimed = torch.tensor([0.5, 0.3, 0.3, 0.2, 0.05, 0.02])
    true = torch.tensor([True, True, True, False, True, False])
    base = Odds(1.2, -0.5)
    made = base.heeding(claimed, true)
    # The most probable one: the gradient of its log-posterior is 0, by hand.
    x, y = claimed.double().logit(), true.double()
    rest = y - (made.slope * x + made.shift).sigmoid()
    by_slope = float((rest * x).sum()) - (made.slope - 1.2) / 0.5**2
    by_shift = float(rest.sum()) - (made.shift + 0.5) / 2.0**2
    assert abs(by_slope) < 1e-3
    assert abs(by_shift) < 1e-3
    assert made.shift > base.shift
    # Many decisions outweigh the prior: half of those at 0.1 are true.
    many = torch.full((4000,), 0.1)
    halves = base.heeding(many, torch.arange(4000) % 2 == 0)
    assert float(halves.of(torch.tensor(0.1))) == pytest.approx(0.5, abs=0.01)
    # Whatever people say, what is more probable stays so.
    odd = torch.tensor([False, True] * 200)
    upside = base.heeding(torch.tensor([0.9, 0.1] * 200), odd)
    assert upside.slope > 0
    none = torch.empty(0)
    assert base.heeding(none, none.bool()) == base


def test_for_a_rejection_four_acceptances_count() -> None:
    base = Odds(1.2, -0.5)
    claimed = torch.full((11,), 0.1)
    true = torch.tensor([False] + [True] * 10)
    few = base.heeding(claimed[:5], true[:5])
    # Ten count as much as four: their shares of the gradient are the same.
    assert torch.allclose(
        torch.tensor(base.heeding(claimed, true)),
        torch.tensor(few),
        atol=1e-3,
    )
    assert few != base
    # Without a rejection there is nothing to compare them with.
    assert base.heeding(claimed[1:], true[1:]) == base
    # Rejections alone count all.
    less = base.heeding(claimed[:5], torch.zeros(5).bool())
    assert less.of(torch.tensor(0.1)) < base.of(torch.tensor(0.1))


def test_some_questions_evenly() -> None:
    graph = KG(FakeMMKG(60, 5, 300)[0])
    ranges = Ranges(graph.index('train'), 60, 5)
    every = [
        (h, r)
        for r in range(5)
        for h in ranges.heads(r).nonzero()[:, 0].tolist()
    ]
    found = [
        pair
        for heads, rels in _some_of(graph, ranges, 40)
        for pair in zip(heads.tolist(), rels.tolist(), strict=True)
    ]
    step = -(-len(every) // 40)
    assert found == every[::step]


def without_validation(model: Completer) -> Completer:
    empty = dict.fromkeys(SPLITS, Triples.of([]))
    splits = {**empty, 'train': model.graph.triples('train')}
    sizes = model.graph.num_entities, model.graph.num_relations
    graph = KG(TripleGraph(*sizes, splits))
    calibration = Calibration.none(sizes[1])
    return Completer(
        replace(model.parts, graph=graph, odds=Odds(), calibration=calibration)
    )


def test_without_validation_what_is_claimed_is_a_share(
    model: Completer,
) -> None:
    found = without_validation(model)
    rows = found.complete('sea route to', entities='Arnel', k=99)
    assert 'there was no validation' in rows.notes[0]
    assert len({row.probability for row in rows}) > 3
    for row in rows:
        triple = (row.head, row.relation, row.tail)
        (scored,) = found.score([triple])
        assert row.probability == pytest.approx(scored.probability, rel=1e-3)
    assert model.complete('sea route to').notes == []


def test_relations_that_were_never_learned_are_not_proposed(
    model: Completer,
) -> None:
    # 'sea route to' was in validation alone.
    parts = model.parts
    rel = parts.relations.id('sea route to')
    train = parts.graph.triples('train')
    splits = {
        'train': train.select(train.edge_type != rel),
        'val': train.select(train.edge_type == rel),
        'test': Triples.of([]),
    }
    sizes = parts.graph.num_entities, parts.graph.num_relations
    found = Completer(replace(parts, graph=KG(TripleGraph(*sizes, splits))))
    assert 'sea route to' not in {row.relation for row in found.complete()}
    asked = found.complete('sea route to')
    assert asked
    assert "'sea route to' was in no training triple" in asked.notes[0]


def test_arguments_that_mean_nothing(model: Completer) -> None:
    for value in (50.0, -0.1, math.nan):
        with pytest.raises(ValueError, match=r'must lie in 0\.\.1, got'):
            model.complete(min_probability=value)
    with pytest.raises(ValueError, match='k must be positive, got -1'):
        model.relations('Arnel', 'Crail', k=-1)
    named = 'Arnel', 'sea route to', 'Crail'
    for wrong in (named, ['abc'], [b'abc'], (1, 0, 2)):
        with pytest.raises(ValueError, match='in a list; '):
            model.score(wrong)  # type: ignore[arg-type]
    nothing = model.score([])
    assert nothing == []
    names = ['head', 'relation', 'tail', 'probability', 'score', 'known']
    assert [*nothing.to_pandas()] == names
    nobody = model.complete(min_probability=1.0)
    assert [*nobody.to_pandas()] == [*model.complete().to_pandas()]
