"""Feature files in common formats, read without running code."""

import json
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
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
from dsom_pyg.files import DamagedFile, load_tensors, save_tensors

# What the two arrays of a file may be called.
MATRIX_KEYS = ('x', 'features', 'feature', 'embeddings', 'embedding', 'emb')
NAME_KEYS = ('names', 'name', 'ids', 'id', 'keys', 'entities', 'entity_names')
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)


class FeatureTable(NamedTuple):
    r"""Features as a file holds them.

    Several rows may have one name; :obj:`None` if the file names no rows.

    Shapes:
        - **x:** :math:`(n, d)`, float32
    """

    x: Tensor
    names: list[str] | None


def read_features(path: str | Path) -> FeatureTable:
    r"""Read ``.safetensors``, ``.npy``, ``.npz``, ``.h5``, ``.pt``, ``.pth``.

    A file holds either one matrix ``[n, d]`` (for instance under ``'x'``),
    with or without names (for instance under ``'names'``), or one vector
    ``[d]`` or matrix ``[k, d]`` under the name of each entity. Names may
    also stand in a text file beside it, one a line: ``features.names.txt``
    for ``features.npy``.

    Nothing that can run code is loaded: ``.npy`` without objects, ``.pt``
    with ``weights_only``; ``.pkl`` is refused.

    Raises:
        DatasetError: The file is missing, damaged, of an unknown kind, or
            needs code to be read.
        ImportError: ``h5py`` is needed and missing.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in READERS:
        raise DatasetError(
            f"cannot read features from '{path}': use one of "
            f'{", ".join(READERS)}; a pickle can run code and is not read'
        )
    if not path.is_file():
        raise DatasetError(f"the feature file '{path}' is missing")
    x, names = _to_table(path, READERS[path.suffix.lower()](path))
    beside = names_file(path)
    if names is None and beside.exists():
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

    Raises:
        DatasetError: There are no names and not as many rows as entities,
            or no name is an entity.
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


def _to_table(path: Path, content: Any) -> FeatureTable:
    names = None
    if isinstance(content, Mapping):
        arrays = {str(key): value for key, value in content.items()}
        matrix = next((key for key in MATRIX_KEYS if key in arrays), None)
        if matrix is None and len(arrays) == 1:
            (matrix,) = arrays
        label = next((key for key in NAME_KEYS if key in arrays), None)
        if matrix is None:
            return _stack(path, arrays)
        content = arrays[matrix]
        if label is not None:
            given = arrays[label]
            given = given.tolist() if hasattr(given, 'tolist') else given
            names = [_word(path, value) for value in given]
    x = _matrix(path, content)
    if x.dim() != 2:
        raise DatasetError(
            f'{path}: expected a matrix [n, d], got {list(x.shape)}'
        )
    return FeatureTable(x, names)


def _stack(path: Path, arrays: Mapping[str, Any]) -> FeatureTable:
    # One entry for each entity.
    parts: list[Tensor] = []
    names: list[str] = []
    for name, value in arrays.items():
        x = _matrix(path, value)
        x = x[None] if x.dim() == 1 else x
        if x.dim() != 2 or (parts and x.size(1) != parts[0].size(1)):
            want = f'[{parts[0].size(1)}]' if parts else '[d] or [k, d]'
            raise DatasetError(
                f'{path}: {name!r} has shape {list(x.shape)}, expected {want}'
            )
        parts.append(x)
        names += [name] * len(x)
    if not parts:
        raise DatasetError(f'{path} holds no features')
    return FeatureTable(torch.cat(parts), names)


def _matrix(path: Path, value: Any) -> Tensor:
    try:
        return torch.as_tensor(value).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f'{path}: holds a {type(value).__name__} where numbers are '
            f'expected ({error})'
        ) from error


def _word(path: Path, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DatasetError(
                f'{path}: the name {value!r} is not UTF-8'
            ) from error
    # Integer ids become floats in a table with a gap.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _read_safetensors(path: Path) -> Any:
    try:
        tensors, header = load_tensors(path)
    except DamagedFile as error:
        raise DatasetError(str(error)) from error
    except OSError as error:  # it exists, see `read_features`
        raise DatasetError(f'{path} may not be read: no permission') from error
    try:
        given = json.loads(header.get('names', 'null'))
    except ValueError as error:
        raise DatasetError(f'{path} is damaged: {error}') from error
    return tensors if given is None else {**tensors, 'names': given}


def _read_numpy(path: Path) -> Any:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {key: content[key] for key in content.files}
    except (ValueError, OSError, EOFError, KeyError, *ZIP_ERRORS) as error:
        raise DatasetError(
            f'{path} cannot be read without running code, or is damaged '
            f'({error}); save plain numbers: np.save(path, x.astype("f4"))'
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        reason = str(error).partition('\n')[0]
        raise DatasetError(
            f'{path} cannot be read without running code, or is damaged '
            f'({reason}); where you trust it, load it yourself and write it '
            f'with dsom_pyg.datasets.save_features'
        ) from error


def _read_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f'{path} needs h5py: pip install "dsom_pyg[h5]"'
        ) from error
    content: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            content[name] = item[()]

    try:
        with h5py.File(path, 'r') as file:
            file.visititems(visit)
    except OSError as error:
        raise DatasetError(f'{path} is damaged: {error}') from error
    return content


READERS: dict[str, Callable[[Path], Any]] = {
    '.safetensors': _read_safetensors,
    '.npy': _read_numpy,
    '.npz': _read_numpy,
    '.h5': _read_hdf5,
    '.hdf5': _read_hdf5,
    '.pt': _read_torch,
    '.pth': _read_torch,
}
