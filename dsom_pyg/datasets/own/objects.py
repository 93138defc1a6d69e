"""Tables of objects: JSON, one a line or all in one array, and Parquet."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.columns import (
    ENTITY,
    HRT,
    Columns,
    at_place,
    by_split,
    entry_columns,
    labels_in,
    read_entry_rows,
    split_columns,
    triple_columns,
)
from dsom_pyg.datasets.own.sheets import PARQUET, read_parquet
from dsom_pyg.datasets.own.table import Entry, Labels, Place, Triple
from dsom_pyg.datasets.text import read_lines, suffix_of

SUFFIXES = ('.jsonl', '.ndjson', '.json', PARQUET)


def read_triples(
    path: Path, findings: Findings, order: Sequence[str] = HRT
) -> list[Triple]:
    r"""Triples from objects with the keys head, relation and tail, under the
    words of :data:`~dsom_pyg.datasets.own.columns.TRIPLE`, or from arrays of
    three. A list as tail stands for several triples.

    Args:
        path: The file.
        findings: Of what was noticed.
        order: Of arrays.

    Raises:
        DatasetError: Something is no triple.
    """
    rows = _rows(path, findings, order, triple_columns)
    return [triple for triple, _ in rows]


def read_splits(
    path: Path, findings: Findings, order: Sequence[str] = HRT
) -> dict[str, Sequence[Triple]]:
    r"""As :func:`read_triples`, by split, where objects have a key ``split``;
    else all are of train.

    Raises:
        DatasetError: As there; some objects have a split and others none, or
            a word is not one for a split.
    """
    rows = _rows(path, findings, order, split_columns)
    return by_split([(triple, word, triple.place) for triple, word in rows])


def _rows(
    path: Path,
    findings: Findings,
    order: Sequence[str],
    header: Callable[[Sequence[str]], Columns],
) -> Iterator[tuple[Triple, Any]]:
    # Triples, and what is said of their splits; None if nothing is.
    unused: dict[str, Place] = {}
    for place, item in read_items(path):
        row: dict[str, Any] = {}
        if isinstance(item, list) and len(item) == len(order):
            row = dict(zip(order, item, strict=True))
        elif isinstance(item, dict):
            values = list(item.values())
            columns = header(list(item))
            row = {key: values[at] for key, at in columns.items()}
            for at, key in enumerate(item):
                if at not in columns.values():
                    unused.setdefault(key, place)
        if len(row) < len(HRT):
            why = f'holds no triple: {_said(item)}; a triple has the '
            raise at_place(place, f'{why}keys {", ".join(HRT)}')
        try:
            labels = [labels_in(row[key], key) for key in HRT]
        except ValueError as error:
            raise at_place(place, str(error)) from None
        heads, relations, tails = labels
        found = [
            Triple(head, relation, tail, place)
            for head in heads
            for relation in relations
            for tail in tails
        ]
        if not found:
            message = f'no triple from {_said(item)}'
            findings.add('empty list', message, *place)
        elif len(found) > 1:
            message = f'{len(found)} triples from {_said(item)}'
            findings.add('list in a cell', message, *place)
        for triple in found:
            yield triple, row.get('split')
    for key, place in unused.items():
        message = f'not used: {shorten(key or "a column without a name")}'
        findings.add('unused column', message, *place)


def read_entries(
    path: Path,
    words: Sequence[str],
    findings: Findings,
    blank: list[Labels] | None = None,
) -> tuple[list[Entry], list[Entry]]:
    r"""Texts or names of entities, from objects with such keys; a value may
    be a list. A ``.json`` file may also map entities to values.

    Returns:
        The texts or names, and the readable names that stand beside them.
    """

    def rows() -> Iterator[tuple[Place, dict[str, int], list[Any]]]:
        for place, item in read_items(path, words):
            if not isinstance(item, dict):
                why = f'must be a JSON object: {_said(item)}'
                raise at_place(place, why)
            columns = entry_columns(list(item), words)
            if not columns:
                why = (
                    f'needs an entity (a key such as {", ".join(ENTITY[:3])}) '
                    f'and a value (such as {", ".join(words[:2])}), got the '
                    f'keys {shorten(", ".join(item))}'
                )
                raise at_place(place, why)
            yield place, columns, list(item.values())

    return read_entry_rows(rows(), findings, blank)


def read_items(
    path: Path, words: Sequence[str] = ()
) -> Iterator[tuple[Place, Any]]:
    r"""What the lines of a file hold, the array in a ``.json`` file, or the
    rows of a ``.parquet`` file, whose places are numbers of rows. With
    :obj:`words` for values, a ``.json`` file may map entities to values: an
    item each, with the keys ``'entity'`` and the first word.
    """
    if suffix_of(path) == PARQUET:
        for number, row in enumerate(read_parquet(path), 1):
            yield Place(path, number), row
        return
    lines = read_lines(path)
    if suffix_of(path) == '.json':
        try:
            whole = _whole(lines)
        except _TwiceError as error:
            raise at_place(Place(path), str(error)) from None
        maps = isinstance(whole, dict) and words
        if maps and not entry_columns(list(whole), words):
            for key, value in whole.items():
                yield Place(path), {'entity': key, words[0]: value}
            return
        if isinstance(whole, list):
            starts = _starts('\n'.join(lines))
            for line, item in zip(starts, whole, strict=True):
                yield Place(path, line), item
            return
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            item = json.loads(text, object_pairs_hook=_object)
        except _TwiceError as error:
            raise error_at(path, line, str(error)) from None
        except (ValueError, RecursionError) as error:
            raise error_at(path, line, f'is not JSON ({error})') from None
        yield Place(path, line), item


def _said(item: Any) -> str:
    return shorten(json.dumps(item, default=str))


def _whole(lines: list[str]) -> Any:
    # All lines as one value; None if they are not.
    try:
        return json.loads('\n'.join(lines), object_pairs_hook=_object)
    except _TwiceError:
        raise
    except (ValueError, RecursionError):
        return None


def _starts(text: str) -> Iterator[int]:
    # The line of each item of an array that can be read.
    decoder = json.JSONDecoder()
    at, line, told = text.index('[') + 1, 1, 0
    while True:
        at = _between(text, at)
        if text[at] == ']':
            return
        line, told = line + text.count('\n', told, at), at
        yield line
        _, at = decoder.raw_decode(text, at)


def _between(text: str, at: int) -> int:
    # Where the next item begins, or the array ends.
    while text[at].isspace() or text[at] == ',':
        at += 1
    return at


class _TwiceError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of a key that stands twice json would keep the last value alone.
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _TwiceError(
                    f'{shorten(key)} stands twice as a key of one object; '
                    'give it once, with a list of its values'
                )
            seen.add(key)
    return out
