"""What a value is, in words that are the same in every process: the settings
of a run, by which its files are known.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.files import digest

# What a repr has that does not tell all: the address of an object, and the
# values of a tensor or an array, which are rounded and left out.
OPAQUE = ' at 0x', 'tensor(', 'array('
# Digits of a hash that stands for what has no words.
DIGITS = 12


def tells_all(words: str) -> bool:
    r"""Whether the :func:`repr` of a value tells it from all others."""
    return not any(mark in words for mark in OPAQUE)


def in_words(value: object) -> str:
    r"""What a value is: functions by their names, and by a hash of what they
    do where a name is that of many, as of a ``lambda``; others by their
    :func:`repr` or, if that does not tell all, by their class and
    attributes.
    """
    return _words(value, ())


def _words(value: Any, within: tuple[int, ...]) -> str:
    if id(value) in within:  # it has itself in it
        return '...'
    below: Callable[[Any], str] = partial(_words, within=(*within, id(value)))
    name = getattr(value, '__qualname__', None)
    if isinstance(name, str):
        code = getattr(value, '__code__', None)
        local = '<' in name and isinstance(code, CodeType)
        return f'{name} {_hash(_function(value, below))}' if local else name
    if isinstance(value, partial):
        given: dict[Any, object] = dict(enumerate(value.args))
        given.update(value.keywords)
        return f'{below(value.func)}({_attributes(given, below)})'
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        held = digest([('', value)])[:DIGITS]
        return f'Tensor({list(value.shape)}, {value.dtype}, {held})'
    words = repr(value)
    if tells_all(words):
        return words
    if isinstance(value, dict):
        pairs = (f'{below(k)}: {below(x)}' for k, x in value.items())
        return f'{{{", ".join(pairs)}}}'
    if isinstance(value, list | tuple | set | frozenset):
        each = [below(x) for x in value]
        ordered = isinstance(value, list | tuple)
        return f'{type(value).__name__}({each if ordered else sorted(each)})'
    named = getattr(value, '__dict__', None)
    if named is None:
        kinds = type(value).__mro__
        slots = [x for kind in kinds for x in vars(kind).get('__slots__', ())]
        named = {x: getattr(value, x) for x in slots if hasattr(value, x)}
    return f'{type(value).__qualname__}({_attributes(named, below)})'


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
