"""Which training triples speak for an answer, and by which rule."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dsom_pyg.query_index import QueryIndex

# Where a rule has more instances than this, so many are looked at.
LOOKED_AT = 500
# One other entity that is alike is no rule.
LEAST_ALIKE = 2
# Rules are ordered as if so many further cases spoke against each: three of
# three are less than 90 of a hundred (as AnyBURL has it,
# https://doi.org/10.24963/ijcai.2019/435).
UNSEEN = 5

# Ids of head, relation and tail; relations beyond R - 1 go backwards.
Step = tuple[int, int, int]
Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Path:
    r"""Training triples that lead from the head to the tail.

    Args:
        steps: One or two.
        support: How many other pairs the same relations lead to that the
            asked relation links, too.
        confidence: Their share of all such pairs.
        sampled: Both were counted over a part of the pairs, as there are many:
            there may be more that support it.
    """

    steps: Steps
    support: int
    confidence: float
    sampled: bool = False


@dataclass(frozen=True)
class Trait:
    r"""A training triple of one end of the asked one, which others share.

    Args:
        step: The triple, from that end.
        of_head: Whether it is the head, and not the tail.
        support: How many others with this trait have the asked answer.
        confidence: Their share of those with this trait and some answer.
    """

    step: Step
    of_head: bool
    support: int
    confidence: float


def reliability(support: int, confidence: float) -> float:
    r"""What rules are ordered by: their confidence, less for few cases."""
    return support / (support / confidence + UNSEEN)


def paths(
    index: QueryIndex, head: int, rel: int, tail: int, k: int = 5
) -> list[Path]:
    r"""The best reasons for (head, rel, tail) in train: rules with one or two
    relations in their body, the most reliable first.

    A rule :math:`r_1(x, y) \land r_2(y, z) \Rightarrow r(x, z)` is as reliable
    as the share of pairs (x, z) that its body links and that r links, too,
    among the x of which r has some answer (the partial completeness assumption
    of `AMIE <https://doi.org/10.1145/2488388.2488425>`_). All is
    counted as if the asked triple were not in train. Of rules with many
    instances some hundred are looked at. Of rules that link the same entities
    by the same relations, read another way round, the most reliable one is
    given.

    Args:
        index: N(h, r) over training triples with reciprocals.
        head: Of the answer.
        rel: Its relation, in :math:`0..2R - 1`.
        tail: Of the answer.
        k: How many.
    """
    size = index.num_relations
    assert size is not None
    asked = _forward((head, rel, tail), size)
    bodies: dict[tuple[int, ...], Steps] = {}
    for steps in _instances(index, head, tail):
        if _forward(steps[0], size) != asked:
            bodies.setdefault(tuple(step[1] for step in steps), steps)
    found = []
    for body, steps in bodies.items():
        support, count, some = _counts(index, body, (head, rel, tail))
        if support:
            found.append(Path(steps, support, support / count, some))
    # Of equals first what is short, and read the way that it is written.
    found.sort(
        key=lambda path: (
            -reliability(path.support, path.confidence),
            len(path.steps),
            sum(rel >= size for _, rel, _ in path.steps),
        )
    )
    each: dict[frozenset[tuple[int, frozenset[int]]], Path] = {}
    for path in found:
        each.setdefault(_said(path.steps, size), path)
    return list(each.values())[:k]


def traits(
    index: QueryIndex, head: int, rel: int, tail: int, k: int = 5
) -> list[Trait]:
    r"""Rules with constants that speak for (head, rel, tail):
    :math:`r_1(x, c) \Rightarrow r(x, t)`, whose body is a training triple of
    the head; and likewise of the tail, :math:`r_1(z, c) \Rightarrow r(h, z)`.
    Arguments and confidence are those of :func:`paths`.
    """
    size = index.num_relations
    assert size is not None
    found = []
    back = (rel + size) % (2 * size)
    triple = _forward((head, rel, tail), size)
    sides = (True, head, rel, tail), (False, tail, back, head)
    for of_head, end, asked, other in sides:
        answered = _mask(index, index.head[index.rel == asked])
        turned = (asked + size) % (2 * size)
        true = _mask(index, _tails(index, other, turned))
        rels, constants = _neighbors(index, end)
        every = max(1, len(rels) // LOOKED_AT)
        for r, constant in zip(
            rels[::every].tolist(), constants[::every].tolist(), strict=True
        ):
            if _forward((end, r, constant), size) == triple:
                continue
            alike = _tails(index, constant, (r + size) % (2 * size))
            alike = alike[answered[alike] & (alike != end)]
            if _forward((other, r, constant), size) == triple:
                alike = alike[alike != other]
            support = int(true[alike].sum())
            if support >= LEAST_ALIKE:
                share = support / len(alike)
                step = (end, r, constant)
                found.append(Trait(step, of_head, support, share))
    found.sort(key=lambda each: -reliability(each.support, each.confidence))
    return found[:k]


def _mask(index: QueryIndex, entities: Tensor) -> Tensor:
    assert index.num_entities is not None
    out = torch.zeros(index.num_entities, dtype=torch.bool)
    out[entities] = True
    return out


def _tails(index: QueryIndex, head: int, rel: int) -> Tensor:
    return index.lookup(torch.tensor([head]), torch.tensor([rel])).tail


def _forward(step: Step, num_relations: int) -> Step:
    head, rel, tail = step
    if rel < num_relations:
        return step
    return tail, rel - num_relations, head


def _said(
    steps: Steps, num_relations: int
) -> frozenset[tuple[int, frozenset[int]]]:
    # Which relations link whom, whatever way round: where both "x borders y"
    # and "y borders x" hold, rules with either say the same.
    return frozenset(
        (rel % num_relations, frozenset((head, tail)))
        for head, rel, tail in steps
    )


def _instances(index: QueryIndex, head: int, tail: int) -> Iterator[Steps]:
    # One step, then two: triples from the head that end where triples to the
    # tail begin.
    out_rel, out_tail = _neighbors(index, head)
    for r in out_rel[out_tail == tail].tolist():
        yield ((head, r, tail),)
    back_rel, back_head = _neighbors(index, tail)
    num_rels = index.num_relations
    assert num_rels is not None
    meeting = torch.isin(out_tail, back_head)
    for r, y in zip(
        out_rel[meeting].tolist(), out_tail[meeting].tolist(), strict=True
    ):
        if y in (head, tail):
            continue
        for r_back in back_rel[back_head == y].tolist():
            onward = (r_back + num_rels) % (2 * num_rels)
            yield ((head, r, y), (y, onward, tail))


def _neighbors(index: QueryIndex, entity: int) -> tuple[Tensor, Tensor]:
    low, high = torch.searchsorted(
        index.head, torch.tensor([entity, entity + 1])
    ).tolist()
    pairs = index.rows(torch.arange(low, high))
    return index.rel[low:high][pairs.row], pairs.tail


def _counts(
    index: QueryIndex, body: tuple[int, ...], asked: Step
) -> tuple[int, int, bool]:
    # Pairs that the body links and the asked relation does, too, and all that
    # it links from heads of which that relation has an answer. All of it as
    # if the asked triple were not there. And whether that is a part of them.
    head, rel, tail = asked
    size = index.num_relations
    assert size is not None
    same = {asked, (tail, (rel + size) % (2 * size), head)}
    starts = index.head[index.rel == rel]
    if _tails(index, head, rel).tolist() == [tail]:
        starts = starts[starts != head]
    # Evenly spread, so that the same ones are taken every time.
    step = max(1, len(starts) // LOOKED_AT)
    starts, sampled = starts[::step], step > 1
    ends, start = starts, torch.arange(len(starts))
    for r in body:
        pairs = index.lookup(ends, torch.full_like(ends, r))
        start, begins, ends = start[pairs.row], ends[pairs.row], pairs.tail
        for one, _, other in (x for x in same if x[1] == r):
            kept = (begins != one) | (ends != other)
            start, begins, ends = start[kept], begins[kept], ends[kept]
        step = -(-len(ends) // (LOOKED_AT * 20))
        if step > 1:
            ends, start, sampled = ends[::step], start[::step], True
    linked = torch.stack([starts[start], ends], dim=1).unique(dim=0)
    linked = linked[(linked != torch.tensor([head, tail])).any(dim=1)]
    linked = linked[linked[:, 0] != linked[:, 1]]
    if not len(linked):
        return 0, 0, sampled
    h, t = linked.unbind(1)
    true = index.lookup(h, torch.full_like(h, rel))
    hit = torch.zeros(len(h), dtype=torch.bool)
    hit[true.row[true.tail == t[true.row]]] = True
    return int(hit.sum()), len(linked), sampled
