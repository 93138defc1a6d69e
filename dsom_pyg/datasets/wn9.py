"""WN9: WordNet nouns with words, definitions and images."""

from dsom_pyg.datasets.benchmark import Benchmark, IdGraph, Source, Texts
from dsom_pyg.datasets.reading import read_labeled_triples, read_table
from dsom_pyg.datasets.wordnet import read_definitions

MOSE = (
    'https://raw.githubusercontent.com/OreOZhao/MoSE4MKGC/'
    '192d9ff2882b5be6ef8239a37cbd90c5dd102b5a/src_data'
)


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
