"""The folder of Wikidata5M, as it is distributed."""

from pathlib import Path

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.delimited import read_triples
from dsom_pyg.datasets.own.layouts.numbered import WORDS
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Entry, Place, Table
from dsom_pyg.datasets.text import each_line, plain_name
from dsom_pyg.graph import SPLITS

# Of both settings in one folder, the first one is read.
SETTINGS = ('transductive', 'inductive')
# An id, and behind it a text, or names, the first of which is the usual one.
BESIDE = {
    'texts': 'wikidata5m_text.txt',
    'names': 'wikidata5m_entity.txt',
    'relation names': 'wikidata5m_relation.txt',
}


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if there are no training triples."""
    there = {plain_name(x): x for x in sorted(root.iterdir()) if x.is_file()}
    for setting in SETTINGS:
        wanted = {
            split: f'wikidata5m_{setting}_{word}.txt'
            for split in SPLITS
            for word in WORDS.get(split, (split,))
            if f'wikidata5m_{setting}_{word}.txt' in there
        }
        if 'train' in wanted:
            wanted |= BESIDE
            named = {part: there.get(name) for part, name in wanted.items()}
            return {part: path for part, path in named.items() if path}
    return None


def read(root: Path, files: dict[str, Path], reading: Reading) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    table = Table({})
    table.findings.add('layout', 'read as a folder of Wikidata5M', root)
    for split in SPLITS:
        if path := files.get(split):
            rows = read_triples(path, table.findings, reading.order)
            table.triples[split] = rows
    for part in BESIDE:
        if path := files.get(part):
            entries = _read_entries(path, part, table.findings)
            if part == 'texts':
                table.texts += entries
            elif part == 'relation names':
                table.relation_names += entries
            else:
                table.names += entries
    return table


def _read_entries(path: Path, part: str, findings: Findings) -> list[Entry]:
    entries, more = [], 0
    for number, line in enumerate(each_line(path), 1):
        key, _, rest = line.partition('\t')
        value = rest if part == 'texts' else rest.partition('\t')[0]
        if not (key.strip() and value.strip()):
            if not line.strip():
                continue
            why = f'expected an id, a tab and {part}, got {shorten(line)}'
            raise error_at(path, number, why)
        more += rest.count('\t')
        where = Place(path, number)
        entries.append(Entry((key.strip(),), value.strip(), where))
    if more and part != 'texts':
        message = f'not used: {more} names behind the first ones'
        findings.add('further name', message, path)
    return entries
