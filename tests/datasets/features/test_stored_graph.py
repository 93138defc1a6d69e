"""Graphs with features: what is stored, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features import cache as features_cache
from dsom_pyg.datasets.features import graph as features_graph
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


def test_what_stands_beside_a_stored_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'graph.safetensors'
    meta = {
        'texts': [['Ω', '😀"\\'], [], ['a, b', '漢\n'], ['] }'], []],
        'extra': {'short': [1, 2], 'long': list(range(7)), 'none': {}},
        'shares': {'text': 0.5, 'image': None},
        'broken characters': '\ud800 \ud83d\ude00',
        'all of one piece': [[], [], []],
    }
    save_graph(path, small(), meta)
    whole = path.read_bytes()
    # A letter takes its two bytes, not six.
    assert 'Ω'.encode() in whole
    # No character makes a string of four bytes for each when it is read.
    assert '😀'.encode() not in whole
    assert load_graph(path)[1] == meta
    # Long lists are written piece by piece, to the same bytes.
    monkeypatch.setattr(features_graph, 'PIECE', 3)
    save_graph(path, small(), meta)
    assert path.read_bytes() == whole
    # As json does it, numbers as keys become words.
    save_graph(path, small(), {'extra': {1: 2}})
    assert load_graph(path)[1] == {'extra': {'1': 2}}


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
        (keys, torch.ones(1, 0)),
        (keys.long(), torch.ones(1, 2)),
    ):
        header = {'encoder': cache.identity}
        path = cache.folder / 'a.safetensors'
        save_tensors(path, {'key': key, 'x': x}, header)
        assert list(cache.load()) == []
        assert not path.exists()
    cache.add([bytes(range(32))], torch.ones(1, 2))
    [(stored, x)] = cache.load()
    assert stored == [bytes(range(32))]
    assert x.tolist() == [[1.0, 1.0]]


def test_files_of_a_cache_grow_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_cache, 'MANY', 4)
    cache = FeatureCache(tmp_path, Encoder())
    rows = {bytes([at] * 32): torch.full((2,), float(at)) for at in range(11)}
    keys = list(rows)
    for part in (keys[:5], *([key] for key in keys[5:])):
        cache.add(part, torch.stack([rows[key] for key in part]))
    for files in (7, 3, 3):
        sizes = []
        found: dict[bytes, torch.Tensor] = {}
        for stored, x in cache.load():
            sizes.append(len(stored))
            found.update(zip(stored, x, strict=True))
        assert len(sizes) == files
        assert found.keys() == rows.keys()
        assert all(torch.equal(found[key], rows[key]) for key in rows)
    assert sorted(sizes) == [2, 4, 5]
    # Another run may have merged the same ones at once.
    [(stored, x)] = [part for part in cache.load() if len(part[0]) == 4]
    cache.add(stored[::-1], x.flip(0))
    assert len(list(cache.load())) == 4
    assert sorted(len(part) for part, _ in cache.load()) == [2, 4, 5]


def test_a_file_of_a_cache_that_goes_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors opens it once for the header, then by its name again."""
    cache = FeatureCache(tmp_path, Encoder())
    cache.add([bytes(32)], torch.ones(1, 2))
    opened = torch.UntypedStorage.from_file

    def late(name: str, *words: object, **more: object) -> object:
        Path(name).unlink(missing_ok=True)
        return opened(name, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.UntypedStorage, 'from_file', late)
    assert list(cache.load()) == []
