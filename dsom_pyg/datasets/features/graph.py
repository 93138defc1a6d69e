"""Graphs with features: node types of their own, and files of them."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg import graph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.encode import encode_items
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.encoders import Encoder
from dsom_pyg.files import load_tensors, save_tensors

# Where a processed file holds names and numbers.
JSON_KEY = 'json'


def coverage_of(data: HeteroData, modality: str) -> float:
    r"""Share of the entities that have a feature of a modality."""
    entities = data[feature_edge(modality)].edge_index[1].unique().numel()
    return entities / max(graph.num_entities(data), 1)


def feature_edge(modality: str) -> tuple[str, str, str]:
    r"""The edge type that ties the items of a modality to entities."""
    relation = graph.RELATION_OF_MODALITY.get(modality, 'describes')
    return modality, relation, 'entity'


def set_features(
    data: HeteroData, modality: str, x: Tensor, entity: Tensor
) -> None:
    r"""Add a node type of features and its edges to the entities.

    Args:
        data: The graph.
        modality: Name of the node type; any but ``'entity'``.
        x: Features of items.
        entity: The entity of each item.

    Shapes:
        - **x:** :math:`(n, d)`
        - **entity:** :math:`(n)`
    """
    data[modality].x = x
    edge_index = torch.stack([torch.arange(len(x)), entity])
    data[feature_edge(modality)].edge_index = edge_index


def add_features(
    data: HeteroData,
    modality: str,
    items: Sequence[Sequence[str]] | Sequence[Sequence[Path]],
    encoder: Encoder,
    cache: Path | None = None,
    refresh: bool = False,
    findings: Findings | None = None,
) -> None:
    r"""Encode the items of all entities into a node type and its edges.

    Args:
        data: The graph; gets ``data[modality].x`` and the edges from
            :obj:`modality` to ``'entity'``.
        modality: ``'image'`` or ``'text'``.
        items: The texts or image paths of each entity.
        encoder: What encodes them.
        cache: Folder of cached features. (default: :obj:`None`)
        refresh: Encode again what is cached. (default: :obj:`False`)
        findings: Gets a line for every item that cannot be read.
            (default: :obj:`None`)

    Raises:
        DatasetError: There is no item at all, or the output has a wrong
            shape or type or is not finite.
    """
    flat: list[Any] = [item for group in items for item in group]
    if not flat:
        raise DatasetError(
            f"no entity has any {modality}, so encoder '{encoder.name}' has "
            f'nothing to encode; pass {modality}_encoder=None'
        )
    x, position, failures = encode_items(encoder, flat, cache, refresh)
    if failures:
        warnings.warn(
            f'{len(failures)} of {len(flat)} {modality}s cannot be read and '
            f'count as missing; they are listed in the findings of the '
            f'dataset',
            UserWarning,
            stacklevel=2,
        )
    for at, why in failures.items():
        if findings is not None:
            findings.add(f'unreadable {modality}', why, flat[at])
    entity = torch.tensor(
        [index for index, group in enumerate(items) for _ in group]
    )
    set_features(data, modality, x, entity[position])


def save_graph(path: Path, data: HeteroData, meta: dict[str, Any]) -> None:
    r"""Write a graph and its names to one file, whole or not at all.

    Args:
        path: The file to write.
        data: Tensors, numbers and strings in its stores.
        meta: Anything JSON can hold.

    Raises:
        DatasetError: A store holds something that cannot be written.
    """
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
    text = json.dumps({'stores': stores, 'meta': meta}, ensure_ascii=False)
    raw = bytearray(text.encode('utf-8', 'surrogatepass'))
    tensors[JSON_KEY] = torch.frombuffer(raw, dtype=torch.uint8)
    save_tensors(path, tensors)


def load_graph(path: Path) -> tuple[HeteroData, dict[str, Any]]:
    r"""Read what :func:`save_graph` wrote.

    Raises:
        DatasetError: The file is damaged or of another kind.
    """
    data = HeteroData()
    try:
        tensors, _ = load_tensors(path)
        raw = tensors.pop(JSON_KEY).numpy().tobytes()
        header = json.loads(raw.decode('utf-8', 'surrogatepass'))
        stores = []
        for entry in header['stores']:
            key = entry['key']
            # The global store of a HeteroData has no key.
            store = (
                data
                if key is None
                else data[key if isinstance(key, str) else tuple(key)]
            )
            for name, value in entry['values'].items():
                store[name] = value
            stores.append(store)
        for name, tensor in tensors.items():
            number, _, key = name.partition('.')
            stores[int(number)][key] = tensor
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError(
            f"cannot read the processed file '{path}' ({error}); delete it "
            f'or pass force_reload=True'
        ) from error
    return data, header['meta']
