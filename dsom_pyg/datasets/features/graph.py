"""Graphs with features: node types of their own, and files of them."""

import copy
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsom_pyg import graph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.files import load_tensors, save_tensors
from dsom_pyg.pyg import HeteroData

# Where a processed file holds names and numbers.
JSON_KEY = 'json'
# Members of a list that are written at a time.
PIECE = 10_000
DESCRIBES = graph.RELATION_OF_MODALITY['text']
# No modality may have the name of a store that graphs have anyway, of a
# teacher of another kind, of another line of `coverage`, or of what stands in
# a history beside the losses of teachers.
RESERVED = {
    *(*graph.EDGE, *graph.RELATION_OF_MODALITY.values()),
    *('structure', 'joint', 'description'),
    *('loss', 'epoch', 'seconds', 'val_mrr'),
}


class Features(NamedTuple):
    r"""Features of one modality, and the entity of each.

    Shapes:
        - **x:** :math:`(n, d)`, float32
        - **entity:** :math:`(n)`
    """

    x: Tensor
    entity: Tensor


def check_modality(name: object) -> None:
    r"""Raise :class:`ValueError` unless a modality can have this name.

    It becomes a node type of the graph and a module of the teachers. It must
    not be that of an edge type, such as ``'relation'``, or of another
    teacher, such as ``'structure'``, and torch must be able to hold it.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        why = 'must be a string that can be printed'
    elif name in RESERVED:
        why = 'is reserved'
    elif '.' in name or hasattr(nn.ModuleDict(), name):
        why = 'cannot be the name of a module of torch'
    else:
        return
    raise ValueError(f'{name!r} {why}, give the modality another name')


def check_new(data: HeteroData, modalities: Iterable[str]) -> None:
    r"""Raise :class:`ValueError` unless a graph can take features of these
    modalities without loss: PyG finds a store by any name that tells it.
    """
    trial = copy.copy(data)
    nothing = Features(torch.empty(0, 1), torch.empty(0).long())
    for modality in modalities:
        nodes, edges = trial.node_types, trial.edge_types
        # A value of the whole graph that has the name takes no features.
        with suppress(AttributeError):
            set_features(trial, modality, nothing)
        if (
            trial.node_types != [*nodes, modality]
            or len(trial.edge_types) != len(edges) + 1
        ):
            raise ValueError(
                f'the graph uses the name {modality!r} already (it has '
                f'{nodes} and {edges}), give the modality another name'
            )


def set_features(data: HeteroData, modality: str, features: Features) -> None:
    r"""Add a node type of features and its edges to the entities.

    Raises:
        DatasetError: The features have no columns.
    """
    x, entity = features
    if not x.size(1):
        raise DatasetError(
            f'the features of {modality!r} have no columns: shape '
            f'{list(x.shape)}'
        )
    relation = graph.RELATION_OF_MODALITY.get(modality, DESCRIBES)
    edge_index = torch.stack([torch.arange(len(x)), entity])
    data[modality].x = x
    data[modality, relation, 'entity'].edge_index = edge_index


def save_graph(path: Path, data: HeteroData, meta: dict[str, Any]) -> None:
    r"""Write a graph, and what JSON can hold, to one file."""
    tensors: dict[str, Tensor] = {}
    stores: list[dict[str, Any]] = []
    for number, store in enumerate(data.stores):
        values: dict[str, Any] = {}
        for key, value in store.items():
            if isinstance(value, Tensor):
                tensors[f'{number}.{key}'] = value
            elif isinstance(value, str | int | float | None):
                values[key] = value
            else:
                raise DatasetError(
                    f"cannot store '{key}' of {store._key}: it is a "
                    f'{type(value).__name__}, but a processed graph holds '
                    f'tensors, numbers and strings only'
                )
        stores.append({'key': store._key, 'values': values})
    # One file, so that names and tensors can never be of two versions. The
    # header of the format has a limit that many long texts exceed.
    raw = bytearray()
    for piece in _to_json({'stores': stores, 'meta': meta}):
        raw += piece.encode('utf-8', 'surrogatepass')
    tensors[JSON_KEY] = torch.frombuffer(raw, dtype=torch.uint8)
    save_tensors(path, tensors)


def _dumps(value: Any) -> str:
    # One character of four bytes would make four of each when it is read.
    text = json.dumps(value, ensure_ascii=False)
    return re.sub('[\U00010000-\U0010ffff]', _escape, text)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _to_json(value: Any) -> Iterator[str]:
    # In pieces: lists of all entities, with their texts, may fill memory.
    named = isinstance(value, dict) and all(isinstance(x, str) for x in value)
    if value and named:
        begin = '{'
        for key, each in value.items():
            yield f'{begin}{_dumps(key)}: '
            yield from _to_json(each)
            begin = ', '
        yield '}'
    elif isinstance(value, list) and len(value) > PIECE:
        begin = '['
        for at in range(0, len(value), PIECE):
            yield begin + _dumps(value[at : at + PIECE])[1:-1]
            begin = ', '
        yield ']'
    else:
        yield _dumps(value)


def load_graph(path: Path) -> tuple[HeteroData, dict[str, Any]]:
    r"""Read what :func:`save_graph` wrote."""
    data = HeteroData()
    try:
        tensors, _ = load_tensors(path)
        raw = tensors.pop(JSON_KEY).numpy().data
        header = json.loads(str(raw, 'utf-8', 'surrogatepass'))
        del raw
        stores = []
        for entry in header['stores']:
            key = entry['key']
            # The global store of a HeteroData has no key.
            key = tuple(key) if isinstance(key, list) else key
            stores.append(data if key is None else data[key])
            for name, value in entry['values'].items():
                stores[-1][name] = value
        for name, tensor in tensors.items():
            number, _, key = name.partition('.')
            stores[int(number)][key] = tensor
        _check_ids(data)
        return data, dict(header['meta'])
    except OSError:
        raise
    # Damaged bytes may be anything, and so are the errors they lead to.
    except Exception as error:
        raise DatasetError(
            f"cannot read the processed file '{path}' ({error}); delete it "
            f'or pass force_reload=True'
        ) from error


def _check_ids(data: HeteroData) -> None:
    # That of triples comes with making them.
    splits = [graph.get_split(data, split) for split in graph.SPLITS]
    graph.make_data(
        graph.num_entities(data), graph.num_relations(data), *splits
    )
    for source, relation, target in data.edge_types:
        index = data[source, relation, target].edge_index
        sizes = [[data[source].num_nodes], [data[target].num_nodes]]
        if ((index < 0) | (index >= torch.tensor(sizes))).any():
            raise ValueError(
                f'an edge of {relation!r} leads from or to no node of '
                f'{source!r} and {target!r}'
            )
