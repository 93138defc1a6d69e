"""FB15K-237: Freebase entities with labels and descriptions."""

import json

from dsom_pyg.datasets.benchmarks import base
from dsom_pyg.datasets.text import read_table


class FB15k_237(base.Benchmark):
    r"""The graph of `"Observed versus Latent Features for Knowledge Base and
    Text Inference" <https://aclanthology.org/W15-4007>`_ (Toutanova and
    Chen, 2015): FB15K without near-inverse relations.

    14,541 entities, 237 relations; 272,115 train, 17,535 validation and
    20,466 test triples. 36 entities occur in no training triple.

    The text of an entity is its Wikidata label and short description:
    14,515 of 14,541 have a label, 13,666 of them a description; the others
    have no text and are called by their Freebase id. Relations keep their
    Freebase path, since its last segment alone is ambiguous. With
    :obj:`more_texts=True` every entity has a name, and the first sentence of
    its Freebase text beside (from the files of `StAR
    <https://arxiv.org/abs/2004.14781>`_, Wang et al., 2021). Images belong
    into ``<root>/images/FBIMG00001/`` and so on, by the image index of MMKB.
    """

    sources = base.sources_of('FB15k_237')
    texts_beside = base.sources_of('FB15k_237 texts')

    def read_texts(self, keys: list[str]) -> base.Texts:
        facts = json.loads(self.raw('entity2wikidata.json').read_bytes())
        names, texts, described = [], [], []
        for key in keys:
            entry = facts.get(key, {})
            label, about = entry.get('label'), entry.get('description')
            names.append(label or key)
            text = base.name_and_description(label, about)
            texts.append([text] if label else [])
            described.append(bool(label and about))
        return base.Texts(names, texts, described)

    def read_more_texts(
        self, keys: list[str], texts: base.Texts
    ) -> base.Texts:
        said = base.freebase_sentences(self.raw('fb-entity2text-new.txt'))
        names = list(texts.names)
        more = {}
        for at, key in enumerate(keys):
            name, sentence = said[key]
            if names[at] == key:
                names[at] = name
                sentence = base.name_and_description(name, sentence)
            more[at] = sentence
        return base.with_more(texts._replace(names=names), more)

    def aliases(self, keys: list[str]) -> list[list[str]]:
        index = dict(read_table(self.raw('FB15K_ImageIndex.txt'), 2))
        return [[key, *filter(None, [index.get(key)])] for key in keys]
