"""What people call the columns of tables, and the keys of JSON objects."""

from collections.abc import Sequence

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


def _plain(header: Sequence[str]) -> list[str]:
    return [cell.strip().lower() for cell in header]


def _place(cells: Sequence[str], words: Sequence[str]) -> int | None:
    return next((cells.index(w) for w in words if w in cells), None)
