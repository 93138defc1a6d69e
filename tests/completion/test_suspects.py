"""Known triples that nobody believes who did not see them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg import Recipe
from dsom_pyg.completion import Completer, ModelFolderError, Ranges, Review
from dsom_pyg.completion import judging as rooms
from dsom_pyg.completion.suspects import (
    PRIOR_TRIPLES,
    Suspicion,
    belief,
    standardised,
)
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.graph import Triples, concat, make_data, within
from dsom_pyg.kg import KG
from dsom_pyg.training import KFolds


def triples(*rows: tuple[int, int, int]) -> Triples:
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    return Triples(table[:, [0, 2]].t(), table[:, 1])


class Fixed:
    """The same scores for every query."""

    def __init__(self, *scores: float) -> None:
        self.row = torch.tensor(scores)

    def score_tails(self, head: Tensor, rel: Tensor) -> Tensor:
        return self.row.expand(len(head), -1).clone()


def test_a_triple_of_two_splits_is_judged_once() -> None:
    train = triples((0, 0, 1), (1, 0, 2), (0, 0, 1))
    graph = KG(make_data(3, 1, train, val=triples((1, 0, 2), (2, 0, 0))))
    known = rooms.distinct(graph)
    assert known.edge_index.t().tolist() == [[0, 1], [1, 2], [2, 0]]


def test_belief_by_hand() -> None:
    # Relation 0 takes 0 and 1 to 2, 3 and 4; 5 is none of both.
    train = triples((0, 0, 2), (0, 0, 3), (1, 0, 3), (1, 0, 4))
    graph = KG(make_data(6, 1, train))
    ranges = Ranges(graph.index('train'), 6, 1)
    assert ranges[0].tolist() == [False, False, True, True, True, False]
    assert ranges[1].tolist() == [True, True, False, False, False, False]
    scorer = Fixed(1.0, 1.0, 0.0, 2.0, 3.0, 9.0)
    found = belief(scorer, graph, ranges, train)
    # (0, 0, ?): 2 has the rival 4, which is above; 3 is known, 5 no
    # candidate. (?, 0, 2): 0 has the rival 1, its equal.
    expected = [
        -torch.tensor(2 / 2).log() - torch.tensor(2 / 2).log(),
        # 3 has the rival 4, which is above; heads of 3: both are known.
        -torch.tensor(2 / 2).log() - torch.tensor(1 / 1).log(),
        # (1, 0, ?): 3 has the rival 2, which is below.
        -torch.tensor(1 / 2).log() - torch.tensor(1 / 1).log(),
        # 4 has the rival 2, below; (?, 0, 4): 1 has the rival 0, its equal.
        -torch.tensor(1 / 2).log() - torch.tensor(2 / 2).log(),
    ]
    torch.testing.assert_close(found, torch.stack(expected))
    # One that nobody knows is no rival of itself: 3 has the rival 2 alone,
    # which is below, and 1 has none.
    graph = KG(make_data(6, 1, triples((0, 0, 2), (0, 0, 3), (1, 0, 4))))
    unknown = belief(scorer, graph, ranges, triples((1, 0, 3)))
    torch.testing.assert_close(unknown, -torch.tensor([1 / 2]).log())


def test_who_has_no_score_is_no_rival() -> None:
    train = triples((0, 0, 2), (0, 0, 3), (1, 0, 4))
    graph = KG(make_data(5, 1, train))
    ranges = Ranges(graph.index('train'), 5, 1)
    found = belief(Fixed(*[-math.inf] * 5), graph, ranges, train)
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_nobody_is_a_rival_for_a_link_to_itself() -> None:
    # As 2 is at either end, the relation takes all four at both.
    train = triples((0, 0, 1), (0, 0, 2), (2, 0, 3), (0, 0, 3))
    scorer, asked = Fixed(0.0, 1.0, 3.0, 2.0), triples((2, 0, 3))
    found = {}
    for name, own in (('no loops', ()), ('a loop', ((3, 0, 3),))):
        graph = KG(make_data(4, 1, concat(train, triples(*own))))
        ranges = Ranges(graph.index('train'), 4, 1)
        found[name] = belief(scorer, graph, ranges, asked)
    # (2, 0, ?): 3 has the rivals 0 and 1, which are below. (?, 0, 3): 0 is
    # known, so that 2 has the rival 1, which is below.
    expected = -torch.tensor([1 / 3]).log() - torch.tensor([1 / 2]).log()
    torch.testing.assert_close(found['no loops'], expected)
    # As 3 is linked to itself, 2 might be: one more, which is above.
    expected = -torch.tensor([2 / 4]).log() - torch.tensor([1 / 2]).log()
    torch.testing.assert_close(found['a loop'], expected)


def test_beliefs_are_compared_within_a_relation() -> None:
    value = torch.tensor([1.0, 3.0, 10.0, 30.0, 20.0])
    group = torch.tensor([0, 0, 2, 2, 2])
    found = standardised(value, group)
    mean_all, prior = value.mean(), PRIOR_TRIPLES
    first = (4 + prior * mean_all) / (2 + prior)
    spread = value.var(correction=0)
    square = ((value[:2] - first).square().sum() + prior * spread) / (
        2 + prior
    )
    torch.testing.assert_close(found[:2], (value[:2] - first) / square.sqrt())
    assert standardised(torch.ones(3), torch.zeros(3).long()).tolist() == [
        0.0,
        0.0,
        0.0,
    ]
    assert standardised(torch.empty(0), torch.empty(0).long()).shape == (0,)


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('suspects') / 'run'


@pytest.fixture(scope='module')
def judged(dataset: OwnGraph, recipe: Recipe, run: Path) -> Completer:
    return Completer.train(dataset, run, recipe, folds=3)


def test_every_known_triple_is_judged_once(
    judged: Completer, model: Completer, run: Path
) -> None:
    found = judged.parts.suspicion
    assert found is not None
    known = judged.graph.triple_graph.known()
    assert within(known, found.triples).all()
    assert within(found.triples, known).all()
    assert found.belief.isfinite().all()
    rows = judged.suspects(k=2 * len(known.edge_type))
    assert len({row.id for row in rows}) == len(rows) == len(known.edge_type)
    values = [row.belief for row in rows]
    assert values == sorted(values)
    first = rows[0]
    assert (first.head, first.relation, first.tail) == (
        judged.entities.names[first.id[0]],
        judged.relations_known.names[first.id[1]],
        judged.entities.names[first.id[2]],
    )
    assert len(judged.suspects(k=4)) == 4
    carried = judged.suspects(k=50, relation='carries')
    assert {row.relation for row in carried} == {'carries'}
    assert [row.id for row in carried] == [
        row.id for row in rows if row.relation == 'carries'
    ]
    with pytest.raises(ValueError, match='positive'):
        judged.suspects(0)
    # Kept, and loaded.
    again = Completer.load(run)
    assert again.suspects(50) == judged.suspects(50)
    # Of a model that was trained without judges.
    with pytest.raises(ValueError, match='--folds 4'):
        model.suspects()


def test_stages_of_judges_have_names_of_their_own(run: Path) -> None:
    """The curve of the student is not that of a judge."""
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    stages = [json.loads(line)['stage'] for line in lines]
    judges = {f'judge-{at}-of-3/student' for at in (1, 2, 3)}
    assert judges | {'student', 'teachers'} <= {*stages}
    assert stages.count('student') == 8
    last = json.loads(
        [line for line in lines if json.loads(line)['stage'] == 'student'][-1]
    )
    assert stages.index('student') < stages.index('judge-1-of-3/student')
    assert last['epoch'] == 8


def test_judges_did_not_see_what_they_judge(
    dataset: OwnGraph, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = KG(dataset[0])
    seen = []

    def look(scorer: object, _: KG, ranges: object, part: Triples) -> Tensor:
        index = getattr(scorer, 'seen', None)
        if index is not None:
            hit = index.lookup(part.head, part.edge_type)
            same = hit.tail == part.tail[hit.row]
            seen.append(int(same.sum()))
        return torch.zeros(len(part.edge_type))

    taught: list[KG] = []
    distil = rooms.stages.distil

    def watched(run: Any, *others: Any) -> Any:
        taught.append(run.graph)
        return distil(run, *others)

    monkeypatch.setattr(rooms, 'belief', look)
    monkeypatch.setattr(rooms.stages, 'distil', watched)
    rooms.suspicion(graph, recipe, folds=2)
    assert seen == [0, 0]
    held = [part for _, part in KFolds(2).parts(graph, recipe.seed + 1)]
    # Nor did the students.
    for own, part in zip(taught, held, strict=True):
        assert not within(part, own.triples('train')).any()
    assert sum(len(part.edge_type) for part in held) == len(
        graph.triples('train').edge_type
    )


def test_validation_and_test_are_judged_by_all(
    dataset: OwnGraph, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = KG(dataset[0])
    asked: list[Triples] = []

    def look(_: object, __: KG, ___: object, part: Triples) -> Tensor:
        asked.append(part)
        # Student and teachers of the first fold, then those of the second.
        said = (1.0, 2.0, 10.0, 20.0)[len(asked) - 1]
        return torch.full((len(part.edge_type),), said)

    monkeypatch.setattr(rooms, 'belief', look)
    total = rooms.beliefs(graph, recipe, folds=2)
    size = len(graph.triples('train').edge_type)
    (_, one), (_, two) = KFolds(2).parts(graph, recipe.seed + 1)
    train = graph.triples('train')
    assert (total[:size][within(train, one)] == 3.0).all()
    assert (total[:size][within(train, two)] == 30.0).all()
    rest = concat(graph.triples('val'), graph.triples('test'))
    assert len(rest.edge_type) > 0
    assert total[size:].tolist() == [16.5] * len(rest.edge_type)


def test_teachers_that_count_do_not_judge(
    dataset: OwnGraph, recipe: Recipe
) -> None:
    counting = replace(recipe.teachers, observed=('frequency', 'links'))
    torch.manual_seed(0)
    plain = rooms.beliefs(dataset[0], recipe, folds=2)
    torch.manual_seed(0)
    more = replace(recipe, teachers=counting)
    assert torch.equal(rooms.beliefs(dataset[0], more, folds=2), plain)


def test_a_wrong_fact_is_found() -> None:
    """Two kinds, and one triple of 80 from one to the other."""
    pairs = [(h, t) for h in range(20) for t in range(20) if (h ^ t) % 2 == 0]
    rows = [(h, 0, 20 + t) for h, t in pairs if (h * 7 + t * 3) % 5 < 3]
    wrong = (0, 0, 21)
    graph = KG(make_data(40, 1, triples(*rows, wrong)))
    from dsom_pyg import recipes

    recipe = recipes.held_out(8)
    found = rooms.suspicion(graph, recipe, folds=4)
    place = found.order.tolist().index(len(rows))
    assert place < 5


def test_what_was_decided_is_no_suspect_any_more(
    judged: Completer, tmp_path: Path
) -> None:
    rows = judged.suspects(3)
    review = Review(tmp_path / 'review.jsonl')
    for row, verdict in zip(rows, ('accept', 'reject', 'unsure'), strict=True):
        review.decide(row.head, row.relation, row.tail, verdict, '')
    heeding = judged.with_review(review)
    left = {row.id for row in heeding.suspects(1000)}
    assert rows[0].id not in left
    assert rows[1].id not in left
    assert rows[2].id in left


def test_a_folder_whose_beliefs_do_not_fit(
    judged: Completer, tmp_path: Path
) -> None:
    found = judged.parts.suspicion
    assert found is not None
    judged.parts.suspicion = Suspicion(found.triples, found.belief[:-1])
    try:
        judged.save(tmp_path / 'model')
    finally:
        judged.parts.suspicion = found
    with pytest.raises(ModelFolderError, match='as many beliefs'):
        Completer.load(tmp_path / 'model')
