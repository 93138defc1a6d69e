from pathlib import Path

import pytest

from dsom_pyg.datasets.own import layouts
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.datasets.text import read_table


class Numbered:
    """A further layout: triples of numbers, and a list of names."""

    def find_files(self, root: Path) -> dict[str, Path] | None:
        files = {part: root / f'{part}.ids' for part in ('train', 'names')}
        there = all(path.is_file() for path in files.values())
        return files if there else None

    def read(
        self, root: Path, files: dict[str, Path], reading: Reading
    ) -> Table:
        triples = [
            Triple(head, relation, tail, Place(files['train'], line))
            for line, (head, relation, tail) in enumerate(
                read_table(files['train'], 3, ' '), 1
            )
        ]
        names = read_table(files['names'], 1)
        return Table(
            {'train': triples, 'val': [], 'test': []},
            entities=[str(index) for index in range(len(names))],
            names=[
                Entry((str(index),), name)
                for index, (name,) in enumerate(names)
            ],
        )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    further = (Numbered(), *layouts.LAYOUTS)
    monkeypatch.setattr(layouts, 'LAYOUTS', further)
    (tmp_path / 'train.ids').write_text('2 5 0\n0 5 2\n')
    (tmp_path / 'names.ids').write_text('Oslo\nBergen\nNorway\n')
    return tmp_path


def test_a_further_layout(root: Path) -> None:
    (root / 'images').mkdir()
    (root / 'images' / 'Bergen.png').touch()
    dataset = MKGFolder(root)
    assert dataset.entity_names == ['Oslo', 'Bergen', 'Norway']
    assert dataset[0]['entity', 'relation', 'entity'].edge_index.tolist() == [
        [2, 0],
        [0, 2],
    ]
    assert dataset.read().origins['train'].lines.tolist() == [1, 2]
    assert dataset.entity_images[1] == [root / 'images' / 'Bergen.png']
    (root / 'names.ids').write_text('Oslo\nBergen\nSweden\n')
    assert MKGFolder(root).entity_names[2] == 'Sweden'


def test_the_first_layout_that_fits(root: Path) -> None:
    (root / 'triples.tsv').write_text('a\tr\tb\n')
    assert MKGFolder(root).num_entities == 3
    (root / 'names.ids').unlink()
    assert MKGFolder(root).entity_names == ['a', 'b']
