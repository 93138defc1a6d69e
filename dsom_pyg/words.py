"""What a value is, in words that are the same in every process: the settings
of a run, by which its files are known.
"""

import hashlib
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dsom_pyg.files import digest

# What a repr has that does not tell all: the address of an object, and the
# values of a tensor or an array, which are rounded and left out.
OPAQUE = ' at 0x', 'tensor(', 'array('
# Libraries whose objects show a part of what they hold.
SHOW_A_PART = (
    *('networkx', 'numpy', 'pandas', 'scipy', 'sklearn'),
    *('torch', 'torch_geometric'),
)
OF_TORCH = {*vars(nn.Module())}
# What says all of itself, whatever it says.
ATOMS = (str, bytes, int, float, complex, PurePath, torch.dtype, torch.device)
# Digits of a hash that stands for what has no words, or too many.
DIGITS = 12
LONGEST = 500


def make_plain(part: Any) -> None:
    r"""Make NumPy's numbers among the fields of a dataclass Python's: files
    know no others.
    """
    for key, value in vars(part).items():
        if isinstance(value, np.generic):
            # It may be frozen.
            object.__setattr__(part, key, value.item())


def plain(value: Any) -> Any:
    r"""A number of NumPy as one of Python, for what JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f'a file of settings cannot hold {value!r}')


def tells_all(words: str) -> bool:
    r"""Whether the :func:`repr` of a value tells it from all others."""
    return not any(mark in words for mark in OPAQUE)


def in_words(value: object) -> str:
    r"""What a value is.

    Functions are told by their names, and by a hash of what they do where a
    name is that of many, as of a ``lambda``. A class that has a ``__repr__``
    of its own is trusted with its objects. Others are told by what is in
    them: fields, attributes, items, weights. What tells nothing of all that,
    such as a generator, is told by its address, which no other process has.
    """
    try:
        return _Words().of(value)
    except RecursionError:  # as long as a list whose items know the next
        return object.__repr__(value)


def in_short(words: str) -> str:
    r"""Words, or a hash of them where they are long."""
    return words if len(words) <= LONGEST else _hash([words])


class _Words:
    def __init__(self) -> None:
        # Objects by their address, and in which order they came; kept, so
        # that no other one gets its address.
        self.within: list[int] = []
        self.met: dict[int, int] = {}
        self.kept: list[object] = []

    def of(self, value: Any) -> str:
        if id(value) in self.within:  # it has itself in it, so far below
            above = self.within[::-1].index(id(value))
            return f'^{above + 1}'
        self.within.append(id(value))
        self.kept.append(value)
        try:
            return self._of(value)
        finally:
            self.within.pop()

    def _of(self, value: Any) -> str:
        if isinstance(value, np.generic):
            value = value.item()
            if isinstance(value, np.generic):  # Python has no such number
                return repr(value)
        if value is None or isinstance(value, ATOMS):
            return repr(value)
        if isinstance(value, types.MethodType | types.BuiltinMethodType):
            owner = value.__self__
            if owner is not None and not isinstance(owner, types.ModuleType):
                return f'{self.of(owner)}.{value.__name__}'
        name = getattr(value, '__qualname__', None)
        if isinstance(name, str) and not isinstance(value, Iterator):
            return self._callable(value, name)
        if isinstance(value, partial):
            given: dict[Any, object] = dict(enumerate(value.args))
            given.update(value.keywords)
            return f'{self.of(value.func)}({self._named(given)})'
        if isinstance(value, np.ma.MaskedArray):
            return f'masked({self.of(value.data)}, {self.of(value.mask)})'
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Tensor):
            return _tensor(value)
        return self._made_of(value)

    def _made_of(self, value: Any) -> str:
        kind = type(value)
        if kind in (list, tuple):
            each = ', '.join(map(self.of, value))
            one = kind is tuple and len(value) == 1
            return f'[{each}]' if kind is list else f'({each}{"," * one})'
        if kind in (dict, types.MappingProxyType):
            pairs = (f'{self.of(k)}: {self.of(x)}' for k, x in value.items())
            return f'{{{", ".join(pairs)}}}'
        if kind in (set, frozenset):
            told = f'{{{self._in_no_order(value)}}}' if value else ''
            name = kind.__name__
            return told if kind is set and told else f'{name}({told})'
        if _says_its_fields(value):
            shown = (each.name for each in fields(value) if each.repr)
            named = {name: getattr(value, name) for name in shown}
            return f'{kind.__qualname__}({self._named(named)})'
        words = repr(value)
        # That of what holds others is made of theirs.
        holds = isinstance(value, Mapping | Set | Sequence | deque)
        if not holds and _has_words(kind) and tells_all(words):
            return words
        return self._inside(value, words)

    def _in_no_order(self, items: Iterable[Any]) -> str:
        # Each by itself: which one came first is not known.
        told = []
        for each in items:
            words = _Words()
            words.within = self.within
            told.append(words.of(each))
        return ', '.join(sorted(told))

    def _inside(self, value: Any, words: str) -> str:
        # What makes it again, if anything does.
        kind = type(value)
        if (number := self.met.get(id(value))) is not None:
            return f'{kind.__qualname__} #{number}'
        self.met[id(value)] = len(self.met)
        try:
            made: Any = value.__reduce_ex__(4)
        except Exception:  # it raises what it likes
            made = None
        if isinstance(made, str):  # it is a name
            return made
        if made is None:
            if isinstance(value, Mapping):
                return f'{kind.__qualname__}({self.of({**value})})'
            return words
        _, args, state, items, pairs = (*made, *[None] * 3)[:5]
        if isinstance(value, Set):
            inner = [self._in_no_order(value)]
        else:
            inner = [self.of(each) for each in args if each is not kind]
        if isinstance(value, nn.Module):
            # What torch has for itself, such as hooks, is no part of it.
            own = {k: x for k, x in vars(value).items() if k not in OF_TORCH}
            inner.append(self._named({**own, **_parts(value)}))
        elif isinstance(state, dict):
            inner.append(self._named(state))
        elif state:
            inner.append(self.of(state))
        if items is not None:
            inner.append(self.of([*items]))
        if pairs is not None:
            inner.append(self.of(dict(pairs)))
        told = ', '.join(each for each in inner if each)
        if len(told) > LONGEST:
            return f'{kind.__qualname__} {_hash([told])}'
        return f'{kind.__qualname__}({told})'

    def _named(self, named: Mapping[Any, object]) -> str:
        return ', '.join(f'{key}={self.of(x)}' for key, x in named.items())

    def _array(self, value: Any) -> str:
        try:
            return _tensor(torch.from_numpy(value.copy()))
        except (TypeError, ValueError):  # torch has no such values
            told = self.of([str(value.dtype), value.tolist()])
            return f'ndarray({list(value.shape)}, {_hash([told])})'

    def _callable(self, value: Any, name: str) -> str:
        code = getattr(value, '__code__', None)
        if isinstance(code, types.CodeType):
            # Its name may be that of what it wraps.
            if '<' in name or value.__closure__:
                return f'{name} {_hash(self._function(value))}'
        elif '<' in name and hasattr(value, '__wrapped__'):
            return f'{name} {_hash([self.of(value.__wrapped__)])}'
        return name

    def _function(self, value: Any) -> list[Any]:
        # What it does, and with what; not where it was written.
        cells = []
        for cell in value.__closure__ or ():
            try:
                cells.append(self.of(cell.cell_contents))
            except ValueError:  # nothing is in it yet
                cells.append('')
        given = self.of((value.__defaults__, value.__kwdefaults__))
        return [_code(value.__code__), given, cells]


def _says_its_fields(value: Any) -> bool:
    # Whether the repr of a dataclass is the one that it was given.
    if not is_dataclass(value):
        return False
    shown = (each.name for each in fields(value) if each.repr)
    words = ', '.join(f'{name}={getattr(value, name)!r}' for name in shown)
    return repr(value) == f'{type(value).__qualname__}({words})'


def _has_words(kind: type) -> bool:
    # Whether somebody has written what its objects say of themselves.
    if issubclass(kind, nn.Module):
        return False
    module = getattr(kind.__repr__, '__module__', None) or kind.__module__
    return str(module).partition('.')[0] not in SHOW_A_PART


def _parts(module: nn.Module) -> dict[str, Any]:
    return {
        **dict(module.named_parameters(recurse=False)),
        **dict(module.named_buffers(recurse=False)),
        **dict(module.named_children()),
    }


def _tensor(value: Tensor) -> str:
    told = f'{list(value.shape)}, {value.dtype}'
    if value.layout != torch.strided:
        value = value.detach().to_sparse_coo().coalesce()
        named = [('at', value.indices()), ('', value.values())]
        return f'Tensor({told}, sparse, {digest(named)[:DIGITS]})'
    if value.is_meta:
        return f'Tensor({told}, without values)'
    value = value.detach().resolve_conj().resolve_neg()
    return f'Tensor({told}, {digest([("", value)])[:DIGITS]})'


def _code(code: types.CodeType) -> list[Any]:
    parts: list[Any] = [code.co_code, code.co_names]
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            parts.append(_code(each))
        elif isinstance(each, frozenset):  # in no order
            parts.append(sorted(map(repr, each)))
        else:
            parts.append(repr(each))
    return parts


def _hash(parts: list[Any]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:DIGITS]
