"""The checks of an audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.audit.leakage import (
    component_sizes,
    paired_otherwise_in,
    relation_pairs,
    repeats,
    reversed_in,
    triple_codes,
)
from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.findings import Finding, Findings
from dsom_pyg.encoders import UnreadableImage, open_image
from dsom_pyg.graph import (
    SPLITS,
    Triples,
    concat,
    get_split,
    num_entities,
    num_relations,
)
from dsom_pyg.kg import KG
from dsom_pyg.metrics import CATEGORIES

# Examples of each sort, and relations, that a report shows.
KEEP = 3
KEEP_RELATIONS = 5
# From this share of test pairs on, a leak counts as a problem.
LEAK = 0.1
# Kinds of findings that are no fault of the data.
HARMLESS = (
    *('header', 'unused column', 'self loop', 'literal'),
    *('other language', 'second name', 'name of an unknown entity'),
    *('empty value', 'duplicate text', 'not an image', 'unused file'),
)
# Kinds of findings that other sections report in full.
ELSEWHERE = (' also in ', ' not in train')


@dataclass
class Section:
    r"""One aspect of a graph.

    Args:
        facts: Counts and shares.
        relations: Relations that stand out, with their numbers.
        examples: Triples, entities or files, with their place if known.
        problems: What the owner of the graph should look into, in words.
    """

    facts: dict[str, int | float] = field(default_factory=dict)
    relations: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Checks:
    r"""The checks of a graph, each one a section.

    Args:
        raw: The graph.
        root: Files are named relative to it.
        threshold: Share of the pairs of a relation that another one must
            have for the two to be listed.
        loaded: Share of the entities that have each modality in the
            dataset, after encoding. (default: none)
    """

    def __init__(
        self,
        raw: RawGraph,
        root: Path | None,
        threshold: float,
        loaded: Mapping[str, float] | None = None,
    ) -> None:
        self.raw, self.root, self.threshold = raw, root, threshold
        self.loaded = loaded or {}
        self.opened = False
        self.size = num_entities(raw.data)
        self.rels = num_relations(raw.data)
        self.parts = {name: get_split(raw.data, name) for name in SPLITS}
        self.codes = {
            name: triple_codes(part, self.size, self.rels)
            for name, part in self.parts.items()
        }

    def sizes(self) -> Section:
        facts: dict[str, int | float] = {
            'entities': self.size,
            'relations': self.rels,
        }
        facts |= {name: code.numel() for name, code in self.codes.items()}
        empty = [name for name, code in self.codes.items() if not len(code)]
        problems = [f'split {name} is empty' for name in empty]
        return Section(facts, problems=problems)

    def duplicates(self) -> Section:
        out = Section()
        for name, codes in self.codes.items():
            again = repeats(codes)
            count = int(again.sum())
            out.facts[name] = count
            out.examples += self._examples('duplicate', name, again)
            if count:
                out.problems.append(f'{name} holds {count:,} duplicate rows')
        return out

    def overlaps(self) -> Section:
        out = Section()
        for name, others in (('val', ('train', 'test')), ('test', ('train',))):
            codes = self.codes[name]
            elsewhere = torch.zeros(codes.numel(), dtype=torch.bool)
            for other in others:
                inside = torch.isin(codes, self.codes[other])
                elsewhere |= inside
                rows, distinct = int(inside.sum()), _distinct(codes[inside])
                out.facts[f'{name} in {other}, rows'] = rows
                out.facts[f'{name} in {other}, distinct'] = distinct
                kind = f'{name} in {other}'
                out.examples += self._examples(kind, name, inside, other)
                if rows:
                    out.problems.append(
                        f'{distinct:,} of {_distinct(codes):,} distinct '
                        f'{name} triples are in {other}'
                    )
            out.facts[f'{name}, distinct'] = _distinct(codes)
            where = 'in neither' if len(others) > 1 else f'not in {others[0]}'
            only = _distinct(codes[~elsewhere])
            out.facts[f'{name} {where}, distinct'] = only
        return out

    def known_pairs(self) -> Section:
        out = Section()
        train = self.parts['train']
        for name in ('val', 'test'):
            part = self.parts[name]
            back = reversed_in(part, train, self.size)
            same = paired_otherwise_in(part, train, self.size, self.rels)
            total = max(back.numel(), 1)
            for what, mask in (
                ('reversed in train', back),
                ('in train under another relation', same),
            ):
                count = int(mask.sum())
                out.facts[f'{name}, {what}'] = count
                out.facts[f'{name}, {what}, share'] = count / total
                if name == 'test':
                    out.examples += self._examples(what, name, mask)
                    if count >= LEAK * total:
                        out.problems.append(
                            f'{count:,} of {back.numel():,} test pairs are '
                            f'{what}'
                        )
        return out

    def relations(self) -> Section:
        train = self.parts['train']
        back, same = (
            relation_pairs(train, self.size, self.rels, self.threshold, flip)
            for flip in (True, False)
        )
        listed = {
            'symmetric': [pair for pair in back if pair.first == pair.second],
            'reversed': [pair for pair in back if pair.first != pair.second],
            'repeated': same,
        }
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
            for kind, pairs in listed.items()
            for pair in pairs[:KEEP_RELATIONS]
        ]
        return Section({k: len(pairs) for k, pairs in listed.items()}, rows)

    def unseen(self) -> Section:
        out = Section()
        train = self.parts['train']
        for name in ('val', 'test'):
            part = self.parts[name]
            ends = part.edge_index
            new = ~torch.isin(ends, train.edge_index)
            out.facts[f'entities of {name}'] = _distinct(ends[new])
            rows = new.any(dim=0)
            out.facts[f'triples of {name} with such'] = int(rows.sum())
            rels = ~torch.isin(part.edge_type, train.edge_type)
            count = _distinct(part.edge_type[rels])
            out.facts[f'relations of {name}'] = count
            kind = f'{name} with what train lacks'
            out.examples += self._examples(kind, name, rows | rels)
            if bool((rows | rels).any()):
                out.problems.append(
                    f'{int((rows | rels).sum()):,} {name} triples have an '
                    f'entity or relation that is not in train'
                )
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
        everything = concat(*self.parts.values())
        alone = torch.ones(self.size, dtype=torch.bool)
        alone[everything.edge_index.flatten()] = False
        out.facts['entities in no triple'] = int(alone.sum())
        out.examples += [
            Finding('in no triple', self.raw.entity_names[index])
            for index in alone.nonzero().flatten()[:KEEP].tolist()
        ]
        train = self.parts['train']
        sizes = component_sizes(train)
        out.facts['connected parts of train'] = len(sizes)
        out.facts['entities in the largest part'] = sizes[0] if sizes else 0
        category = KG(self.raw.data).relation_categories
        used = torch.zeros(self.rels, dtype=torch.bool)
        used[train.edge_type] = True
        for place, name in enumerate(CATEGORIES):
            count = int((used & (category == place)).sum())
            out.facts[f'{name} relations'] = count
        if int(alone.sum()):
            out.problems.append(
                f'{int(alone.sum()):,} entities are in no triple'
            )
        return out

    def coverage(self) -> Section:
        facts: dict[str, int | float] = {}
        items: dict[str, list[Any]] = {
            'text': self.raw.entity_texts,
            'image': self.raw.entity_images,
        }
        for name, lists in items.items():
            facts[f'{name}s'] = sum(map(len, lists))
            facts[f'entities with {name}'] = sum(map(bool, lists))
            share = facts[f'entities with {name}'] / max(self.size, 1)
            facts[f'share with {name}'] = share
        if self.raw.described is not None:
            facts['entities with a description'] = sum(self.raw.described)
        for name, share in self.loaded.items():
            facts[f'share with {name}, in the dataset'] = share
        return Section(facts)

    def images(self) -> Section:
        self.opened = True
        out = Section()
        paths = [path for each in self.raw.entity_images for path in each]
        bad = 0
        for path in dict.fromkeys(paths):
            try:
                open_image(path)
            except (UnreadableImage, OSError) as error:
                bad += 1
                if bad <= KEEP:
                    place = self._name(path)
                    why = getattr(error, 'reason', None) or str(error)
                    found = Finding('unreadable', why, place)
                    out.examples.append(found)
        out.facts = {'image files': len(set(paths)), 'unreadable': bad}
        if bad:
            out.problems.append(f'{bad:,} images cannot be read')
        return out

    def reading(self) -> Section:
        findings: Findings = self.raw.findings
        out = Section(dict(findings.counts))
        elsewhere = [*ELSEWHERE, *(['unreadable image'] * self.opened)]
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
        part, origin = self.parts[split], self.raw.origins.get(split)
        out = []
        for row in rows.nonzero().flatten()[:KEEP].tolist():
            message = f'{kind}: {self._triple(part, row)}'
            if other in self.raw.origins:
                same = self.codes[other] == self.codes[split][row]
                first = int(same.nonzero()[0])
                there = self.raw.origins[other]
                line = int(there.lines[first])
                message += f', also in {self._name(there.file)}:{line}'
            file = self._name(origin.file) if origin else None
            place = int(origin.lines[row]) if origin else None
            out.append(Finding(kind, message, file, place))
        return out

    def _triple(self, part: Triples, row: int) -> str:
        head, tail = part.edge_index[:, row].tolist()
        names = self.raw.entity_names
        rel = self.raw.relation_names[int(part.edge_type[row])]
        return f'{names[head]} | {rel} | {names[tail]}'

    def _name(self, path: str | Path | None) -> str | None:
        if path is None or self.root is None:
            return None if path is None else str(path)
        if Path(path).is_relative_to(self.root):
            return Path(path).relative_to(self.root).as_posix()
        return str(path)


def _distinct(codes: Tensor) -> int:
    return int(torch.unique(codes).numel())
