"""Decisions of people: kept whatever happens, and heeded everywhere."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dsom_pyg import Recipe
from dsom_pyg.completion import Calibration, Completer, Review
from dsom_pyg.completion.heeding import odds_by
from dsom_pyg.completion.making import vocabularies
from dsom_pyg.completion.proposals import Odds
from dsom_pyg.completion.review import Judged, reviewed
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.datasets import MKGFolder
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.files import NotWritten
from dsom_pyg.graph import EDGE, TripleGraph, Triples, make_data, within
from dsom_pyg.kg import KG


def triples(*rows: tuple[int, int, int]) -> Triples:
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    return Triples(table[:, [0, 2]].t(), table[:, 1])


def rows(part: Triples) -> set[tuple[int, int, int]]:
    columns = part.head, part.edge_type, part.tail
    return set(zip(*(x.tolist() for x in columns), strict=True))


def test_the_last_decision_holds(tmp_path: Path) -> None:
    review = Review(tmp_path / 'review.jsonl')
    assert list(review) == []
    review.decide('a', 'r', 'b', 'accept', 'x')
    review.decide('a', 'r', 'c', 'reject', 'x')
    made = review.decide('a', 'r', 'b', 'unsure', 'y')
    assert len(list(review)) == 3
    assert review.last()['a', 'r', 'b'] == made
    assert made.time.endswith('+00:00')
    with pytest.raises(ValueError, match='one of accept, reject, unsure'):
        review.decide('a', 'r', 'b', 'yes', 'x')
    with pytest.raises(NotWritten, match='is a folder'):
        Review(tmp_path).decide('a', 'r', 'b', 'accept', 'x')


@pytest.mark.parametrize(
    'name', ['</script>', 'نص', '🚢', 'a\nb', '"', 'é' * 9]
)
def test_any_name_is_one_line(name: str, tmp_path: Path) -> None:
    review = Review(tmp_path / 'review.jsonl')
    review.decide(name, 'r', name, 'accept', 'x')
    review.decide('a', 'r', 'b', 'reject', 'x')
    assert len(review.path.read_text().splitlines()) == 2
    assert [each.head for each in review] == [name, 'a']


def test_half_a_line_is_told_and_hurts_no_other(tmp_path: Path) -> None:
    path = tmp_path / 'review.jsonl'
    review = Review(path)
    review.decide('a', 'r', 'b', 'accept', 'x')
    whole = path.read_text()
    # A kill in the middle of a write; then somebody goes on.
    path.write_text(whole + whole[:20])
    review.decide('c', 'r', 'd', 'reject', 'x')
    with pytest.warns(UserWarning, match=r'review.jsonl, line 2 is no dec'):
        found = [each.triple for each in review]
    assert found == [('a', 'r', 'b'), ('c', 'r', 'd')]
    for line in ('[]', '{"head": 1}', '{"verdict": "yes"}', '7'):
        path.write_text(whole + line + '\n')
        with pytest.warns(UserWarning, match='line 2 is no decision'):
            assert len(list(review)) == 1


CHILD = """
import sys
from dsom_pyg.completion.review import Review
review = Review(sys.argv[1])
for at in range(100_000):
    review.decide(f'a{at}', 'r', 'b', 'accept', 'x')
    sys.stdout.write(f'{at}\\n')
    sys.stdout.flush()
"""


def test_a_kill_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / 'review.jsonl'
    words = [sys.executable, '-c', CHILD, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 200:
                os.kill(child.pid, signal.SIGKILL)
                break
        confirmed = [200, *map(int, child.stdout.read().split())]
    assert child.returncode == -signal.SIGKILL
    found = [each.head for each in Review(path)]
    last = confirmed[-1]
    assert found[: last + 1] == [f'a{at}' for at in range(last + 1)]


def test_a_decision_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def sync(file: int) -> None:
        # The whole line is written when it is asked for.
        size = os.fstat(file).st_size
        synced.append(os.pread(file, size, 0).decode())

    monkeypatch.setattr(os, 'fsync', sync)
    path = tmp_path / 'review.jsonl'
    Review(path).decide('a', 'r', 'b', 'accept', 'x')
    assert synced == [path.read_text()]


def test_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / 'review.jsonl'

    def work(number: int) -> None:
        review = Review(path)
        for at in range(50):
            review.decide(f'{number} {at}', 'r', 'b', 'accept', 'x')

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heads = {each.head for each in Review(path)}
    assert heads == {f'{n} {at}' for n in range(4) for at in range(50)}


def test_the_graph_as_it_was_corrected() -> None:
    train = triples((0, 0, 1), (1, 0, 2), (2, 1, 3))
    val, test = triples((3, 0, 0)), triples((3, 1, 1), (0, 1, 3))
    graph = KG(make_data(4, 2, train, val, test))
    # Two of these are known: they stay where they are.
    accepted = triples((3, 1, 1), (0, 0, 3), (0, 0, 1))
    rejected = triples((1, 0, 2), (3, 0, 0), (2, 0, 2))
    found = reviewed(graph, Judged(accepted, rejected))
    assert rows(found.triples('train')) == {
        (0, 0, 1),
        (2, 1, 3),
        (0, 0, 3),
    }
    assert len(found.triples('train').edge_type) == 3
    assert rows(found.triples('val')) == set()
    assert rows(found.triples('test')) == {(3, 1, 1), (0, 1, 3)}
    # The graph itself is as it was.
    assert rows(graph.triples('train')) == rows(train)
    assert rows(graph.triples('test')) == rows(test)
    both = within(train, triples((1, 0, 2), (5, 5, 5)))
    assert both.tolist() == [False, True, False]


def test_further_known_triples_can_be_rejected() -> None:
    data = make_data(3, 1, triples((0, 0, 1)))
    store = data[EDGE]
    extra = triples((1, 0, 2), (2, 0, 0))
    store.filter_edge_index, store.filter_edge_type = extra
    judged = Judged(triples(), triples((1, 0, 2)))
    known = reviewed(KG(data), judged).triple_graph.known()
    assert rows(known) == {(0, 0, 1), (2, 0, 0)}


def test_the_last_word_holds_whatever_a_triple_is_called(
    tmp_path: Path,
) -> None:
    entities = Vocabulary(['Elie', 'Forth', 'Crail'], ['Q1', 'Q2', 'Q3'])
    relations = Vocabulary(['near'], what='relation')
    review = Review(tmp_path / 'review.jsonl')
    for head, tail, verdict in (
        ('Q1', 'Forth', 'accept'),
        ('Elie', 'Q2', 'reject'),
        ('Q2', 'Q3', 'reject'),
        ('Forth', 'Crail', 'accept'),
        ('Q2', 'Q3', 'unsure'),
    ):
        review.decide(head, 'near', tail, verdict, '')
    accepted, rejected, unsure = review.judged(entities, relations)
    assert (rows(accepted), rows(rejected)) == (set(), {(0, 0, 1)})
    assert rows(unsure) == {(1, 0, 2)}
    counts = review.counts(entities, relations)
    assert counts == {'accept': 0, 'reject': 1, 'unsure': 1}
    # A number at the end is no other spelling of a name.
    review.decide('Elie (2)', 'near', 'Forth_1', 'accept', '')
    with pytest.warns(UserWarning, match=r"'Elie \(2\)'.*left out"):
        assert not rows(review.judged(entities, relations).accepted)


def test_what_was_decided_is_heeded(model: Completer, tmp_path: Path) -> None:
    proposals = model.complete()
    good, bad, later = proposals[0], proposals[1], proposals[2]
    assert good.head != bad.head or good.tail != bad.tail
    review = Review(tmp_path / 'review.jsonl')
    for each, verdict in (
        (good, 'accept'),
        (bad, 'reject'),
        (later, 'unsure'),
    ):
        triple = each.head, each.relation, each.tail
        review.decide(*triple, verdict, model.graph.fingerprint)
    heeding = model.with_review(review.path)
    left = {each.id for each in heeding.complete()}
    assert good.id not in left
    assert bad.id not in left
    assert later.id in left
    assert left == {each.id for each in proposals} - {good.id, bad.id}
    # The accepted one is a fact now, the rejected one is no answer at all.
    (fact,) = heeding.score([(good.head, good.relation, good.tail)])
    assert fact.known
    for among in (None, 'all'):
        answers = heeding.answer(
            bad.head, bad.relation, k=50, known=True, among=among
        )
        assert bad.tail not in [answer.name for answer in answers]
        asked = heeding.answer(
            relation=bad.relation, tail=bad.tail, k=50, among=among
        )
        assert bad.head not in [answer.name for answer in asked]
    # Kept and loaded it is the same.
    heeding.save(tmp_path / 'kept')
    again = Completer.load(tmp_path / 'kept')
    assert {each.id for each in again.complete()} == left
    # Somebody changes their mind.
    review.decide(bad.head, bad.relation, bad.tail, 'accept', '')
    changed = again.with_review(review)
    assert changed.knowledge.rejected is not None
    assert len(changed.knowledge.rejected) == 0
    (fact,) = changed.score([(bad.head, bad.relation, bad.tail)])
    assert fact.known
    # Or is no longer sure.
    review.decide(bad.head, bad.relation, bad.tail, 'unsure', '')
    open_again = again.with_review(review)
    assert bad.id in {each.id for each in open_again.complete()}
    only = Review(tmp_path / 'only.jsonl')
    only.decide(bad.head, bad.relation, bad.tail, 'unsure', '')
    assert bad.id in {each.id for each in again.with_review(only).complete()}
    # Nothing was decided: nothing changes.
    assert model.with_review(tmp_path / 'nothing') is model


def test_a_rejected_fact_is_known_no_more(
    model: Completer, tmp_path: Path
) -> None:
    part = model.graph.triples('train')
    h, r, t = (int(x[0]) for x in (part.head, part.edge_type, part.tail))
    names = model.entities.names
    word = model.relations_known.names[r]
    review = Review(tmp_path / 'review.jsonl')
    review.decide(names[h], word, names[t], 'reject', '')
    heeding = model.with_review(review)
    (fact,) = heeding.score([(h, r, t)])
    assert not fact.known
    assert (h, r, t) not in rows(heeding.graph.triples('train'))
    assert (h, r, t) not in {each.id for each in heeding.complete()}


def test_what_was_rejected_is_no_rival(
    model: Completer, tmp_path: Path
) -> None:
    head, word = 'MV Auk', 'calls at'
    known = [a for a in model.answer(head, word, k=50, known=True) if a.known]
    triple = head, word, model.answer(head, word, k=9, among='all')[-1].name
    review = Review(tmp_path / 'review.jsonl')
    for answer in known[:2]:
        review.decide(head, word, answer.name, 'reject', '')
    heeding = model.with_review(review)

    def said(of: Completer) -> list[float]:
        opinions = of.explain(*triple).opinions
        more = [x for each in opinions for x in (each.probability, each.rank)]
        return [of.score([triple])[0].probability, *of.rank([triple]), *more]

    # They were no rivals when they were known, and are none now.
    assert said(heeding) == pytest.approx(said(model), rel=1e-5)
    links = [link.relation for link in heeding.relations(head, known[0].name)]
    assert word not in links
    assert word in [x.relation for x in model.relations(head, known[0].name)]


def test_names_that_are_not_there_are_told(
    dataset: OwnGraph, tmp_path: Path
) -> None:
    review = Review(tmp_path / 'review.jsonl')
    review.decide('Arnel', 'sea route to', 'Atlantis', 'accept', '')
    review.decide('Arnel', 'sea route to', 'Elie', 'accept', '')
    with pytest.warns(UserWarning, match="unknown entity 'Atlantis'"):
        judged = review.judged(*vocabularies(dataset))
    assert len(judged.accepted.edge_type) == 1


def test_training_on_a_corrected_graph(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    review = Review(tmp_path / 'review.jsonl')
    review.decide('Arnel', 'sea route to', 'Elie', 'accept', '')
    review.decide('Arnel', 'sea route to', 'Crail', 'reject', '')
    folder = tmp_path / 'run'
    model = Completer.train(dataset, folder, recipe, review=review)
    entities, relations = vocabularies(dataset)
    triple = tuple(
        vocabulary.id(word)
        for vocabulary, word in (
            (entities, 'Arnel'),
            (relations, 'sea route to'),
            (entities, 'Elie'),
        )
    )
    assert triple in rows(model.graph.triples('train'))
    assert triple not in rows(KG(dataset[0]).triple_graph.known())
    loaded = Completer.load(folder)
    answers = loaded.answer('Arnel', 'sea route to', k=50, among='all')
    assert not {'Crail', 'Elie'} & {answer.name for answer in answers}
    # The decisions go along, for the next round; what comes there stays.
    beside = Review(folder / 'review.jsonl')
    assert beside.last() == review.last()
    names = vocabularies(dataset)
    assert beside.counts(*names) == {'accept': 1, 'reject': 1, 'unsure': 0}
    beside.decide('Arnel', 'sea route to', 'Forth', 'reject', '')
    Completer.train(dataset, folder, recipe, review=review)
    assert len(beside.last()) == 3
    review.copy_to(beside.path)
    assert len(beside.last()) == 3
    # A doubt changes nothing that is trained.
    review.decide('Arnel', 'sea route to', 'Doune', 'unsure', '')
    Completer.train(dataset, folder, recipe, review=review)
    # With other decisions it is another run, also if the graph is the same.
    review.decide('Arnel', 'sea route to', 'Doune', 'reject', '')
    with pytest.raises(ValueError, match=r'holds another run.*\nreview: '):
        Completer.train(dataset, folder, recipe, review=review)
    with pytest.raises(ValueError, match='holds another run'):
        Completer.train(dataset, folder, recipe)


def test_the_corrected_graph_is_written(
    dataset: OwnGraph, model: Completer, tmp_path: Path
) -> None:
    review = Review(tmp_path / 'review.jsonl')
    known = rows(KG(dataset[0]).triple_graph.known())
    names, links = dataset.entity_names, dataset.relation_names
    head, rel, tail = sorted(known)[0]
    review.decide(names[head], links[rel], names[tail], 'reject', '')
    review.decide('Arnel', 'sea route to', 'Elie', 'accept', '')
    path = tmp_path / 'graph' / 'triples.tsv'
    path.parent.mkdir()
    model.with_review(review).write_triples(path)
    again = MKGFolder(path.parent)
    ends, relations = again.entity_names, again.relation_names
    found = {
        (ends[h], relations[r], ends[t])
        for h, r, t in rows(KG(again[0]).triple_graph.known())
    }
    expected = {(names[h], links[r], names[t]) for h, r, t in known}
    expected -= {(names[head], links[rel], names[tail])}
    assert found == expected | {('Arnel', 'sea route to', 'Elie')}
    with pytest.raises(ValueError, match=r'must end in \.tsv'):
        model.write_triples(tmp_path / 'triples.csv')


def test_decisions_say_how_often_proposals_come_true(
    model: Completer, tmp_path: Path
) -> None:
    proposals = model.complete()
    base = model.parts.odds

    def heeding(verdict: str, *triples: tuple[str, str, str]) -> Completer:
        review = Review(tmp_path / f'{verdict}-{len(triples)}.jsonl')
        for triple in triples:
            review.decide(*triple, verdict, '')
        made = model.with_review(review)
        # Heeded twice it counts once.
        assert made.with_review(review).parts.odds == made.parts.odds
        return made

    first = [(each.head, each.relation, each.tail) for each in proposals[:4]]
    # Who accepts alone has chosen what to look at.
    assert heeding('accept', *first).parts.odds == base
    less = heeding('reject', *first).parts.odds
    p = torch.tensor([each.probability for each in proposals[:4]])
    claimed = ((p.logit() - base.shift) / base.slope).sigmoid()
    assert (less.of(claimed) < p).all()
    assert heeding('unsure', *first).parts.odds == base
    # With a rejection as well it is what claims and verdicts make of them.
    review = Review(tmp_path / 'both.jsonl')
    for at, triple in enumerate(first):
        review.decide(*triple, 'reject' if at == 3 else 'accept', '')
    more = model.with_review(review).parts.odds
    assert (more.of(claimed) > p).all()
    yes = torch.tensor([True, True, True, False])
    expected = torch.tensor(base.heeding(claimed, yes))
    assert torch.allclose(torch.tensor(more), expected, atol=1e-3)
    # A suspect that was wrong tells nothing of proposals.
    part = model.graph.triples('train')
    names, words = model.entities.names, model.relations_known.names
    known = [
        (names[h], words[r], names[t]) for h, r, t in sorted(rows(part))[:3]
    ]
    assert heeding('reject', *known).parts.odds == base
    # Nor does what takes its place, from either side.
    h, r, t = sorted(rows(part))[0]
    wrong = names[h], words[r], names[t]
    for proposed in proposals:
        if proposed.relation == wrong[1] and (
            (proposed.head == wrong[0]) != (proposed.tail == wrong[2])
        ):
            break
    else:
        pytest.fail('nothing is proposed in its place')
    right = proposed.head, proposed.relation, proposed.tail
    others = [x for x in first if not {x[0], x[2]} & {wrong[0], wrong[2]}]
    assert len(others) > 1
    made = []
    for at, decided in enumerate(
        (others[:2], [*others[:2], right], [*others[:2], wrong, right])
    ):
        review = Review(tmp_path / f'place-{at}.jsonl')
        for triple in decided:
            verdict = 'reject' if triple in (others[0], wrong) else 'accept'
            review.decide(*triple, verdict, '')
        made.append(model.with_review(review).parts.odds)
    assert made[1] != made[0]
    # Where the wrong one was the only answer that was known. Where there are
    # others, what is accepted is one more.
    sides = model.knowledge.known.lookup(
        torch.tensor([h, t]),
        torch.tensor([r, r + model.graph.num_relations]),
    ).count(2)
    side = 0 if proposed.head == wrong[0] else 1
    assert (made[2] == made[0]) == (int(sides[side]) == 1)


def test_only_the_place_of_a_single_answer_is_a_correction(
    model: Completer,
) -> None:
    size = model.graph.num_relations
    known = rows(model.graph.triple_graph.known())
    both = known | {(t, r + size, h) for h, r, t in known}
    answers = Counter((h, r) for h, r, _ in both)
    for single in (True, False):
        h, r, t = min(
            (h, r, t)
            for h, r, t in both
            if r < size and (answers[h, r] == 1) == single
        )
        other = next(
            x
            for x in range(model.graph.num_entities)
            if (h, r, x) not in both and answers[x, r + size] != 1
        )
        # A proposal elsewhere that was false.
        false = next(
            (a, b, c)
            for a, b, c in sorted(both)
            if b < size and not {a, c} & {h, t, other}
        )
        judged = Judged(triples((h, r, other)), triples((h, r, t), false))
        # False ones that are known are no proposals, but have a claim here.
        claims = {(h, r, other): 0.2, false: 0.1}
        found = odds_by(model.knowledge, judged, claims)
        base, no = model.parts.odds, torch.tensor([0.1])
        if single:
            expected = base.heeding(no, torch.tensor([False]))
        else:
            said = torch.tensor([0.2, 0.1])
            expected = base.heeding(said, torch.tensor([True, False]))
        assert found == pytest.approx(expected)


def test_what_was_rejected_is_fitted_to_no_more(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    # Temperatures, odds and errors are over what people are shown.
    review = Review(tmp_path / 'review.jsonl')
    graph = KG(dataset[0])
    known, names = rows(graph.triple_graph.known()), vocabularies(dataset)
    entities, relations = (each.names for each in names)
    for h, r, _ in sorted(rows(graph.triples('val'))):
        for t in range(0, len(entities), 2):
            if (h, r, t) not in known:
                words = entities[h], relations[r], entities[t]
                review.decide(*words, 'reject', '')
    made = Completer.train(dataset, recipe=recipe, review=review)
    student, graph = made.parts.student, made.graph
    ranges, never = made.knowledge.ranges, made.knowledge.rejected
    shown = {'ranges': ranges, 'never': never}
    right = Calibration.fit(student, graph, **shown)  # type: ignore[arg-type]
    wrong = Calibration.fit(student, graph, ranges=ranges)
    found = made.parts.calibration
    assert found.after == right.after != wrong.after
    assert torch.equal(found.temperature, right.temperature)
    assert not torch.equal(found.temperature, wrong.temperature)
    odds = Odds.fit(student, graph, ranges, right.temperature, never=never)
    other = Odds.fit(student, graph, ranges, right.temperature)
    assert made.parts.odds == odds != other


def test_who_has_lost_the_only_fact_is_asked_about_still(
    model: Completer, tmp_path: Path
) -> None:
    parts = model.parts
    train = parts.graph.triples('train')
    lone = parts.entities.id('MV Gull')
    own = ((train.edge_index == lone).any(dim=0)).nonzero()[:, 0]
    keep = torch.ones(len(train.edge_type), dtype=torch.bool)
    keep[own[1:]] = False  # one fact is left
    splits = {
        split: parts.graph.triples(split).select(
            (parts.graph.triples(split).edge_index != lone).all(dim=0)
        )
        for split in ('val', 'test')
    }
    sizes = parts.graph.num_entities, parts.graph.num_relations
    splits['train'] = train.select(keep)
    before = Completer(replace(parts, graph=KG(TripleGraph(*sizes, splits))))
    ((h, r, t),) = rows(train.select(own[:1]).select(slice(0, 1)))
    names, words = parts.entities.names, parts.relations.names
    review = Review(tmp_path / 'review.jsonl')
    review.decide(names[h], words[r], names[t], 'reject', '')
    after = before.with_review(review)
    learned = [rows(each.knowledge.learned) for each in (before, after)]
    assert learned[0] == learned[1]
    about = [
        {x.id for x in each.complete(entities='MV Gull', k=99)}
        for each in (before, after)
    ]
    assert about[0]
    assert about[0] <= about[1] | {(h, r, t)}
    assert (h, r, t) not in about[1]
    assert after.answer(h, r, known=True).notes == []
    # A model that was kept knows it still, and one that heeds twice.
    after.save(tmp_path / 'kept')
    again = Completer.load(tmp_path / 'kept')
    assert rows(again.knowledge.learned) == learned[0]
    review.decide('Arnel', 'sea route to', 'Crail', 'reject', '')
    assert rows(again.with_review(review).knowledge.learned) == learned[0]
    # Accepted after all, it was learned as before.
    review.decide(names[h], words[r], names[t], 'accept', '')
    assert rows(after.with_review(review).knowledge.learned) == learned[0]


def test_a_corrected_model_is_not_the_run(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / 'run'
    made = Completer.train(dataset, folder, recipe)
    review = Review(tmp_path / 'review.jsonl')
    # Of a triple that the graph does not have: the graph stays as it is.
    review.decide('Arnel', 'sea route to', 'Elie', 'reject', '')
    made.with_review(review).save(folder)
    before = (folder / 'model.json').read_bytes()
    with pytest.raises(ValueError, match='that this run has not made'):
        Completer.train(dataset, folder, recipe)
    made.with_review(review).save(tmp_path / 'other')
    with pytest.raises(ValueError, match='that this run has not made'):
        Completer.train(dataset, tmp_path / 'other', recipe)
    assert (folder / 'model.json').read_bytes() == before


def test_lines_of_others(tmp_path: Path) -> None:
    path = tmp_path / 'review.jsonl'
    review = Review(path)
    review.decide('a', 'r', 'b', 'accept', '')
    # A mark of UTF-8, a key that others have added, and depth without end.
    said = json.loads(path.read_text()) | {'user': 'me', 'tail': 'c'}
    first = b'\xef\xbb\xbf' + path.read_bytes()
    path.write_bytes(first + json.dumps(said).encode() + b'\n')
    assert [each.tail for each in review] == ['b', 'c']
    path.write_bytes(first + b'[' * 100_000)
    with pytest.warns(UserWarning, match='line 2 is no decision'):
        assert len(list(review)) == 1


def test_systems_without_pread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr('os.pread')
    review = Review(tmp_path / 'review.jsonl')
    review.decide('a', 'r', 'b', 'accept', '')
    with review.path.open('ab') as file:
        file.write(b'half')
    review.decide('a', 'r', 'c', 'accept', '')
    with pytest.warns(UserWarning, match='line 2 is no decision'):
        assert [each.tail for each in review] == ['b', 'c']
