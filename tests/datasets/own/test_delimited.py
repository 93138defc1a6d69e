import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own import delimited, objects
from dsom_pyg.datasets.own.columns import NAME, TEXT
from dsom_pyg.datasets.own.delimited import read_entries, read_triples
from dsom_pyg.datasets.own.table import Entry, Triple

ROWS = [('Norway', 'capital', 'Oslo'), ('Oslo', 'in', 'Norway')]


def triples(
    folder: Path, content: str | bytes, name: str = 't.tsv'
) -> tuple[list[Triple], dict[str, int]]:
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    findings = Findings()
    return read_triples(path, findings), findings.counts


def entries(
    folder: Path, content: str, name: str, words: tuple[str, ...] = TEXT
) -> tuple[list[Entry], list[Entry], dict[str, int]]:
    path = folder / name
    path.write_text(content, encoding='utf-8')
    findings = Findings()
    read = objects.read_entries if name[-1] == 'l' else read_entries
    return *read(path, words, findings), findings.counts


def labels(read: list[Triple]) -> list[tuple[str, ...]]:
    return [each[:3] for each in read]


def said(read: list[Entry]) -> list[tuple[tuple[str, ...], str]]:
    return [each[:2] for each in read]


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('t.tsv', 'Norway\tcapital\tOslo\nOslo\tin\tNorway\n'),
        ('t.txt', 'Norway\tcapital\tOslo\nOslo\tin\tNorway'),
        ('t.csv', 'Norway,capital,Oslo\nOslo,in,Norway\n'),
        ('t.csv', 'Norway;capital;Oslo\nOslo;in;Norway\n'),
        ('t.TSV', '\ufeffNorway\tcapital\tOslo\nOslo\tin\tNorway\n'),
        ('t.tsv', 'Norway\tcapital\tOslo\r\nOslo\tin\tNorway\r\n'),
        ('t.tsv', ' Norway \tcapital\t Oslo\nOslo\t in\tNorway\xa0\n'),
        ('t.csv', '"Norway","capital","Oslo"\r\nOslo,"in",Norway\r\n'),
        ('t.csv', 'Norway, "capital", Oslo\nOslo, in, Norway\n'),
    ],
)
def test_ways_to_write_the_same(
    tmp_path: Path, name: str, content: str
) -> None:
    read, counts = triples(tmp_path, content, name)
    path = tmp_path / name
    assert read == [(*row, (path, at)) for at, row in enumerate(ROWS, 1)]
    assert counts == {}


def test_blank_lines_keep_the_numbers(tmp_path: Path) -> None:
    read, _ = triples(tmp_path, '\n \na\tr\tb\n\t\t\n\nb\tr\tc\n\n')
    assert labels(read) == [('a', 'r', 'b'), ('b', 'r', 'c')]
    assert [each.place.line for each in read] == [3, 6]
    content = '\n;;\n"a, b";r;"c\nd"\n \n\xa0\n"e\nf";r;g\nh;r;i\n'
    read, _ = triples(tmp_path, content, 't.csv')
    assert labels(read) == [
        ('a, b', 'r', 'c\nd'),
        ('e\nf', 'r', 'g'),
        ('h', 'r', 'i'),
    ]
    assert [each.place.line for each in read] == [3, 7, 9]


@pytest.mark.parametrize(
    'name',
    [
        '"Weird Al" Yankovic',
        'The "King"',
        '"plain"',
        '"A ""B"" C"',
        '"',
        "O'Neill",
        'a, b; c',
        'a\u2028b',
    ],
)
@pytest.mark.parametrize('suffix', ['tsv', 'txt'])
def test_quotes_are_plain_between_tabs(
    tmp_path: Path, name: str, suffix: str
) -> None:
    content = f'{name}\tr\tb\nb\tr\t{name}\n'
    read, counts = triples(tmp_path, content, f't.{suffix}')
    assert labels(read) == [(name, 'r', 'b'), ('b', 'r', name)]
    assert counts == {}


def test_quotes_in_a_csv(tmp_path: Path) -> None:
    content = '"The ""King""",r,"b; c"\n"b; c",r,"x, y"\n'
    read, _ = triples(tmp_path, content, 't.csv')
    assert labels(read) == [('The "King"', 'r', 'b; c'), ('b; c', 'r', 'x, y')]


@pytest.mark.parametrize(
    ('content', 'row'),
    [
        # Commas make two columns, semicolons three.
        ('a, b;r;c', ('a, b', 'r', 'c')),
        # Commas cut a quoted cell.
        ('"a, b";r;c, d, e', ('a, b', 'r', 'c, d, e')),
        # Semicolons would leave quotes within cells.
        ('a;b,r,"c;d"', ('a;b', 'r', 'c;d')),
        ('"a;b",r,c;d', ('a;b', 'r', 'c;d')),
        # The first row decides.
        ('a,r,b\nc;d,r,e;f', ('a', 'r', 'b')),
    ],
)
def test_commas_or_semicolons(
    tmp_path: Path, content: str, row: tuple[str, ...]
) -> None:
    read, _ = triples(tmp_path, content, 't.csv')
    assert labels(read)[0] == row


@pytest.mark.parametrize(
    'content', ['a;b,r,c;d', 'Oslo, NO;capital of;Norway, EU']
)
def test_commas_and_semicolons(tmp_path: Path, content: str) -> None:
    want = r"t\.csv:2: both ',' and ';' may .*quote cells.*from_pandas"
    with pytest.raises(DatasetError, match=want):
        triples(tmp_path, f'\n{content}\n', 't.csv')
    # A header tells which it is.
    with_header = f'head;relation;tail\n{content}\n'
    read, _ = triples(tmp_path, with_header, 't.csv')
    assert labels(read) == [tuple(content.split(';'))]


@pytest.mark.parametrize(
    'header',
    [
        'head\trelation\ttail',
        'Subject\tPREDICATE\tobject',
        'h\tr\tt',
        'source\trelation\ttarget',
        'from\tgoes by\tto',
    ],
)
def test_a_header_is_skipped(tmp_path: Path, header: str) -> None:
    read, counts = triples(tmp_path, f'\n{header}\na\tr\tb\n')
    assert read == [('a', 'r', 'b', (tmp_path / 't.tsv', 3))]
    assert counts == {'header': 1}


def test_a_header_orders_the_columns(tmp_path: Path) -> None:
    content = ',tail,weight,head,relation\n0,b,1.5,a,r\n1,c,,b,r\n'
    read, counts = triples(tmp_path, content, 't.csv')
    assert labels(read) == [('a', 'r', 'b'), ('b', 'r', 'c')]
    assert counts == {'header': 1, 'unused column': 1}


def test_rows_that_are_no_header(tmp_path: Path) -> None:
    # Short names, and words in other places or not for all columns.
    for row in (
        ('s', 'x', 't'),
        ('Von', 'relation', 'Nach'),
        ('head', 'of', 'state'),
        ('start', 'type', 'end'),
    ):
        read, counts = triples(tmp_path, '\t'.join(row) + '\na\tr\tb\n')
        assert labels(read) == [row, ('a', 'r', 'b')]
        assert counts == {}


@pytest.mark.parametrize(
    ('name', 'content', 'line', 'message'),
    [
        ('t.tsv', 'a\tr\tb\na\tr\n', 2, r'expected 3 columns .*got 2: .a.tr'),
        ('t.tsv', 'a\tr\tb\na\tr\tb\t1\n', 2, 'expected 3 columns .* got 4'),
        ('t.tsv', '\na,r,b\n', 2, r"separated by '\\t', got 1"),
        ('t.txt', '\na r b\n', 2, r"separated by '\\t', got 1"),
        ('t.tsv', 'a\t\tb\n', 1, 'the relation is empty'),
        ('t.csv', 'a,r,b\na,r,"b\nc,r,d\n', 2, 'cannot be read as CSV'),
        ('t.csv', 'a,r,b\n"a" x,r,b\n', 2, 'a quote within .* twice'),
        ('t.csv', 'a,r,b\na,r,b,c\n', 2, 'got 4: .*quote cells'),
        ('t.csv', 'a;b\na;r;b\n', 1, "separated by ';', got 2"),
        ('t.csv', 'a|r|b\n', 1, "separated by ',', got 1: .*from_pandas"),
        ('t.csv', 'h,w,r,t\na,1,r,b\na,r,b\n', 3, 'expected 4 .* got 3'),
        ('t.csv', 'head,w,x,tail\n', 1, 'expected 3 .* got 4.*in a header'),
        ('t.csv', 'tail,relation,head\na,r,\n', 2, 'the head is empty'),
    ],
)
def test_malformed_rows(
    tmp_path: Path, name: str, content: str, line: int, message: str
) -> None:
    where = re.escape(f'{tmp_path / name}:{line}: ')
    with pytest.raises(DatasetError, match=f'{where}.*{message}'):
        triples(tmp_path, content, name)


def test_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=':2: is not UTF-8'):
        triples(tmp_path, 'a\tr\tb\nM\xfcnchen\tr\tb\n'.encode('latin-1'))


@pytest.mark.parametrize('end', ['', '\tr', '"'])
@pytest.mark.parametrize('suffix', ['tsv', 'csv', 'txt'])
def test_a_huge_line_makes_a_short_message(
    tmp_path: Path, suffix: str, end: str
) -> None:
    content = f'a\tr\tb\n"{"x" * 300_000}{end}\n'
    with pytest.raises(DatasetError) as caught:
        triples(tmp_path, content, f't.{suffix}')
    assert 't.' in str(caught.value)
    assert len(str(caught.value)) < 600


CELL = st.text(
    st.characters(exclude_categories=['C', 'Z']), min_size=1, max_size=6
)
TABLE = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6)


@given(TABLE, st.sampled_from(['\n', '\r\n']), st.booleans())
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    end: str,
    everything: bool,
) -> None:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    # The first row tells commas from semicolons and is no header.
    writer.writerows([('first', 'row', 'here'), *rows])
    folder = tmp_path_factory.getbasetemp()
    read, _ = triples(folder, out.getvalue(), 't.csv')
    assert labels(read)[1:] == rows


def test_texts(tmp_path: Path) -> None:
    content = 'Norway\tin the north, cold\nOslo\t\n\nNorway\t"quoted"\n'
    texts, names, counts = entries(tmp_path, content, 'texts.txt')
    path = tmp_path / 'texts.txt'
    assert texts == [
        (('Norway',), 'in the north, cold', (path, 1)),
        (('Norway',), '"quoted"', (path, 4)),
    ]
    assert names == []
    assert counts == {'empty value': 1}


def test_texts_in_a_csv(tmp_path: Path) -> None:
    content = 'Norway,"in the north; cold"\nOslo,a city; old\n'
    texts, _, _ = entries(tmp_path, content, 'texts.csv')
    assert said(texts) == [
        (('Norway',), 'in the north; cold'),
        (('Oslo',), 'a city; old'),
    ]
    with pytest.raises(DatasetError, match=r':1: both .*quote cells'):
        entries(tmp_path, 'Oslo,a city; old\n', 'texts.csv')


def test_texts_with_a_header_of_many_columns(tmp_path: Path) -> None:
    content = 'description,size,name,ID\n"cold, dark",5,Norway,Q20\n,,,Q1\n'
    texts, names, counts = entries(tmp_path, content, 'texts.csv')
    path = tmp_path / 'texts.csv'
    assert texts == [(('Q20', 'Norway'), 'cold, dark', (path, 2))]
    assert names == [(('Q20', 'Norway'), 'Norway', (path, 2))]
    assert counts == {'header': 1, 'unused column': 1, 'empty value': 1}


def test_names(tmp_path: Path) -> None:
    content = 'id\tname\nQ20\tNorway\n'
    names, others, counts = entries(tmp_path, content, 'n.tsv', NAME)
    assert said(names) == [(('Q20',), 'Norway')]
    assert others == []
    assert counts == {'header': 1}
    content = 'label,name\nQ20,Norway\n'
    names, _, _ = entries(tmp_path, content, 'n.csv', NAME)
    assert said(names) == [(('Q20',), 'Norway')]


def test_json_lines(tmp_path: Path) -> None:
    content = """
        {"entity": "Oslo", "text": "a city"}
        {"ID": 20, "name": "Norway", "description": ["cold", " ", "dark"]}

        {"name": "Sweden", "text": null}
        {"label": "Bergen", "text": 7}
    """
    texts, names, counts = entries(tmp_path, content, 'texts.jsonl')
    assert said(texts) == [
        (('Oslo',), 'a city'),
        (('20', 'Norway'), 'cold'),
        (('20', 'Norway'), 'dark'),
        (('Bergen',), '7'),
    ]
    assert [each.place.line for each in texts] == [2, 3, 3, 6]
    assert said(names) == [(('20', 'Norway'), 'Norway')]
    assert counts == {'empty value': 1}


def test_json_keys_that_do_not_matter(tmp_path: Path) -> None:
    content = """
        {"entity": "a", "text": "t", "label": ["x", "y"], "name": {"en": 1}}
        {"entity": "", "id": null, "title": "b", "key": 7, "text": "u"}
    """
    texts, names, counts = entries(tmp_path, content, 'texts.jsonl')
    assert said(texts) == [(('a',), 't'), (('7', 'b'), 'u')]
    assert said(names) == [(('7', 'b'), 'b')]
    assert counts == {}


@pytest.mark.parametrize(
    ('name', 'content', 'line', 'message'),
    [
        ('t.tsv', 'Oslo\ta city\nOslo\n', 2, 'expected 2 columns .*value'),
        ('t.tsv', '\ta city\n', 1, 'label of the entity is missing'),
        ('t.txt', 'Oslo, a city\n', 1, r"separated by '\\t', got 1"),
        ('t.csv', 'a,b\na,b, c\n', 2, 'got 3: .*quote cells'),
        ('t.csv', 'id,name,blurb\n', 1, 'expected 2 .* got 3.*in a header'),
        ('t.jsonl', '{"entity": "a", "text": "b"}\n{"a"\n', 2, 'is not JSON'),
        ('t.jsonl', '["a", "b"]\n', 1, 'must be a JSON object'),
        ('t.jsonl', '{"entity": "a"}\n', 1, r"needs .* the keys 'entity'"),
        ('t.jsonl', '{"text": "a", "x": 1}\n', 1, 'needs an entity'),
        ('t.jsonl', '{"id": [1], "text": "a"}\n', 1, "'id' must be a string"),
        (
            't.jsonl',
            '{"id": 1, "text": {}}\n',
            1,
            'must be a string or a list',
        ),
        ('t.jsonl', '[' * 100_000, 1, 'is not JSON'),
        (
            't.jsonl',
            '{"id": "a", "text": "b"}\n{"id": "a", "text": "b", "text": ""}',
            2,
            "'text' stands twice as a key of one object; give it once, with",
        ),
    ],
)
def test_malformed_entries(
    tmp_path: Path, name: str, content: str, line: int, message: str
) -> None:
    where = re.escape(f'{tmp_path / name}:{line}: ')
    with pytest.raises(DatasetError, match=f'{where}.*{message}'):
        entries(tmp_path, content, name)


def test_cells_may_be_long(tmp_path: Path) -> None:
    before = csv.field_size_limit(1000)
    try:
        long, cell = 'x' * 5000, 'line\n' * 2000 + 'end'
        read, _ = triples(tmp_path, f'a,r,{long}\nb,r,"{cell}"\n', 't.csv')
        assert labels(read) == [('a', 'r', long), ('b', 'r', cell)]
        with pytest.raises(DatasetError, match='expected 3 columns'):
            triples(tmp_path, f'a,r,{long}\nb,r\n', 't.csv')
        # The limit is one for the whole interpreter.
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize('name', ['triples.tsv', 'triples.csv'])
@pytest.mark.parametrize('by_rows', [False, True])
def test_quotes_around_every_cell_are_told(
    name: str, by_rows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_rows:
        monkeypatch.setattr(delimited, '_plain_rows', lambda *_: None)
    path, findings = tmp_path / name, Findings()
    mark = ',' if name.endswith('csv') else '\t'
    rows = ['"a"', '"r"', '"b"'], ['"b"', '"r"', '"c"']
    path.write_text('\n'.join(map(mark.join, rows)))
    found = read_triples(path, findings)
    if mark == ',':
        assert (found[0].head, findings.counts) == ('a', {})
        return
    assert found[0].head == '"a"'
    assert findings.counts == {'quotes around cells': 1}
    # Some names are in quotes.
    path.write_text('\n'.join(map(mark.join, [*rows, ['b', 'r', 'd']])))
    findings = Findings()
    read_triples(path, findings)
    assert findings.counts == {}
