"""What a value is, in words that are the same in every process: the settings
of a run, by which its files are known.
"""

import hashlib
import pickle
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import chain
from types import CodeType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dsom_pyg.files import digest

# What a repr has that does not tell all: the address of an object, and the
# values of a tensor or an array, which are rounded and left out.
OPAQUE = ' at 0x', 'tensor(', 'array('
# Digits of a hash that stands for what has no words.
DIGITS = 12


def make_plain(part: Any) -> None:
    r"""Make NumPy's numbers among the fields of a dataclass Python's: files
    know no others.
    """
    for key, value in vars(part).items():
        if isinstance(value, np.generic):
            # It may be frozen.
            object.__setattr__(part, key, value.item())


def tells_all(words: str) -> bool:
    r"""Whether the :func:`repr` of a value tells it from all others."""
    return not any(mark in words for mark in OPAQUE)


def in_words(value: object) -> str:
    r"""What a value is: functions by their names, and by a hash of what they
    do where a name is that of many, as of a ``lambda``; others by their
    :func:`repr` or, if that does not tell all, by their class and
    attributes, and what they hold. What tells nothing of all that is told by
    its address, which no other process has.
    """
    return _words(value, ())


def _words(value: Any, within: tuple[int, ...]) -> str:
    if id(value) in within:  # it has itself in it
        return '...'
    below: Callable[[Any], str] = partial(_words, within=(*within, id(value)))
    if isinstance(value, MethodType):
        return f'{below(value.__self__)}.{value.__name__}'
    name = getattr(value, '__qualname__', None)
    if isinstance(name, str) and not isinstance(value, Iterator):
        code = getattr(value, '__code__', None)
        local = '<' in name and isinstance(code, CodeType)
        return f'{name} {_hash(_function(value, below))}' if local else name
    if isinstance(value, partial):
        given: dict[Any, object] = dict(enumerate(value.args))
        given.update(value.keywords)
        return f'{below(value.func)}({_attributes(given, below)})'
    if isinstance(value, np.ma.MaskedArray):
        return f'masked({below(value.data)}, {below(value.mask)})'
    if isinstance(value, np.ndarray):
        return _array(value, below)
    if isinstance(value, Tensor):
        return _tensor(value)
    words = repr(value)
    # That of a module has no weights.
    if isinstance(value, str) or (
        tells_all(words) and not isinstance(value, nn.Module)
    ):
        return words
    held, named = _held(value, below), _named(value)
    if held is None and named is None:
        return _pickled(value) or words
    inner = [held or '', _attributes(named or {}, below)]
    told = ', '.join(each for each in inner if each)
    kind = type(value)
    return f'{{{told}}}' if kind is dict else f'{kind.__qualname__}({told})'


def _tensor(value: Tensor) -> str:
    told = f'{list(value.shape)}, {value.dtype}'
    if value.layout != torch.strided:
        value = value.detach().to_sparse_coo().coalesce()
        named = [('at', value.indices()), ('', value.values())]
        return f'Tensor({told}, sparse, {digest(named)[:DIGITS]})'
    return f'Tensor({told}, {digest([("", value)])[:DIGITS]})'


def _array(value: Any, below: Callable[[Any], str]) -> str:
    if value.dtype.hasobject:
        return f'ndarray({list(value.shape)}, {below(value.tolist())})'
    try:
        return _tensor(torch.from_numpy(value.copy()))
    except (TypeError, ValueError):  # torch has no such numbers
        told = [value.dtype.str, value.dtype.descr, value.tobytes()]
        return f'ndarray({list(value.shape)}, {_hash(told)})'


def _held(value: Any, below: Callable[[Any], str]) -> str | None:
    # What is in it, beside what has a name.
    if isinstance(value, nn.Module):
        parts = chain(
            value.named_parameters(recurse=False),
            value.named_buffers(recurse=False),
            value.named_children(),
        )
        return _attributes(dict(parts), below)
    if isinstance(value, bytes | bytearray | memoryview | array):
        return _hash([bytes(value)])
    if isinstance(value, Mapping):
        return ', '.join(f'{below(k)}: {below(x)}' for k, x in value.items())
    if isinstance(value, Set):  # in no order
        return str(sorted(below(x) for x in value))
    if isinstance(value, Sequence):
        return str([below(x) for x in value])
    return None


def _named(value: Any) -> dict[str, object] | None:
    # Attributes, wherever they are kept; None for what can have none.
    found = getattr(value, '__dict__', None)
    named = dict(found) if isinstance(found, dict) else {}
    if isinstance(value, nn.Module):
        own = named.items()
        return {k: x for k, x in own if k[0] != '_' and k != 'training'}
    slots = []
    for kind in type(value).__mro__:
        names = vars(kind).get('__slots__', ())
        for name in [names] if isinstance(names, str) else names:
            hidden = name.startswith('__') and not name.endswith('__')
            owner = kind.__name__.lstrip('_')
            slots.append(f'_{owner}{name}' if hidden else name)
    there = (x for x in slots if x not in ('__dict__', '__weakref__'))
    named.update((x, getattr(value, x)) for x in there if hasattr(value, x))
    return None if found is None and not slots else named


def _pickled(value: Any) -> str | None:
    try:
        told = pickle.dumps(value, protocol=4)
    except Exception:  # it raises what it likes
        return None
    return f'{type(value).__qualname__} {_hash([told])}'


def _attributes(
    named: Mapping[Any, object], below: Callable[[Any], str]
) -> str:
    return ', '.join(f'{key}={below(each)}' for key, each in named.items())


def _function(value: Any, below: Callable[[Any], str]) -> list[Any]:
    # What it does, and with what; not where it was written.
    cells = []
    for cell in value.__closure__ or ():
        try:
            cells.append(below(cell.cell_contents))
        except ValueError:  # nothing is in it yet
            cells.append('')
    given = below((value.__defaults__, value.__kwdefaults__))
    return [_code(value.__code__), given, cells]


def _code(code: CodeType) -> list[Any]:
    parts: list[Any] = [code.co_code, code.co_names]
    for each in code.co_consts:
        if isinstance(each, CodeType):
            parts.append(_code(each))
        elif isinstance(each, frozenset):  # in no order
            parts.append(sorted(map(repr, each)))
        else:
            parts.append(repr(each))
    return parts


def _hash(parts: list[Any]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:DIGITS]
