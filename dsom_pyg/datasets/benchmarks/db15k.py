"""DB15K: DBpedia entities with texts and links to images."""

import json
import warnings
from pathlib import Path
from typing import Any, Literal

from typing_extensions import Unpack

from dsom_pyg import graph
from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.benchmarks import base
from dsom_pyg.datasets.names import local_name, unique_names
from dsom_pyg.datasets.text import read_table, to_triples
from dsom_pyg.pyg import HeteroData


class DB15K(base.Benchmark):
    r"""The DB15K graph of `"MMKG: Multi-Modal Knowledge Graphs"
    <https://arxiv.org/abs/1903.05485>`_ (Liu et al., 2019), in the splits of
    `"NativE" <https://arxiv.org/abs/2406.17605>`_ (Zhang et al., 2024).

    12,842 entities, 279 relations; 79,222 train, 9,904 validation and 9,902
    test triples as distributed. 57 entities occur in no training triple.

    The distributed validation split leaks: of its 9,904 rows 7,481 are
    distinct, and of those 6,584 are in train, 824 in test and 73 in neither.
    Therefore :obj:`split='clean'` is the default: a random 5 % of train
    (:func:`~dsom_pyg.graph.hold_out`, seed 0) becomes validation, test stays
    as it is, and ``filter_edge_index`` and ``filter_edge_type`` keep the 73,
    so that the evaluation filter stays the one of the literature.

    The text of an entity is its name, from the DBpedia URI, and its short
    Wikidata description; 12,303 of 12,842 have one. With
    :obj:`more_texts=True` the first sentence of its Freebase text stands
    beside, which 12,839 have (from the files of `StAR
    <https://arxiv.org/abs/2004.14781>`_, Wang et al., 2021). Images belong
    into ``<root>/images/DBIMG00001/`` and so on, by the image index of MMKB.

    Args:
        split: ``'clean'`` or ``'distributed'``; the latter warns.
        options: See :class:`Benchmark`.

    Raises:
        ValueError: The split is unknown.
    """

    sources = base.sources_of('DB15K')
    texts_beside = base.sources_of('DB15K texts')

    def __init__(
        self,
        root: str | Path,
        *,
        split: Literal['clean', 'distributed'] = 'clean',
        **options: Unpack[base.BenchmarkOptions],
    ) -> None:
        if split not in ('clean', 'distributed'):
            raise ValueError(
                f"unknown split {split!r}, use 'clean' or 'distributed'"
            )
        if split == 'distributed':
            warnings.warn(
                'the distributed validation split of DB15K leaks: of its '
                '9,904 rows 7,481 are distinct, and of those 6,584 are in '
                'train, 824 in test and 73 in neither. Select models with '
                "split='clean'.",
                UserWarning,
                stacklevel=2,
            )
        self.split = split
        super().__init__(root, **options)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), 'split': self.split}

    def read(self) -> RawGraph:
        raw = super().read()
        if self.split == 'clean':
            raw.data = _clean(raw.data)
            # The splits were drawn anew, so their triples have no lines.
            raw.origins = {}
        return raw

    def read_texts(self, keys: list[str]) -> base.Texts:
        freebase = self._freebase()
        facts = json.loads(self.raw('entity2wikidata.json').read_bytes())
        names = [base.dbpedia_title(key.strip('<>')) for key in keys]
        entries = [facts.get(freebase.get(key), {}) for key in keys]
        about = [entry.get('description') for entry in entries]
        texts = map(base.name_and_description, names, about)
        return base.Texts(names, [[t] for t in texts], list(map(bool, about)))

    def read_more_texts(
        self, keys: list[str], texts: base.Texts
    ) -> base.Texts:
        said = base.freebase_sentences(self.raw('fb-entity2text-new.txt'))
        freebase = self._freebase()
        found = {at: said[freebase[key]] for at, key in enumerate(keys)}
        return base.with_more(texts, {at: x for at, (_, x) in found.items()})

    def _freebase(self) -> dict[str, str]:
        rows = read_table(self.raw('entity2fb.txt'), 3, ' ')
        return {uri: mid for uri, mid, _ in rows}

    def name_relations(self, keys: list[str]) -> list[str]:
        uris = [key.strip('<>') for key in keys]
        return unique_names([local_name(uri) for uri in uris], uris)

    def aliases(self, keys: list[str]) -> list[list[str]]:
        index = dict(read_table(self.raw('DB15K_ImageIndex.txt'), 2))
        uris = [key.strip('<>') for key in keys]
        return [
            [key, uri, base.local_title(uri), *filter(None, [index.get(key)])]
            for key, uri in zip(keys, uris, strict=True)
        ]


def _clean(data: HeteroData) -> HeteroData:
    train, val, test = (graph.get_split(data, name) for name in graph.SPLITS)
    sizes = graph.num_entities(data), graph.num_relations(data)
    data = graph.make_data(*sizes, train, None, test)
    data, held_out = graph.hold_out(data, 0.05, seed=0)
    graph.set_split(data, 'val', held_out)
    only = sorted(_rows(val) - _rows(train) - _rows(test))
    lost = to_triples([[head, tail, rel] for head, rel, tail in only])
    store = data[graph.EDGE]
    store.filter_edge_index, store.filter_edge_type = lost
    return data


def _rows(part: graph.Triples) -> set[tuple[int, int, int]]:
    head, tail = part.edge_index.tolist()
    return set(zip(head, part.edge_type.tolist(), tail, strict=True))
