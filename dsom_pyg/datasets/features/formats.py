"""Formats of feature files: what a file holds, before it is read.

A reader here looks at the shapes that a file tells, and hands out arrays that
are read later, within a limit of memory. None can run code, and none looks at
another file.
"""

import codecs
import io
import json
import math
import mmap
import pickletools
import struct
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
from dsom_pyg.files import load_tensors

# What a number in a list takes as an object.
NUMBER = 32
ZIP_MAGIC = b'PK\x03\x04'
# The filters of HDF5 that are read: gzip, shuffle, fletcher32 and lzf. None
# packs better than gzip at its best.
FILTERS = {1, 2, 3, 32000}
RATIO = 1032
CORE = ('core', '_core')


# What makes an array of numbers in a pickle, under its old and new names.
_reconstruct = np.ndarray.__reduce__(np.zeros(0))[0]
NUMPY: list[Any] = [
    *((_reconstruct, f'numpy.{x}.multiarray._reconstruct') for x in CORE),
    *(np.ndarray, np.dtype, codecs.encode),
    *(type(np.dtype(letter)) for letter in '?bhilqBHILQefd'),
]
NUMPY_NAMES = (
    *(f'numpy.{x}.multiarray _reconstruct' for x in CORE),
    *('numpy ndarray', 'numpy dtype', '_codecs encode'),
)


class Room:
    r"""The memory that a file may still fill."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def take(self, what: str, shape: Sequence[int], itemsize: int) -> None:
        r"""Take the memory of an array, if there is as much."""
        if min(shape, default=0) < 0:
            raise DatasetError(f'{what} has shape {list(shape)}')
        size = math.prod(shape) * itemsize
        self.check(f'{what} of shape {list(shape)}', size)
        self.left -= size

    def check(self, what: str, size: int) -> None:
        r"""Raise :class:`DatasetError` unless so many bytes are left."""
        if size > self.left:
            raise DatasetError(
                f'{what} takes {size:,} bytes, more than the {self.left:,} '
                f'that are left of the limit of {self.limit:,}. If so much is '
                f'meant, read it with read_features(path, limit=...), and '
                f'save the rows that the graph needs with save_features'
            )


class Stored(NamedTuple):
    r"""An array that is not read yet."""

    shape: tuple[int, ...]
    itemsize: int
    read: Callable[[], Any]


# One array, or several by name.
Content = Stored | dict[str, Stored]


def _in_memory(value: Any) -> Stored:
    # What a library has read already. A tensor may have far more values than
    # memory: some strides are 0.
    shape: tuple[int, ...]
    if isinstance(value, Tensor):
        shape, itemsize = tuple(value.shape), value.element_size()
    elif isinstance(value, np.ndarray):
        shape, itemsize = value.shape, value.itemsize
    elif isinstance(value, list | tuple) and _are_vectors(value):
        # What they share is one matrix at most.
        shape = len(value), *value[0].shape
        stacked = [torch.as_tensor(each) for each in value]
        return Stored(
            shape, stacked[0].element_size(), lambda: torch.stack(stacked)
        )
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
    return Stored(shape, itemsize, lambda: value)


def _are_vectors(value: Sequence[Any]) -> bool:
    return len(value) > 0 and all(
        isinstance(each, Tensor | np.ndarray) and each.shape == value[0].shape
        for each in value
    )


@contextmanager
def _open_safetensors(path: Path, room: Room) -> Iterator[Content]:
    tensors, header = load_tensors(path)
    given = json.loads(header.get('names', 'null'))
    content = tensors if given is None else {**tensors, 'names': given}
    yield {key: _in_memory(value) for key, value in content.items()}


@contextmanager
def _open_numpy(path: Path, room: Room) -> Iterator[Content]:
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
    yield Stored(x.shape, x.itemsize, partial(np.array, x))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
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

    return Stored(shape, dtype.itemsize, read)


@contextmanager
def _open_torch(path: Path, room: Room) -> Iterator[Content]:
    with path.open('rb') as file:
        if file.read(4) == ZIP_MAGIC:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.compress_type:
                        raise DatasetError(
                            'is packed as torch.save never does'
                        )
                    if info.filename.endswith('data.pkl'):
                        _check_pickles(archive.read(info), 1)
        else:
            # Three pickles of a head, the content, and the keys of its arrays.
            file.seek(0)
            _check_pickles(file, 5)
    with torch.serialization.safe_globals(NUMPY):
        content = torch.load(path, map_location='cpu', weights_only=True)
    if not isinstance(content, Mapping):
        yield _in_memory(content)
        return
    if not all(isinstance(key, str | int) for key in content):
        raise DatasetError('has a key that is neither a string nor a number')
    yield {str(key): _in_memory(value) for key, value in content.items()}


def _check_pickles(source: Any, count: int) -> None:
    # torch runs nothing that is not in its list, but `bytearray`, which is,
    # fills as much memory as a number says.
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    for _ in range(count):
        for code, word, _ in pickletools.genops(file):
            if code.name == 'STACK_GLOBAL':
                raise DatasetError('is pickled as torch.save never does')
            module = str(word).split('.')[0].split(' ')[0]
            if code.name == 'GLOBAL' and not (
                module in ('torch', 'collections') or word in NUMPY_NAMES
            ):
                raise DatasetError(f'holds {word}, which is no array')


@contextmanager
def _open_hdf5(path: Path, room: Room) -> Iterator[Content]:
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


def _dataset(item: Any, h5py: Any, room: Room, path: Path) -> Stored:
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

    return Stored(shape, dtype.itemsize, read)


def _read_strings(item: Any, h5py: Any, path: Path, room: Room) -> list[bytes]:
    # HDF5 itself fills as much memory as a damaged length says, and loops
    # for ever in a damaged heap. What it stores of each string is a length,
    # and a place: the address of a heap and a number in it.
    refs = np.zeros(len(item), '<u4,<u8,<u4')
    layout = item.id.get_create_plist().get_layout()
    filled = item.fillvalue not in (b'', '', None, 0)
    if item.file.userblock_size or layout == h5py.h5d.COMPACT or filled:
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


Open = Callable[[Path, Room], AbstractContextManager[Content]]
READERS: dict[str, Open] = {
    '.safetensors': _open_safetensors,
    '.npy': _open_numpy,
    '.npz': _open_numpy,
    '.h5': _open_hdf5,
    '.hdf5': _open_hdf5,
    '.pt': _open_torch,
    '.pth': _open_torch,
}
# Readers of formats that hold no code.
PLAIN = (_open_safetensors, _open_hdf5)
