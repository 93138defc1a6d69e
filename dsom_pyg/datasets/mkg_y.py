"""MKG-Y: YAGO entities with names."""

from dsom_pyg.datasets.benchmark import NATIVE, Benchmark, Source, Texts


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
