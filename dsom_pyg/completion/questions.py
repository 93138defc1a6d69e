"""Questions as people give them: one or many, by any word, or as a table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

Word = str | int
Words = Word | Sequence[Word]


class Questions(NamedTuple):
    r"""Questions from one side.

    Attributes:
        ends, relations: Words, one of each for every question.
        head_side: The head is asked for, the tails are given.
        many: Whether several were given, be it a list of one.
    """

    ends: list[Word]
    relations: list[Word]
    head_side: bool
    many: bool


def read_questions(head: Any, relation: Any, tail: Any) -> Questions:
    r"""Read (head, relation, ?) or (?, relation, tail). Lists are as many
    questions, a single value goes with all of them, and a table has them
    whole.

    Raises:
        ValueError: No side is asked for, or both; lists are of different
            length.
    """
    if hasattr(head, 'columns'):
        if relation is not None or tail is not None:
            raise ValueError(
                'a table of questions has them whole: give relation and '
                'tail as its columns'
            )
        head, relation, tail = _columns(head)
    if relation is None or (head is None) == (tail is None):
        raise ValueError(
            'a question gives the relation, and either the head or the tail; '
            'relations() finds what links two entities, score() judges triples'
        )
    asked = (tail if head is None else head), relation
    many = any(_is_many(words) for words in asked)
    ends, relations = _spread(*asked)
    return Questions(ends, relations, head is None, many)


def _columns(frame: Any) -> tuple[Any, Any, Any]:
    have = set(frame.columns)
    if 'relation' not in have or len(have & {'head', 'tail'}) != 1:
        raise ValueError(
            "a table of questions has a column 'relation' and one of 'head' "
            f"and 'tail'; got {sorted(map(str, have))}"
        )
    head, relation, tail = (
        frame[name].tolist() if name in have else None
        for name in ('head', 'relation', 'tail')
    )
    return head, relation, tail


def triples_of(frame: Any) -> list[tuple[Any, ...]]:
    r"""The triples of a table.

    Raises:
        ValueError: It lacks one of the columns head, relation and tail.
    """
    names = 'head', 'relation', 'tail'
    if missing := [name for name in names if name not in frame.columns]:
        raise ValueError(
            f'a table of triples has the columns {", ".join(names)}; '
            f'{", ".join(missing)} is missing among '
            f'{sorted(map(str, frame.columns))}'
        )
    if len({*frame.columns}) < len(frame.columns):
        raise ValueError(
            f'a column stands twice among {list(map(str, frame.columns))}'
        )
    return list(zip(*(list(frame[name]) for name in names), strict=True))


def check_count(k: int) -> None:
    r"""Raise :class:`ValueError` unless so many answers can be given."""
    if isinstance(k, bool) or not hasattr(k, '__index__'):
        raise ValueError(f'k must be a whole number, got {k!r}')
    if k < 1:
        raise ValueError(f'k must be positive, got {k}')


def listed(words: Any) -> list[Word]:
    r"""A word as a list of one, several as a list."""
    return _listed(words) if _is_many(words) else [words]


def _is_many(words: Any) -> bool:
    # A tensor or an array of no dimension is a single id; bytes are no ids.
    single = isinstance(words, str | bytes | bytearray | int)
    if single or getattr(words, 'ndim', 1) == 0:
        return False
    return hasattr(words, '__iter__')


def _listed(words: Any) -> list[Word]:
    # Of arrays and tensors plain numbers, not views of one element.
    return words.tolist() if hasattr(words, 'tolist') else list(words)


def _spread(*columns: Any) -> list[list[Word]]:
    lists = [_listed(c) if _is_many(c) else None for c in columns]
    sizes = {len(each) for each in lists if each is not None} or {1}
    if len(sizes) > 1:
        raise ValueError(f'need as many relations as entities, got {sizes}')
    (size,) = sizes
    return [
        [c] * size if each is None else each
        for c, each in zip(columns, lists, strict=True)
    ]
