"""Numbers and dates among the tails: they are no entities."""

import re
from collections import defaultdict
from collections.abc import Iterable

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.table import Triple

# What is to happen to them.
CHOICES = ('leave', 'keep')
NUMBER = re.compile(
    r'[-+]?(\d+([.,]\d+)*|\.\d+)([eE][-+]?\d+)?'
    r'|[-+]?\d{1,4}([-/.][\d#]{1,2}){1,2}([T ][\d:.]+(Z|[-+]\d\d:?\d\d)?)?'
    r'|\d{1,2}([-/.]\d{1,2}){1,2}[-/.]\d{2,4}'
)
STARTS = frozenset('+-.0123456789')
# Of the triples of a relation, and of the heads of a graph.
SHARE, IDS = 0.9, 0.5
# Different numbers from which on it is no code, such as 0 and 1.
MANY = 5
Triples = dict[str, list[Triple]]


def literal_relations(triples: Iterable[Triple]) -> dict[str, int]:
    r"""The relations whose tails are numbers or dates, and how many triples
    each has.

    A number that is the head of a triple is an entity; so are all numbers of
    a graph whose entities are called by numbers.
    """
    triples = list(triples)
    heads = {row.head for row in triples}
    numbers = sum(map(is_number, heads))
    if numbers > IDS * len(heads):
        return {}
    tails: defaultdict[str, list[str]] = defaultdict(list)
    for row in triples:
        tails[row.relation].append(row.tail)
    out = {}
    for relation, found in tails.items():
        told = [x for x in found if is_number(x) and x not in heads]
        if len(set(told)) >= MANY and len(told) >= SHARE * len(found):
            out[relation] = len(found)
    return out


def is_number(label: str) -> bool:
    r"""Whether a label is a number or a date."""
    # Most labels begin with a letter.
    return label[:1] in STARTS and bool(NUMBER.fullmatch(label))


def leave_out(triples: Triples, findings: Findings) -> Triples:
    r"""All splits without what :func:`literal_relations` finds there."""
    every = [row for split in triples.values() for row in split]
    found = literal_relations(every)
    if not found:
        return triples
    out: Triples = {}
    for split, rows in triples.items():
        out[split] = [row for row in rows if row.relation not in found]
        for row in rows:
            if row.relation in found:
                message = f'not used: {shorten(row.tail)} of '
                message += shorten(row.relation)
                findings.add('literal', message, *row.place)
    named = ', '.join(map(shorten, found))
    message = (
        f'{sum(found.values())} tails of {len(found)} relations ({named}) are '
        "numbers or dates, and left out; literals='keep' makes them entities"
    )
    findings.add('numbers among the tails', message)
    return out
