"""Tables in text files: tabs, commas or semicolons, and JSON lines."""

import csv
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.columns import (
    ENTITY,
    NAME,
    Columns,
    entry_columns,
    labels_of,
    texts_of,
    triple_columns,
)
from dsom_pyg.datasets.own.table import Entry, Place, Triple
from dsom_pyg.datasets.text import read_lines

# A line and its cells.
Row = tuple[int, list[str]]
_read_csv = partial(csv.reader, skipinitialspace=True, strict=True)
_csv_limit = threading.Lock()


def read_triples(path: Path, findings: Findings) -> list[Triple]:
    r"""Triples from a table with the columns head, relation and tail.

    A header may name them in another order, among others, with the words of
    :data:`~dsom_pyg.datasets.own.columns.TRIPLE`. Cells are stripped, blank
    lines skipped. A ``.csv`` file has commas or semicolons and quotes as RFC
    4180 says; any other has tabs, and its quotes are plain characters.

    Raises:
        DatasetError: A row has too few or too many cells or an empty one, or
            the file may be read in two ways.
    """
    plain = ('head', 'relation', 'tail')
    columns, rows = _read_table(path, plain, triple_columns, findings)
    head, relation, tail = columns.values()
    triples = []
    for line, row in rows:
        triple = Triple(row[head], row[relation], row[tail], Place(path, line))
        if '' in triple:
            empty = list(columns)[triple.index('')]
            raise error_at(path, line, f'the {empty} is empty')
        triples.append(triple)
    return triples


def read_entries(
    path: Path, words: Sequence[str], findings: Findings
) -> tuple[list[Entry], list[Entry]]:
    r"""Texts or names of entities, from a table or JSON lines.

    A table has two columns, entity and value, or a header that names them
    among others, with one of the :obj:`words` for the value. A line of JSON
    (``.jsonl``) is an object with such keys; its value may be a list.

    Returns:
        The texts or names, and the readable names that stand beside them.
    """
    if path.suffix.lower() == '.jsonl':
        rows = _read_objects(path, words)
    else:
        header = partial(entry_columns, words=words)
        plain = ('entity', 'value')
        columns, cells = _read_table(path, plain, header, findings)
        rows = ((line, columns, row) for line, row in cells)
    entries, names = [], []
    for line, columns, row in rows:
        place = Place(path, line)
        try:
            labels = labels_of(columns, row)
            values = texts_of(row[columns['value']])
        except ValueError as error:
            raise error_at(path, line, str(error)) from None
        entity = tuple(labels.values())
        entries += [Entry(entity, value, place) for value in values]
        name = next((labels[word] for word in NAME if word in labels), '')
        if not values:
            message = f'nothing for {shorten(entity[0])}'
            findings.add('empty value', message, *place)
        elif name and name != entity[0]:
            names.append(Entry(entity, name, place))
    return entries, names


def _read_table(
    path: Path,
    plain: tuple[str, ...],
    header: Callable[[Sequence[str]], Columns],
    findings: Findings,
) -> tuple[Columns, list[Row]]:
    # The places of the columns, by a header or else as `plain` has them, and
    # the rows that are not blank. All rows are as long as the first one.
    lines, width = read_lines(path), len(plain)
    if path.suffix.lower() == '.csv':
        with _long_cells(lines):
            mark = _find_mark(
                path,
                lines,
                lambda x: len(x) == width or len(header(x)) >= width,
            )
            rows = _csv_rows(path, lines, mark)
    else:
        mark = '\t'
        rows = [(n, line.split(mark)) for n, line in enumerate(lines, 1)]
    stripped = ((line, [x.strip() for x in cells]) for line, cells in rows)
    filled = [row for row in stripped if any(row[1])]
    columns = header(filled[0][1]) if filled else {}
    if len(columns) < width:
        columns = dict(zip(plain, range(width), strict=True))
    else:
        line, cells = filled.pop(0)
        width = len(cells)
        message = f'skipped the header {shorten(str(cells))}'
        findings.add('header', message, path, line)
        used = columns.values()
        named = [cell or 'without a name' for cell in cells]
        unused = [name for at, name in enumerate(named) if at not in used]
        if unused:
            message = f'not used: {shorten(", ".join(unused))}'
            findings.add('unused column', message, path, line)
    for line, cells in filled:
        if len(cells) != width:
            why = (
                f'expected {width} columns separated by {mark!r}, got '
                f'{len(cells)}: {shorten(lines[line - 1])}; correct the line, '
                f'quote cells of a .csv file, name further columns in a '
                f'header ({", ".join(plain)}), or read the file with pandas '
                f'and use from_pandas'
            )
            raise error_at(path, line, why)
    return columns, filled


@contextmanager
def _long_cells(lines: Sequence[str]) -> Iterator[None]:
    # A cell may be as long as its file. The limit of the csv module is one
    # for the whole interpreter, so it is put back.
    with _csv_limit:
        before = csv.field_size_limit()
        longest = max(before, sum(len(x) + 1 for x in lines))
        csv.field_size_limit(min(longest, 2**31 - 1))  # a C long
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _csv_rows(path: Path, lines: Sequence[str], mark: str) -> list[Row]:
    reader = _read_csv((f'{line}\n' for line in lines), delimiter=mark)
    rows, start = [], 1
    try:
        for cells in reader:
            rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        why = (
            f'cannot be read as CSV ({error}): {shorten(lines[start - 1])}; a '
            f'quote within a quoted cell is written twice, and every quoted '
            f'cell ends with one'
        )
        raise error_at(path, start, why) from None
    return rows


def _find_mark(
    path: Path, lines: Sequence[str], fits: Callable[[list[str]], object]
) -> str:
    # Comma or semicolon: what splits the first row as it should be.
    filled = (n for n, x in enumerate(lines) if x.strip().strip(' ,;'))
    start = next(filled, 0)
    rows: dict[str, list[str]] = {}
    for mark in ',;':
        # An error is told with its line when all rows are read.
        with suppress(csv.Error, StopIteration):
            ended = (f'{line}\n' for line in lines[start:])
            rows[mark] = next(_read_csv(ended, delimiter=mark))
    marks = [mark for mark, row in rows.items() if fits(row)]
    if len(marks) == 2:
        # A mark in a quoted cell leaves its quotes in two cells.
        marks = [mark for mark in marks if '"' not in ''.join(rows[mark])]
        if len(marks) != 1:
            why = (
                f"both ',' and ';' may separate the columns of "
                f'{shorten(lines[start])}; quote cells, or read the file '
                f'with pandas and use from_pandas'
            )
            raise error_at(path, start + 1, why)
    return max(marks or rows, key=lambda x: len(rows[x]), default=',')


def _read_objects(
    path: Path, words: Sequence[str]
) -> Iterator[tuple[int, Columns, list[Any]]]:
    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise error_at(path, line, f'is not JSON ({error})') from None
        if not isinstance(entry, dict):
            why = f'must be a JSON object: {shorten(text)}'
            raise error_at(path, line, why)
        columns = entry_columns(list(entry), words)
        if not columns:
            why = (
                f'needs an entity (a key such as {", ".join(ENTITY[:3])}) '
                f'and a value (such as {", ".join(words[:2])}), got the keys '
                f'{shorten(", ".join(entry))}'
            )
            raise error_at(path, line, why)
        yield line, columns, list(entry.values())
