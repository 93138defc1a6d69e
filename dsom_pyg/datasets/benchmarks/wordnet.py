"""WN18 and WN9: WordNet synsets with words and definitions."""

from pathlib import Path

from dsom_pyg.datasets.benchmarks import base
from dsom_pyg.datasets.text import read_labeled_triples, read_table


class WN18(base.Benchmark):
    r"""The WordNet graph of `"Translating Embeddings for Modeling
    Multi-relational Data" <https://papers.nips.cc/paper/5071>`_ (Bordes et
    al., 2013).

    40,943 entities, 18 relations; 141,442 train, 5,000 validation and 5,000
    test triples. Every entity occurs in train.

    .. note::
        It leaks: 4,698 of the 5,000 test pairs occur reversed in
        train. Say so beside every number.

    The text of each entity is the words and the definition of its synset.
    Images are found by synset, ``n05451384`` as in ImageNet or the offset
    alone.
    """

    sources = base.sources_of('WN18')

    def read_texts(self, keys: list[str]) -> base.Texts:
        return _definitions(self.raw('entity2text.txt'), keys)

    def aliases(self, keys: list[str]) -> list[list[str]]:
        # A letter tells the part of speech; only nouns have images.
        return [[key, f'n{key}'] for key in keys]


class WN9(base.Benchmark):
    r"""The WN9-IMG graph of `"Image-embodied Knowledge Representation
    Learning" <https://arxiv.org/abs/1609.07028>`_ (Xie et al., 2017).

    6,555 entities, 9 relations; 11,741 train, 1,337 validation and 1,319
    test triples. Ids follow the sorted labels.

    .. note::
        It leaks: 1,186 of the 1,319 test pairs occur reversed in
        train. Say so beside every number.

    The text of each entity is the words and the definition of its synset.
    Images are found by synset, ``n09809749`` or the offset alone.
    """

    sources = base.sources_of('WN9')

    split_files = ('train', 'valid', 'test')
    first_line = 1

    def read_keys(self) -> base.Keys:
        paths = [self.raw(name) for name in self.split_files]
        rows = [row for path in paths for row in read_table(path, 3)]
        entities = sorted({name for row in rows for name in row[::2]})
        relations = sorted({row[1] for row in rows})
        ids = {name: index for index, name in enumerate(entities)}
        relation_ids = {name: index for index, name in enumerate(relations)}
        splits = [read_labeled_triples(p, ids, relation_ids) for p in paths]
        return entities, relations, splits

    def read_texts(self, keys: list[str]) -> base.Texts:
        # A leading letter tells the part of speech; definitions lack it.
        return _definitions(self.raw('ent_dscp.txt'), [k[1:] for k in keys])

    def aliases(self, keys: list[str]) -> list[list[str]]:
        return [[key, key[1:]] for key in keys]


def _definitions(path: Path, offsets: list[str]) -> base.Texts:
    # Rows are a synset's offset and ``words, definition``.
    texts = dict(read_table(path, 2))
    return base.Texts(
        [texts.get(at, at).split(', ', 1)[0] for at in offsets],
        [[texts[at]] if at in texts else [] for at in offsets],
        [at in texts for at in offsets],
    )
