"""The base class of all datasets."""

import gc
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from torch import Tensor

from dsom_pyg import graph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.cache import warn_if_read_only
from dsom_pyg.datasets.features.encode import check_encoder, encode_entities
from dsom_pyg.datasets.features.files import (
    align,
    limit_for,
    names_beside,
    read_features,
)
from dsom_pyg.datasets.features.graph import (
    Features,
    check_modality,
    check_new,
    load_graph,
    save_graph,
    set_features,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.encoders import Encoder
from dsom_pyg.files import check_name, hash_file
from dsom_pyg.pyg import HeteroData, InMemoryDataset
from dsom_pyg.words import in_words

# Raise it when the content of a processed file changes: no older one is read.
FORMAT = 3


class Origin(NamedTuple):
    r"""The file that a split comes from, and the line of each of its triples,
    counted from 1.
    """

    file: Path
    lines: Tensor


class Options(TypedDict, total=False):
    r"""The options of every dataset, see :class:`MultimodalDataset`."""

    image_encoder: Encoder | None
    text_encoder: Encoder | None
    transform: Callable[..., Any] | None
    pre_transform: Callable[..., Any] | None
    force_reload: bool
    features: Mapping[str, str | Path] | None


@dataclass
class RawGraph:
    r"""What a dataset reads from its raw files, before any encoder.

    Args:
        data: The triples, from :func:`~dsom_pyg.graph.make_data`.
        entity_names, relation_names: Readable names, one for each.
        entity_texts, entity_images: Of each entity; none, one or many.
        described: Which entities have more text than their name, if known.
        extra: Further facts that are stored with the graph, as JSON.
        findings: What was noticed while reading.
        origins: Where the triples of each split come from, if known.
        aliases: Further names of each entity in files, such as its id.
        features: Features that the raw files hold, by modality.
        ordered: Others know the order of the ids, so rows of features may be
            in it.
    """

    data: HeteroData
    entity_names: list[str]
    relation_names: list[str]
    entity_texts: list[list[str]]
    entity_images: list[list[Path]]
    described: list[bool] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    origins: dict[str, Origin] = field(default_factory=dict)
    aliases: Sequence[Sequence[str]] | None = None
    features: dict[str, Features] = field(default_factory=dict)
    ordered: bool = True

    def check(self) -> None:
        r"""Raise :class:`DatasetError` unless all sizes fit the graph."""
        entities = graph.num_entities(self.data)
        sizes = {
            'entity_names': entities,
            'entity_texts': entities,
            'entity_images': entities,
            'relation_names': graph.num_relations(self.data),
        }
        for what, size in sizes.items():
            if (found := len(getattr(self, what))) != size:
                why = f'{what} has {found} entries, the graph needs {size}'
                raise DatasetError(why)

    def items(self) -> dict[str, Any]:
        r"""The raw items of each entity by modality."""
        return {'image': self.entity_images, 'text': self.entity_texts}

    def all_names(self) -> list[list[str]]:
        r"""All that files may call each entity, the surest first."""
        # A readable name may be the id of another entity.
        names = self.entity_names
        ids = self.aliases or [[] for _ in names]
        return [[*ids, name] for ids, name in zip(ids, names, strict=True)]


class MultimodalDataset(InMemoryDataset):
    r"""A multimodal knowledge graph as one :class:`HeteroData`.

    ``dataset[0]`` holds the triples as :func:`~dsom_pyg.graph.make_data`
    lays them out and, for every encoder given, a node type ``'text'`` or
    ``'image'`` with frozen features ``x`` and the edges
    ``('text', 'describes', 'entity')`` or ``('image', 'depicts', 'entity')``.

    A subclass overrides :meth:`read`, and :meth:`identity` if it has
    options. It sets what these two need before it calls this constructor,
    which does all the work.

    Processed graphs are safetensors files; a pickle is never read. Features
    are cached under ``<root>/features``: only new or changed items are
    encoded, and an interrupted run goes on where it stopped. A folder that
    may not be written will do: a warning says that nothing is stored there.
    A damaged image counts as missing and is reported in
    :attr:`findings`.

    Args:
        root: Folder for raw and processed files; with :obj:`None` nothing is
            stored.
        image_encoder: From image paths to features ``[n, out_channels]``.
        text_encoder: From texts to features ``[n, out_channels]``.
        transform: Applied to the graph at every access.
        pre_transform: Applied once, before the graph is stored. Its ``repr``
            identifies the stored graph, so it must tell the settings: use a
            dataclass with ``__call__``, not a plain function.
        force_reload: Process and encode again what is stored.
        features: Instead of an encoder, a file for a modality, see
            :func:`~dsom_pyg.datasets.read_features`. Its name is free, as
            far as :func:`~dsom_pyg.datasets.features.graph.check_modality`
            lets it.

    Shapes:
        - **data['text'].x:** :math:`(n, d)`, one row for each text
        - **data['text', 'describes', 'entity'].edge_index:** :math:`(2, n)`,
          row 0 the text, row 1 its entity; the same for images

    Raises:
        DatasetError: A raw file or the output of an encoder is malformed.
        TypeError: An encoder is not one, or :obj:`pre_transform` has no
            ``repr`` of its own.
        ValueError: A modality has both an encoder and a file, or its name is
            reserved, or the graph already has such a name.
    """

    def __init__(
        self,
        root: str | Path | None,
        *,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        transform: Callable[..., Any] | None = None,
        pre_transform: Callable[..., Any] | None = None,
        force_reload: bool = False,
        features: Mapping[str, str | Path] | None = None,
    ) -> None:
        self._encoders = {'image': image_encoder, 'text': text_encoder}
        files = (features or {}).items()
        self._feature_files = {m: Path(p).expanduser() for m, p in files}
        for modality, encoder in self._encoders.items():
            if encoder is not None:
                check_encoder(modality, encoder)
        for modality in self._feature_files:
            check_modality(modality)
            if self._encoders.get(modality) is not None:
                raise ValueError(
                    f"modality '{modality}' has an encoder and a feature "
                    f'file; give one of them'
                )
        self.folder = None if root is None else Path(root).expanduser()
        self._stores = self.folder is not None
        super().__init__(
            self.folder and str(self.folder),
            transform,
            pre_transform,
            force_reload=force_reload,
        )
        if self.folder is None:
            with _no_collection():
                self._data, self._meta = self._build()
            return
        path = Path(self.processed_paths[0])
        try:
            check_name(path)
        except ValueError as error:
            self._stores = False
            message = f'{error}, or read it again each time'
            warnings.warn(message, UserWarning, stacklevel=2)
        with _no_collection():
            if path.is_file() and not force_reload:
                self._data, self._meta = load_graph(path)
                return
            self.download()
            self._data, self._meta = self._build()
            if not self._stores:
                return
            try:
                save_graph(path, self._data, self._meta)
            except OSError as error:
                warn_if_read_only(error, path.parent, 'the graph is')

    def read(self) -> RawGraph:
        r"""Read the raw files; every dataset overrides it."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        r"""All that decides what :meth:`read` returns, as JSON: options, and
        hashes of raw files. ``'split'``, if any, is in the name of the file.
        """
        return {}

    @property
    def raw_file_names(self) -> list[str]:
        return []

    @property
    def processed_file_names(self) -> list[str]:
        own = self.identity()
        words = [str(own.get('split', 'graph'))]
        encoders: dict[str, Any] = dict(self._encoders)
        for modality, encoder in self._encoders.items():
            if encoder is not None:
                encoders[modality] = [encoder.name, encoder.out_channels]
                words.append(f'{modality}_{encoder.name}')
        identity = {
            'dataset': type(self).__name__,
            'format': FORMAT,
            'pre_transform': _name_of(self.pre_transform),
            'features': {
                modality: [path.name, _hash(path), _hash(names_beside(path))]
                for modality, path in self._feature_files.items()
            },
            **encoders,
            **own,
        }
        text = json.dumps(identity, sort_keys=True)
        words.append(hashlib.sha256(text.encode()).hexdigest()[:10])
        slugs = [re.sub(r'[^A-Za-z0-9.]+', '_', word)[:64] for word in words]
        return ['-'.join(slugs) + '.safetensors']

    def download(self) -> None:
        r"""Bring the raw files to :obj:`raw_dir`; nothing by default."""

    # The constructor does what PyG does here. PyG would unpickle files in the
    # processed folder, and ask for raw files beside a stored graph.
    def _download(self) -> None:
        return

    _process = _download

    def _build(self) -> tuple[HeteroData, dict[str, Any]]:
        raw = self.read()
        raw.check()
        used = [name for name, one in self._encoders.items() if one]
        check_new(raw.data, [*used, *raw.features, *self._feature_files])
        items = raw.items()
        coverage = {name: _share(lists) for name, lists in items.items()}
        # Before hours of encoding.
        names = raw.all_names() if self._feature_files else []
        limit = limit_for(len(raw.entity_names))
        given = {
            name: align(
                read_features(path, limit),
                names,
                str(path),
                raw.findings,
                raw.ordered,
            )
            for name, path in self._feature_files.items()
        }
        folder = self.folder if self._stores else None
        store = folder and folder / 'features', self.force_reload
        encoded = {
            name: encode_entities(one, name, items[name], raw.findings, *store)
            for name, one in self._encoders.items()
            if one is not None
        }
        data = raw.data
        every = {**encoded, **raw.features, **given}
        for modality, features in every.items():
            set_features(data, modality, features)
            covered = features.entity.unique().numel()
            coverage[modality] = covered / max(len(raw.entity_names), 1)
            if not covered:
                _warn_unseen(modality, 'no entity has any', raw.findings)
        if raw.described is not None:
            coverage['description'] = _share(raw.described)
        if self.pre_transform is not None:
            data = self.pre_transform(data)
            for modality in every:
                if modality not in graph.modalities(data):
                    why = 'pre_transform took them away'
                    _warn_unseen(modality, why, raw.findings)
        meta = {
            'entity_names': raw.entity_names,
            'relation_names': raw.relation_names,
            'entity_texts': raw.entity_texts,
            'coverage': coverage,
            'extra': raw.extra,
            'findings': raw.findings.to_json(),
        }
        return data, meta

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}({self.num_entities} entities, '
            f'{self.num_relations} relations)'
        )

    @property
    def entity_names(self) -> list[str]:
        r"""A readable name of each entity."""
        return self._meta['entity_names']

    @property
    def relation_names(self) -> list[str]:
        r"""A readable name of each relation, without reciprocals."""
        return self._meta['relation_names']

    @property
    def entity_texts(self) -> list[list[str]]:
        r"""The raw texts of each entity; none, one or many."""
        return self._meta['entity_texts']

    @property
    def encoder_names(self) -> dict[str, str]:
        r"""The name of the encoder of each modality that has one."""
        given = self._encoders.items()
        return {name: one.name for name, one in given if one is not None}

    @property
    def num_entities(self) -> int:
        r"""E."""
        return len(self._meta['entity_names'])

    @property
    def num_relations(self) -> int:
        r"""R, without reciprocals."""
        return len(self._meta['relation_names'])

    @property
    def findings(self) -> Findings:
        r"""What was noticed while reading and encoding."""
        return Findings.from_json(self._meta['findings'])

    def coverage(self) -> dict[str, float]:
        r"""Share of the entities that have an item of each modality, encoded
        or else raw, and a ``'description'`` if the dataset can tell.
        """
        return dict(self._meta['coverage'])


@contextmanager
def _no_collection() -> Iterator[None]:
    # Of millions of rows that all stay, Python looks for garbage again and
    # again: a third of the time.
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _warn_unseen(modality: str, why: str, findings: Findings) -> None:
    message = f'no teacher sees the features of {modality!r}: {why}'
    findings.add('unseen features', message)
    warnings.warn(message, UserWarning, stacklevel=2)


def _name_of(step: Callable[..., Any] | None) -> str:
    # Two steps with one name would share a stored graph.
    name = 'None' if step is None else _told(step)
    # Lists of many elements are abbreviated.
    if ' at 0x' in name or '...' in name:
        raise TypeError(
            f'pre_transform={name} has no whole repr of its own, so its '
            f'stored graph could not be told from that of another one: pass '
            f'an object of a class with a __repr__ that tells its settings, '
            f'such as a @dataclass, or root=None to store nothing'
        )
    return name


def _told(step: Callable[..., Any]) -> str:
    from torch_geometric.transforms import BaseTransform, Compose

    if isinstance(step, Compose):
        each = ', '.join(map(_told, step.transforms))
        return f'{type(step).__name__}([{each}])'
    name = repr(step)
    # PyG's own say nothing but their names, and of tensors a repr says little.
    if type(step).__repr__ is BaseTransform.__repr__ and vars(step):
        given = (f'{k}={in_words(x)}' for k, x in vars(step).items())
        return f'{type(step).__name__}({", ".join(given)})'
    return name if ' at 0x' in name else in_words(step)


def _hash(path: Path | None) -> str:
    if path is None or not path.is_file():
        return 'missing'
    return hash_file(path)


def _share(values: Sequence[object]) -> float:
    return sum(map(bool, values)) / max(len(values), 1)
