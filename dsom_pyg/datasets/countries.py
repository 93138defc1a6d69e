"""The bundled graph of countries."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from dsom_pyg.datasets.base import MultimodalDataset, Options, RawGraph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.text import (
    id_of,
    index_names,
    read_labeled_triples,
    read_lines,
    read_table,
)
from dsom_pyg.encoders import ImageStatistics, TfidfText
from dsom_pyg.files import hash_file
from dsom_pyg.graph import SPLITS, make_data

PACKAGE = 'dsom_pyg.datasets.countries_data'


class Countries(MultimodalDataset):
    r"""A small real graph that comes with the library: territories, cities,
    currencies, languages, regions, with flags as images and short texts.

    Nothing is downloaded. Sources and licences are in ``SOURCES.md`` beside
    its files. Without a :obj:`root`, processed files go into the user's
    cache. The encoders are ``ImageStatistics()`` and
    ``TfidfText(out_channels=128)``, unless the options of
    :class:`MultimodalDataset` give others, or :obj:`None`.
    """

    def __init__(
        self, root: str | Path | None = None, **options: Unpack[Options]
    ) -> None:
        options.setdefault('image_encoder', ImageStatistics())
        options.setdefault('text_encoder', TfidfText(out_channels=128))
        root = cache_folder() / 'Countries' if root is None else root
        super().__init__(root, **options)

    def identity(self) -> dict[str, Any]:
        folder = data_folder()
        files = [*folder.glob('*.tsv'), *folder.glob('images/*')]
        return {'files': {path.name: hash_file(path) for path in files}}

    @property
    def entity_kinds(self) -> list[str]:
        r"""What each entity is: a territory, a city, a currency, ..."""
        return self._meta['extra']['kinds']

    @property
    def entity_images(self) -> list[list[Path]]:
        r"""Files of images for each entity."""
        folder = data_folder()
        names = self.entity_names
        ids = index_names(folder / 'entities.tsv', names)
        images = read_items(folder / 'images.tsv', ids)
        return [[folder / image for image in each] for each in images]

    def read(self) -> RawGraph:
        folder = data_folder()
        rows = read_table(folder / 'entities.tsv', 2)
        names = [name for name, _ in rows]
        ids = index_names(folder / 'entities.tsv', names)
        relations = read_lines(folder / 'relations.tsv')
        relation_ids = index_names(folder / 'relations.tsv', relations)
        splits = (
            read_labeled_triples(folder / f'{split}.tsv', ids, relation_ids)
            for split in SPLITS
        )
        images = read_items(folder / 'images.tsv', ids)
        return RawGraph(
            make_data(len(names), len(relations), *splits),
            names,
            relations,
            read_items(folder / 'texts.tsv', ids),
            [[folder / image for image in each] for each in images],
            extra={'kinds': [kind for _, kind in rows]},
        )


def read_items(path: Path, entity_ids: dict[str, int]) -> list[list[str]]:
    r"""The texts or files of each entity, from rows of entity and item."""
    items: list[list[str]] = [[] for _ in entity_ids]
    for number, (name, item) in enumerate(read_table(path, 2), 1):
        items[id_of(name, entity_ids, 'entity', path, number)].append(item)
    return items


def data_folder() -> Path:
    r"""Where the files of :class:`Countries` lie."""
    # A wheel carries them as a package, a checkout beside this one.
    spec = find_spec(PACKAGE)
    found = spec and spec.submodule_search_locations
    beside = Path(__file__).parents[2] / 'datasets' / 'Countries'
    places = [*map(Path, found or []), beside]
    for place in places:
        if (place / 'entities.tsv').is_file():
            return place
    raise DatasetError(
        'the files of the Countries graph are missing; looked in '
        + ', '.join(f"'{place}'" for place in places)
        + '. Install dsom_pyg again'
    )


def cache_folder() -> Path:
    r"""``$XDG_CACHE_HOME/dsom_pyg``, or ``~/.cache/dsom_pyg``."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    return Path(base or '~/.cache').expanduser() / 'dsom_pyg'
