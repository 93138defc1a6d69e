"""The base class of all datasets."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset

from dsom_pyg import graph
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.reading import DatasetError
from dsom_pyg.datasets.store import load_graph, save_graph
from dsom_pyg.encoders import Encoder

# Raise it when the content of a processed file changes, so that files of an
# older version are not read.
FORMAT = 1


class Origin(NamedTuple):
    r"""Where the triples of a split stand.

    Shapes:
        - **lines:** :math:`(T)`, counted from 1
    """

    file: Path
    lines: Tensor


@dataclass
class RawGraph:
    r"""What a dataset reads from its raw files, before any encoder.

    Args:
        data: The triples, from :func:`~dsom_pyg.graph.make_data`.
        entity_names: One readable name for each entity.
        relation_names: One readable name for each relation.
        entity_texts: The texts of each entity; none, one or many.
        entity_images: The image files of each entity; none, one or many.
        described: Which entities have more text than their name, if the
            dataset can tell. (default: :obj:`None`)
        extra: Further facts that are stored with the graph, as JSON.
        findings: What was noticed while reading.
        origins: For each split as it was read, the file of its triples and
            the line of each, for the audit.
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


class MultimodalDataset(InMemoryDataset):
    r"""A multimodal knowledge graph as one :class:`HeteroData`.

    ``dataset[0]`` holds the triples as :func:`~dsom_pyg.graph.make_data`
    lays them out and, for every encoder given, a node type ``'text'`` or
    ``'image'`` with frozen features ``x`` and the edges
    ``('text', 'describes', 'entity')`` or ``('image', 'depicts', 'entity')``.

    A dataset of one's own overrides :meth:`read`, and :meth:`identity` if
    it has options. Processed graphs are stored as safetensors with a JSON
    header; a pickle is never read.

    Args:
        root: Folder for raw and processed files; with :obj:`None` nothing is
            stored.
        image_encoder: Maps a list of image paths to features
            ``[n, out_channels]``; :obj:`None` for no image features.
            (default: :obj:`None`)
        text_encoder: Maps a list of texts to features ``[n, out_channels]``;
            :obj:`None` for no text features. (default: :obj:`None`)
        transform: Applied to the graph at every access.
            (default: :obj:`None`)
        pre_transform: Applied once, before the graph is stored. It is told
            apart from another one by its ``repr``. (default: :obj:`None`)
        force_reload: Process again even if a processed file exists.
            (default: :obj:`False`)

    Shapes:
        - **data['text'].x:** :math:`(n, d)`, one row for each text
        - **data['text', 'describes', 'entity'].edge_index:** :math:`(2, n)`,
          row 0 the text, row 1 its entity; the same for images

    Raises:
        DatasetError: A raw file or the output of an encoder is not as it
            should be. No processed file is left behind.
    """

    def __init__(
        self,
        root: str | Path | None,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        transform: Callable[..., Any] | None = None,
        pre_transform: Callable[..., Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        self._encoders = {'image': image_encoder, 'text': text_encoder}
        self._in_memory = root is None
        super().__init__(
            None if root is None else str(Path(root).expanduser()),
            transform,
            pre_transform,
            force_reload=force_reload,
        )
        if self._in_memory:
            data, self._meta = self._build()
        else:
            data, self._meta = load_graph(self._processed_path)
        self._data = data

    def read(self) -> RawGraph:
        r"""Read the raw files. To be overridden."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        r"""All that decides what the processed file holds, as JSON.

        A subclass adds its options and what identifies its raw files. The
        value under ``'split'``, if any, appears in the file name.
        """
        names: dict[str, Any] = {
            modality: None
            if encoder is None
            else [encoder.name, encoder.out_channels]
            for modality, encoder in self._encoders.items()
        }
        # The address of a function says nothing about what it does.
        step = re.sub(r' at 0x[0-9a-f]+', '', repr(self.pre_transform))
        return {
            'dataset': type(self).__name__,
            'format': FORMAT,
            'pre_transform': step,
            **names,
        }

    @property
    def raw_file_names(self) -> list[str]:
        return []

    @property
    def processed_file_names(self) -> list[str]:
        identity = self.identity()
        words = [str(identity.get('split', 'graph'))]
        for modality in self._encoders:
            if identity[modality] is not None:
                words.append(f'{modality}_{identity[modality][0]}')
        text = json.dumps(identity, sort_keys=True)
        words.append(hashlib.sha256(text.encode()).hexdigest()[:10])
        slugs = [re.sub(r'[^A-Za-z0-9.]+', '_', word)[:64] for word in words]
        return ['-'.join(slugs) + '.safetensors']

    # The identity may look at many files, so it is asked for once.
    @cached_property
    def _processed_path(self) -> Path:
        return Path(self.processed_paths[0])

    def download(self) -> None:
        r"""Bring the raw files to :obj:`raw_dir`; nothing by default."""

    def process(self) -> None:
        r"""Read, encode, and store the graph."""
        data, meta = self._build()
        save_graph(self._processed_path, data, meta)

    # PyG's own `_process` unpickles a file it finds in the processed folder,
    # and its `_download` asks for raw files that nobody needs any more.
    def _download(self) -> None:
        return

    def _process(self) -> None:
        if self._in_memory:
            return
        if self._processed_path.exists() and not self.force_reload:
            return
        self.download()
        self.process()

    def _build(self) -> tuple[HeteroData, dict[str, Any]]:
        raw = self.read()
        data = raw.data
        self._check_sizes(raw)
        items: dict[str, Any] = {
            'image': raw.entity_images,
            'text': raw.entity_texts,
        }
        for modality, encoder in self._encoders.items():
            if encoder is not None:
                add_features(data, modality, items[modality], encoder)
        coverage = {name: _share(lists) for name, lists in items.items()}
        if raw.described is not None:
            coverage['description'] = _share(raw.described)
        if self.pre_transform is not None:
            data = self.pre_transform(data)
        meta = {
            'entity_names': raw.entity_names,
            'relation_names': raw.relation_names,
            'entity_texts': raw.entity_texts,
            'coverage': coverage,
            'extra': raw.extra,
        }
        return data, meta

    def _check_sizes(self, raw: RawGraph) -> None:
        entities = graph.num_entities(raw.data)
        for what, values, size in (
            ('entity_names', raw.entity_names, entities),
            ('entity_texts', raw.entity_texts, entities),
            ('entity_images', raw.entity_images, entities),
            (
                'relation_names',
                raw.relation_names,
                graph.num_relations(raw.data),
            ),
        ):
            if len(values) != size:
                raise DatasetError(
                    f'{type(self).__name__}: {what} has {len(values)} '
                    f'entries, the graph needs {size}'
                )

    @property
    def entity_names(self) -> list[str]:
        r"""A readable name for each entity."""
        names: list[str] = self._meta['entity_names']
        return names

    @property
    def relation_names(self) -> list[str]:
        r"""A readable name for each relation, without reciprocals."""
        names: list[str] = self._meta['relation_names']
        return names

    @property
    def entity_texts(self) -> list[list[str]]:
        r"""The raw texts of each entity; none, one or many."""
        texts: list[list[str]] = self._meta['entity_texts']
        return texts

    @property
    def num_entities(self) -> int:
        r"""E."""
        return len(self._meta['entity_names'])

    @property
    def num_relations(self) -> int:
        r"""R, without reciprocals."""
        return len(self._meta['relation_names'])

    def coverage(self) -> dict[str, float]:
        r"""Share of the entities that have an item of each modality.

        It speaks of the raw items, with or without an encoder. Where a
        dataset can tell a description from a mere name, ``'description'`` is
        a further entry.
        """
        return dict(self._meta['coverage'])


def _share(values: Sequence[object]) -> float:
    return sum(map(bool, values)) / max(len(values), 1)


def add_features(
    data: HeteroData,
    modality: str,
    items: Sequence[Sequence[str]] | Sequence[Sequence[Path]],
    encoder: Encoder,
) -> None:
    r"""Encode the items of all entities into a node type and its edges.

    Args:
        data: The graph; gets ``data[modality].x`` and the edges from
            :obj:`modality` to ``'entity'``.
        modality: ``'image'`` or ``'text'``.
        items: The texts or image paths of each entity.
        encoder: Is called once, with all items.

    Raises:
        DatasetError: There is no item at all, or the output has a wrong
            shape or type or is not finite.
    """
    flat: list[Any] = [item for group in items for item in group]
    if not flat:
        raise DatasetError(
            f"no entity has any {modality}, so encoder '{encoder.name}' has "
            f'nothing to encode; pass {modality}_encoder=None'
        )
    x = encoder(flat)
    want = [len(flat), encoder.out_channels]
    if not isinstance(x, Tensor) or list(x.shape) != want:
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise DatasetError(
            f"encoder '{encoder.name}' must return a tensor of shape {want} "
            f'for {len(flat)} {modality} items, got {got}'
        )
    if not x.is_floating_point():
        raise DatasetError(
            f"encoder '{encoder.name}' must return floats, got {x.dtype}"
        )
    finite = x.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise DatasetError(
            f"encoder '{encoder.name}' returned a non-finite feature for "
            f"{modality} {row}: '{flat[row]}'"
        )
    entity = torch.tensor(
        [index for index, group in enumerate(items) for _ in group]
    )
    data[modality].x = x.detach().float().cpu()
    edge = (modality, graph.RELATION_OF_MODALITY[modality], 'entity')
    data[edge].edge_index = torch.stack([torch.arange(len(flat)), entity])
