"""A folder of your own as a dataset."""

from pathlib import Path
from typing import Any

from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.images import list_images
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.layouts import find_layout
from dsom_pyg.datasets.own.table import Table
from dsom_pyg.files import hash_file


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
    files have commas or semicolons and quote cells as RFC 4180 says. Triples
    may also be N-Triples (``.nt``, with labels and descriptions inside), the
    others JSON lines (``.jsonl``). A first row such as ``head``,
    ``relation``, ``tail`` or ``entity``, ``text`` names the columns, in any
    order, among others. Images are found by label or readable name, see
    :func:`~dsom_pyg.datasets.features.images.find_images`.

    Given splits are kept; only duplicate rows are dropped. A split without
    a file is drawn from train, so that each of its entities and relations
    occurs in train; a share of 0 leaves it empty. All that was noticed is in
    :attr:`findings`. ``python -m dsom_pyg.audit FOLDER`` shows it with a
    check of the whole graph.

    Args:
        root: The folder. Processed files go into ``<root>/processed``.
        split: Shares of train, validation and test, for the splits that
            have no file. (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw. (default: :obj:`0`)
        options: See :class:`~dsom_pyg.datasets.MultimodalDataset`.

    Raises:
        DatasetError: There are no triples, or a file is not as it should
            be. The message names file and line.
        ImportError: A ``.nt`` file needs rdflib.
        ValueError: The shares do not make 1 together.
    """

    def identity(self) -> dict[str, Any]:
        root = Path(self.root)
        _, files = find_layout(root)
        hashes = {
            path.relative_to(root).as_posix(): hash_file(path)
            for path in files.values()
        }
        images = list_images(root / 'images')
        return {**super().identity(), 'files': hashes, 'images': images}

    def read(self) -> RawGraph:
        root = Path(self.root)
        return build_graph(read_folder(root), self._shares, self._seed, root)


def read_folder(root: Path) -> Table:
    r"""The graph of a folder in labels; changes nothing there.

    Raises:
        DatasetError: See :class:`MKGFolder`.
        ImportError: A ``.nt`` file needs rdflib.
    """
    layout, files = find_layout(root)
    table = layout.read(root, files)
    if not table.triples.get('train'):
        names = ', '.join(f"'{path.name}'" for path in files.values())
        raise DatasetError(f"'{root}': there is no training triple in {names}")
    table.image_folder = root / 'images'
    return table
