import errno
import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dsom_pyg.datasets.benchmarks import download
from dsom_pyg.datasets.benchmarks.download import Source, fetch
from dsom_pyg.datasets.errors import DatasetError

GOOD = b'what is published' * 1000
SHA = hashlib.sha256(GOOD).hexdigest()


def good(url: str) -> Source:
    return Source(url, SHA, len(GOOD))


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def test_good_file_appears_alone(site: Any, tmp_path: Path) -> None:
    site.answer('/a.txt', GOOD)
    path = tmp_path / 'raw' / 'a.txt'
    fetch(good(f'{site.address}/a.txt'), path)
    assert path.read_bytes() == GOOD
    assert names(path.parent) == ['a.txt']


def test_existing_file_is_verified_and_reused(
    site: Any, tmp_path: Path
) -> None:
    path = tmp_path / 'a.txt'
    path.write_bytes(GOOD)
    fetch(good(f'{site.address}/a.txt'), path)
    assert site.requests == []


def test_existing_wrong_file_is_replaced(site: Any, tmp_path: Path) -> None:
    site.answer('/a.txt', GOOD)
    path = tmp_path / 'a.txt'
    path.write_bytes(GOOD[:-1])
    fetch(good(f'{site.address}/a.txt'), path)
    assert path.read_bytes() == GOOD
    assert names(tmp_path) == ['a.txt']


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        ({'body': GOOD[:500], 'promised': len(GOOD)}, '500 bytes|broke off'),
        ({'body': GOOD[:-1] + b'!'}, SHA),
        ({'body': b'<html>log in</html>'}, SHA),
        ({'body': b'<html>no</html>', 'status': 403}, '403'),
        ({'body': GOOD * 500}, SHA),
        ({'body': b''}, SHA),
    ],
    ids=['truncated', 'changed', 'proxy', 'forbidden', 'long', 'empty'],
)
def test_bad_download_never_appears(
    site: Any, tmp_path: Path, answer: dict[str, Any], words: str
) -> None:
    path = tmp_path / 'raw' / 'a.txt'
    url = f'{site.address}/a.txt'
    site.answer('/a.txt', **answer)
    with pytest.raises(DatasetError, match=words) as error:
        fetch(good(url), path)
    assert url in str(error.value)
    assert 'DSOM_PYG_MIRROR' in str(error.value)
    assert names(path.parent) == []
    # A later good answer repairs it.
    site.answer('/a.txt', GOOD)
    fetch(good(url), path)
    assert path.read_bytes() == GOOD


def test_wrong_hash_tells_both(site: Any, tmp_path: Path) -> None:
    other = b'other'
    site.answer('/a.txt', other)
    with pytest.raises(DatasetError) as error:
        fetch(good(f'{site.address}/a.txt'), tmp_path / 'a.txt')
    for word in (
        SHA,
        hashlib.sha256(other).hexdigest(),
        f'{len(GOOD)} bytes',
        'got 5 bytes',
    ):
        assert word in str(error.value)


def test_no_more_than_the_size_is_kept(site: Any, tmp_path: Path) -> None:
    site.answer('/a.txt', b'x' * 20_000_000)
    with pytest.raises(DatasetError) as error:
        fetch(Source(f'{site.address}/a.txt', SHA, 10), tmp_path / 'a.txt')
    assert '20000000' not in str(error.value)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    # A client that has waited enough hangs up.
    def handle_error(self, *args: object) -> None:
        pass


class Drips(BaseHTTPRequestHandler):
    """Sends what is right, but byte by byte; never more than some seconds."""

    first = 0

    def do_GET(self) -> None:
        head = f'HTTP/1.0 200 OK\r\nContent-Length: {len(GOOD)}\r\n\r\n'
        answer = head.encode() + GOOD
        self.wfile.write(answer[: self.first])
        for at in range(self.first, self.first + 30):
            self.wfile.write(answer[at : at + 1])
            time.sleep(0.05)
        self.wfile.write(answer[self.first + 30 :])

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize('first', [0, 17, 200])
def test_a_server_that_drips_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    # From the first byte on, or among the headers, or in the file.
    monkeypatch.setattr(Drips, 'first', first)
    monkeypatch.setattr(download, 'TIMEOUT', 0.1)
    monkeypatch.setattr(download, 'SLOWEST', 10 * len(GOOD))
    server = Quiet(('127.0.0.1', 0), Drips)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f'http://127.0.0.1:{server.server_port}/a.txt'
    try:
        with pytest.raises(DatasetError, match=r'too slow: its 17,000 by'):
            fetch(good(url), tmp_path / 'a.txt')
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    'number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES]
)
def test_what_cannot_be_stored_is_not_the_servers_fault(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    site.answer('/a.txt', GOOD)
    path = tmp_path / 'a.txt'

    def full(file: Path, content: bytes) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', full)
        with pytest.raises(DatasetError) as error:
            fetch(good(f'{site.address}/a.txt'), path)
    said = str(error.value)
    assert f"'{path}' ({os.strerror(number)})" in said
    assert 'make room for 17,000 bytes' in said
    assert 'DSOM_PYG_MIRROR' not in said
    assert names(tmp_path) == []


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='cannot download') as error:
        fetch(
            good('http://127.0.0.1:9/a.txt'),
            tmp_path / 'a.txt',
        )
    assert 'http://127.0.0.1:9/a.txt' in str(error.value)
    assert names(tmp_path) == []


def test_only_http(tmp_path: Path) -> None:
    (tmp_path / 'secret').write_bytes(GOOD)
    with pytest.raises(DatasetError, match='http'):
        fetch(
            good(f'file://{tmp_path}/secret'),
            tmp_path / 'a.txt',
        )
    assert names(tmp_path) == ['secret']


def test_mirror_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / 'm' / 'data.example' / 'x' / 'a b.txt'
    held.parent.mkdir(parents=True)
    held.write_bytes(GOOD)
    monkeypatch.setenv('DSOM_PYG_MIRROR', str(tmp_path / 'm'))
    path = tmp_path / 'raw' / 'a.txt'
    fetch(good('https://data.example/x/a%20b.txt'), path)
    assert path.read_bytes() == GOOD
    with pytest.raises(DatasetError, match=r'no file .*data\.example.*c\.txt'):
        fetch(
            good('https://data.example/x/c.txt'),
            tmp_path / 'raw' / 'c',
        )
    assert names(path.parent) == ['a.txt']
    # What a mirror holds is verified like any download.
    held.write_bytes(GOOD[:-1])
    with pytest.raises(DatasetError, match=SHA):
        fetch(
            good('https://data.example/x/a%20b.txt'),
            tmp_path / 'raw' / 'd',
        )
    assert names(path.parent) == ['a.txt']


def test_mirror_address(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer('/m/data.example/x/a.txt', GOOD)
    monkeypatch.setenv('DSOM_PYG_MIRROR', f'{site.address}/m/')
    fetch(
        good('https://data.example/x/a.txt'),
        tmp_path / 'a.txt',
    )
    assert (tmp_path / 'a.txt').read_bytes() == GOOD
    assert site.requests == ['/m/data.example/x/a.txt']


@pytest.mark.parametrize(
    ('content', 'words'),
    [(GOOD[:-1], f'{len(GOOD) - 1} bytes of SHA'), (GOOD + b'!', 'more byt')],
)
def test_a_wrong_file_of_the_mirror_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    words: str,
) -> None:
    monkeypatch.setenv('DSOM_PYG_MIRROR', str(tmp_path))
    local = tmp_path / 'example.org' / 'a.txt'
    local.parent.mkdir()
    local.write_bytes(content)
    with pytest.raises(DatasetError, match=words) as error:
        fetch(good('http://example.org/a.txt'), tmp_path / 'raw' / 'a.txt')
    assert f"the mirror's file '{local}' is not the one" in str(error.value)
    assert 'download broke off' not in str(error.value)
