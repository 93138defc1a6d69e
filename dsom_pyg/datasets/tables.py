"""Tables of one's own: triples, texts and names as people write them."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    shorten,
    well_formed,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.headers import (
    ENTITY,
    NAME,
    Columns,
    ItemColumns,
    is_header,
    is_relation_word,
    item_columns,
    maybe_name,
    triple_columns,
)
from dsom_pyg.datasets.separators import SEPARATORS, ended, separators, split
from dsom_pyg.datasets.text import read_lines


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
    rows = list(_table(path, 3, findings))
    header = _header([row for *_, row in rows])
    if header:
        _, line, row = rows.pop(0)
        _note_header(path, line, row, header, findings)
        places = [header[key] for key in ('head', 'rel', 'tail')]
    for _, line, row in rows:
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
    if not header:
        _note_maybe_header(part, findings)
    return part


def _header(rows: Sequence[Sequence[str]]) -> Columns | None:
    # Words such as e1 are a header only if no further row has them.
    header = triple_columns(rows[0]) if rows else None
    if header is None:
        return None
    ends = [header['head'], header['tail']]
    words = {rows[0][end] for end in ends if maybe_name(rows[0][end])}
    again = any(row[end] in words for row in rows[1:] for end in ends)
    return None if again and len(rows[0]) == 3 else header


def _note_maybe_header(part: Part, findings: Findings) -> None:
    rels = [rel for _, rel, _ in part.rows[:1]]
    if rels and is_relation_word(rels[0]):
        again = any(rel == rels[0] for _, rel, _ in part.rows[1:])
        if not again:
            findings.add(
                'maybe a header',
                f'read {shorten(" | ".join(part.rows[0]))} as a triple; if '
                f'it is a header, call the columns head, relation and tail',
                part.file,
                part.line(0),
            )


def read_items(
    path: Path, words: Sequence[str], findings: Findings
) -> list[Item]:
    r"""Texts or names of entities, from a table or JSON lines.

    A table has two columns, entity and value, or a header that names them.
    A line of JSON is an object with such keys; its value may be a list.
    Where an entity has a readable name beside its id, that is kept too.

    Args:
        path: A ``.tsv``, ``.csv``, ``.txt`` or ``.jsonl`` file.
        words: What a header calls the value: ``TEXT`` or ``NAME`` of
            :mod:`~dsom_pyg.datasets.headers`.
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
    separator, *others = separators(lines, suffix, columns)
    if separator != SEPARATORS[suffix][0]:
        findings.add('separator', f'columns split at {separator!r}', path)
    if others:
        findings.add(
            'ambiguous separator',
            f'columns split at {separator!r}, but {others[0]!r} would fit '
            f'too; quote cells'
            + (' that hold a mark' if suffix == '.csv' else ', or use tabs'),
            path,
        )
    rows = _csv_rows if suffix == '.csv' else _plain_rows
    width = columns
    number = 0
    for line, cells in rows(path, lines, separator):
        if not any(cells):
            continue
        if number == 0 and is_header(cells, columns):
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


def _plain_rows(
    path: Path, lines: Sequence[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        yield number, [_unquote(cell) for cell in split(line, separator)]


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
        ended(lines),
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


def _pairs(
    path: Path, words: Sequence[str], findings: Findings
) -> Iterator[tuple[int, tuple[str, ...], list[str], str | None]]:
    places: ItemColumns = ([0], 1, None)
    for number, line, row in _table(path, 2, findings):
        header = item_columns(row, words) if number == 0 else None
        if number == 0 and not header and is_header(row, 2):
            raise error_at(
                path,
                line,
                f'the header {shorten(str(row))} names no column with a '
                f'{words[0]}; call one of its columns "{words[0]}"',
            )
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
    called: list[str] = []
    for word in ENTITY:
        value = low.get(word)
        # One name will do; what else there is may be of any kind.
        if value is None or word == key or (called and not _is_text(value)):
            continue
        name = _string(value, word)
        called += [name] if name else []
    if key is None or not called:
        raise DatasetError(
            f'needs an entity (a key such as {", ".join(ENTITY[:3])}) and '
            f'a value (such as {", ".join(words[:2])}), got the keys '
            f'{shorten(", ".join(low))}'
        )
    value = low[key]
    values = value if isinstance(value, list) else [value]
    texts = [_string(each, key) for each in values if each is not None]
    names = (low[w] for w in NAME if w in low and w != key)
    other = next((_string(x, 'name') for x in names if _is_text(x)), '')
    return (
        tuple(called),
        [text for text in texts if text],
        other if other and other != called[0] else None,
    )


def _string(value: Any, key: str) -> str:
    if _is_text(value):
        return well_formed(str(value)).strip()
    raise DatasetError(
        f'{key!r} must be a string, got {shorten(json.dumps(value))}'
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
