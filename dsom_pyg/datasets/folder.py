"""A folder of one's own as a dataset."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.encode import file_digest
from dsom_pyg.datasets.features.images import list_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.headers import NAME, TEXT
from dsom_pyg.datasets.labels import SPLIT, Labels
from dsom_pyg.datasets.own import OwnGraph
from dsom_pyg.datasets.rdf import read_ntriples
from dsom_pyg.datasets.tables import Item, Part, read_items, read_triples
from dsom_pyg.encoders import Encoder
from dsom_pyg.graph import SPLITS

TRIPLE_SUFFIXES = ('.tsv', '.csv', '.txt', '.nt')
ITEM_SUFFIXES = ('.tsv', '.csv', '.txt', '.jsonl')
# What the file of each part may be called, before its suffix.
STEMS = {
    'all': ('triples',),
    'train': ('train',),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test',),
    'texts': ('texts', 'text', 'descriptions', 'description'),
    'names': ('names', 'name'),
}


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

    Only triples are needed. Tables may end in ``.tsv``, ``.csv`` or
    ``.txt``, triples also in ``.nt`` (N-Triples, with labels and
    descriptions inside), the others also in ``.jsonl``. A header may name
    the columns in any order. Images are found by label or readable name, see
    :func:`~dsom_pyg.datasets.features.images.find_images`.

    Given splits are kept as they are but for duplicate rows. A split without
    a file is drawn from train, so that each of its entities and relations
    occurs in train; a share of 0 leaves it empty. All that was noticed is in
    :attr:`findings`; ``python -m dsom_pyg.audit FOLDER`` shows it
    with a check of the whole graph.

    Args:
        root: The folder. Processed files go into ``<root>/processed``.
        image_encoder: See :class:`MultimodalDataset`.
            (default: :obj:`None`)
        text_encoder: See :class:`MultimodalDataset`. (default: :obj:`None`)
        split: Shares of train, validation and test, for the splits that
            have no file. (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw. (default: :obj:`0`)
        transform: See :class:`MultimodalDataset`. (default: :obj:`None`)
        pre_transform: See :class:`MultimodalDataset`.
            (default: :obj:`None`)
        force_reload: See :class:`MultimodalDataset`.
            (default: :obj:`False`)
        features: See :class:`MultimodalDataset`. (default: :obj:`None`)

    Raises:
        DatasetError: There are no triples, or a file is not as it should
            be; the message names file and line.
        ImportError: A ``.nt`` file needs rdflib.
        ValueError: The shares do not make 1 together.
    """

    def __init__(
        self,
        root: str | Path,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        split: tuple[float, float, float] = SPLIT,
        seed: int = 0,
        transform: Callable[..., Any] | None = None,
        pre_transform: Callable[..., Any] | None = None,
        force_reload: bool = False,
        features: Mapping[str, str | Path] | None = None,
    ) -> None:
        self._files = find_files(Path(root).expanduser())
        super().__init__(
            root,
            image_encoder,
            text_encoder,
            split,
            seed,
            transform,
            pre_transform,
            force_reload,
            features,
        )

    def identity(self) -> dict[str, Any]:
        files = {path.name: file_digest(path) for path in self._files.values()}
        images = [list(each) for each in list_images(self._image_folder)]
        return {**super().identity(), 'files': files, 'images': images}

    def labels(self) -> Labels:
        return read_labels(Path(self.root), self._files)

    @property
    def _image_folder(self) -> Path:
        return Path(self.root) / 'images'


def find_files(root: Path) -> dict[str, Path]:
    r"""The files of a folder by the part they play.

    Raises:
        DatasetError: There is no such folder, no file with triples, or two
            files for one part.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no folder '{root}'")
    out: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        part = _part_of(path)
        if part is None or not path.is_file():
            continue
        # All triples in one file, or one file for each split.
        rivals = [part]
        if part == 'all':
            rivals += SPLITS
        elif part in SPLITS:
            rivals.append('all')
        for rival in rivals:
            if rival in out:
                raise DatasetError(
                    f"'{root}' holds both '{out[rival].name}' and "
                    f"'{path.name}'; keep one of them"
                )
        out[part] = path
    if 'all' not in out and 'train' not in out:
        have = ', '.join(f"'{path.name}'" for path in out.values())
        raise DatasetError(
            f"'{root}' holds no triples: put head, relation and tail, one "
            f"triple a line, into 'triples.tsv', or given splits into "
            f"'train.tsv', 'valid.tsv' and 'test.tsv' (.csv, .txt and .nt "
            f'will do)' + (f'; found only {have}' if have else '')
        )
    return out


def _part_of(path: Path) -> str | None:
    stem, suffix = path.stem.lower(), path.suffix.lower()
    for part, stems in STEMS.items():
        items = part in ('texts', 'names')
        suffixes = ITEM_SUFFIXES if items else TRIPLE_SUFFIXES
        if stem in stems and suffix in suffixes:
            return part
    return None


def read_labels(root: Path, files: Mapping[str, Path]) -> Labels:
    r"""The graph of a folder in labels.

    Args:
        root: The folder.
        files: What :func:`find_files` found there.
    """
    findings = Findings()
    _note_unused(root, files, findings)
    labels = Labels({}, findings=findings, image_folder=root / 'images')
    for split in ('all', *SPLITS):
        if split not in files:
            continue
        part, names, texts = _read_part(files[split], findings)
        labels.parts['train' if split == 'all' else split] = part
        labels.names += names
        labels.texts += texts
    labels.draw = tuple(x for x in ('val', 'test') if x not in labels.parts)
    for kind, words, out in (
        ('names', NAME, labels.names),
        ('texts', TEXT, labels.texts),
    ):
        if kind in files:
            out += read_items(files[kind], words, findings)
    return labels


def _note_unused(
    root: Path, files: Mapping[str, Path], findings: Findings
) -> None:
    tables = {*TRIPLE_SUFFIXES, *ITEM_SUFFIXES}
    for path in sorted(root.iterdir()):
        table = path.is_file() and path.suffix.lower() in tables
        images = path.is_dir() and path.name.lower() in ('image', 'img')
        if (table or images) and path not in files.values():
            findings.add('unused file', f"'{path.name}' plays no part", path)


def _read_part(
    path: Path, findings: Findings
) -> tuple[Part, Sequence[Item], Sequence[Item]]:
    if path.suffix.lower() == '.nt':
        return read_ntriples(path, findings)
    return read_triples(path, findings), [], []
