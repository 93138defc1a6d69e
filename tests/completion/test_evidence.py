"""Rules over training triples, against plain Python."""

import random

import torch

from dsom_pyg.completion.evidence import paths
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.kg import KG

E, R = 12, 3


def graph(seed: int) -> KG:
    draw = random.Random(seed)
    rows = {
        (draw.randrange(E), draw.randrange(R), draw.randrange(E))
        for _ in range(60)
    }
    head, rel, tail = torch.tensor(sorted(rows)).unbind(1)
    return KG(make_data(E, R, Triples(torch.stack([head, tail]), rel)))


def brute_force(
    true: set[tuple[int, int, int]], h: int, rel: int, t: int
) -> dict[tuple[int, ...], tuple[int, float]]:
    """Support and confidence of every rule that has an instance here."""
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
        part = kg.triples('train')
        true = set(
            zip(
                part.head.tolist(),
                part.edge_type.tolist(),
                part.tail.tolist(),
                strict=True,
            )
        )
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
            if h == t:
                # The asked triple, read backwards, is no reason.
                expected.pop((rel + R,), None)
            each = [said(*path.steps) for path in found]
            # No two say the same, and what is not given is said by another.
            assert len({*each}) == len(each)
            for body in expected.keys() - got.keys():
                assert instances(true, body, h, t) & {*each}
                doubles += 1
            assert got.items() <= expected.items()
            compared += len(got)
            order = [(path.confidence, path.support) for path in found]
            assert order == sorted(order, reverse=True)
            assert paths(index, h, rel, t, k=2) == found[:2]
            for path in found:
                # Every step is a training triple, and they lead there.
                for a, r, c in path.steps:
                    forth = (a, r, c) if r < R else (c, r - R, a)
                    assert forth in true
                assert path.steps[0][0] == h
                assert path.steps[-1][2] == t
    assert compared > 100
    assert doubles > 0


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
