"""Folders with lists of ids, and triples in labels or in these ids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    shorten,
    unknown_name,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import composed
from dsom_pyg.datasets.own.columns import HRT, triple_columns
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.datasets.text import plain_name, read_bytes, read_lines
from dsom_pyg.graph import SPLITS

# A line and its cells.
Row = tuple[int, list[str]]
WORDS = {'val': ('valid', 'val', 'dev', 'validation')}


@dataclass(frozen=True)
class Numbered:
    r"""A layout of this kind.

    Args:
        name: What it is called.
        entities, relations: Files with an id and a label a line, in either
            order.
        suffix: Of the files with triples.
        names: Files with readable names of entities and of relations, each
            behind an id or a label.
        all_triples: A file with the triples of all splits.
        ids: Triples are written in ids only.
    """

    name: str
    entities: str
    relations: str
    suffix: str
    names: tuple[str, str] | None = None
    all_triples: str | None = None
    ids: bool = False

    def find_files(self, root: Path) -> dict[str, Path] | None:
        r"""The files by part; :obj:`None` if it is another layout."""
        there = {
            plain_name(path): path
            for path in sorted(root.iterdir())
            if path.is_file()
        }
        wanted = {'entities': self.entities, 'relations': self.relations}
        for split in SPLITS:
            for word in WORDS.get(split, (split,)):
                if word + self.suffix in there:
                    wanted.setdefault(split, word + self.suffix)
        if 'train' not in wanted and self.all_triples:
            wanted['train'] = self.all_triples
        if 'train' not in wanted or not set(wanted.values()) <= set(there):
            return None
        # Lists of labels alone, or of labels and names, are something else.
        if not _is_numbered(there[self.entities]):
            return None
        for part, name in zip(
            ('names', 'relation names'), self.names or (), strict=False
        ):
            if name in there:
                wanted[part] = name
        return {part: there[name] for part, name in wanted.items()}

    def read(
        self, root: Path, files: dict[str, Path], reading: Reading
    ) -> Table:
        r"""The graph in labels, from the files that were found."""
        table = Table({})
        table.entities = entities = _labels(files['entities'], table.findings)
        relations = _labels(files['relations'], table.findings)
        table.relations = dict.fromkeys(relations, '')
        note_layout(table, root, self.name)
        parts = {
            split: _Cells(files[split], table.findings, reading)
            for split in SPLITS
            if split in files
        }
        written = {'entities': entities, 'relations': relations}
        known = {
            what: self._known(what, labels, parts.values(), table.findings)
            for what, labels in written.items()
        }
        for split, cells in parts.items():
            table.triples[split] = cells.triples(known)
        for part, labels, out in (
            ('names', entities, table.names),
            ('relation names', relations, table.relation_names),
        ):
            if path := files.get(part):
                out += _names(path, labels, table.findings)
        return table

    def _known(
        self,
        what: str,
        labels: Sequence[str],
        parts: 'Iterable[_Cells]',
        findings: Findings,
    ) -> dict[str, str]:
        # From what stands in triples to labels. All files say it alike.
        by_id = {str(at): label for at, label in enumerate(labels)}
        by_label = {label: label for label in labels}
        written = {cell for part in parts for cell in part.of(what)}
        if self.ids or not written <= by_label.keys():
            ids = self.ids or written <= by_id.keys()
            return by_id if ids else by_label
        # Labels may be numbers, too: they go before ids.
        if written <= by_id.keys() and by_id != by_label:
            findings.add(
                'labels or ids',
                f'{what} in triples may be labels or ids; they were read as '
                'labels',
            )
        return by_label


def _is_numbered(path: Path) -> bool:
    # Whether one of the first two lines, of which one may be a header, has a
    # number.
    start = read_bytes(path, 2**12).decode('utf-8-sig', 'replace')
    cells = [x for line in start.split('\n')[:2] for x in line.split('\t')]
    return any(cell.strip().isdecimal() for cell in cells)


def note_layout(table: Table, root: Path, name: str) -> None:
    r"""Say how a folder is read, whose labels are listed by now."""
    message = f'read as {name}: ids and their order kept'
    for what, labels in (
        ('entities', table.entities),
        ('relations', table.relations),
    ):
        # Two forms of a label in Unicode have one id.
        if len(forms := {composed(label) for label in labels}) < len(labels):
            less = len(labels) - len(forms)
            message += (
                f', but of {what} up to the first of {less} whose label came '
                'before in another Unicode form'
            )
    table.findings.add('layout', message, root)


def _rows(path: Path, width: int) -> list[Row]:
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            cells = [cell.strip() for cell in line.split('\t')]
            if len(cells) != width:
                why = f'expected {width} columns separated by tabs, got '
                raise error_at(
                    path, number, f'{why}{len(cells)}: {shorten(line)}'
                )
            rows.append((number, cells))
    return rows


def _note_header(path: Path, row: Row, findings: Findings) -> None:
    message = f'skipped the header {shorten(str(row[1]))}'
    findings.add('header', message, path, row[0])


def _labels(path: Path, findings: Findings) -> list[str]:
    # In the order of their ids. A header would have no number.
    rows = _rows(path, 2)
    if rows and not any(cell.isdecimal() for cell in rows[0][1]):
        _note_header(path, rows.pop(0), findings)
    count = len(rows)
    numbers = {str(index) for index in range(count)}
    for at in (0, 1):
        if {cells[at] for _, cells in rows} == numbers:
            labels = {int(cells[at]): cells[1 - at] for _, cells in rows}
            out = [labels[index] for index in range(count)]
            if len(set(out)) < count:
                twice = next(x for x in out if out.count(x) > 1)
                why = f'the label {shorten(twice)} comes a second time'
                raise DatasetError(f"'{path}': {why}")
            return out
    raise DatasetError(
        f"'{path}' must give each of its {count} labels an id, once each of 0 "
        f'to {count - 1}, in the first or the second column'
    )


def _names(
    path: Path, labels: Sequence[str], findings: Findings
) -> Iterator[Entry]:
    # Behind labels or behind ids.
    ids = {str(index): label for index, label in enumerate(labels)}
    for number, (key, name) in _rows(path, 2):
        if not name:
            message = f'the value of {shorten(key)} is empty'
            findings.add('empty value', message, path, number)
            continue
        said = [key, ids[key]] if key in ids else [key]
        yield Entry(tuple(said), name, Place(path, number))


class _Cells:
    # What a file of triples holds, by column.
    def __init__(
        self, path: Path, findings: Findings, reading: Reading
    ) -> None:
        self.path, self.rows = path, _rows(path, len(HRT))
        columns = triple_columns(self.rows[0][1]) if self.rows else {}
        if len(columns) == len(HRT):
            _note_header(path, self.rows.pop(0), findings)
        else:
            columns = {word: reading.order.index(word) for word in HRT}
        self.columns = columns

    def of(self, what: str) -> Iterator[str]:
        words = ('relation',) if what == 'relations' else ('head', 'tail')
        for word in words:
            at = self.columns[word]
            yield from (cells[at] for _, cells in self.rows)

    def triples(self, known: Mapping[str, Mapping[str, str]]) -> list[Triple]:
        out: list[list[str]] = []
        for word in HRT:
            what = 'relations' if word == 'relation' else 'entities'
            at, labels = self.columns[word], known[what]
            for number, cells in self.rows:
                if cells[at] not in labels:
                    message = unknown_name(cells[at], labels, word)
                    raise error_at(self.path, number, message)
            out.append([labels[cells[at]] for _, cells in self.rows])
        numbers = (number for number, _ in self.rows)
        return [
            Triple(head, relation, tail, Place(self.path, number))
            for head, relation, tail, number in zip(*out, numbers, strict=True)
        ]


KINDS = (
    Numbered('a RotatE folder', 'entities.dict', 'relations.dict', '.txt'),
    Numbered('a DGL-KE folder', 'entities.dict', 'relations.dict', '.tsv'),
    Numbered('a DGL-KE folder', 'entities.tsv', 'relations.tsv', '.tsv'),
    Numbered(
        'a LibKGE folder',
        'entity_ids.del',
        'relation_ids.del',
        '.del',
        ('entity_strings.del', 'relation_strings.del'),
        ids=True,
    ),
    Numbered(
        'a PyKEEN export',
        'entity_to_id.tsv',
        'relation_to_id.tsv',
        '.tsv',
        all_triples='numeric_triples.tsv',
        ids=True,
    ),
)
