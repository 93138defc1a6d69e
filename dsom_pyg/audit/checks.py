"""The checks of an audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.audit import leakage
from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.errors import place_in
from dsom_pyg.datasets.findings import Finding
from dsom_pyg.encoders import UnreadableImage, open_image
from dsom_pyg.graph import SPLITS, first_twin
from dsom_pyg.kg import KG
from dsom_pyg.metrics import CATEGORIES

# Examples of each sort, and relations, that a report shows.
KEEP, KEEP_RELATIONS = 3, 5
# From this share of test pairs on, a leak counts as a problem.
LEAK = 0.1
# Kinds of findings that are no fault of the data.
HARMLESS = (
    *('header', 'unused column', 'self loop', 'literal'),
    *('other language', 'second name', 'name of an unknown entity'),
    *('empty value', 'duplicate text', 'not an image', 'unused file'),
    *('images elsewhere', 'layout', 'comment', 'time or qualifier'),
    *('image address', 'declaration', 'further name', 'list in a cell'),
    *('page', 'further ids', 'shorter text'),
)
# Kinds of findings that other sections report in full.
ELSEWHERE = (' also in ', ' not in train')


@dataclass
class Section:
    r"""One aspect of a graph: counts and shares, relations that stand out,
    examples with their place, and problems to look into, in words.
    """

    facts: dict[str, int | float] = field(default_factory=dict)
    relations: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Checks:
    r"""The checks of a graph, each one a section.

    The arguments are those of :func:`~dsom_pyg.audit.report.audit_raw`.
    """

    raw: RawGraph
    root: Path | None
    threshold: float
    loaded: Mapping[str, float]

    def __post_init__(self) -> None:
        self.kg = KG(self.raw.data)
        self.size, self.rels = self.kg.num_entities, self.kg.num_relations
        self.parts = {name: self.kg.triples(name) for name in SPLITS}
        self.codes = {
            name: leakage.triple_codes(part, self.size, self.rels)
            for name, part in self.parts.items()
        }

    def sizes(self) -> Section:
        sizes = {name: len(codes) for name, codes in self.codes.items()}
        empty = [f'split {name} is empty' for name in sizes if not sizes[name]]
        return Section(
            {'entities': self.size, 'relations': self.rels, **sizes},
            problems=empty,
        )

    def duplicates(self) -> Section:
        out = Section()
        for name, part in self.parts.items():
            first = first_twin(part)
            again = first != torch.arange(first.numel())
            count = out.facts[name] = int(again.sum())
            out.examples += self._examples('duplicate', name, again)
            if count:
                out.problems.append(f'{name} holds {count:,} duplicate rows')
        return out

    def overlaps(self) -> Section:
        out = Section()
        for name, others in (('val', ('train', 'test')), ('test', ('train',))):
            codes = self.codes[name]
            elsewhere = torch.zeros(codes.numel(), dtype=torch.bool)
            total = len(codes.unique())
            for other in others:
                kind = f'{name} in {other}'
                inside = torch.isin(codes, self.codes[other])
                elsewhere |= inside
                distinct = len(codes[inside].unique())
                out.facts[f'{kind}, rows'] = int(inside.sum())
                out.facts[f'{kind}, distinct'] = distinct
                out.examples += self._examples(kind, name, inside, other)
                if distinct:
                    some = f'{distinct:,} of {total:,} distinct {name} triples'
                    out.problems.append(f'{some} are in {other}')
            out.facts[f'{name}, distinct'] = total
            where = 'in neither' if len(others) > 1 else f'not in {others[0]}'
            only = len(codes[~elsewhere].unique())
            out.facts[f'{name} {where}, distinct'] = only
        return out

    def known_pairs(self) -> Section:
        out = Section()
        train = self.parts['train']
        for name in ('val', 'test'):
            parts = self.parts[name], train, self.size
            back = leakage.reversed_in(*parts)
            same = leakage.paired_otherwise_in(*parts, self.rels)
            masks = {
                'reversed in train': back,
                'in train under another relation': same,
            }
            total = max(back.numel(), 1)
            for what, mask in masks.items():
                count = int(mask.sum())
                out.facts[f'{name}, {what}'] = count
                out.facts[f'{name}, {what}, share'] = count / total
                if name == 'test':
                    out.examples += self._examples(what, name, mask)
                    if count >= LEAK * total:
                        pairs = f'{count:,} of {back.numel():,} test pairs'
                        out.problems.append(f'{pairs} are {what}')
        return out

    def relations(self) -> Section:
        found = leakage.relation_pairs(
            self.parts['train'],
            self.size,
            self.rels,
            self.threshold,
            keep=KEEP_RELATIONS,
        )
        kinds = ('symmetric', 'reversed', 'repeated')
        names = self.raw.relation_names
        rows = [
            {
                'kind': kind,
                'relation': names[pair.first],
                'other': names[pair.second],
                'pairs': pair.shared,
                'share': pair.share,
                'share_of_other': pair.share_second,
            }
            for kind in kinds
            for pair in found[kind].most
        ]
        return Section({kind: found[kind].total for kind in kinds}, rows)

    def unseen(self) -> Section:
        out = Section()
        train = self.parts['train']
        for name in ('val', 'test'):
            ends, rels = self.parts[name]
            new = ~torch.isin(ends, train.edge_index)
            new_rels = ~torch.isin(rels, train.edge_type)
            rows = new.any(dim=0)
            out.facts[f'entities of {name}'] = len(ends[new].unique())
            out.facts[f'triples of {name} with such'] = int(rows.sum())
            out.facts[f'relations of {name}'] = len(rels[new_rels].unique())
            rows |= new_rels
            kind = f'{name} with what train lacks'
            out.examples += self._examples(kind, name, rows)
            if count := int(rows.sum()):
                what = 'an entity or relation that is not in train'
                out.problems.append(f'{count:,} {name} triples have {what}')
        return out

    def self_loops(self) -> Section:
        out = Section()
        for name, part in self.parts.items():
            loops = part.head == part.tail
            out.facts[name] = int(loops.sum())
            out.examples += self._examples('self loop', name, loops)
        return out

    def structure(self) -> Section:
        out = Section()
        alone = torch.ones(self.size, dtype=torch.bool)
        for part in self.parts.values():
            alone[part.edge_index.flatten()] = False
        count = out.facts['entities in no triple'] = int(alone.sum())
        if count:
            out.problems.append(f'{count:,} entities are in no triple')
        out.examples += [
            Finding('in no triple', self.raw.entity_names[index])
            for index in alone.nonzero().flatten()[:KEEP].tolist()
        ]
        train = self.parts['train']
        sizes = leakage.component_sizes(train)
        out.facts['connected parts of train'] = len(sizes)
        out.facts['entities in the largest part'] = sizes[0] if sizes else 0
        category = self.kg.relation_categories[train.edge_type.unique()]
        for place, name in enumerate(CATEGORIES):
            out.facts[f'{name} relations'] = int((category == place).sum())
        return out

    def coverage(self) -> Section:
        facts: dict[str, int | float] = {}
        for name in ('text', 'image'):
            lists = self.raw.items()[name]
            count = sum(map(bool, lists))
            facts[f'{name}s'] = sum(map(len, lists))
            facts[f'entities with {name}'] = count
            facts[f'share with {name}'] = count / max(self.size, 1)
        if self.raw.described is not None:
            facts['entities with a description'] = sum(self.raw.described)
        for name, share in self.loaded.items():
            facts[f'share with {name}, in the dataset'] = share
        return Section(facts)

    def images(self) -> Section:
        paths = dict.fromkeys(chain.from_iterable(self.raw.entity_images))
        bad = []
        for path in paths:
            try:
                open_image(path)
            except (UnreadableImage, OSError) as error:
                why = getattr(error, 'reason', None) or str(error)
                bad.append(Finding('unreadable', why, self._name(path)))
        return Section(
            {'image files': len(paths), 'unreadable': len(bad)},
            examples=bad[:KEEP],
            problems=[f'{len(bad):,} images cannot be read'] if bad else [],
        )

    def reading(self, opened: bool) -> Section:
        findings = self.raw.findings
        out = Section(dict(findings.counts))
        elsewhere = [*ELSEWHERE, *(['unreadable image'] * opened)]
        for kind, count in findings.counts.items():
            out.examples += [
                Finding(kind, each.message, self._name(each.file), each.line)
                for each in findings.examples[kind][:KEEP]
            ]
            told = any(word in kind for word in elsewhere)
            if kind not in HARMLESS and not told:
                out.problems.append(f'{kind}: {count:,}')
        return out

    def _examples(
        self, kind: str, split: str, rows: Tensor, other: str | None = None
    ) -> list[Finding]:
        # The first rows that the mask selects. With `other`, each example
        # also names the line of the same triple in that split.
        part, origins = self.parts[split], self.raw.origins
        names = self.raw.entity_names
        out = []
        for row in rows.nonzero().flatten()[:KEEP].tolist():
            head, tail = (names[end] for end in part.edge_index[:, row])
            rel = self.raw.relation_names[part.edge_type[row]]
            message = f'{kind}: {head} | {rel} | {tail}'
            if other in origins:
                same = self.codes[other] == self.codes[split][row]
                file, line = self._place(other, int(same.nonzero()[0]))
                message += f', also in {place_in(file or "", line)}'
            out.append(Finding(kind, message, *self._place(split, row)))
        return out

    def _place(self, split: str, row: int) -> tuple[str | None, int | None]:
        if split not in self.raw.origins:
            return None, None
        file, lines = self.raw.origins[split]
        return self._name(file), int(lines[row]) or None

    def _name(self, path: str | Path | None) -> str | None:
        if path is None:
            return None
        if self.root and Path(path).is_relative_to(self.root):
            return Path(path).relative_to(self.root).as_posix()
        return str(path)
