"""FB15K-237: Freebase entities with labels and descriptions."""

import json

from dsom_pyg.datasets.benchmarks.base import (
    IMF,
    MMKB,
    OPENKE,
    Benchmark,
    Source,
    Texts,
    name_and_description,
)
from dsom_pyg.datasets.text import read_table


class FB15k_237(Benchmark):
    r"""The graph of `"Observed versus Latent Features for Knowledge Base and
    Text Inference" <https://aclanthology.org/W15-4007>`_ (Toutanova and
    Chen, 2015): FB15K without near-inverse relations.

    14,541 entities, 237 relations; 272,115 train, 17,535 validation and
    20,466 test triples. 36 entities occur in no training triple.

    The text of an entity is its Wikidata label and short description:
    14,515 of 14,541 have a label, 13,666 of them a description; the others
    have no text and are called by their Freebase id. Relations keep their
    Freebase path, since its last segment alone is ambiguous. Images belong
    into ``<root>/images/FBIMG00001/`` and so on, by the image index of MMKB.
    For the arguments see :class:`Benchmark`.
    """

    sources = {
        'entity2id.txt': Source(
            f'{OPENKE}/FB15K237/entity2id.txt',
            'e4546cfdcd0b9bd0151cc0f6ef2edee29eb2bb55a3d47e668194999c036fba0d',
            233099,
        ),
        'relation2id.txt': Source(
            f'{OPENKE}/FB15K237/relation2id.txt',
            'fefd26d6cd5ff9d360efe5360c11bf112d019f42b3acf165a5c04aa2b66a42d9',
            15764,
        ),
        'train2id.txt': Source(
            f'{OPENKE}/FB15K237/train2id.txt',
            '5f44223a02b39b8e398e77a787feb4f06e9ffccf1ae87047bbf38fcc8cc08bd2',
            3416118,
        ),
        'valid2id.txt': Source(
            f'{OPENKE}/FB15K237/valid2id.txt',
            '7d21e778de4369d5348f5cff23a08dc847ab5fce4b5f07c80113297d2dc60a86',
            222093,
        ),
        'test2id.txt': Source(
            f'{OPENKE}/FB15K237/test2id.txt',
            '6027e649c1716ac9c1ef2f24672a416aa277aff3e14850ef915ac5a21df70417',
            259074,
        ),
        'entity2wikidata.json': Source(
            f'{IMF}/FB15K/entity2wikidata.json',
            '80e74bb002fb9ca0ecd3d63879a3a51121db855d312a101917a1ffb6aed2fea9',
            3927931,
        ),
        'FB15K_ImageIndex.txt': Source(
            f'{MMKB}/FB15K/FB15K_ImageIndex.txt',
            '3e7e2be4f8f801d0cfc57ab7fcbb537ffe3d26212f17383c4091c19686f76940',
            279298,
        ),
    }

    def _read_texts(self, keys: list[str]) -> Texts:
        path = self._raw('entity2wikidata.json')
        wikidata = json.loads(path.read_text(encoding='utf-8'))
        names, texts, described = [], [], []
        for key in keys:
            entry = wikidata.get(key, {})
            label, about = entry.get('label'), entry.get('description')
            names.append(label or key)
            texts.append([name_and_description(label, about)] if label else [])
            described.append(bool(label and about))
        return Texts(names, texts, described)

    def _aliases(self, keys: list[str]) -> list[list[str]]:
        index = dict(read_table(self._raw('FB15K_ImageIndex.txt'), 2))
        return [[key, *filter(None, [index.get(key)])] for key in keys]
