"""What the public benchmarks share: sources, id files, image folders."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.base import MultimodalDataset, Origin, RawGraph
from dsom_pyg.datasets.benchmarks.download import fetch
from dsom_pyg.datasets.benchmarks.openke import read_id_triples, read_ids
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import READERS
from dsom_pyg.datasets.features.images import find_images, list_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import unique_names
from dsom_pyg.encoders import Encoder
from dsom_pyg.graph import SPLITS, Triples, make_data

FILES = ('train2id.txt', 'valid2id.txt', 'test2id.txt')
NATIVE = (
    'https://raw.githubusercontent.com/zjukg/NATIVE/'
    'c72291c3d571b36c754897935d21718aa4568fe7/benchmarks'
)
OPENKE = (
    'https://raw.githubusercontent.com/thunlp/OpenKE/'
    '64c4ec8157abfc39112772e9825a349091da45f1/benchmarks'
)
IMF = (
    'https://raw.githubusercontent.com/HestiaSky/IMF-Pytorch/'
    'df883e4a60f9e32b22888a0d15719fcf0cb03250/dataset'
)
MMKB = (
    'https://raw.githubusercontent.com/mniepert/mmkb/'
    'dc1c89cac110ddbb9944d6ed5ab2b3c2339d320c'
)


class Source(NamedTuple):
    r"""Where a raw file comes from, and which one it must be."""

    url: str
    sha256: str
    size: int


class IdGraph(NamedTuple):
    r"""The keys of entities and relations, and the distributed splits."""

    entities: list[str]
    relations: list[str]
    splits: tuple[Triples, Triples, Triples]


class Texts(NamedTuple):
    r"""Of each entity: a name, its texts, and whether it is described."""

    names: list[str]
    texts: list[list[str]]
    described: list[bool]


class Benchmark(MultimodalDataset):
    r"""A public benchmark, downloaded from where it is published.

    Its images may not be redistributed; each dataset says where people get
    them. They are taken from a folder that holds, for each entity, a folder
    with any number of files or one file, named after the entity's name, its
    id, or its index in the image list that the benchmark publishes.

    A subclass lists its :attr:`sources` and says what entities are called.

    Args:
        root: Folder for raw and processed files.
        image_encoder: See :class:`MultimodalDataset`.
            (default: :obj:`None`)
        text_encoder: See :class:`MultimodalDataset`. (default: :obj:`None`)
        transform: See :class:`MultimodalDataset`. (default: :obj:`None`)
        pre_transform: See :class:`MultimodalDataset`.
            (default: :obj:`None`)
        force_reload: See :class:`MultimodalDataset`.
            (default: :obj:`False`)
        images: A folder of images, or a file of image features that
            :func:`~dsom_pyg.datasets.read_features` can read.
            (default: the folder ``<root>/images``)
        features: See :class:`MultimodalDataset`. (default: :obj:`None`)
    """

    sources: ClassVar[Mapping[str, Source]] = {}

    def __init__(
        self,
        root: str | Path,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        transform: Callable[..., Any] | None = None,
        pre_transform: Callable[..., Any] | None = None,
        force_reload: bool = False,
        images: str | Path | None = None,
        features: Mapping[str, str | Path] | None = None,
    ) -> None:
        self._images = None if images is None else Path(images).expanduser()
        if self._images and self._images.suffix.lower() in READERS:
            features = {**(features or {}), 'image': self._images}
            self._images = None
        elif self._images and not self._images.is_dir():
            raise DatasetError(
                f"images='{images}' is neither a folder nor a file of "
                f'features ({", ".join(READERS)})'
            )
        super().__init__(
            root,
            image_encoder,
            text_encoder,
            transform,
            pre_transform,
            force_reload,
            features,
        )

    @property
    def raw_file_names(self) -> list[str]:
        return list(self.sources)

    def identity(self) -> dict[str, Any]:
        hashes = {name: self.sources[name].sha256 for name in self.sources}
        identity = {**super().identity(), 'sources': hashes}
        if self._wants_images:
            identity['images'] = list_images(self._image_root)
        return identity

    def download(self) -> None:
        for name, source in self.sources.items():
            fetch(source.url, source.sha256, self._raw(name), source.size)

    def read(self) -> RawGraph:
        entities, relations, splits = self._read_ids()
        names, texts, described = self._read_texts(entities)
        names = unique_names(names, entities)
        aliases = self._aliases(entities)
        images, findings = self._find_images(names, aliases)
        return RawGraph(
            self._make_data(len(entities), len(relations), splits),
            names,
            self._name_relations(relations),
            texts,
            images,
            described,
            findings=findings,
            origins=self._origins(splits),
            aliases=aliases,
        )

    def _read_ids(self) -> IdGraph:
        entities = read_ids(self._raw('entity2id.txt'))
        relations = read_ids(self._raw('relation2id.txt'))
        train, val, test = (
            read_id_triples(self._raw(name), len(entities), len(relations))
            for name in self._files
        )
        return IdGraph(entities, relations, (train, val, test))

    def _make_data(
        self, entities: int, relations: int, splits: tuple[Triples, ...]
    ) -> HeteroData:
        return make_data(entities, relations, *splits)

    def _read_texts(self, keys: list[str]) -> Texts:
        raise NotImplementedError

    def _name_relations(self, keys: list[str]) -> list[str]:
        return keys

    def _aliases(self, keys: list[str]) -> list[list[str]]:
        # What files may call each entity, apart from its name.
        return [[key] for key in keys]

    # The files of the splits, and the line of their first triple: by default
    # the number of triples stands above them.
    _files: ClassVar[tuple[str, str, str]] = FILES
    _first_line: ClassVar[int] = 2

    def _origins(self, splits: tuple[Triples, ...]) -> dict[str, Origin]:
        return {
            split: Origin(
                self._raw(name),
                torch.arange(part.edge_type.numel()) + self._first_line,
            )
            for split, name, part in zip(
                SPLITS, self._files, splits, strict=True
            )
        }

    def _raw(self, name: str) -> Path:
        return Path(self.raw_dir) / name

    @property
    def _image_root(self) -> Path:
        return self._images or Path(self.root) / 'images'

    @property
    def _wants_images(self) -> bool:
        return self._needs_images or self._image_root.is_dir()

    @property
    def _needs_images(self) -> bool:
        return self._images is not None or self._encoders['image'] is not None

    def _find_images(
        self, names: list[str], aliases: list[list[str]]
    ) -> tuple[list[list[Path]], Findings]:
        if not self._wants_images:
            return [[] for _ in names], Findings()
        root = self._image_root
        called = [[n, *a] for n, a in zip(names, aliases, strict=True)]
        images, findings = find_images(root, called)
        if not any(images) and self._needs_images:
            example = next(a[-1] for a in aliases if a)
            raise DatasetError(
                f"{type(self).__name__} comes without images, and '{root}' "
                f'holds none of its entities: put them into one folder for '
                f"each, such as '{root / example}', or pass "
                f'image_encoder=None'
            )
        return images, findings


def dbpedia_title(uri: str) -> str:
    r"""The readable title of a DBpedia resource; it may hold slashes."""
    return unquote(local_title(uri)).replace('_', ' ').strip()


def local_title(uri: str) -> str:
    r"""The title of a DBpedia resource as its URI spells it."""
    return uri.removeprefix('http://dbpedia.org/resource/')


def name_and_description(name: str, description: str | None) -> str:
    r"""One text of a name and what is said about it, if anything is."""
    return f'{name}: {description}' if description else name
