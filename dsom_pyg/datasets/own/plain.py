"""Text files whose rows are all alike, read by columns through pyarrow."""

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsom_pyg.datasets.own.rows import Array
from dsom_pyg.datasets.text import UNPACK, read_bytes

# Bytes that pyarrow parses at once.
BLOCK = 2**27


class Cells(NamedTuple):
    r"""Some columns of a file.

    Args:
        labels: The different cells, from those of the first column on.
        codes: The place of each cell among them, ``[columns, N]``. All cells
            of a blank line are ``''``.
        lines: The line of each row, from 1, ``[N]``.
        others: Lines with more or fewer cells, and their texts.
    """

    labels: list[str]
    codes: Array
    lines: Array
    others: list[tuple[int, str]]


def read_cells(
    path: Path,
    mark: str,
    width: int,
    columns: Sequence[int],
    skip: int = 0,
    others: bool = False,
) -> Cells | None:
    r"""Columns of a file of UTF-8 whose lines end in LF or CRLF. There are no
    quotes: cells are all that is between two marks.

    Args:
        path: The file, perhaps compressed.
        mark: Stands between two cells.
        width: Cells of a row.
        columns: The places of those that are wanted.
        skip: Lines above the rows.
        others: Whether lines may have more or fewer cells.

    Returns:
        The cells; :obj:`None` where the file is another one. Who reads it
        line by line then can say what is wrong.
    """
    import pyarrow as pa

    found: list[tuple[int, str]] = []
    if not path.is_file():
        return None
    unpacked = None
    if path.suffix.lower() in UNPACK:
        unpacked = read_bytes(path)
    with _bytes_of(path, unpacked) as raw:
        if not (_is_plain(raw) and _is_text(raw)):
            return None
    source = path if unpacked is None else unpacked
    parse = partial(_parse, source, mark, width, columns, skip)
    try:
        table = parse(None)
    except pa.ArrowInvalid:
        if not others:
            return None
        try:
            table = parse(found)
        except pa.ArrowInvalid:
            return None
    labels, codes = _unified(table)
    del table
    pa.default_memory_pool().release_unused()
    lines = np.arange(1 + skip, 1 + skip + codes.shape[1] + len(found))
    odd = [number - 1 - skip for number, _ in found]
    return Cells(labels, codes, np.delete(lines, odd), found)


@contextmanager
def _bytes_of(path: Path, unpacked: bytes | None) -> Iterator[Any]:
    if unpacked is not None or not path.stat().st_size:
        yield unpacked or b''
        return
    with (
        path.open('rb') as file,
        mmap(file.fileno(), 0, access=ACCESS_READ) as raw,
    ):
        yield raw


def _is_text(raw: Any) -> bool:
    decoder = codecs.getincrementaldecoder('utf-8')()
    try:
        for at in range(0, len(raw), BLOCK):
            decoder.decode(raw[at : at + BLOCK])
        decoder.decode(b'', final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_plain(raw: Any) -> bool:
    # pyarrow ends a row at each CR, and reads on behind a NUL.
    if (
        not len(raw)
        or raw.find(b'\0') >= 0
        or raw[:2] in (b'\xff\xfe', b'\xfe\xff')
    ):
        return False
    at = raw.find(b'\r')
    while at >= 0:
        # Of a file of Windows, every end of a line is looked at.
        if raw[at + 1 : at + 2] != b'\n':
            return False
        at = raw.find(b'\r', at + 1)
    return True


def _parse(
    source: Path | bytes,
    mark: str,
    width: int,
    columns: Sequence[int],
    skip: int,
    others: list[tuple[int, str]] | None,
) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    def odd(row: Any) -> str:
        assert others is not None
        others.append((row.number, row.text))
        return 'skip'

    names = [str(at) for at in range(width)]
    wanted = [names[at] for at in columns]
    labels = pa.dictionary(pa.int32(), pa.string())
    options = (
        csv.ReadOptions(
            column_names=names,
            skip_rows=skip,
            block_size=BLOCK,
            # Only one thread knows the numbers of rows.
            use_threads=others is None,
        ),
        csv.ParseOptions(
            delimiter=mark,
            quote_char=False,
            double_quote=False,
            ignore_empty_lines=False,
            invalid_row_handler=None if others is None else odd,
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, labels),
            include_columns=wanted,
        ),
    )
    # Of a file that Python opened, the name may be any.
    with (
        BytesIO(source)
        if isinstance(source, bytes)
        else source.open('rb') as file
    ):
        return csv.read_csv(file, *options)


def _unified(table: Any) -> tuple[list[str], Array]:
    # One list of labels for all columns.
    import pyarrow as pa

    chunks = [chunk for column in table.columns for chunk in column.chunks]
    if not chunks:
        return [], np.zeros((table.num_columns, 0), np.int32)
    chunks = pa.chunked_array(chunks).unify_dictionaries().chunks
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
    labels: list[str] = chunks[0].dictionary.to_pylist()
    return labels, codes.reshape(table.num_columns, -1)
