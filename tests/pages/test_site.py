"""The local site: who may ask, what it answers, what it keeps."""

import asyncio
import json
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from html import unescape
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from dsom_pyg.completion import Calibration, Completer, Review, Vocabulary
from dsom_pyg.completion.store import Parts
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.pages.asked import Asked, Question, QuestionList, folded
from dsom_pyg.pages.site import LARGEST, Together, make_app, serve

PORT = 8765
HOME = f'http://127.0.0.1:{PORT}'


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / 'run'))


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(make_app(folder), base_url=HOME) as made:
        yield made


def test_every_page_is_there_and_escaped(
    client: TestClient, folder: Path
) -> None:
    model = Completer.load(folder)
    ids = model.suspects(1)[0].id
    words = f'head={ids[0]}&relation={ids[1]}&tail={ids[2]}'
    pages = ['/', '/?q=arn', '/proposals', '/suspects', '/review', '/docs']
    pages += [f'/why?{words}', '/proposals?relation=0&order=uncertain']
    pages += [f'/entity/{at}' for at in range(model.graph.num_entities)]
    for page in pages:
        found = client.get(page)
        assert found.status_code == 200, page
        text = found.text
        assert '<script>alert' not in text, page
        assert '<b>a harbour' not in text, page
        assert re.findall(r'<script[^>]*>', text) == [
            '<script src="/site.js" defer>'
        ]
        places = re.findall(r'(?:src|href|action)="([^"]*)"', text)
        assert all(x.startswith(('/', 'data:,')) for x in places), page
        policy = found.headers['content-security-policy']
        assert "default-src 'self'" in policy
    # The example of the API is of this graph, at this address.
    text = unescape(client.get('/docs').text)
    assert f'curl -X POST {HOME}/api/answers' in text
    words = re.search(r"-d '(\{.*\})'", text)
    assert words is not None
    found = client.post('/api/answers', json=json.loads(words[1]))
    assert found.status_code == 200
    assert len(found.json()['answers']) == 1
    assert (
        client.get('/site.js')
        .headers['content-type']
        .startswith('text/javascript')
    )
    assert len(client.get(f'/entity/{model.entities.id("Arnel")}').text) < 2e5


def test_pictures(client: TestClient, folder: Path) -> None:
    names = Completer.load(folder).entities
    found = client.get(f'/picture/{names.id("Arnel")}')
    assert found.headers['content-type'] == 'image/jpeg'
    assert found.content[:2] == b'\xff\xd8'
    for name in ('Elie', 'Crail'):
        assert client.get(f'/picture/{names.id(name)}').status_code == 404
    for name, shown in (('Arnel', True), ('Crail', False)):
        at = names.id(name)
        page = client.get(f'/entity/{at}').text
        assert (f'"/picture/{at}"' in page) == shown


def test_search(client: TestClient) -> None:
    found = client.get('/api/search', params={'q': 'BUDE'}).json()
    assert [each['name'] for each in found] == ['Port Bude']
    # What begins so comes first.
    names = [x['name'] for x in client.get('/api/search?q=e').json()]
    assert names[0] == 'Elie'
    assert client.get('/api/search', params={'q': '  '}).json() == []
    assert client.get('/api/search', params={'q': '<script'}).json()
    long = client.get('/api/search', params={'q': 'x' * 201})
    assert long.status_code == 422


def test_answers_are_those_of_the_model(
    client: TestClient, folder: Path
) -> None:
    model = Completer.load(folder)
    questions: list[dict[str, Any]] = [
        {'head': 'سفينة', 'relation': 'calls at'},
        {'relation': 'calls at', 'tail': 'Arnel'},
        {'relation': 0, 'tail': 3},
    ]
    asked = {'questions': questions, 'k': 3, 'known': True}
    found = client.post('/api/answers', json=asked).json()['answers']
    for question, rows in zip(questions, found, strict=True):
        expected: Any = model.answer(**question, k=3, known=True)
        assert [row['name'] for row in rows] == [x.name for x in expected]
        assert [row['known'] for row in rows] == [x.known for x in expected]
        for row, each in zip(rows, expected, strict=True):
            assert row['probability'] == pytest.approx(each.probability)
    both = {'questions': [{'head': 0, 'relation': 0, 'tail': 1}]}
    assert client.post('/api/answers', json=both).status_code == 422
    none = {'questions': [{'relation': 0}]}
    assert client.post('/api/answers', json=none).status_code == 422
    unknown = {'questions': [{'head': 'Arnol', 'relation': 'calls at'}]}
    reply = client.post('/api/answers', json=unknown)
    assert reply.status_code == 404
    assert 'did you mean' in reply.json()['detail']


@pytest.mark.parametrize(
    'body',
    [
        b'',
        b'{',
        b'[]',
        b'\xff\xfe',
        b'{"questions": 1}',
        b'{"questions": [{"head": null}]}',
        b'{"questions": [], "k": 0}',
        b'{"questions": [], "k": 1e9}',
        b'{"questions": [{"relation": "calls at", "head": [1]}]}',
        b'{"questions": [{"relation": "calls at", "head": 999999}]}',
        b'{"questions": [{"relation": "calls at", "head": -1}]}',
        json.dumps({'questions': [{'relation': 0}] * 1001}).encode(),
        b'[' * 100_000,
    ],
)
def test_what_is_malformed_is_refused(client: TestClient, body: bytes) -> None:
    head = {'content-type': 'application/json'}
    reply = client.post('/api/answers', content=body, headers=head)
    assert 400 <= reply.status_code < 500
    assert 'Traceback' not in reply.text


def test_the_field_that_is_no_number_is_named(client: TestClient) -> None:
    head = {'content-type': 'application/json'}
    body = b'{"questions": [], "k": NaN}'
    reply = client.post('/api/answers', content=body, headers=head)
    assert reply.status_code == 422
    (wrong,) = reply.json()['detail']
    assert wrong['loc'] == ['body', 'k']
    assert {*wrong} == {'type', 'loc', 'msg'}


def test_a_head_is_that_of_the_page(client: TestClient) -> None:
    for path, status in (('/', 200), ('/entity/0', 200), ('/entity/x', 422)):
        page, head = client.get(path), client.head(path)
        assert head.status_code == page.status_code == status
        assert head.headers == page.headers
        assert head.content == b''
    assert client.head('/decide').status_code == 405


def test_what_is_too_large_is_refused(client: TestClient) -> None:
    reply = client.post('/api/answers', content=b' ' * (LARGEST + 1))
    assert reply.status_code == 413

    def parts() -> Iterator[bytes]:
        yield b'{"questions": []}'

    assert client.post('/api/answers', content=parts()).status_code == 411


def test_foreigners_are_refused(client: TestClient, folder: Path) -> None:
    for host in ('evil.example', '192.168.0.7', '127.0.0.1.evil.example'):
        assert client.get('/', headers={'host': host}).status_code == 400
    for host in ('localhost:8765', '127.0.0.1:8765'):
        assert client.get('/', headers={'host': host}).status_code == 200
    form = {'head': 0, 'relation': 0, 'tail': 6, 'verdict': 'accept'}
    for head in (
        {'origin': 'http://evil.example'},
        {'origin': 'http://127.0.0.1:9999'},
        {'origin': 'null'},
        {'sec-fetch-site': 'cross-site'},
    ):
        for path in ('/decide', '/api/decisions', '/api/answers'):
            reply = client.post(path, data=form, headers=head)
            assert reply.status_code == 403
            assert HOME in reply.text
    assert not (folder / 'review.jsonl').exists()


def test_decisions_are_kept_and_heeded(
    client: TestClient, folder: Path
) -> None:
    model = Completer.load(folder)
    first, second = model.complete()[:2]
    page = f'/entity/{first.id[0]}'
    before = client.get(page).text
    value = f'value="{first.id[2]}"'
    assert value in before
    form = dict(zip(('head', 'relation', 'tail'), first.id, strict=True))
    reply = client.post(
        '/decide',
        data={**form, 'verdict': 'reject', 'back': page},
        headers={'origin': HOME},
        follow_redirects=False,
    )
    assert reply.status_code == 303
    assert reply.headers['location'] == page
    proposed = client.get('/api/proposals', params={'relation': 'calls at'})
    left = {tuple(each['id']) for each in proposed.json()}
    assert first.id not in left
    assert second.id in left
    question = {'head': first.head, 'relation': first.relation}
    asked = {'questions': [question], 'k': 100, 'any_kind': True}
    rows = client.post('/api/answers', json=asked).json()['answers'][0]
    assert first.tail not in [row['name'] for row in rows]
    # By the API, with names; the answer comes when it is on the disk.
    said = {
        'head': second.head,
        'relation': second.relation,
        'tail': second.tail,
        'verdict': 'accept',
    }
    made = client.post('/api/decisions', json=said).json()
    assert made['verdict'] == 'accept'
    assert made['model'] == model.graph.fingerprint
    kept = [each.verdict for each in Review(folder / 'review.jsonl')]
    assert kept == ['reject', 'accept']
    question = {'head': second.head, 'relation': second.relation}
    asked = {'questions': [question], 'k': 100, 'known': True}
    rows = client.post('/api/answers', json=asked).json()['answers'][0]
    (row,) = [row for row in rows if row['name'] == second.tail]
    assert row['known']
    facts = client.get(f'/api/entities/{second.id[0]}').json()['facts']
    assert second.tail in [x['name'] for x in facts['calls at']]
    # Seen from the other end the relation is called otherwise.
    facts = client.get(f'/api/entities/{second.id[2]}').json()['facts']
    assert facts.keys() == {'calls at of'}
    assert second.head in [x['name'] for x in facts['calls at of']]
    # Another start of the site knows them.
    with TestClient(make_app(folder), base_url=HOME) as again:
        assert len(again.get('/api/decisions').json()) == 2
        proposed = again.get('/api/proposals', params={'relation': 'calls at'})
        left = {tuple(each['id']) for each in proposed.json()}
        assert not {first.id, second.id} & left
        # From its start on the model itself heeds them.
        heeding = Completer.load(folder).with_review(folder / 'review.jsonl')
        expected = heeding.complete('calls at', limit=len(left))
        assert [row.probability for row in expected] == pytest.approx(
            [row['probability'] for row in proposed.json()]
        )
    # So does this one, whose graph is as it was.
    proposed = client.get('/api/proposals', params={'relation': 'calls at'})
    now = [row['probability'] for row in proposed.json()]
    assert now == pytest.approx([row.probability for row in expected])
    before = {row.id: row.probability for row in model.complete()}
    ours = [before[tuple(row['id'])] for row in proposed.json()]
    assert now != pytest.approx(ours, rel=1e-3)
    # On the page of the review somebody changes their mind.
    page = client.get('/review').text
    assert page.count('<form method="post" action="/decide"') == 2
    form = dict(zip(('head', 'relation', 'tail'), first.id, strict=True))
    reply = client.post(
        '/decide',
        data={**form, 'verdict': 'unsure', 'back': '/review'},
        headers={'origin': HOME},
    )
    assert '>unsure<' in reply.text
    proposed = client.get('/api/proposals', params={'relation': 'calls at'})
    assert first.id in {tuple(each['id']) for each in proposed.json()}
    heeding = Completer.load(folder).with_review(folder / 'review.jsonl')
    expected = heeding.complete('calls at', limit=len(left) + 1)
    assert [row['probability'] for row in proposed.json()] == pytest.approx(
        [row.probability for row in expected]
    )
    for word in ('verdict', 'head'):
        bad = {**said, word: 'nothing at all'}
        reply = client.post('/api/decisions', json=bad)
        assert reply.status_code in (404, 422)
    assert len(list(Review(folder / 'review.jsonl'))) == 3


def test_a_site_that_starts_again_learns_on(folder: Path) -> None:
    model = Completer.load(folder)
    proposed = model.complete('calls at')
    assert len(proposed) > 4

    def decide(client: TestClient, at: int, verdict: str) -> None:
        row = proposed[at]
        words = row.head, row.relation, row.tail, verdict
        names = ('head', 'relation', 'tail', 'verdict')
        said = dict(zip(names, words, strict=True))
        assert client.post('/api/decisions', json=said).status_code == 200

    for before, after in (
        ([(0, 'accept'), (1, 'reject')], [(2, 'accept')]),
        ([(3, 'reject')], [(0, 'reject'), (1, 'unsure')]),
    ):
        with TestClient(make_app(folder), base_url=HOME) as client:
            for each in before:
                decide(client, *each)
        app = make_app(folder)
        with TestClient(app, base_url=HOME) as client:
            for each in after:
                decide(client, *each)
        # As if all had been decided at once.
        heeding = Completer.load(folder).with_review(folder / 'review.jsonl')
        odds = heeding.parts.odds
        assert app.state.asked.odds == pytest.approx(odds, rel=1e-4)
        assert odds != pytest.approx(model.parts.odds, rel=1e-2)
        shown = {each.id for each in app.state.asked.proposals(None)}
        assert shown == {each.id for each in heeding.complete()}
    # What was rejected before the site began is open again.
    assert proposed[1].id in shown
    assert proposed[0].id not in shown


def decided(client: TestClient, row: Any, verdict: str) -> None:
    said = {word: getattr(row, word) for word in ('head', 'relation', 'tail')}
    reply = client.post('/api/decisions', json={**said, 'verdict': verdict})
    assert reply.status_code == 200


def told(client: TestClient, **asked: Any) -> list[tuple[str, float, bool]]:
    words = {k: asked.pop(k) for k in ('known', 'any_kind') if k in asked}
    body = {'questions': [asked], 'k': 100, **words}
    rows = client.post('/api/answers', json=body).json()['answers'][0]
    return [(row['name'], row['probability'], row['known']) for row in rows]


@pytest.mark.parametrize('known', [False, True])
def test_answers_are_as_probable_as_those_of_a_model_that_starts_anew(
    client: TestClient, folder: Path, known: bool
) -> None:
    model = Completer.load(folder)
    row = model.complete('calls at')[0]
    wide: Any = {'k': 100, 'known': known, 'among': 'all'}
    before = model.answer(row.head, 'calls at', **wide)
    told(client, head=row.head, relation='calls at')
    decided(client, row, 'accept')
    wrong = next(x for x in before if not x.known and x.name != row.tail)
    decided(client, replace(row, tail=wrong.name), 'reject')
    again = Completer.load(folder).with_review(folder / 'review.jsonl')
    sides = (row.head, None), (None, row.tail)
    for head, tail in sides[::-1] if known else sides:
        expected = again.answer(head, 'calls at', tail, **wide)
        side = {'head': head} if tail is None else {'tail': tail}
        what = {'known': known, 'any_kind': True}
        rows = told(client, **side, relation='calls at', **what)
        assert [x[0] for x in rows] == [x.name for x in expected]
        assert [x[2] for x in rows] == [x.known for x in expected]
        assert [x[1] for x in rows] == pytest.approx(
            [x.probability for x in expected], rel=1e-4
        )
        if head is not None:  # they were less probable
            first = {x.name: x.probability for x in before}
            assert all(p > first[name] * 1.01 for name, p, _ in rows[-3:])


def fails(*_: object) -> bytes:
    raise OSError(5, 'the disk fails')


def test_a_relation_no_longer_takes_what_somebody_rejected(
    tmp_path: Path,
) -> None:
    # (0, 0, 9) alone says that the first relation takes what the second does.
    rows = [(h, 0, t) for h in range(5) for t in (5, 6) if (h, t) != (4, 6)]
    rows += [(0, 0, 9), (7, 1, 9), (8, 1, 9), (7, 1, 8)]
    base = Completer(
        Parts(
            student=ComplEx(EntityEmbedding(10, 4, scale=1.0), 2),
            graph=KG(make_data(10, 2, Triples.of(rows))),
            entities=Vocabulary([f'e{at}' for at in range(10)]),
            relations=Vocabulary(['r0', 'r1'], what='relation'),
            calibration=Calibration.none(2),
        )
    )
    path = tmp_path / 'review.jsonl'
    with TestClient(make_app(base, path), base_url=HOME) as client:
        assert len(told(client, head='e4', relation='r0')) == 3
        assert len(client.get('/api/proposals?relation=r0').json()) > 1
        said = {'head': 0, 'relation': 0, 'tail': 9, 'verdict': 'reject'}
        assert client.post('/api/decisions', json=said).status_code == 200
        assert told(client, head='e4', relation='r0') == [('e6', 1.0, False)]
        shown = client.get('/api/proposals?relation=r0').json()
        again = base.with_review(path).complete('r0')
        assert [tuple(x['id']) for x in shown] == [x.id for x in again]
        assert [x.id for x in again] == [(4, 0, 6)]


def test_sites_of_one_folder_heed_each_other(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / 'review.jsonl'
    first, second, third = Completer.load(folder).complete('calls at')[:3]
    with TestClient(make_app(folder), base_url=HOME) as other:

        def open_(one: TestClient) -> set[tuple[int, ...]]:
            asked = {'relation': 'calls at'}
            rows = one.get('/api/proposals', params=asked).json()
            return {tuple(row['id']) for row in rows}

        assert open_(client) == open_(other) >= {first.id, second.id}
        begun: list[bytes] = []
        start = Asked._start

        def count(state: Asked, content: bytes) -> None:
            begun.append(content)
            start(state, content)

        monkeypatch.setattr(Asked, '_start', count)
        decided(client, first, 'reject')
        rows = told(other, head=first.head, relation='calls at')
        assert first.tail not in [name for name, *_ in rows]
        assert first.id not in open_(other)
        decided(other, second, 'accept')
        assert second.id not in open_(other)
        # A program writes into the file as well.
        words = third.head, third.relation, third.tail, 'reject', ''
        Review(path).decide(*words)
        left = open_(client)
        assert left == open_(other)
        assert not left & {first.id, second.id, third.id}
        odds = [
            [
                row['probability']
                for row in x.get(
                    '/api/proposals', params={'relation': 'calls at'}
                ).json()
            ]
            for x in (client, other)
        ]
        assert odds[0] == pytest.approx(odds[1])
        # Half a line is heeded when it is whole, and no line is read twice.
        line = json.dumps({**asdict(first), 'verdict': 'unsure'}) + '\n'
        with path.open('a') as file:
            file.write(line[:30])
            file.flush()
            assert first.id not in open_(client) | open_(other)
            file.write(line[30:])
        assert first.id in open_(client) & open_(other)
        assert not begun
        # A disk that fails once is asked again.
        with monkeypatch.context() as patch:
            patch.setattr(Review, 'content', fails)
            Review(path).decide(*words[:3], 'unsure', '')
            assert third.id not in open_(client)
        assert third.id in open_(client) & open_(other)
        # An edit in place has as many letters.
        text = path.read_text()
        path.write_text(text.replace('"accept"', '"reject"'))
        assert second.id not in open_(client) | open_(other)
        assert Completer.load(folder).with_review(path).complete('calls at')
        assert begun
        # Somebody takes decisions out, or the whole file.
        path.write_text(line.replace('unsure', 'reject'))
        assert first.id not in open_(client) | open_(other)
        assert {second.id, third.id} <= open_(client) & open_(other)
        path.unlink()
        every = {first.id, second.id, third.id}
        assert every <= open_(client) & open_(other)


@pytest.mark.parametrize('side', ['head', 'tail'])
def test_a_relation_takes_what_somebody_accepted(
    client: TestClient, folder: Path, side: str
) -> None:
    model = Completer.load(folder)
    row = model.complete('calls at')[0]
    ends = {'head': row.head, 'tail': row.tail, side: None}
    asked = ends['head'], 'calls at', ends['tail']
    takes = {x.name for x in model.answer(*asked, k=100, known=True)}
    every = model.answer(*asked, k=100, among='all')
    other = next(x.name for x in every if x.name not in takes)
    client.get('/api/proposals', params={'relation': 'calls at'})
    decided(client, replace(row, **{side: other}), 'accept')
    again = Completer.load(folder).with_review(folder / 'review.jsonl')
    rows = client.get('/api/proposals', params={'relation': 'calls at'})
    expected = {x.id for x in again.complete('calls at')}
    assert {tuple(x['id']) for x in rows.json()} == expected
    assert expected - {x.id for x in model.complete('calls at')}


def test_why_heeds_the_last_decision(folder: Path) -> None:
    row = Completer.load(folder).complete('calls at')[0]
    words = {'head': row.head, 'relation': row.relation, 'tail': row.tail}
    h, r, t = row.id
    for first, last in (
        ('accept', 'reject'),
        ('reject', 'accept'),
        ('accept', 'unsure'),
    ):
        for verdict in (first, last):
            # Each time the site begins with what was said before.
            with TestClient(make_app(folder), base_url=HOME) as client:
                said = {**words, 'verdict': verdict}
                reply = client.post('/api/decisions', json=said)
                assert reply.status_code == 200
                page = client.get(f'/why?head={h}&relation={r}&tail={t}').text
            has = 'The graph has this triple' in page
            assert has == (verdict == 'accept'), (first, verdict)
            assert f'You said: {verdict}' in page


def test_one_triple_of_two_names(folder: Path) -> None:
    model = Completer.load(folder)
    row = model.complete('calls at')[0]
    review = Review(folder / 'review.jsonl')
    tail = model.entities.keys[row.id[2]].upper()
    for name, verdict in (
        (row.tail, 'accept'),
        (tail, 'accept'),
        (row.tail, 'reject'),
    ):
        review.decide(row.head, row.relation, name, verdict, '')
    app = make_app(folder)
    assert app.state.asked.decided == {row.id: 'reject'}
    with TestClient(app, base_url=HOME) as client:
        [kept] = client.get('/api/decisions').json()
        assert kept['verdict'] == 'reject'
        by_id = client.get(f'/api/proposals?relation={row.id[1]}').json()
        assert by_id == client.get('/api/proposals?relation=calls at').json()
        assert client.get('/api/proposals?relation=99').status_code == 404


def test_proposals_of_all_relations(
    folder: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Completer.load(folder)
    every = model.complete()
    page = client.get('/proposals').text
    assert '<option value="">all relations' in page
    assert f'{every[0].probability:.3f}' in page
    shown = re.findall(
        r'why\?head=(\d+)&amp;relation=(\d+)&amp;tail=(\d+)', page
    )
    ids = [tuple(map(int, each)) for each in shown]
    assert ids == [row.id for row in every[:50]]
    one = client.get('/proposals?relation=1').text
    assert set(re.findall(r'amp;relation=(\d+)', one)) <= {'1'}
    one = client.get('/proposals?relation=0').text
    assert set(re.findall(r'amp;relation=(\d+)', one)) == {'0'}
    # Of many questions only those of a relation are asked.
    monkeypatch.setattr('dsom_pyg.pages.asked.MANY', 3)
    with TestClient(make_app(folder), base_url=HOME) as again:
        page = again.get('/proposals').text
        assert 'all relations' not in page
        assert ' selected>' in page
    assert client.get('/proposals?relation=far').status_code == 404
    assert client.get('/proposals?order=alphabetic').status_code == 422


def test_of_many_decisions_the_last_are_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = Review(folder / 'review.jsonl')
    for at in range(5):
        review.decide(f'ship {at}', 'calls at', 'Arnel', 'accept', '')
    monkeypatch.setattr('dsom_pyg.pages.site.SHOWN', 2)
    with pytest.warns(UserWarning, match='the decision is left out'):
        app = make_app(folder)
    with TestClient(app, base_url=HOME) as client:
        page = client.get('/review').text
    assert '5 triples, kept' in page
    assert 'The last 2; the file has all.' in page
    assert [at for at in range(5) if f'ship {at}' in page] == [3, 4]


def test_an_entity_by_its_name(client: TestClient) -> None:
    found = client.get('/api/entities', params={'name': 'Arnel'})
    at = found.json()['id']
    assert found.json() == client.get(f'/api/entities/{at}').json()
    missing = client.get('/api/entities', params={'name': 'Nowhere'})
    assert missing.status_code == 404


def test_search_without_accents() -> None:
    assert folded('Málaga') == folded('MALAGA') == 'malaga'
    assert folded('Straße') == folded('STRASSE')
    assert folded('عدن') == 'عدن'
    assert folded('Acme™ № 5') == 'acmetm no 5'


def test_clients_are_answered_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_app(folder).state.asked
    model = state.model
    size = model.graph.num_entities
    asked = [
        QuestionList(
            questions=[
                Question(head=at, relation=0),
                Question(relation='calls at', tail=at),
            ],
            k=1 + at % 4,
            known=at % 3 == 0,
            any_kind=at % 2 == 0,
        )
        for at in range(size)
    ]
    alone = [state.answers(state.read(each)) for each in asked]
    for each, rows in zip(asked, alone, strict=True):
        for question, found in zip(each.questions, rows, strict=True):
            words = question.head, question.relation, question.tail
            expected = model.answer(
                *words,
                k=each.k,
                known=each.known,
                among='all' if each.any_kind else None,
            )
            assert [x['id'] for x in found] == [x.id for x in expected]
    calls = []
    once = state.answers
    monkeypatch.setattr(
        state, 'answers', lambda every: calls.append(every) or once(every)
    )

    async def ask() -> list[Any]:
        together = Together(state)
        tasks = [
            asyncio.create_task(together.ask(state.read(each)))
            for each in asked
        ]
        # The first one goes away before it is answered.
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks[1:])

    found = asyncio.run(ask())
    assert len(calls) == 1
    for one, other in zip(found, alone[1:], strict=True):
        assert [[x['id'] for x in rows] for rows in one] == [
            [x['id'] for x in rows] for rows in other
        ]

    def fail(every: object) -> None:
        raise FloatingPointError('no answer')

    monkeypatch.setattr(state, 'answers', fail)
    with pytest.raises(FloatingPointError):
        asyncio.run(ask())


def test_a_port_that_is_taken_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf'port {port} .*--port'):
            serve(folder, port=port)
    # No address is told where nobody answers.
    assert 'http' not in capsys.readouterr().out


def test_what_cannot_be_kept_is_not_confirmed(
    folder: Path, tmp_path: Path
) -> None:
    # A folder stands where the file should be.
    (tmp_path / 'taken').mkdir()
    app = make_app(folder, tmp_path / 'taken' / 'review.jsonl')
    (tmp_path / 'taken' / 'review.jsonl').mkdir()
    said = {'head': 0, 'relation': 0, 'tail': 6, 'verdict': 'reject'}
    with TestClient(app, base_url=HOME) as client:
        before = client.get('/entity/0').text
        program = client.post('/api/decisions', json=said)
        assert 'not kept' in program.json()['detail']
        person = client.post('/decide', data=said)
        assert '<p>not kept: ' in person.text
        assert program.status_code == person.status_code == 507
        assert client.get('/entity/0').text == before


@pytest.mark.parametrize(
    'back',
    ['http://evil.example', '//evil.example', '//[', '/\\evil', 'x', ''],
)
def test_nobody_is_sent_elsewhere(client: TestClient, back: str) -> None:
    form = {'head': 0, 'relation': 0, 'tail': 6, 'verdict': 'unsure'}
    reply = client.post(
        '/decide', data={**form, 'back': back}, follow_redirects=False
    )
    assert reply.headers['location'] == '/'


def test_a_relation_that_is_called_as_another_turned() -> None:
    parts = Parts(
        student=ComplEx(EntityEmbedding(2, 2), 2),
        graph=KG(make_data(2, 2, Triples.of([(0, 0, 1), (1, 1, 0)]))),
        entities=Vocabulary(['p4', 'c4']),
        relations=Vocabulary(['capital of', 'capital'], what='relation'),
        calibration=Calibration.none(2),
    )
    facts = Asked(Completer(parts), None).facts(0)
    assert [*facts] == ['capital of', 'capital of (as tail)']
    assert [len(each) for each in facts.values()] == [1, 1]


def test_suspects_that_were_decided_are_gone(client: TestClient) -> None:
    first = client.get('/api/suspects?k=3').json()
    assert len(first) == 3
    said = {key: first[0][key] for key in ('head', 'relation', 'tail')}
    client.post('/api/decisions', json={**said, 'verdict': 'accept'})
    left = client.get('/api/suspects?k=3').json()
    assert first[0]['id'] not in [each['id'] for each in left]
    # Accepted it stays a fact; rejected it is none any more.
    page = f'/api/entities/{first[0]["id"][0]}'

    def tails() -> list[str]:
        facts = client.get(page).json()['facts']
        return [x['name'] for x in facts.get(said['relation'], [])]

    assert said['tail'] in tails()
    client.post('/api/decisions', json={**said, 'verdict': 'reject'})
    assert said['tail'] not in tails()


def test_lists_go_on_when_they_were_decided(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the model has more to say, there is more."""
    monkeypatch.setattr('dsom_pyg.pages.asked.FOUND', 1)
    monkeypatch.setattr('dsom_pyg.pages.asked.PROPOSALS', 3)
    monkeypatch.setattr('dsom_pyg.pages.asked.FACTS', 1)
    monkeypatch.setattr('dsom_pyg.pages.site.FACTS', 1)
    monkeypatch.setattr('dsom_pyg.pages.asked.DEPTH', 1)
    model = Completer.load(folder)
    elie = model.entities.id('Elie')
    every = {
        'suspects?k=2': {row.id for row in model.suspects(1000)},
        'proposals?relation=calls at': {x.id for x in model.complete(k=99)},
        f'entity/{elie}': {
            row.id for row in model.complete(entities=['Elie'], k=99)
        },
    }
    assert min(map(len, every.values())) > 2
    for address, expected in every.items():
        (folder / 'review.jsonl').unlink(missing_ok=True)
        seen = set()
        with TestClient(make_app(folder), base_url=HOME) as client:
            while True:
                if address.startswith('entity'):
                    # Behind the facts.
                    page = client.get(address).text.partition('Proposed')[2]
                    found = re.findall(r'head=(\d+).*?n=(\d+).*?l=(\d+)', page)
                    shown = [tuple(map(int, ids)) for ids in found]
                else:
                    rows = client.get(f'/api/{address}').json()
                    shown = [tuple(row['id']) for row in rows]
                if not shown:
                    break
                assert not {*shown} & seen
                for h, r, t in shown:
                    said = {'head': h, 'relation': r, 'tail': t}
                    said['verdict'] = 'reject'
                    client.post('/api/decisions', json=said)
                seen |= {*shown}
        assert seen == expected, address


def test_words_that_nobody_knows_are_refused(client: TestClient) -> None:
    said = {'head': 0, 'relation': 0, 'tail': 6, 'verdict': 'accept'}
    for wrong in ({'head': True}, {'tail': 1.0}, {'comment': 'x'}):
        reply = client.post('/api/decisions', json={**said, **wrong})
        assert reply.status_code == 422, wrong
    assert client.get('/api/decisions').json() == []
    question = {'relation': 0, 'head': 0}
    for wrong in ({'K': 3}, {'questions': [{**question, 'k': 3}]}):
        asked = {'questions': [question], **wrong}
        assert client.post('/api/answers', json=asked).status_code == 422


def test_why_tells_the_belief_of_who_did_not_see_it(
    client: TestClient, folder: Path
) -> None:
    model = Completer.load(folder)
    row = model.suspects(1)[0]
    h, r, t = row.id
    page = client.get(f'/why?head={h}&relation={r}&tail={t}').text
    assert f'believe it {row.belief:.2f}' in page
    h, r, t = model.complete()[0].id
    page = client.get(f'/why?head={h}&relation={r}&tail={t}').text
    assert 'believe it' not in page
    assert 'were trained with' not in page
    # Those that teachers have learned from, and those of other splits.
    known = model.graph.index('train')
    for each in model.suspects(99):
        h, r, t = each.id
        tails = known.lookup(torch.tensor([h]), torch.tensor([r])).tail
        page = client.get(f'/why?head={h}&relation={r}&tail={t}').text
        assert ('were trained with' in page) == (t in tails.tolist())
    # Also of one on which somebody has decided, when the site starts again.
    names = model.entities.names, model.relations_known.names
    h, r, t = row.id
    words = names[0][h], names[1][r], names[0][t]
    Review(folder / 'review.jsonl').decide(*words, 'accept', '')
    with TestClient(make_app(folder), base_url=HOME) as again:
        page = again.get(f'/why?head={h}&relation={r}&tail={t}').text
    assert f'believe it {row.belief:.2f}' in page


def test_what_is_not_there(client: TestClient) -> None:
    for page in (
        '/entity/999',
        '/entity/-1',
        '/picture/999',
        '/proposals?relation=9',
        '/why?head=0&relation=9&tail=0',
        '/api/entities/999',
        '/nothing',
    ):
        found = client.get(page)
        assert found.status_code == 404, page
        assert found.headers['content-security-policy'], page
        # Who looks at a page reads one, and may search on.
        as_page = found.headers['content-type'].startswith('text/html')
        assert as_page == ('<nav>' in found.text) == ('/api/' not in page)
    found = client.get('/entity/%3Cb%3E')
    assert found.status_code == 422
    assert 'at: Input should be a valid integer' in found.text
    assert client.get('/api/entities/x').json()['detail'][0]['loc'][-1] == 'at'
    about = client.get('/openapi.json').json()
    assert set(about['paths']) == {
        '/api/answers',
        '/api/decisions',
        '/api/entities',
        '/api/entities/{at}',
        '/api/proposals',
        '/api/search',
        '/api/suspects',
    }


SPACE = Path(__file__).parents[2] / 'examples' / 'space' / 'app.py'


def space_app() -> Any:
    spec = spec_from_file_location('space_app', SPACE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.site()


def test_a_space_shows_the_site_and_takes_no_decision(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By its name on the hub, which is not reached from here.
    asked = []

    def from_pretrained(name: str) -> Completer:
        asked.append(name)
        return Completer.load(folder)

    monkeypatch.setattr(Completer, 'from_pretrained', from_pretrained)
    monkeypatch.setenv('DSOM_MODEL', 'me/ships')
    monkeypatch.setenv('SPACE_HOST', 'me-ships.hf.space')
    (folder / 'review.jsonl').write_text('no decision\n')
    app = space_app()
    assert asked == ['me/ships']
    home = 'https://me-ships.hf.space'
    with TestClient(app, base_url=home) as client:
        for page in ('/', '/proposals', '/suspects', '/entity/0', '/docs'):
            found = client.get(page)
            assert found.status_code == 200, page
            assert 'review' not in found.text
            assert '<form method="post"' not in found.text
            policy = found.headers['content-security-policy']
            assert policy.endswith('frame-ancestors *')
        said = {'head': 0, 'relation': 0, 'tail': 1, 'verdict': 'accept'}
        assert client.post('/decide', data=said).status_code == 404
        assert client.post('/api/decisions', json=said).status_code == 404
        assert client.get('/api/decisions').status_code == 404
        assert client.get('/review').status_code == 404
        words = {'questions': [{'head': 0, 'relation': 0}]}
        here = {'origin': home, 'sec-fetch-site': 'same-origin'}
        found = client.post('/api/answers', json=words, headers=here)
        assert found.json()['answers'][0]
        there = {'origin': 'https://elsewhere.example'}
        found = client.post('/api/answers', json=words, headers=there)
        assert found.status_code == 403
        found = client.get('/', headers={'host': 'elsewhere.example'})
        assert found.status_code == 400


def test_a_space_shows_a_folder_to_its_own_machine(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('DSOM_MODEL', raising=False)
    with pytest.raises(SystemExit, match='DSOM_MODEL'):
        space_app()
    monkeypatch.setenv('DSOM_MODEL', str(folder))
    with TestClient(space_app(), base_url='http://localhost:7860') as client:
        found = client.get('/proposals')
        assert found.status_code == 200
        assert '<form method="post"' not in found.text
        found = client.get('/', headers={'host': 'me-ships.hf.space'})
        assert found.status_code == 400


def test_what_goes_wrong_is_described(client: TestClient) -> None:
    about = client.get('/openapi.json').json()
    told = about['components']['schemas']['Told']['properties']['detail']
    kinds = {each['type'] for each in told['anyOf']}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ('get', '/api/proposals', {'params': {'relation': 'nobody'}}),
        ('get', '/api/suspects', {'params': {'k': 0}}),
        ('post', '/api/answers', {'json': {'questions': [{'relation': 0}]}}),
        ('post', '/api/decisions', {'json': {'head': 0}}),
    ]
    seen = set()
    for method, path, words in asked:
        reply = client.request(method, path, **words)
        known = about['paths'][path][method]['responses']
        schema = known[str(reply.status_code)]['content']['application/json']
        assert schema['schema']['$ref'].endswith('/Told')
        kind = {str: 'string', list: 'array'}[type(reply.json()['detail'])]
        assert kind in kinds
        seen.add((reply.status_code, kind))
    assert seen == {(404, 'string'), (422, 'array'), (422, 'string')}
