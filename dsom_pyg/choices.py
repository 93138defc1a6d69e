"""What a combiner chose, and for which queries: tables and a page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dsom_pyg.graph import check_sizes
from dsom_pyg.kg import KG
from dsom_pyg.plots import new_figure
from dsom_pyg.pyg import HeteroData
from dsom_pyg.query_index import Queries, QueryIndex
from dsom_pyg.teachers import Combiner, TeacherEnsemble, ask
from dsom_pyg.teachers.combiner import shares_of

__all__ = [
    'Choices',
    'choices',
    'entity_types',
    'plot_choices',
]

DEGREES = (2, 5, 10, 20, 50)
ANSWERS = (1, 2, 5, 20)
UNSEEN = 'in no training triple'


@dataclass
class Choices:
    r"""Mean weights of the teachers, group by group.

    Attributes:
        teachers: Names of the M teachers.
        tables: A title to its rows: label, number of queries, and the
            weight of each teacher, as a share of the sum; of the sum of
            sizes, where some are negative.
    """

    teachers: list[str]
    tables: dict[str, list[tuple[str, int, list[float]]]]


@torch.no_grad()
def choices(
    data: HeteroData | KG,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
    split: str = 'test',
    relation_names: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    top: int = 15,
    batch_size: int = 500,
    entity_names: Sequence[str] | None = None,
) -> Choices:
    r"""The weights that a combiner gives the queries of a split.

    Queries are grouped by side, by relation, by head and by the type of the
    head (the most frequent ones), by how often the head occurs in train, by
    how many answers are known from train, and by whether the head has each
    modality. Answers are not looked at.

    Args:
        data: The graph.
        ensemble: Teachers trained on its train split.
        combiner: What combines them.
        split: Whose queries to ask.
        relation_names: Names of the R relations. (default: numbers)
        types: A type for each of the E entities.
            (default: what :func:`entity_types` says of roles)
        top: How many relations, heads and types to show.
        batch_size: Queries at a time.
        entity_names: Names of the E entities. (default: no groups by head)

    Raises:
        ValueError: The split has no triples, names are too few or too many,
            top is not positive, or the teachers are for other numbers of
            entities or relations than the graph.
    """
    if top < 1:
        raise ValueError(f'top must be positive, got {top}')
    graph = KG.of(data)
    check_sizes(graph=graph, teachers=ensemble, combiner=combiner)
    seen, asked = graph.index('train'), graph.index(split)
    device = next(ensemble.parameters()).device
    queries = Queries(asked.head.to(device), asked.rel.to(device))
    combiner.to(device)
    weights = ask(combiner, ensemble, queries, seen.to(device), batch_size)
    weights = shares_of(weights).cpu()
    if len(asked) == 0:
        raise ValueError(f"split '{split}' has no triples to ask about")
    names = _names(relation_names, graph.num_relations, 'relation_names')
    types = entity_types(graph, names) if types is None else types
    types = _names(types, graph.num_entities, 'types')
    groups = _groups(graph, asked, names, types, top)
    if entity_names is not None:
        heads = _names(entity_names, graph.num_entities, 'entity_names')
        groups['head'] = frequent(asked.head, heads, top)
    tables = {
        title: [
            (label, int(mask.sum()), weights[mask].mean(dim=0).tolist())
            for label, mask in rows
            if mask.any()
        ]
        for title, rows in groups.items()
    }
    return Choices(ensemble.modalities, tables)


# A title to labelled masks of the queries asked.
def _groups(
    graph: KG, asked: QueryIndex, names: list[str], types: list[str], top: int
) -> dict[str, list[tuple[str, Tensor]]]:
    head, rel = asked.head, asked.rel
    tail_asked = rel < graph.num_relations
    names = [*names, *(f'{name}, heads asked' for name in names)]
    number = {name: at for at, name in enumerate(dict.fromkeys(types))}
    kind = torch.tensor([number[name] for name in types])[head]
    known = graph.index('train').lookup(head, rel).count(len(asked))
    groups = {
        'all': [('all queries', torch.ones_like(tail_asked))],
        'side': [('tail asked', tail_asked), ('head asked', ~tail_asked)],
        'relation': frequent(rel, names, top),
        'type of the head': frequent(kind, list(number), top),
        'training triples of the head': bins(graph.degree[head], DEGREES),
        'known answers': bins(known, ANSWERS),
    }
    for modality, (_, present) in graph.features.items():
        has = present[head]
        groups[f'the head has {modality}'] = [('yes', has), ('no', ~has)]
    return groups


def entity_types(
    data: HeteroData | KG,
    relation_names: Sequence[str] | None = None,
    type_relation: str | None = None,
    entity_names: Sequence[str] | None = None,
) -> list[str]:
    r"""A type for each entity, as far as training triples tell.

    It is what the entity has as the tail of :obj:`type_relation`, of several
    such tails the one that most entities have. Where there is none, the most
    frequent role of the entity stands in, such as ``'tail of director'``.

    Args:
        data: The graph.
        relation_names: Names of the R relations. (default: numbers)
        type_relation: Such as ``'instance_of'``. (default: roles alone)
        entity_names: Names of the E entities. (default: numbers)

    Returns:
        E labels; ``'in no training triple'`` for one that is in none.

    Raises:
        ValueError: No relation is called :obj:`type_relation`.
    """
    graph = KG.of(data)
    size, num_rels = graph.num_entities, graph.num_relations
    relations = _names(relation_names, num_rels, 'relation_names')
    entities = _names(entity_names, size, 'entity_names')
    if type_relation is not None and type_relation not in relations:
        raise ValueError(
            f'no relation is called {type_relation!r}, so it cannot give '
            'types; see relation_names'
        )
    train = graph.triples('train')
    heads, tails = train.edge_index.tolist()
    roles: list[Counter[str]] = [Counter() for _ in range(size)]
    named: list[set[int]] = [set() for _ in range(size)]
    for h, r, t in zip(heads, train.edge_type.tolist(), tails, strict=True):
        roles[h][f'head of {relations[r]}'] += 1
        roles[t][f'tail of {relations[r]}'] += 1
        if relations[r] == type_relation:
            named[h].add(t)
    common = Counter(t for found in named for t in found)
    types = []
    for found, role in zip(named, roles, strict=True):
        if found:
            types.append(entities[max(found, key=lambda t: (common[t], -t))])
        elif role:
            # Of equally frequent roles always the same one.
            types.append(max(sorted(role), key=role.__getitem__))
        else:
            types.append(UNSEEN)
    return types


def _names(given: Sequence[str] | None, size: int, what: str) -> list[str]:
    names = list(map(str, range(size))) if given is None else list(given)
    if len(names) != size:
        raise ValueError(f'{what} must be {size} names, got {len(names)}')
    return names


def frequent(
    value: Tensor, names: Sequence[str], top: int
) -> list[tuple[str, Tensor]]:
    r"""Masks of the most frequent values, named."""
    count = torch.bincount(value, minlength=len(names))
    order = count.argsort(descending=True)
    return [(names[at], value == at) for at in order[:top].tolist()]


def bins(value: Tensor, edges: Sequence[int]) -> list[tuple[str, Tensor]]:
    r"""Masks of values below, between and above some edges, labelled."""
    out = []
    for low, high in zip((0, *edges), (*edges, None), strict=True):
        mask = value >= low
        label = f'{low} and more'
        if high is not None:
            mask &= value < high
            label = f'{low} to {high - 1}' if high - low > 1 else f'{low}'
        out.append((label, mask))
    return out


def plot_choices(chosen: Choices, path: str | Path) -> None:
    r"""Draw a page, one panel for each table, in the format that the ending
    of the path says.

    Raises:
        ImportError: matplotlib is not installed (extra ``plots``).
    """
    sizes = [len(rows) + 1 for rows in chosen.tables.values()]
    height = 0.95 * len(sizes) + 0.25 * sum(sizes)
    figure = new_figure(8, height)
    grid = figure.subplots(len(sizes), squeeze=False, height_ratios=sizes)
    panels = grid[:, 0]
    tables = chosen.tables.items()
    for panel, (title, rows) in zip(panels, tables, strict=True):
        # A $ would start a formula.
        labels = [f'{name} ({n})'.replace('$', r'\$') for name, n, _ in rows]
        # By places: two rows may have one label.
        places = list(range(len(rows)))
        left = [0.0] * len(rows)
        for m in range(len(chosen.teachers)):
            width = [weights[m] for _, _, weights in rows]
            panel.barh(places, width, left=left)
            left = [x + w for x, w in zip(left, width, strict=True)]
        panel.set_yticks(places, labels)
        lowest = min(min(weights) for _, _, weights in rows)
        panel.set(title=title, xlim=(-1 if lowest < 0 else 0, 1))
        panel.invert_yaxis()
    # Labels of bars are left out if they begin with '_'; those here are not.
    bars, names = panels[0].containers, chosen.teachers
    figure.legend(bars, names, loc='outside upper center', ncols=len(names))
    panels[-1].set_xlabel('mean weight of the teachers (queries)')
    figure.savefig(path)
