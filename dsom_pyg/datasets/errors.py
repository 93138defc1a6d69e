"""The error of all datasets, and what its messages are made of."""

import difflib
from collections.abc import Iterable
from pathlib import Path


def printable(text: str) -> str:
    r"""A text as one line that people may see: escapes stand for what no
    encoding has, and for what acts on a terminal or hides in it, such as
    control characters, ends of lines and marks of direction.
    """
    if text.isprintable():
        return text
    return ''.join(
        c if c.isprintable() else c.encode('unicode_escape').decode()
        for c in text
    )


class DatasetError(ValueError):
    r"""A dataset is malformed; the message says what, where and what to do."""

    def __init__(self, message: str) -> None:
        # Names of files and what stands in them come from strangers.
        super().__init__(printable(message))


def place_in(file: str | Path, line: int | None = None) -> str:
    r"""A file and, if it is known, a line of it."""
    return f'{file}:{line}' if line else str(file)


def error_at(
    path: Path | None, line: int | None, message: str
) -> DatasetError:
    r"""An error that points at a line, counted from 1, or at a file."""
    if path is None:
        return DatasetError(message)
    return DatasetError(f'{place_in(path, line)}: {message}')


def needs_extra(path: Path, library: str, extra: str) -> ImportError:
    r"""An error that says what to install."""
    how = f'pip install "dsom_pyg[{extra}]"'
    return ImportError(f"reading '{path}' needs {library}: {how}")


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
