"""Feature files in common formats, read without running code."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.formats import (
    PLAIN,
    READERS,
    Content,
    Room,
    Stored,
)
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import NameIndex
from dsom_pyg.datasets.openke import read_ids
from dsom_pyg.datasets.text import read_lines
from dsom_pyg.files import output_tensors
from dsom_pyg.graph import finite_rows

# What the two arrays of a file may be called.
MATRIX_KEYS = ('x', 'features', 'feature', 'embeddings', 'embedding', 'emb')
NAME_KEYS = ('names', 'name', 'ids', 'id', 'keys', 'entities', 'entity_names')
# Bytes of features that any file may have, and values that each entity of a
# large graph may have in one: 40 images, say, of 768 values.
LIMIT = 1 << 30
VALUES = 1 << 15
# What a name takes as an object, beside its characters.
WORD = 64


def limit_for(num_entities: int) -> int:
    r"""The bytes of features that a file for a graph may have."""
    return max(LIMIT, num_entities * VALUES * 4)


class FeatureTable(NamedTuple):
    r"""Features as a file holds them.

    Several rows may have one name; :obj:`None` if the file names no rows.
    Then each entity has as many of them as :obj:`each` says.

    Shapes:
        - **x:** :math:`(n, d)`, float32
    """

    x: Tensor
    names: list[str] | None
    each: int = 1


def read_features(path: str | Path, limit: int = LIMIT) -> FeatureTable:
    r"""Read ``.safetensors``, ``.npy``, ``.npz``, ``.h5``, ``.pt``, ``.pth``.

    A file holds either one matrix ``[n, d]`` (for instance under ``'x'``),
    or ``[n, k, d]`` for k rows an entity, with or without names (for instance
    under ``'names'``), or one vector ``[d]`` or matrix ``[k, d]`` under the
    name of each entity. Names may also stand in a text file beside it, one a
    line: ``features.names.txt`` for ``features.npy``, or else
    ``entities.txt``, or ``entity2id.txt`` as OpenKE has it.

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
    room = Room(limit)
    with _opened(path, room) as content:
        x, names, each = _to_table(content, room)
    if names is None and (beside := _names_beside(path)) is not None:
        named, names = beside
        if len(names) * each != len(x):
            why = f'{len(x) // each} rows, but {len(names)} names'
            raise DatasetError(f"{path}: {why} in '{named.name}'")
        names = [name for name in names for _ in range(each)]
    bad = (~finite_rows(x)).nonzero().flatten().tolist()
    if bad:
        name = f' ({names[bad[0]]!r})' if names else ''
        raise DatasetError(
            f'{path}: row {bad[0]}{name} has a value that is not finite'
        )
    return FeatureTable(x, names, each)


def read_arrays(path: Path) -> dict[str, Any]:
    r"""The arrays or lists of a ``.pt`` file by name, with the care and the
    errors of :func:`read_features`.
    """
    # Such a file is not packed.
    size = path.stat().st_size if path.is_file() else 0
    with _opened(path, Room(size)) as content:
        if isinstance(content, Stored):
            raise DatasetError('holds one array, where several have names')
        return {key: stored.read() for key, stored in content.items()}


@contextmanager
def _opened(path: Path, room: Room) -> Iterator[Content]:
    # What a file holds; every error of a block names the file.
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise DatasetError(
            f"cannot read features from '{path}': use one of "
            f'{", ".join(READERS)}; a pickle can run code and is not read'
        )
    if not path.is_file():
        where = '' if path.is_absolute() else f' from {Path.cwd()}'
        raise DatasetError(f"the feature file '{path}' is missing{where}")
    if not os.access(path, os.R_OK):
        raise DatasetError(f'{path} may not be read: no permission')
    try:
        # Features cannot be smaller than their file, unless they are packed.
        room.check('the file', path.stat().st_size)
        with read(path, room) as content:
            yield content
    except (ImportError, MemoryError):
        raise
    except DatasetError as error:
        raise DatasetError(f'{path}: {error}') from error
    # What a library raises on damaged bytes depends on how far it reads them.
    except Exception as error:
        known = f'{path} is damaged: '
        reason = str(error).removeprefix(known).partition('\n')[0]
        if read in PLAIN:
            raise DatasetError(known + reason) from error
        raise DatasetError(
            f'{path} is damaged, or cannot be read without running code '
            f'({reason}); where you trust it, load it yourself and write it '
            f'with dsom_pyg.datasets.save_features'
        ) from error


def _names_beside(path: Path) -> tuple[Path, list[str]] | None:
    file = names_beside(path)
    if file is None:
        return None
    if file.name == 'entity2id.txt':
        return file, read_ids(file)
    names = read_lines(file)
    if file.name == 'entities.txt':  # as the graph reads it
        names = [name for line in names if (name := line.strip())]
    return file, names


def names_beside(path: Path) -> Path | None:
    r"""The file beside a file of features that names its rows."""
    names = f'{path.stem}.names.txt', 'entities.txt', 'entity2id.txt'
    files = (path.with_name(name) for name in names)
    return next((file for file in files if file.is_file()), None)


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
    output_tensors(path, {'x': x}, header)


def align(
    table: FeatureTable,
    aliases: Sequence[Sequence[str]],
    what: str,
    findings: Findings,
    ordered: bool = True,
) -> Features:
    r"""Give every row to its entity, by the :obj:`aliases` of entities, see
    :class:`~dsom_pyg.datasets.names.NameIndex`.

    A row of zeros stands for a missing feature, as is the custom in such
    files, and is left out. Rows of no entity, of several, and of zeros become
    findings about the file, :obj:`what`.

    Rows without names are those of the entities by their ids, where others
    know these ids (:obj:`ordered`); so are rows that are named by numbers.
    """
    x = table.x
    names = None if _are_numbers(table.names, aliases) else table.names
    if names is None:
        if len(x) != len(aliases) * table.each:
            raise DatasetError(
                f'{what}: {len(x)} rows without names for {len(aliases)} '
                f'entities; add the names (see read_features)'
            )
        if not ordered:
            raise DatasetError(
                f'{what} does not name its rows, and the ids of this graph '
                f'are made up: put the label of each row, one a line, into '
                f"'{Path(what).stem}.names.txt' beside it, or the order of "
                f"the entities as 'entities.txt' into the folder of the graph"
            )
        warnings.warn(
            f'{what} does not name its rows, so they are taken in the order '
            f'of the entity ids',
            UserWarning,
            stacklevel=2,
        )
        entity = torch.arange(len(aliases)).repeat_interleave(table.each)
        if table.names is not None:
            entity = torch.tensor([int(name) for name in table.names])
    else:
        entity = _entities(names, aliases, what, findings)
    empty = (x.amin(dim=1) == 0) & (x.amax(dim=1) == 0) & (entity >= 0)
    for row in empty.nonzero().flatten().tolist():
        findings.add('feature of zeros only', f'row {row}', what)
    keep = (entity >= 0) & ~empty
    if keep.all():  # they may be mapped from the file
        return Features(x, entity)
    return Features(x[keep], entity[keep])


def _are_numbers(
    names: Sequence[str] | None, aliases: Sequence[Sequence[str]]
) -> bool:
    # All ids, each once, and no entity is called by one.
    if names is None or len(names) != len(aliases):
        return names is None
    numbers = {str(at) for at in range(len(names))}
    known = {alias for each in aliases for alias in each}
    return set(names) == numbers and not numbers & known


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
        elif not index.owners(name, numbered=False):
            owner = aliases[found[0]][0]
            message = f'{name!r} is taken as a further row of {owner!r}'
            findings.add('feature by its number', message, what)
    return torch.tensor([next(iter(owners[name]), -1) for name in names])


def _to_table(
    content: Content, room: Room
) -> tuple[Tensor, list[str] | None, int]:
    # Rows, their names, and how many of them stand for each item.
    if isinstance(content, Stored):
        x, each = _matrix('the array', content, room)
        return x, None, each
    matrix = next((key for key in MATRIX_KEYS if key in content), None)
    if matrix is None and len(content) == 1:
        (matrix,) = content
    if matrix is None and len(content) == 2:
        # Beside as many names a matrix may be called as it likes.
        one, other = sorted(content, key=lambda key: key not in NAME_KEYS)
        names, rows = content[one].shape, content[other].shape
        if one in NAME_KEYS and len(rows) > 1 and names == rows[:1]:
            matrix = other
    if matrix is None:
        return *_stack(content, room), 1
    x, each = _matrix(repr(matrix), content[matrix], room)
    key = next((key for key in NAME_KEYS if key in content), None)
    if key is None:
        return x, None, each
    words = _words(key, content[key], room, len(x) // each)
    return x, [word for word in words for _ in range(each)], each


def _stack(
    arrays: Mapping[str, Stored], room: Room
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


def _matrix(what: str, stored: Stored, room: Room) -> tuple[Tensor, int]:
    # One row or several for each item.
    if len(stored.shape) not in (2, 3):
        raise DatasetError(
            f'expected a matrix [n, d], or [n, k, d], got {list(stored.shape)}'
        )
    x = _numbers(what, stored, room)
    return (x, 1) if x.dim() == 2 else (x.flatten(0, 1), x.size(1))


def _numbers(what: str, stored: Stored, room: Room) -> Tensor:
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


def _words(what: str, stored: Stored, room: Room, rows: int) -> list[str]:
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
