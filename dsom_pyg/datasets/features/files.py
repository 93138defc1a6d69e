"""Feature files in common formats, read without running code."""

import json
import math
import mmap
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import NameIndex
from dsom_pyg.datasets.text import read_lines
from dsom_pyg.files import load_tensors, save_tensors

# What the two arrays of a file may be called.
MATRIX_KEYS = ('x', 'features', 'feature', 'embeddings', 'embedding', 'emb')
NAME_KEYS = ('names', 'name', 'ids', 'id', 'keys', 'entities', 'entity_names')
# Bytes of features that any file may have, and values that each entity of a
# large graph may have in one: 40 images, say, of 768 values.
LIMIT = 1 << 30
VALUES = 1 << 15
# What a name takes as an object, beside its characters.
WORD = 64
# What a number in a list takes as an object.
NUMBER = 32
ZIP_MAGIC = b'PK\x03\x04'
# The filters of HDF5 that are read: gzip, shuffle, fletcher32 and lzf. None
# packs better than gzip at its best.
FILTERS = {1, 2, 3, 32000}
RATIO = 1032


def limit_for(num_entities: int) -> int:
    r"""The bytes of features that a file for a graph may have."""
    return max(LIMIT, num_entities * VALUES * 4)


class FeatureTable(NamedTuple):
    r"""Features as a file holds them.

    Several rows may have one name; :obj:`None` if the file names no rows.

    Shapes:
        - **x:** :math:`(n, d)`, float32
    """

    x: Tensor
    names: list[str] | None


def read_features(path: str | Path, limit: int = LIMIT) -> FeatureTable:
    r"""Read ``.safetensors``, ``.npy``, ``.npz``, ``.h5``, ``.pt``, ``.pth``.

    A file holds either one matrix ``[n, d]`` (for instance under ``'x'``),
    with or without names (for instance under ``'names'``), or one vector
    ``[d]`` or matrix ``[k, d]`` under the name of each entity. Names may
    also stand in a text file beside it, one a line: ``features.names.txt``
    for ``features.npy``.

    Nothing that can run code is loaded: ``.npy`` without objects, ``.pt``
    with ``weights_only``; ``.pkl`` is refused. Nothing outside the file is
    read: no external or virtual dataset and no link of an ``.h5`` file.

    Args:
        path: The file.
        limit: The bytes that its features and names may take in memory. A
            dataset allows each entity 32,768 values.
            (default: :obj:`1 << 30`)

    Raises:
        DatasetError: The file is missing, damaged, of an unknown kind, too
            large, or needs code to be read; or its features have no columns.
        ImportError: ``h5py`` is needed and missing.
    """
    path = Path(path).expanduser()
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DatasetError(
            f"cannot read features from '{path}': use one of "
            f'{", ".join(READERS)}; a pickle can run code and is not read'
        )
    if not path.is_file():
        raise DatasetError(f"the feature file '{path}' is missing")
    if not os.access(path, os.R_OK):
        raise DatasetError(f'{path} may not be read: no permission')
    try:
        room = _Room(limit)
        # Features cannot be smaller than their file, unless they are packed.
        room.check('the file', path.stat().st_size)
        with read(path, room) as content:
            x, names = _to_table(content, room)
    except (ImportError, MemoryError):
        raise
    except DatasetError as error:
        raise DatasetError(f'{path}: {error}') from error
    # What a library raises on damaged bytes depends on how far it reads them.
    except Exception as error:
        known = f'{path} is damaged: '
        reason = str(error).removeprefix(known).partition('\n')[0]
        if read in (_open_safetensors, _open_hdf5):  # which hold no code
            raise DatasetError(known + reason) from error
        raise DatasetError(
            f'{path} is damaged, or cannot be read without running code '
            f'({reason}); where you trust it, load it yourself and write it '
            f'with dsom_pyg.datasets.save_features'
        ) from error
    beside = names_file(path)
    if names is None and beside.is_file():
        names = read_lines(beside)
    if names is not None and len(names) != len(x):
        raise DatasetError(f'{path}: {len(x)} rows, but {len(names)} names')
    bad = (~x.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if bad:
        name = f' ({names[bad[0]]!r})' if names else ''
        raise DatasetError(
            f'{path}: row {bad[0]}{name} has a value that is not finite'
        )
    return FeatureTable(x, names)


def names_file(path: Path) -> Path:
    r"""Where the names of the rows of a file may stand."""
    return path.with_name(f'{path.stem}.names.txt')


def save_features(
    path: str | Path, x: Tensor, names: Sequence[str] | None = None
) -> None:
    r"""Write features as ``.safetensors``, for :func:`read_features`, and
    perhaps the name of the entity of each row.

    Shapes:
        - **x:** :math:`(n, d)`

    Raises:
        ValueError: The suffix is another one, or there are not as many names
            as rows.
    """
    path, x = Path(path).expanduser(), torch.as_tensor(x)
    if path.suffix.lower() != '.safetensors':
        raise ValueError(f"'{path}' must end in .safetensors: it will be one")
    if x.dim() != 2 or (names is not None and len(names) != len(x)):
        got = '' if names is None else f' and {len(names)} names'
        raise ValueError(
            f'need features [n, d] and n names, got {list(x.shape)}{got}'
        )
    header = {} if names is None else {'names': json.dumps(list(names))}
    save_tensors(path, {'x': x}, header)


def align(
    table: FeatureTable,
    aliases: Sequence[Sequence[str]],
    what: str,
    findings: Findings,
) -> Features:
    r"""Give every row to its entity, by the :obj:`aliases` of entities, see
    :class:`~dsom_pyg.datasets.names.NameIndex`.

    A row of zeros stands for a missing feature, as is the custom in such
    files, and is left out. Rows of no entity, of several, and of zeros become
    findings about the file, :obj:`what`.
    """
    x = table.x
    if table.names is None:
        if len(x) != len(aliases):
            raise DatasetError(
                f'{what}: {len(x)} rows without names for {len(aliases)} '
                f'entities; add the names (see read_features)'
            )
        warnings.warn(
            f'{what} does not name its rows, so they are taken in the order '
            f'of the entity ids',
            UserWarning,
            stacklevel=2,
        )
        entity = torch.arange(len(x))
    else:
        entity = _entities(table.names, aliases, what, findings)
    empty = (x == 0).all(dim=1) & (entity >= 0)
    for row in empty.nonzero().flatten().tolist():
        findings.add('feature of zeros only', f'row {row}', what)
    keep = (entity >= 0) & ~empty
    return Features(x[keep], entity[keep])


def _entities(
    names: Sequence[str],
    aliases: Sequence[Sequence[str]],
    what: str,
    findings: Findings,
) -> Tensor:
    index = NameIndex(aliases)
    owners = {name: index.owners(name) for name in names}
    if not any(owners.values()):
        raise DatasetError(
            f'{what}: none of its names is an entity; it has {names[0]!r}, '
            f'the graph {aliases[0][0]!r}'
        )
    for name, found in owners.items():
        if not found:
            findings.add('feature of no entity', repr(name), what)
        elif len(found) > 1:
            owner = aliases[found[0]][0]
            message = f'{name!r} goes to {owner!r}'
            findings.add('feature of several entities', message, what)
    return torch.tensor([next(iter(owners[name]), -1) for name in names])


class _Room:
    # The memory that a file may still fill.

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def take(self, what: str, shape: Sequence[int], itemsize: int) -> None:
        if min(shape, default=0) < 0:
            raise DatasetError(f'{what} has shape {list(shape)}')
        size = math.prod(shape) * itemsize
        self.check(f'{what} of shape {list(shape)}', size)
        self.left -= size

    def check(self, what: str, size: int) -> None:
        if size > self.left:
            raise DatasetError(
                f'{what} takes {size:,} bytes, more than the {self.left:,} '
                f'that are left of the limit of {self.limit:,}. If so much is '
                f'meant, read it with read_features(path, limit=...), and '
                f'save the rows that the graph needs with save_features'
            )


class _Stored(NamedTuple):
    # An array that is not read yet.
    shape: tuple[int, ...]
    itemsize: int
    read: Callable[[], Any]


# One array, or several by name.
_Content = _Stored | dict[str, _Stored]


def _to_table(
    content: _Content, room: _Room
) -> tuple[Tensor, list[str] | None]:
    if isinstance(content, _Stored):
        return _matrix('the array', content, room), None
    matrix = next((key for key in MATRIX_KEYS if key in content), None)
    if matrix is None and len(content) == 1:
        (matrix,) = content
    if matrix is None:
        return _stack(content, room)
    x = _matrix(repr(matrix), content[matrix], room)
    key = next((key for key in NAME_KEYS if key in content), None)
    return x, None if key is None else _words(key, content[key], room, len(x))


def _stack(
    arrays: Mapping[str, _Stored], room: _Room
) -> tuple[Tensor, list[str]]:
    # One entry for each entity.
    parts: list[Tensor] = []
    names: list[str] = []
    for name, stored in arrays.items():
        x = _numbers(repr(name), stored, room)
        x = x[None] if x.dim() == 1 else x
        if x.dim() != 2 or (parts and x.size(1) != parts[0].size(1)):
            want = f'[{parts[0].size(1)}]' if parts else '[d] or [k, d]'
            raise DatasetError(
                f'{name!r} has shape {list(x.shape)}, expected {want}'
            )
        parts.append(x)
        names += [name] * len(x)
    if not parts:
        raise DatasetError('holds no features')
    return torch.cat(parts), names


def _matrix(what: str, stored: _Stored, room: _Room) -> Tensor:
    if len(stored.shape) != 2:
        raise DatasetError(
            f'expected a matrix [n, d], got {list(stored.shape)}'
        )
    return _numbers(what, stored, room)


def _numbers(what: str, stored: _Stored, room: _Room) -> Tensor:
    if 0 in stored.shape:
        shape = list(stored.shape)
        raise DatasetError(f'{what} of shape {shape} holds no features')
    # In float32 at least.
    room.take(what, stored.shape, max(stored.itemsize, 4))
    value = stored.read()
    try:
        if not isinstance(value, Tensor | np.ndarray | list | tuple):
            raise TypeError('it is no array')
        x = torch.as_tensor(value).detach()
        if x.layout != torch.strided or x.is_complex():
            raise TypeError(f'it is {x.layout}, {x.dtype}')
        return x.float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(value).__name__
        raise DatasetError(
            f'holds a {kind} where numbers are expected ({error})'
        ) from error


def _words(what: str, stored: _Stored, room: _Room, rows: int) -> list[str]:
    # As many as rows, before they become objects.
    if stored.shape != (rows,):
        got = str(stored.shape[0] if len(stored.shape) == 1 else 'no list of')
        raise DatasetError(f'{rows} rows, but {got} names in {what!r}')
    room.take(repr(what), stored.shape, stored.itemsize + WORD)
    given = stored.read()
    given = given.tolist() if hasattr(given, 'tolist') else given
    return [_word(value) for value in given]


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DatasetError(f'the name {value!r} is not UTF-8') from error
    if not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise DatasetError(f'holds a {kind} where a name is expected')
    # Integer ids become floats in a table with a gap.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _in_memory(value: Any) -> _Stored:
    # What a library has read already. A tensor may have far more values than
    # memory: some strides are 0.
    shape: tuple[int, ...]
    if isinstance(value, Tensor):
        shape, itemsize = tuple(value.shape), value.element_size()
    elif isinstance(value, list | tuple):
        # The same list may be in it many times: each is looked at once.
        rows = {id(v): v for v in value if isinstance(v, list | tuple)}
        width = max(map(len, rows.values()), default=0)
        inner = (v for row in rows.values() for v in row)
        if any(isinstance(v, list | tuple) for v in inner):
            raise DatasetError('holds lists within lists of lists')
        shape = (len(value), width) if rows else (len(value),)
        itemsize = NUMBER
    else:
        shape, itemsize = (), 8
    return _Stored(shape, itemsize, lambda: value)


@contextmanager
def _open_safetensors(path: Path, room: _Room) -> Iterator[_Content]:
    tensors, header = load_tensors(path)
    given = json.loads(header.get('names', 'null'))
    content = tensors if given is None else {**tensors, 'names': given}
    yield {key: _in_memory(value) for key, value in content.items()}


@contextmanager
def _open_numpy(path: Path, room: _Room) -> Iterator[_Content]:
    with path.open('rb') as file:
        if file.read(4) == ZIP_MAGIC:
            with zipfile.ZipFile(file) as archive:
                yield {
                    info.filename.removesuffix('.npy'): _member(archive, info)
                    for info in archive.infolist()
                }
            return
    # A map of the file cannot be larger than the file.
    x = np.load(path, mmap_mode='r', allow_pickle=False)
    yield _Stored(x.shape, x.itemsize, partial(np.array, x))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Stored:
    # numpy itself would fill memory before it looks at the shape.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DatasetError(f'{info.filename!r} is packed as numpy never does')
    with archive.open(info) as file:
        # Later versions have longer headers, for records of many fields.
        if np.lib.format.read_magic(file) != (1, 0):
            raise DatasetError(f'{info.filename!r} holds more than numbers')
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)

    def read() -> Any:
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    return _Stored(shape, dtype.itemsize, read)


@contextmanager
def _open_torch(path: Path, room: _Room) -> Iterator[_Content]:
    with path.open('rb') as file:
        if file.read(4) == ZIP_MAGIC:
            with zipfile.ZipFile(file) as archive:
                if any(info.compress_type for info in archive.infolist()):
                    raise DatasetError('is packed as torch.save never does')
    content = torch.load(path, map_location='cpu', weights_only=True)
    if not isinstance(content, Mapping):
        yield _in_memory(content)
        return
    if not all(isinstance(key, str | int) for key in content):
        raise DatasetError('has a key that is neither a string nor a number')
    yield {str(key): _in_memory(value) for key, value in content.items()}


@contextmanager
def _open_hdf5(path: Path, room: _Room) -> Iterator[_Content]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f'{path} needs h5py: pip install "dsom_pyg[h5]"'
        ) from error
    names: list[str] = []
    links: list[str] = []
    with h5py.File(path, 'r') as file:
        file.visit_links(links.append)
        for name in links:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise DatasetError(
                    f'{name!r} is a link, and none is followed; put the '
                    f'dataset itself there'
                )
        file.visit(names.append)
        items = {name: file[name] for name in names}
        yield {
            name: _dataset(item, h5py, room, path)
            for name, item in items.items()
            if isinstance(item, h5py.Dataset)
        }


def _dataset(item: Any, h5py: Any, room: _Room, path: Path) -> _Stored:
    name, shape, dtype = repr(item.name), item.shape or (), item.dtype
    if item.is_virtual or item.external:
        raise DatasetError(
            f'the values of {name} are in another file, which is not read; '
            f'write them into this one'
        )
    # HDF5 would look for the code of another filter in a folder.
    settings = item.id.get_create_plist()
    count = settings.get_nfilters()
    filters = [settings.get_filter(number)[0] for number in range(count)]
    if len(set(filters)) < count or not FILTERS.issuperset(filters):
        raise DatasetError(f'{name} is packed by the filters {filters}')

    def read() -> Any:
        size = path.stat().st_size
        if item.id.get_storage_size() > size:
            raise DatasetError(f'{name} is longer than the file')
        if item.chunks:
            chunk = math.prod(item.chunks) * dtype.itemsize
            room.check(f'a chunk of {name}', chunk)
        if filters:
            # A packed chunk may fill more memory than its values.
            packed = [0]
            item.id.chunk_iter(lambda chunk: packed.append(chunk.size))
            room.check(f'a chunk of {name}', max(packed) * RATIO)
        if not dtype.hasobject:
            return item[()]
        strings = h5py.check_string_dtype(dtype) is not None
        if not strings or filters or len(shape) != 1:
            raise DatasetError(
                f'{name} holds neither numbers nor names that are not packed'
            )
        return _read_strings(item, h5py, path, room)

    return _Stored(shape, dtype.itemsize, read)


def _read_strings(
    item: Any, h5py: Any, path: Path, room: _Room
) -> list[bytes]:
    # HDF5 itself fills as much memory as a damaged length says, and loops
    # for ever in a damaged heap. What it stores of each string is a length,
    # and a place: the address of a heap and a number in it.
    refs = np.zeros(len(item), '<u4,<u8,<u4')
    layout = item.id.get_create_plist().get_layout()
    if item.file.userblock_size or layout == h5py.h5d.COMPACT:
        raise DatasetError(f'{item.name!r} has a layout that is not read')
    chunks: list[int] = []
    if item.chunks:
        item.id.chunk_iter(lambda x: chunks.append(x.chunk_offset[0]))
    with (
        path.open('rb') as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw,
    ):
        for start in chunks:
            some = refs[start : start + item.chunks[0]]
            part = item.id.read_direct_chunk((start,))[1]
            some[:] = np.frombuffer(part, refs.dtype, len(some))
        # No address: nothing was ever written.
        if not item.chunks and (at := item.id.get_offset()):
            part = raw[at : at + refs.nbytes]
            refs[:] = np.frombuffer(part, refs.dtype, len(refs))
        lengths = int(refs['f0'].sum(dtype=np.int64))
        room.take(f'the text of {item.name!r}', [lengths], 1)
        heaps: dict[int, dict[int, bytes]] = {}
        words = []
        for length, place, number in refs.tolist():
            if length and place not in heaps:
                heaps[place] = _read_heap(raw, place)
            word = heaps[place].get(number, b'') if length else b''
            if len(word) < length:
                raise DatasetError(f'{item.name!r} has a damaged string')
            words.append(word[:length])
    return words


def _read_heap(raw: mmap.mmap, start: int) -> dict[int, bytes]:
    # The objects of a global heap of HDF5 by number.
    sign, size = struct.unpack_from('<4s4xQ', raw, start)
    if sign != b'GCOL':
        raise DatasetError('a string is in no heap')
    heap: dict[int, bytes] = {}
    at, end = start + 16, min(start + size, len(raw))
    while at + 16 <= end:
        number, length = struct.unpack_from('<H6xQ', raw, at)
        if number == 0:  # free space, at the end
            break
        heap[number] = raw[at + 16 : min(at + 16 + length, end)]
        at += 16 + -(-length // 8) * 8
    return heap


_Open = Callable[[Path, _Room], AbstractContextManager[_Content]]
READERS: dict[str, _Open] = {
    '.safetensors': _open_safetensors,
    '.npy': _open_numpy,
    '.npz': _open_numpy,
    '.h5': _open_hdf5,
    '.hdf5': _open_hdf5,
    '.pt': _open_torch,
    '.pth': _open_torch,
}
