"""Graphs with features: what is stored, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.cache import FeatureCache
from dsom_pyg.datasets.features.graph import (
    JSON_KEY,
    Features,
    load_graph,
    save_graph,
    set_features,
)
from dsom_pyg.files import save_tensors
from dsom_pyg.graph import Triples, get_split, make_data


def small() -> HeteroData:
    index = torch.tensor([[0, 1], [1, 2]])
    return make_data(3, 2, Triples(index, torch.tensor([0, 1])))


def test_features_without_columns() -> None:
    features = Features(torch.empty(2, 0), torch.tensor([0, 1]))
    with pytest.raises(DatasetError, match=r"'audio' have no columns.*2, 0"):
        set_features(small(), 'audio', features)


def test_ids_of_a_stored_graph(tmp_path: Path) -> None:
    path = tmp_path / 'graph.safetensors'
    data = small()
    set_features(data, 'text', Features(torch.ones(1, 2), torch.tensor([2])))
    save_graph(path, data, {'a': 1})
    read, meta = load_graph(path)
    assert meta == {'a': 1}
    assert torch.equal(
        get_split(read, 'train')[0], get_split(data, 'train')[0]
    )
    for edge, row, bad in (
        (('entity', 'to', 'entity'), 0, -1),
        (('entity', 'to', 'entity'), 1, 3),
        (('text', 'describes', 'entity'), 0, 1),
        (('text', 'describes', 'entity'), 1, -1),
    ):
        wrong = small()
        features = Features(torch.ones(1, 2), torch.tensor([2]))
        set_features(wrong, 'text', features)
        edge = next(key for key in wrong.edge_types if key[0] == edge[0])
        wrong[edge].edge_index = wrong[edge].edge_index.clone()
        wrong[edge].edge_index[row, 0] = bad
        save_graph(path, wrong, {})
        with pytest.raises(DatasetError, match='cannot read the processed'):
            load_graph(path)


@pytest.mark.parametrize(
    'text',
    ['[]', '{}', '{"stores": [[]]}', '{"stores": [], "meta": 1}', '[' * 9],
)
def test_other_json_in_a_stored_graph(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'graph.safetensors'
    raw = torch.tensor(list(text.encode()), dtype=torch.uint8)
    save_tensors(path, {JSON_KEY: raw})
    with pytest.raises(DatasetError, match='force_reload=True'):
        load_graph(path)


class Encoder:
    name, out_channels = 'e', 2

    def __call__(self, items: object) -> torch.Tensor:
        raise NotImplementedError


def test_what_does_not_fit_a_cache(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, Encoder())
    keys = torch.arange(32, dtype=torch.uint8)[None]
    for key, x in (
        (keys, torch.tensor([[1.0, torch.nan]])),
        (keys, torch.ones(1, 2, dtype=torch.float64)),
        (keys, torch.ones(1, 3)),
        (keys, torch.tensor(1.0)),
        (keys[0], torch.ones(32, 2)),
        (keys[0, 0], torch.ones(1, 2)),
        (keys.long(), torch.ones(1, 2)),
    ):
        header = {'encoder': cache.identity}
        path = cache.folder / 'a.safetensors'
        save_tensors(path, {'key': key, 'x': x}, header)
        assert cache.load() == {}
        assert not path.exists()
    cache.add([bytes(range(32))], torch.ones(1, 2))
    assert list(cache.load()) == [bytes(range(32))]
