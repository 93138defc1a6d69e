"""Folders of OpenKE: ``entity2id.txt``, ``train2id.txt`` and so on."""

from pathlib import Path

from dsom_pyg.datasets.openke import read_id_triples, read_ids
from dsom_pyg.datasets.own.layouts.numbered import note_layout
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Place, Table, Triple
from dsom_pyg.datasets.text import plain_name

NAMES = {
    'entity2id.txt': 'entities',
    'relation2id.txt': 'relations',
    'train2id.txt': 'train',
    'valid2id.txt': 'val',
    'test2id.txt': 'test',
}


def find_files(root: Path) -> dict[str, Path] | None:
    r"""The files by part; :obj:`None` if one of three is not there."""
    there = ((NAMES.get(plain_name(x)), x) for x in sorted(root.iterdir()))
    files = {part: path for part, path in there if part and path.is_file()}
    return files if {'entities', 'relations', 'train'} <= set(files) else None


def read(root: Path, files: dict[str, Path], reading: Reading) -> Table:
    r"""The graph in labels, from the files that :func:`find_files` found."""
    entities = read_ids(files['entities'])
    relations = read_ids(files['relations'])
    table = Table(
        {}, entities=entities, relations=dict.fromkeys(relations, '')
    )
    note_layout(table, root, 'an OpenKE folder')
    for split in ('train', 'val', 'test'):
        if path := files.get(split):
            sizes = len(entities), len(relations)
            ends, rels = read_id_triples(path, *sizes)
            ids = zip(*ends.tolist(), rels.tolist(), strict=True)
            table.triples[split] = [
                Triple(entities[h], relations[r], entities[t], Place(path, at))
                for at, (h, t, r) in enumerate(ids, 2)
            ]
    return table
