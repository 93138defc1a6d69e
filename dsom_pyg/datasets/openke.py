"""Files of the OpenKE layout: a count, then names or triples with ids."""

from collections.abc import Iterator
from pathlib import Path

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.text import read_lines, to_triples
from dsom_pyg.graph import Triples


def read_ids(path: Path) -> list[str]:
    r"""Names in the order of their ids, from a ``*2id.txt`` file.

    The first line is a count; every further one is a name, which may hold
    spaces, and an id.
    """
    rows = list(_counted(path))
    names: dict[int, str] = {}
    seen: set[str] = set()
    for number, line in rows:
        cells = line.rsplit(None, 1)
        if len(cells) != 2:
            message = f'expected a name and an id: {shorten(line)}'
            raise error_at(path, number, message)
        name = cells[0].strip()
        index = _integer(path, number, cells[1], len(rows), 'id')
        if index in names or name in seen:
            what = f'name {name!r}' if name in seen else f'id {index}'
            raise error_at(path, number, f'{what} comes a second time')
        names[index] = name
        seen.add(name)
    return [names[index] for index in range(len(rows))]


def read_id_triples(
    path: Path, num_entities: int, num_relations: int
) -> Triples:
    r"""Triples from a ``*2id.txt`` file: a count, then head, tail, rel."""
    limits = (num_entities, num_entities, num_relations)
    words = ('head id', 'tail id', 'relation id')
    # A look-up is much faster than a check of every cell.
    entities = {str(index): index for index in range(num_entities)}
    relations = {str(index): index for index in range(num_relations)}
    rows = []
    for number, line in _counted(path):
        cells = line.split()
        if len(cells) != 3:
            got = f'got {len(cells)}: {shorten(line)}'
            want = 'expected 3 columns (head tail relation)'
            raise error_at(path, number, f'{want}, {got}')
        head, tail, rel = cells
        try:
            row = [entities[head], entities[tail], relations[rel]]
        except KeyError:
            row = [
                _integer(path, number, *column)
                for column in zip(cells, limits, words, strict=True)
            ]
        rows.append(row)
    return to_triples(rows)


def _counted(path: Path) -> Iterator[tuple[int, str]]:
    # The lines after the first, which must say how many they are.
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    first = lines[0].strip() if lines else ''
    if not (first.isascii() and first.isdigit()):
        message = f'must hold the number of rows, got {shorten(first)}'
        raise error_at(path, 1, message)
    if int(first) != len(lines) - 1:
        message = f'announces {int(first)} rows, but {len(lines) - 1} follow'
        why = 'the file is cut off or was changed'
        raise error_at(path, 1, f'{message}; {why}')
    yield from enumerate(lines[1:], 2)


def _integer(path: Path, line: int, cell: str, limit: int, what: str) -> int:
    if not (cell.isascii() and cell.isdigit()):
        message = f'{what} must be an integer, got {shorten(cell)}'
        raise error_at(path, line, message)
    value = int(cell)
    if value >= limit:
        raise error_at(path, line, f'{what} {value} is outside 0..{limit - 1}')
    return value
