"""From a table of labels to a graph: ids, splits, names, texts, images."""

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, overload
from urllib.parse import unquote

import numpy as np
import torch
from torch import Tensor

from dsom_pyg import graph
from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.errors import (
    DatasetError,
    place_in,
    shorten,
    well_formed,
)
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import (
    composed,
    local_name,
    readable,
    unique_names,
)
from dsom_pyg.datasets.own.label_ids import LabelIds
from dsom_pyg.datasets.own.literals import (
    MODALITY,
    number_features,
    take_out,
)
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.graph import (
    SPLITS,
    Triples,
    concat,
    first_of,
    make_data,
    triple_keys,
)
from dsom_pyg.pyg import HeteroData

# Of train, validation and test.
SHARES = (0.8, 0.1, 0.1)
Shares = tuple[float, float, float]
# A message, and the file and line that it is about.
Noticed = tuple[str, Path | None, int | None]
# Triples from which on the shape of the columns tells something.
MANY = 20
LIST = re.compile(r"""\[('.*'|".*")\]""", re.DOTALL)


class Split(NamedTuple):
    r"""The distinct triples of a split: their ids, a number for each, and the
    rows that they come from.
    """

    triples: Triples
    keys: Tensor
    rows: TripleRows

    def select(self, which: Tensor) -> 'Split':
        r"""Some of them, by a mask."""
        mask = which.numpy()  # which does that much faster than torch
        ends = self.triples.edge_index.numpy().compress(mask, axis=1)
        rels = self.triples.edge_type.numpy().compress(mask)
        triples = Triples(torch.from_numpy(ends), torch.from_numpy(rels))
        keys = torch.from_numpy(self.keys.numpy().compress(mask))
        return Split(triples, keys, self.rows.select(mask))


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
    if 'train' not in build.rows or not len(build.rows['train'].keys):
        raise DatasetError('there is no training triple')
    entities.note_twins()
    relations.note_twins()
    build.note_overlaps()
    build.note_columns()
    build.note_headers()
    build.note_lists()
    build.note_unseen()
    build.draw(shares, seed)
    data = build.data()
    names, relation_names = build.names()
    aliases = build.aliases()
    addresses = build.gather('address', table.addresses)
    images = build.images(names, aliases, addresses)
    texts = build.gather('text', table.texts)
    return RawGraph(
        data,
        names,
        relation_names,
        [list(map(well_formed, each)) if each else each for each in texts],
        images,
        extra={
            'entity_keys': entities.labels,
            'relation_keys': relations.labels,
            'entity_images': [
                [_below(path, root) for path in paths] if paths else []
                for paths in images
            ],
            'entity_types': build.types(),
            'image_addresses': addresses,
        },
        findings=build.findings,
        origins=build.origins(),
        aliases=aliases,
        ordered=build.ordered,
        features=build.number_features(),
    )


class _Build:
    # A graph in the making: its labels with their ids, and its given splits.

    def __init__(self, table: Table, literals: str) -> None:
        self.table, self.findings = table, Findings()
        # What types are called; some have labels of their own.
        self.type_names: dict[str, str] = {}
        self.findings.extend(table.findings)
        triples = {x: TripleRows.of(rows) for x, rows in table.triples.items()}
        given, self.numbers = take_out(
            triples, table.literals, literals, self.findings, table.entities
        )
        given = {split: given[split] for split in SPLITS if split in given}
        self.entities = LabelIds('entity', table.entities, self.findings)
        listed = len(self.entities)
        self.relations = LabelIds('relation', table.relations, self.findings)
        self.rows = self.number(given)
        # A list of some says nothing of the order of the others, and one that
        # has a label twice, perhaps in two forms of Unicode, moves later ids.
        self.ordered = len(self.entities) == listed == len(table.entities)

    def number(self, given: Mapping[str, TripleRows]) -> dict[str, Split]:
        ids = [self.ids_of(rows) for rows in given.values()]
        sizes = [len(rows) for rows in given.values()]
        keys = triple_keys(concat(*ids)).split(sizes) if ids else ()
        out = {}
        for each, key, (split, rows) in zip(
            ids, keys, given.items(), strict=True
        ):
            every = Split(each, key, rows)
            new = self.note_rows(every)
            out[split] = every if new.all() else every.select(new)
        return out

    def ids_of(self, rows: TripleRows) -> Triples:
        # Ids follow the order in which labels first occur.
        head, relation, tail = map(torch.from_numpy, rows.codes)
        ids = []
        for label_ids, columns in (
            (self.entities, (head, tail)),
            (self.relations, (relation,)),
        ):
            order = _first_places(columns, len(rows.labels))
            codes = torch.stack(columns)[
                order % len(columns), order // len(columns)
            ]
            labels = [rows.labels[code] for code in codes.tolist()]
            rows_of = order // len(columns)

            def place(number: int, rows_of: Tensor = rows_of) -> Place:
                return rows.place(int(rows_of[number]))

            found = label_ids.add_all(labels, place)
            numbers = torch.zeros(len(rows.labels), dtype=torch.long)
            numbers[codes.long()] = torch.tensor(found, dtype=torch.long)
            ids.append(torch.stack([numbers[each] for each in columns]))
        return Triples(ids[0], ids[1][0])

    def note_rows(self, split: Split) -> Tensor:
        # Which rows are no duplicates.
        rows, (head, tail) = split.rows, split.triples.edge_index
        first = first_of(split.keys)
        new = first == torch.arange(first.numel())
        again = (~new).nonzero()[:, 0]

        def duplicate(number: int) -> Noticed:
            at = int(again[number])
            line = rows.place(int(first[at])).line
            where = f', which stands in line {line}' if line else ''
            return f'dropped {_said(rows[at])}{where}', *rows.place(at)

        loops = ((head == tail) & new).nonzero()[:, 0]

        def loop(number: int) -> Noticed:
            at = int(loops[number])
            return f'kept {_said(rows[at])}', *rows.place(at)

        self.findings.add_many('duplicate triple', len(again), duplicate)
        self.findings.add_many('self loop', len(loops), loop)
        return new

    def note_overlaps(self) -> None:
        for a, b in (('val', 'train'), ('val', 'test'), ('test', 'train')):
            if a not in self.rows or b not in self.rows:
                continue
            kind = f'{a} triple also in {b}'
            here, there = self.rows[a], self.rows[b]
            shared, twins = _matches(here.keys, there.keys)

            def note(
                number: int,
                here: TripleRows = here.rows,
                there: TripleRows = there.rows,
                shared: Tensor = shared,
                twins: Tensor = twins,
            ) -> Noticed:
                at = int(shared[number])
                file, line = there.place(int(twins[number]))
                twin = file and place_in(file.name, line)
                where = f' stands in {twin} too' if twin else ''
                return _said(here[at]) + where, *here.place(at)

            self.findings.add_many(kind, len(shared), note)
            if len(shared):
                told = (
                    f'{kind}: {len(shared)} times. Scores on such triples '
                    f'reward memorising; the findings and dsom_pyg.audit list '
                    f'them'
                )
                warnings.warn(told, UserWarning, stacklevel=2)

    def note_columns(self) -> None:
        # Relations are few, as a rule. More of them than tails may mean that
        # the columns are in another order.
        train = self.rows['train'].triples
        tails = torch.bincount(train.tail).count_nonzero().item()
        relations = torch.bincount(train.edge_type).count_nonzero().item()
        if train.edge_type.numel() >= MANY and tails < relations:
            message = (
                f'train has {relations} relations and only {tails} '
                f'different tails. Are its columns head, tail, relation? Then '
                f"pass columns='htr' (--columns htr), or name the columns of "
                f'a frame: relation=...'
            )
            self.findings.add('columns may be swapped', message)
            warnings.warn(message, UserWarning, stacklevel=2)

    def note_headers(self) -> None:
        # A header that is no known one became a triple, whose labels are
        # nowhere else, as a rule.
        every = [rows.triples for rows in self.rows.values()]
        ends = torch.cat([x.edge_index for x in every], dim=1).flatten()
        rels = torch.cat([x.edge_type for x in every])
        for rows in self.rows.values():
            if len(rows.keys) < MANY:
                continue
            head, tail = rows.triples.edge_index[:, 0]
            alone = (ends == head).sum() == (ends == tail).sum() == 1
            if alone and (rels == rows.triples.edge_type[0]).sum() == 1:
                file, line = rows.rows.place(0)
                message = (
                    f'{_said(rows.rows[0])} became a triple, and none of the '
                    'three is in another one. If it is a header, delete it, '
                    'or call the columns head, relation, tail'
                )
                self.findings.add('first row alone', message, file, line)

    def note_lists(self) -> None:
        # What pandas writes for a list is one label.
        labels = self.entities.labels
        found = [x for x in labels if x[:1] == '[' and LIST.fullmatch(x)]
        if found:
            message = (
                f'{len(found)} entities are called as lists are written, such '
                f'as {shorten(found[0])}; write a row for each item, or give '
                'from_pandas a column of lists'
            )
            self.findings.add('labels like lists', message)
            warnings.warn(message, UserWarning, stacklevel=2)

    def draw(self, shares: Shares, seed: int) -> None:
        # Splits for those that the table lacks.
        share = dict(zip(SPLITS, shares, strict=True))
        drawn = [split for split in SPLITS if split not in self.rows]
        left = share['train'] + sum(share[split] for split in drawn)
        # Test first, so that it does not depend on the share of validation.
        for split in reversed(drawn):
            if not share[split]:
                continue
            ratio = share[split] / left
            left -= share[split]
            train = self.rows['train']
            wanted = round(ratio * len(train.keys))
            mask = graph.draw(train.triples, ratio, seed, 'entities', True)
            self.rows['train'] = train.select(~mask)
            self.rows[split] = train.select(mask)
            count = len(self.rows[split].keys)
            if count < wanted:
                message = (
                    f'{count} instead of {wanted} triples drawn for {split}: '
                    f'the others hold the only place of an entity or a '
                    f'relation'
                )
                self.findings.add('small split', message)

    def data(self) -> HeteroData:
        parts = {split: rows.triples for split, rows in self.rows.items()}
        return make_data(len(self.entities), len(self.relations), **parts)

    def note_unseen(self) -> None:
        # Who occurs in train: each by their ids.
        for label_ids in (self.entities, self.relations):
            ids = _ids(self.rows['train'].triples, label_ids.what)
            seen = torch.zeros(len(label_ids), dtype=torch.bool)
            seen[ids.flatten()] = True
            for split in ('val', 'test'):
                if split not in self.rows:
                    continue
                kind = f'{label_ids.what} of {split} not in train'
                ids = _ids(self.rows[split].triples, label_ids.what)
                width = len(ids)
                order = _first_places(ids.unbind(), len(label_ids))
                order = order[~seen[ids[order % width, order // width]]]

                def note(
                    number: int,
                    label_ids: LabelIds = label_ids,
                    rows: TripleRows = self.rows[split].rows,
                    ids: Tensor = ids,
                    width: int = width,
                    order: Tensor = order,
                ) -> Noticed:
                    at = int(order[number])
                    label = shorten(
                        label_ids.labels[int(ids[at % width, at // width])]
                    )
                    message = f'no training triple has {label_ids.what} '
                    return message + label, *rows.place(at // width)

                self.findings.add_many(kind, len(order), note)

    def origins(self) -> dict[str, Origin]:
        out = {}
        for split, (*_, rows) in self.rows.items():
            files = {rows.files[at] for at in np.unique(rows.file).tolist()}
            if len(files) == 1 and (file := files.pop()):
                out[split] = Origin(file, torch.from_numpy(rows.lines))
        return out

    def names(self) -> list[list[str]]:
        # Unique names of the entities and of the relations: the first one
        # given, else the label as people read it.
        both = [self.entities, self.relations]
        types = {entry.value for entry in self.table.types}
        called: dict[tuple[str, int], str] = {
            ('relation', self.relations.add(label)): composed(name)
            for label, name in self.table.relations.items()
            if name
        }
        every = [(entry, both[1:]) for entry in self.table.relation_names]
        every += [(entry, both) for entry in self.table.names]
        for entry, those in every:
            owners = [
                (each.what, at)
                for each in those
                if (at := self.owner(entry, each)) is not None
            ]
            if not owners:
                label = next((x for x in entry.entity if x in types), None)
                if label is None:
                    self.note_unknown('name', entry)
                else:
                    self.type_names.setdefault(label, composed(entry.value))
                continue
            name = composed(entry.value)
            # What has an IRI is one thing wherever it stands.
            whole = '://' in entry.entity[0]
            for what, at in owners if whole else owners[:1]:
                kept = called.setdefault((what, at), name)
                if kept != name:
                    named = f'{what} {shorten(entry.entity[0])}'
                    message = f'{shorten(name)} is not used, {named} has the '
                    message += f'name {shorten(kept)}'
                    self.findings.add('second name', message, *entry.place)
        out = []
        for each in both:
            names = list(map(readable, each.labels))
            for (what, at), name in called.items():
                if what == each.what:
                    names[at] = name
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
            owner = self.owner(entry, self.entities)
            if owner is None:
                self.note_unknown(what, entry)
            elif entry.value in out.setdefault(owner, {}):
                value, entity = shorten(entry.value), shorten(entry.entity[0])
                message = f'dropped {value} of {entity}'
                self.findings.add(f'duplicate {what}', message, *entry.place)
            else:
                out[owner][entry.value] = None
        return [list(out.get(at, ())) for at in range(len(self.entities))]

    def owner(self, entry: Entry, those: LabelIds) -> int | None:
        # Whom an entry is about, by a label or by what files call it as well.
        at = those.find(entry.entity)
        if at is None and those is self.entities:
            found = (self.further.get(label) for label in entry.entity)
            at = next((x for x in found if x is not None), None)
        return at

    @cached_property
    def further(self) -> dict[str, int]:
        # Entities by further words for them.
        out: dict[str, int] = {}
        for entry in self.table.aliases:
            at = self.entities.find(entry.entity)
            if at is not None:
                out.update((label, at) for label in entry.entity)
        return out

    def types(self) -> list[list[str]]:
        # In words; the names of all labels are known by now.
        found = self.gather('type', self.table.types)
        names = self.type_names
        return [
            [names.get(x) or readable(x) for x in each] if each else each
            for each in found
        ]

    def aliases(self) -> Sequence[list[str]]:
        # What files may call each entity, its label first.
        more: dict[int, dict[str, None]] = {}
        for entry in self.table.aliases:
            owner = self.entities.find(entry.entity)
            if owner is None:
                self.note_unknown('alias', entry)
            else:
                others = more.setdefault(owner, {})
                others.update(dict.fromkeys(entry.entity))
        return _Aliases(self.entities.labels, more)

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
        images = [
            list(map(Path, paths))
            for paths in self.gather('image', self.table.images)
        ]
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
            images = [a + b for a, b in zip(images, found, strict=True)]
        return images


# Where ids below `size` occur for the first time, read row by row: of C
# columns the place is C times the row plus the column.
def _first_places(columns: Sequence[Tensor], size: int) -> Tensor:
    width, rows = len(columns), columns[0].numel()
    first = torch.full((size,), width * rows)
    for at, ids in enumerate(columns):
        place = torch.arange(rows) * width + at
        first.scatter_reduce_(0, ids.long(), place, 'amin')
    return first[first < width * rows].sort()[0]


# Entities or relations of triples, the smaller end first.
def _ids(triples: Triples, what: str) -> Tensor:
    if what == 'relation':
        return triples.edge_type[None]
    return triples.edge_index.sort(dim=0)[0]


# Which of some distinct keys are among others, and where there.
def _matches(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    sorted_keys, order = here.sort()
    at = torch.searchsorted(sorted_keys, there)
    known = at < len(here)
    known[known.clone()] = sorted_keys[at[known]] == there[known]
    place, twin = order[at[known]], known.nonzero()[:, 0]
    place, by = place.sort()
    return place, twin[by]


class _Aliases(Sequence[list[str]]):
    # The label of each entity and what else it is called; lists of millions
    # are made when somebody reads them.
    def __init__(
        self, labels: list[str], more: Mapping[int, Iterable[str]]
    ) -> None:
        self.labels, self.more = labels, more

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, at: int) -> list[str]: ...

    @overload
    def __getitem__(self, at: slice) -> list[list[str]]: ...

    def __getitem__(self, at: int | slice) -> list[str] | list[list[str]]:
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        words = [self.labels[at], *self.more.get(at, ())]
        return list(dict.fromkeys(words))


def _said(row: Triple) -> str:
    return ' | '.join(map(shorten, row[:3]))


def _stem(address: str) -> str:
    name = unquote(local_name(address.split('?')[0]))
    return os.path.splitext(name)[0]


def _below(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path.absolute())
