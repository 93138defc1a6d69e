"""From a table of labels to a graph: ids, splits, names, texts, images."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch

from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.errors import DatasetError, shorten, well_formed
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import local_name, readable, unique_names
from dsom_pyg.datasets.own.literals import (
    MODALITY,
    number_features,
    take_out,
)
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.datasets.own.vocabulary import Vocabulary, composed
from dsom_pyg.datasets.text import to_triples
from dsom_pyg.graph import SPLITS, get_split, hold_out, make_data, set_split
from dsom_pyg.pyg import HeteroData

# Of train, validation and test.
SHARES = (0.8, 0.1, 0.1)
Shares = tuple[float, float, float]
# Triples from which on the shape of the columns tells something.
MANY = 20
# The distinct triples of a split by their ids (head, tail, relation), each
# with its first row.
Rows = dict[tuple[int, int, int], Triple]


def build_graph(
    table: Table,
    shares: Shares = SHARES,
    seed: int = 0,
    root: Path | None = None,
    literals: str = 'leave',
) -> RawGraph:
    r"""Give ids to the labels of a table, and draw the splits it lacks.

    Ids follow the order in which labels first occur, in train, validation
    and test. A duplicate within a split is dropped. Every entity and
    relation of a drawn split occurs in train. A triple in two given splits
    is kept in both, with a warning.

    Args:
        table: The graph in labels.
        shares: Of the splits. (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw.
        root: Paths of images below it are stored relative to it.
        literals: Whether numbers and dates among the tails are left out
            (``'leave'``), entities (``'keep'``) or a modality ``number``
            (``'features'``), see :mod:`dsom_pyg.datasets.own.literals`.

    Raises:
        DatasetError: There is no training triple.
    """
    build = _Build(table, literals)
    entities, relations = build.entities, build.relations
    if not build.rows.get('train'):
        raise DatasetError('there is no training triple')
    entities.note_twins()
    relations.note_twins()
    build.note_overlaps()
    build.note_columns()
    data = build.draw(shares, seed)
    build.note_unseen(data)
    names, relation_names = build.names()
    aliases = build.aliases()
    addresses = build.gather('address', table.addresses)
    images = build.images(names, aliases, addresses)
    texts = build.gather('text', table.texts)
    return RawGraph(
        data,
        names,
        relation_names,
        [[well_formed(text) for text in each] for each in texts],
        images,
        extra={
            'entity_keys': entities.labels,
            'relation_keys': relations.labels,
            'entity_images': [
                [_below(path, root) for path in paths] for paths in images
            ],
            'entity_types': build.types(),
            'image_addresses': addresses,
        },
        findings=build.findings,
        origins=build.origins(data),
        aliases=aliases,
        ordered=bool(table.entities),
        features=build.number_features(),
    )


class _Build:
    # A graph in the making: its labels with their ids, and its given splits.

    def __init__(self, table: Table, literals: str) -> None:
        self.table, self.findings = table, Findings()
        # What types are called; some have labels of their own.
        self.type_names: dict[str, str] = {}
        self.findings.extend(table.findings)
        given, self.numbers = take_out(
            table.triples, table.literals, literals, self.findings
        )
        self.entities = Vocabulary('entity', table.entities, self.findings)
        self.relations = Vocabulary('relation', table.relations, self.findings)
        self.rows = {
            split: self.number(given[split])
            for split in SPLITS
            if split in given
        }

    def number(self, triples: Sequence[Triple]) -> Rows:
        rows: Rows = {}
        for row in triples:
            place = row.place
            head = self.entities.add(row.head, place)
            tail = self.entities.add(row.tail, place)
            ids = head, tail, self.relations.add(row.relation, place)
            if ids in rows:
                first = rows[ids].place.line
                where = f', which stands in line {first}' if first else ''
                message = f'dropped {_said(row)}{where}'
                self.findings.add('duplicate triple', message, *place)
                continue
            if head == tail:
                self.findings.add('self loop', f'kept {_said(row)}', *place)
            rows[ids] = row
        return rows

    def note_overlaps(self) -> None:
        for a, b in (('val', 'train'), ('val', 'test'), ('test', 'train')):
            kind, there = f'{a} triple also in {b}', self.rows.get(b, {})
            shared = [ids for ids in self.rows.get(a, {}) if ids in there]
            for ids in shared:
                row, (file, line) = self.rows[a][ids], there[ids].place
                where = f' stands in {file.name}:{line} too' if file else ''
                self.findings.add(kind, _said(row) + where, *row.place)
            if shared:
                told = (
                    f'{kind}: {len(shared)} times. Scores on such triples '
                    f'reward memorising; the findings and dsom_pyg.audit list '
                    f'them'
                )
                warnings.warn(told, UserWarning, stacklevel=2)

    def note_columns(self) -> None:
        # Relations are few, as a rule. More of them than tails may mean that
        # the columns are in another order.
        rows = self.rows['train']
        tails = {tail for _, tail, _ in rows}
        relations = {relation for *_, relation in rows}
        if len(rows) >= MANY and len(tails) < len(relations):
            message = (
                f'train has {len(relations)} relations and only {len(tails)} '
                f'different tails. Are its columns head, tail, relation? Then '
                f"pass columns='htr' (--columns htr), or name the columns of "
                f'a frame: relation=...'
            )
            self.findings.add('columns may be swapped', message)
            warnings.warn(message, UserWarning, stacklevel=2)

    def draw(self, shares: Shares, seed: int) -> HeteroData:
        # The graph, with splits for those that the table lacks.
        parts = [to_triples(list(self.rows.get(each, {}))) for each in SPLITS]
        data = make_data(len(self.entities), len(self.relations), *parts)
        share = dict(zip(SPLITS, shares, strict=True))
        drawn = [split for split in SPLITS if split not in self.rows]
        left = share['train'] + sum(share[split] for split in drawn)
        # Test first, so that it does not depend on the share of validation.
        for split in reversed(drawn):
            if not share[split]:
                continue
            ratio = share[split] / left
            left -= share[split]
            wanted = round(ratio * get_split(data, 'train').edge_type.numel())
            data, part = hold_out(data, ratio, seed, keep='entities')
            set_split(data, split, part)
            count = part.edge_type.numel()
            if count < wanted:
                message = (
                    f'{count} instead of {wanted} triples drawn for {split}: '
                    f'the others hold the only place of an entity or a '
                    f'relation'
                )
                self.findings.add('small split', message)
        return data

    def note_unseen(self, data: HeteroData) -> None:
        labels = {x.what: x.labels for x in (self.entities, self.relations)}
        ends, rels = get_split(data, 'train')
        seen = {('entity', index) for index in ends.flatten().tolist()}
        seen |= {('relation', index) for index in rels.tolist()}
        for split in ('val', 'test'):
            noted = set(seen)
            for (head, tail, rel), row in self.rows.get(split, {}).items():
                said = {('entity', head), ('entity', tail), ('relation', rel)}
                for what, index in sorted(said - noted):
                    kind = f'{what} of {split} not in train'
                    label = shorten(labels[what][index])
                    message = f'no training triple has {what} {label}'
                    self.findings.add(kind, message, *row.place)
                noted |= said

    def origins(self, data: HeteroData) -> dict[str, Origin]:
        out = {}
        for split in SPLITS:
            # A split that was drawn comes from train.
            source = self.rows.get(split, self.rows['train'])
            ends, rels = get_split(data, split)
            ids = zip(*ends.tolist(), rels.tolist(), strict=True)
            places = [source[each].place for each in ids]
            files = {place.file for place in places}
            if len(files) == 1 and (file := files.pop()):
                lines = torch.tensor([place.line or 0 for place in places])
                out[split] = Origin(file, lines)
        return out

    def names(self) -> list[list[str]]:
        # Unique names of the entities and of the relations: the first one
        # given, else the label as people read it.
        both = (self.entities, self.relations)
        types = {entry.value for entry in self.table.types}
        called: dict[tuple[str, int | None], str] = {
            ('relation', self.relations.add(label)): composed(name)
            for label, name in self.table.relations.items()
            if name
        }
        for entry in self.table.names:
            found = ((each.what, each.find(entry.entity)) for each in both)
            owner = next((each for each in found if each[1] is not None), None)
            if owner is None:
                label = next((x for x in entry.entity if x in types), None)
                if label is None:
                    self.note_unknown('name', entry)
                else:
                    self.type_names.setdefault(label, composed(entry.value))
                continue
            name = composed(entry.value)
            kept = called.setdefault(owner, name)
            if kept != name:
                named = f'{owner[0]} {shorten(entry.entity[0])}'
                message = f'{shorten(name)} is not used, {named} has the name '
                message += shorten(kept)
                self.findings.add('second name', message, *entry.place)
        out = []
        for each in both:
            plain = enumerate(map(readable, each.labels))
            names = [called.get((each.what, at), name) for at, name in plain]
            out.append(unique_names(names, each.labels))
        return out

    def number_features(self) -> dict[str, Features]:
        said = []
        for row in self.numbers:
            owner = self.entities.find([row.head])
            if owner is None:
                entry = Entry((row.head,), row.tail, row.place)
                self.note_unknown('number', entry)
            else:
                said.append((owner, row.relation, row.tail))
        found = number_features(said)
        return {} if found is None else {MODALITY: found}

    def gather(self, what: str, entries: Sequence[Entry]) -> list[list[str]]:
        # The texts or image paths of each entity, equal ones once.
        out: dict[int, dict[str, None]] = {}
        for entry in entries:
            owner = self.entities.find(entry.entity)
            if owner is None:
                self.note_unknown(what, entry)
            elif entry.value in out.setdefault(owner, {}):
                value, entity = shorten(entry.value), shorten(entry.entity[0])
                message = f'dropped {value} of {entity}'
                self.findings.add(f'duplicate {what}', message, *entry.place)
            else:
                out[owner][entry.value] = None
        return [list(out.get(at, ())) for at in range(len(self.entities))]

    def types(self) -> list[list[str]]:
        # In words; the names of all labels are known by now.
        found = self.gather('type', self.table.types)
        names = self.type_names
        return [[names.get(x) or readable(x) for x in each] for each in found]

    def aliases(self) -> list[list[str]]:
        # What files may call each entity, its label first.
        out = [dict.fromkeys([label]) for label in self.entities.labels]
        for entry in self.table.aliases:
            owner = self.entities.find(entry.entity)
            if owner is None:
                self.note_unknown('alias', entry)
            else:
                out[owner].update(dict.fromkeys(entry.entity))
        return list(map(list, out))

    def note_unknown(self, what: str, entry: Entry) -> None:
        message = f'no triple has {shorten(entry.entity[0])}'
        kind = f'{what} of an unknown entity'
        self.findings.add(kind, message, *entry.place)

    def images(
        self,
        names: Sequence[str],
        aliases: Sequence[Sequence[str]],
        addresses: Sequence[Sequence[str]],
    ) -> list[list[Path]]:
        # Those of the table, then those of its folder.
        images: list[list[Any]] = self.gather('image', self.table.images)
        for paths in filter(None, images):
            paths[:] = map(Path, paths)
        folder = self.table.image_folder
        # All other names of millions of entities are for its files alone.
        if folder is not None and os.path.lexists(folder):
            # A file that was fetched from an address may be called as there.
            # That goes before what others are called; who has no address
            # is called by its label once more.
            most = max(map(len, addresses), default=0)
            every = []
            for said, name, there in zip(
                aliases, names, addresses, strict=True
            ):
                stems = [*map(_stem, there), *[said[0]] * most][:most]
                others = [*said[1:], name, *map(readable, said)]
                others = [x for x in dict.fromkeys(others) if x != said[0]]
                every.append([said[0], *stems, *others])
            found, noticed = find_images(folder, every)
            self.findings.extend(noticed)
            for paths, more in zip(images, found, strict=True):
                paths += more
        return images


def _said(row: Triple) -> str:
    return ' | '.join(map(shorten, row[:3]))


def _stem(address: str) -> str:
    name = unquote(local_name(address.split('?')[0]))
    return os.path.splitext(name)[0]


def _below(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path.absolute())
