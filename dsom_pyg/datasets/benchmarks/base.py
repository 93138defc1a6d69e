"""What the public benchmarks share: sources, id files, image folders."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

import torch
from typing_extensions import Unpack

from dsom_pyg.datasets.base import (
    MultimodalDataset,
    Options,
    Origin,
    RawGraph,
)
from dsom_pyg.datasets.benchmarks.download import Source, fetch
from dsom_pyg.datasets.benchmarks.texts import replace_texts
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.formats import READERS
from dsom_pyg.datasets.features.images import find_images, list_images
from dsom_pyg.datasets.names import unique_names
from dsom_pyg.datasets.openke import read_id_triples, read_ids
from dsom_pyg.datasets.text import read_table
from dsom_pyg.files import hash_file
from dsom_pyg.graph import SPLITS, Triples, make_data

# Rows of benchmark, file, size in bytes, SHA-256 and address.
SOURCES = Path(__file__).with_name('sources.tsv')
# Where a folder of a tokenizer has its words.
WORDS = 'tokenizer.json', 'vocab.txt', 'vocab.json', 'sentencepiece.model'
# The keys of entities and relations, and the triples of each split.
Keys = tuple[list[str], list[str], list[Triples]]


class Texts(NamedTuple):
    r"""Of each entity: a name, its texts, and whether it is described."""

    names: list[str]
    texts: list[list[str]]
    described: list[bool]


class BenchmarkOptions(Options, total=False):
    r"""The options of every benchmark, see :class:`Benchmark`."""

    images: str | Path | None
    texts: str | Path | None
    tokenizer: str | Path | None
    more_texts: bool


class Benchmark(MultimodalDataset):
    r"""A public benchmark, downloaded from where it is published.

    Its images may not be redistributed; each dataset says where to get
    them. They are taken from a folder that holds, for each entity, a folder
    with any number of files or one file, named after the entity's name, its
    id, or its index in the image list that the benchmark publishes.

    To add a benchmark, list its files in ``sources.tsv`` and override
    :meth:`read_texts`. If image or feature files call entities by more than
    their keys, override :meth:`aliases` too. If others have published texts
    for its entities, list their files under its name and ``texts``, and
    override :meth:`read_more_texts`.

    Args:
        images: A folder of images, by default ``<root>/images``, or a file
            of image features for :func:`~dsom_pyg.datasets.read_features`.
        texts: A file of texts for entities, see
            :func:`~dsom_pyg.datasets.benchmarks.texts.replace_texts`; an
            entity without one keeps the text that the benchmark has.
        tokenizer: Of a file of tokens: a folder or a name on the hub; or
            :obj:`None`, which makes a word of each token.
            (default: :obj:`'bert-base-uncased'`)
        more_texts: Whether texts that others have published for the entities
            are read as well. Each dataset says which.
        options: See :class:`MultimodalDataset`.
    """

    sources: ClassVar[Mapping[str, Source]] = {}
    # Files that only `more_texts` needs.
    texts_beside: ClassVar[Mapping[str, Source]] = {}
    # The files of the splits, and the line of their first triple.
    split_files: ClassVar = ('train2id.txt', 'valid2id.txt', 'test2id.txt')
    first_line: ClassVar[int] = 2

    def __init__(
        self,
        root: str | Path,
        *,
        images: str | Path | None = None,
        texts: str | Path | None = None,
        tokenizer: str | Path | None = 'bert-base-uncased',
        more_texts: bool = False,
        **options: Unpack[Options],
    ) -> None:
        if more_texts and not self.texts_beside:
            raise DatasetError(
                f'no further texts of {type(self).__name__} are known: leave '
                'more_texts out, or give a file of your own, texts=...'
            )
        self.more_texts = more_texts
        self._images = None if images is None else Path(images).expanduser()
        self._texts = None if texts is None else Path(texts).expanduser()
        self._tokenizer = tokenizer
        if self._texts and not self._texts.is_file():
            raise DatasetError(f"texts='{texts}' is no file")
        if self._images and self._images.suffix.lower() in READERS:
            features = options.get('features') or {}
            if 'image' in features:
                raise ValueError(
                    'images= is a file of features, and so is features['
                    "'image']; give one of them"
                )
            options['features'] = {**features, 'image': self._images}
            self._images = None
        elif self._images and not self._images.is_dir():
            raise DatasetError(
                f"images='{images}' is neither a folder nor a file of "
                f'features ({", ".join(READERS)})'
            )
        super().__init__(root, **options)

    def read_keys(self) -> Keys:
        r"""Keys and triples, by default from files of the OpenKE layout."""
        entities = read_ids(self.raw('entity2id.txt'))
        relations = read_ids(self.raw('relation2id.txt'))
        sizes = len(entities), len(relations)
        files = [self.raw(name) for name in self.split_files]
        return entities, relations, [read_id_triples(f, *sizes) for f in files]

    def read_texts(self, keys: list[str]) -> Texts:
        r"""Names and texts of the entities. To be overridden."""
        raise NotImplementedError

    def read_more_texts(self, keys: list[str], texts: Texts) -> Texts:
        r"""Names and texts with those that others have published. To be
        overridden.
        """
        raise NotImplementedError

    def aliases(self, keys: list[str]) -> list[list[str]]:
        r"""What files may call each entity, apart from its name."""
        return [[key] for key in keys]

    def name_relations(self, keys: list[str]) -> list[str]:
        r"""A readable name for each relation; by default its key."""
        return keys

    def raw(self, name: str) -> Path:
        r"""Where a raw file lies."""
        return Path(self.raw_dir) / name

    @property
    def raw_file_names(self) -> list[str]:
        return list(self._files())

    def _files(self) -> dict[str, Source]:
        return {
            **self.sources,
            **(self.texts_beside if self.more_texts else {}),
        }

    def identity(self) -> dict[str, Any]:
        hashes = {name: each.sha256 for name, each in self._files().items()}
        identity: dict[str, Any] = {'sources': hashes}
        if self._texts:
            content = hash_file(self._texts)
            identity['texts'] = [content, str(self._tokenizer)]
            folder = Path(str(self._tokenizer)).expanduser()
            # One that is trained anew has other words.
            if words := [folder / x for x in WORDS if (folder / x).is_file()]:
                identity['tokenizer'] = [hash_file(path) for path in words]
        if self._needs_images or self._image_root.is_dir():
            identity['images'] = list_images(self._image_root)
        return identity

    def download(self) -> None:
        for name, source in self._files().items():
            fetch(source, self.raw(name))

    def read(self) -> RawGraph:
        entities, relations, splits = self.read_keys()
        found = self.read_texts(entities)
        if self.more_texts:
            found = self.read_more_texts(entities, found)
        names, texts, described = found
        origins = {}
        for split, name, part in zip(
            SPLITS, self.split_files, splits, strict=True
        ):
            lines = torch.arange(part.edge_type.numel()) + self.first_line
            origins[split] = Origin(self.raw(name), lines)
        raw = RawGraph(
            make_data(len(entities), len(relations), *splits),
            unique_names(names, entities),
            self.name_relations(relations),
            texts,
            [[] for _ in entities],
            described,
            origins=origins,
            aliases=self.aliases(entities),
        )
        self._add_images(raw)
        if self._texts:
            replace_texts(raw, self._texts, self._tokenizer)
        return raw

    @property
    def _image_root(self) -> Path:
        return self._images or Path(self.root) / 'images'

    @property
    def _needs_images(self) -> bool:
        return self._images is not None or self._encoders['image'] is not None

    def _add_images(self, raw: RawGraph) -> None:
        root = self._image_root
        raw.entity_images, findings = find_images(root, raw.all_names())
        raw.findings.extend(findings)
        if not any(raw.entity_images) and self._needs_images:
            example = next(a[-1] for a in raw.aliases or [] if a)
            raise DatasetError(
                f"{type(self).__name__} comes without images, and '{root}' "
                f'holds none of its entities: put them into one folder for '
                f"each, such as '{root / example}', or pass "
                f'image_encoder=None'
            )


def sources_of(benchmark: str) -> dict[str, Source]:
    r"""The files of a benchmark, by their local name."""
    found = {
        file: Source(url, sha256, int(size))
        for name, file, size, sha256, url in read_table(SOURCES, 5)
        if name == benchmark
    }
    if not found:
        raise DatasetError(f'{SOURCES} lists no file of {benchmark}')
    return found


def dbpedia_title(uri: str) -> str:
    r"""The readable title of a DBpedia resource; it may hold slashes."""
    return unquote(local_title(uri)).replace('_', ' ').strip()


def local_title(uri: str) -> str:
    r"""The title of a DBpedia resource as its URI spells it."""
    return uri.removeprefix('http://dbpedia.org/resource/')


def with_more(texts: Texts, more: Mapping[int, str]) -> Texts:
    r"""Texts with a further sentence each, by entity, in one text."""
    out = [list(each) for each in texts.texts]
    described = list(texts.described)
    for entity, sentence in more.items():
        if not sentence:
            continue
        first = out[entity][0].rstrip('. ') + '. ' if out[entity] else ''
        out[entity][:1] = [first + sentence]
        described[entity] = True
    return Texts(texts.names, out, described)


def freebase_sentences(path: Path) -> dict[str, tuple[str, str]]:
    r"""Name and first sentence of entities, by their Freebase id."""
    out = {}
    for key, text in read_table(path, 2):
        # Quotes are written \", ends of lines \n.
        plain = re.sub(r'\\[nrt]|\\(?=[" ])', ' ', text).replace(' "', '"')
        name, _, sentence = plain.partition(' -- ')
        out[key] = name.strip(), sentence.strip()
    return out


def name_and_description(name: str, description: str | None) -> str:
    r"""One text of a name and what is said about it, if anything is."""
    return f'{name}: {description}' if description else name
