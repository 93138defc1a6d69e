"""A local web server and a small mirror, so that no test needs a network."""

import builtins
import hashlib
import io
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dsom_pyg.datasets.benchmarks.download import Source


@dataclass
class Site:
    address: str = ''
    answers: dict[str, tuple[bytes, int, int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def answer(
        self,
        path: str,
        body: bytes,
        status: int = 200,
        promised: int | None = None,
    ) -> None:
        length = len(body) if promised is None else promised
        self.answers[path] = (body, status, length)


class Server(ThreadingHTTPServer):
    # A client that has seen enough hangs up, which is no error.
    def handle_error(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def without_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('DSOM_PYG_MIRROR', raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            body, status, length = state.answers.get(
                self.path, (b'no', 404, 2)
            )
            self.send_response(status)
            self.send_header('Content-Length', str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = Server(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.address = f'http://127.0.0.1:{server.server_port}'
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


Publish = Callable[[Mapping[str, str | bytes]], dict[str, Source]]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put files into a mirror and tell their sources."""

    def put(files: Mapping[str, str | bytes]) -> dict[str, Source]:
        mirror = tmp_path / 'mirror'
        monkeypatch.setenv('DSOM_PYG_MIRROR', str(mirror))
        sources = {}
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            path = mirror / 'data.example' / 'x' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            sources[name] = Source(
                f'https://data.example/x/{name}',
                hashlib.sha256(data).hexdigest(),
                len(data),
            )
        return sources

    return put


@pytest.fixture
def only_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe or a device fails, where it would else wait or read for
    ever.
    """

    def guarded(opens: Any) -> Any:
        def guard(path: Any, *words: Any, **options: Any) -> Any:
            # An opener opens nothing before it calls `os.open`.
            if 'opener' not in options and os.path.exists(path):
                mode = os.stat(path).st_mode
                assert not stat.S_ISFIFO(mode), f'{path} was opened'
                assert not stat.S_ISCHR(mode), f'{path} was opened'
            return opens(path, *words, **options)

        return guard

    for place in (builtins, io, os):
        monkeypatch.setattr(place, 'open', guarded(place.open))


@pytest.fixture
def refusing(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Path, int], AbstractContextManager[None]]:
    """All that changes something below a folder raises an error of a number.
    Root may write everywhere, so modes of files would not do.
    """

    @contextmanager
    def refuse(root: Path, number: int) -> Iterator[None]:
        def guarded(does: Any) -> Any:
            def guard(path: Path, *words: Any, **options: Any) -> Any:
                # There is such a folder, or no such file.
                name, there = does.__name__, path.exists()
                idle = there if name == 'mkdir' else not there
                idle &= name in ('mkdir', 'unlink')
                if path.is_relative_to(root) and not idle:
                    raise OSError(number, os.strerror(number), str(path))
                return does(path, *words, **options)

            return guard

        make = tempfile.mkdtemp

        def guarded_make(suffix: str, prefix: str, folder: Path) -> str:
            if Path(folder).is_relative_to(root):
                raise OSError(number, os.strerror(number), str(folder))
            return make(suffix, prefix, folder)

        with monkeypatch.context() as patch:
            patch.setattr(tempfile, 'mkdtemp', guarded_make)
            for name in ('mkdir', 'touch', 'unlink', 'write_bytes'):
                patch.setattr(Path, name, guarded(getattr(Path, name)))
            yield

    return refuse
