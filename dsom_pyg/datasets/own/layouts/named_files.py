"""The general layout: files whose names tell what they hold."""

from pathlib import Path

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.own.columns import NAME, TEXT
from dsom_pyg.datasets.own.delimited import read_entries, read_triples
from dsom_pyg.datasets.own.rdf import read_ntriples
from dsom_pyg.datasets.own.table import Table
from dsom_pyg.graph import SPLITS

TRIPLE_SUFFIXES = ('.tsv', '.csv', '.txt', '.nt')
ENTRY_SUFFIXES = ('.tsv', '.csv', '.txt', '.jsonl')
# What the file of each part may be called, before its suffix.
STEMS = {
    'all': ('triples',),
    'train': ('train',),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test',),
    'names': ('names', 'name'),
    'texts': ('texts', 'text', 'descriptions', 'description'),
}
# The part that a file plays, by its name.
PARTS = {
    stem + suffix: part
    for part, stems in STEMS.items()
    for stem in stems
    for suffix in (
        ENTRY_SUFFIXES if part in ('names', 'texts') else TRIPLE_SUFFIXES
    )
}


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if there are no training triples."""
    files: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        part = PARTS.get(path.name.lower())
        if part is None or not path.is_file():
            continue
        # All triples are in one file, or each split has a file.
        others = {'all': SPLITS, **dict.fromkeys(SPLITS, ('all',))}
        for rival in (part, *others.get(part, ())):
            if rival in files:
                raise DatasetError(
                    f"'{root}' holds both '{files[rival].name}' and "
                    f"'{path.name}'; keep one of them"
                )
        files[part] = path
    return files if 'all' in files or 'train' in files else None


def read(root: Path, files: dict[str, Path]) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    table = Table({})
    _note_unused(root, files, table)
    for part in ('all', *SPLITS):
        path = files.get(part)
        if path is None:
            continue
        if path.suffix.lower() == '.nt':
            triples, names, texts = read_ntriples(path, table.findings)
            table.names += names
            table.texts += texts
        else:
            triples = read_triples(path, table.findings)
        table.triples['train' if part == 'all' else part] = triples
    if 'names' in files:
        table.names += read_entries(files['names'], NAME, table.findings)[0]
    if 'texts' in files:
        texts, names = read_entries(files['texts'], TEXT, table.findings)
        table.texts += texts
        table.names += names
    return table


def _note_unused(root: Path, files: dict[str, Path], table: Table) -> None:
    suffixes = {*TRIPLE_SUFFIXES, *ENTRY_SUFFIXES}
    for path in sorted(root.iterdir()):
        rows = path.is_file() and path.suffix.lower() in suffixes
        images = path.is_dir() and path.name.lower() in ('image', 'img')
        if (rows or images) and path not in files.values():
            message = f"'{path.name}' plays no part"
            table.findings.add('unused file', message, path)
