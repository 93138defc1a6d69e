"""Reading the raw text files of datasets, with errors that name the line."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from dsom_pyg.graph import Triples


class DatasetError(ValueError):
    r"""A dataset is not as it should be: what, where, and what to do."""


def error_at(path: Path, line: int, message: str) -> DatasetError:
    r"""An error that points at a line, counted from 1."""
    return DatasetError(f'{path}:{line}: {message}')


def read_lines(path: Path) -> list[str]:
    r"""The lines of a UTF-8 file, with any line ends, no last empty line."""
    try:
        # Only real line ends: str.splitlines would also split at characters
        # that occur inside names.
        raw = path.read_bytes()
        text = raw.decode('utf-8-sig')
    except FileNotFoundError:
        raise DatasetError(f"the file '{path}' is missing") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b'\n') + 1
        raise error_at(
            path, line, 'is not UTF-8 text; convert the file to UTF-8'
        ) from None
    lines = [line.removesuffix('\r') for line in text.split('\n')]
    if lines[-1] == '':
        lines.pop()
    return lines


def read_table(
    path: Path, columns: int, separator: str = '\t'
) -> list[list[str]]:
    r"""Rows of a fixed number of non-empty cells; row i is line i + 1."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        row = line.split(separator)
        if len(row) != columns:
            raise error_at(
                path,
                number,
                f'expected {columns} columns separated by {separator!r}, '
                f'got {len(row)}: {shorten(line)}',
            )
        if not all(cell.strip() for cell in row):
            column = [bool(cell.strip()) for cell in row].index(False) + 1
            raise error_at(path, number, f'column {column} is empty')
        rows.append(row)
    return rows


def _counted(path: Path) -> Iterator[tuple[int, str]]:
    # The lines after the first, which must say how many they are.
    lines = read_lines(path)
    first = lines[0].strip() if lines else ''
    if not (first.isascii() and first.isdigit()):
        raise error_at(
            path, 1, f'must hold the number of rows, got {shorten(first)}'
        )
    if int(first) != len(lines) - 1:
        raise error_at(
            path,
            1,
            f'announces {int(first)} rows, but {len(lines) - 1} follow; the '
            f'file is cut off or was changed',
        )
    yield from enumerate(lines[1:], 2)


def read_ids(path: Path) -> list[str]:
    r"""Names in the order of their ids, from a ``*2id.txt`` file.

    The first line is a count; every further one is a name, which may hold
    spaces, and an id.

    Raises:
        DatasetError: The count, the number of columns or an id is wrong, or
            a name or an id comes twice.
    """
    rows = list(_counted(path))
    names: list[str | None] = [None] * len(rows)
    seen: dict[str, int] = {}
    for number, line in rows:
        cells = line.rsplit(None, 1)
        if len(cells) != 2:
            raise error_at(
                path, number, f'expected a name and an id: {shorten(line)}'
            )
        name = cells[0].strip()
        index = _integer(path, number, cells[1], len(rows), 'id')
        if names[index] is not None or name in seen:
            what = f'name {name!r}' if name in seen else f'id {index}'
            raise error_at(path, number, f'{what} comes a second time')
        names[index] = name
        seen[name] = index
    # As many distinct ids in 0..n-1 as rows: every place is taken.
    return [name for name in names if name is not None]


def read_id_triples(
    path: Path, num_entities: int, num_relations: int
) -> Triples:
    r"""Triples from a ``*2id.txt`` file: a count, then head, tail, relation.

    Raises:
        DatasetError: The count or the number of columns is wrong, or an id
            is no integer or out of range.
    """
    limits = (num_entities, num_entities, num_relations)
    words = ('head id', 'tail id', 'relation id')
    rows = []
    for number, line in _counted(path):
        cells = line.split()
        if len(cells) != 3:
            raise error_at(
                path,
                number,
                'expected 3 columns (head tail relation), '
                f'got {len(cells)}: {shorten(line)}',
            )
        rows.append(
            [
                _integer(path, number, *column)
                for column in zip(cells, limits, words, strict=True)
            ]
        )
    return _to_triples(rows)


def read_labeled_triples(
    path: Path,
    entity_ids: Mapping[str, int],
    relation_ids: Mapping[str, int],
) -> Triples:
    r"""Triples from rows of head, relation and tail names, tab-separated.

    Args:
        path: A text file without a header.
        entity_ids: The id of each entity name.
        relation_ids: The id of each relation name.

    Raises:
        DatasetError: The number of columns is wrong, or a name is empty or
            unknown.
    """
    rows = []
    for number, (head, rel, tail) in enumerate(read_table(path, 3), 1):
        for name, ids, what in (
            (head, entity_ids, 'entity'),
            (rel, relation_ids, 'relation'),
            (tail, entity_ids, 'entity'),
        ):
            if name not in ids:
                raise error_at(path, number, unknown_name(name, ids, what))
        rows.append([entity_ids[head], entity_ids[tail], relation_ids[rel]])
    return _to_triples(rows)


def unknown_name(name: str, known: Mapping[str, int], what: str) -> str:
    r"""A message that suggests the nearest known name."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    return f'unknown {what} {name!r}{hint}'


def index_names(path: Path, names: Sequence[str]) -> dict[str, int]:
    r"""Name to position; the name at position i stands in line i + 1."""
    ids: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in ids:
            raise error_at(
                path,
                index + 1,
                f'{name!r} comes a second time, first in line {ids[name] + 1}',
            )
        ids[name] = index
    return ids


def unique_names(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    r"""Append the key to every name that several keys share.

    Keys must be unique.
    """
    assert len(set(keys)) == len(keys)
    out = list(names)
    counts = Counter(out)
    # Once is nearly always enough, but a name may look like the outcome.
    while len(counts) < len(out):
        out = [
            f'{name} ({key})' if counts[name] > 1 else name
            for name, key in zip(out, keys, strict=True)
        ]
        counts = Counter(out)
    return out


def _integer(path: Path, line: int, cell: str, limit: int, what: str) -> int:
    if not (cell.isascii() and cell.isdigit()):
        raise error_at(
            path, line, f'{what} must be an integer, got {shorten(cell)}'
        )
    value = int(cell)
    if value >= limit:
        raise error_at(path, line, f'{what} {value} is outside 0..{limit - 1}')
    return value


def _to_triples(rows: list[list[int]]) -> Triples:
    # Head, tail, relation; the reshape also fits a file without rows.
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
    head_tail = table[:, :2].t().contiguous()
    return Triples(head_tail, table[:, 2].contiguous())


def shorten(text: str) -> str:
    r"""A quoted text that fits into a message."""
    return repr(text if len(text) <= 80 else f'{text[:77]}...')


def well_formed(text: str) -> str:
    r"""A text that can be encoded: lone surrogates are replaced."""
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
