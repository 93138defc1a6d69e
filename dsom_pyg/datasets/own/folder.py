"""A folder of your own as a dataset."""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from dsom_pyg.datasets.base import Options, RawGraph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import names_beside
from dsom_pyg.datasets.features.formats import READERS
from dsom_pyg.datasets.features.images import list_images
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.datasets.own.build import SHARES, Shares
from dsom_pyg.datasets.own.layouts import find_layout
from dsom_pyg.datasets.own.rdf import SYNTAXES
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.table import Table
from dsom_pyg.datasets.text import suffix_of
from dsom_pyg.files import hash_file

# Files with rows, and folders with images: what plays no part is named.
ROWS = (
    *('.tsv', '.csv', '.txt', '.json', '.jsonl', '.ndjson', '.parquet'),
    *('.dict', '.del', '.xlsx', '.xls'),
    *SYNTAXES,
)
# Raised when the same files become another graph.
READER = 2
# Files without a suffix that nobody would take for data.
PAPERS = ('readme', 'license', 'licence', 'makefile', 'dockerfile', 'version')
# What an export of PyKEEN says of itself.
OF_PYKEEN = 'base.pth'
IMAGES = ('image', 'images', 'img', 'imgs', 'pictures', 'photos')


class MKGFolder(OwnGraph):
    r"""A folder with triples, descriptions and images.

    ========================  ==============================================
    ``triples.tsv``           head, relation, tail; or given splits:
                              ``train.tsv``, ``valid.tsv``, ``test.tsv``
    ``descriptions.tsv``      entity, text; also called ``texts``; any
                              number of texts an entity
    ``names.tsv``             entity, readable name
    ``images/<entity>/*``     images, or ``images/<entity>.jpg``
    ========================  ==============================================

    Only triples are needed. The columns of ``.tsv`` and ``.txt`` files are
    separated by tabs, and quotes in them are plain characters. ``.csv``
    files have commas or semicolons and quote cells as RFC 4180 says. All
    files may be JSON (``.jsonl``, or an array in ``.json``), Parquet or the
    first sheet of an Excel workbook (``.xlsx``), and triples RDF
    in any syntax (``.nt``, ``.ttl`` and so on), with labels and descriptions
    inside. Files may be compressed (``.gz``, ``.bz2``, ``.xz``). A first row
    such as ``head``, ``relation``, ``tail`` or ``entity``, ``text`` names
    the columns, in any order, among others; a column ``split`` beside the
    triples says train, val or test. Images are found by label or
    readable name, see
    :func:`~dsom_pyg.datasets.features.images.find_images`. ``images`` may be
    a link; a finding says where it leads. Links within it are not followed.

    Folders of OpenKE, RotatE, DGL-KE, LibKGE, PyKEEN, KG-BERT, MMKB, OGB,
    Neo4j and Wikidata5M are read as they are, with descriptions and names
    beside them. Where they number entities, ids and their order are kept, and
    a finding says so.

    Given splits are kept; only duplicate rows are dropped. A split without
    a file is drawn from train, which keeps each entity and relation; a share
    of 0 leaves it empty. What was noticed is in :attr:`findings`, and
    ``dsom-pyg audit FOLDER`` shows it. Processed files go into
    ``<root>/processed``.

    Args:
        root: The folder.
        columns, language, types, declarations: As of
            :class:`~dsom_pyg.datasets.own.reading.Reading`.
        split, seed, literals, options: As of
            :class:`~dsom_pyg.datasets.own.base.OwnGraph`.

    Raises:
        DatasetError: There are no triples, or a file is not as it should
            be. The message names file and line.
        ImportError: A file of RDF needs pyoxigraph.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        columns: str = 'hrt',
        language: str = 'en',
        types: str = 'relation',
        declarations: str = 'leave',
        split: Shares = SHARES,
        seed: int = 0,
        literals: str = 'leave',
        **options: Unpack[Options],
    ) -> None:
        self._reading = Reading(columns, language, types, declarations)
        own: Any = {'split': split, 'seed': seed, 'literals': literals}
        super().__init__(root, **own, **options)

    def identity(self) -> dict[str, Any]:
        root = Path(self.root)
        files = find_layout(root).every()
        hashes = {x.relative_to(root).as_posix(): hash_file(x) for x in files}
        images = list_images(root / 'images')
        return {
            **super().identity(),
            **asdict(self._reading),
            'reader': READER,
            'files': hashes,
            'images': images,
        }

    def read(self) -> RawGraph:
        table = read_folder(
            Path(self.root), self._reading, self._feature_files.values()
        )
        return self.build(table)


def read_folder(
    root: Path, reading: Reading | None = None, used: Iterable[Path] = ()
) -> Table:
    r"""The graph of a folder in labels; errors as of :class:`MKGFolder`.

    Args:
        root: The folder.
        reading: How to read it.
        used: Files of features that others read.
    """
    found = find_layout(root)
    table = found.read(root, reading or Reading())
    if not table.triples.get('train'):
        files = found.files.values()
        names = ', '.join(f"'{path.name}'" for path in files)
        raise DatasetError(f"'{root}': there is no training triple in {names}")
    table.image_folder = root / 'images'
    beside = [x for x in map(names_beside, used) if x is not None]
    also = [path.resolve() for path in (*used, *beside)]
    for path in sorted(root.iterdir()):
        known = path in found.every() or path == table.image_folder
        if known or path.resolve() in also:
            continue
        if (what := _could_play(path)) is not None:
            message = f"'{path.name}' plays no part{what}"
            table.findings.add('unused file', message, path)
    return table


def _could_play(path: Path) -> str | None:
    # What to do about a file or folder that is not read, '' for nothing;
    # None for what nobody would expect to be read.
    if path.is_dir():
        called = path.name.lower() in IMAGES
        return "; call it 'images'" if called else None
    if suffix_of(path) in (*ROWS, '') and path.stem.lower() not in PAPERS:
        return ''
    if path.suffix.lower() in ('.pkl', '.pickle'):
        return ': a pickle can run code'
    if path.suffix.lower() in READERS and path.name != OF_PYKEEN:
        name = re.sub(r'\W+', '_', path.stem)
        return f"; to use it, pass features={{'{name}': '{path}'}}"
    return None
