"""What separates the columns of a table."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice

from dsom_pyg.datasets.headers import is_header

# What may separate columns, by suffix; the first that fits counts.
SEPARATORS = {'.csv': ',;\t|', '.tsv': '\t', '.txt': '\t,;| '}
# Rows that are looked at to find the separator.
SAMPLE = 20


def separators(lines: Sequence[str], suffix: str, columns: int) -> list[str]:
    r"""What may separate the columns, the likeliest first; at least one.

    All rows of the sample must have as many cells. Where that goes for
    several marks, those count that make the right number of columns, leave
    no quote within a cell, and are followed by no space.

    Args:
        lines: Of the table.
        suffix: A key of :data:`SEPARATORS`.
        columns: How many are needed: 2 for items, 3 for triples.
    """
    marks = SEPARATORS[suffix]
    if suffix == '.txt' and columns == 2:
        marks = '\t'  # texts are full of commas
    samples = {mark: _sample(lines, suffix, mark) for mark in marks}
    fit = [
        mark
        for mark, rows in samples.items()
        if len({len(row) for row in rows}) == 1 and len(rows[0]) >= columns
    ]
    # Names may hold spaces, but hardly ever tabs.
    fit = [mark for mark in fit if mark != ' '] or fit or [marks[0]]
    right = [
        mark
        for mark in fit
        if samples[mark]
        and (
            len(samples[mark][0]) == columns
            or is_header(samples[mark][0], columns)
        )
    ]
    if '\t' in fit and '\t' in (*right, marks[0]):
        return ['\t']
    if not right:
        return fit[:1]
    whole = [
        mark
        for mark in right
        if (rows := _sample(lines, suffix, mark, strict=True))
        and not any('"' in cell for row in rows for cell in row)
    ]
    return sorted(
        whole or right,
        key=lambda mark: any(f'{mark} ' in line for line in lines),
    )


def ended(lines: Sequence[str]) -> Iterator[str]:
    r"""The lines as :mod:`csv` wants them."""
    return (f'{line}\n' for line in lines)


def split(line: str, separator: str) -> list[str]:
    r"""The cells of a line without quotes that matter."""
    return line.split() if separator == ' ' else line.split(separator)


def _sample(
    lines: Sequence[str], suffix: str, mark: str, strict: bool = False
) -> list[list[str]]:
    rows = (
        csv.reader(
            ended(lines),
            delimiter=mark,
            skipinitialspace=True,
            strict=strict,
        )
        if suffix == '.csv'
        else (split(line, mark) for line in lines)
    )
    try:
        filled = (row for row in rows if any(map(str.strip, row)))
        return list(islice(filled, SAMPLE))
    except csv.Error:  # to be reported with its line
        return []
