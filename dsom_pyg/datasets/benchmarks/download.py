"""Downloads that are verified before they appear."""

import hashlib
import os
import urllib.request
from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.files import hash_file, whole_or_nothing

MIRROR = 'DSOM_PYG_MIRROR'
# A server that says nothing for so long, in seconds, is given up; so is one
# that needs as much longer in all as this rate in bytes a second allows.
TIMEOUT = 60.0
SLOWEST = 10_000
HINT = (
    f'set {MIRROR} to a folder that holds the file under '
    '<host>/<path of the address>'
)


class Source(NamedTuple):
    r"""A published file."""

    url: str
    sha256: str  # in hexadecimal
    size: int  # in bytes


def fetch(source: Source, path: Path) -> None:
    r"""Bring a file to :obj:`path`, whole and verified, or not at all.

    An existing file is verified and kept; a wrong one is replaced. Nothing
    beyond the expected size is read. The environment variable
    ``DSOM_PYG_MIRROR`` replaces the network: a folder, or an ``http(s)://``
    address, laid out as ``<host>/<path of the url>``.
    """
    if path.is_file() and hash_file(path) == source.sha256:
        return
    content = _download(source)
    got = hashlib.sha256(content).hexdigest()
    if got != source.sha256:
        # No more than one byte beyond what is expected was read.
        longer = len(content) > source.size
        size = 'more bytes' if longer else f'{len(content)} bytes'
        what = f'SHA-256 {source.sha256} ({source.size} bytes), got {size}'
        what += '' if longer else f' of SHA-256 {got}'
        if (local := _in_mirror(source.url)) is not None:
            raise DatasetError(
                f"the mirror's file '{local}' is not the one from "
                f'{source.url}: expected {what}; put that one there, or unset '
                f'{MIRROR} to use the network'
            )
        raise DatasetError(
            f'the file from {source.url} is not the expected one: expected '
            f'{what}. The download broke off, a proxy '
            f'answered, or the file was changed: try again, or {HINT}'
        )
    try:
        with whole_or_nothing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise DatasetError(
            f'the file from {source.url} came whole, but cannot be stored as '
            f"'{path}' ({why}): make room for "
            f'{source.size:,} bytes, or give a root that may be written, and '
            f'try again; the files that are already there are kept'
        ) from error


def _download(source: Source) -> bytes:
    # In a thread, because nothing else puts a limit on all that a server can
    # draw out: the look-up of its name, redirections, every header. A thread
    # that is given up ends with the server's next byte, or with the program.
    limit = TIMEOUT + source.size / SLOWEST
    given_up = Event()
    found: list[bytes | BaseException] = []

    def read() -> None:
        try:
            found.append(_read(source, given_up))
        except BaseException as error:
            found.append(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    try:
        thread.join(limit)
    finally:
        given_up.set()
    if not found:
        raise DatasetError(
            f'{source.url} is too slow: its {source.size:,} bytes did not '
            f'come within {limit:,.0f} seconds: try again, or {HINT}'
        )
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _read(source: Source, given_up: Event) -> bytes:
    content = bytearray()
    with _open(source.url) as stream:
        try:
            # One byte more tells that the file is longer.
            while len(content) <= source.size and not given_up.is_set():
                part = stream.read1(source.size + 1 - len(content))
                if not part:
                    break
                content += part
        except (OSError, HTTPException) as error:
            raise DatasetError(
                f'the download of {source.url} broke off ({error}): '
                f'try again, or {HINT}'
            ) from error
    return bytes(content)


def _in_mirror(url: str) -> Path | None:
    # The file that a folder has in the place of an address.
    mirror, parts = os.environ.get(MIRROR, ''), urlsplit(url)
    if not mirror or mirror.startswith(('http://', 'https://')):
        return None
    relative = unquote(parts.path).lstrip('/')
    return Path(mirror).expanduser() / parts.netloc / relative


def _open(url: str) -> BufferedReader | HTTPResponse:
    mirror = os.environ.get(MIRROR, '')
    parts = urlsplit(url)
    if parts.scheme not in ('http', 'https'):
        raise DatasetError(f'cannot download {url}: not an http(s) address')
    if (local := _in_mirror(url)) is not None:
        if not local.is_file():
            raise DatasetError(
                f"the mirror has no file '{local}' for {url}: put it there, "
                f'or unset {MIRROR} to use the network'
            )
        return local.open('rb')
    address = f'{mirror.rstrip("/")}/{parts.netloc}{parts.path}'
    try:
        return urllib.request.urlopen(
            address if mirror else url, timeout=TIMEOUT
        )
    except (OSError, HTTPException) as error:
        raise DatasetError(
            f'cannot download {url}'
            + (f' from the mirror {mirror}' if mirror else '')
            + f' ({error}): check the connection, or {HINT}'
        ) from error
