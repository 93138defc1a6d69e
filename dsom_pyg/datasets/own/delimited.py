"""Tables: cells between tabs, commas or semicolons, or those of a sheet."""

import csv
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.columns import (
    HRT,
    Columns,
    by_split,
    entry_columns,
    read_entry_rows,
    split_columns,
    split_of,
    triple_columns,
)
from dsom_pyg.datasets.own.plain import read_cells
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.sheets import SHEET, Row, read_sheet
from dsom_pyg.datasets.own.table import Entry, Labels, Place, Triple
from dsom_pyg.datasets.text import read_bytes, read_lines, suffix_of
from dsom_pyg.graph import SPLITS

# What may follow a triple: a date, or a qualifier in angle brackets or quotes.
QUALIFIER = re.compile(
    r'|\.|-?\d{4}|\d+[-/:.#]\d*[-/:.#][\d#][-\d:.#TZ+ ]*'
    r'|<.*>|".*"(\^\^.*|@.*)?'
)
FACT = re.compile(r'<id_.*>')
# What Excel writes above a table, for itself.
SEPARATOR = re.compile(r'"?sep=.?"?', re.IGNORECASE)
IDS = re.compile(r'\d+( +\d+)+')
# Bytes of a file that tell what it holds.
TOP = 2**20
_read_csv = partial(csv.reader, skipinitialspace=True, strict=True)
_csv_limit = threading.Lock()


def read_triples(
    path: Path, findings: Findings, order: Sequence[str] = HRT
) -> Sequence[Triple]:
    r"""Triples from a table with the columns head, relation and tail.

    A header may name them in another order, among others, with the words of
    :data:`~dsom_pyg.datasets.own.columns.TRIPLE`. Cells are stripped, blank
    lines and comments above the data (``#``) skipped. A time or qualifiers
    behind a triple are left out. A ``.csv`` file has commas or semicolons
    and quotes as RFC 4180 says; ``.xlsx`` is the first sheet of a workbook;
    any other file has tabs, and its quotes are plain characters.

    Args:
        path: The file.
        findings: Of what is left out.
        order: Of the columns, where no header names them.

    Raises:
        DatasetError: A row has too few or too many cells or an empty one, or
            the file may be read in two ways.
    """
    plain = _plain_rows(path, findings, order)
    if plain is not None:
        return plain['train']
    rows = _rows(path, findings, order, triple_columns)
    return [triple for triple, _ in rows]


def read_splits(
    path: Path, findings: Findings, order: Sequence[str] = HRT
) -> Mapping[str, Sequence[Triple]]:
    r"""As :func:`read_triples`, by split, where a header names a column
    ``split``; else all are of train.

    Raises:
        DatasetError: As there, or a word is not one for a split.
    """
    plain = _plain_rows(path, findings, order, split_columns)
    if plain is not None:
        return plain
    rows = _rows(path, findings, order, split_columns)
    return by_split([(triple, word, triple.place) for triple, word in rows])


def _rows(
    path: Path,
    findings: Findings,
    order: Sequence[str],
    header: Callable[[Sequence[str]], Columns],
) -> list[tuple[Triple, str]]:
    # Triples, and what is said of their splits.
    columns, rows = read_columns(path, order, header, findings)
    head, relation, tail = (columns[each] for each in HRT)
    at = columns.get('split')
    triples = []
    for line, row in rows:
        triple = Triple(row[head], row[relation], row[tail], Place(path, line))
        if '' in triple:
            empty = HRT[triple.index('')]
            raise error_at(path, line, f'the {empty} is empty')
        triples.append((triple, '' if at is None else row[at]))
    cells = ((x.head, x.relation, x.tail) for x, _ in triples)
    _note_quotes(path, chain.from_iterable(cells), findings)
    return triples


def _note_quotes(path: Path, cells: Iterable[str], findings: Findings) -> None:
    # They are plain characters where tabs separate, but not around each cell.
    first = ''
    for cell in cells:
        if not (len(cell) > 1 and cell[0] == cell[-1] == '"'):
            return
        first = first or cell
    if first:
        message = f'every cell is in quotes, which are kept: {shorten(first)}'
        message += '; save the file without, or as .csv'
        findings.add('quotes around cells', message, path)


# Most files are plain: cells between tabs, as many in each row. They are read
# by columns. None of another one, which is read row by row.
def _plain_rows(
    path: Path,
    findings: Findings,
    order: Sequence[str],
    header: Callable[[Sequence[str]], Columns] = triple_columns,
) -> dict[str, TripleRows] | None:
    if suffix_of(path) in ('.csv', SHEET):
        return None
    lines, noticed = _top(path), Findings()
    _skip_comments(path, lines, '\t', len(HRT), triple_columns, noticed)
    skip = next((at for at, line in enumerate(lines) if line.strip()), None)
    if skip is None or IDS.fullmatch(lines[skip].strip()):
        return None
    cells = [cell.strip() for cell in lines[skip].split('\t')]
    columns, width = header(cells), len(cells)
    named = len(columns) >= len(HRT)
    if named:
        skip += 1
        _note_header(path, skip, cells, columns, noticed)
    elif width == len(HRT):
        columns = dict(zip(order, range(width), strict=True))
    else:
        return None
    wanted = [columns[each] for each in (*HRT, 'split') if each in columns]
    found = read_cells(path, '\t', width, wanted, skip)
    if found is None:
        return None
    rows = TripleRows(found.labels, found.codes, [path], lines=found.lines)
    rows = rows.with_labels([label.strip() for label in rows.labels])
    if '' in rows.labels:
        empty = rows.codes == rows.labels.index('')
        blank = empty.all(axis=0)
        if width > len(HRT) or empty[:, ~blank].any():
            return None
        rows = rows.select(~blank)
    above = [cells[at] for at in wanted]
    if named and set(above) <= set(rows.labels):
        codes = [[rows.labels.index(word)] for word in above]
        if (rows.codes == codes).all(axis=0).any():
            return None  # files that were joined repeat their header
    try:
        splits = _splits_of(rows)
    except ValueError:  # who reads it row by row can say where
        return None
    findings.extend(noticed)
    _note_quotes(path, rows.labels, findings)
    return splits


def _splits_of(rows: TripleRows) -> dict[str, TripleRows]:
    # By the fourth column, if there is one.
    told = rows.codes[len(HRT) :]
    where = rows.files, rows.file, rows.lines
    rows = TripleRows(rows.labels, rows.codes[: len(HRT)], *where)
    if not len(told):
        return {'train': rows}
    masks = {split: np.zeros(len(rows), bool) for split in SPLITS}
    for code in np.unique(told).tolist():
        masks[split_of(rows.labels[code])] |= told[0] == code
    return {split: rows.select(mask) for split, mask in masks.items()}


def _top(path: Path) -> list[str]:
    # The first lines of a file.
    raw = read_bytes(path, TOP)
    if len(raw) == TOP:
        raw = raw[: raw.rfind(b'\n') + 1]
    lines = raw.decode('utf-8-sig', 'replace').split('\n')
    return [line.removesuffix('\r') for line in lines]


def _note_header(
    path: Path,
    line: int,
    cells: Sequence[str],
    columns: Columns,
    findings: Findings,
) -> None:
    message = f'skipped the header {shorten(str(cells))}'
    findings.add('header', message, path, line)
    used = columns.values()
    named = [cell or 'a column without a name' for cell in cells]
    unused = [name for at, name in enumerate(named) if at not in used]
    if unused:
        message = f'not used: {shorten(", ".join(unused))}'
        findings.add('unused column', message, path, line)


def read_entries(
    path: Path,
    words: Sequence[str],
    findings: Findings,
    blank: list[Labels] | None = None,
) -> tuple[list[Entry], list[Entry]]:
    r"""Texts or names of entities, from a table.

    It has two columns, entity and value, or a header that names them among
    others, with one of the :obj:`words` for the value.

    Returns:
        The texts or names, and the readable names that stand beside them.
    """
    header = partial(entry_columns, words=words)
    columns, cells = read_columns(path, ('entity', 'value'), header, findings)
    rows = ((Place(path, line), columns, row) for line, row in cells)
    return read_entry_rows(rows, findings, blank)


def read_columns(
    path: Path,
    plain: Sequence[str],
    header: Callable[[Sequence[str]], Columns],
    findings: Findings,
) -> tuple[Columns, list[Row]]:
    r"""The places of the columns, and the rows that are not blank. All rows
    are as long as the first one, but for what may follow a triple.

    Args:
        path: The file.
        plain: The columns, where no header names them.
        header: The places of columns in a header, fewer if it is none.
        findings: Of what is left out.
    """
    width = len(plain)
    if suffix_of(path) == SHEET:
        mark, rows = '', read_sheet(path, findings)
    else:
        mark, rows = _split(path, width, header, findings)
    stripped = ((line, [x.strip() for x in cells]) for line, cells in rows)
    filled = [row for row in stripped if any(row[1])]
    columns = header(filled[0][1]) if filled else {}
    columns_named = len(columns) >= width
    if not columns_named:
        columns = dict(zip(plain, range(width), strict=True))
    else:
        line, cells = filled.pop(0)
        width = len(cells)
        _note_header(path, line, cells, columns, findings)
        filled = _without(path, cells, filled, findings)
    if not columns_named and width == len(HRT) and not _counts(filled):
        _cut_fact_ids(path, filled, findings)
        _cut_qualifiers(path, filled, findings)
    for line, cells in filled:
        if len(cells) != width:
            between = f' separated by {mark!r}' if mark else ''
            why = (
                f'expected {width} columns{between}, got {len(cells)}: '
                f'{shorten((mark or " | ").join(cells))}; correct the line, '
            )
            if mark == '\t' and len(cells) == 1 and ' ' in cells[0]:
                why += 'put tabs where spaces are, '
            elif mark in ',;':
                why += 'quote cells, '
            why += (
                f'name further columns in a header ({", ".join(plain)}), or '
                f'read the file with pandas and use from_pandas'
            )
            raise error_at(path, line, why)
    return columns, filled


def _without(
    path: Path, header: list[str], rows: list[Row], findings: Findings
) -> list[Row]:
    # Files that were joined repeat their header.
    out = []
    for line, cells in rows:
        if cells == header:
            message = f'skipped the header {shorten(str(cells))} once more'
            findings.add('header', message, path, line)
        else:
            out.append((line, cells))
    return out


def _split(
    path: Path,
    width: int,
    header: Callable[[Sequence[str]], Columns],
    findings: Findings,
) -> tuple[str, list[Row]]:
    # What separates the cells of a text, and its rows.
    lines, comma = read_lines(path), suffix_of(path) == '.csv'
    marks = ',;' if comma else '\t'
    _skip_comments(path, lines, marks, width, header, findings)

    def fits(cells: list[str]) -> bool:
        return len(cells) == width or len(header(cells)) >= width

    if comma:
        with _long_cells(lines):
            mark = _find_mark(path, lines, fits)
            return mark, _csv_rows(path, lines, mark)
    # Of ids there may be spaces instead: they are in none.
    ids = all(map(IDS.fullmatch, filter(None, map(str.strip, lines))))
    between = None if ids else '\t'
    rows = [(n, line.split(between)) for n, line in enumerate(lines, 1)]
    return '\t', rows


def _skip_comments(
    path: Path,
    lines: list[str],
    marks: str,
    width: int,
    header: Callable[[Sequence[str]], Columns],
    findings: Findings,
) -> None:
    # Blank the lines above the data that begin with '#', and take the mark
    # from a header. A line with as many cells as a row is a row, unless a
    # header comes behind it.
    for at, line in enumerate(lines):
        if at == 0 and SEPARATOR.fullmatch(line):
            findings.add('comment', f'skipped {shorten(line)}', path, 1)
            lines[at] = ''
            continue
        if line.strip() and not line.lstrip().startswith('#'):
            return
        bare = line.lstrip().lstrip('#').lstrip()
        if any(len(header(bare.split(mark))) >= width for mark in marks):
            lines[at] = bare
            return
        behind = (x for x in lines[at + 1 :] if x.strip())
        first = next((x for x in behind if x.lstrip()[:1] != '#'), '')
        named = any(len(header(first.split(m))) >= width for m in marks)
        if not named and any(len(line.split(m)) == width for m in marks):
            message = f'kept as a row: {shorten(line)}'
            findings.add('row like a comment', message, path, at + 1)
            return
        if line.strip():
            message = f'skipped {shorten(line)}'
            findings.add('comment', message, path, at + 1)
            lines[at] = ''


def _counts(rows: Sequence[Row]) -> bool:
    # Whether the first cells count the rows: then they are no heads.
    first = [cells[0] for _, cells in rows]
    start = 0 if first[:1] == ['0'] else 1
    return first == [str(at) for at in range(start, start + len(first))]


def _cut_fact_ids(path: Path, rows: Sequence[Row], findings: Findings) -> None:
    # YAGO has the id of a fact before each, or nothing there.
    ids = {cells[0] for _, cells in rows if len(cells) > len(HRT)} - {''}
    whole = all(len(cells) > len(HRT) for _, cells in rows)
    if not (ids and whole and all(map(FACT.fullmatch, ids))):
        return
    message = f'not used: ids of facts, such as {shorten(min(ids))}'
    findings.add('unused column', message, path)
    for _, cells in rows:
        del cells[0]


def _cut_qualifiers(
    path: Path, rows: Sequence[Row], findings: Findings
) -> None:
    # A time may be a plain number, too, where every row has one. But two
    # numbers, such as 1 and -1, tell true triples from false ones.
    width = len(HRT)
    fourth = {cells[width] if len(cells) > width else '' for _, cells in rows}
    steps = len(fourth) > 2 and all(map(str.isdecimal, fourth))
    for line, cells in rows:
        more = cells[width:]
        told = [x for x in more[1:] if x != '0'] if steps else more
        if more and all(map(QUALIFIER.fullmatch, told)):
            message = f'not used: {shorten(", ".join(more))}'
            findings.add('time or qualifier', message, path, line)
            del cells[width:]


@contextmanager
def _long_cells(lines: Sequence[str]) -> Iterator[None]:
    # A cell may be as long as its file. The limit of the csv module is one
    # for the whole interpreter, so it is put back.
    with _csv_limit:
        before = csv.field_size_limit()
        longest = max(before, sum(len(x) + 1 for x in lines))
        csv.field_size_limit(min(longest, 2**31 - 1))  # a C long
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _csv_rows(path: Path, lines: Sequence[str], mark: str) -> list[Row]:
    reader = _read_csv((f'{line}\n' for line in lines), delimiter=mark)
    rows, start = [], 1
    try:
        for cells in reader:
            rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        why = (
            f'cannot be read as CSV ({error}): {shorten(lines[start - 1])}; a '
            f'quote within a quoted cell is written twice, and every quoted '
            f'cell ends with one'
        )
        raise error_at(path, start, why) from None
    return rows


def _find_mark(
    path: Path, lines: Sequence[str], fits: Callable[[list[str]], object]
) -> str:
    # Comma or semicolon: what splits the first row as it should be.
    filled = (n for n, x in enumerate(lines) if x.strip().strip(' ,;'))
    start = next(filled, 0)
    rows: dict[str, list[str]] = {}
    for mark in ',;':
        # An error is told with its line when all rows are read.
        with suppress(csv.Error, StopIteration):
            ended = (f'{line}\n' for line in lines[start:])
            rows[mark] = next(_read_csv(ended, delimiter=mark))
    marks = [mark for mark, row in rows.items() if fits(row)]
    if len(marks) == 2 and rows[','] != rows[';']:  # not a lone cell
        # A mark in a quoted cell leaves its quotes in two cells.
        marks = [mark for mark in marks if '"' not in ''.join(rows[mark])]
        if len(marks) != 1:
            why = (
                f"both ',' and ';' may separate the columns of "
                f'{shorten(lines[start])}; quote cells, or read the file '
                f'with pandas and use from_pandas'
            )
            raise error_at(path, start + 1, why)
    return max(marks or rows, key=lambda x: len(rows[x]), default=',')
