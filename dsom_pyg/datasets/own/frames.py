"""Graphs of pandas and networkx as datasets, and back."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.datasets.errors import DatasetError, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.base import LabeledGraph, OwnGraph
from dsom_pyg.datasets.own.columns import (
    HRT,
    IMAGE,
    NAME,
    TEXT,
    Columns,
    by_split,
    cells_of,
    entry_columns,
    labels_of,
    text_of,
    texts_of,
    triple_columns,
)
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.graph import SPLITS, get_split

NOT_IN_XML = re.compile(
    '[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]'
)
# What would be called by how Python writes it.
UNNAMED = (bytes, bytearray, dict, frozenset, list, set)
# What the column of the values of a frame may be called.
WORDS = {'text': TEXT, 'image': IMAGE, 'name': NAME}
# Attributes of nodes that hold texts, images and names, one or a list.
TEXTS = ('text', 'texts', 'description', 'descriptions')
IMAGES = ('image', 'images')
NAMES = ('name',)


def from_pandas(
    frame: Any,
    texts: Any = None,
    images: Any = None,
    names: Any = None,
    *,
    head: str | None = None,
    relation: str | None = None,
    tail: str | None = None,
    **options: Any,
) -> LabeledGraph:
    r"""A dataset from a pandas frame of triples.

    Args:
        frame: A :class:`pandas.DataFrame` with the columns head, relation
            and tail, under the words of
            :data:`~dsom_pyg.datasets.own.columns.TRIPLE` or in this order. A
            further column ``split`` (train, val, test) gives the splits;
            without one they are drawn. A list in a cell stands for a triple
            each, with a finding.
        texts: Of entities: a mapping or :class:`pandas.Series` from an entity
            to a text or a list of texts; or a frame with the columns entity
            and text, under such names or in this order.
        images: Image paths of entities, likewise.
        names: Readable names of entities, likewise.
        head: The name of this column, if it is another word.
        relation: Likewise.
        tail: Likewise.
        options: Of :class:`LabeledGraph`: ``root``, encoders, and so on.

    Raises:
        DatasetError: A cell is missing or empty; the message names the row.
            Or the names of the columns do not tell which is which.
    """
    if not hasattr(frame, 'columns'):
        kind = type(frame).__name__
        raise TypeError(f'triples must be a pandas.DataFrame, got {kind}')
    told = {'head': head, 'relation': relation, 'tail': tail}
    names_of = [str(column) for column in frame.columns]
    columns = _frame_columns(names_of, told)
    picked = frame.iloc[:, list(columns.values())]
    rows = []
    findings = Findings()
    used = columns.values()
    if rest := [x for at, x in enumerate(names_of) if at not in used]:
        message = f'not used: {shorten(", ".join(rest))}'
        findings.add('unused column', message)
    for number, (index, *row) in enumerate(picked.itertuples(name=None)):
        where = f'row {number} of the frame (index {index!r})'
        labels = [
            _labels(cell, f'{where}, column {str(name)!r},')
            for cell, name in zip(row, picked.columns, strict=True)
        ]
        found = list(product(*labels))
        if len(found) > 1:
            message = f'{len(found)} triples from {where}'
            findings.add('list in a cell', message)
        rows += [(list(each), where) for each in found]
    table = Table(
        _triples(rows, given='split' in columns),
        findings=findings,
        texts=_entries(texts, 'text'),
        images=_entries(images, 'image'),
        names=_entries(names, 'name'),
    )
    return LabeledGraph(table, **options)


def from_networkx(graph: Any, **options: Any) -> LabeledGraph:
    r"""A dataset from a directed networkx graph.

    An edge has its relation as attribute ``relation`` or as key, and may
    have a ``split`` (train, val, test); without one the splits are drawn. A
    node may have a ``name``, and one or a list as ``text``, ``description``
    or ``image``. Nodes without edges are entities too. The options are those
    of :class:`LabeledGraph`.

    Raises:
        DatasetError: An edge has no relation, two nodes have one name, or
            some edges have a split and others none.
        ValueError: The graph is not directed.
    """
    if not graph.is_directed():
        why = 'a knowledge graph is directed; give a networkx.MultiDiGraph'
        raise ValueError(why)
    called = {node: _label(node, f'node {node!r}') for node in graph}
    if len(set(called.values())) < len(called):
        raise DatasetError('two nodes of the graph have the same name as text')
    keyed = {'keys': True} if graph.is_multigraph() else {}
    edges = graph.edges(data=True, **keyed)
    given = any('split' in attributes for *_, attributes in edges)
    _check_keys(edges)
    rows = []
    for head, tail, *key, attributes in edges:
        where = f'the edge from {head!r} to {tail!r}'
        relation = attributes.get('relation')
        # The keys that networkx makes up are integers.
        if relation is None and key and not isinstance(key[0], int):
            relation = key[0]
        if relation is None:
            why = "has no relation: give it an attribute 'relation' or a key"
            raise DatasetError(f'{where} {why}')
        row = [called[head], _label(relation, where), called[tail]]
        if given:
            row.append(_label(attributes.get('split'), f"'split' of {where}"))
        rows.append((row, where))
    table = Table(_triples(rows, given), entities=list(called.values()))
    relations = graph.graph.get('relations', {})
    if isinstance(relations, str):
        relations = _parsed(relations)
    if not isinstance(relations, Mapping):
        relations = dict.fromkeys(relations, '')
    table.relations = {
        str(label).strip(): str(name) for label, name in relations.items()
    }
    parts = (TEXTS, table.texts), (IMAGES, table.images), (NAMES, table.names)
    for node, attributes in graph.nodes(data=True):
        for words, out in parts:
            for word, value in attributes.items():
                if re.sub(r'_\d+$', '', str(word)) in words:
                    out += _of_entity((called[node],), value, str(word))
    return LabeledGraph(table, **options)


def _check_keys(edges: Iterable[tuple[Any, ...]]) -> None:
    # Files of GraphML give edges ids, which networkx takes for keys.
    keys = [
        key[0]
        for _, _, *key, attributes in edges
        if key and isinstance(key[0], str) and 'relation' not in attributes
    ]
    starts = {re.sub(r'\d+$', '', key) for key in keys}
    numbered = all(key[-1:].isdigit() for key in keys)
    if len({*keys}) == len(keys) > 1 == len(starts) and numbered:
        raise DatasetError(
            'the edges of the graph have no relation: their keys, '
            f'{keys[0]!r}, {keys[1]!r} and so on, are numbers of edges; give '
            "each an attribute 'relation'"
        )


def to_networkx(dataset: MultimodalDataset) -> Any:
    r"""A :class:`networkx.MultiDiGraph` of all splits of a dataset.

    Nodes are the labels of entities, with the attributes ``name`` and
    ``label`` (the same, for Gephi) and, where there are any, ``text``,
    ``text_2`` and so on, and paths as ``image``, ``image_2`` and so on. Edges
    have a ``relation``, its name as ``label``, and a ``split``;
    ``graph.graph['relations']`` is JSON that maps the labels of relations to
    their names. So every attribute is a text that GraphML, GML and GEXF can
    hold; signs that XML forbids are replaced. :func:`from_networkx` reads the
    graph back. Triples for filtering only are left out.

    Raises:
        DatasetError: Two entities of a dataset without labels have one name,
            or two labels differ in signs that XML forbids alone.
    """
    import networkx as nx  # type: ignore[import-untyped, unused-ignore]

    own = isinstance(dataset, OwnGraph)
    keys = dataset.entity_keys if own else dataset.entity_names
    keys = [_in_xml(key) for key in keys]
    relations = dataset.relation_keys if own else dataset.relation_names
    relations = [_in_xml(key) for key in relations]
    for what, each in (('entities', keys), ('relations', relations)):
        if len(set(each)) < len(each):
            raise DatasetError(f'two {what} have the same name')
    images = dataset.entity_images if own else [[] for _ in keys]
    names = dict(zip(relations, dataset.relation_names, strict=True))
    graph = nx.MultiDiGraph(relations=json.dumps(names))
    for key, name, texts, paths in zip(
        keys, dataset.entity_names, dataset.entity_texts, images, strict=True
    ):
        said = {'name': name, 'label': name}
        for word, values in (('text', texts), ('image', map(str, paths))):
            for number, value in enumerate(values, 1):
                said[word if number == 1 else f'{word}_{number}'] = value
        graph.add_node(key, **{k: _in_xml(v) for k, v in said.items()})
    for split in SPLITS:
        ends, rels = get_split(dataset[0], split)
        for h, t, r in zip(*ends.tolist(), rels.tolist(), strict=True):
            label = _in_xml(names[relations[r]])
            said = {'relation': relations[r], 'label': label, 'split': split}
            graph.add_edge(keys[h], keys[t], **said)
    return graph


def _in_xml(text: str) -> str:
    return NOT_IN_XML.sub('\ufffd', text)


def _parsed(relations: str) -> Mapping[str, Any]:
    try:
        found = json.loads(relations)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        why = "the attribute 'relations' of the graph must map labels to names"
        raise DatasetError(f'{why}, in JSON or as a dict')
    return found


def _frame_columns(
    names: Sequence[str], told: Mapping[str, str | None]
) -> Columns:
    # The places of head, relation, tail and, if there is one, split.
    said = {word: name for word, name in told.items() if name is not None}
    for name in said.values():
        if names.count(name) != 1:
            many = 'several' if name in names else 'no'
            why = f'the frame of triples has {many} column {name!r}'
            raise DatasetError(f'{why}; it has {list(names)}')
    taken = {word: names.index(name) for word, name in said.items()}
    lower = [name.strip().lower() for name in names]
    free = [at for at in range(len(names)) if at not in taken.values()]
    splits = [at for at in free if lower[at] == 'split']
    split = {'split': splits[0]} if splits else {}
    free = [at for at in free if at not in split.values()]
    cells = [lower[at] for at in free]
    found = {key: free[at] for key, at in triple_columns(cells).items()}
    plain = dict(zip(('head', 'relation', 'tail'), free, strict=False))
    if len(free) == 3 and found.items() <= plain.items():
        found = plain
    found = {word: taken.get(word, found.get(word, -1)) for word in HRT}
    if -1 in found.values():
        raise DatasetError(
            'the frame of triples: cannot tell head, relation and tail among '
            f'the columns {list(names)}; call them so, or name them: '
            "from_pandas(frame, head='...', relation='...', tail='...')"
        )
    return {**found, **split}


def _triples(
    rows: Iterable[tuple[list[str], str]], given: bool
) -> dict[str, Sequence[Triple]]:
    # From head, relation, tail (and split), and where that stands.
    if not given:
        return {'train': [Triple(h, r, t) for (h, r, t), _ in rows]}
    return by_split(
        [
            (Triple(head, relation, tail), word, where)
            for (head, relation, tail, word), where in rows
        ]
    )


def _entries(values: Any, what: str) -> list[Entry]:
    if values is None:
        return []
    if not hasattr(values, 'items'):
        raise TypeError(
            f'{what}s must be a mapping from entities, a Series or a frame, '
            f'got {type(values).__name__}'
        )
    columns, rows = {'entity': 0, 'value': 1}, values.items
    if hasattr(values, 'iloc') and hasattr(values, 'columns'):
        names = [str(column) for column in values.columns]
        found = entry_columns(names, WORDS[what])
        if not found and len(names) != 2:
            raise DatasetError(
                f'the frame with {what}: cannot tell entity and {what} among '
                f'the columns {names}; call them so'
            )
        columns = found or columns
        rows = partial(values.itertuples, index=False, name=None)
    entries = []
    for number, row in enumerate(rows()):
        try:
            labels = labels_of(columns, row)
        except ValueError as error:
            raise DatasetError(f'row {number} of {what}: {error}') from None
        value = row[columns['value']]
        entries += _of_entity(tuple(labels.values()), value, what)
    return entries


def _of_entity(labels: tuple[str, ...], value: Any, what: str) -> list[Entry]:
    try:
        return [Entry(labels, text) for text in texts_of(value)]
    except ValueError as error:
        raise DatasetError(f'{what} of {shorten(labels[0])} {error}') from None


def _labels(value: Any, where: str) -> list[str]:
    # An empty list is a missing label.
    return [_label(cell, where) for cell in cells_of(value) or [None]]


def _label(value: Any, where: str) -> str:
    if isinstance(value, UNNAMED):
        raise DatasetError(
            f'{where} must be a string or a number, got {shorten(repr(value))}'
        )
    label = text_of(value)
    if not label:
        raise DatasetError(f'{where} is missing or empty; fill or drop it')
    return label
