"""Rules over training triples, against plain Python."""

import random
from dataclasses import astuple

import pytest
import torch

from dsom_pyg.completion.evidence import paths, traits
from dsom_pyg.completion.explaining import Rules
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.kg import KG

E, R = 12, 3


def graph(seed: int, size: int = 60) -> KG:
    draw = random.Random(seed)
    rows = {
        (draw.randrange(E), draw.randrange(R), draw.randrange(E))
        for _ in range(size)
    }
    head, rel, tail = torch.tensor(sorted(rows)).unbind(1)
    return KG(make_data(E, R, Triples(torch.stack([head, tail]), rel)))


def rows(kg: KG) -> set[tuple[int, int, int]]:
    part = kg.triples('train')
    columns = part.head, part.edge_type, part.tail
    return set(zip(*(x.tolist() for x in columns), strict=True))


def brute_force(
    true: set[tuple[int, int, int]], h: int, rel: int, t: int
) -> dict[tuple[int, ...], tuple[int, float]]:
    """Support and confidence of every rule that has an instance here, as if
    the asked triple were not in train."""
    true = true - {(h, rel, t)}
    both = true | {(c, r + R, a) for a, r, c in true}
    every = range(2 * R)
    bodies = [(r,) for r in every if r != rel]
    bodies += [(r, s) for r in every for s in every]
    asked = {a for a, r, _ in both if r == rel}
    found = {}
    for body in bodies:
        linked = set()
        here = False
        for a, r, y in both:
            if r != body[0]:
                continue
            if len(body) == 1:
                linked.add((a, y))
                here |= (a, y) == (h, t)
                continue
            for b, s, c in both:
                if (b, s) == (y, body[1]):
                    linked.add((a, c))
                    here |= (a, c) == (h, t) and y not in (h, t)
        linked = {
            (a, c)
            for a, c in linked
            if a != c and a in asked and (a, c) != (h, t)
        }
        support = sum((a, rel, c) in both for a, c in linked)
        if here and support:
            found[body] = support, support / len(linked)
    return found


Said = frozenset[tuple[int, int, int]]


def said(*steps: tuple[int, int, int]) -> Said:
    """What steps say, whatever way round."""
    return frozenset((min(a, c), r % R, max(a, c)) for a, r, c in steps)


def instances(
    true: set[tuple[int, int, int]], body: tuple[int, ...], h: int, t: int
) -> set[Said]:
    """What a body can say of two entities."""
    both = true | {(c, r + R, a) for a, r, c in true}
    if len(body) == 1:
        return {said((h, *body, t))} if (h, *body, t) in both else set()
    one, other = body
    return {
        said((h, one, y), (y, other, t))
        for y in set(range(E)) - {h, t}
        if (h, one, y) in both and (y, other, t) in both
    }


def test_rules_of_random_graphs() -> None:
    compared = doubles = 0
    for seed in range(4):
        kg = graph(seed)
        index = kg.index('train')
        true = rows(kg)
        for h, rel, t in [*sorted(true)[:8], (0, 1, 5), (3, 2, 4)]:
            expected = brute_force(true, h, rel, t)
            found = paths(index, h, rel, t, k=1000)
            got = {
                tuple(step[1] for step in path.steps): (
                    path.support,
                    path.confidence,
                )
                for path in found
            }
            each = [said(*path.steps) for path in found]
            # No two say the same, and what is not given is said by another.
            assert len({*each}) == len(each)
            for body in expected.keys() - got.keys():
                assert instances(true, body, h, t) & {*each}
                doubles += 1
            assert got.items() <= expected.items()
            compared += len(got)
            order = [p.support / (p.support / p.confidence + 5) for p in found]
            assert order == sorted(order, reverse=True)
            assert paths(index, h, rel, t, k=2) == found[:2]
            for path in found:
                assert not path.sampled
                # Every step is a training triple, and they lead there.
                for a, r, c in path.steps:
                    forth = (a, r, c) if r < R else (c, r - R, a)
                    assert forth in true
                assert path.steps[0][0] == h
                assert path.steps[-1][2] == t
    assert compared > 100
    assert doubles > 0


@pytest.mark.parametrize('cut', ['starts', 'ends'])
def test_a_part_of_the_cases_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    # Pairs (x, z) of head x and tail z = x + 50 by either relation.
    true = [(x, r, x + 50) for x in range(50) for r in (0, 1)]
    if cut == 'ends':  # few heads of many tails
        true = [
            (x, r, z) for x in (0, 1) for r in (0, 1) for z in range(9, 99)
        ]
    index = KG(make_data(100, 2, Triples.of(true))).index('train')
    head, rel, tail = true[1]
    (whole,) = (x for x in paths(index, head, rel, tail) if len(x.steps) == 1)
    assert (whole.support, whole.sampled) == (len(true) // 2 - 1, False)
    monkeypatch.setattr('dsom_pyg.completion.evidence.LOOKED_AT', 4)
    (part,) = (x for x in paths(index, head, rel, tail) if len(x.steps) == 1)
    assert part.sampled
    assert 0 < part.support < whole.support
    assert part.confidence == 1
    names = [str(at) for at in range(100)]
    reasons = Rules(index, names, ['a', 'b']).of((head, rel, tail), 5)
    assert [x.support for x in reasons if x.sampled] == [part.support]


def test_a_symmetric_relation_is_said_once() -> None:
    # 0 borders 1 and 1 borders 2, both ways; 0 trades with 2, and others that
    # border a common neighbour trade as well.
    borders = [(0, 1), (1, 2), (3, 4), (4, 5)]
    rows = [(a, 0, b) for a, b in borders] + [(b, 0, a) for a, b in borders]
    rows += [(0, 1, 2), (3, 1, 5), (2, 2, 0), (5, 2, 3)]
    head, rel, tail = torch.tensor(rows).unbind(1)
    data = make_data(E, R, Triples(torch.stack([head, tail]), rel))
    found = paths(KG(data).index('train'), 0, 1, 2)
    assert [path.steps for path in found] == [
        ((0, 2 + R, 2),),
        ((0, 0, 1), (1, 0, 2)),
    ]


def test_traits_of_random_graphs() -> None:
    compared = 0
    for seed in range(4):
        kg = graph(seed, 150)
        index = kg.index('train')
        true = rows(kg)
        for h, rel, t in [*sorted(true)[:8], (0, 1, 5), (3, 2, 4)]:
            expected = []
            # As if the asked triple were not in train.
            rest = true - {(h, rel, t)}
            rest |= {(c, r + R, a) for a, r, c in rest}
            sides = (True, h, rel, t), (False, t, rel + R, h)
            for of_head, end, r, other in sides:
                for a, s, c in rest:
                    if a != end:
                        continue
                    alike = {x for x in range(E) if (x, s, c) in rest} - {end}
                    alike &= {x for x, q, _ in rest if q == r}
                    hits = sum((x, r, other) in rest for x in alike)
                    if hits >= 2:
                        share = hits / len(alike)
                        expected.append(((end, s, c), of_head, hits, share))
            found = traits(index, h, rel, t, k=1000)
            got = [astuple(x) for x in found]
            assert sorted(got) == sorted(expected)
            order = [x.support / (x.support / x.confidence + 5) for x in found]
            assert order == sorted(order, reverse=True)
            assert traits(index, h, rel, t, k=1) == found[:1]
            compared += len(got)
    assert compared > 20


def test_rules_in_words() -> None:
    entities = ['Norway', 'Sweden', 'Iceland', 'Finland', 'North', 'crown']
    rows = [(at, 0, 4) for at in range(4)] + [(1, 1, 5), (2, 1, 5), (3, 1, 0)]
    head, rel, tail = torch.tensor(rows).unbind(1)
    kg = KG(make_data(6, 2, Triples(torch.stack([head, tail]), rel)))
    rules = Rules(kg.index('train'), entities, ['lies in', 'pays in'])
    (reason,) = rules.of((0, 1, 5), k=5)
    assert reason.rule == 'x lies in North => x pays in crown'
    assert reason.triples == ['Norway | lies in | North']
    # Finland pays otherwise.
    assert (reason.support, reason.confidence) == (2, 2 / 3)
    # Of the other end: three coins of Oslo, two of which Norway pays in.
    entities = ['Norway', 'crown', 'mark', 'dollar', 'Oslo']
    rows = [(at, 0, 4) for at in (1, 2, 3)] + [(0, 1, 1), (0, 1, 2)]
    head, rel, tail = torch.tensor(rows).unbind(1)
    kg = KG(make_data(5, 2, Triples(torch.stack([head, tail]), rel)))
    rules = Rules(kg.index('train'), entities, ['minted in', 'pays in'])
    (reason,) = rules.of((0, 1, 3), k=5)
    assert reason.rule == 'z minted in Oslo => Norway pays in z'
    assert reason.triples == ['dollar | minted in | Oslo']
    assert (reason.support, reason.confidence) == (2, 1.0)
    assert rules.of((0, 1, 3), k=0) == []
