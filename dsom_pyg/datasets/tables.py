"""Tables of one's own: triples, texts and names as people write them."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.reading import (
    DatasetError,
    error_at,
    read_lines,
    shorten,
)

# What headers call a column; the first word that is there counts.
HEAD = ('head', 'subject', 'source', 'from', 'h', 's', 'head_entity', 'src')
RELATION = (
    *('relation', 'predicate', 'relationship', 'property', 'edge_type'),
    *('type', 'edge', 'r', 'p', 'rel', 'label'),
)
TAIL = ('tail', 'object', 'target', 'to', 't', 'o', 'tail_entity', 'dst')
ENTITY = (
    *('entity', 'id', 'key', 'uri', 'entity_id', 'node', 'item'),
    *('name', 'title', 'label'),
)
TEXT = (
    *('text', 'description', 'texts', 'descriptions', 'abstract'),
    *('comment', 'summary'),
)
NAME = ('name', 'label', 'title')
# What may separate columns, by suffix; the first that fits counts.
SEPARATORS = {'.csv': ',;\t|', '.tsv': '\t', '.txt': '\t,;| '}
# Rows that are looked at to find the separator.
SAMPLE = 20

Columns = dict[str, int]


@dataclass
class Part:
    r"""Triples in labels: head, relation, tail.

    Args:
        rows: The triples.
        file: Where they stand. (default: :obj:`None`)
        lines: The line of each, counted from 1. (default: none)
    """

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    file: Path | None = None
    lines: list[int] = field(default_factory=list)

    def line(self, row: int) -> int | None:
        r"""The line of a row, if it has one."""
        return self.lines[row] if self.lines else None


class Item(NamedTuple):
    r"""A text, a name or an image of an entity.

    Args:
        entity: What the entity may be called, the likeliest first.
        value: The text, the name or the path.
        name: A readable name given in passing. (default: :obj:`None`)
        file: Where it stands. (default: :obj:`None`)
        line: The line in that file, counted from 1. (default: :obj:`None`)
    """

    entity: tuple[str, ...]
    value: str
    name: str | None = None
    file: Path | None = None
    line: int | None = None


def read_triples(path: Path, findings: Findings) -> Part:
    r"""Triples in labels, from a table of three columns.

    A header may name the columns in any order, and further ones. Without a
    header they are head, relation and tail. Cells are trimmed and unquoted,
    blank lines skipped.

    Args:
        path: A ``.tsv``, ``.csv`` or ``.txt`` file.
        findings: Gets what was noticed.

    Raises:
        DatasetError: A row has too few or too many columns or an empty cell.
    """
    part = Part(file=path)
    places = [0, 1, 2]
    for number, line, row in _table(path, 3, findings):
        if number == 0:
            header = triple_columns(row)
            if header:
                _note_header(path, line, row, header, findings)
                places = [header[key] for key in ('head', 'rel', 'tail')]
                continue
        cells = [row[place] for place in places]
        if not all(cells):
            column = places[cells.index('')] + 1
            raise error_at(
                path,
                line,
                f'column {column} is empty; every triple needs a head, a '
                f'relation and a tail',
            )
        part.rows.append((cells[0], cells[1], cells[2]))
        part.lines.append(line)
    return part


def read_items(
    path: Path, words: Sequence[str], findings: Findings
) -> list[Item]:
    r"""Texts or names of entities, from a table or JSON lines.

    A table has two columns, entity and value, or a header that names them.
    A line of JSON is an object with such keys; its value may be a list.
    Where an entity has a readable name beside its id, that is kept too.

    Args:
        path: A ``.tsv``, ``.csv``, ``.txt`` or ``.jsonl`` file.
        words: What a header calls the value: :data:`TEXT` or :data:`NAME`.
        findings: Gets what was noticed, such as empty values.

    Raises:
        DatasetError: A line is not as it should be.
    """
    rows = _objects if path.suffix.lower() == '.jsonl' else _pairs
    items = []
    for line, entity, values, name in rows(path, words, findings):
        if not values:
            findings.add(
                'empty value', f'nothing for {shorten(entity[0])}', path, line
            )
        items += [Item(entity, value, name, path, line) for value in values]
    return items


def triple_columns(header: Sequence[str]) -> Columns | None:
    r"""Where ``'head'``, ``'rel'`` and ``'tail'`` stand in a header.

    :obj:`None` if it is none. Between a head and a tail, the only other
    column is the relation whatever it is called.
    """
    cells = [cell.strip().lower() for cell in header]
    head, rel, tail = (_find(cells, w) for w in (HEAD, RELATION, TAIL))
    if head is None or tail is None:
        return None
    rest = {0, 1, 2} - {head, tail}
    # Single letters are too likely to be names.
    sure = len(cells[head]) > 1 and len(cells[tail]) > 1
    if rel is None and len(cells) == 3 and len(rest) == 1 and sure:
        rel = rest.pop()
    if rel is None:
        return None
    return {'head': head, 'rel': rel, 'tail': tail}


def _find(cells: Sequence[str], words: Sequence[str]) -> int | None:
    return next((cells.index(word) for word in words if word in cells), None)


def _note_header(
    path: Path,
    line: int,
    row: Sequence[str],
    used: Columns,
    findings: Findings,
) -> None:
    findings.add(
        'header', f'skipped the header {shorten(str(row))}', path, line
    )
    others = [
        cell or 'without a name'
        for place, cell in enumerate(row)
        if place not in used.values()
    ]
    if others:
        unused = shorten(', '.join(others))
        findings.add('unused column', f'not used: {unused}', path, line)


def _table(
    path: Path, columns: int, findings: Findings
) -> Iterator[tuple[int, int, list[str]]]:
    # Number, line and cells of all rows that are not blank. All have as many
    # cells as the first one, and that one has `columns`, or more and a
    # header.
    lines = read_lines(path)
    suffix = path.suffix.lower()
    separator = _separator(lines, suffix, columns)
    if separator != SEPARATORS[suffix][0]:
        findings.add('separator', f'columns split at {separator!r}', path)
    rows = _csv_rows if suffix == '.csv' else _plain_rows
    width = columns
    number = 0
    for line, cells in rows(path, lines, separator):
        if not any(cells):
            continue
        if number == 0 and _is_header(cells, columns):
            width = len(cells)
        if len(cells) != width:
            what = {2: 'entity and value', 3: 'head, relation and tail'}
            raise error_at(
                path,
                line,
                f'expected {width} columns ({what[columns]}) separated by '
                f'{separator!r}, got {len(cells)}: '
                f'{shorten(lines[line - 1])}; correct the line'
                + (', or quote cells' if suffix == '.csv' else ''),
            )
        yield number, line, cells
        number += 1


def _is_header(cells: Sequence[str], columns: int) -> bool:
    if columns == 3:
        return triple_columns(cells) is not None
    return any(_item_columns(cells, words) for words in (TEXT, NAME))


def _separator(lines: Sequence[str], suffix: str, columns: int) -> str:
    marks = SEPARATORS[suffix]
    if suffix == '.txt' and columns == 2:
        marks = '\t'  # texts are full of commas
    for mark in marks:
        rows = (
            csv.reader(_ended(lines), delimiter=mark, skipinitialspace=True)
            if suffix == '.csv'
            else (_split(line, mark) for line in lines)
        )
        try:
            filled = (row for row in rows if any(map(str.strip, row)))
            sample = list(islice(filled, SAMPLE))
        except csv.Error:  # to be reported with its line
            continue
        widths = {len(row) for row in sample}
        if len(widths) == 1 and widths.pop() >= columns:
            return mark
    return marks[0]


def _ended(lines: Sequence[str]) -> Iterator[str]:
    # As csv wants them.
    return (f'{line}\n' for line in lines)


def _split(line: str, separator: str) -> list[str]:
    return line.split() if separator == ' ' else line.split(separator)


def _plain_rows(
    path: Path, lines: Sequence[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        yield number, [_unquote(cell) for cell in _split(line, separator)]


def _unquote(cell: str) -> str:
    # A name may begin with a quoted part: "Weird Al" Yankovic.
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        inside = cell[1:-1].replace('""', '')
        if '"' not in inside:
            return cell[1:-1].replace('""', '"').strip()
    return cell


def _csv_rows(
    path: Path, lines: Sequence[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        _ended(lines),
        delimiter=separator,
        skipinitialspace=True,
        strict=True,
    )
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


def _item_columns(
    header: Sequence[str], words: Sequence[str]
) -> tuple[list[int], int, int | None] | None:
    # Places of what the entity may be called, of the value, and of a name.
    cells = [cell.strip().lower() for cell in header]
    value = _find(cells, words)
    keys = [
        cells.index(word)
        for word in ENTITY
        if word in cells and cells.index(word) != value
    ]
    if value is None or not keys:
        return None
    name = _find(cells, NAME)
    return keys, value, None if name in (value, keys[0]) else name


def _pairs(
    path: Path, words: Sequence[str], findings: Findings
) -> Iterator[tuple[int, tuple[str, ...], list[str], str | None]]:
    places: tuple[list[int], int, int | None] = ([0], 1, None)
    for number, line, row in _table(path, 2, findings):
        header = _item_columns(row, words) if number == 0 else None
        if header:
            places = header
            used = dict(enumerate({*places[0], places[1]}))
            columns = {str(key): place for key, place in used.items()}
            _note_header(path, line, row, columns, findings)
            continue
        keys, value, name = places
        entity = tuple(row[key] for key in keys if row[key])
        if not entity:
            raise error_at(path, line, f'column {keys[0] + 1} is empty')
        label = row[name] if name is not None else ''
        values = [row[value]] if row[value] else []
        yield line, entity, values, label or None


def _objects(
    path: Path, words: Sequence[str], findings: Findings
) -> Iterator[tuple[int, tuple[str, ...], list[str], str | None]]:
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
            yield line, *_fields(entry, words)
        except DatasetError as error:
            raise error_at(path, line, str(error)) from None


def _fields(
    entry: dict[str, Any], words: Sequence[str]
) -> tuple[tuple[str, ...], list[str], str | None]:
    low = {str(key).strip().lower(): value for key, value in entry.items()}
    key = next((word for word in words if word in low), None)
    called = [
        _string(low[word], word)
        for word in ENTITY
        if word in low and word != key and low[word] is not None
    ]
    called = [each for each in called if each]
    if key is None or not called:
        raise DatasetError(
            f'needs an entity (a key such as {", ".join(ENTITY[:3])}) and '
            f'a value (such as {", ".join(words[:2])}), got the keys '
            f'{shorten(", ".join(low))}'
        )
    value = low[key]
    values = value if isinstance(value, list) else [value]
    texts = [_string(each, key) for each in values if each is not None]
    name = next((low[w] for w in NAME if w in low and w != key), None)
    other = isinstance(name, str) and name.strip() != called[0]
    return (
        tuple(called),
        [text for text in texts if text],
        name.strip() if other and isinstance(name, str) else None,
    )


def _string(value: Any, key: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DatasetError(
        f'{key!r} must be a string, got {shorten(json.dumps(value))}'
    )
