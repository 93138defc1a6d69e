"""What the columns of a table are called, and what a row says by them.

A row is a line of a file, an object of JSON or a row of a frame.
"""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import shorten

# The words for each column. Where a table has several of them, the first
# one counts.
TRIPLE = {
    'head': ('head', 'subject', 'source', 'from', 'h', 's'),
    'relation': ('relation', 'predicate', 'property', 'rel', 'r', 'p'),
    'tail': ('tail', 'object', 'target', 'to', 't', 'o'),
}
ENTITY = ('entity', 'id', 'key', 'uri', 'name', 'label', 'title')
TEXT = ('text', 'texts', 'description', 'descriptions', 'abstract', 'comment')
NAME = ('name', 'label', 'title')
IMAGE = ('image', 'images', 'path', 'file')

# The place of each column by its name.
Columns = dict[str, int]


def triple_columns(header: Sequence[str]) -> Columns:
    r"""The places of ``'head'``, ``'relation'`` and ``'tail'`` in a header.

    Besides a head and a tail, the only other column is the relation. What
    has none of the words is left out.
    """
    cells = _plain(header)
    found = {key: _place(cells, words) for key, words in TRIPLE.items()}
    columns = {key: at for key, at in found.items() if at is not None}
    # Single letters may as well be the labels of a triple.
    sure = all(len(cells[at]) > 1 for at in columns.values())
    if len(cells) == 3 and sure and columns.keys() == {'head', 'tail'}:
        rest = {0, 1, 2} - set(columns.values())
        columns = {'head': columns['head'], 'relation': rest.pop(), **columns}
    return columns


def entry_columns(
    header: Sequence[str], words: Sequence[str]
) -> Columns | None:
    r"""The places of ``'value'`` and of what may name the entity.

    The latter have a word of :data:`ENTITY` each as key, in that order.

    Args:
        header: The names of the columns.
        words: What the value may be called: :data:`TEXT`, :data:`NAME` or
            :data:`IMAGE`.

    Returns:
        The places, or :obj:`None` if one of the two is missing.
    """
    cells = _plain(header)
    value = _place(cells, words)
    if value is None:
        return None
    found = {word: _place(cells, [word]) for word in ENTITY}
    columns = {
        word: at for word, at in found.items() if at not in (None, value)
    }
    return {**columns, 'value': value} if columns else None


def labels_of(columns: Columns, row: Sequence[Any]) -> dict[str, str]:
    r"""What a row calls its entity, by the columns of
    :func:`entry_columns`.

    Raises:
        ValueError: There is no label.
    """
    labels: dict[str, str] = {}
    for word, place in columns.items():
        cell = row[place]
        # One label will do. What else there is may be of any kind.
        if word == 'value' or (labels and not _is_text(cell)):
            continue
        if not (_is_text(cell) or is_missing(cell)):
            raise ValueError(
                f'{word!r} must be a string, got {shorten(str(cell))}'
            )
        if label := text_of(cell):
            labels[word] = label
    if not labels:
        raise ValueError('the label of the entity is missing or empty')
    return labels


def texts_of(value: Any) -> list[str]:
    r"""The texts of a cell: one, a list of them, or none.

    Raises:
        ValueError: It holds something else.
    """
    if hasattr(value, 'tolist'):  # an array, as of a column of lists
        value = value.tolist()
    cells = value if isinstance(value, list | tuple) else [value]
    cells = [cell for cell in cells if not is_missing(cell)]
    if not all(map(_is_text, cells)):
        raise ValueError(
            f'must be a string or a list of strings, got {shorten(str(value))}'
        )
    return [text for cell in cells if (text := text_of(cell))]


def text_of(cell: Any) -> str:
    r"""A cell as text, ``''`` if it is missing."""
    if is_missing(cell):
        return ''
    # A column of integers becomes one of floats if a cell of it is missing.
    if isinstance(cell, Real) and not isinstance(cell, Integral):
        number = float(cell)
        cell = int(number) if number.is_integer() else cell
    return str(cell).strip()


def is_missing(cell: Any) -> bool:
    r"""Whether it is None, NaN of any kind, pandas.NaT or pandas.NA."""
    try:
        return cell is None or bool(cell != cell)
    except TypeError:
        return True
    except ValueError:  # an array
        return False


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str | Path | Real) and not isinstance(cell, bool)


def _plain(header: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in header]


def _place(cells: Sequence[str], words: Sequence[str]) -> int | None:
    return next((cells.index(w) for w in words if w in cells), None)
