"""The layouts of folders that can be read: modules listed in `LAYOUTS`."""

from pathlib import Path
from typing import Protocol

from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.own.layouts import (
    named_files,
    neo4j,
    numbered,
    ogb,
    openke,
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
    named_files,
)


def find_layout(root: Path) -> tuple[Layout, dict[str, Path]]:
    r"""The layout of a folder and the files that it reads."""
    if not root.is_dir():
        raise DatasetError(f"there is no folder '{root}'")
    for layout in LAYOUTS:
        files = layout.find_files(root)
        if files is not None:
            return layout, files
    there = sorted(path.name for path in root.iterdir() if path.is_file())
    for below in sorted(path for path in root.iterdir() if path.is_dir()):
        if any(layout.find_files(below) for layout in LAYOUTS):
            raise DatasetError(
                f"'{root}' holds no triples; did you mean '{below}'?"
            )
    found = f'; found only {shorten(", ".join(there))}' if there else ''
    tables = [name for name in there if suffix_of(root / name) in TABLES]
    if tables:
        found += f"; if '{tables[0]}' has the triples, rename it"
    raise DatasetError(
        f"'{root}' holds no triples: put head, relation and tail, one "
        f"triple a line, into 'triples.tsv', or given splits into "
        f"'train.tsv', 'valid.tsv' and 'test.tsv' (.csv, .jsonl, .parquet, "
        f'.xlsx and RDF will do){found}'
    )
