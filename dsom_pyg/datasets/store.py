"""Processed graphs on disk: safetensors, names as JSON in one of them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg.atomic import whole_or_nothing
from dsom_pyg.datasets.reading import DatasetError

JSON_KEY = 'json'


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
                tensors[f'{number}.{key}'] = value.cpu().contiguous().clone()
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
    with whole_or_nothing(path) as temporary:
        save_file(tensors, temporary)


def load_graph(path: Path) -> tuple[HeteroData, dict[str, Any]]:
    r"""Read what :func:`save_graph` wrote.

    Raises:
        DatasetError: The file is damaged or of another kind.
    """
    data = HeteroData()
    try:
        with safe_open(str(path), framework='pt') as file:
            raw = file.get_tensor(JSON_KEY).numpy().tobytes()
            header = json.loads(raw.decode('utf-8', 'surrogatepass'))
            for number, entry in enumerate(header['stores']):
                key = entry['key']
                # The global store of a HeteroData has no key.
                store = (
                    data
                    if key is None
                    else data[key if isinstance(key, str) else tuple(key)]
                )
                for name, value in entry['values'].items():
                    store[name] = value
                prefix = f'{number}.'
                for name in file.keys():  # noqa: SIM118
                    if name.startswith(prefix):
                        store[name[len(prefix) :]] = file.get_tensor(name)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"cannot read the processed file '{path}' ({error}); delete it "
            f'or pass force_reload=True'
        ) from error
    return data, header['meta']
