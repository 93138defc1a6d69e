"""A small graph that tests write down in every layout: ferries and ports."""

import itertools
import random

FERRIES = ['Ferry Auk', 'Ferry Brent', 'Ferry Eider', 'Ferry Gull', 'Sgarbh']
PORTS = ['Port Arnel', 'Port Bude', 'Port Crail', 'Doune', 'Port Elie']
GOODS = ['mail', 'salt', 'wool', 'oats', 'coal']
ENTITIES = [*FERRIES, *PORTS, *GOODS]
RELATIONS = ['calls at', 'carries', 'home port', 'sea route to']
Row = tuple[str, str, str]


def rows() -> list[Row]:
    """59 triples in a shuffled order; the first 40 have everything in them."""
    calls = [(f, 'calls at', p) for f, p in itertools.product(FERRIES, PORTS)]
    out = [row for at, row in enumerate(calls) if at % 4]
    goods = itertools.product(FERRIES, GOODS)
    out += [(f, 'carries', g) for at, (f, g) in enumerate(goods) if at % 7 < 4]
    out += [
        (f, 'home port', p) for f, p in zip(FERRIES, PORTS[::-1], strict=True)
    ]
    for one, other in itertools.combinations(PORTS, 2):
        out += [(one, 'sea route to', other), (other, 'sea route to', one)]
    draw = random.Random(0)
    draw.shuffle(out)
    # What occurs for the first time goes to the front.
    seen: set[str] = set()
    first = []
    for row in out:
        if not seen >= set(row):
            first.append(row)
            seen |= set(row)
    return first + [row for row in out if row not in first]


ROWS = rows()
SPLITS = {'train': ROWS[:42], 'valid': ROWS[42:50], 'test': ROWS[50:]}
