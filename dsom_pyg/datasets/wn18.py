"""WN18: WordNet synsets with words and definitions."""

from dsom_pyg.datasets.benchmark import OPENKE, Benchmark, Source, Texts
from dsom_pyg.datasets.wordnet import read_definitions

KGBERT = (
    'https://raw.githubusercontent.com/yao8839836/kg-bert/'
    '0b8f625108efcb9b43603b6840f2548ff3d3c973/data'
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
