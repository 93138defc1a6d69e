"""Headers of tables: what people call the columns."""

import re
from collections.abc import Sequence

# What headers call a column; the first word that is there counts.
HEAD = (
    *('head', 'subject', 'source', 'from', 'h', 's', 'head_entity', 'src'),
    *(
        'subj',
        'start',
        'start_node',
        'entity1',
        'entity_1',
        'node1',
        'node_1',
        'e1',
    ),
)
RELATION = (
    *('relation', 'predicate', 'relationship', 'property', 'edge_type'),
    *('relation_type', 'type', 'edge', 'r', 'p', 'rel', 'pred', 'label'),
)
TAIL = (
    *('tail', 'object', 'target', 'to', 't', 'o', 'tail_entity', 'dst'),
    *(
        'obj',
        'end',
        'end_node',
        'entity2',
        'entity_2',
        'node2',
        'node_2',
        'e2',
    ),
)
ENTITY = (
    *('entity', 'id', 'key', 'uri', 'entity_id', 'node', 'item'),
    *('name', 'title', 'label'),
)
TEXT = (
    *('text', 'description', 'texts', 'descriptions', 'abstract'),
    *('comment', 'summary', 'desc', 'content', 'definition', 'bio', 'about'),
)
NAME = ('name', 'label', 'title')

Columns = dict[str, int]
ItemColumns = tuple[list[int], int, int | None]


def triple_columns(header: Sequence[str]) -> Columns | None:
    r"""Where ``'head'``, ``'rel'`` and ``'tail'`` stand in a header.

    :obj:`None` if it is none. Between a head and a tail, the only other
    column is the relation whatever it is called.
    """
    cells = [cell.strip().lower() for cell in header]
    head, rel, tail = (_find(cells, w) for w in (HEAD, RELATION, TAIL))
    if head is None or tail is None:
        return None
    rest = {0, 1, 2} - {head, tail}
    sure = not (maybe_name(cells[head]) or maybe_name(cells[tail]))
    if rel is None and len(cells) == 3 and len(rest) == 1 and sure:
        rel = rest.pop()
    if rel is None:
        return None
    return {'head': head, 'rel': rel, 'tail': tail}


def frame_columns(columns: Sequence[str]) -> Columns:
    r"""Where ``'head'``, ``'rel'`` and ``'tail'`` stand in a frame, whose
    columns always have names.

    Under the usual words; besides a head and a tail the only other column is
    the relation. Columns called something else are taken by their place, if
    no word speaks against that. A column ``'split'`` is none of them.

    Raises:
        ValueError: It cannot be told.
    """
    cells = [column.strip().lower() for column in columns]
    free = [at for at, cell in enumerate(cells) if cell != 'split']
    cells = [cells[at] for at in free]
    keys = ('head', 'rel', 'tail')
    found = [_find(cells, words) for words in (HEAD, RELATION, TAIL)]
    head, rel, tail = found
    if head is not None and tail is not None and rel is None:
        rest = [at for at in range(len(cells)) if at not in (head, tail)]
        if len(rest) == 1:
            found = [head, rest[0], tail]
    elif all(at in (None, place) for place, at in enumerate(found)):
        found = [0, 1, 2]
    if None in found or len(free) < 3:
        raise ValueError(
            'cannot tell head, relation and tail among the columns '
            f'{list(columns)}; call them so'
        )
    places = [free[at] for at in found if at is not None]
    return dict(zip(keys, places, strict=True))


def maybe_name(cell: str) -> bool:
    r"""Whether a word of a header may as well be the name of an entity."""
    word = cell.lower()
    return len(word) == 1 or word[-1:].isdigit() or word in ('start', 'end')


def item_columns(
    header: Sequence[str], words: Sequence[str]
) -> ItemColumns | None:
    r"""Where texts or names of entities stand in a header.

    Args:
        header: The cells.
        words: What it may call the value: :data:`TEXT` or :data:`NAME`.

    Returns:
        The places of what the entity may be called, of the value, and of a
        name; :obj:`None` if it is no such header.
    """
    cells = [cell.strip().lower() for cell in header]
    value = _find(cells, words)
    found = (_find(cells, [word]) for word in ENTITY)
    places = [each for each in found if each is not None and each != value]
    keys = list(dict.fromkeys(places))
    if value is None or not keys:
        return None
    name = _find(cells, NAME)
    return keys, value, None if name in (value, keys[0]) else name


def is_header(cells: Sequence[str], columns: int) -> bool:
    r"""Whether a row is the header of items (2 columns) or triples (3)."""
    if columns == 3:
        return triple_columns(cells) is not None
    return any(item_columns(cells, words) for words in (TEXT, NAME))


def is_relation_word(cell: str) -> bool:
    r"""Whether a header would call its relations so; no single letter."""
    return len(cell) > 1 and _find([cell.strip().lower()], RELATION) == 0


def _find(cells: Sequence[str], words: Sequence[str]) -> int | None:
    # As they are, or else without what says that they are labels.
    bare = [
        re.sub(r'[ _-]+(id|name|label)$', '', cell.lstrip(':'))
        for cell in cells
    ]
    for row in (cells, bare):
        for word in words:
            if word in row:
                return row.index(word)
    return None
