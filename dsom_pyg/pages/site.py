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
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
)
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from dsom_pyg import __version__
from dsom_pyg.completion import Completer, Decision, Review, UnknownNameError
from dsom_pyg.completion.review import FILE
from dsom_pyg.pages.asked import (
    FACTS,
    Asked,
    Judgement,
    QuestionList,
    Verdict,
    Wanted,
)
from dsom_pyg.pages.render import image_bytes, render

__all__ = ['make_app', 'serve']

HOSTS = ('127.0.0.1', 'localhost', '[::1]')
# Nothing is loaded from elsewhere, and no page of another site may hold one.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)
# Bytes of a request.
LARGEST = 2**20
# Entities around another one, and decisions on the page of the review.
NEIGHBOURS, SHOWN = 14, 300
# Seconds that a question waits for others.
PATIENCE = 0.002


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


class Heads:
    r"""Lets HEAD be answered as GET; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope.get('method') == 'HEAD':
            # A copy: from its own the server knows what was asked.
            scope = {**scope, 'method': 'GET'}
        await self.app(scope, receive, send)


class Told(BaseModel):
    r"""What was wrong: a sentence, or what is wrong with each field."""

    detail: str | list[dict[str, Any]]


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
        responses={
            404: {'model': Told, 'description': 'Nothing is called so.'},
            422: {'model': Told, 'description': 'It is no such question.'},
            507: {'model': Told, 'description': 'It could not be kept.'},
        },
    )
    app.state.asked = state
    origins = {f'http://{host}:{port}' for host in HOSTS}
    origins |= {f'https://{host}' for host in public}
    _guard(app, state, origins, public)
    _tell(app, state)
    _add_pages(app, state)
    _add_api(app, state)
    if kept is not None:
        _add_decisions(app, state)
    return app


def _guard(
    app: FastAPI, state: Asked, origins: set[str], public: Sequence[str]
) -> None:
    # Who frames a page on which one decides may make one decide unawares.
    policy = POLICY + ('*' if public else "'none'")
    here = sorted(origins)

    @app.middleware('http')
    async def guard(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        origin = request.headers.get('origin')
        site = request.headers.get('sec-fetch-site', 'same-origin')
        if request.method != 'GET' and (
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
        state.catch_up()
        response = await go_on(request)
        response.headers['Content-Security-Policy'] = policy
        response.headers['X-Content-Type-Options'] = 'nosniff'
        response.headers['Referrer-Policy'] = 'same-origin'
        return response

    hosts = [host.strip('[]') for host in HOSTS]
    hosts += ['[::1]', *public]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(Heads)


def _tell(app: FastAPI, state: Asked) -> None:
    # What went wrong, as a page or, for a program, as JSON.
    def told(request: Request, status: int, detail: Any) -> Response:
        if request.url.path.startswith('/api/'):
            return JSONResponse({'detail': detail}, status)
        page = _page(state, 'told.html', detail=detail)
        page.status_code = status
        return page

    @app.exception_handler(AnyHTTPException)
    async def missing(request: Request, error: AnyHTTPException) -> Response:
        return told(request, error.status_code, error.detail)

    @app.exception_handler(RequestValidationError)
    async def invalid(
        request: Request, error: RequestValidationError
    ) -> Response:
        every = error.errors()
        if request.url.path.startswith('/api/'):
            # Not what was given: it may be NaN, which JSON has no word for.
            words = 'type', 'loc', 'msg'
            detail = [{word: each[word] for word in words} for each in every]
            return told(request, 422, detail)
        lines = (f'{each["loc"][-1]}: {each["msg"]}' for each in every)
        return told(request, 422, '; '.join(lines))

    @app.exception_handler(UnknownNameError)
    async def unknown(request: Request, error: UnknownNameError) -> Response:
        return told(request, 404, str(error))

    @app.exception_handler(OSError)
    async def unwritten(request: Request, error: OSError) -> Response:
        # A full disk, a file that may not be written: nothing was decided.
        return told(request, 507, f'not kept: {error}')

    @app.exception_handler(ValueError)
    async def wrong(request: Request, error: ValueError) -> Response:
        return told(request, 422, str(error))


def _page(state: Asked, template: str, **values: Any) -> HTMLResponse:
    parts = state.model.parts
    words = {
        'site': parts.about.get('dataset', 'a graph'),
        'links': state.links,
        'judged': parts.suspicion is not None,
        'deciding': state.review is not None,
        'decided': state.decided,
    }
    return HTMLResponse(render(template, **words, **values))


def _add_pages(app: FastAPI, state: Asked) -> None:
    # What a decision leaves as it is; what it may change is the state's.
    model = state.base
    names, links = model.entities.names, model.relations_known.names
    page = partial(_page, state)

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
    def proposals(
        relation: str = '',
        order: Literal['probable', 'uncertain'] = 'probable',
    ) -> HTMLResponse:
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
        if state.model.parts.suspicion is not None:
            rows = state.suspects(FACTS)
        return page('suspects.html', rows=rows, back='/suspects')

    @app.get('/why', include_in_schema=False)
    def why(head: int, relation: int, tail: int) -> HTMLResponse:
        ids = state.checked(head, relation, tail)
        back = f'/why?head={head}&relation={relation}&tail={tail}'
        found = state.explain(ids)
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
    model = state.base

    @app.get('/api/search')
    def search(
        q: Annotated[str, Query(max_length=200)],
    ) -> list[dict[str, Any]]:
        """Entities whose names have a text in them."""
        return [{'id': at, 'name': name} for at, name in state.search(q)]

    together = Together(state)

    @app.post('/api/answers')
    async def answers(asked: QuestionList) -> dict[str, Any]:
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
        """Triples of a relation, by name or id, that the graph may lack."""
        try:
            at = model.relations_known.id(relation)
        except UnknownNameError:
            if not relation.isdecimal():
                raise
            at = state.relation_at(relation)
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
        return _page(state, 'review.html', path=path, **words)

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
        return RedirectResponse(back if _is_here(back) else '/', 303)

    @app.get('/api/decisions')
    def decisions() -> list[Decision]:
        """What was decided, each triple once."""
        return state.last()

    @app.post('/api/decisions')
    def decide(said: Judgement) -> Decision:
        """Keep a decision; once answered, it is on the disk."""
        ids = state.ids(said.head, said.relation, said.tail)
        return state.decide(ids, said.verdict)


def _is_here(address: str) -> bool:
    # Whether it is a page of this site, and no other.
    try:
        parts = urlsplit(address)
    except ValueError:  # it is no address
        return False
    here = not parts.scheme and not parts.netloc
    return here and address.startswith('/') and address[1:2] not in '/\\'


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
