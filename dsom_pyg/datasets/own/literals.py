"""Numbers and dates among the tails: they are no entities."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

import numpy as np
import torch

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.table import Triple

# What is to happen to them.
CHOICES = ('leave', 'keep', 'features')
MODALITY = 'number'
NUMBER = re.compile(
    r'[-+]?(\d+([.,]\d+)*|\.\d+)([eE][-+]?\d+)?'
    r'|[-+]?\d{4}([-/.][\d#]{1,2}){1,2}([T ][\d:.]+(Z|[-+]\d\d:?\d\d)?)?'
    r'|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}'
)
TIME = re.compile(r'[T ].*')
DATE = re.compile(
    r'([-+]?\d{4})'
    r'(?:[-/](\d{1,2})(?:[-/.](\d{1,2}))?|\.(\d{1,2})[-/.](\d{1,2}))'
    r'(?![\d.,])'
)
DAY_FIRST = re.compile(r'\d{1,2}[-/.]\d{1,2}[-/.](\d{2,4})')
# One comma stands before a fraction, unless it can part thousands.
THOUSANDS = re.compile(r'[-+]?[1-9]\d{0,2},\d{3}')
# Years of two digits are of the last century from here on.
CENTURY = 30
# A literal of RDF between tabs.
QUOTED = re.compile(r'"(.*)"(?:@[\w-]+|\^\^.+)', re.DOTALL)
STARTS = frozenset('+-.0123456789')
ADVICE = (
    "and are left out; literals='features' makes a modality of numbers, "
    "literals='keep' makes entities"
)
# Of the triples of a relation, and of the heads of a graph.
SHARE, IDS = 0.9, 0.5
# Different numbers from which on it is no code, such as 0 and 1.
MANY = 5


def literal_relations(
    triples: Iterable[Triple], entities: Iterable[str] = ()
) -> dict[str, int]:
    r"""The relations whose tails are numbers or dates, and how many triples
    each has.

    A number that is the head of a triple is an entity; so are all numbers of
    a graph whose entities are called by numbers, and those that its source
    lists (:obj:`entities`).
    """
    rows = TripleRows.of(triples)
    head, relation, tail = rows.codes
    size = len(rows.labels)
    # Most labels begin with a letter.
    like = [at for at, x in enumerate(rows.labels) if x[:1] in STARTS]
    number = np.zeros(size, bool)
    number[like] = [is_number(rows.labels[at]) for at in like]
    heads = np.zeros(size, bool)
    heads[head] = True
    if np.count_nonzero(number & heads) > IDS * np.count_nonzero(heads):
        return {}
    if number.any():
        listed = {*entities}
        number[like] &= [rows.labels[at] not in listed for at in like]
    told = (number & ~heads)[tail]
    if not told.any():
        return {}
    count = np.bincount(relation, minlength=size)
    numbers = np.bincount(relation[told], minlength=size)
    pairs = np.unique(relation[told].astype(np.int64) * size + tail[told])
    different = np.bincount(pairs // size, minlength=size)
    found = (different >= MANY) & (numbers >= SHARE * count)
    places = np.flatnonzero(found).tolist()
    return {rows.labels[at]: int(count[at]) for at in places}


def is_number(label: str) -> bool:
    r"""Whether a label is a number or a date."""
    return label[:1] in STARTS and bool(NUMBER.fullmatch(label))


def value_of(label: str) -> float:
    r"""What a number or a date counts: a date its year, with its month and
    day as a fraction.
    """
    text = TIME.sub('', label).replace('#', '0')
    if found := DATE.match(text):
        year, *rest = (int(x) for x in found.groups() if x is not None)
        month, day = (*rest, 1, 1)[:2]
        return year + (max(month, 1) - 1) / 12 + (max(day, 1) - 1) / 365
    if found := DAY_FIRST.fullmatch(text):
        year = int(found[1])
        if len(found[1]) == 2:
            year += 1900 if year >= CENTURY else 2000
        return float(year)
    # Of two marks the last one is that of the fraction.
    if ',' in text and '.' in text:
        thousands = ',' if text.rfind(',') < text.rfind('.') else '.'
        text = text.replace(thousands, '')
    if text.count(',') == 1 and not THOUSANDS.fullmatch(text):
        text = text.replace(',', '.')
    text = text.replace(',', '')
    if text.count('.') > 1:
        text = text.replace('.', '')
    return float(text)


# Literals of RDF are values, in a table, too. Those of a split, and the
# other rows.
def _without_quoted(rows: TripleRows) -> tuple[TripleRows, list[Triple]]:
    quoted = {
        label: found[1]
        for label in rows.labels
        if label[:1] == '"' and (found := QUOTED.fullmatch(label))
    }
    if not quoted:
        return rows, []
    codes = [at for at, label in enumerate(rows.labels) if label in quoted]
    mask = np.isin(rows.codes[2], codes)
    values = (x._replace(tail=quoted[x.tail]) for x in rows.select(mask))
    return rows.select(~mask), list(values)


def check_literals(word: str) -> None:
    r"""Whether there is such a choice; :class:`ValueError` if not."""
    if word not in CHOICES:
        raise ValueError(f'literals must be one of {CHOICES}, got {word!r}')


def take_out(
    triples: Mapping[str, TripleRows],
    values: Mapping[str, Sequence[Triple]],
    literals: str,
    findings: Findings,
    entities: Iterable[str] = (),
) -> tuple[dict[str, TripleRows], list[Triple]]:
    r"""All splits without what :func:`literal_relations` finds there, and
    the numbers that train has.

    Args:
        triples: All splits.
        values: By split, triples whose tails are values for sure.
        literals: One of :data:`CHOICES`.
        findings: Of what is taken out and not used.
        entities: Those that the source lists. They stay, unless numbers are
            to be features.
    """
    out: dict[str, TripleRows] = {}
    said = {split: list(rows) for split, rows in values.items()}
    for split, rows in triples.items():
        out[split], quoted = _without_quoted(rows)
        if quoted:
            said.setdefault(split, []).extend(quoted)
    splits = dict.fromkeys([*out, *said])
    nothing = TripleRows.of([])
    if literals == 'keep':
        both = {
            x: [out.get(x, nothing), TripleRows.of(said.get(x, ()))]
            for x in splits
        }
        return {x: TripleRows.concat(parts) for x, parts in both.items()}, []
    listed = entities if literals == 'leave' else ()
    found = literal_relations(TripleRows.concat(list(out.values())), listed)
    if found:
        named = ', '.join(map(shorten, found))
        message = (
            f'{sum(found.values())} tails of {len(found)} relations ({named}) '
            f'are numbers or dates, '
        )
        message += ADVICE if literals == 'leave' else 'and become features'
        findings.add('numbers among the tails', message)
    told = [row for rows in said.values() for row in rows]
    if told and literals == 'leave':
        relations = list(dict.fromkeys(row.relation for row in told))
        named = ', '.join(map(shorten, relations[:5]))
        message = f'{len(told)} values of {len(relations)} relations '
        findings.add('values', f'{message}({named}) are no entities, {ADVICE}')
    numbers = []
    for split in splits:
        taken: list[Triple] = []
        if found and split in out:
            rows = out[split]
            codes = [at for at, x in enumerate(rows.labels) if x in found]
            mask = np.isin(rows.codes[1], codes)
            out[split] = rows.select(~mask)
            taken = list(rows.select(mask))
        for row in (*taken, *said.get(split, ())):
            # What val and test say is not known while training.
            known = split == 'train' and is_number(row.tail)
            known = known and isfinite(value_of(row.tail))
            if literals == 'features' and known:
                numbers.append(row)
                continue
            message = f'not used: {shorten(row.tail)} of '
            message += shorten(row.relation)
            findings.add('literal', message, *row.place)
    return out, numbers


def number_features(
    rows: Iterable[tuple[int, str, str]],
) -> Features | None:
    r"""Features of entities from the numbers that are said of them.

    Of L relations, column l holds the z-score of the mean value that relation
    l gives the entity, 0 without one, and column L + l whether there is one.

    Args:
        rows: Entity, relation and number.
    """
    said: dict[str, defaultdict[int, list[float]]] = {}
    for entity, relation, number in rows:
        values = said.setdefault(relation, defaultdict(list))
        values[entity].append(value_of(number))
    owners = sorted({entity for values in said.values() for entity in values})
    if not owners:
        return None
    at = {entity: index for index, entity in enumerate(owners)}
    x = torch.zeros(len(owners), 2 * len(said), dtype=torch.double)
    for column, values in enumerate(said.values()):
        rows_of = torch.tensor([at[entity] for entity in values]).long()
        means = [sum(each) / len(each) for each in values.values()]
        mean = torch.tensor(means, dtype=torch.double)
        spread = mean.std(correction=0) if len(means) else mean
        score = (mean - mean.mean()) / spread.clamp(min=1e-12)
        x[rows_of, column] = score
        x[rows_of, len(said) + column] = 1
    return Features(x.float(), torch.tensor(owners))
