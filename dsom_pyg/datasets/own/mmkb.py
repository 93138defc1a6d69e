"""Files of MMKB: lines of words between spaces or tabs, perhaps in ``<>``."""

import re
from collections.abc import Iterator
from pathlib import Path

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.own.table import Entry, Place, Triple
from dsom_pyg.datasets.text import plain_name, read_lines

# Their names may begin with that of the graph.
NAME = re.compile(
    r'(?:[^_]+_)?(entitytriples|numericaltriples|numericliterals|sameaslink'
    r'|imageindex)\.(?:txt|nt)'
)
PARTS = {
    'entitytriples': 'all',
    'numericaltriples': 'numbers',
    'numericliterals': 'numbers',
    'sameaslink': 'other ids',
    'imageindex': 'image ids',
}
WORD = re.compile(r'<([^<>]*)>|"((?:[^"\\]|\\.)*)"(?:\^\^\S+|@\S+)?|(\S+)')


def part_of(path: Path) -> str | None:
    r"""The part that a file of MMKB plays; :obj:`None` for another file.

    There may be several files with other ids, or with ids of images.
    """
    found = NAME.fullmatch(plain_name(path))
    part = PARTS[found[1]] if found else None
    return f'{part} {path.name}' if part and part.endswith('ids') else part


def read_triples(path: Path) -> list[Triple]:
    r"""Triples, from lines such as ``/m/02 /film/genre /m/07 .``."""
    rows = ((place, words) for place, words in _lines(path, 3))
    return [Triple(h, r, t, place) for place, (h, r, t) in rows]


def read_ids(path: Path) -> list[Entry]:
    r"""What else an entity is called, from lines such as ``/m/02 <SameAs>
    <http://dbpedia.org/resource/Auk> .`` or ``/m/02 FBIMG00001``.
    """
    width = 2 if 'imageindex' in plain_name(path) else 3
    return [
        Entry((words[0], words[-1]), '', place)
        for place, words in _lines(path, width)
    ]


def _lines(path: Path, width: int) -> Iterator[tuple[Place, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        bare = re.sub(r'\s+\.$', '', line.strip())
        words = [''.join(filter(None, x)) for x in WORD.findall(bare)]
        if len(words) != width or '' in words:
            why = f'expected {width} words and perhaps a full stop, got '
            raise error_at(path, number, why + shorten(line))
        yield Place(path, number), words
