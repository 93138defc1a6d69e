"""Downloads that are verified before they appear."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.files import whole_or_nothing

MIRROR = 'DSOM_PYG_MIRROR'
TIMEOUT = 60.0
CHUNK = 1 << 20


def fetch(url: str, sha256: str, path: Path, size: int | None = None) -> None:
    r"""Bring a file to :obj:`path`, whole and verified, or not at all.

    A file that is there already is verified and kept; a wrong one is
    replaced. The environment variable ``DSOM_PYG_MIRROR`` replaces the
    network: a folder, or an ``http(s)://`` address, laid out as
    ``<host>/<path of the url>``.

    Args:
        url: The public address.
        sha256: The expected SHA-256, in hexadecimal.
        path: The file to write.
        size: The expected number of bytes; nothing beyond it is read.
            (default: :obj:`None`)

    Raises:
        DatasetError: The file cannot be had or is not the expected one;
            nothing is left behind.
    """
    if path.is_file() and _hash(path) == sha256:
        return
    with whole_or_nothing(path) as temporary:
        with temporary.open('wb') as target:
            digest, count = _copy(url, target, size)
        if digest != sha256:
            raise DatasetError(
                f'the file from {url} is not the expected one: expected '
                f'SHA-256 {sha256}'
                + (f' ({size} bytes)' if size is not None else '')
                + f', got {digest} ({count} bytes). The download was cut '
                'off, a proxy answered, or the file was changed: try again, '
                f'or {_mirror_hint()}'
            )


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _copy(url: str, target: BinaryIO, size: int | None) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    with _open(url) as source:
        try:
            while chunk := source.read(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                count += len(chunk)
                if size is not None and count > size:
                    break
        except (OSError, HTTPException) as error:
            raise DatasetError(
                f'the download of {url} broke off after {count} bytes '
                f'({error}): try again, or {_mirror_hint()}'
            ) from error
    return digest.hexdigest(), count


@contextmanager
def _open(url: str) -> Iterator[BinaryIO]:
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
        with local.open('rb') as file:
            yield file
        return
    address = f'{mirror.rstrip("/")}/{parts.netloc}{parts.path}'
    try:
        response = urllib.request.urlopen(
            address if mirror else url, timeout=TIMEOUT
        )
    except (OSError, HTTPException) as error:
        raise DatasetError(
            f'cannot download {url}'
            + (f' from the mirror {mirror}' if mirror else '')
            + f' ({error}): check the connection, or {_mirror_hint()}'
        ) from error
    with response:
        yield response


def _mirror_hint() -> str:
    return (
        f'set {MIRROR} to a folder that holds the file under '
        '<host>/<path of the address>'
    )
