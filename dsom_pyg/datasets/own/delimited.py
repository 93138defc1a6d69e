"""Tables in text files: tabs, commas or semicolons, and JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
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

# A line, counted from 1, and its cells.
Row = tuple[int, list[str]]


def read_triples(path: Path, findings: Findings) -> list[Triple]:
    r"""Triples from a table with the columns head, relation and tail.

    A header may name the columns in another order, and further ones. See
    :data:`~dsom_pyg.datasets.own.columns.TRIPLE` for its words. Cells are
    stripped, blank lines skipped.

    Args:
        path: A ``.tsv`` or ``.txt`` file, whose columns are separated by
            tabs and whose quotes are plain characters; or a ``.csv`` file
            with commas or semicolons, quoted as RFC 4180 says.
        findings: Gets what was noticed.

    Raises:
        DatasetError: A row has too few or too many cells or an empty one, or
            the file may be read in two ways.
    """
    columns, rows = _read_table(
        path, ('head', 'relation', 'tail'), _triple_header, findings
    )
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
    among others. A line of JSON is an object with such keys; its value may
    be a list.

    Args:
        path: A ``.tsv``, ``.txt``, ``.csv`` or ``.jsonl`` file.
        words: What a header may call the value:
            :data:`~dsom_pyg.datasets.own.columns.TEXT` or
            :data:`~dsom_pyg.datasets.own.columns.NAME`.
        findings: Gets what was noticed, such as empty values.

    Returns:
        The texts or names, and the readable names that stand beside them.

    Raises:
        DatasetError: A line is not as it should be.
    """
    if path.suffix.lower() == '.jsonl':
        rows = _read_objects(path, words)
    else:
        header = partial(entry_columns, words=words)
        columns, cells = _read_table(
            path, ('entity', 'value'), header, findings
        )
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
    header: Callable[[Sequence[str]], Columns | None],
    findings: Findings,
) -> tuple[Columns, list[Row]]:
    # The places of the columns, by a header or else as `plain` has them, and
    # the rows that are not blank. All rows are as long as the first one.
    lines = read_lines(path)
    mark, rows = '\t', _tab_rows(lines)
    if path.suffix.lower() == '.csv':
        mark = _find_mark(
            path, lines, lambda row: len(row) == len(plain) or header(row)
        )
        rows = _csv_rows(path, lines, mark)
    filled = [row for row in rows if any(row[1])]
    columns = header(filled[0][1]) if filled else None
    width = len(plain)
    if columns is not None:
        line, cells = filled.pop(0)
        width = len(cells)
        _note_header(Place(path, line), cells, columns, findings)
    for line, cells in filled:
        if len(cells) != width:
            raise error_at(
                path,
                line,
                f'expected {width} columns separated by {mark!r}, got '
                f'{len(cells)}: {shorten(lines[line - 1])}; correct the line, '
                f'quote cells of a .csv file, name further columns in a '
                f'header ({", ".join(plain)}), or read the file with pandas '
                f'and use from_pandas',
            )
    return columns or {name: at for at, name in enumerate(plain)}, filled


def _tab_rows(lines: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        yield number, [cell.strip() for cell in line.split('\t')]


def _csv_rows(path: Path, lines: Sequence[str], mark: str) -> Iterator[Row]:
    reader = _csv_reader(lines, mark)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise error_at(
                path,
                start,
                f'cannot be read as CSV ({error}): '
                f'{shorten(lines[start - 1])}; a quote within a quoted cell '
                f'is written twice, and every quoted cell ends with one',
            ) from None
        yield start, [cell.strip() for cell in cells]


def _csv_reader(lines: Iterable[str], mark: str) -> Any:
    return csv.reader(
        (f'{line}\n' for line in lines),
        delimiter=mark,
        skipinitialspace=True,
        strict=True,
    )


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
            rows[mark] = next(_csv_reader(islice(lines, start, None), mark))
    marks = [mark for mark, row in rows.items() if fits(row)]
    if len(marks) == 2:
        # A mark in a quoted cell leaves its quotes in two cells.
        marks = [mark for mark in marks if '"' not in ''.join(rows[mark])]
        if len(marks) != 1:
            raise error_at(
                path,
                start + 1,
                f"both ',' and ';' may separate the columns of "
                f'{shorten(lines[start])}; quote cells, or read the file '
                f'with pandas and use from_pandas',
            )
    return max(marks or rows, key=lambda x: len(rows[x]), default=',')


def _note_header(
    place: Place, cells: Sequence[str], columns: Columns, findings: Findings
) -> None:
    message = f'skipped the header {shorten(str(cells))}'
    findings.add('header', message, *place)
    used = columns.values()
    unused = [cell for at, cell in enumerate(cells) if at not in used]
    if unused:
        names = ', '.join(cell or 'without a name' for cell in unused)
        findings.add('unused column', f'not used: {shorten(names)}', *place)


def _triple_header(cells: Sequence[str]) -> Columns | None:
    found = triple_columns(cells)
    return found if len(found) == 3 else None


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
            raise error_at(
                path, line, f'must be a JSON object: {shorten(text)}'
            )
        columns = entry_columns(list(entry), words)
        if columns is None:
            raise error_at(
                path,
                line,
                f'needs an entity (a key such as {", ".join(ENTITY[:3])}) '
                f'and a value (such as {", ".join(words[:2])}), got the keys '
                f'{shorten(", ".join(entry))}',
            )
        yield line, columns, list(entry.values())
