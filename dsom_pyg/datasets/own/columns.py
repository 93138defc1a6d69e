"""What columns of files, JSON and frames are called, and what rows say."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import DatasetError, error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.table import Entry, Labels, Place, Triple
from dsom_pyg.graph import SPLITS

# The words for each column; of several in a table, the first one counts.
# Those of head and tail come in pairs.
TRIPLE = {
    'head': (
        *('head', 'subject', 'source', 'from', 'subj', 'src', 'h', 's'),
        *('head_id', 'source_id', 'subject_id', 'head_entity'),
    ),
    'relation': (
        *('relation', 'predicate', 'property', 'rel', 'pred', 'r', 'p'),
        *('relation_id', 'predicate_id', 'relation_type', 'edge_type'),
    ),
    'tail': (
        *('tail', 'object', 'target', 'to', 'obj', 'dst', 't', 'o'),
        *('tail_id', 'target_id', 'object_id', 'tail_entity'),
    ),
}
# The usual order.
HRT = tuple(TRIPLE)
ENTITY = ('entity', 'id', 'key', 'uri', 'name', 'label', 'title')
TEXT = ('text', 'texts', 'description', 'descriptions', 'abstract', 'comment')
NAME = ('name', 'label', 'title')
IMAGE = ('image', 'images', 'path', 'file')

# What splits are called besides train, val and test.
SPLIT_WORDS = {'valid': 'val', 'validation': 'val', 'dev': 'val'}

# The place of each column by its name.
Columns = dict[str, int]


def triple_columns(header: Sequence[str]) -> Columns:
    r"""The places of ``'head'``, ``'relation'`` and ``'tail'`` in a header.

    Words that belong together go first: with a subject and an object, a
    source says where the triple comes from. Besides a head and a tail, the
    only other column is the relation.
    """
    columns = _places(header, TRIPLE)
    cells = [cell.strip().lower() for cell in header]
    for both in zip(TRIPLE['head'], TRIPLE['tail'], strict=True):
        if set(both) <= set(cells):
            ends = zip(('head', 'tail'), map(cells.index, both), strict=True)
            columns |= dict(ends)
            break
    # Single letters may as well be the labels of a triple.
    sure = all(len(header[at].strip()) > 1 for at in columns.values())
    if len(header) == 3 and sure and columns.keys() == {'head', 'tail'}:
        rest = {0, 1, 2} - set(columns.values())
        columns = {'head': columns['head'], 'relation': rest.pop(), **columns}
    return columns


def split_columns(header: Sequence[str]) -> Columns:
    r"""Those of :func:`triple_columns`, and ``'split'`` if a column beside
    them is called so.
    """
    columns = triple_columns(header)
    if len(columns) == len(HRT):
        places = _places(header, {'split': ('split',)})
        if not set(places.values()) & set(columns.values()):
            columns |= places
    return columns


def split_of(word: str) -> str:
    r"""The split that a word means.

    Raises:
        ValueError: It is not a word for one.
    """
    split = SPLIT_WORDS.get(word.lower(), word.lower())
    if split not in SPLITS:
        raise ValueError(
            f'unknown split {shorten(word)}, use one of {SPLITS}; call the '
            'column otherwise if it tells something else'
        )
    return split


def by_split(
    rows: Sequence[tuple[Triple, Any, Place | str]],
) -> dict[str, Sequence[Triple]]:
    r"""Triples by split, which may be empty; all are of train if no split is
    told.

    Args:
        rows: A triple, the word for its split, and where that stands.

    Raises:
        DatasetError: A word is not one for a split, or some are missing.
    """
    words = [text_of(said) for _, said, _ in rows]
    if not any(words):
        return {'train': [triple for triple, *_ in rows]}
    triples: dict[str, list[Triple]] = {split: [] for split in SPLITS}
    for (triple, _, where), word in zip(rows, words, strict=True):
        try:
            if not word:
                raise ValueError('no split is told; others have one')
            triples[split_of(word)].append(triple)
        except ValueError as error:
            if isinstance(where, Place):
                raise at_place(where, str(error)) from None
            raise DatasetError(f'{where}: {error}') from None
    return dict(triples)


def entry_columns(header: Sequence[str], words: Sequence[str]) -> Columns:
    r"""The places of what may name the entity, by words of :data:`ENTITY`,
    and of ``'value'``; none if one of the two is missing.

    The value is called by one of the :obj:`words`, such as :data:`TEXT`.
    """
    entity = _places(header, {word: (word,) for word in ENTITY})
    value = _places(header, {'value': words})
    columns = {k: at for k, at in entity.items() if at not in value.values()}
    return columns | value if columns and value else {}


def labels_of(columns: Columns, row: Sequence[Any]) -> dict[str, str]:
    r"""What a row calls its entity; :class:`ValueError` if nothing."""
    labels: dict[str, str] = {}
    for word, place in columns.items():
        cell = row[place]
        # One label will do. What else there is may be of any kind.
        if word == 'value' or (labels and not _is_text(cell)):
            continue
        if not (_is_text(cell) or is_missing(cell)):
            got = shorten(str(cell))
            raise ValueError(f'{word!r} must be a string, got {got}')
        if label := text_of(cell):
            labels[word] = label
    if not labels:
        raise ValueError('the label of the entity is missing or empty')
    return labels


def read_entry_rows(
    rows: Iterable[tuple[Place, Columns, Sequence[Any]]],
    findings: Findings,
    blank: list[Labels] | None = None,
) -> tuple[list[Entry], list[Entry]]:
    r"""Texts or names from rows with the places of their columns.

    Args:
        rows: Where each stands, its columns and its cells.
        findings: Of what was noticed.
        blank: Gets the entities of rows without a value, if somebody wants
            to know.

    Returns:
        The texts or names, and the readable names that stand beside them.
    """
    entries, names = [], []
    for place, columns, row in rows:
        try:
            labels = labels_of(columns, row)
            values = texts_of(row[columns['value']])
        except ValueError as error:
            raise at_place(place, str(error)) from None
        entity = tuple(labels.values())
        entries += [Entry(entity, value, place) for value in values]
        name = next((labels[word] for word in NAME if word in labels), '')
        if not values:
            message = f'the value of {shorten(entity[0])} is empty'
            findings.add('empty value', message, *place)
            if blank is not None:
                blank.append(entity)
        if name and name != entity[0]:
            names.append(Entry(entity, name, place))
    return entries, names


def at_place(place: Place, message: str) -> DatasetError:
    r"""An error that points at a place."""
    return error_at(place.file, place.line, message)


def labels_in(value: Any, what: str) -> list[str]:
    r"""The labels of a cell of a triple, which may be a list of them;
    :class:`ValueError` if there is none, or what is no label.
    """
    cells = cells_of(value)
    if any(map(is_missing, cells)):
        raise ValueError(f'the {what} is missing')
    if not all(map(_is_text, cells)):
        raise ValueError(
            f'the {what} must be a string or a number, got '
            f'{shorten(str(value))}'
        )
    labels = [text_of(cell) for cell in cells]
    if not all(labels):
        raise ValueError(f'the {what} is empty')
    return labels


def texts_of(value: Any) -> list[str]:
    r"""The texts of a cell; :class:`ValueError` if it holds others."""
    cells = [cell for cell in cells_of(value) if not is_missing(cell)]
    if not all(map(_is_text, cells)):
        got = shorten(str(value))
        raise ValueError(f'must be a string or a list of strings, got {got}')
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


def cells_of(value: Any) -> list[Any]:
    r"""What a cell holds: itself, or the items of a list."""
    if hasattr(value, 'tolist'):  # an array, as of a column of lists
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str | Path | Real) and not isinstance(cell, bool)


def _places(
    header: Sequence[str], words: Mapping[str, Sequence[str]]
) -> Columns:
    cells = [cell.strip().lower() for cell in header]
    found = {k: [w for w in ws if w in cells] for k, ws in words.items()}
    return {k: cells.index(ws[0]) for k, ws in found.items() if ws}
