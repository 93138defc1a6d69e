import bz2
import gzip
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own import delimited, plain
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.table import Place, Table, Triple
from dsom_pyg.graph import SPLITS, get_split

CELL = st.sampled_from(
    ['a', 'b', 'c', ' a', 'b ', 'head', 'é', 'e\u0301', '"a"', '#', '1', '']
)
LINE = st.lists(CELL, max_size=5).map('\t'.join)
TEXT = st.lists(
    st.one_of(st.tuples(CELL, CELL, CELL).map('\t'.join), LINE), max_size=12
)


def by_rows(path: Path) -> tuple[list[Triple] | None, str]:
    """As read_triples, without columns."""
    findings = Findings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, '_plain_rows', lambda *_: None)
        try:
            return list(delimited.read_triples(path, findings)), str(findings)
        except DatasetError as error:
            return None, str(error)


@settings(max_examples=300)
@given(
    TEXT,
    st.sampled_from(['', 'head\trelation\ttail', 'tail\thead\tx\trelation']),
    st.sampled_from(['\n', '\r\n', '\r']),
    st.booleans(),
    st.sampled_from([8, 64, 2**20]),
)
def test_columns_and_rows_agree(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    header: str,
    end: str,
    closed: bool,
    block: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'triples.tsv'
    text = end.join([header, *lines] if header else lines) + end * closed
    path.write_bytes(text.encode())
    want, said = by_rows(path)
    findings = Findings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, 'BLOCK', block)
        if want is None:
            with pytest.raises(DatasetError, match=re.escape(said)):
                delimited.read_triples(path, findings)
            return
        got = delimited.read_triples(path, findings)
    assert list(got) == want
    assert str(findings) == said


@pytest.mark.parametrize(
    'text',
    [
        'a\tr\tb\nb\tr\tc\n',
        '\ufeffa\tr\tb\r\n\r\n b \tr\tc\r\n',
        'head\trelation\ttail\na\tr\tb',
        '# a comment\n\ntail\tx\thead\trelation\nb\t7\ta\tr\n',
        'é\tr\te\u0301\n#1\tr\tb\n',
    ],
)
def test_plain_files_are_read_by_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'triples.tsv'
    path.write_bytes(text.encode())
    found = delimited.read_triples(path, Findings())
    assert isinstance(found, TripleRows)
    assert list(found) == by_rows(path)[0]


@pytest.mark.parametrize(
    'raw',
    [
        b'a\tr\tb\n\xff\tr\tc\n',
        b'a\tr\tb\xff\nb\tr\tc\tx\xff\n',
        b'a\tr\tb\0\n',
        b'a\tr\tb\rb\tr\tc\n',
        'a\tr\tb\n'.encode('utf-16'),
        b'a\tr\tb\nb\tr\n',
        b'a\tr\tb\nb\t\tc\n',
        b'head\trelation\ttail\na\tr\tb\nhead\trelation\ttail\n',
        b'a\tr\tb\t2001-01-01\nb\tr\tc\n',
        b'1 2 3\n4 5 6\n',
        b'',
    ],
)
def test_other_files_are_read_by_rows(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / 'triples.tsv'
    path.write_bytes(raw)
    assert delimited._plain_rows(path, Findings(), delimited.HRT) is None


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress])
def test_compressed_files(tmp_path: Path, pack: object) -> None:
    suffix = '.gz' if pack is gzip.compress else '.bz2'
    path = tmp_path / f'triples.tsv{suffix}'
    path.write_bytes(pack(b'a\tr\tb\nb\tr\tc\n'))  # type: ignore[operator]
    found = delimited.read_triples(path, Findings())
    assert isinstance(found, TripleRows)
    assert found[1] == Triple('b', 'r', 'c', Place(path, 2))


CELLS = st.lists(st.text('ab"\'é ', max_size=2), min_size=1, max_size=5)


@settings(max_examples=200)
@given(
    st.lists(CELLS, min_size=1, max_size=20),
    st.integers(0, 3),
    st.sampled_from([4, 32, 2**20]),
)
def test_lines_that_are_not_alike(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    skip: int,
    block: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'cells.tsv'
    path.write_text('\n'.join(map('\t'.join, rows)) + '\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, 'BLOCK', block)
        found = plain.read_cells(path, '\t', 3, (0, 2), skip, others=True)
    if found is None:  # rows that are longer than a block, or no line
        assert block < 2**20 or len(rows) <= skip
        return
    want, others = {}, {}
    for number, cells in enumerate(rows, 1):
        if number > skip and len(cells) == 3:
            want[number] = [cells[0], cells[2]]
        elif number > skip and cells == ['']:
            want[number] = ['', '']
        elif number > skip:
            others[number] = '\t'.join(cells)
    got = {
        int(number): [found.labels[code] for code in found.codes[:, at]]
        for at, number in enumerate(found.lines)
    }
    assert got == want
    assert dict(found.others) == others


NAME = st.sampled_from(['a', 'b', 'c', 'd'])
ROWS = st.lists(st.tuples(NAME, NAME, NAME), max_size=8)


@given(st.lists(ROWS, max_size=4))
def test_rows(parts: list[list[tuple[str, str, str]]]) -> None:
    lists = [
        [
            Triple(*row, Place(Path(f'{at}.tsv'), number) if at else Place())
            for number, row in enumerate(rows, 1)
        ]
        for at, rows in enumerate(parts)
    ]
    every = TripleRows.concat([TripleRows.of(rows) for rows in lists])
    flat = [row for rows in lists for row in rows]
    assert every == flat
    assert len(set(every.labels)) == len(every.labels)
    mask = np.arange(len(flat)) % 2 == 0
    assert every.select(mask) == flat[::2]
    renamed = every.with_labels(['x' for _ in every.labels])
    assert renamed == [
        row._replace(head='x', relation='x', tail='x') for row in flat
    ]


@given(st.tuples(ROWS.filter(len), ROWS, ROWS))
def test_a_graph_as_by_hand(splits: tuple[list[tuple[str, str, str]]]) -> None:
    given = dict(zip(SPLITS, splits, strict=True))
    triples = {
        split: [
            Triple(*row, Place(Path(split), line))
            for line, row in enumerate(rows, 1)
        ]
        for split, rows in given.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        raw = build_graph(Table(dict(triples)))
    every = [row for rows in given.values() for row in rows]
    keys = list(dict.fromkeys(x for h, _, t in every for x in (h, t)))
    kinds = list(dict.fromkeys(r for _, r, _ in every))
    assert raw.extra['entity_keys'] == keys
    assert raw.extra['relation_keys'] == kinds
    want: Counter[str] = Counter()
    for split, rows in given.items():
        distinct = list(dict.fromkeys(rows))
        part = get_split(raw.data, split)
        assert distinct == [
            (keys[h], kinds[r], keys[t])
            for h, t, r in zip(
                *part.edge_index.tolist(), part.edge_type.tolist(), strict=True
            )
        ]
        if rows:
            places = raw.origins[split].lines.tolist()
            assert places == [rows.index(row) + 1 for row in distinct]
        want['duplicate triple'] += len(rows) - len(distinct)
        want['self loop'] += sum(h == t for h, _, t in distinct)
        if split != 'train':
            train = given['train']
            ends = {x for h, _, t in train for x in (h, t)}
            new = {x for h, _, t in rows for x in (h, t)} - ends
            want[f'entity of {split} not in train'] = len(new)
            new = {r for _, r, _ in rows} - {r for _, r, _ in train}
            want[f'relation of {split} not in train'] = len(new)
    for a, b in (('val', 'train'), ('val', 'test'), ('test', 'train')):
        shared = {*given[a]} & {*given[b]}
        want[f'{a} triple also in {b}'] = len(shared)
        found = raw.findings.examples.get(f'{a} triple also in {b}', [])
        rows = [row for row in dict.fromkeys(given[a]) if row in shared]
        assert [f'{x.line} {x.message.split(":")[-1]}' for x in found] == [
            f'{given[a].index(row) + 1} {given[b].index(row) + 1} too'
            for row in rows
        ]
    told = {k: n for k, n in raw.findings.counts.items() if 'swapped' not in k}
    assert told == +want
