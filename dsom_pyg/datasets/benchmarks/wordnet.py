"""WN18 and WN9: WordNet synsets with words and definitions."""

from pathlib import Path

from dsom_pyg.datasets.benchmarks.base import (
    OPENKE,
    Benchmark,
    IdGraph,
    Source,
    Texts,
)
from dsom_pyg.datasets.text import read_labeled_triples, read_table

KGBERT = (
    'https://raw.githubusercontent.com/yao8839836/kg-bert/'
    '0b8f625108efcb9b43603b6840f2548ff3d3c973/data'
)
MOSE = (
    'https://raw.githubusercontent.com/OreOZhao/MoSE4MKGC/'
    '192d9ff2882b5be6ef8239a37cbd90c5dd102b5a/src_data'
)


class WN18(Benchmark):
    r"""The WordNet graph of `"Translating Embeddings for Modeling
    Multi-relational Data" <https://papers.nips.cc/paper/5071>`_ (Bordes et
    al., 2013).

    40,943 entities, 18 relations; 141,442 train, 5,000 validation and 5,000
    test triples. Every entity occurs in train.

    .. note::
        It leaks: 4,698 of the 5,000 test pairs occur reversed in
        train. Say so beside every number.

    The text of an entity is the words and the definition of its synset, for
    all entities. Images are found by synset, ``n05451384`` as in ImageNet or
    the offset alone. For the arguments see :class:`Benchmark`.
    """

    sources = {
        'entity2id.txt': Source(
            f'{OPENKE}/WN18/entity2id.txt',
            'a0e127ef59529a4662dbf5f12b1278efbcab9d4636eb80e5828a75311ebbb427',
            603041,
        ),
        'relation2id.txt': Source(
            f'{OPENKE}/WN18/relation2id.txt',
            'b0f326f55f4c4ca403e97e97c495e93627bea3fb8f08b9592afd31ef5bcf9752',
            363,
        ),
        'train2id.txt': Source(
            f'{OPENKE}/WN18/train2id.txt',
            '1bcaff005ba0a5cdd9f9f9982812ac9a0750a84989b4335a50e4c93e13d158c0',
            1955191,
        ),
        'valid2id.txt': Source(
            f'{OPENKE}/WN18/valid2id.txt',
            '86cf1437161c5982b9a9ef26d5f8400161a700aa4b3350a6c347d508369a9cc6',
            69123,
        ),
        'test2id.txt': Source(
            f'{OPENKE}/WN18/test2id.txt',
            'ab06e417090ba904b98796d72fa72c3a5d00241639a849859b2b458074e16ba6',
            68910,
        ),
        'entity2text.txt': Source(
            f'{KGBERT}/WN18/entity2text.txt',
            '8f5c6f11753dafa879917b9bdf73d398ceb3bd4bed8d5553177e1e0f2c37521f',
            4086439,
        ),
    }

    def _read_texts(self, keys: list[str]) -> Texts:
        return read_definitions(self._raw('entity2text.txt'), keys)

    def _aliases(self, keys: list[str]) -> list[list[str]]:
        # A letter tells the part of speech; only nouns have images.
        return [[key, f'n{key}'] for key in keys]


class WN9(Benchmark):
    r"""The WN9-IMG graph of `"Image-embodied Knowledge Representation
    Learning" <https://arxiv.org/abs/1609.07028>`_ (Xie et al., 2017).

    6,555 entities, 9 relations; 11,741 train, 1,337 validation and 1,319
    test triples. Ids follow the sorted labels.

    .. note::
        It leaks: 1,186 of the 1,319 test pairs occur reversed in
        train. Say so beside every number.

    The text of an entity is the words and the definition of its synset, for
    all entities. Images are found by synset, ``n09809749`` or the offset
    alone. For the arguments see :class:`Benchmark`.
    """

    sources = {
        'train': Source(
            f'{MOSE}/WN9/train',
            '2ef64d57c3279319b71f915225844a341c9f0c2b03961536365f048611e1db53',
            349973,
        ),
        'valid': Source(
            f'{MOSE}/WN9/valid',
            '960d1951152564266cfaee0e7e6079bab084c72c6dd7c28928d26441a543fb16',
            39891,
        ),
        'test': Source(
            f'{MOSE}/WN9/test',
            'efa9ed44643937f7a28bb716f6e15ec4589de08e5b268c85f99b5adb7b566734',
            39329,
        ),
        'ent_dscp.txt': Source(
            f'{MOSE}/WN9/ent_dscp.txt',
            'ef626928382fc2ed9b3a414fec528b349174633b3927735a8c27a65c9a703b5d',
            4086440,
        ),
    }

    _files = ('train', 'valid', 'test')
    _first_line = 1

    def _read_ids(self) -> IdGraph:
        paths = [self._raw(name) for name in self._files]
        rows = [row for path in paths for row in read_table(path, 3)]
        entities = sorted({name for row in rows for name in row[::2]})
        relations = sorted({row[1] for row in rows})
        ids = {name: index for index, name in enumerate(entities)}
        relation_ids = {name: index for index, name in enumerate(relations)}
        train, val, test = (
            read_labeled_triples(path, ids, relation_ids) for path in paths
        )
        return IdGraph(entities, relations, (train, val, test))

    def _read_texts(self, keys: list[str]) -> Texts:
        # A leading letter tells the part of speech; definitions lack it.
        offsets = [key[1:] for key in keys]
        return read_definitions(self._raw('ent_dscp.txt'), offsets)

    def _aliases(self, keys: list[str]) -> list[list[str]]:
        return [[key, key[1:]] for key in keys]


def read_definitions(path: Path, offsets: list[str]) -> Texts:
    r"""Names and texts from rows of synset offset and ``words, definition``.

    Args:
        path: A tab-separated file.
        offsets: The synset of each entity; one that the file lacks has no
            text and is called by its offset.
    """
    texts = dict(read_table(path, 2))
    found = [texts.get(offset) for offset in offsets]
    return Texts(
        [
            text.split(', ', 1)[0] if text else offset
            for text, offset in zip(found, offsets, strict=True)
        ],
        [[text] if text else [] for text in found],
        [text is not None for text in found],
    )
