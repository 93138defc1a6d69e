"""Tables in text files: tabs, commas or semicolons, and JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    shorten,
    well_formed,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.columns import (
    ENTITY,
    NAME,
    Columns,
    entry_columns,
    triple_columns,
)
from dsom_pyg.datasets.own.table import Entry, Triple
from dsom_pyg.datasets.text import read_lines

# The columns of a table without a header.
PLAIN_TRIPLE = {'head': 0, 'relation': 1, 'tail': 2}
PLAIN_ENTRY = {'entity': 0, 'value': 1}
# What can be read in two ways, or in none.
HINT = 'or read the table with pandas and use from_pandas'

# A line, counted from 1, and its cells.
Row = tuple[int, list[str]]
# What an entry calls its entity, its values, and a readable name in passing.
Fields = tuple[list[str], list[str], str]


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
    columns, rows = _read_table(path, PLAIN_TRIPLE, _triple_header, findings)
    places = list(columns.values())
    triples: list[Triple] = []
    for line, row in rows:
        if columns is PLAIN_TRIPLE and not triples:
            _refuse_half_header(path, line, row)
        cells = [row[place] for place in places]
        if not all(cells):
            column = places[cells.index('')] + 1
            raise error_at(
                path,
                line,
                f'column {column} is empty; every triple needs a head, a '
                f'relation and a tail',
            )
        triples.append(Triple(*cells, file=path, line=line))
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
    entries, names = [], []
    read = _read_objects if path.suffix.lower() == '.jsonl' else _read_pairs
    for line, (called, values, name) in read(path, words, findings):
        entity = tuple(called)
        if not values:
            findings.add(
                'empty value', f'nothing for {shorten(entity[0])}', path, line
            )
        elif name:
            names.append(Entry(entity, name, path, line))
        entries += [Entry(entity, value, path, line) for value in values]
    return entries, names


def _read_table(
    path: Path,
    plain: Columns,
    header: Callable[[Sequence[str]], Columns | None],
    findings: Findings,
) -> tuple[Columns, Iterator[Row]]:
    # The columns by the header of the table, else `plain`, and the rows that
    # are not blank. A row is as long as the header, or else as `plain`.
    lines = read_lines(path)
    mark, rows = '\t', _tab_rows(lines)
    if path.suffix.lower() == '.csv':
        mark = _find_mark(
            path, lines, lambda row: len(row) == len(plain) or header(row)
        )
        rows = _csv_rows(path, lines, mark)
    filled = (row for row in rows if any(row[1]))
    first = next(filled, None)
    columns = header(first[1]) if first else None
    if first is None or columns is None:
        columns, width = plain, len(plain)
        filled = chain([first] if first else [], filled)
    else:
        width = len(first[1])
        _note_header(path, first, columns, findings)
    named = ', '.join(plain)

    def checked() -> Iterator[Row]:
        for line, cells in filled:
            if len(cells) != width:
                raise error_at(
                    path,
                    line,
                    f'expected {width} columns separated by {mark!r}, got '
                    f'{len(cells)}: {shorten(lines[line - 1])}; correct the '
                    f'line, quote cells of a .csv file, name further columns '
                    f'in a header ({named}), {HINT}',
                )
            yield line, cells

    return columns, checked()


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
                f'{shorten(lines[start])}; quote cells, {HINT}',
            )
    return max(marks or rows, key=lambda x: len(rows[x]), default=',')


def _note_header(
    path: Path, header: Row, columns: Columns, findings: Findings
) -> None:
    line, cells = header
    findings.add(
        'header', f'skipped the header {shorten(str(cells))}', path, line
    )
    used = columns.values()
    unused = [cell for at, cell in enumerate(cells) if at not in used]
    if unused:
        names = ', '.join(cell or 'without a name' for cell in unused)
        findings.add(
            'unused column', f'not used: {shorten(names)}', path, line
        )


def _triple_header(cells: Sequence[str]) -> Columns | None:
    found = triple_columns(cells)
    return found if len(found) == 3 else None


def _refuse_half_header(path: Path, line: int, cells: Sequence[str]) -> None:
    found = triple_columns(cells)
    # Letters such as s and t are rather names.
    words = [cells[place] for place in found.values()]
    if {'head', 'tail'} <= found.keys() and min(map(len, words)) > 1:
        raise error_at(
            path,
            line,
            f'{shorten(" | ".join(cells))} may be a triple or a header; for '
            f"a header, call the columns 'head', 'relation' and 'tail'; for "
            f'a triple, put such a header above it, {HINT}',
        )


def _read_pairs(
    path: Path, words: Sequence[str], findings: Findings
) -> Iterator[tuple[int, Fields]]:
    header = partial(entry_columns, words=words)
    columns, rows = _read_table(path, PLAIN_ENTRY, header, findings)
    value = columns['value']
    keys = {word: at for word, at in columns.items() if word != 'value'}
    for line, row in rows:
        called = {word: row[at] for word, at in keys.items() if row[at]}
        if not called:
            column = min(keys.values()) + 1
            raise error_at(path, line, f'column {column} is empty')
        values = [row[value]] if row[value] else []
        yield line, (list(called.values()), values, _in_passing(called))


def _read_objects(
    path: Path, words: Sequence[str], findings: Findings
) -> Iterator[tuple[int, Fields]]:
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
        try:
            yield line, _fields(entry, words)
        except DatasetError as error:
            raise error_at(path, line, str(error)) from None


def _fields(entry: dict[str, Any], words: Sequence[str]) -> Fields:
    columns = entry_columns(list(entry), words) or {}
    cells = list(entry.items())
    called: dict[str, str] = {}
    for word, place in columns.items():
        key, cell = cells[place]
        # One name will do. What else there is may be of any kind.
        if word == 'value' or cell is None or (called and not _is_text(cell)):
            continue
        if name := _text(key, cell):
            called[word] = name
    if not called:
        raise DatasetError(
            f'needs an entity (a key such as {", ".join(ENTITY[:3])}) and '
            f'a value (such as {", ".join(words[:2])}), got the keys '
            f'{shorten(", ".join(entry))}'
        )
    key, value = cells[columns['value']]
    values = value if isinstance(value, list) else [value]
    texts = [_text(key, each) for each in values if each is not None]
    return list(called.values()), [x for x in texts if x], _in_passing(called)


def _in_passing(called: dict[str, str]) -> str:
    # A readable name that stands beside an id.
    name = next((called[word] for word in NAME if word in called), '')
    return '' if name == next(iter(called.values())) else name


def _text(key: str, value: Any) -> str:
    if _is_text(value):
        return well_formed(str(value)).strip()
    raise DatasetError(
        f'{key!r} must be a string, got {shorten(json.dumps(value))}'
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
