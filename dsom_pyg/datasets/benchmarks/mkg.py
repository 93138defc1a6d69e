"""MKG-W and MKG-Y: Wikidata and YAGO entities with their names."""

import gzip
import json
import re

from dsom_pyg.datasets.benchmarks import base
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.names import local_name
from dsom_pyg.datasets.text import read_table


class MKG_W(base.Benchmark):
    r"""The Wikidata graph of `"MMRNS: Relation-enhanced Negative Sampling
    for Multimodal Knowledge Graph Completion"
    <https://dl.acm.org/doi/10.1145/3503161.3548388>`_ (Xu et al., 2022).

    15,000 entities, 169 relations; 34,196 train, 4,276 validation and 4,274
    test triples. 491 entities occur in no training triple.

    The text of an entity is its DBpedia title; there are no descriptions.
    With :obj:`more_texts=True` those of Wikidata stand beside where one of
    four files has one (of LiterallyWikidata, KGTK, PKGC, and of Freebase
    entities, in this order): 4,641 of 15,000 are described then.
    Relations are called by their Wikidata labels. Images belong into
    ``<root>/images/Q370252/`` and so on, by Wikidata id.
    """

    sources = base.sources_of('MKG_W')
    texts_beside = base.sources_of('MKG_W texts')

    def read_texts(self, keys: list[str]) -> base.Texts:
        rows = read_table(self.raw('ent_links.txt'), 2)
        titles = {uri: base.dbpedia_title(page) for page, uri in rows}
        missing = [key for key in keys if key not in titles]
        if missing:
            raise DatasetError(
                f'{self.raw("ent_links.txt")}: no title of '
                f'{len(missing)} entities, such as {missing[0]!r}'
            )
        names = [titles[key] for key in keys]
        texts = [[name] for name in names]
        return base.Texts(names, texts, [False] * len(keys))

    def read_more_texts(
        self, keys: list[str], texts: base.Texts
    ) -> base.Texts:
        about = self._descriptions()
        out, described = list(texts.texts), []
        for at, key in enumerate(keys):
            said = about.get(local_name(key))
            if said:
                name = texts.names[at]
                out[at] = [base.name_and_description(name, said)]
            described.append(bool(said))
        return base.Texts(texts.names, out, described)

    def _descriptions(self) -> dict[str, str]:
        # By Wikidata id. What stands in the first files holds.
        facts = json.loads(self.raw('entity2wikidata.json').read_bytes())
        out = {
            entry['wikidata_id']: entry['description']
            for entry in facts.values()
            if entry.get('wikidata_id') and entry.get('description')
        }
        out.update(dict(read_table(self.raw('entity2definition.txt'), 2)))
        path = self.raw('descriptions.en.tsv.gz')
        with gzip.open(path, 'rt', encoding='utf-8', newline='\n') as lines:
            for line in lines:
                key, _, said, _ = line.rstrip('\n').split('\t')
                # 'text'@en, in which quotes have a backslash.
                quoted = re.fullmatch(r"'(.*)'@en", said)
                if quoted:
                    out[key] = re.sub(r'\\(.)', r'\1', quoted[1])
        path = self.raw('entity_wikidata_descriptions_en.txt')
        return {**out, **dict(read_table(path, 2))}

    def name_relations(self, keys: list[str]) -> list[str]:
        # Rows are id, name, id, in the numbering of the triples.
        rows = read_table(self.raw('relation_names.txt'), 3, ' ')
        names = {int(index): name for index, name, _ in rows}
        return [names[index] for index in range(len(keys))]

    def aliases(self, keys: list[str]) -> list[list[str]]:
        return [[key, local_name(key)] for key in keys]


class MKG_Y(base.Benchmark):
    r"""The YAGO graph of `"MMRNS: Relation-enhanced Negative Sampling for
    Multimodal Knowledge Graph Completion"
    <https://dl.acm.org/doi/10.1145/3503161.3548388>`_ (Xu et al., 2022).

    15,000 entities, 28 relations; 21,310 train, 2,665 validation and 2,663
    test triples. 612 entities occur in no training triple.

    The text of an entity is its YAGO name; there are no descriptions. Images
    belong into ``<root>/images/Libreville/`` and so on, by YAGO name.
    """

    sources = base.sources_of('MKG_Y')

    def read_texts(self, keys: list[str]) -> base.Texts:
        names = [key.replace('_', ' ') for key in keys]
        texts = [[name] for name in names]
        return base.Texts(names, texts, [False] * len(keys))
