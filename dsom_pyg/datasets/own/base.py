"""The datasets of own graphs, apart from where their rows come from."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from dsom_pyg.datasets.base import MultimodalDataset, Options, RawGraph
from dsom_pyg.datasets.errors import unknown_name
from dsom_pyg.datasets.features.images import list_images
from dsom_pyg.datasets.names import NameIndex
from dsom_pyg.datasets.own.build import SHARES, Shares, build_graph
from dsom_pyg.datasets.own.literals import check_literals
from dsom_pyg.datasets.own.table import Table

# Raise it when a source is read in another way: no older file is used then.
READING = 5


class OwnGraph(MultimodalDataset):
    r"""A graph of your own.

    Args:
        root: As of :class:`~dsom_pyg.datasets.MultimodalDataset`.
        split: Shares of train, validation and test, for the splits that the
            source does not give. (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw.
        literals: What happens to numbers and dates among the tails:
            ``'leave'`` them out, ``'keep'`` them as entities, or make
            ``'features'`` of them, a modality ``number``: z-scores by
            relation, and which ones there are.
        options: As of :class:`~dsom_pyg.datasets.MultimodalDataset`.

    Raises:
        ValueError: The shares do not make 1 together, or :obj:`literals` is
            another word.
    """

    def __init__(
        self,
        root: str | Path | None,
        *,
        split: Shares = SHARES,
        seed: int = 0,
        literals: str = 'leave',
        **options: Unpack[Options],
    ) -> None:
        check_literals(literals)
        sound = len(split) == 3 and min(split) >= 0 and split[0] > 0
        if not sound or abs(sum(split) - 1) > 1e-6:
            raise ValueError(
                f'split must hold the shares of train, val and test, which '
                f'make 1 together, such as (0.8, 0.1, 0.1), got {split}'
            )
        self._shares, self._seed, self._literals = split, seed, literals
        super().__init__(root, **options)

    def identity(self) -> dict[str, Any]:
        shares = list(self._shares)
        return {
            'reading': READING,
            'shares': shares,
            'seed': self._seed,
            'literals': self._literals,
        }

    def build(self, table: Table) -> RawGraph:
        r"""The graph of a table, with the options of this dataset."""
        options = self._shares, self._seed, self.folder, self._literals
        return build_graph(table, *options)

    @property
    def entity_keys(self) -> list[str]:
        r"""The label of each entity as its files write it."""
        return self._meta['extra']['entity_keys']

    @property
    def relation_keys(self) -> list[str]:
        r"""The label of each relation as its files write it."""
        return self._meta['extra']['relation_keys']

    def find(self, head: str, relation: str) -> tuple[int, int]:
        r"""The ids of a head and a relation, by label or by name.

        Raises:
            ValueError: Nothing is called so; the nearest name is suggested.
        """
        keys, names = self.relation_keys, self.relation_names
        return (
            _find(head, self.entity_keys, self.entity_names, 'entity'),
            _find(relation, keys, names, 'relation'),
        )

    @property
    def entity_images(self) -> list[list[Path]]:
        r"""The image files of each entity; none, one or many."""
        # The path of a file outside the root is absolute.
        root = self.folder or Path()
        images = self._meta['extra']['entity_images']
        return [[root / image for image in each] for each in images]

    @property
    def image_addresses(self) -> list[list[str]]:
        r"""Where RDF says that images of each entity are. Nothing is fetched
        from there; a file in ``images`` may be called as its address ends.
        """
        return self._meta['extra']['image_addresses']

    @property
    def entity_types(self) -> list[list[str]]:
        r"""What the source says that each entity is; none, one or many."""
        return self._meta['extra']['entity_types']


class LabeledGraph(OwnGraph):
    r"""A graph of your own that is held in memory, from
    :func:`~dsom_pyg.datasets.from_pandas` or
    :func:`~dsom_pyg.datasets.from_networkx`.

    Without a :obj:`root`, nothing is stored. For other options see
    :class:`OwnGraph`.
    """

    def __init__(
        self, table: Table, root: str | Path | None = None, **options: Any
    ) -> None:
        self._table = table
        super().__init__(root, **options)

    def identity(self) -> dict[str, Any]:
        table, folder = self._table, self._table.image_folder
        said = {
            **vars(table),
            'stamps': [_stamp(Path(image.value)) for image in table.images],
            'files': list_images(folder) if folder else None,
        }
        text = json.dumps(said, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {**super().identity(), 'table': digest}

    def read(self) -> RawGraph:
        return self.build(self._table)


def _stamp(path: Path) -> list[int]:
    # So that a changed image is encoded anew. Whoever opens it says what is
    # wrong with it.
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return []
    return [about.st_size, about.st_mtime_ns]


def _find(word: str, keys: list[str], names: list[str], what: str) -> int:
    found = NameIndex(list(zip(keys, names, strict=True))).exact(word)
    if not found:
        raise ValueError(unknown_name(word, [*keys, *names], what))
    return found[0]
