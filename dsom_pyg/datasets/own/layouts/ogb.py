"""Folders of the Open Graph Benchmark, such as ogbl-wikikg2 and ogbl-biokg."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsom_pyg.datasets.errors import DatasetError, error_at, shorten
from dsom_pyg.datasets.features.files import read_arrays
from dsom_pyg.datasets.own.layouts.numbered import note_layout
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.datasets.text import plain_name, read_lines

# Between the types and the relation in the name of a folder.
BETWEEN = '___'
SPLITS = {'train.pt': 'train', 'valid.pt': 'val', 'test.pt': 'test'}
MAPPING = 'idx2', 'type2'
# The arrays of a split.
KEYS = ('head', 'relation', 'tail')
END_TYPES = ('head_type', 'tail_type')


class Row(NamedTuple):
    r"""A triple in ids, and where it stands."""

    head: tuple[str, int]  # type and id within it
    relation: int
    tail: tuple[str, int]
    place: Place


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if there are no edges with types."""
    raw = root / 'raw' if (root / 'raw').is_dir() else root
    files: dict[str, Path] = {}
    folders = [
        raw,
        *sorted((raw / 'relations').glob(f'*{BETWEEN}*{BETWEEN}*')),
    ]
    for folder in folders:
        there = _there(folder)
        if {'edge.csv', 'edge_reltype.csv'} <= there.keys():
            name = '' if folder == raw else folder.name
            files[f'edges {name}'] = there['edge.csv']
            files[f'types {name}'] = there['edge_reltype.csv']
    if not files:
        return None
    for name, path in _there(root / 'mapping').items():
        if name.endswith('.csv') and any(word in name for word in MAPPING):
            files[f'mapping {name}'] = path
    for folder in sorted((root / 'split').glob('*')):
        there = _there(folder)
        if SPLITS.keys() <= there.keys() and 'train' not in files:
            files |= {part: there[name] for name, part in SPLITS.items()}
    return files


def read(root: Path, files: dict[str, Path], reading: Reading) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    table = Table({})
    entities, relations = _mappings(files)
    rows = {
        split: _read_split(files[split])
        for split in SPLITS.values()
        if split in files
    } or {'train': _read_edges(files)}
    if not entities:
        entities = _numbered(rows.values())
    typed = len(entities) > 1
    for kind, labels in entities.items():
        called = [_label(kind, label, typed) for label in labels]
        table.entities += called
        if typed:
            table.types += [Entry((label,), kind) for label in called]
    table.relations = dict.fromkeys(relations, '')
    note_layout(table, root, 'a folder of the Open Graph Benchmark')
    for split, each in rows.items():
        table.triples[split] = [
            Triple(
                _named(row.head, entities, typed, row.place),
                _at(relations, row.relation, 'relation', row.place)
                if relations
                else str(row.relation),
                _named(row.tail, entities, typed, row.place),
                row.place,
            )
            for row in each
        ]
    return table


def _numbered(splits: Iterable[list[Row]]) -> dict[str, list[str]]:
    # The labels of entities are their ids, where nothing names them.
    sizes: dict[str, int] = {}
    for row in chain.from_iterable(splits):
        for kind, at in (row.head, row.tail):
            sizes[kind] = max(sizes.get(kind, 0), at + 1)
    return {kind: list(map(str, range(n))) for kind, n in sizes.items()}


def _there(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {plain_name(path): path for path in files}


def _label(kind: str, label: str, typed: bool) -> str:
    # Ids of two types may be the same.
    return f'{kind}/{label}' if typed else label


def _named(
    end: tuple[str, int],
    entities: dict[str, list[str]],
    typed: bool,
    place: Place,
) -> str:
    kind, at = end
    if kind not in entities:
        why = f'no mapping of the type {shorten(kind)}'
        raise DatasetError(f"'{place.file}': there is {why}")
    label = _at(entities[kind], at, 'entity', place)
    return _label(kind, label, typed)


def _at(labels: Sequence[str], at: int, what: str, place: Place) -> str:
    if not 0 <= at < len(labels):
        why = f'there is no {what} {at}: the mapping has {len(labels)}'
        if place.line is None or place.file is None:
            raise DatasetError(f"'{place.file}': {why}")
        raise error_at(place.file, place.line, why)
    return labels[at]


def _mappings(
    files: dict[str, Path],
) -> tuple[dict[str, list[str]], list[str]]:
    # The labels of entities by type, and those of relations, by id.
    entities: dict[str, list[str]] = {}
    relations: list[str] = []
    for part, path in files.items():
        if not part.startswith('mapping '):
            continue
        name = part.removeprefix('mapping ')
        labels = _read_mapping(path)
        if name.startswith('rel'):
            relations = labels
        else:
            kind = name.split('_')[0] if '_' in name else ''
            entities[kind] = labels
    return entities, relations


def _read_mapping(path: Path) -> list[str]:
    labels: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        index, _, label = (cell.strip() for cell in line.partition(','))
        if number == 1 and not index.isdecimal():  # a header
            continue
        if index != str(len(labels)) or not label:
            why = f'expected {len(labels)} and a label, got {shorten(line)}'
            raise error_at(path, number, why)
        labels.append(_bare(label))
    return labels


def _bare(cell: str) -> str:
    # A quoted cell of CSV has each of its quotes twice.
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _numbers(path: Path, width: int) -> list[list[int]]:
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        cells = [cell.strip() for cell in line.split(',')]
        if len(cells) != width or not all(map(str.isdecimal, cells)):
            what = 'a number' if width == 1 else f'{width} numbers'
            why = f'expected {what} a line, got {shorten(line)}'
            raise error_at(path, number, why)
        rows.append(list(map(int, cells)))
    return rows


def _read_edges(files: dict[str, Path]) -> list[Row]:
    rows = []
    for part, path in files.items():
        kind, _, name = part.partition(' ')
        if kind != 'edges':
            continue
        head, _, tail = name.split(BETWEEN) if name else ('', '', '')
        pairs, types = _numbers(path, 2), _numbers(files[f'types {name}'], 1)
        if len(pairs) != len(types):
            why = f'{len(pairs)} edges, but {len(types)} types of edges in '
            why += f"'{files[f'types {name}'].name}'"
            raise DatasetError(f"'{path}' has {why}")
        for line, ((h, t), (r,)) in enumerate(
            zip(pairs, types, strict=True), 1
        ):
            rows.append(Row((head, h), r, (tail, t), Place(path, line)))
    return rows


def _read_split(path: Path) -> list[Row]:
    arrays = read_arrays(path)
    if not set(KEYS) <= arrays.keys():
        why = f'must hold {", ".join(KEYS)}, got {", ".join(arrays)}'
        raise DatasetError(f"'{path}' {why}")
    columns: list[list[Any]] = []
    for key in KEYS:
        x = np.asarray(arrays[key])
        if x.ndim != 1 or not np.issubdtype(x.dtype, np.integer):
            why = f'must be whole numbers in one row, got {x.dtype}'
            raise DatasetError(f"'{path}': {key!r} {why} {list(x.shape)}")
        columns.append(x.tolist())
    count = len(columns[0])
    types = [arrays.get(key, [''] * count) for key in END_TYPES]
    sizes = {len(each) for each in (*columns, *types)}
    if sizes != {count}:
        raise DatasetError(f"'{path}': its columns have sizes {sorted(sizes)}")
    place = Place(path)
    return [
        Row((str(a), h), r, (str(b), t), place)
        for h, r, t, a, b in zip(*columns, *types, strict=True)
    ]
