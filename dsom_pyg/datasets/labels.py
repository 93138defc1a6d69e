"""Graphs in labels, as people have them, and how they get their ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.base import Origin, RawGraph
from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.tables import Item, Part
from dsom_pyg.datasets.vocabulary import (
    Vocabulary,
    images_of,
    names_of,
    texts_of,
)
from dsom_pyg.graph import (
    SPLITS,
    Triples,
    get_split,
    hold_out,
    make_data,
    set_split,
)

SPLIT = (0.8, 0.1, 0.1)
# head, tail, relation
Ids = tuple[int, int, int]


@dataclass
class Labels:
    r"""A graph in labels.

    Args:
        parts: The triples of each split there is; ``'train'`` is one.
        draw: Splits to be drawn from train. (default: none)
        texts: Texts of entities. (default: none)
        names: Readable names of entities, or else of relations.
            (default: none)
        relation_names: Readable names of relations alone. (default: none)
        images: Image paths of entities. (default: none)
        image_folder: Where further images lie, see
            :func:`~dsom_pyg.datasets.features.images.find_images`.
            (default: :obj:`None`)
        entities: Entities that come first, in this order, even if they are
            in no triple. (default: none)
        relations: Relations that come first. (default: none)
        findings: What was noticed so far.
    """

    parts: dict[str, Part]
    draw: tuple[str, ...] = ()
    texts: list[Item] = field(default_factory=list)
    names: list[Item] = field(default_factory=list)
    relation_names: dict[str, str] = field(default_factory=dict)
    images: list[Item] = field(default_factory=list)
    image_folder: Path | None = None
    entities: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)


def number(
    labels: Labels, split: tuple[float, float, float] = SPLIT, seed: int = 0
) -> RawGraph:
    r"""Give ids to a graph in labels, and draw the splits it lacks.

    Exact duplicates within a split are dropped. Every entity and relation of
    a drawn split occurs in train.

    Args:
        labels: The graph.
        split: Shares of train, validation and test, for drawing.
            (default: :obj:`(0.8, 0.1, 0.1)`)
        seed: Of the draw. (default: :obj:`0`)

    Raises:
        DatasetError: There is no training triple.
        ValueError: The shares do not make sense.
    """
    check_shares(split)
    findings = Findings()
    findings.extend(labels.findings)
    entities = Vocabulary('entity', findings)
    relations = Vocabulary('relation', findings)
    for label in labels.entities:
        entities.add(label)
    for label in labels.relations:
        relations.add(label)
    rows = {
        name: _number_part(labels.parts[name], entities, relations, findings)
        for name in SPLITS
        if name in labels.parts
    }
    if not rows.get('train'):
        file = labels.parts['train'].file if 'train' in labels.parts else None
        raise DatasetError(
            (f'{file}: ' if file else '') + 'there is no training triple'
        )
    entities.note_twins()
    relations.note_twins()
    parts = [_triples(rows.get(name, {})) for name in SPLITS]
    data = make_data(len(entities), len(relations), *parts)
    _note_overlaps(labels, rows, findings)
    data = _draw(data, labels.draw, split, seed, findings)
    _note_unseen(labels, rows, data, entities, relations, findings)
    in_passing = [
        item._replace(value=item.name) for item in labels.texts if item.name
    ]
    names, relation_names = names_of(
        [*labels.names, *in_passing],
        labels.relation_names,
        entities,
        relations,
        findings,
    )
    images = images_of(
        labels.images, labels.image_folder, entities, names, findings
    )
    return RawGraph(
        data,
        names,
        relation_names,
        texts_of(labels.texts, entities, findings),
        images,
        extra={
            'entity_keys': entities.labels,
            'relation_keys': relations.labels,
        },
        findings=findings,
        origins=_origins(labels, rows, data),
        aliases=[[label] for label in entities.labels],
    )


def check_shares(split: tuple[float, float, float]) -> None:
    r"""Raise :class:`ValueError` unless three shares make one whole."""
    if (
        len(split) != 3
        or min(split) < 0
        or split[0] <= 0
        or abs(sum(split) - 1) > 1e-6
    ):
        raise ValueError(
            f'split must hold the shares of train, val and test, which make '
            f'1 together, such as (0.8, 0.1, 0.1), got {split}'
        )


def _number_part(
    part: Part, entities: Vocabulary, relations: Vocabulary, findings: Findings
) -> dict[Ids, int]:
    # Distinct triples and the row of each.
    out: dict[Ids, int] = {}
    for row, (head, rel, tail) in enumerate(part.rows):
        line = part.line(row)
        ids = (
            entities.add(head, part.file, line),
            entities.add(tail, part.file, line),
            relations.add(rel, part.file, line),
        )
        if ids in out:
            triple = ' | '.join(map(shorten, (head, rel, tail)))
            before = part.line(out[ids])
            findings.add(
                'duplicate triple',
                f'dropped {triple}'
                + (f', which stands in line {before}' if before else ''),
                part.file,
                line,
            )
            continue
        if ids[0] == ids[1]:
            triple = ' | '.join(map(shorten, (head, rel, tail)))
            findings.add('self loop', f'kept {triple}', part.file, line)
        out[ids] = row
    return out


def _triples(rows: Mapping[Ids, int]) -> Triples:
    table = torch.tensor(list(rows), dtype=torch.long).reshape(-1, 3)
    return Triples(table[:, :2].t().contiguous(), table[:, 2].contiguous())


def _draw(
    data: HeteroData,
    draw: tuple[str, ...],
    split: tuple[float, float, float],
    seed: int,
    findings: Findings,
) -> HeteroData:
    shares = dict(zip(SPLITS, split, strict=True))
    left = shares['train'] + sum(shares[name] for name in draw)
    # Test first, so that it does not depend on the share of validation.
    for name in ('test', 'val'):
        if name not in draw or not shares[name]:
            continue
        want = shares[name] / left
        left -= shares[name]
        before = get_split(data, 'train').edge_type.numel()
        data, part = hold_out(data, want, seed, keep='entities')
        set_split(data, name, part)
        count, wanted = part.edge_type.numel(), round(want * before)
        if count < wanted:
            findings.add(
                'small split',
                f'{count} instead of {wanted} triples drawn for {name}: the '
                f'others hold the only place of an entity or a relation',
            )
    return data


def _origins(
    labels: Labels, rows: Mapping[str, Mapping[Ids, int]], data: HeteroData
) -> dict[str, Origin]:
    out = {}
    for name in SPLITS:
        source = 'train' if name in labels.draw else name
        part = labels.parts.get(source)
        if part is None or part.file is None:
            continue
        triples = get_split(data, name)
        ids = [*triples.edge_index.tolist(), triples.edge_type.tolist()]
        lines = [
            part.lines[rows[source][each]] for each in zip(*ids, strict=True)
        ]
        out[name] = Origin(part.file, torch.tensor(lines, dtype=torch.long))
    return out


def _note_overlaps(
    labels: Labels, rows: Mapping[str, Mapping[Ids, int]], findings: Findings
) -> None:
    for name, others in (('val', ('train', 'test')), ('test', ('train',))):
        for ids, row in rows.get(name, {}).items():
            for other in others:
                if ids not in rows.get(other, {}):
                    continue
                part, there = labels.parts[name], labels.parts[other]
                line = there.line(rows[other][ids])
                findings.add(
                    f'{name} triple also in {other}',
                    ' | '.join(map(shorten, part.rows[row]))
                    + (
                        f' stands in {there.file.name}:{line} too'
                        if line and there.file
                        else ''
                    ),
                    part.file,
                    part.line(row),
                )


def _note_unseen(
    labels: Labels,
    rows: Mapping[str, Mapping[Ids, int]],
    data: HeteroData,
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> None:
    train = get_split(data, 'train')
    seen = set(train.edge_index.flatten().tolist())
    used = set(train.edge_type.tolist())
    for name in ('val', 'test'):
        noted: set[tuple[str, int]] = set()
        for (head, tail, rel), row in rows.get(name, {}).items():
            new = {('entity', each) for each in {head, tail} - seen}
            new |= {('relation', each) for each in {rel} - used}
            for what, index in sorted(new - noted):
                vocabulary = entities if what == 'entity' else relations
                part = labels.parts[name]
                findings.add(
                    f'{what} of {name} not in train',
                    f'no training triple has {what} '
                    f'{shorten(vocabulary.labels[index])}',
                    part.file,
                    part.line(row),
                )
            noted |= new
