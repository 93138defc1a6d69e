"""From a table of labels to a graph: ids, splits, names, texts, images."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.errors import DatasetError, shorten, well_formed
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import readable, unique_names
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.datasets.own.vocabulary import Vocabulary, composed
from dsom_pyg.datasets.text import to_triples
from dsom_pyg.graph import SPLITS, get_split, hold_out, make_data, set_split

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
    drawn = [split for split in SPLITS if split not in rows]
    data = _draw(data, drawn, shares, seed, findings)
    labels = {'entity': entities.labels, 'relation': relations.labels}
    _note_unseen(data, rows, labels, findings)
    names, relation_names = _names(table, entities, relations, findings)
    images = _images(table, entities, names, findings)
    texts = [
        [well_formed(text) for text in each]
        for each in _gather('text', table.texts, entities, findings)
    ]
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
        place = row.place
        ids = (
            entities.add(row.head, place),
            entities.add(row.tail, place),
            relations.add(row.relation, place),
        )
        if ids in rows:
            first = rows[ids].place.line
            where = f', which stands in line {first}' if first else ''
            message = f'dropped {_said(row)}{where}'
            findings.add('duplicate triple', message, *place)
            continue
        if ids[0] == ids[1]:
            findings.add('self loop', f'kept {_said(row)}', *place)
        rows[ids] = row
    return rows


def _said(row: Triple) -> str:
    return ' | '.join(map(shorten, (row.head, row.relation, row.tail)))


def _note_overlaps(rows: Mapping[str, Rows], findings: Findings) -> None:
    for split, other in (('val', 'train'), ('val', 'test'), ('test', 'train')):
        kind, count = f'{split} triple also in {other}', 0
        for ids, row in rows.get(split, {}).items():
            twin = rows.get(other, {}).get(ids)
            if twin is not None:
                count += 1
                file, line = twin.place
                where = f' stands in {file.name}:{line} too' if file else ''
                findings.add(kind, _said(row) + where, *row.place)
        if count:
            warnings.warn(
                f'{kind}: {count} times. Scores on such triples reward '
                f'memorising; the findings and dsom_pyg.audit list them',
                UserWarning,
                stacklevel=2,
            )


def _draw(
    data: HeteroData,
    drawn: Sequence[str],
    shares: Shares,
    seed: int,
    findings: Findings,
) -> HeteroData:
    share = dict(zip(SPLITS, shares, strict=True))
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
            findings.add(
                'small split',
                f'{count} instead of {wanted} triples drawn for {split}: the '
                f'others hold the only place of an entity or a relation',
            )
    return data


def _note_unseen(
    data: HeteroData,
    rows: Mapping[str, Rows],
    labels: Mapping[str, Sequence[str]],
    findings: Findings,
) -> None:
    train = get_split(data, 'train')
    seen = {('entity', x) for x in train.edge_index.flatten().tolist()}
    seen |= {('relation', x) for x in train.edge_type.tolist()}
    for split in ('val', 'test'):
        noted = set(seen)
        for (head, tail, relation), row in rows.get(split, {}).items():
            said = {('entity', head), ('entity', tail), ('relation', relation)}
            for what, index in sorted(said - noted):
                findings.add(
                    f'{what} of {split} not in train',
                    f'no training triple has {what} '
                    f'{shorten(labels[what][index])}',
                    *row.place,
                )
            noted |= said


def _origins(data: HeteroData, rows: Mapping[str, Rows]) -> dict[str, Origin]:
    out = {}
    for split in SPLITS:
        source = rows.get(split, rows['train'])  # where it was drawn from
        triples = get_split(data, split)
        ids = [*triples.edge_index.tolist(), triples.edge_type.tolist()]
        places = [source[each].place for each in zip(*ids, strict=True)]
        files = {place.file for place in places}
        if len(files) == 1 and (file := files.pop()):
            lines = [place.line or 0 for place in places]
            out[split] = Origin(file, torch.tensor(lines, dtype=torch.long))
    return out


def _names(
    table: Table,
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> tuple[list[str], list[str]]:
    # A unique name of each entity and each relation: the first one given,
    # else the label as people read it.
    called = {
        ('relation', relations.add(label)): composed(name)
        for label, name in table.relations.items()
        if name
    }
    for entry in table.names:
        owner = _find(entry, entities, relations)
        if owner is None:
            _note_unknown('name', entry, findings)
            continue
        name = composed(entry.value)
        kept = called.setdefault(owner, name)
        if kept != name:
            findings.add(
                'second name',
                f'{shorten(name)} is not used, {owner[0]} '
                f'{shorten(entry.entity[0])} has the name {shorten(kept)}',
                *entry.place,
            )

    def of(vocabulary: Vocabulary) -> list[str]:
        names = [
            called.get((vocabulary.what, index), readable(label))
            for index, label in enumerate(vocabulary.labels)
        ]
        return unique_names(names, vocabulary.labels)

    return of(entities), of(relations)


def _gather(
    what: str,
    entries: Sequence[Entry],
    entities: Vocabulary,
    findings: Findings,
) -> list[list[str]]:
    # The texts or image paths of each entity, equal ones once.
    out: list[list[str]] = [[] for _ in entities.labels]
    for entry in entries:
        owner = _find(entry, entities)
        if owner is None:
            _note_unknown(what, entry, findings)
        elif entry.value in out[owner[1]]:
            value, entity = shorten(entry.value), shorten(entry.entity[0])
            message = f'dropped {value} of {entity}'
            findings.add(f'duplicate {what}', message, *entry.place)
        else:
            out[owner[1]].append(entry.value)
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
    # Whether an entity or a relation is meant, and its id.
    found = ((place.what, place.find(entry.entity)) for place in places)
    return next(((what, x) for what, x in found if x is not None), None)


def _note_unknown(what: str, entry: Entry, findings: Findings) -> None:
    message = f'no triple has {shorten(entry.entity[0])}'
    findings.add(f'{what} of an unknown entity', message, *entry.place)
