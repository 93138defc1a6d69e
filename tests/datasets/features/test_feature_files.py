import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dsom_pyg.datasets import read_features, save_features
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import FeatureTable, align
from dsom_pyg.datasets.findings import Findings

X = np.arange(6, dtype=np.float64).reshape(3, 2) + 1
NAMES = ['b', 'a', 'ü x']


def hdf5(path: Path, content: dict[str, Any]) -> None:
    h5py = pytest.importorskip('h5py')
    with h5py.File(path, 'w') as file:
        for key, value in content.items():
            file[key] = value


def write(path: Path, content: dict[str, Any]) -> Path:
    match path.suffix:
        case '.npz':
            np.savez(path, **content)
        case '.h5':
            words = {'names': [name.encode() for name in NAMES]}
            hdf5(path, {**content, **(words if 'names' in content else {})})
        case '.pth' | '.pt':
            tensors = {
                key: value if isinstance(value, list) else torch.tensor(value)
                for key, value in content.items()
            }
            torch.save(tensors, path)
    return path


@pytest.mark.parametrize('suffix', ['.npz', '.h5', '.pth', '.pt'])
def test_matrix_with_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'f{suffix}'
    table = read_features(write(path, {'features': X, 'names': NAMES}))
    assert table.names == NAMES
    assert table.x.tolist() == X.tolist()
    assert table.x.dtype == torch.float32


@pytest.mark.parametrize('suffix', ['.npz', '.h5', '.pth'])
def test_one_entry_for_each_entity(tmp_path: Path, suffix: str) -> None:
    content = {'Q1': X[0], 'Q2': X[1:]}
    table = read_features(write(tmp_path / f'f{suffix}', content))
    assert table.names == ['Q1', 'Q2', 'Q2']
    assert table.x.tolist() == X.tolist()


def test_bare_matrices(tmp_path: Path) -> None:
    np.save(tmp_path / 'f.npy', X)
    torch.save(torch.tensor(X), tmp_path / 'f.pt')
    save_features(tmp_path / 'f.safetensors', torch.tensor(X))
    for path in sorted(tmp_path.iterdir()):
        table = read_features(path)
        assert table.names is None
        assert table.x.tolist() == X.tolist()
    (tmp_path / 'f.names.txt').write_text('\n'.join(NAMES))
    assert read_features(tmp_path / 'f.npy').names == NAMES
    (tmp_path / 'f.names.txt').write_text('a\nb\n')
    with pytest.raises(DatasetError, match='3 rows, but 2 names'):
        read_features(tmp_path / 'f.npy')


def test_own_format_keeps_names(tmp_path: Path) -> None:
    path = tmp_path / 'f.safetensors'
    save_features(path, torch.tensor(X), NAMES)
    assert read_features(path).names == NAMES
    save_file({'Q1': torch.ones(2), 'Q2': torch.ones(1, 2)}, path)
    assert read_features(path).names == ['Q1', 'Q2']


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def test_no_code_is_run(tmp_path: Path) -> None:
    marker = tmp_path / 'marker'
    torch.save({'x': Payload(marker)}, tmp_path / 'a.pth')
    objects = np.array([Payload(marker)], dtype=object)
    np.save(tmp_path / 'a.npy', objects, allow_pickle=True)
    np.savez(tmp_path / 'a.npz', x=objects)
    for name in ('a.safetensors', 'a.pt', 'b.npy'):
        (tmp_path / name).write_bytes(pickle.dumps(Payload(marker)))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DatasetError, match=path.name):
            read_features(path)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DatasetError, match='a pickle can run code'):
        read_features(tmp_path / 'a.pkl')
    assert not marker.exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'x': X[0]}, r'expected a matrix \[n, d\], got \[2\]'),
        ({'a': X[0], 'b': X[0, :1]}, r"'b' has shape \[1, 1\], expected \[2"),
        ({'a': X[0], 'b': np.array(['no'])}, 'where numbers are expected'),
        ({'x': X * np.nan, 'names': NAMES}, r"row 0 \('b'\) .* not finite"),
        ({'x': X, 'names': NAMES[:2]}, '3 rows, but 2 names'),
    ],
)
def test_bad_content(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / 'f.npz', **content)
    with pytest.raises(DatasetError, match=rf'f\.npz.*{message}'):
        read_features(tmp_path / 'f.npz')


def test_cut_archives(tmp_path: Path) -> None:
    path = tmp_path / 'f.npz'
    np.savez_compressed(path, x=np.zeros((50, 50)), names=['a'] * 50)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[100] ^= 255
    for damaged in (whole[:4], whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r'f\.npz'):
            read_features(path)
    path = tmp_path / 'f.safetensors'
    save_file({'x': torch.ones(1, 1)}, path, {'names': 'no JSON'})
    with pytest.raises(DatasetError, match='is damaged'):
        read_features(path)


@pytest.mark.parametrize('suffix', ['.npy', '.npz', '.h5', '.pt', '.pth'])
def test_damaged_and_missing(tmp_path: Path, suffix: str) -> None:
    if suffix == '.h5':
        pytest.importorskip('h5py')
    path = tmp_path / f'f{suffix}'
    with pytest.raises(DatasetError, match='is missing'):
        read_features(path)
    path.write_bytes(b'<html>not found</html>')
    with pytest.raises(DatasetError, match=path.name):
        read_features(path)


def test_rows_find_their_entities() -> None:
    x = torch.arange(1.0, 6.0)[:, None]
    names = ['m.02mjmr', 'Rome', 'nobody', 'New_York', 'Rome']
    aliases = [['New York'], ['Roma', 'Rome'], ['Obama', '/m/02mjmr'], ['x']]
    findings = Findings()
    table = FeatureTable(x, names)
    x, entity = align(table, aliases, 'f.npz', findings)
    assert entity.tolist() == [2, 1, 0, 1]
    assert x.flatten().tolist() == [1, 2, 4, 5]
    assert findings.counts == {'feature of no entity': 1}
    assert "f.npz: 'nobody'" in str(findings)


def test_names_that_several_entities_have() -> None:
    # First names go before second ones, whoever comes first.
    aliases = [['x', 'Q2'], ['Q2', 'Q1'], ['C\u00f4te']]
    names = ['Q2', 'Co\u0302te', 'C\u00f4te', 'Q1']
    table = FeatureTable(torch.ones(4, 1), names)
    findings = Findings()
    _, entity = align(table, aliases, 'f', findings)
    assert entity.tolist() == [1, 2, 2, 1]
    assert findings.counts == {'feature of several entities': 1}
    assert "'Q2' goes to 'Q2'" in str(findings)


def test_an_exact_name_wins() -> None:
    # The first entity may be spelled like the second is called.
    aliases = [['a b'], ['a_b']]
    table = FeatureTable(torch.ones(1, 1), ['a_b'])
    assert align(table, aliases, 'f', Findings()).entity.tolist() == [1]


def test_rows_without_names_need_one_for_each_entity() -> None:
    aliases = [['a'], ['b'], ['c']]
    x = torch.tensor([[1.0], [0.0], [3.0]])
    findings = Findings()
    with pytest.warns(UserWarning, match='in the order of the entity ids'):
        x, entity = align(FeatureTable(x, None), aliases, 'f', findings)
    # A row of zeros is a missing feature.
    assert entity.tolist() == [0, 2]
    assert x.flatten().tolist() == [1, 3]
    assert findings.counts == {'feature of zeros only': 1}
    with pytest.raises(DatasetError, match='2 rows without names for 3'):
        align(FeatureTable(torch.ones(2, 1), None), aliases, 'f', findings)


def test_names_of_another_graph() -> None:
    table = FeatureTable(torch.ones(1, 1), ['x'])
    with pytest.raises(DatasetError, match="it has 'x', the graph 'a'"):
        align(table, [['a']], 'f', Findings())


def test_names_may_be_numbers(tmp_path: Path) -> None:
    for at, ids in enumerate(([7, 8, 9], [7.0, 8.0, 9.0])):
        path = tmp_path / f'{at}.pt'
        torch.save({'x': torch.tensor(X), 'ids': torch.tensor(ids)}, path)
        assert read_features(path).names == ['7', '8', '9']
    np.savez(tmp_path / 'n.npz', x=X, names=np.array([b'a', b'b', b'\xff']))
    with pytest.raises(DatasetError, match=r'n\.npz.*not UTF-8'):
        read_features(tmp_path / 'n.npz')


def test_what_is_saved_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / 'f.safetensors'
    save_features(path, X, NAMES)  # type: ignore[arg-type]
    assert read_features(path).names == NAMES
    with pytest.raises(ValueError, match=r"f\.npy' must end in \.safetensors"):
        save_features(tmp_path / 'f.npy', torch.tensor(X), NAMES)
    with pytest.raises(ValueError, match=r'got \[3, 2\] and 2 names'):
        save_features(path, torch.tensor(X), NAMES[:2])
    assert read_features(path).names == NAMES
