"""Datasets of graphs in labels: what one has in memory or in files."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.base import MultimodalDataset, RawGraph
from dsom_pyg.datasets.features.images import list_images
from dsom_pyg.datasets.labels import SPLIT, Labels, check_shares, number
from dsom_pyg.encoders import Encoder


class OwnGraph(MultimodalDataset):
    r"""A graph of one's own; a subclass gives its :meth:`labels`.

    Entities and relations have ids in the order in which they first occur,
    in train, validation and test. For the arguments see :class:`MKGFolder`.
    """

    def __init__(
        self,
        root: str | Path | None,
        image_encoder: Encoder | None = None,
        text_encoder: Encoder | None = None,
        split: tuple[float, float, float] = SPLIT,
        seed: int = 0,
        transform: Callable[..., Any] | None = None,
        pre_transform: Callable[..., Any] | None = None,
        force_reload: bool = False,
        features: Mapping[str, str | Path] | None = None,
    ) -> None:
        check_shares(split)
        self._shares, self._seed = split, seed
        super().__init__(
            root,
            image_encoder,
            text_encoder,
            transform,
            pre_transform,
            force_reload,
            features,
        )

    def labels(self) -> Labels:
        r"""The graph in labels. To be overridden."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        draw = {'shares': list(self._shares), 'seed': self._seed}
        return {**super().identity(), **draw}

    def read(self) -> RawGraph:
        raw = number(self.labels(), self._shares, self._seed)
        for kind, count in raw.findings.counts.items():
            if ' triple also in ' in kind:
                warnings.warn(
                    f'{kind}: {count} times. Scores on such triples reward '
                    'memorising; the findings and dsom_pyg.audit '
                    'list them',
                    UserWarning,
                    stacklevel=2,
                )
        root = None if self._in_memory else Path(self.root)
        raw.extra['entity_images'] = [
            [_below(path, root) for path in paths]
            for paths in raw.entity_images
        ]
        return raw

    @property
    def entity_keys(self) -> list[str]:
        r"""The label of each entity as its files write it.

        It is the name unless there are readable names beside the labels.
        """
        keys: list[str] = self._meta['extra']['entity_keys']
        return keys

    @property
    def relation_keys(self) -> list[str]:
        r"""The label of each relation as its files write it."""
        keys: list[str] = self._meta['extra']['relation_keys']
        return keys

    @property
    def entity_images(self) -> list[list[Path]]:
        r"""The image files of each entity; none, one or many."""
        root = Path() if self._in_memory else Path(self.root)
        # What does not lie below the root is stored as an absolute path.
        images: list[list[str]] = self._meta['extra']['entity_images']
        return [[root / image for image in each] for each in images]


class LabeledGraph(OwnGraph):
    r"""A graph in labels that is held in memory.

    :func:`from_pandas` and :func:`from_networkx` make one.

    Args:
        labels: The graph.
        root: Folder for the processed file and cached features; with
            :obj:`None` nothing is stored. (default: :obj:`None`)
        options: See :class:`MKGFolder`.
    """

    def __init__(
        self, labels: Labels, root: str | Path | None = None, **options: Any
    ) -> None:
        self._labels = labels
        super().__init__(root, **options)

    def labels(self) -> Labels:
        return self._labels

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), 'labels': _digest(self._labels)}


def _below(path: Path, root: Path | None) -> str:
    # So that a folder with its images can be moved.
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path.absolute())


def _digest(labels: Labels) -> str:
    r"""SHA-256 of all that a graph in labels says."""
    stamps = []
    for image in labels.images:
        path = Path(image.value)
        about = path.stat() if path.is_file() else None
        stamps.append(about and [about.st_size, about.st_mtime_ns])
    folder = labels.image_folder
    said = [
        {name: part.rows for name, part in labels.parts.items()},
        *(labels.draw, labels.entities, labels.relations),
        labels.relation_names,
        *(
            [item[:3] for item in items]
            for items in (labels.texts, labels.names, labels.images)
        ),
        stamps,
        folder and [str(folder), *map(list, list_images(folder))],
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
