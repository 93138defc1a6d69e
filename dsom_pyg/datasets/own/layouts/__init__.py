"""The layouts of folders that can be read: modules listed in `LAYOUTS`."""

from pathlib import Path
from typing import NamedTuple, Protocol

from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.own.layouts import (
    named_files,
    neo4j,
    numbered,
    ogb,
    openke,
    wikidata5m,
)
from dsom_pyg.datasets.own.layouts.named_files import TABLES
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Table
from dsom_pyg.datasets.text import suffix_of


class Layout(Protocol):
    r"""A way to lay out a graph in a folder; a module will do."""

    def find_files(self, root: Path) -> dict[str, Path] | None:
        r"""Files by the part they play; None if the layout is another."""

    def read(
        self, root: Path, files: dict[str, Path], reading: Reading
    ) -> Table:
        r"""The graph in labels, without the images in ``<root>/images``."""


# The first one that finds its files reads the folder; the general one is last.
LAYOUTS: tuple[Layout, ...] = (
    openke,
    ogb,
    *numbered.KINDS,
    neo4j,
    wikidata5m,
    named_files,
)


class Found(NamedTuple):
    r"""What a folder holds: its layout, the files of this layout by the part
    they play, and others beside them, such as descriptions.
    """

    layout: Layout
    files: dict[str, Path]
    beside: dict[str, Path]

    def every(self) -> list[Path]:
        r"""All files that are read."""
        return [*self.files.values(), *self.beside.values()]

    def read(self, root: Path, reading: Reading) -> Table:
        r"""The graph in labels, without the images in ``<root>/images``."""
        table = self.layout.read(root, self.files, reading)
        named_files.read_beside(table, self.beside, reading)
        return table


def find_layout(root: Path) -> Found:
    r"""The layout of a folder and the files that are read."""
    if not root.is_dir():
        raise DatasetError(f"there is no folder '{root}'")
    for layout in LAYOUTS:
        files = layout.find_files(root)
        if files is not None:
            beside = {}
            if layout is not named_files:
                beside = named_files.find_beside(root, files.values())
            return Found(layout, files, beside)
    paths = sorted(root.iterdir())
    folders = [path for path in paths if path.is_dir()]
    inner = (x for path in folders for x in sorted(path.iterdir()))
    for below in (*folders, *(x for x in inner if x.is_dir())):
        if any(layout.find_files(below) for layout in LAYOUTS):
            raise DatasetError(
                f"'{root}' holds no triples; did you mean '{below}'?"
            )
    there = [x.name + '/' * x.is_dir() for x in paths]
    found = f'; found only {shorten(", ".join(there))}' if there else ''
    kinds = (*TABLES, '')
    tables = [x.name for x in paths if x.is_file() and suffix_of(x) in kinds]
    if tables:
        found += f"; if '{tables[0]}' has the triples, rename it"
    raise DatasetError(
        f"'{root}' holds no triples: put head, relation and tail, one "
        f"triple a line, into 'triples.tsv', or given splits into "
        f"'train.tsv', 'valid.tsv' and 'test.tsv' (.csv, .jsonl, .parquet, "
        f'.xlsx and RDF will do){found}'
    )
