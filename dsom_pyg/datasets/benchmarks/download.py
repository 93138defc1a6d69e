"""Downloads that are verified before they appear."""

import hashlib
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.files import hash_file, whole_or_nothing

MIRROR = 'DSOM_PYG_MIRROR'
TIMEOUT = 60.0
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
    with _open(source.url) as stream:
        try:
            content = stream.read(source.size + 1)
        except (OSError, HTTPException) as error:
            raise DatasetError(
                f'the download of {source.url} broke off ({error}): '
                f'try again, or {HINT}'
            ) from error
    got = hashlib.sha256(content).hexdigest()
    if got != source.sha256:
        raise DatasetError(
            f'the file from {source.url} is not the expected one: expected '
            f'SHA-256 {source.sha256} ({source.size} bytes), got {got} '
            f'({len(content)} bytes). The download broke off, a proxy '
            f'answered, or the file was changed: try again, or {HINT}'
        )
    with whole_or_nothing(path) as temporary:
        temporary.write_bytes(content)


def _open(url: str) -> BinaryIO:
    mirror = os.environ.get(MIRROR, '')
    parts = urlsplit(url)
    if parts.scheme not in ('http', 'https'):
        raise DatasetError(f'cannot download {url}: not an http(s) address')
    if mirror and not mirror.startswith(('http://', 'https://')):
        relative = unquote(parts.path).lstrip('/')
        local = Path(mirror).expanduser() / parts.netloc / relative
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
