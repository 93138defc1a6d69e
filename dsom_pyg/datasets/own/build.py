"""From a table of labels to a graph: ids, splits, names, texts, images."""

import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import readable, unique_names
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.datasets.own.vocabulary import Vocabulary
from dsom_pyg.datasets.text import to_triples
from dsom_pyg.graph import (
    SPLITS,
    get_split,
    hold_out,
    make_data,
    set_split,
)

# Of train, validation and test.
SHARES = (0.8, 0.1, 0.1)
Shares = tuple[float, float, float]
# The distinct triples of a split by their ids (head, tail, relation), each
# with its first row.
Rows = dict[tuple[int, int, int], Triple]


def build_graph(
    table: Table,
    shares: Shares = SHARES,
    seed: int = 0,
    root: Path | None = None,
) -> RawGraph:
    r"""Give ids to the labels of a table, and draw the splits it lacks.

    Ids follow the order in which labels first occur, in train, validation
    and test. A duplicate within a split is dropped. Every entity and
    relation of a drawn split occurs in train. A triple in two given splits
    is kept in both, with a warning.

    Args:
        table: The graph in labels.
        shares: Of train, validation and test, for drawing.
            (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw. (default: :obj:`0`)
        root: Folder of the dataset. Paths of images below it are stored
            relative to it, so that the folder can be moved.
            (default: :obj:`None`)

    Raises:
        DatasetError: There is no training triple.
    """
    findings = Findings()
    findings.extend(table.findings)
    entities = Vocabulary('entity', table.entities, findings)
    relations = Vocabulary('relation', table.relations, findings)
    rows = {
        split: _number(table.triples[split], entities, relations, findings)
        for split in SPLITS
        if split in table.triples
    }
    if not rows.get('train'):
        raise DatasetError('there is no training triple')
    entities.note_twins()
    relations.note_twins()
    ids = [list(map(list, rows.get(split, {}))) for split in SPLITS]
    data = make_data(len(entities), len(relations), *map(to_triples, ids))
    _note_overlaps(rows, findings)
    data = _draw(data, rows, shares, seed, findings)
    _note_unseen(data, rows, entities, relations, findings)
    names, relation_names = _names(table, entities, relations, findings)
    images = _images(table, entities, names, findings)
    texts = _gather('text', table.texts, entities, findings)
    return RawGraph(
        data,
        names,
        relation_names,
        texts,
        images,
        extra={
            'entity_keys': entities.labels,
            'relation_keys': relations.labels,
            'entity_images': [
                [_below(path, root) for path in paths] for paths in images
            ],
        },
        findings=findings,
        origins=_origins(data, rows),
        aliases=[[label] for label in entities.labels],
    )


def _number(
    triples: Sequence[Triple],
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> Rows:
    rows: Rows = {}
    for row in triples:
        head, relation, tail, *place = row
        ids = (
            entities.add(head, *place),
            entities.add(tail, *place),
            relations.add(relation, *place),
        )
        if ids in rows:
            first = rows[ids].line
            findings.add(
                'duplicate triple',
                f'dropped {_said(row)}'
                + (f', which stands in line {first}' if first else ''),
                *place,
            )
            continue
        if ids[0] == ids[1]:
            findings.add('self loop', f'kept {_said(row)}', *place)
        rows[ids] = row
    return rows


def _said(row: Triple) -> str:
    return ' | '.join(map(shorten, (row.head, row.relation, row.tail)))


def _note_overlaps(rows: Mapping[str, Rows], findings: Findings) -> None:
    for split, others in (('val', ('train', 'test')), ('test', ('train',))):
        for ids, row in rows.get(split, {}).items():
            for other in others:
                there = rows.get(other, {}).get(ids)
                if there is None:
                    continue
                findings.add(
                    f'{split} triple also in {other}',
                    _said(row)
                    + (
                        f' stands in {there.file.name}:{there.line} too'
                        if there.file
                        else ''
                    ),
                    row.file,
                    row.line,
                )
    for kind, count in findings.counts.items():
        if ' triple also in ' in kind:
            warnings.warn(
                f'{kind}: {count} times. Scores on such triples reward '
                f'memorising; the findings and dsom_pyg.audit list them',
                UserWarning,
                stacklevel=2,
            )


def _draw(
    data: HeteroData,
    rows: Mapping[str, Rows],
    split_shares: Shares,
    seed: int,
    findings: Findings,
) -> HeteroData:
    shares = dict(zip(SPLITS, split_shares, strict=True))
    drawn = [split for split in ('val', 'test') if split not in rows]
    left = shares['train'] + sum(shares[split] for split in drawn)
    # Test first, so that it does not depend on the share of validation.
    for split in reversed(drawn):
        if not shares[split]:
            continue
        share = shares[split] / left
        left -= shares[split]
        wanted = round(share * get_split(data, 'train').edge_type.numel())
        data, part = hold_out(data, share, seed, keep='entities')
        set_split(data, split, part)
        count = part.edge_type.numel()
        if count < wanted:
            findings.add(
                'small split',
                f'{count} instead of {wanted} triples drawn for {split}: the '
                f'others hold the only place of an entity or a relation',
            )
    return data


def _note_unseen(
    data: HeteroData,
    rows: Mapping[str, Rows],
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> None:
    train = get_split(data, 'train')
    seen = {('entity', x) for x in train.edge_index.flatten().tolist()}
    seen |= {('relation', x) for x in train.edge_type.tolist()}
    labels = {'entity': entities.labels, 'relation': relations.labels}
    for split in ('val', 'test'):
        noted = set(seen)
        for (head, tail, relation), row in rows.get(split, {}).items():
            said = {('entity', head), ('entity', tail), ('relation', relation)}
            for what, index in sorted(said - noted):
                findings.add(
                    f'{what} of {split} not in train',
                    f'no training triple has {what} '
                    f'{shorten(labels[what][index])}',
                    row.file,
                    row.line,
                )
            noted |= said


def _origins(data: HeteroData, rows: Mapping[str, Rows]) -> dict[str, Origin]:
    # Drawn splits come from train.
    out = {}
    for split in SPLITS:
        triples, source = (
            get_split(data, split),
            rows.get(split, rows['train']),
        )
        ids = [*triples.edge_index.tolist(), triples.edge_type.tolist()]
        places = [source[each] for each in zip(*ids, strict=True)]
        files = {row.file for row in places}
        if len(files) == 1 and (file := files.pop()):
            lines = [row.line or 0 for row in places]
            out[split] = Origin(file, torch.tensor(lines, dtype=torch.long))
    return out


def _names(
    table: Table,
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> tuple[list[str], list[str]]:
    # Of each entity and each relation, a unique name: the first one given,
    # else the label as people read it.
    called: dict[tuple[str, int], str] = {}
    for entries, places in (
        (table.relation_names, [relations]),
        (table.names, [entities, relations]),
    ):
        for entry in entries:
            found = _find(entry, *places)
            if found is None:
                _note_unknown('name', entry, findings)
                continue
            name = unicodedata.normalize('NFC', entry.value)
            if called.setdefault(found, name) != name:
                findings.add(
                    'second name',
                    f'{shorten(name)} is not used, {found[0]} '
                    f'{shorten(entry.entity[0])} has the name '
                    f'{shorten(called[found])}',
                    entry.file,
                    entry.line,
                )
    names, relation_names = (
        unique_names(
            [
                called.get((vocabulary.what, index), readable(label))
                for index, label in enumerate(vocabulary.labels)
            ],
            vocabulary.labels,
        )
        for vocabulary in (entities, relations)
    )
    return names, relation_names


def _gather(
    what: str,
    entries: Sequence[Entry],
    entities: Vocabulary,
    findings: Findings,
) -> list[list[str]]:
    # The texts or image paths of each entity, equal ones once.
    out: list[list[str]] = [[] for _ in entities.labels]
    for entry in entries:
        found = _find(entry, entities)
        if found is None:
            _note_unknown(what, entry, findings)
        elif entry.value in out[found[1]]:
            findings.add(
                f'duplicate {what}',
                f'dropped {shorten(entry.value)} of '
                f'{shorten(entry.entity[0])}',
                entry.file,
                entry.line,
            )
        else:
            out[found[1]].append(entry.value)
    return out


def _images(
    table: Table,
    entities: Vocabulary,
    names: Sequence[str],
    findings: Findings,
) -> list[list[Path]]:
    # Those of the table, then those of its folder.
    given = _gather('image', table.images, entities, findings)
    images = [[Path(path) for path in paths] for paths in given]
    if table.image_folder is not None:
        aliases = [
            list(dict.fromkeys((label, name, readable(label))))
            for label, name in zip(entities.labels, names, strict=True)
        ]
        found, noticed = find_images(table.image_folder, aliases)
        findings.extend(noticed)
        for paths, more in zip(images, found, strict=True):
            paths += more
    return images


def _below(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path.absolute())


def _find(entry: Entry, *places: Vocabulary) -> tuple[str, int] | None:
    # Whether an entity or a relation, and its id.
    found = ((place.what, place.find(entry.entity)) for place in places)
    return next(((x, y) for x, y in found if y is not None), None)


def _note_unknown(what: str, entry: Entry, findings: Findings) -> None:
    findings.add(
        f'{what} of an unknown entity',
        f'no triple has {shorten(entry.entity[0])}',
        entry.file,
        entry.line,
    )
