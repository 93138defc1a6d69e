"""What tells one function from another, for the names of processed files."""

import functools
import hashlib
import inspect
import re
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor

ADDRESS = re.compile(r' at 0x[0-9a-f]+')


def step_identity(step: Any) -> str:
    r"""What a function or callable object does, as far as can be told.

    Its ``repr``; if that is no more than an address, also its code, what it
    has as defaults, attributes and arguments, and the variables that it
    encloses. Global variables that it reads are not looked at.

    Args:
        step: Such as a ``pre_transform``, or :obj:`None`.
    """
    return _told(step, set())


def _told(value: Any, seen: set[int]) -> str:
    bare = ADDRESS.sub('', repr(value))
    if id(value) in seen:
        return bare
    seen = seen | {id(value)}

    def each(values: Any) -> str:
        return ', '.join(_told(item, seen) for item in values)

    # What these hold, of which the `repr` shows a part.
    if isinstance(value, Tensor):
        flat = value.detach().cpu().reshape(-1).contiguous()
        return _digest(value, flat.view(torch.uint8).numpy())
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return _digest(value, value)
    if isinstance(value, dict):
        return f'{{{each(sorted(value.items(), key=repr))}}}'
    if isinstance(value, list | tuple):
        return f'{type(value).__name__}({each(value)})'
    if bare == repr(value):
        return bare
    if isinstance(value, functools.partial):
        named = sorted(value.keywords.items())
        return f'partial({each([value.func, *value.args, *named])})'
    if isinstance(value, types.MethodType):
        return f'{bare}({each([value.__func__, value.__self__])})'
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        named = sorted((value.__kwdefaults__ or {}).items())
        inner = [value.__code__, *(value.__defaults__ or ()), *named, *cells]
        return f'{bare}({each(inner)})'
    if isinstance(value, types.CodeType):
        inner = [value.co_code, value.co_names, *value.co_consts]
        return f'code({each(inner)})'
    attributes = sorted(getattr(value, '__dict__', {}).items())
    call = inspect.getattr_static(type(value), '__call__', None)
    return f'{bare}({each([call, *attributes])})'


def _digest(value: Any, array: np.ndarray) -> str:
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f'{type(value).__name__} {value.dtype} {value.shape} {digest}'
