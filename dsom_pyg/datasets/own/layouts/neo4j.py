"""Exports of Neo4j: the tables of ``neo4j-admin import``, and APOC's."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.own.columns import (
    NAME,
    TEXT,
    Columns,
    at_place,
    labels_in,
    texts_of,
)
from dsom_pyg.datasets.own.delimited import read_columns
from dsom_pyg.datasets.own.objects import SUFFIXES, read_items
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.datasets.text import (
    each_line,
    plain_name,
    read_bytes,
    read_lines,
    suffix_of,
)

# A column of the import, such as name:string or :START_ID(Person).
COLUMN = re.compile(r'([^:]*)(?::(\w+)(\[\])?(?:\(([^)]*)\))?)?(?:\{.*\})?')
EDGE = {'START_ID': 'head', 'TYPE': 'relation', 'END_ID': 'tail'}
APOC = ('_id', '_labels', '_start', '_end', '_type')
# What the name of a header says beside that of its rows.
HEADER = re.compile(r'[-_.]?headers?')
EDGE_JSON = re.compile(r'"type"\s*:\s*"relationship"')
NODE_JSON = re.compile(r'"type"\s*:\s*"node"')


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if it is no export."""
    files = {}
    for path in sorted(root.iterdir()):
        if path.is_file() and (kind := _kind(path)):
            files[f'{kind} {path.name}'] = path
    for path in _without_header(root, files):
        files[f'rows {path.name}'] = path
    kinds = {part.split()[0] for part in files}
    return files if kinds & {'edges', 'apoc', 'json'} else None


def read(root: Path, files: dict[str, Path], reading: Reading) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    table = Table({'train': []})
    message = 'read as an export of Neo4j: ids are labels'
    table.findings.add('layout', message, root)
    apart = [path for part, path in files.items() if part[:5] == 'rows ']
    for part, path in files.items():
        kind = part.split()[0]
        if kind == 'rows':
            continue
        rows = [x for x in apart if _is_header(path) and _belongs(x, path)]
        READERS[kind](path, table, rows)
        if _is_header(path) and not rows:
            message = 'a header without rows; a file of rows is called as it '
            message += "is, without 'header'"
            table.findings.add('no rows', message, path)
    return table


def _without_header(root: Path, files: dict[str, Path]) -> list[Path]:
    # Large exports have each header in a file of its own.
    headers = [path for path in files.values() if _is_header(path)]
    known = {*files.values()}
    return [
        path
        for path in sorted(root.iterdir())
        if path not in known
        and path.is_file()
        and any(_belongs(path, header) for header in headers)
    ]


def _is_header(path: Path) -> bool:
    # Whether there is one line alone.
    if suffix_of(path) not in ('.csv', '.tsv'):
        return False
    lines = read_bytes(path, 2**16).strip().splitlines()
    return len(lines) == 1


def _belongs(path: Path, header: Path) -> bool:
    stem = plain_name(header).rsplit('.', 1)[0]
    stem = HEADER.sub('', stem)
    name = re.escape(stem)
    rows = rf'{name}([-_.]?(part|rows|data)?[-_.]?\d*)?\.(csv|tsv)'
    return bool(re.fullmatch(rows, plain_name(path)))


def _kind(path: Path) -> str | None:
    # What a file holds, by its beginning.
    suffix = suffix_of(path)
    if suffix not in ('.csv', '.tsv', *SUFFIXES):
        return None
    try:
        start = read_bytes(path, 2**16).decode('utf-8-sig', 'replace')
    except (DatasetError, OSError):  # perhaps no part of the graph
        return None
    if suffix in SUFFIXES:
        if EDGE_JSON.search(start) and '"start"' in start:
            return 'json'
        # APOC writes nodes first, and there may be many.
        known = NODE_JSON.search(start) and len(start) > 2**15
        found = known and any(map(EDGE_JSON.search, each_line(path)))
        return 'json' if found else None
    header = start.split('\n')[0]
    if ':START_ID' in header and ':END_ID' in header:
        return 'edges'
    if re.search(r':ID\b', header):
        return 'nodes'
    return 'apoc' if all(word in header for word in APOC) else None


class _Column(NamedTuple):
    name: str = ''
    kind: str = ''
    group: str = ''
    is_list: bool = False


def _parsed(header: Sequence[str]) -> list[_Column]:
    found = [COLUMN.fullmatch(cell.strip()) for cell in header]
    return [
        _Column(x[1] or '', x[2] or '', x[4] or '', bool(x[3]))
        if x
        else _Column()
        for x in found
    ]


def _rows(
    path: Path,
    words: Sequence[str],
    places: Callable[[Sequence[str]], Columns],
    table: Table,
    apart: Sequence[Path],
) -> Iterator[tuple[Place, Columns, list[str]]]:
    # The rows of a file, or of others whose header it is.
    columns, rows = read_columns(path, words, places, table.findings)
    yield from ((Place(path, line), columns, row) for line, row in rows)
    if not apart:
        return
    line = read_lines(path)[0]
    mark = max('\t,;', key=line.count)
    width = [str(at) for at in range(line.count(mark) + 1)]
    for other in apart:
        _, rows = read_columns(other, width, lambda _: {}, table.findings)
        yield from ((Place(other, line), columns, row) for line, row in rows)


def _read_edges(path: Path, table: Table, apart: Sequence[Path]) -> None:
    groups: dict[str, str] = {}

    def places(header: Sequence[str]) -> Columns:
        out = {}
        for at, column in enumerate(_parsed(header)):
            if column.kind in EDGE:
                out[EDGE[column.kind]] = at
                groups[EDGE[column.kind]] = column.group
        if out and 'relation' not in out:
            why = f"'{path}' has no column :TYPE; add one, or name it so"
            raise DatasetError(why)
        return out

    words = ('head', 'relation', 'tail')
    for place, columns, row in _rows(path, words, places, table, apart):
        said = {word: row[at] for word, at in columns.items()}
        for word, cell in said.items():
            if not cell:
                raise at_place(place, f'the {word} is empty')
        table.of_split('train').append(
            Triple(
                _key(said['head'], groups['head']),
                said['relation'],
                _key(said['tail'], groups['tail']),
                place,
            )
        )


def _read_nodes(path: Path, table: Table, apart: Sequence[Path]) -> None:
    group, lists = '', set[str]()

    def places(header: Sequence[str]) -> Columns:
        nonlocal group
        parsed = _parsed(header)
        out = _values([column.name for column in parsed])
        lists.update(word for word, at in out.items() if parsed[at].is_list)
        for at, column in enumerate(parsed):
            if column.kind == 'ID':
                out['entity'], group = at, column.group
            elif column.kind == 'LABEL':
                out['types'] = at
        # Those of a node may be all that there is.
        return {'node': out['entity'], **out} if 'entity' in out else {}

    words = ('node', 'entity')
    for place, columns, row in _rows(path, words, places, table, apart):
        said: dict[str, Any] = {word: row[at] for word, at in columns.items()}
        for word in lists:
            said[word] = said[word].split(';')
        key = _key(said['entity'], group)
        _add(table, key, said, said.get('types', '').split(';'), place)


def _read_apoc(path: Path, table: Table, apart: Sequence[Path]) -> None:
    def places(header: Sequence[str]) -> Columns:
        cells = [cell.strip() for cell in header]
        if not all(word in cells for word in APOC):
            return {}
        return {word: cells.index(word) for word in APOC} | _values(cells)

    columns, rows = read_columns(path, APOC, places, table.findings)
    for line, row in rows:
        said = {word: row[at] for word, at in columns.items()}
        place = Place(path, line)
        if said['_start']:
            edge = said['_start'], said['_type'], said['_end']
            if not all(edge):
                raise at_place(place, f'has no end or no type: {edge}')
            table.of_split('train').append(Triple(*edge, place))
        else:
            types = said['_labels'].split(':')
            _add(table, said['_id'], said, types, place)


def _read_json(path: Path, table: Table, apart: Sequence[Path]) -> None:
    for place, item in read_items(path):
        try:
            kind = item['type']
            if kind == 'node':
                [key] = labels_in(item['id'], 'id')
                said = dict(_named(dict(item.get('properties') or {})))
                labels = item.get('labels')
                types = labels_in(labels, 'type') if labels else []
                _add(table, key, said, types, place)
            elif kind == 'relationship':
                ends = item['start']['id'], item['end']['id']
                [head], [tail] = (labels_in(end, 'id') for end in ends)
                [relation] = labels_in(item['label'], 'label')
                row = Triple(head, relation, tail, place)
                table.of_split('train').append(row)
            else:
                raise ValueError(f'its type is {shorten(str(kind))}')
        except DatasetError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f'is no node or relationship of an export ({error!r})'
            raise at_place(place, why) from None


def _values(names: Sequence[str]) -> Columns:
    # The places of a name and of a text.
    lower = [name.strip().lower() for name in names]
    both = {'name': NAME, 'text': TEXT}
    found = {k: [w for w in words if w in lower] for k, words in both.items()}
    return {k: lower.index(words[0]) for k, words in found.items() if words}


def _named(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    values = list(properties.values())
    for word, at in _values(list(properties)).items():
        yield word, values[at]


def _key(cell: str, group: str) -> str:
    # Ids of two groups may be the same.
    return f'{group}/{cell}' if group else cell


def _add(
    table: Table,
    key: str,
    said: dict[str, Any],
    types: Sequence[str],
    place: Place,
) -> None:
    if not key:
        raise at_place(place, 'the id of the node is empty')
    table.entities.append(key)
    table.types += [
        Entry((key,), x.strip(), place) for x in types if x.strip()
    ]
    for word, out in (('name', table.names), ('text', table.texts)):
        try:
            values = texts_of(said.get(word))
        except ValueError as error:
            raise at_place(place, f'the {word} {error}') from None
        out += [Entry((key,), value, place) for value in values if value]


# What reads a file of each kind.
READERS: dict[str, Callable[[Path, Table, Sequence[Path]], None]] = {
    'apoc': _read_apoc,
    'edges': _read_edges,
    'json': _read_json,
    'nodes': _read_nodes,
}
