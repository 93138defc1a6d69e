"""The general layout: files whose names tell what they hold."""

from collections.abc import Collection
from pathlib import Path

from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own import delimited, mmkb, objects
from dsom_pyg.datasets.own.columns import NAME, TEXT
from dsom_pyg.datasets.own.rdf import SYNTAXES, is_ntriples, read_rdf
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.sheets import SHEET
from dsom_pyg.datasets.own.table import Entry, Labels, Table
from dsom_pyg.datasets.text import (
    plain_name,
    read_bytes,
    read_lines,
    suffix_of,
)
from dsom_pyg.graph import SPLITS

TABLES = ('.tsv', '.csv', '.txt', SHEET, *objects.SUFFIXES)
# What the file of each part may be called, before its suffix. Those of
# KG-BERT, SimKGC and MKGformer are among them.
STEMS = {
    'all': ('triples',),
    'train': ('train',),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test',),
    'names': ('names', 'name', 'entity2text'),
    'texts': (
        *('texts', 'text', 'descriptions', 'description'),
        'entity2textlong',
    ),
    'relation names': ('relation2text',),
}
TRIPLES = ('all', *SPLITS)
# Labels in the order of their ids.
LISTS = ('entities', 'relations')
# The part that a file plays, by its name.
PARTS = {
    stem + suffix: part
    for part, stems in STEMS.items()
    for stem in stems
    for suffix in (*TABLES, *(SYNTAXES if part in TRIPLES else ()))
} | {f'{part}.txt': part for part in LISTS}


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if there are no training triples. A
    lone file of RDF holds them whatever its name.
    """
    files: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        part = PARTS.get(plain_name(path)) or mmkb.part_of(path)
        if part is None or not path.is_file():
            continue
        if part in LISTS and not _is_list(path):
            continue
        # All triples are in one file, or each split has a file.
        others = {'all': SPLITS, **dict.fromkeys(SPLITS, ('all',))}
        for rival in (part, *others.get(part, ())):
            if rival in files:
                raise _both(root, files[rival], path)
        files[part] = path
    if not files.keys() & {'all', 'train'}:
        # A file of RDF is a graph whatever its name, if it is the only one.
        # Not so of .xml, which may be anything.
        known = SYNTAXES.keys() - {'.xml'}
        alone = [x for x in root.iterdir() if suffix_of(x) in known]
        if len(alone) == 1 and alone[0].is_file():
            files['all'] = alone[0]
    return files if 'all' in files or 'train' in files else None


def _both(root: Path, one: Path, other: Path) -> DatasetError:
    why = f"holds both '{one.name}' and '{other.name}'; keep one of them"
    return DatasetError(f"'{root}' {why}")


def read(root: Path, files: dict[str, Path], reading: Reading) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    table = Table({})
    for part in TRIPLES:
        if path := files.get(part):
            split = None if part == 'all' else part
            read_triples(path, table, split, reading)
    if path := files.get('entities'):
        table.entities = _listed(path)
    if path := files.get('relations'):
        table.relations = dict.fromkeys(_listed(path), '')
    read_beside(table, files, reading)
    return table


def find_beside(root: Path, known: Collection[Path]) -> dict[str, Path]:
    r"""Files of names, texts and values, which may lie beside triples of any
    layout, apart from those that this layout reads itself.
    """
    files: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        part = PARTS.get(plain_name(path)) or mmkb.part_of(path)
        if path in known or not path.is_file():
            continue
        if part and part not in (*TRIPLES, *LISTS):
            if part in files:
                raise _both(root, files[part], path)
            files[part] = path
    return files


def read_beside(
    table: Table, files: dict[str, Path], reading: Reading
) -> None:
    r"""Add what :func:`find_beside` found."""
    for part, words in (
        ('names', NAME),
        ('relation names', NAME),
        ('texts', TEXT),
    ):
        if path := files.get(part):
            values, names = read_entries(path, words, table.findings)
            if not values:
                table.findings.add('empty file', f'it has no {part}', path)
            if part == 'texts':
                table.texts += values
                values = names
            if part == 'relation names':
                table.relation_names += values
            else:
                table.names += values
    # KG-BERT has one file where name and text are the same.
    names_file = plain_name(files['names']) if 'names' in files else ''
    if names_file.startswith('entity2text'):
        described = {entry.entity[0] for entry in table.texts}
        short = [x for x in table.names if x.entity[0] not in described]
        short = [x for x in short if x.place.file == files['names']]
        table.texts += short
        if 'texts' in files:
            for entry in short:
                message = f'the text of {shorten(entry.entity[0])} is its '
                message += f"name: '{files['texts'].name}' has none"
                table.findings.add('shorter text', message, *entry.place)
    if path := files.get('numbers'):
        said = Table({}, findings=table.findings)
        read_triples(path, said, 'train', reading)
        numbers = table.literals.setdefault('train', [])
        numbers += [*said.triples['train'], *said.literals.get('train', ())]
    for part, path in files.items():
        if part.startswith(('other ids', 'image ids')):
            more = mmkb.read_ids(path)
            table.aliases += more
            message = f'{len(more)} further ids, for files that use them'
            table.findings.add('further ids', message, path)


def read_triples(
    path: Path, table: Table, split: str | None, reading: Reading
) -> None:
    r"""The triples of a file, whatever its format, as a split of a table; if
    it is :obj:`None`, as the file itself tells, or all as train.
    """
    words = suffix_of(path) in ('.txt', '.tsv', '')
    if suffix_of(path) in SYNTAXES or (words and is_ntriples(path)):
        read_rdf(path, table, split or 'train', reading)
        return
    if mmkb.part_of(path):
        table.triples[split or 'train'] = mmkb.read_triples(path)
        return
    kind = objects if suffix_of(path) in objects.SUFFIXES else delimited
    if split is None:
        found = kind.read_splits(path, table.findings, reading.order)
        table.triples.update(found)
    else:
        rows = kind.read_triples(path, table.findings, reading.order)
        table.triples[split] = rows


def read_entries(
    path: Path,
    words: tuple[str, ...],
    findings: Findings,
    blank: list[Labels] | None = None,
) -> tuple[list[Entry], list[Entry]]:
    r"""Texts or names of entities from a file, whatever its format, and the
    readable names that stand beside them; see
    :func:`~dsom_pyg.datasets.own.columns.read_entry_rows`.
    """
    kind = objects if suffix_of(path) in objects.SUFFIXES else delimited
    return kind.read_entries(path, words, findings, blank)


def _is_list(path: Path) -> bool:
    # A label a line; with more columns it is something else.
    return b'\t' not in read_bytes(path, 2**12)


def _listed(path: Path) -> list[str]:
    # In the order of the ids.
    return [label for line in read_lines(path) if (label := line.strip())]
