import io
import pickle
import resource
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dsom_pyg.datasets import MKGFolder, read_features, save_features
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import (
    LIMIT,
    VALUES,
    FeatureTable,
    align,
    limit_for,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.graph import pool_features

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


@pytest.mark.parametrize('key', ['features', 'image_features'])
@pytest.mark.parametrize('suffix', ['.npz', '.h5', '.pth', '.pt'])
def test_matrix_with_names(tmp_path: Path, suffix: str, key: str) -> None:
    path = tmp_path / f'f{suffix}'
    table = read_features(write(path, {key: X, 'names': NAMES}))
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
        ({'x': X[0]}, r'matrix \[n, d\], or \[n, k, d\], got \[2\]'),
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


def test_a_row_by_the_number_at_its_end_is_told() -> None:
    table = FeatureTable(torch.ones(3, 1), ['a', 'a_2', 'b'])
    findings = Findings()
    entity = align(table, [['a'], ['b']], 'f', findings).entity
    assert entity.tolist() == [0, 0, 1]
    assert findings.counts == {'feature by its number': 1}


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


def peak() -> int:
    """Bytes that the process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def npy_header(shape: tuple[int, ...], version: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    settings = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
    if version == (1, 0):
        np.lib.format.write_array_header_1_0(file, settings)
    else:
        np.lib.format.write_array_header_2_0(file, settings)
    return file.getvalue()


# More than the limit, but so little more that a reader that fails to look
# does not fill the machine.
HUGE = (LIMIT // 1024 // 4, 1100)


class Bytes:
    """Is pickled as a call that makes so many bytes."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (self.count,)


def write_bomb(path: Path, kind: str) -> None:
    """A small file that says it holds more than the limit."""
    size = 4 * HUGE[0] * HUGE[1]
    match kind:
        case 'npz':
            with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
                archive.writestr('x.npy', npy_header(HUGE, (1, 0)))
        case 'npz of a long header':
            header = bytearray(npy_header((1, 1), (2, 0)))
            header[8:12] = (size - 12).to_bytes(4, 'little')
            with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
                archive.writestr('x.npy', bytes(header) + b' ' * (1 << 20))
        case 'npy':
            path.write_bytes(npy_header(HUGE, (1, 0)))
            with path.open('r+b') as file:
                file.truncate(size + 128)
        case 'pt by strides':
            torch.save({'x': torch.ones(1, 1).expand(HUGE)}, path)
        case 'pt by lists':
            row = [1.0] * 1024
            torch.save({'x': [row] * (1 << 16)}, path)
        case 'pt by bytes' | 'pt by bytes of old':
            new = kind == 'pt by bytes'
            content = {'x': Bytes(4 * HUGE[0] * HUGE[1])}
            torch.save(content, path, _use_new_zipfile_serialization=new)
        case 'pt by packing':
            torch.save({'x': torch.zeros(1 << 9, 1 << 9)}, path)
            packed = path.with_name('packed')
            with (
                zipfile.ZipFile(path) as old,
                zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as new,
            ):
                for name in old.namelist():
                    new.writestr(name, old.read(name))
            packed.rename(path)
        case 'safetensors':
            header = f'{{"x":{{"dtype":"U8","shape":{list(HUGE)},'
            header += f'"data_offsets":[0,{size // 4}]}}}}'
            raw = header.encode()
            path.write_bytes(len(raw).to_bytes(8, 'little') + raw)
            with path.open('r+b') as file:
                file.truncate(8 + len(raw) + size // 4)
        case 'h5':
            with pytest.importorskip('h5py').File(path, 'w') as file:
                file.create_dataset('x', HUGE, 'f4', chunks=(1, 1100))
        case 'h5 of a chunk':
            with pytest.importorskip('h5py').File(path, 'w') as file:
                options = {'chunks': HUGE, 'maxshape': (None, None)}
                file.create_dataset('x', (1, 1), 'f4', **options)


@pytest.mark.parametrize(
    'kind',
    [
        *('npz', 'npz of a long header', 'npy'),
        *('pt by strides', 'pt by lists', 'pt by packing', 'safetensors'),
        *('h5', 'h5 of a chunk', 'pt by bytes', 'pt by bytes of old'),
    ],
)
def test_small_files_of_huge_arrays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f'f.{kind.split()[0]}'
    write_bomb(path, kind)
    before = peak()
    with pytest.raises(DatasetError, match=r'f\.\w+: ') as caught:
        read_features(path)
    assert peak() - before < LIMIT // 8
    said = {'pt by packing': 'packed', 'npz of a long header': 'more than num'}
    assert said.get(kind, '') in str(caught.value)
    if kind in ('npz', 'pt by strides', 'h5'):
        size = 4 * HUGE[0] * HUGE[1]
        for word in (str(list(HUGE)), f'{size:,}', f'{LIMIT:,}', 'limit='):
            assert word in str(caught.value)


@pytest.mark.parametrize('new', [True, False])
def test_files_of_torch_old_and_new(tmp_path: Path, new: bool) -> None:
    path = tmp_path / 'f.pt'
    content = OrderedDict(x=torch.tensor(X), names=NAMES)
    torch.save(content, path, _use_new_zipfile_serialization=new)
    assert read_features(path).names == NAMES
    one = torch.nn.Parameter(torch.ones(2).bfloat16())
    half = {'a': one, 'b': one.detach()}
    torch.save(half, path, _use_new_zipfile_serialization=new)
    assert read_features(path).x.tolist() == [[1, 1], [1, 1]]


def test_strings_that_were_never_written(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'f.h5'
    with h5py.File(path, 'w') as file:
        file['x'] = X
        options = {'dtype': h5py.string_dtype(), 'fillvalue': 'zz'}
        file.create_dataset('names', (3,), **options)
    with pytest.raises(DatasetError, match='has a layout that is not read'):
        read_features(path)


def test_names_count_as_objects(tmp_path: Path) -> None:
    path, rows = tmp_path / 'f.npz', 1 << 14
    np.savez_compressed(path, x=np.ones((rows, 1)), names=['a'] * rows)
    assert len(read_features(path).names or ()) == rows
    with pytest.raises(DatasetError, match=r"'names' of shape \[16384\]"):
        read_features(path, limit=1 << 20)


def test_a_packed_chunk_may_be_larger_than_it_says(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'f.h5'
    with h5py.File(path, 'w') as file:
        options = {'chunks': (1, 1), 'compression': 'gzip'}
        x = file.create_dataset('x', (1, 1), 'f4', **options)
        x.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 22), 9))
    with pytest.raises(DatasetError, match="a chunk of '/x' takes"):
        read_features(path, limit=1 << 21)


def test_a_large_graph_may_have_large_files(tmp_path: Path) -> None:
    assert limit_for(5) == LIMIT
    assert limit_for(1 << 20) == 4 * VALUES << 20
    path = tmp_path / 'f.npy'
    np.save(path, X)
    with pytest.raises(DatasetError, match='the limit of 100'):
        read_features(path, limit=100)
    assert read_features(path, limit=1000).x.tolist() == X.tolist()


def test_features_without_columns(tmp_path: Path) -> None:
    # A reader that sums over such rows would make ten billion of them.
    for shape in ((3, 0), (0, 2), (10_000_000_000, 0)):
        (tmp_path / 'f.npy').write_bytes(npy_header(shape, (1, 0)))
        with pytest.raises(DatasetError, match='holds no features'):
            read_features(tmp_path / 'f.npy')
        torch.save(torch.empty(shape), tmp_path / 'f.pt')
        with pytest.raises(DatasetError, match='holds no features'):
            read_features(tmp_path / 'f.pt')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'x': torch.eye(3).to_sparse()}, 'torch.sparse'),
        ({'x': torch.eye(3) + 1j}, 'complex'),
        ({'x': [[[1.0]]]}, 'lists within lists'),
        ({'x': torch.eye(2), 'names': [['a'], ['b']]}, 'no list of names'),
        ({'x': torch.eye(2), 'names': [None, 'b']}, 'a NoneType where a name'),
        ({'x': torch.eye(2), 'names': 'ab'}, 'no list of names'),
        ({('a', 'b'): torch.eye(2)}, 'neither a string nor a number'),
    ],
)
def test_what_is_no_matrix_with_names(
    tmp_path: Path, content: object, message: str
) -> None:
    torch.save(content, tmp_path / 'f.pt')
    with pytest.raises(DatasetError, match=rf'f\.pt.*{message}'):
        read_features(tmp_path / 'f.pt')


def test_lists_of_numbers(tmp_path: Path) -> None:
    for number, content in enumerate(
        ({'x': X.tolist()}, {'a': [1.0, 2.0], 'b': [3, 4], 'c': (5, 6)})
    ):
        torch.save(content, tmp_path / f'{number}.pt')
        assert (
            read_features(tmp_path / f'{number}.pt').x.tolist() == X.tolist()
        )


def test_hdf5_reads_no_other_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    secret = tmp_path / 'secret'
    secret.write_bytes(np.ones(16, np.float32).tobytes())
    other = tmp_path / 'other.h5'
    with h5py.File(other, 'w') as file:
        file['x'] = np.ones((4, 4), np.float32)
    path = tmp_path / 'f.h5'
    layout = h5py.VirtualLayout((4, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(other), 'x', (4, 4))

    def external(file: Any) -> None:
        places = [(str(secret), 0, 64)]
        file.create_dataset('x', (4, 4), np.float32, external=places)

    def virtual(file: Any) -> None:
        file.create_virtual_dataset('x', layout)

    def link(file: Any) -> None:
        file['x'] = h5py.ExternalLink(str(other), 'x')

    def deep_link(file: Any) -> None:
        file['x'] = np.ones((1, 1))
        file['a/b'] = h5py.SoftLink('/x')

    for make, message in (
        (external, "'/x' are in another file"),
        (virtual, "'/x' are in another file"),
        (link, "'x' is a link"),
        (deep_link, "'a/b' is a link"),
    ):
        with h5py.File(path, 'w') as file:
            make(file)
        with pytest.raises(DatasetError, match=rf'f\.h5: .*{message}'):
            read_features(path)


def test_hdf5_strings(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    path, words = tmp_path / 'f.h5', h5py.string_dtype()
    for options in ({}, {'chunks': (2,)}):
        with h5py.File(path, 'w') as file:
            file['x'] = X
            file.create_dataset('names', data=NAMES, dtype=words, **options)
        assert read_features(path).names == NAMES
    # The first string says that it is as long as memory is.
    raw = path.read_bytes()
    with h5py.File(path) as file:
        places: list[int] = []
        file['names'].id.chunk_iter(lambda c: places.append(c.byte_offset))
    at = min(places)
    path.write_bytes(raw[:at] + b'\xff\xff\xff\x1f' + raw[at + 4 :])
    before = peak()
    with pytest.raises(DatasetError, match="'/names' has a damaged"):
        read_features(path)
    assert peak() - before < LIMIT // 8
    with h5py.File(path, 'w') as file:
        file['x'] = X
        options = {'dtype': words, 'compression': 'gzip'}
        file.create_dataset('names', data=NAMES, **options)
    with pytest.raises(DatasetError, match='names that are not packed'):
        read_features(path)


def test_hdf5_filters(tmp_path: Path) -> None:
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'f.h5'
    for options in (
        {'compression': 'gzip', 'shuffle': True, 'fletcher32': True},
        {'compression': 'lzf'},
    ):
        with h5py.File(path, 'w') as file:
            file.create_dataset('x', data=X, **options)
        assert read_features(path).x.tolist() == X.tolist()
    with h5py.File(path, 'w') as file:
        file.create_dataset('x', data=X.astype(int), scaleoffset=0)
    with pytest.raises(DatasetError, match=r'by the filters \[6\]'):
        read_features(path)


def test_the_limit_of_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'triples.tsv').write_text('a\tr\tb\n')
    path = tmp_path / 'f.safetensors'
    save_features(path, torch.ones(2, 2), ['a', 'b'])
    files = 'dsom_pyg.datasets.features.files'
    monkeypatch.setattr(f'{files}.LIMIT', 10)
    monkeypatch.setattr(f'{files}.VALUES', 60)
    data = MKGFolder(tmp_path, features={'audio': path})[0]
    assert data['audio'].x.shape == (2, 2)
    monkeypatch.setattr(f'{files}.VALUES', 1)
    with pytest.raises(DatasetError, match='the limit of 10'):
        MKGFolder(tmp_path, features={'audio': path}, force_reload=True)


def test_several_rows_for_each_entity(tmp_path: Path) -> None:
    x = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2)
    np.save(tmp_path / 'x.npy', x)
    table = read_features(tmp_path / 'x.npy')
    assert (table.x.shape, table.names, table.each) == ((6, 2), None, 2)
    aliases = [['a'], ['b'], ['ü x']]
    with pytest.warns(UserWarning, match='order of the entity ids'):
        features = align(table, aliases, 'f', Findings())
    assert features.entity.tolist() == [0, 0, 1, 1, 2, 2]
    write(tmp_path / 'x.npz', {'x': x, 'names': np.array(NAMES)})
    table = read_features(tmp_path / 'x.npz')
    features = align(table, aliases, 'f', Findings())
    assert features.entity.tolist() == [1, 1, 0, 0, 2, 2]
    assert features.x.tolist() == x.reshape(6, 2).tolist()
    write(tmp_path / 'x.npz', {'x': x, 'names': np.array(NAMES[:2])})
    with pytest.raises(DatasetError, match='3 rows, but 2 names'):
        read_features(tmp_path / 'x.npz')


@pytest.mark.parametrize('name', ['entities.txt', 'entity2id.txt'])
def test_the_order_of_the_rows_lies_beside(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / 'x.npy', X)
    lines = '\n'.join(NAMES)
    if name == 'entity2id.txt':
        lines = '3\nü x\t2\nb\t0\na\t1'
    (tmp_path / name).write_text(f'{lines}\n', encoding='utf-8')
    assert read_features(tmp_path / 'x.npy').names == NAMES
    np.save(tmp_path / 'x.npy', X[:2])
    with pytest.raises(DatasetError, match=f"2 rows, but 3 names in '{name}'"):
        read_features(tmp_path / 'x.npy')


def test_rows_that_are_numbered() -> None:
    x = torch.tensor([[1.0], [2.0], [3.0]])
    table = FeatureTable(x, ['2', '0', '1'])
    aliases = [['a'], ['b'], ['c']]
    with pytest.warns(UserWarning, match='order of the entity ids'):
        features = align(table, aliases, 'f', Findings())
    assert features.entity.tolist() == [2, 0, 1]
    # Entities may be called by numbers, too.
    aliases = [['0'], ['2'], ['1']]
    assert align(table, aliases, 'f', Findings()).entity.tolist() == [1, 0, 2]


def test_ids_that_are_made_up_order_nothing(tmp_path: Path) -> None:
    (tmp_path / 'triples.tsv').write_text('a\tr\tb\nb\tr\tc\n')
    (tmp_path / 'x').mkdir()
    np.save(tmp_path / 'x/image.npy', X)
    features = {'image': tmp_path / 'x/image.npy'}
    with pytest.raises(DatasetError, match=r"'image\.names\.txt' beside it"):
        MKGFolder(tmp_path, features=features)
    (tmp_path / 'entities.txt').write_text('c\nb\na\n')
    with pytest.warns(UserWarning, match='order of the entity ids'):
        dataset = MKGFolder(tmp_path, features=features)
    assert dataset.entity_names == ['c', 'b', 'a']
    assert dataset[0]['image'].x.tolist() == X.tolist()


def test_another_order_beside_is_seen(tmp_path: Path) -> None:
    (tmp_path / 'triples.tsv').write_text('a\tr\tb\nb\tr\tc\n')
    (tmp_path / 'x').mkdir()
    np.save(tmp_path / 'x/image.npy', X)
    features = {'image': tmp_path / 'x/image.npy'}
    for names in ('abc', 'cba'):
        (tmp_path / 'x/entities.txt').write_text('\n'.join(names))
        dataset = MKGFolder(tmp_path, features=features)
        x, _ = pool_features(dataset[0], 'image')
        mine = {name: row.tolist() for name, row in zip(names, X, strict=True)}
        rows = zip(dataset.entity_names, x.tolist(), strict=True)
        assert dict(rows) == mine


@pytest.mark.parametrize('dtype', ['f2', 'f4', 'f8', 'i4', '?'])
@pytest.mark.parametrize('protocol', [2, 4])
def test_numpy_within_a_pth(tmp_path: Path, dtype: str, protocol: int) -> None:
    x = X.astype(dtype)
    content = {'x': x, 'names': NAMES}
    torch.save(content, tmp_path / 'x.pth', pickle_protocol=protocol)
    if protocol == 4:  # which torch.save never takes by itself
        with pytest.raises(DatasetError, match='is pickled as'):
            read_features(tmp_path / 'x.pth')
        return
    table = read_features(tmp_path / 'x.pth')
    assert table.names == NAMES
    assert table.x.tolist() == x.astype('f4').tolist()
    vectors = {name: row for name, row in zip(NAMES, x, strict=True)}
    torch.save(vectors, tmp_path / 'x.pth')
    assert read_features(tmp_path / 'x.pth').x.tolist() == table.x.tolist()
    torch.save(list(torch.from_numpy(X)), tmp_path / 'x.pth')
    assert read_features(tmp_path / 'x.pth').x.tolist() == X.tolist()


@pytest.mark.parametrize(
    'x', [np.array([print], dtype=object), np.array(['a']), np.random.rand]
)
def test_other_things_of_numpy_are_refused(tmp_path: Path, x: Any) -> None:
    torch.save({'x': x}, tmp_path / 'x.pth')
    with pytest.raises(DatasetError, match=r'holds|without running code'):
        read_features(tmp_path / 'x.pth')


class Huge:
    def __reduce__(self) -> tuple[Any, ...]:
        return np.ndarray, ((1 << 38,), np.dtype('?'))


def test_an_array_larger_than_its_file(tmp_path: Path) -> None:
    torch.save({'x': Huge()}, tmp_path / 'x.pth')
    with pytest.raises((DatasetError, MemoryError), match=r'limit|allocate'):
        read_features(tmp_path / 'x.pth')
    # Nothing of it was touched.
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert used < 1 << 24  # KiB
