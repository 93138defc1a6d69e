"""A local site: ask a model, see why, and decide what it proposes.

It is made for one person at one machine. It answers to local names alone,
refuses what other sites send, loads nothing from elsewhere, and writes nothing
but decisions. Where it is shown to others, nobody decides.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import torch
from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
)
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dsom_pyg import __version__
from dsom_pyg.completion import (
    Completer,
    Decision,
    Proposal,
    Review,
    UnknownNameError,
)
from dsom_pyg.completion.review import FILE, VERDICTS, Judged
from dsom_pyg.graph import Triples
from dsom_pyg.pages.render import image_bytes, render

HOSTS = ('127.0.0.1', 'localhost', '[::1]')
# Nothing is loaded from elsewhere, and no page of another site may hold one.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)
# Bytes of a request, questions in it, and answers to each.
LARGEST, QUESTIONS, ANSWERS = 2**20, 1000, 1000
PROPOSALS, FACTS, FOUND, NEIGHBOURS, DEPTH = 1000, 50, 20, 14, 10
# Questions about all relations that are asked at once, some seconds' worth.
MANY = 10_000
# Decisions on the page of the review.
SHOWN = 300
# Seconds that a question waits for others.
PATIENCE = 0.002
Verdict = Literal['accept', 'reject', 'unsure']
Ids = tuple[int, int, int]
# Not True, which Python counts as 1.
Word = StrictStr | StrictInt


class Asking(BaseModel):
    """What a program sends; a word that nobody knows is refused."""

    model_config = ConfigDict(extra='forbid')


class Question(Asking):
    """(head, relation, ?) or (?, relation, tail)."""

    relation: Word
    head: Word | None = None
    tail: Word | None = None


class Questions(Asking):
    """Several questions."""

    questions: Annotated[list[Question], Field(max_length=QUESTIONS)]
    k: Annotated[int, Field(ge=1, le=ANSWERS)] = 10
    known: bool = False
    any_kind: bool = False


class Judgement(Asking):
    """What somebody says of a triple."""

    head: Word
    relation: Word
    tail: Word
    verdict: Verdict


class Wanted(NamedTuple):
    r"""A question by ids."""

    end: int
    rel: int
    at_head: bool
    k: int
    known: bool
    any_kind: bool

    @property
    def given(self) -> tuple[int | None, int, int | None]:
        r"""Head, relation and tail, as far as they are given."""
        ends = (None, self.end) if self.at_head else (self.end, None)
        return ends[0], self.rel, ends[1]


class Asked:
    r"""A model and what was decided since.

    What it answers is sifted by the decisions, and how probable proposals are
    is told by them: a model that heeds them,
    :meth:`~dsom_pyg.completion.Completer.with_review`, would have to be made
    anew for each. It is made when the site starts.

    Args:
        base: The model, as it was trained.
        review: Where decisions are kept; :obj:`None` if nobody decides.
    """

    def __init__(self, base: Completer, review: Review | None) -> None:
        self.base, self.review = base, review
        # What was decided before; what is decided now is sifted.
        self.model = base if review is None else base.with_review(review)
        self.lock = Lock()
        self.decided: dict[Ids, str] = {}
        # What was claimed of proposals that were decided on.
        self.claims: dict[Ids, float] = {}
        # How many answers to a question were decided on, by what is given.
        self.counts: Counter[tuple[int | None, int, int | None]] = Counter()
        # How many triples of a relation, and of an entity, were.
        self.of_relation: Counter[int | None] = Counter()
        self.of_entity: Counter[int] = Counter()
        # How many at most of one question about it.
        self.deepest: Counter[tuple[str, int | None]] = Counter()
        for each in self.last():
            ids = self.ids_if_known(each)
            if ids is not None:
                self._heed(ids, each.verdict)
        self.claims |= base.claims(Triples.of(self.decided))
        self._learn()
        self._proposals = lru_cache(64)(self._propose)
        self._about = lru_cache(256)(self._propose_about)

    def last(self) -> list[Decision]:
        r"""The decisions that hold, each triple once."""
        return [] if self.review is None else [*self.review.last().values()]

    def ids(self, head: Word, relation: Word, tail: Word) -> Ids:
        r"""Ids of what is called so."""
        ends, links = self.model.entities, self.model.relations_known
        return ends.id(head), links.id(relation), ends.id(tail)

    def ids_if_known(self, each: Decision) -> Ids | None:
        r"""Those of a decision, which may be of another state of the graph."""
        try:
            return self.ids(each.head, each.relation, each.tail)
        except UnknownNameError:
            return None

    def page(self, template: str, **values: Any) -> HTMLResponse:
        r"""A page of the site."""
        parts = self.model.parts
        words = {
            'site': parts.about.get('dataset', 'a graph'),
            'links': self.links,
            'judged': parts.suspicion is not None,
            'deciding': self.review is not None,
            'decided': self.decided,
        }
        return HTMLResponse(render(template, **words, **values))

    def entity_id(self, at: int) -> int:
        r"""An id that somebody has written into an address."""
        if not 0 <= at < self.model.graph.num_entities:
            raise HTTPException(404, f'there is no entity {at}')
        return at

    def relation_id(self, at: int) -> int:
        r"""Likewise."""
        if not 0 <= at < self.model.graph.num_relations:
            raise HTTPException(404, f'there is no relation {at}')
        return at

    def relation_at(self, word: str) -> int:
        r"""Likewise, of what may be no number."""
        if not word.isdecimal() or not word.isascii():
            raise HTTPException(404, f'there is no relation {word!r}')
        return self.relation_id(int(word))

    def checked(self, head: int, relation: int, tail: int) -> Ids:
        r"""Likewise, those of a triple."""
        rel = self.relation_id(relation)
        return self.entity_id(head), rel, self.entity_id(tail)

    def decide(self, triple: Ids, verdict: str) -> Decision:
        r"""Keep a decision. When this returns, it is on the disk."""
        h, r, t = triple
        ends, links = self.model.entities, self.model.relations_known
        words = ends.labels[h], links.labels[r], ends.labels[t]
        assert self.review is not None  # nobody is asked otherwise
        with self.lock:
            # Whatever may fail does so before the decision is kept.
            claims = self.base.claims(Triples.of([triple]))
            made = self.review.decide(
                *words, verdict, self.model.graph.fingerprint
            )
            self._heed(triple, verdict)
            self.claims |= claims
            self._learn()
        return made

    def _heed(self, triple: Ids, verdict: str) -> None:
        if triple not in self.decided:
            h, r, t = triple
            self.counts[h, r, None] += 1
            self.counts[None, r, t] += 1
            self.of_relation.update((r, None))
            self.of_entity.update({h, t})
            deep = max(self.counts[h, r, None], self.counts[None, r, t])
            for what in (
                ('relation', r),
                ('relation', None),
                ('entity', h),
                ('entity', t),
            ):
                self.deepest[what] = max(self.deepest[what], deep)
        self.decided[triple] = verdict

    def _learn(self) -> None:
        said: dict[str, list[Ids]] = {verdict: [] for verdict in VERDICTS}
        for triple, verdict in self.decided.items():
            said[verdict].append(triple)
        yes, no = (Triples.of(said[verdict]) for verdict in VERDICTS[:2])
        self.odds = self.base.odds_by(Judged(yes, no), self.claims)

    def read(self, asked: Questions) -> list[Wanted]:
        r"""Questions by ids.

        Raises:
            UnknownNameError: Nothing is called so.
            ValueError: A question gives both ends, or none.
        """
        out = []
        for each in asked.questions:
            if (each.head is None) == (each.tail is None):
                raise ValueError('a question has a head or a tail, not both')
            rel = self.model.relations_known.id(each.relation)
            at_head = each.head is None
            end = each.tail if at_head else each.head
            other = self.model.entities.id(end if end is not None else 0)
            what = asked.k, asked.known, asked.any_kind
            out.append(Wanted(other, rel, at_head, *what))
        return out

    def answers(self, asked: Sequence[Wanted]) -> list[list[dict[str, Any]]]:
        r"""The best answers to each question, as decided: what was rejected
        is none, what was accepted is known. Questions of a kind are put to
        the model at once, which reads its table once for all of them.
        """
        out: list[list[dict[str, Any]]] = [[] for _ in asked]
        kinds: dict[tuple[bool, bool, bool], list[int]] = {}
        for at, each in enumerate(asked):
            kind = each.at_head, each.known, each.any_kind
            kinds.setdefault(kind, []).append(at)
        for (at_head, known, any_kind), places in kinds.items():
            some = [asked[at] for at in places]
            ends = [each.end for each in some]
            found: Any = self.model.answer(
                None if at_head else ends,
                [each.rel for each in some],
                ends if at_head else None,
                k=max(each.k + self.counts[each.given] for each in some),
                known=known,
                among='all' if any_kind else None,
            )
            for at, each, rows in zip(places, some, found, strict=True):
                out[at] = self._sifted(each, rows)
        return out

    def _sifted(self, asked: Wanted, rows: Sequence[Any]) -> list[Any]:
        out = []
        for answer in rows:
            ids = (asked.end, asked.rel, answer.id)
            if asked.at_head:
                ids = (answer.id, asked.rel, asked.end)
            said = self.decided.get(ids)
            known = answer.known or said == 'accept'
            if said != 'reject' and (asked.known or not known):
                out.append(
                    {
                        'name': answer.name,
                        'id': answer.id,
                        'probability': answer.probability,
                        'score': answer.score,
                        'known': known,
                    }
                )
            if len(out) == asked.k:
                break
        return out

    def proposals(self, relation: int | None) -> list[Proposal]:
        r"""Those of a relation, or of all, that are open. More are made before
        they run out.
        """
        times = 1 + self.of_relation[relation] // (PROPOSALS - FACTS)
        k = self._depth('relation', relation)
        return self.proposed(self._proposals(relation, times * PROPOSALS, k))

    def _depth(self, what: str, which: int | None) -> int:
        # How many answers to each question are looked at.
        return DEPTH * (1 + 2 * self.deepest[what, which] // DEPTH)

    def _propose(self, relation: int | None, limit: int, k: int) -> list[Any]:
        return list(self.model.complete(relation, k=k, limit=limit))

    @cached_property
    def few(self) -> bool:
        r"""Whether all relations can be asked about at once."""
        heads = map(self.model.ranges.heads, range(len(self.links)))
        return sum(int(each.sum()) for each in heads) <= MANY

    @property
    def most(self) -> int:
        r"""The relation of most triples."""
        return int(
            self.model.graph.triples('train').edge_type.bincount().argmax()
        )

    @property
    def links(self) -> list[str]:
        r"""What relations are called."""
        return self.model.relations_known.names

    def about(self, entity: int) -> list[Proposal]:
        r"""The best open ones about an entity."""
        times = 1 + self.of_entity[entity] // FOUND
        k = self._depth('entity', entity)
        rows = self._about(entity, times * 2 * FOUND, k)
        return self.proposed(rows)[:FOUND]

    def _propose_about(self, entity: int, limit: int, k: int) -> list[Any]:
        asked = [entity]
        return list(self.model.complete(entities=asked, k=k, limit=limit))

    def suspects(self, k: int) -> list[Any]:
        r"""The most suspicious open ones."""
        return self.open(self.model.suspects(k + len(self.decided)))[:k]

    def open(self, rows: Sequence[Any]) -> list[Any]:
        r"""Those on which nobody has decided, or somebody was unsure."""
        return [
            row
            for row in rows
            if self.decided.get(row.id, 'unsure') == 'unsure'
        ]

    def trained_with(self, triple: Ids) -> bool:
        r"""Whether the teachers and the student have seen a triple."""
        h, r, t = (torch.tensor([x]) for x in triple)
        known = self.base.graph.index('train').lookup(h, r)
        return bool((known.tail == t).any())

    def belief(self, triple: Ids) -> float | None:
        r"""How much a known triple is believed by who did not see it."""
        found = self.model.parts.suspicion
        if found is None:
            return None
        places = self._judged.get(triple)
        return None if places is None else float(found.belief[places])

    @cached_property
    def _judged(self) -> dict[Ids, int]:
        found = self.model.parts.suspicion
        part = found.triples if found is not None else Triples.of([])
        columns = part.head, part.edge_type, part.tail
        rows = zip(*(x.tolist() for x in columns), strict=True)
        return {ids: at for at, ids in enumerate(rows)}

    def proposed(self, rows: Sequence[Proposal]) -> list[Proposal]:
        r"""Those that are open, with probabilities that heed what was
        decided.
        """
        before, now = self.model.parts.odds, self.odds
        return [
            replace(row, probability=now.instead_of(before, row.probability))
            for row in self.open(rows)
        ]

    def search(self, text: str) -> list[tuple[int, str]]:
        r"""Entities whose names have a text in them, those that begin with it
        first, shorter ones before.
        """
        text = folded(text.strip())
        if not text:
            return []
        found = [at for at, name in enumerate(self.folded) if text in name]
        found.sort(
            key=lambda at: (
                not self.folded[at].startswith(text),
                len(self.folded[at]),
            )
        )
        names = self.model.entities.names
        return [(at, names[at]) for at in found[:FOUND]]

    @cached_property
    def folded(self) -> list[str]:
        r"""Names of entities, as they are searched."""
        return [folded(name) for name in self.model.entities.names]

    def facts(self, entity: int) -> dict[str, list[dict[str, Any]]]:
        r"""Known facts of an entity, by relation: as head, and as tail."""
        known, size = self.model.known, self.model.graph.num_relations
        rel = torch.arange(2 * size)
        found = known.lookup(torch.full_like(rel, entity), rel)
        out: dict[str, list[dict[str, Any]]] = {}
        names = self.model.entities.names
        for r, other in zip(
            found.row.tolist(), found.tail.tolist(), strict=True
        ):
            ids = (entity, r, other) if r < size else (other, r - size, entity)
            # A loop is found from both sides.
            twice = r >= size and other == entity
            if twice or self.decided.get(ids) == 'reject':
                continue
            out.setdefault(self._label(ids, entity), []).append(
                {'id': ids, 'other': other, 'name': names[other]}
            )
        for ids, verdict in list(self.decided.items()):
            if verdict != 'accept' or entity not in (ids[0], ids[2]):
                continue
            rows = out.setdefault(self._label(ids, entity), [])
            if all(row['id'] != ids for row in rows):
                other = ids[2] if ids[0] == entity else ids[0]
                rows.append({'id': ids, 'other': other, 'name': names[other]})
        return out

    def _label(self, triple: Ids, entity: int) -> str:
        word = self.model.relations_known.names[triple[1]]
        return word if triple[0] == entity else f'{word} of'


def folded(text: str) -> str:
    r"""Without case and accents: who types 'Malaga' finds 'Málaga'."""
    apart = unicodedata.normalize('NFKD', text.casefold())
    return ''.join(x for x in apart if not unicodedata.combining(x))


class Together:
    r"""Questions of several clients, answered at once: reading the table of
    entities takes most of the time of one, and is shared.

    It works in the loop of the server itself; threads would take turns.
    """

    def __init__(self, state: Asked) -> None:
        self.state = state
        self.waiting: list[tuple[list[Wanted], asyncio.Future[Any]]] = []

    async def ask(self, asked: list[Wanted]) -> list[list[dict[str, Any]]]:
        r"""The answers to each question of a client."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.waiting.append((asked, future))
        if len(self.waiting) == 1:
            # Others may have come while the last ones were answered.
            loop.call_later(PATIENCE, self._answer)
        found: list[list[dict[str, Any]]] = await future
        return found

    def _answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        every = [each for asked, _ in waiting for each in asked]
        try:
            found = iter(self.state.answers(every))
        except Exception as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for asked, future in waiting:
            mine = [next(found) for _ in asked]
            if not future.done():  # the client may be gone
                future.set_result(mine)


def make_app(
    model: str | Path | Completer,
    review: str | Path | None = None,
    port: int = 8765,
    public: Sequence[str] = (),
) -> FastAPI:
    r"""The site of a model.

    Args:
        model: The model, or its folder.
        review: Where decisions are kept. (default: ``review.jsonl`` in the
            folder; nobody decides about a model without one)
        port: Where it will be reached; pages of other ports are foreign.
        public: Names of hosts under which others may ask, too. Then nobody
            decides, and pages of others may show this one.
    """
    if not isinstance(model, Completer):
        folder = Path(model).expanduser()
        model, review = Completer.load(folder), review or folder / FILE
    kept = None if public or review is None else Review(review)
    state = Asked(model, kept)
    app = FastAPI(
        title='dsom_pyg',
        version=__version__,
        docs_url=None,
        redoc_url=None,
        description='Answers of a model, and decisions about triples.',
    )
    app.state.asked = state
    origins = {f'http://{host}:{port}' for host in HOSTS}
    origins |= {f'https://{host}' for host in public}
    _guard(app, origins, public)
    _add_pages(app, state)
    _add_api(app, state)
    if kept is not None:
        _add_decisions(app, state)
    return app


def _guard(app: FastAPI, origins: set[str], public: Sequence[str]) -> None:
    # Who frames a page on which one decides may make one decide unawares.
    policy = POLICY + ('*' if public else "'none'")
    here = sorted(origins)

    @app.middleware('http')
    async def guard(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        origin = request.headers.get('origin')
        site = request.headers.get('sec-fetch-site', 'same-origin')
        if request.method not in ('GET', 'HEAD') and (
            (origin is not None and origin not in origins)
            or site not in ('same-origin', 'none')
        ):
            told = f'a foreign page asks; this site is {", ".join(here)}'
            return JSONResponse({'detail': told}, 403)
        try:
            size = int(request.headers.get('content-length', '0'))
        except ValueError:
            size = LARGEST + 1
        if 'transfer-encoding' in request.headers:
            # Nobody knows how much would come.
            told = 'a request must say its length'
            return JSONResponse({'detail': told}, 411)
        if size > LARGEST:
            return JSONResponse({'detail': 'too large'}, 413)
        response = await go_on(request)
        response.headers['Content-Security-Policy'] = policy
        response.headers['X-Content-Type-Options'] = 'nosniff'
        response.headers['Referrer-Policy'] = 'same-origin'
        return response

    @app.exception_handler(UnknownNameError)
    async def unknown(_: Request, error: UnknownNameError) -> Response:
        return JSONResponse({'detail': str(error)}, 404)

    @app.exception_handler(OSError)
    async def unwritten(_: Request, error: OSError) -> Response:
        # A full disk, a file that may not be written: nothing was decided.
        return JSONResponse({'detail': f'not kept: {error}'}, 507)

    @app.exception_handler(ValueError)
    async def wrong(_: Request, error: ValueError) -> Response:
        return JSONResponse({'detail': str(error)}, 422)

    hosts = [host.strip('[]') for host in HOSTS]
    hosts += ['[::1]', *public]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)


def _add_pages(app: FastAPI, state: Asked) -> None:
    model = state.model
    names, links = model.entities.names, model.relations_known.names
    page = state.page

    @app.get('/', include_in_schema=False)
    def home(q: str = '') -> HTMLResponse:
        found = state.search(q)
        counts = model.graph.num_entities, model.graph.num_relations
        return page('home.html', q=q, found=found, counts=counts)

    @app.get('/entity/{at}', include_in_schema=False)
    def entity(at: int) -> HTMLResponse:
        state.entity_id(at)
        facts = state.facts(at)
        texts = model.parts.texts
        images = model.parts.images
        return page(
            'entity.html',
            at=at,
            name=names[at],
            texts=texts[at] if texts else [],
            # The files may have stayed on another machine.
            picture=bool(images) and any(map(os.path.isfile, images[at])),
            facts={k: v[:FACTS] for k, v in facts.items()},
            rest={k: max(0, len(v) - FACTS) for k, v in facts.items()},
            rows=state.about(at),
            around=_around(facts),
            back=f'/entity/{at}',
        )

    @app.get('/picture/{at}', include_in_schema=False)
    def picture(at: int) -> Response:
        images = model.parts.images
        found = image_bytes(images[state.entity_id(at)]) if images else None
        if found is None:
            raise HTTPException(404, 'there is no picture')
        return Response(found, media_type='image/jpeg')

    @app.get('/proposals', include_in_schema=False)
    def proposals(relation: str = '', order: str = 'probable') -> HTMLResponse:
        at: int | None = None
        if relation or not state.few:
            at = state.relation_at(relation or str(state.most))
        rows = state.proposals(at)
        if order == 'uncertain':
            rows.sort(key=lambda row: abs(row.probability - 0.5))
        return page(
            'proposals.html',
            at=at,
            few=state.few,
            order=order,
            rows=rows[:FACTS],
            back=f'/proposals?relation={relation}&order={order}',
        )

    @app.get('/suspects', include_in_schema=False)
    def suspects() -> HTMLResponse:
        rows = []
        if model.parts.suspicion is not None:
            rows = state.suspects(FACTS)
        return page('suspects.html', rows=rows, back='/suspects')

    @app.get('/why', include_in_schema=False)
    def why(head: int, relation: int, tail: int) -> HTMLResponse:
        ids = state.checked(head, relation, tail)
        back = f'/why?head={head}&relation={relation}&tail={tail}'
        found = model.explain(*ids)
        said = state.decided.get(ids)
        words = {
            'said': said,
            'trained': state.trained_with(ids),
            'belief': state.belief(ids),
            'back': back,
        }
        return page('why.html', found=found, ids=ids, **words)

    @app.get('/site.js', include_in_schema=False)
    def script() -> Response:
        text = files('dsom_pyg.pages').joinpath('templates/site.js')
        return Response(text.read_text(), media_type='text/javascript')

    @app.get('/docs', include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        part = model.graph.triples('train')
        ids = int(part.head[0]), int(part.edge_type[0])
        return page(
            'api.html',
            schema=app.openapi(),
            address=str(request.base_url).rstrip('/'),
            ids=ids,
            head=names[ids[0]],
            relation=links[ids[1]],
        )


def _around(
    facts: dict[str, list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    # Some neighbours on a circle, each once, each relation in turn.
    in_turn = zip_longest(*facts.values())
    labels = list(facts)
    chosen: dict[int, dict[str, Any]] = {}
    for rows in in_turn:
        for label, row in zip(labels, rows, strict=True):
            if row is not None:
                chosen.setdefault(row['other'], {**row, 'relation': label})
    out = list(chosen.values())[:NEIGHBOURS]
    for at, each in enumerate(out):
        angle = 2 * math.pi * at / len(out)
        each['x'] = round(300 + 190 * math.cos(angle))
        each['y'] = round(180 + 140 * math.sin(angle))
    return out


def _add_api(app: FastAPI, state: Asked) -> None:
    model = state.model

    @app.get('/api/search')
    def search(
        q: Annotated[str, Query(max_length=200)],
    ) -> list[dict[str, Any]]:
        """Entities whose names have a text in them."""
        return [{'id': at, 'name': name} for at, name in state.search(q)]

    together = Together(state)

    @app.post('/api/answers')
    async def answers(asked: Questions) -> dict[str, Any]:
        """The best answers to each of several questions."""
        return {'answers': await together.ask(state.read(asked))}

    @app.get('/api/entities')
    def named(name: str) -> dict[str, Any]:
        """What is known of an entity, by its name."""
        return entity(model.entities.id(name))

    @app.get('/api/entities/{at}')
    def entity(at: int) -> dict[str, Any]:
        """What is known of an entity."""
        state.entity_id(at)
        texts = model.parts.texts
        return {
            'id': at,
            'name': model.entities.names[at],
            'texts': texts[at] if texts else [],
            'facts': state.facts(at),
        }

    @app.get('/api/proposals')
    def proposals(relation: str) -> list[dict[str, Any]]:
        """Triples of a relation that the graph may lack."""
        at = model.relations_known.id(relation)
        return [_row(x) for x in state.proposals(at)]

    @app.get('/api/suspects')
    def suspects(
        k: Annotated[int, Query(ge=1, le=10_000)] = 20,
    ) -> list[dict[str, Any]]:
        """Known triples that may be wrong."""
        return [_row(x) for x in state.suspects(k)]


def _add_decisions(app: FastAPI, state: Asked) -> None:
    @app.get('/review', include_in_schema=False)
    def review() -> HTMLResponse:
        assert state.review is not None
        every = state.last()
        shown = [(x, state.ids_if_known(x)) for x in every[: -SHOWN - 1 : -1]]
        path = state.review.path
        words = {'rows': shown, 'count': len(every), 'back': '/review'}
        return state.page('review.html', path=path, **words)

    @app.post('/decide', include_in_schema=False)
    def chosen(
        head: Annotated[int, Form()],
        relation: Annotated[int, Form()],
        tail: Annotated[int, Form()],
        verdict: Annotated[Verdict, Form()],
        back: Annotated[str, Form()] = '/',
    ) -> RedirectResponse:
        ids = state.checked(head, relation, tail)
        state.decide(ids, verdict)
        # Back to a page of this site, and no other.
        parts = urlsplit(back)
        here = not parts.scheme and not parts.netloc
        safe = here and back.startswith('/') and back[1:2] not in '/\\'
        return RedirectResponse(back if safe else '/', 303)

    @app.get('/api/decisions')
    def decisions() -> list[Decision]:
        """What was decided, each triple once."""
        return state.last()

    @app.post('/api/decisions')
    def decide(said: Judgement) -> Decision:
        """Keep a decision; once answered, it is on the disk."""
        ids = state.ids(said.head, said.relation, said.tail)
        return state.decide(ids, said.verdict)


def _row(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__slots__}


def serve(
    folder: str | Path, review: str | Path | None = None, port: int = 8765
) -> None:
    r"""Serve the site on this machine until it is interrupted."""
    import uvicorn

    app = make_app(folder, review, port)
    with socket.socket() as probe:
        if os.name == 'posix':
            # What is left of a site that has just ended does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError as error:
            raise OSError(
                f'port {port} cannot be had ({error.strerror}); choose '
                'another one with --port'
            ) from None
    print(f'http://127.0.0.1:{port}/   (Ctrl-C ends it)', flush=True)
    uvicorn.run(app, host='127.0.0.1', port=port, log_level='warning')
