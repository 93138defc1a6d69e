"""Entities that come later: rows by hand, and answers that make sense."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from dsom_pyg import Recipe, evaluate
from dsom_pyg.completion import Completer, UnknownNameError, Vocabulary
from dsom_pyg.completion.adding import Newcomers
from dsom_pyg.completion.newcomers import (
    Fit,
    fit_rows,
    likely_questions,
    nearest,
)
from dsom_pyg.datasets import from_pandas
from dsom_pyg.encoders import ImageStatistics, TfidfText
from dsom_pyg.graph import Triples
from dsom_pyg.models import ComplEx, EntityEmbedding, RotatE
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.query_index import Queries, QueryIndex
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Adam, Loop

TOWNS = [f'Town {letter}' for letter in 'ABCDEFGH']
RIVERS = [f'River {letter}' for letter in 'ABCDEFGH']
LANDS = {'Nordia': 'north', 'Sudia': 'south'}


class Words:
    """Which of some words a text has."""

    words = ('town', 'river', 'north', 'south')
    out_channels = 4

    def __init__(self, name: str = 'words', turn: int = 0) -> None:
        self.name, self.turn = name, turn

    def __call__(self, items: Sequence[Any]) -> Tensor:
        words = [*self.words[self.turn :], *self.words[: self.turn]]
        return torch.tensor(
            [[float(word in str(item)) for word in words] for item in items]
        )


@pytest.fixture(scope='module')
def model() -> Completer:
    # Towns and rivers of the north are in Nordia, the others in Sudia; a
    # river flows through each town of its half.
    rows, texts = [], {land: f'a land, {x}' for land, x in LANDS.items()}
    for kind, names in (('town', TOWNS), ('river', RIVERS)):
        for at, name in enumerate(names):
            land = [*LANDS][at % 2]
            rows.append((name, 'lies in', land))
            texts[name] = f'a {kind} of the {LANDS[land]}'
    for (i, river), (j, town) in product(enumerate(RIVERS), enumerate(TOWNS)):
        if i % 2 == j % 2 and i != j:
            rows.append((river, 'flows through', town))
    frame = pd.DataFrame(rows, columns=['head', 'relation', 'tail'])
    frame['split'] = ['val' if at % 9 == 5 else 'train' for at in frame.index]
    loop = Loop(epochs=30, batch_size=20, optimizer=Adam(0.1), cooldown=1.0)
    recipe = Recipe(
        teachers=Teachers(channels=8, loop=loop),
        policy=MeanOfTeachers(),
        student=Student(channels=8, loop=loop),
    )
    data = from_pandas(frame, texts=texts, text_encoder=Words())
    return Completer.train(data, None, recipe)


def best(model: Completer, *question: str, **words: Any) -> list[str]:
    return [x.name for x in model.answer(*question, **words)]


def test_a_text_is_enough(model: Completer) -> None:
    new = {'Elie': 'a town of the south', 'Forth': 'a river of the north'}
    made = model.add_entities(new, text_encoder=Words())
    assert best(made, 'Elie', 'lies in', k=1) == ['Sudia']
    assert best(made, 'Forth', 'lies in', k=1) == ['Nordia']
    # As an answer as well; and among the rivers and towns of its half.
    assert 'Elie' in best(
        made, relation='lies in', tail='Sudia', k=20, among='all'
    )
    through = best(made, 'Forth', 'flows through', k=4)
    assert set(through) == {'Town A', 'Town C', 'Town E', 'Town G'}
    assert 'Elie' in best(made, 'River B', 'flows through', k=4)
    proposed = made.complete(entities=['Forth'], limit=20)
    assert 'Forth' in {row.head for row in proposed}
    # Nobody else answers otherwise.
    old = model.answer('Town A', 'lies in', k=1)[0]
    assert made.answer('Town A', 'lies in', k=1)[0].score == old.score
    assert model.graph.num_entities + 2 == made.graph.num_entities
    notes = made.answer('Elie', 'lies in').notes
    assert 'added later' in ''.join(notes)


def test_triples_say_more(model: Completer) -> None:
    # The text says town of the south; the triple says that it is elsewhere.
    new = {'Elie': 'a town of the south'}
    link = ('River A', 'flows through', 'Elie')
    made = model.add_entities(new, triples=[link], text_encoder=Words())
    before = model.add_entities(new, text_encoder=Words())
    told = [m.score([link])[0].score for m in (before, made)]
    assert told[1] > told[0]
    answers = made.answer('River A', 'flows through', k=20, known=True)
    assert {x.name: x.known for x in answers}['Elie']
    assert made.graph.triples('train').edge_type.numel() == (
        model.graph.triples('train').edge_type.numel() + 1
    )
    # Without a text, by triples alone.
    near = [('River A', 'flows through', 'X'), ('X', 'lies in', 'Nordia')]
    silent = model.add_entities({'X': []}, triples=near)
    assert best(silent, relation='flows through', tail='X', k=3, among='all')
    ranks = best(silent, relation='flows through', tail='X', k=5, known=True)
    assert 'River A' in ranks


def test_teachers_know_a_newcomer_by_its_features(model: Completer) -> None:
    made = model.add_entities(
        {'Elie': 'a town of the south'}, None, [], text_encoder=Words()
    )
    teachers, old = made.parts.teachers, model.parts.teachers
    assert teachers is not None
    assert old is not None
    weight = model.parts.maps['text']['text']
    row = teachers['text'].kept()['entities'][-1]
    # town and south: the sum of two rows of the matrix.
    assert torch.allclose(row, weight[0] + weight[3])
    joint = teachers['joint'].kept()['entities'][-1]
    parts = model.parts.maps['joint']['text']
    assert torch.allclose(joint, parts[0] + parts[3])
    assert not teachers['structure'].kept()['entities'][-1].any()
    # Town B has the same text, hence the same row.
    same = old['text'].kept()['entities'][model.entities.id('Town B')]
    assert torch.allclose(row, same, atol=1e-6)
    said = made.explain('Elie', 'lies in', 'Sudia')
    assert [x.teacher for x in said.opinions] == ['student', 'text', 'joint']


def test_a_newcomer_has_a_name_of_its_own(model: Completer) -> None:
    made = model.add_entities(
        {'x-7': 'a town of the south', 'x-8': 'a river of the south'},
        triples=[('x-7', 'lies in', 'Sudia')],
        names={'x-7': 'Elie'},
        text_encoder=Words(),
    )
    (fact,) = made.score([('Elie', 'lies in', 'Sudia')])
    assert fact.known
    assert made.entities.keys[-2:] == ['x-7', 'x-8']
    assert made.entities.names[-2:] == ['Elie', 'x-8']
    assert made.entities.id('x-7') == made.entities.id('Elie')
    with pytest.raises(ValueError, match="names has 'x-9'"):
        model.add_entities({'x-7': []}, names={'x-9': 'Forth'})
    with pytest.raises(ValueError, match="a name is a text, got ' '"):
        model.add_entities({'x-7': []}, names={'x-7': ' '})
    with pytest.raises(TypeError, match=r'are by entity, such as .* got list'):
        model.add_entities(['x-7'])  # type: ignore[arg-type]


def test_names_of_newcomers_are_their_own(model: Completer) -> None:
    words: dict[str, Any] = {'text_encoder': Words()}
    # One that is written in two ways is nobody knows whose.
    for other in (unicodedata.normalize('NFD', 'Abéché'), ' Abéché '):
        new = {'Abéché': 'a town of the south', other: 'a river'}
        with pytest.raises(ValueError, match="'Abéché' is named twice"):
            model.add_entities(new, **words)
    for word in (unicodedata.normalize('NFD', 'Abéché'), ' Abéché '):
        made = model.add_entities({word: 'a town of the south'}, **words)
        assert made.entities.names[-1] == 'Abéché'
    # Who is called as another one is told apart.
    made = model.add_entities(
        {'x-7': 'a town of the south', 'x-8': 'a town of the north'},
        names={'x-7': 'Town A', 'x-8': 'Town A'},
        **words,
    )
    assert made.entities.names[-2:] == ['Town A (x-7)', 'Town A (x-8)']
    old = model.entities.id('Town A')
    assert made.entities.id('Town A') == old
    assert made.entities.names[old] == 'Town A'
    told = made.explain('x-7', 'lies in', 'Town A')
    assert {*told.texts} == {'Town A (x-7)', 'Town A'}


def test_a_text_of_unknown_words_says_nothing(model: Completer) -> None:
    triples = [('Elie', 'lies in', 'Sudia')]
    found = [
        model.add_entities(
            {'Elie': text}, triples=triples, text_encoder=Words()
        )
        for text in ([], 'zzyx qqwv')
    ]
    without, vain = (x.parts.student.kept()['entities'][-1] for x in found)
    torch.testing.assert_close(vain, without)


def test_a_kept_model_goes_on(model: Completer, tmp_path: Path) -> None:
    made = model.add_entities(
        {'Elie': 'a town of the south'},
        triples=[('Elie', 'lies in', 'Sudia')],
        text_encoder=Words(),
    )
    made.save(tmp_path)
    again = Completer.load(tmp_path)
    assert again.parts.likely is not None
    assert made.parts.likely is not None
    for one, other in zip(again.parts.likely, made.parts.likely, strict=True):
        assert torch.equal(one, other)
    for question in (('Elie', 'lies in'), ('River B', 'flows through')):
        assert again.answer(*question, k=9) == made.answer(*question, k=9)
    further = again.add_entities(
        {'Forth': 'a river of the south'}, text_encoder=Words()
    )
    assert 'Elie' in best(further, 'Forth', 'flows through', k=5)
    assert further.parts.about['added'] == 2
    likely = further.parts.likely
    assert likely is not None
    both = further.entities.ids(['Elie', 'Forth'])
    assert likely.head.unique().tolist() == both.tolist()
    assert evaluate(further.parts.student, further.graph, 'val').mrr() == (
        pytest.approx(
            evaluate(model.parts.student, model.graph, 'val').mrr(), abs=0.2
        )
    )


def test_what_a_model_does_not_know(model: Completer) -> None:
    with pytest.raises(ValueError, match="'Town A' is in the graph already"):
        model.add_entities({'Town A': 'a town'})
    # Whichever form of Unicode a key has.
    names = ['Abéché', *model.entities.names[1:]]
    parts = replace(model.parts, entities=Vocabulary(names))
    for form in ('NFC', 'NFD'):
        word = unicodedata.normalize(form, 'Abéché')
        with pytest.raises(ValueError, match='is in the graph already'):
            Completer(parts).add_entities({word: 'a town'})
    with pytest.raises(ValueError, match='no new entity is named'):
        model.add_entities(triples=[('Town A', 'lies in', 'Sudia')])
    words: dict[str, Any] = {'text_encoder': Words()}
    new = {'X': 'a town'}
    with pytest.raises(UnknownNameError, match=r"triple 1.*'Sudja'.*'Sudia'"):
        model.add_entities(new, None, [('X', 'lies in', 'Sudja')], **words)
    with pytest.raises(UnknownNameError, match="unknown relation 'lie in'"):
        model.add_entities(new, None, [('X', 'lie in', 'Sudia')], **words)
    with pytest.raises(ValueError, match='no new entity; accept it'):
        model.add_entities(
            new, None, [('Town A', 'lies in', 'Sudia')], **words
        )
    with pytest.raises(ValueError, match='triple 1'):
        model.add_entities(new, None, [('X', 'Sudia')], **words)
    with pytest.raises(ValueError, match='a name is a text'):
        model.add_entities({' ': 'a town'}, **words)
    for value in (None, math.nan, ['a town', None]):
        with pytest.raises(ValueError, match="'X': give a text or a path, or"):
            model.add_entities({'X': value}, **words)  # type: ignore[dict-item]


def test_texts_and_images_may_come_from_an_iterator(
    model: Completer,
) -> None:
    paths = (Path(name) for name in ('x.png', 'y.png'))
    texts = {'X': iter(['a town', 'large'])}
    new = Newcomers(model.parts, texts, {'X': paths}, [])
    assert new.texts == [['a town', 'large']]
    assert [Path(each).name for each in new.images[0]] == ['x.png', 'y.png']


def test_another_encoder_is_refused(model: Completer) -> None:
    new = {'X': 'a town'}
    with pytest.raises(ValueError, match=r"by 'words'.*text_encoder"):
        model.add_entities(new)
    with pytest.raises(ValueError, match="is 'others'"):
        model.add_entities(new, text_encoder=Words('others'))
    # One that lies about its name is found out by what it encodes.
    with pytest.raises(ValueError, match='known entities are off by'):
        model.add_entities(new, text_encoder=Words(turn=1))
    with pytest.warns(UserWarning, match='no teacher of this model knows'):
        model.add_entities({'X': []}, {'X': 'x.png'})


def test_a_model_without_teachers(model: Completer) -> None:
    bare = Completer(replace(model.parts, teachers=None))
    with pytest.raises(ValueError, match='teachers=True'):
        bare.add_entities({'X': 'a town'}, text_encoder=Words())


def test_light_encoders_are_made_again(recipe: Recipe, tmp_path: Path) -> None:
    rows, texts, images = [], {}, {}
    for at in range(12):
        colour = 'red' if at % 2 else 'green'
        rows.append((f'e{at}', 'is of', colour))
        texts[f'e{at}'] = f'a {colour} thing'
        images[f'e{at}'] = tmp_path / f'{at}.png'
        Image.new('RGB', (9, 9), colour).save(images[f'e{at}'])
    frame = pd.DataFrame(rows, columns=['head', 'relation', 'tail'])
    frame['split'] = 'train'
    data = from_pandas(
        frame,
        texts=texts,
        images=images,
        text_encoder=TfidfText(out_channels=3),
        image_encoder=ImageStatistics(),
    )
    model = Completer.train(data, None, recipe)
    made = model.add_entities({'x': 'a red thing'}, {'x': images['e1']})
    teachers = made.parts.teachers
    assert teachers is not None
    for name in ('text', 'image'):
        table = teachers[name].kept()['entities']
        one, other = table[made.entities.ids(['e1', 'e2'])]
        # Its text and its image are those of e1.
        assert torch.allclose(table[-1], one, atol=1e-5), name
        assert not torch.allclose(table[-1], other, atol=1e-5), name
    # Other texts, even new ones, do not move the space.
    more = made.add_entities({'y': 'a red thing', 'z': 'green zebras'})
    teachers = more.parts.teachers
    assert teachers is not None
    table = teachers['text'].kept()['entities']
    (one,) = table[more.entities.ids(['e1'])]
    assert torch.allclose(table[-2], one, atol=1e-5)


@pytest.mark.parametrize('at_once', [1, 256])
def test_nearest_and_likely_questions(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('dsom_pyg.completion.newcomers.AT_ONCE', at_once)
    # 0 and 1 point one way, 2 another; 3 is nearest of all, and not in train.
    old = {'text': torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [2, 0]])}
    new = {'text': torch.tensor([[3.0, 0], [0, 0], [0.1, 3]])}
    triples = Triples(
        torch.tensor([[0, 0, 1, 2], [2, 1, 2, 2]]), torch.tensor([0, 1, 0, 2])
    )
    index = QueryIndex(triples, 4, 2)
    near = nearest(old, new, index)
    assert near[0].tolist() == [0, 1, 2]
    assert near[1].tolist() == []
    assert near[2].tolist() == [2, 1, 0]
    given = Triples(torch.tensor([[5], [0]]), torch.tensor([1]))
    asked = likely_questions([near[0][:2], near[1]], index, given, 4)
    found = {*zip(asked.head.tolist(), asked.rel.tolist(), strict=True)}
    assert found == {(4, 0), (4, 1), (5, 1)}


NOTHING = Queries(torch.empty(0).long(), torch.empty(0).long())
NO_TRIPLES = Triples(torch.empty(2, 0).long(), torch.empty(0).long())


def table(size: int, scale: float = 0.5) -> ComplEx:
    torch.manual_seed(0)
    made = ComplEx(EntityEmbedding(size, 4, scale=scale), 2, scale=1.0)
    return made.requires_grad_(False)


def longer(student: ComplEx, rows: Tensor) -> ComplEx:
    out = ComplEx(EntityEmbedding(student.num_entities + len(rows), 4), 2)
    out.entities.weight.data = torch.cat([student.entities.weight, rows])
    out.relations.data = student.relations.data
    return out.requires_grad_(False)


def without_last(teacher: ComplEx, size: int) -> ComplEx:
    out = ComplEx(EntityEmbedding(size, 4), 2)
    out.entities.weight.data = teacher.entities.weight[:size].clone()
    out.relations.data = teacher.relations.data
    return out.requires_grad_(False)


def test_a_given_triple_is_learned_in_both_places() -> None:
    student = table(20)
    # Newcomer 20, relation 1, entity 7; the reciprocal of 1 is 3.
    given = Triples(torch.tensor([[20], [7]]), torch.tensor([1]))
    known = torch.tensor([False])
    words = student, [], NOTHING, NOTHING, given, known, Fit(n3=0.0)
    made = longer(student, fit_rows(*words))
    ends, links = torch.tensor([20, 7]), torch.tensor([1, 3])
    probability = made.score_tails(ends, links).softmax(dim=1)
    assert probability[0, 7] > 0.6
    assert probability[1, 20] > 0.6


def test_a_newcomer_does_not_push_in() -> None:
    student = table(20)
    given = Triples(torch.tensor([[20], [7]]), torch.tensor([1]))
    pairs = torch.cartesian_prod(torch.arange(20), torch.arange(4)).t()
    words = student, [], NOTHING, Queries(*pairs), given, torch.tensor([False])
    share = [
        longer(student, fit_rows(*words, Fit(n3=0.0, others=others)))
        .score_tails(*pairs)
        .softmax(dim=1)[:, 20]
        for others in (0.0, 1.0)
    ]
    assert share[1].mean() < 0.5 * share[0].mean()


def test_answers_are_learned_where_nothing_is_asked() -> None:
    teacher = table(21)
    student = without_last(teacher, 20)
    pairs = torch.cartesian_prod(torch.arange(20), torch.arange(4)).t()
    teachers = [(1.0, teacher)]
    words = student, teachers, NOTHING, Queries(*pairs), NO_TRIPLES
    rows = fit_rows(
        *words, torch.tensor([True]), Fit(steps=400, n3=0.0, others=0.0)
    )
    mine = longer(student, rows).score_tails(*pairs).softmax(dim=1)[:, 20]
    its = teacher.score_tails(*pairs).softmax(dim=1)[:, 20]
    assert (mine - its).abs().max() < 0.01


def test_teachers_say_nothing_of_who_has_no_features() -> None:
    teacher = table(22)
    student = without_last(teacher, 20)
    asked = Queries(torch.tensor([20, 21]), torch.tensor([0, 1]))
    answered = Queries(torch.arange(9), torch.zeros(9).long())
    teachers = [(1.0, teacher)]
    words = student, teachers, asked, answered, NO_TRIPLES
    alone = Fit(n3=0.0, others=0.0)
    rows = fit_rows(*words, torch.tensor([True, False]), alone)
    assert rows[0].norm() > 0.1
    assert rows[1].norm() < 0.02


def test_the_most_common_questions_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('dsom_pyg.completion.newcomers.ROLES', 1)
    edges = torch.tensor([[0, 1, 1, 2, 2], [3, 3, 4, 3, 4]])
    index = QueryIndex(Triples(edges, torch.tensor([0, 1, 2, 1, 3])), 5, 2)
    near = [torch.tensor([0, 1, 2])]
    asked = likely_questions(near, index, NO_TRIPLES, 5)
    assert (asked.head.tolist(), asked.rel.tolist()) == ([5], [1])


@pytest.mark.parametrize('kind', [ComplEx, RotatE])
def test_rows_imitate_teachers(kind: type[ComplEx]) -> None:
    """With a teacher that is the student but for one more row, and the row
    itself as the best answer, the fit finds what the teacher says.
    """
    torch.manual_seed(0)
    size, width = 30, 4
    teacher = kind(EntityEmbedding(size + 1, width, scale=1.0), 2, scale=1.0)
    student = kind(EntityEmbedding(size, width), 2)
    with torch.no_grad():
        student.entities.weight.copy_(teacher.entities.weight[:size])
        student.relations.copy_(teacher.relations)
    asked = Queries(torch.full((4,), size), torch.arange(4))
    pairs = torch.cartesian_prod(torch.arange(size), torch.arange(4)).t()
    rows = fit_rows(
        student.requires_grad_(False),
        [(1.0, teacher.requires_grad_(False))],
        asked,
        Queries(*pairs),
        NO_TRIPLES,
        torch.tensor([True]),
        Fit(steps=400, n3=0.0, others=0.0),
    )
    own = kind(EntityEmbedding(size + 1, width), 2, scale=1.0)
    with torch.no_grad():
        table = torch.cat([student.entities.weight, rows])
        own.entities.weight.copy_(table)
        own.relations.copy_(teacher.relations)
        for question in (asked, Queries(*pairs[:, ::7])):
            mine = own.score_tails(*question).softmax(dim=1)
            its = teacher.score_tails(*question).softmax(dim=1)
            assert (mine - its).abs().max() < 0.02
