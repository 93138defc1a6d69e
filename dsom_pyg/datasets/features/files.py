"""Feature files in common formats, read without running code."""

import json
import os
import warnings
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
from dsom_pyg.files import load_tensors, save_tensors

# What the two arrays of a file may be called.
MATRIX_KEYS = ('x', 'features', 'feature', 'embeddings', 'embedding', 'emb')
NAME_KEYS = ('names', 'name', 'ids', 'id', 'keys', 'entities', 'entity_names')


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
        content = read(path)
    except (ImportError, MemoryError):
        raise
    # What a library raises on damaged bytes depends on how far it reads them.
    except Exception as error:
        known = f'{path} is damaged: '
        reason = str(error).removeprefix(known).partition('\n')[0]
        if read in (_read_safetensors, _read_hdf5):  # which hold no code
            raise DatasetError(known + reason) from error
        raise DatasetError(
            f'{path} is damaged, or cannot be read without running code '
            f'({reason}); where you trust it, load it yourself and write it '
            f'with dsom_pyg.datasets.save_features'
        ) from error
    try:
        x, names = _to_table(content)
    except ValueError as error:
        raise DatasetError(f'{path}: {error}') from error
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


def _to_table(content: Any) -> tuple[Tensor, list[str] | None]:
    names = None
    if isinstance(content, Mapping):
        arrays = {str(key): value for key, value in content.items()}
        matrix = next((key for key in MATRIX_KEYS if key in arrays), None)
        if matrix is None and len(arrays) == 1:
            (matrix,) = arrays
        if matrix is None:
            return _stack(arrays)
        content = arrays[matrix]
        given = next((arrays[key] for key in NAME_KEYS if key in arrays), None)
        if given is not None:
            given = given.tolist() if hasattr(given, 'tolist') else given
            names = [_word(value) for value in given]
    x = _matrix(content)
    if x.dim() != 2:
        raise ValueError(f'expected a matrix [n, d], got {list(x.shape)}')
    return x, names


def _stack(arrays: Mapping[str, Any]) -> tuple[Tensor, list[str]]:
    # One entry for each entity.
    parts: list[Tensor] = []
    names: list[str] = []
    for name, value in arrays.items():
        x = _matrix(value)
        x = x[None] if x.dim() == 1 else x
        if x.dim() != 2 or (parts and x.size(1) != parts[0].size(1)):
            want = f'[{parts[0].size(1)}]' if parts else '[d] or [k, d]'
            raise ValueError(
                f'{name!r} has shape {list(x.shape)}, expected {want}'
            )
        parts.append(x)
        names += [name] * len(x)
    if not parts:
        raise ValueError('holds no features')
    return torch.cat(parts), names


def _matrix(value: Any) -> Tensor:
    try:
        return torch.as_tensor(value).detach().float().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(value).__name__
        raise ValueError(
            f'holds a {kind} where numbers are expected ({error})'
        ) from error


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f'the name {value!r} is not UTF-8') from error
    # Integer ids become floats in a table with a gap.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _read_safetensors(path: Path) -> Any:
    tensors, header = load_tensors(path)
    given = json.loads(header.get('names', 'null'))
    return tensors if given is None else {**tensors, 'names': given}


def _read_numpy(path: Path) -> Any:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        return {key: content[key] for key in content.files}


def _read_torch(path: Path) -> Any:
    return torch.load(path, map_location='cpu', weights_only=True)


def _read_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f'{path} needs h5py: pip install "dsom_pyg[h5]"'
        ) from error
    names: list[str] = []
    with h5py.File(path, 'r') as file:
        file.visit(names.append)
        items = {name: file[name] for name in names}
        return {
            name: item[()]
            for name, item in items.items()
            if isinstance(item, h5py.Dataset)
        }


READERS: dict[str, Callable[[Path], Any]] = {
    '.safetensors': _read_safetensors,
    '.npy': _read_numpy,
    '.npz': _read_numpy,
    '.h5': _read_hdf5,
    '.hdf5': _read_hdf5,
    '.pt': _read_torch,
    '.pth': _read_torch,
}
