"""The error of all datasets, and what its messages are made of."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class DatasetError(ValueError):
    r"""A dataset is malformed; the message says what, where and what to do."""


def error_at(path: Path, line: int, message: str) -> DatasetError:
    r"""An error that points at a line, counted from 1."""
    return DatasetError(f'{path}:{line}: {message}')


def unknown_name(name: str, known: Iterable[str], what: str) -> str:
    r"""A message that suggests the nearest known name."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    return f'unknown {what} {name!r}{hint}'


def shorten(text: str) -> str:
    r"""A quoted text that fits into a message."""
    return repr(text if len(text) <= 80 else f'{text[:77]}...')


def well_formed(text: str) -> str:
    r"""A text that can be encoded: lone surrogates are replaced."""
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
