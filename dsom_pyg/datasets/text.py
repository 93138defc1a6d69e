"""Text files as lines and rows, with errors that name the line."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    shorten,
    unknown_name,
)
from dsom_pyg.graph import Triples

# What unpacks a file, by its last suffix.
UNPACK: dict[str, Callable[..., Any]] = {
    '.gz': gzip.open,
    '.bz2': bz2.open,
    '.xz': lzma.open,
}
POINTER = b'version https://git-lfs.github.com/spec/'
PACKED = (*UNPACK, '.zst', '.zip', '.7z')
# A file of lines unpacks to 3 to 30 times its size. A file that fills memory
# unpacks to a thousand times.
RATIO, ALWAYS = 100, 2**30


def plain_name(path: Path) -> str:
    r"""The name of a file in small letters, without that it is compressed:
    ``triples.tsv`` of ``Triples.TSV.gz``.
    """
    name = path.name.lower()
    packed = path.suffix.lower() in PACKED
    return name.removesuffix(path.suffix.lower()) if packed else name


def suffix_of(path: Path) -> str:
    r"""What the name of a file says of its format, such as ``.tsv``."""
    return Path(plain_name(path)).suffix


def read_bytes(path: Path, limit: int = -1) -> bytes:
    r"""What a file holds, unpacked; its first bytes, with a limit."""
    suffix = path.suffix.lower()
    if suffix in PACKED and suffix not in UNPACK:
        why = f"'{path}' is compressed as {suffix} is; unpack it first"
        raise DatasetError(why)
    try:
        unpack, size = UNPACK.get(suffix, open), path.stat().st_size
        if not size and unpack is not open:  # gzip would take it
            raise DatasetError(f"'{path}' cannot be unpacked: it is empty")
        most = max(ALWAYS, RATIO * size)
        with unpack(path, 'rb') as file:
            some = limit if unpack is open or limit >= 0 else most + 1
            raw: bytes = file.read(some)
    except FileNotFoundError:
        raise DatasetError(f"the file '{path}' is missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as why:
        raise DatasetError(f"'{path}' cannot be unpacked: {why}") from None
    except OSError as why:
        if suffix != '.bz2' or why.errno is not None:
            raise
        raise DatasetError(f"'{path}' cannot be unpacked: {why}") from None
    if len(raw) > most:
        told = f'unpacks to more than {RATIO} times its size; if that is meant'
        raise DatasetError(f"'{path}' {told}, unpack it first")
    return raw


def read_text(path: Path) -> str:
    r"""The text of a file. It is UTF-8, or UTF-16 with a byte order mark; and
    may be compressed (``.gz``, ``.bz2``, ``.xz``).
    """
    return _decoded(path, 1, _read_utf8(path))


def _read_utf8(path: Path) -> bytes:
    # Without a mark. Whether all of it is text, decoding tells.
    raw = read_bytes(path)
    if raw.startswith(POINTER):
        why = 'is no data but a pointer of Git LFS; run `git lfs pull` there'
        raise DatasetError(f"'{path}' {why}")
    # Its mark begins as that of UTF-16.
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise DatasetError(f"'{path}' is UTF-32 text; convert it to UTF-8")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = _decoded(path, 1, raw, 'UTF-16').encode()
    if (at := raw.find(b'\0')) >= 0:
        why = 'holds a NUL, as UTF-16 without a mark does; convert it to UTF-8'
        raise error_at(path, _ends(raw, at) + 1, why)
    return raw.removeprefix(codecs.BOM_UTF8)


def _ends(raw: bytes, at: int, encoding: str = 'UTF-8') -> int:
    # How many lines end before some byte.
    end = '\n' if '\n' in raw.decode(encoding, 'ignore') else '\r'
    return raw[:at].decode(encoding, 'ignore').count(end)


def _decoded(
    path: Path, line: int, raw: bytes, encoding: str = 'UTF-8'
) -> str:
    # What is there from a line on.
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line += _ends(raw, error.start, encoding)
        why = f'is not {encoding} text; convert the file to UTF-8'
        raise error_at(path, line, why) from None


def read_lines(path: Path) -> list[str]:
    r"""The lines of a text file, see :func:`each_line`."""
    return list(each_line(path))


def each_line(path: Path) -> Iterator[str]:
    r"""The lines of a text file without their ends, LF or CRLF, or CR where
    there is no LF; see :func:`read_text`. They are made one by one, since
    there may be millions.
    """
    raw = _read_utf8(path)
    if b'\n' not in raw:
        raw = raw.replace(b'\r', b'\n')
    # In one string of the whole file, a single rare character would make
    # four bytes of each. str.splitlines would also split within names.
    for number, line in enumerate(io.BytesIO(raw), 1):
        if line != b'\r':  # behind the end of the last line
            text = _decoded(path, number, line)
            yield text.removesuffix('\n').removesuffix('\r')


def read_table(
    path: Path, columns: int, separator: str = '\t'
) -> list[list[str]]:
    r"""Rows of a fixed number of non-empty cells; row i is line i + 1."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        row = line.split(separator)
        if len(row) != columns:
            why = f'expected {columns} columns separated by {separator!r}, '
            why += f'got {len(row)}: {shorten(line)}'
            raise error_at(path, number, why)
        for column, cell in enumerate(row, 1):
            if not cell.strip():
                raise error_at(path, number, f'column {column} is empty')
        rows.append(row)
    return rows


def read_labeled_triples(
    path: Path, entity_ids: Mapping[str, int], relation_ids: Mapping[str, int]
) -> Triples:
    r"""Triples from rows of known head, relation and tail names."""
    rows = []
    for number, (head, rel, tail) in enumerate(read_table(path, 3), 1):
        h = id_of(head, entity_ids, 'entity', path, number)
        r = id_of(rel, relation_ids, 'relation', path, number)
        t = id_of(tail, entity_ids, 'entity', path, number)
        rows.append((h, t, r))
    return to_triples(rows)


def id_of(
    name: str, ids: Mapping[str, int], what: str, path: Path, line: int
) -> int:
    r"""The id of a name; one that is unknown is an error at its line."""
    if name not in ids:
        raise error_at(path, line, unknown_name(name, ids, what))
    return ids[name]


def index_names(path: Path, names: Sequence[str]) -> dict[str, int]:
    r"""Name to position; the name at position i stands in line i + 1."""
    ids: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in ids:
            first = ids[name] + 1
            why = f'{name!r} comes a second time, first in line {first}'
            raise error_at(path, index + 1, why)
        ids[name] = index
    return ids


def to_triples(rows: Sequence[Sequence[int]]) -> Triples:
    r"""Triples from rows of head, tail and relation ids; perhaps none."""
    # The reshape also fits a file without rows.
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    head_tail = table[:, :2].t().contiguous()
    return Triples(head_tail, table[:, 2].contiguous())
