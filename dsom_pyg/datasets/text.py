"""Text files as lines and rows, with errors that name the line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    shorten,
    unknown_name,
)
from dsom_pyg.graph import Triples


def read_lines(path: Path) -> list[str]:
    r"""The lines of a UTF-8 file without their ends, LF or CRLF."""
    try:
        # str.splitlines would also split at characters within names.
        raw = path.read_bytes()
        text = raw.decode('utf-8-sig')
    except FileNotFoundError:
        raise DatasetError(f"the file '{path}' is missing") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b'\n') + 1
        why = 'is not UTF-8 text; convert the file to UTF-8'
        raise error_at(path, line, why) from None
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
