"""What the public benchmarks share: sources, id files, image folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

from torch_geometric.data import HeteroData

from dsom_pyg.datasets.base import MultimodalDataset, RawGraph
from dsom_pyg.datasets.download import fetch
from dsom_pyg.datasets.reading import (
    DatasetError,
    read_id_triples,
    read_ids,
    unique_names,
)
from dsom_pyg.graph import Triples, make_data

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
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

    Its images may not be redistributed. Where they are to be used, they
    belong under ``<root>/images/<folder>/``, one folder for each entity
    (each dataset says how it is named) with any number of ``.jpg``,
    ``.jpeg``, ``.png`` or ``.webp`` files.

    A subclass lists its :attr:`sources` and says what entities are called.
    """

    sources: ClassVar[Mapping[str, Source]] = {}

    @property
    def raw_file_names(self) -> list[str]:
        return list(self.sources)

    def identity(self) -> dict[str, Any]:
        hashes = {name: self.sources[name].sha256 for name in self.sources}
        identity = {**super().identity(), 'sources': hashes}
        if self._encoders['image'] is not None:
            root = self._image_root
            identity['images'] = [
                [str(path.relative_to(root)), path.stat().st_size]
                for path in _image_files(root, '**/*')
            ]
        return identity

    def download(self) -> None:
        for name, source in self.sources.items():
            fetch(source.url, source.sha256, self._raw(name), source.size)

    def read(self) -> RawGraph:
        entities, relations, splits = self._read_ids()
        names, texts, described = self._read_texts(entities)
        return RawGraph(
            self._make_data(len(entities), len(relations), splits),
            unique_names(names, entities),
            self._name_relations(relations),
            texts,
            self._find_images(entities),
            described,
        )

    def _read_ids(self) -> IdGraph:
        entities = read_ids(self._raw('entity2id.txt'))
        relations = read_ids(self._raw('relation2id.txt'))
        train, val, test = (
            read_id_triples(self._raw(name), len(entities), len(relations))
            for name in FILES
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

    def _image_folders(self, keys: list[str]) -> list[str]:
        # The folder of each entity's images.
        return keys

    def _raw(self, name: str) -> Path:
        return Path(self.raw_dir) / name

    @property
    def _image_root(self) -> Path:
        return Path(self.root) / 'images'

    def _find_images(self, keys: list[str]) -> list[list[Path]]:
        root = self._image_root
        if self._encoders['image'] is None:
            return [[] for _ in keys]
        folders = self._image_folders(keys)
        images = [
            _image_files(root / folder) if folder else [] for folder in folders
        ]
        if not any(images):
            example = next(filter(None, folders), '')
            raise DatasetError(
                f"{type(self).__name__} comes without images, and '{root}' "
                f'holds none: put them into one folder for each entity, '
                f"such as '{root / example}', or pass image_encoder=None"
            )
        return images


def _image_files(root: Path, pattern: str = '*') -> list[Path]:
    files = sorted(root.glob(pattern))
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]


def local_name(uri: str) -> str:
    r"""The last segment of a URI."""
    return uri.rsplit('#', 1)[-1].rsplit('/', 1)[-1]


def dbpedia_title(uri: str) -> str:
    r"""The readable title of a DBpedia resource; it may hold slashes."""
    title = uri.removeprefix('http://dbpedia.org/resource/')
    return unquote(title).replace('_', ' ').strip()


def name_and_description(name: str, description: str | None) -> str:
    r"""One text of a name and what is said about it, if anything is."""
    return f'{name}: {description}' if description else name
