"""What a trained model answers, against plain Python."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from dsom_pyg import Recipe, evaluate, evaluation
from dsom_pyg.completion import (
    Answer,
    Calibration,
    Completer,
    Parts,
    Review,
    Rows,
    UnknownNameError,
    Vocabulary,
)
from dsom_pyg.completion.asking import Candidates, best_tails
from dsom_pyg.completion.results import (
    Explanation,
    Opinion,
    Reason,
    ScoredTriple,
)
from dsom_pyg.datasets import from_pandas
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.encoders import TfidfText
from dsom_pyg.graph import Triples, get_split, known_triples, make_data
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import Lookup
from dsom_pyg.training import Loop


def known(model: Completer) -> set[tuple[int, int, int]]:
    part = known_triples(model.graph.data)
    columns = (part.head, part.edge_type, part.tail)
    return set(zip(*(c.tolist() for c in columns), strict=True))


def takes(model: Completer, rel: int, head: bool = False) -> set[int]:
    """Range of a relation, from its definition."""
    train = get_split(model.graph.data, 'train')
    roles: dict[int, set[tuple[int, bool]]] = {}
    for h, r, t in zip(
        train.head.tolist(),
        train.edge_type.tolist(),
        train.tail.tolist(),
        strict=True,
    ):
        roles.setdefault(h, set()).add((r, True))
        roles.setdefault(t, set()).add((r, False))
    mine = {e for e, of in roles.items() if (rel, head) in of}
    if not mine:
        return set(range(model.graph.num_entities))
    count: dict[tuple[int, bool], int] = {}
    for e in mine:
        for role in roles[e]:
            count[role] = count.get(role, 0) + 1
    alike = {role for role, n in count.items() if n >= 0.05 * len(mine)}
    return {e for e, of in roles.items() if of & alike}


def expected(
    model: Completer,
    end: int,
    rel: int,
    side: str,
    candidates: set[int],
    answers: set[int],
) -> list[tuple[int, float]]:
    """Ids and probabilities, best first; known answers are no rivals."""
    query = rel if side == 'tail' else rel + model.graph.num_relations
    scores = model.parts.student.score_tails(
        torch.tensor([end]), torch.tensor([query])
    )[0].tolist()
    t = float(model.parts.calibration.temperature[query])
    by_score = sorted(candidates, key=lambda e: -scores[e])
    return [
        (
            e,
            math.exp(scores[e] / t)
            / sum(
                math.exp(scores[c] / t) for c in (candidates - answers) | {e}
            ),
        )
        for e in by_score
    ]


@pytest.mark.parametrize('side', ['head', 'tail'])
@pytest.mark.parametrize('shown', [True, False])
def test_every_question(model: Completer, side: str, shown: bool) -> None:
    true = known(model)
    size = model.graph.num_entities
    for rel in range(model.graph.num_relations):
        range_of = takes(model, rel, head=side == 'head')
        for end in range(size):
            answers = {
                t if side == 'tail' else h
                for h, r, t in true
                if r == rel and end == (h if side == 'tail' else t)
            }
            candidates = range_of - {end}
            candidates = (
                candidates | answers if shown else candidates - answers
            )
            question = {'head': None, 'relation': rel, 'tail': None}
            question['tail' if side == 'head' else 'head'] = end
            found = model.answer(**question, k=size, known=shown)
            best = expected(model, end, rel, side, candidates, answers)
            assert isinstance(found, Rows)
            assert [a.id for a in found] == [e for e, _ in best]
            for answer, (e, probability) in zip(found, best, strict=True):
                assert answer.probability == pytest.approx(probability, 1e-4)
                assert answer.known == (e in answers)
                assert answer.name == model.entities.names[e]


def test_any_entity_or_some(model: Completer) -> None:
    size = model.graph.num_entities
    every = model.answer(0, 'calls at', k=size, known=True, among='all')
    assert len(every) == size
    new = [a for a in every if not a.known]
    assert sum(a.probability for a in new) == pytest.approx(1)
    # What is known has the probability that it has when it alone is given.
    shown = [a for a in every if a.known]
    assert shown
    for answer in shown:
        candidates = {a.id for a in new} | {answer.id}
        rel = model.relations_known.id('calls at')
        same = expected(model, 0, rel, 'tail', candidates, set())
        assert answer.probability == pytest.approx(dict(same)[answer.id])
    some = model.answer(
        0, 'calls at', known=True, among=['coal', 'Port Bude', 3]
    )
    assert {a.id for a in some} == {
        *model.entities.ids(['coal', 'Port Bude']).tolist(),
        3,
    }
    # Those that are left out are no more than those that would be shown.
    told = model.answer(0, 'calls at', among=[a.id for a in shown][:1])
    assert told.notes[-1].startswith('1 known answer is left out')
    with pytest.raises(ValueError, match="several entities or 'all'"):
        model.answer(0, 'calls at', among='coal')


def close(some: Any, others: Any) -> bool:
    # Products of other shapes round otherwise.
    return all(
        [a.id for a in one] == [a.id for a in other]
        and [a.score for a in one]
        == pytest.approx([a.score for a in other], 1e-4)
        for one, other in zip(some, others, strict=True)
    )


def test_one_and_many(model: Completer) -> None:
    one = model.answer('MV Auk', 'calls at', k=2)
    assert isinstance(one, Rows)
    assert len(one) == 2
    many = model.answer(['MV Auk', 'MV Eider'], 'calls at', k=2)
    assert isinstance(many, list)
    assert close(many, [one, model.answer('MV Eider', 'calls at', k=2)])
    frame = pd.DataFrame(
        {'tail': ['Port Bude', 'coal'], 'relation': ['calls at', 'carries']}
    )
    asked = model.answer(frame, k=2)
    assert close(
        asked,
        [
            model.answer(relation='calls at', tail='Port Bude', k=2),
            model.answer(relation='carries', tail='coal', k=2),
        ],
    )


def test_questions_of_every_kind(model: Completer) -> None:
    expected = [model.answer(e, 'carries', k=3) for e in (2, 0)]
    for heads in (
        np.array([2, 0]),
        torch.tensor([2, 0]),
        pd.Series([2, 0]),
        (np.int64(2), np.int32(0)),
        iter([2, 0]),
    ):
        assert close(model.answer(heads, 'carries', k=3), expected)
    for head in (np.int64(2), np.array(2), torch.tensor(2)):
        one = model.answer(head, 'carries', k=3)
        assert isinstance(one, Rows)
        assert close([one], expected[:1])
    assert model.answer([], 'carries') == []
    assert model.answer([], []) == []
    assert model.answer(pd.DataFrame({'relation': [], 'tail': []})) == []
    assert model.score([]) == model.rank([]) == []


def test_many_questions_in_few_batches(
    model: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, relations = model.graph.num_entities, model.graph.num_relations
    heads = [e for e in range(size) for _ in range(relations)]
    rels = [*range(relations)] * size
    at_once = model.answer(heads, rels, k=4, known=True)
    monkeypatch.setattr(evaluation, 'ROWS', 5)
    assert close(model.answer(heads, rels, k=4, known=True), at_once)


def test_a_model_that_is_not_finite(model: Completer) -> None:
    bad = copy.deepcopy(model.parts.student)
    bad.relations.data[1, 0] = math.nan
    parts = Parts(**vars(model.parts) | {'student': bad})
    with pytest.raises(FloatingPointError, match='non-finite'):
        Completer(parts).answer(0, 1)


def test_of_equal_scores_the_lowest_ids_answer(model: Completer) -> None:
    size = len(model.entities)
    torch.manual_seed(0)
    table = torch.randint(3, (4, size)).float()

    class Equal:
        def score_tails(self, head: Tensor, rel: Tensor) -> Tensor:
            return table[head].clone()

    nothing = QueryIndex(Triples.of([]), size, 3)
    candidates = Candidates(nothing, size)
    rel, warm = torch.zeros(4, dtype=torch.long), torch.ones(6)
    for k in (1, 3, 8, size):
        asked = torch.arange(4), rel, k, candidates, warm
        [(_, best)] = best_tails(Equal(), *asked)  # type: ignore[arg-type]
        for row, values in enumerate(table.tolist()):
            order = sorted(range(size), key=lambda at: (-values[at], at))
            assert best.tail[row].tolist() == order[:k]


def test_places_that_nobody_takes(model: Completer) -> None:
    size = model.graph.num_entities
    alone = torch.zeros(size, dtype=torch.bool)
    alone[3] = True
    rel = torch.zeros(2, dtype=torch.long)
    for among, count in ((alone, 1), (torch.zeros_like(alone), 0)):
        candidates = Candidates(
            model.knowledge.known, size, among=among, new=False
        )
        asked = torch.arange(2), rel, 2, candidates, torch.ones(6)
        [(_, best)] = best_tails(model.parts.student, *asked)
        assert (best.tail >= 0).sum(dim=1).tolist() == [count] * 2
        assert (best.probability > 0).sum(dim=1).tolist() == [count] * 2
        assert best.probability.isfinite().all()


@pytest.mark.parametrize(
    'question',
    [
        {'head': 'MV Auk'},
        {'relation': 'carries'},
        {'head': 'MV Auk', 'relation': 'carries', 'tail': 'coal'},
    ],
)
def test_no_question(model: Completer, question: dict[str, str]) -> None:
    with pytest.raises(ValueError, match='either the head or the tail'):
        model.answer(**question)


def test_bad_questions(model: Completer) -> None:
    with pytest.raises(UnknownNameError, match="unknown relation 'calls'"):
        model.answer('MV Auk', 'calls')
    with pytest.raises(ValueError, match='as many relations as entities'):
        model.answer(['MV Auk'] * 2, ['carries'] * 3)
    with pytest.raises(ValueError, match='k must be positive'):
        model.answer('MV Auk', 'carries', k=0)
    with pytest.raises(UnknownNameError, match='there is no entity 14; ids'):
        model.answer(14, 'carries')
    frame = pd.DataFrame({'tail': [1], 'relation': [2]})
    with pytest.raises(ValueError, match='as its columns'):
        model.answer(frame, 'carries')
    with pytest.raises(ValueError, match="a column 'relation'"):
        model.answer(pd.DataFrame({'head': [1], 'rel': [2]}))


def test_ranks_are_those_of_an_evaluation(model: Completer) -> None:
    result = evaluate(model.parts.student, model.graph)
    test = model.graph.triples('test')
    triples = list(
        zip(
            test.head.tolist(),
            test.edge_type.tolist(),
            test.tail.tolist(),
            strict=True,
        )
    )
    size = model.graph.num_relations
    ranked = {
        (h, r, t): rank
        for h, r, t, rank in zip(
            result.head.tolist(),
            result.rel.tolist(),
            result.tail.tolist(),
            result.ranks().tolist(),
            strict=True,
        )
    }
    tails, heads = model.rank(triples), model.rank(triples, 'head')
    for (h, r, t), by_tail, by_head in zip(triples, tails, heads, strict=True):
        assert by_tail == ranked[h, r, t]
        assert by_head == ranked[t, r + size, h]
        # The place among the answers, of which known ones do not count.
        for question, target, rank in (
            ({'head': h, 'relation': r}, t, by_tail),
            ({'relation': r, 'tail': t}, h, by_head),
        ):
            every = model.answer(**question, k=99, known=True, among='all')
            (own,) = [a.score for a in every if a.id == target]
            rivals = [a.score for a in every if not a.known]
            above = sum(score > own for score in rivals)
            equal = sum(score == own for score in rivals)
            assert rank == 1 + above + equal / 2
    assert len(triples) > 2
    assert model.evaluate().mrr() == result.mrr()
    with pytest.raises(ValueError, match="side must be 'head' or 'tail'"):
        model.rank(triples, 'both')


def test_scores_of_given_triples(model: Completer) -> None:
    true = known(model)
    every = set(range(model.graph.num_entities))
    seen = set()
    for h, r, t in [*true, *((0, 0, t) for t in every), (5, 1, 5)]:
        (found,) = model.score([(h, r, t)])
        answers = {c for a, b, c in true if (a, b) == (h, r)}
        taken = t in answers or t in takes(model, r) - {h}
        seen.add((t in answers, taken))
        # Who the relation does not take is one of all.
        rivals = takes(model, r) - {h} if taken else every
        candidates = (rivals - answers) | {t}
        by_id = dict(expected(model, h, r, 'tail', candidates, answers))
        assert found.probability == pytest.approx(by_id[t], 1e-4)
        assert found.known == ((h, r, t) in true)
        names = model.entities.names
        assert (found.head, found.tail) == (names[h], names[t])
        if taken:
            shown = model.answer(h, r, k=len(every), known=True)
            (same,) = [a for a in shown if a.id == t]
            assert found.probability == pytest.approx(same.probability)
            assert found.score == pytest.approx(same.score)
    assert seen == {(True, True), (False, True), (False, False)}
    assert model.score([]) == []
    triple = 'MV Auk', 'calls at', 'Port Bude'
    assert model.score([iter(triple)]) == model.score([triple])  # type: ignore[list-item]
    named = dict(zip(('head', 'relation', 'tail'), triple, strict=True))
    wrong: list[Any] = [('MV Auk', 'carries'), 'abc', b'abc', 1, None, named]
    for each in [*wrong, np.int64(1), model.complete(limit=1)[0]]:
        with pytest.raises(ValueError, match=r'\(head, relation, tail\)'):
            model.score([each])


def test_what_is_known_fits_whatever_its_kind() -> None:
    """No rival is left for a known tail that the relation takes nowhere."""
    train, val = (Triples.of(rows) for rows in ([(0, 0, 1)], [(0, 0, 2)]))
    parts = Parts(
        student=ComplEx(EntityEmbedding(4, 2), 1),
        graph=KG(make_data(4, 1, train, val)),
        entities=Vocabulary(list('abcd')),
        relations=Vocabulary(['r'], what='relation'),
        calibration=Calibration.none(1),
    )
    model = Completer(parts)
    known, other = model.score([(0, 0, 2), (0, 0, 3)])
    assert known.probability == pytest.approx(1)
    assert other.probability < 0.9


def test_what_is_measured_is_what_people_are_shown(model: Completer) -> None:
    """How sure the best answer to a test question is, by asking for it."""
    parts = model.parts
    found = parts.calibration.confidences(parts.student, model.graph, 'test')
    index, ranges = model.graph.index('test'), model.knowledge.ranges
    order = index.rel.argsort(stable=True)
    order = order[index.rel[order] < model.graph.num_relations]
    pairs, at = index.rows(order), 0
    for row, t in zip(pairs.row.tolist(), pairs.tail.tolist(), strict=True):
        h, r = int(index.head[order[row]]), int(index.rel[order[row]])
        asked = (torch.tensor([x]) for x in (h, r, t))
        taken = bool(ranges.take(*asked))
        new = model.answer(h, r, k=1)
        if not new and not taken:  # nothing is shown
            continue
        (target,) = model.score([(h, r, t)])
        # The target is known here, and joins those that are not.
        own = target.probability if taken else 0.0
        best = new[0].probability * (1 - own) if new else 0.0
        sure = pytest.approx(max(own, best), abs=1e-5)
        assert float(found.top[at]) == sure
        assert bool(found.hit[at]) == (own > best)
        at += 1
    assert at > 1


def test_teachers_are_asked_as_the_student_is(model: Completer) -> None:
    h, r, t = (*next(x for x in sorted(known(model)) if x[1] == 0),)
    said = {each.teacher: each for each in model.explain(h, r, t).opinions}
    assert said['student'].probability == pytest.approx(
        model.score([(h, r, t)])[0].probability
    )
    answers = {c for a, b, c in known(model) if (a, b) == (h, r)}
    rivals = (takes(model, r) - {h} - answers) | {t}
    every = set(range(model.graph.num_entities)) - answers | {t}
    assert model.parts.teachers is not None
    assert len(said) > 1
    for name in said.keys() - {'student'}:
        asked = torch.tensor([h]), torch.tensor([r])
        logits = model.parts.teachers[name].score_tails(*asked)[0].tolist()
        total = sum(math.exp(logits[e]) for e in rivals)
        share = math.exp(logits[t]) / total
        assert said[name].probability == pytest.approx(share, 1e-4)
        above = sum(logits[e] > logits[t] for e in every)
        assert said[name].rank == 1 + above
    with pytest.raises(ValueError, match='k must be positive'):
        model.explain(h, r, t, k=0)


def test_a_policy_that_believes_who_says_nothing(model: Completer) -> None:
    # Ports have texts, and ships have none.
    lookup, teachers = model.parts.weights, model.parts.teachers
    assert lookup is not None
    assert teachers is not None
    weights = torch.zeros_like(lookup.table[:-1])
    weights[:, teachers.modalities.index('text')] = 1.0
    keys = lookup.keys
    only = Lookup(keys // lookup.num_rels, keys % lookup.num_rels, weights)
    made = Completer(replace(model.parts, weights=only))
    said = made.explain('MV Auk', 'calls at', 'Port Bude').opinions
    shares = {each.teacher: each.weight for each in said}
    assert shares.pop('structure') == 0
    assert math.isnan(shares.pop('student'))
    assert set(shares.values()) == {0}


def test_a_name_forges_no_line() -> None:
    triple = ScoredTriple('a\nNote: b', 'r', 'c', 0.5, 1.0, False)
    reason = Reason('x s d\n => x r c', ['a\nNote: b | s | d'], 2, 0.5)
    said = Explanation(
        triple,
        Rows([Opinion('student', math.nan, 0.5, 1.0)]),
        [reason],
        {},
        {'a\nNote: b': ['i.png']},
        ['that is all'],
    )
    lines = str(said).splitlines()
    assert lines[0] == r'a\nNote: b | r | c   (not known)'
    assert lines[2].split() == ['teacher', 'weight', 'probability', 'rank']
    assert lines[3].split() == ['student', '0.500', '1.000']
    assert [x for x in lines if x.startswith('Note')] == ['Note: that is all']


def test_what_links_two_entities(model: Completer) -> None:
    links = model.relations('MV Auk', 'Port Bude')
    assert len(links) == model.graph.num_relations
    values = [link.probability for link in links]
    assert values == sorted(values, reverse=True)
    # Of the tail among all: relations take more entities, or fewer.
    h, t = model.entities.id('MV Auk'), model.entities.id('Port Bude')
    for link in links:
        r = model.relations_known.id(link.relation)
        answers = {c for a, b, c in known(model) if (a, b) == (h, r)}
        candidates = set(range(model.graph.num_entities)) - answers | {t}
        by_id = dict(expected(model, h, r, 'tail', candidates, answers))
        assert link.probability == pytest.approx(by_id[t])
    assert len(model.relations('MV Auk', 'Port Bude', k=1)) == 1


def test_what_no_training_triple_has_is_told(tmp_path: Path) -> None:
    rows = [
        ('a', 'r', 'b', 'train'),
        ('b', 'r', 'c', 'train'),
        ('x', 's', 'a', 'test'),
    ]
    columns = ['head', 'relation', 'tail', 'split']
    dataset = from_pandas(pd.DataFrame(rows, columns=columns))
    torch.manual_seed(0)
    student = ComplEx(EntityEmbedding(4, 2), 2)
    parts = Parts(
        student=student,
        graph=KG(dataset[0]),
        entities=Vocabulary(dataset.entity_names),
        relations=Vocabulary(dataset.relation_names, what='relation'),
        calibration=Calibration.none(2),
    )
    model = Completer(parts)
    found = model.answer('x', 's', known=True)
    assert isinstance(found, Rows)
    assert [note.split(' was')[0] for note in found.notes] == ["'x'", "'s'"]
    assert "Note: 'x' was in no training triple" in str(found)
    found = model.answer('a', 'r', known=True)
    assert isinstance(found, Rows)
    assert found.notes == []
    found = model.answer('a', 'r')
    assert isinstance(found, Rows)
    assert found.notes == [
        '1 known answer is left out; known=True (--known) shows all'
    ]
    # It is asked for as a tail as well, and once where it is both ends.
    assert notes_of(model.explain('a', 'r', 'x')) == ["'x'"]
    assert notes_of(model.explain('x', 'r', 'x')) == ["'x'"]
    # A decision makes a fact of it, and the model has still not learned it.
    review = Review(tmp_path / 'review.jsonl')
    review.decide('x', 's', 'b', 'accept', '')
    review.decide('a', 'r', 'c', 'accept', '')
    heeding = model.with_review(review)
    assert heeding.score([('x', 's', 'b')])[0].known
    heeding.save(tmp_path / 'kept')
    again = Completer.load(tmp_path / 'kept')
    review.decide('b', 'r', 'x', 'accept', '')
    for each in (heeding, again, again.with_review(review)):
        assert notes_of(each.explain('x', 's', 'a')) == ["'x'", "'s'"]
        assert notes_of(each.explain('a', 'r', 'b')) == []
        assert 'x' not in {row.head for row in each.complete()}
        assert 'x' not in {row.tail for row in each.complete()}


def test_a_newcomer_does_not_tell_of_who_was_not_learned() -> None:
    rows = [(f'e{i}', 'in', f'c{i % 2}') for i in range(12)]
    frame = pd.DataFrame(rows, columns=['head', 'relation', 'tail'])
    frame['split'] = 'train'
    frame.loc[12] = ['e0', 'in', 'ghost', 'val']
    texts = {name: f'text of {name}' for name in ('e0', 'e1', 'c0', 'c1')}
    data = from_pandas(frame, texts=texts, text_encoder=TfidfText(2))
    loop = Loop(epochs=1, batch_size=20)
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=loop),
        policy=MeanOfTeachers(),
        student=Student(channels=4, loop=loop),
    )
    model = Completer.train(data, None, recipe)
    link = 'new', 'in', 'ghost'
    more = model.add_entities({'new': 'text of e2'}, triples=[link])
    for each in (model, more):
        assert notes_of(each.explain('e1', 'in', 'ghost')) == ["'ghost'"]
        assert 'ghost' not in [x.name for x in each.answer('e1', 'in', k=20)]
    # It is known of the newcomer itself.
    assert more.score([link])[0].known
    assert 'new' not in notes_of(more.explain('new', 'in', 'c0'))


def notes_of(found: Explanation) -> list[str]:
    """What it warns about."""
    return [x.split(' was')[0] for x in found.notes if ' was in no' in x]


def test_triples_of_a_table(model: Completer) -> None:
    given = [('MV Auk', 'calls at', 'Crail'), ('MV Brent', 'calls at', 'Elie')]
    columns = ['head', 'relation', 'tail']
    frame = pd.DataFrame(given, columns=columns)[columns[::-1]]
    assert model.score(frame) == model.score(given)
    assert model.rank(frame, 'head') == model.rank(given, 'head')
    # What is scored can be scored again.
    assert model.score(model.score(given).to_pandas()) == model.score(given)
    twice = frame[[*columns, 'head']]
    with pytest.raises(ValueError, match='a column stands twice among'):
        model.score(twice)
    with pytest.raises(ValueError, match=r'tail is missing among \[.head'):
        model.score(frame[['head', 'relation']])


@pytest.mark.parametrize('k', [2.0, True, '2', None])
def test_numbers_of_answers_are_whole(model: Completer, k: Any) -> None:
    with pytest.raises(ValueError, match='k must be a whole number, got'):
        model.answer('MV Auk', 'calls at', k=k)
    with pytest.raises(ValueError, match='k must be a whole number, got'):
        model.complete(k=k)


def test_a_table(model: Completer) -> None:
    found = model.answer('MV Auk', 'calls at', k=2, known=True)
    head, *lines = str(found).split('\n')
    assert head.split() == ['name', 'probability', 'score', 'known']
    assert [line.split('  ')[0] for line in lines] == [a.name for a in found]
    frame = found.to_pandas()  # type: ignore[union-attr]
    assert frame['id'].tolist() == [a.id for a in found]
    assert isinstance(found[0], Answer)
    assert str(Rows()) == '(nothing)'
    # As a notebook shows it; a part is such a table as well.
    assert repr(found) == str(found)
    some = found[:1]
    assert isinstance(some, Rows)
    assert [*some] == [found[0]]
    assert (some.notes, some.kind) == (found.notes, found.kind)
    assert found[:0].to_pandas().columns.tolist() == [*frame.columns]


def test_another_dataset_is_refused(
    model: Completer, dataset: OwnGraph, triples: pd.DataFrame
) -> None:
    assert model.evaluate(dataset).mrr() == model.evaluate().mrr()
    other = from_pandas(triples.iloc[::-1])
    with pytest.raises(ValueError, match=r"entity 0 is 'MV Auk' in this .*so"):
        model.evaluate(other)
    fewer = from_pandas(triples.iloc[:-10])
    with pytest.raises(ValueError, match='in the dataset: it is another'):
        model.check(fewer)


def test_a_dataset_of_which_the_model_has_learned(
    model: Completer, dataset: OwnGraph, triples: pd.DataFrame
) -> None:
    assert model.evaluate(dataset).metrics() == model.evaluate().metrics()
    # The same names in the same order, split otherwise.
    other = from_pandas(triples, seed=1)
    assert other.entity_names == dataset.entity_names
    theirs = get_split(other[0], 'test')
    ours = model.graph.index('train')
    found = ours.lookup(theirs.head, theirs.edge_type)
    known = int((found.tail == theirs.tail[found.row]).sum())
    assert known
    count = len(theirs.edge_type)
    with pytest.raises(
        ValueError, match=f"{known} of {count} triples of 'tes"
    ):
        model.evaluate(other)
    assert model.evaluate(other, 'train').metrics()['count'] > 0
