"""MKG-W and MKG-Y: Wikidata and YAGO entities with their names."""

from dsom_pyg.datasets.benchmarks.base import (
    NATIVE,
    Benchmark,
    Source,
    Texts,
    dbpedia_title,
)
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.names import local_name
from dsom_pyg.datasets.text import read_table

KON = (
    'https://raw.githubusercontent.com/zjukg/K-ON/'
    'e118ed7c5f8970ea97dc8954d4cd924ffe155700/data'
)


class MKG_W(Benchmark):
    r"""The Wikidata graph of `"MMRNS: Relation-enhanced Negative Sampling
    for Multimodal Knowledge Graph Completion"
    <https://dl.acm.org/doi/10.1145/3503161.3548388>`_ (Xu et al., 2022).

    15,000 entities, 169 relations; 34,196 train, 4,276 validation and 4,274
    test triples. 491 entities occur in no training triple: only what their
    modalities say is known of them.

    The text of an entity is its DBpedia title; there are no descriptions.
    Relations are called by their Wikidata labels. Images belong into
    ``<root>/images/Q370252/`` and so on, by Wikidata id. For the arguments
    see :class:`Benchmark`.
    """

    sources = {
        'entity2id.txt': Source(
            f'{NATIVE}/MKG-W/entity2id.txt',
            'd94b546efcb535d8253821626dd32f3ee876b2f263b727a4a446bc74697785df',
            672264,
        ),
        'relation2id.txt': Source(
            f'{NATIVE}/MKG-W/relation2id.txt',
            '204203e03a92d4f973ee815449695bcfaae1b6917fcb08b65f3b0fb071a47f61',
            6656,
        ),
        'train2id.txt': Source(
            f'{NATIVE}/MKG-W/train2id.txt',
            'a9f316506a20a7b5bef7de3ceaaa1e82de554b8e92e6aa26e7cb54bcd8ada53d',
            416832,
        ),
        'valid2id.txt': Source(
            f'{NATIVE}/MKG-W/valid2id.txt',
            '34dd556893b8e4832600298864dbd18012529a1f172793c21e45ad7bdee9d189',
            52959,
        ),
        'test2id.txt': Source(
            f'{NATIVE}/MKG-W/test2id.txt',
            '0e1294b1f95c8ef80ad422aeefafea321d16c1d127570e6bb566882b2e053989',
            52754,
        ),
        'ent_links.txt': Source(
            f'{KON}/MKG-W/ent_links.txt',
            '4aa7e9f5ff3bbeea7dee3124669edba7903e65b22844529999325c6bec624511',
            1299610,
        ),
        'relation_names.txt': Source(
            f'{KON}/MKG-W/relation2id.txt',
            'cd2d209a729d0ef951d74c2c442392b77d43e8fc335ce1819dbe477505874bb1',
            3733,
        ),
    }

    def _read_texts(self, keys: list[str]) -> Texts:
        rows = read_table(self._raw('ent_links.txt'), 2)
        titles = {uri: dbpedia_title(page) for page, uri in rows}
        missing = [key for key in keys if key not in titles]
        if missing:
            raise DatasetError(
                f'{self._raw("ent_links.txt")}: no title of '
                f'{len(missing)} entities, such as {missing[0]!r}'
            )
        names = [titles[key] for key in keys]
        return Texts(names, [[name] for name in names], [False] * len(keys))

    def _name_relations(self, keys: list[str]) -> list[str]:
        # Rows are id, name, id, in the numbering of the triples.
        rows = read_table(self._raw('relation_names.txt'), 3, ' ')
        names = {int(index): name for index, name, _ in rows}
        return [names[index] for index in range(len(keys))]

    def _aliases(self, keys: list[str]) -> list[list[str]]:
        return [[key, local_name(key)] for key in keys]


class MKG_Y(Benchmark):
    r"""The YAGO graph of `"MMRNS: Relation-enhanced Negative Sampling for
    Multimodal Knowledge Graph Completion"
    <https://dl.acm.org/doi/10.1145/3503161.3548388>`_ (Xu et al., 2022).

    15,000 entities, 28 relations; 21,310 train, 2,665 validation and 2,663
    test triples. 612 entities occur in no training triple: only what their
    modalities say is known of them.

    The text of an entity is its YAGO name; there are no descriptions. Images
    belong into ``<root>/images/Libreville/`` and so on, by YAGO name. For
    the arguments see :class:`Benchmark`.
    """

    sources = {
        'entity2id.txt': Source(
            f'{NATIVE}/MKG-Y/entity2id.txt',
            '416f6f77c13d0cf0c5cae9625a62b9f7d26320c27ae408f5ce4e7eae3206b8d9',
            348207,
        ),
        'relation2id.txt': Source(
            f'{NATIVE}/MKG-Y/relation2id.txt',
            '78d468edc02688f742c9b5a1030a071789ab24784dd2e48897643fe108ff4e4d',
            391,
        ),
        'train2id.txt': Source(
            f'{NATIVE}/MKG-Y/train2id.txt',
            '71310c2c274e5ba2ce550433ef5c8496920bd03f50fd6057e64fc9c34e1e1aac',
            259293,
        ),
        'valid2id.txt': Source(
            f'{NATIVE}/MKG-Y/valid2id.txt',
            '6c82db2d2b809aabf72f94bc19be3080b53ffba1caec12b81510354a7fe3470e',
            33252,
        ),
        'test2id.txt': Source(
            f'{NATIVE}/MKG-Y/test2id.txt',
            '8602cbbe7e3aef2c857df66eec5f7e4a2d6b02b19f58feff085688fb28980158',
            33300,
        ),
    }

    def _read_texts(self, keys: list[str]) -> Texts:
        names = [key.replace('_', ' ') for key in keys]
        return Texts(names, [[name] for name in names], [False] * len(keys))
