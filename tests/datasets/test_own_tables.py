import csv
import io
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.headers import NAME, TEXT, triple_columns
from dsom_pyg.datasets.tables import Item, Part, read_items, read_triples

ROWS = [('Norway', 'capital', 'Oslo'), ('Oslo', 'in', 'Norway')]


def triples(
    folder: Path, content: str | bytes, name: str = 'triples.tsv'
) -> tuple[Part, dict[str, int]]:
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(data)
    findings = Findings()
    return read_triples(path, findings), findings.counts


def items(
    folder: Path, content: str, name: str, words: tuple[str, ...] = TEXT
) -> tuple[list[Item], dict[str, int]]:
    path = folder / name
    path.write_text(content, encoding='utf-8')
    findings = Findings()
    return read_items(path, words, findings), findings.counts


@pytest.mark.parametrize(
    ('name', 'content', 'noticed'),
    [
        ('t.tsv', 'Norway\tcapital\tOslo\nOslo\tin\tNorway\n', {}),
        ('t.txt', 'Norway\tcapital\tOslo\nOslo\tin\tNorway', {}),
        ('t.csv', 'Norway,capital,Oslo\nOslo,in,Norway\n', {}),
        ('t.csv', 'Norway;capital;Oslo\nOslo;in;Norway\n', {'separator': 1}),
        ('t.txt', 'Norway capital Oslo\nOslo in Norway\n', {'separator': 1}),
        ('t.TSV', '\ufeffNorway\tcapital\tOslo\nOslo\tin\tNorway\n', {}),
        ('t.tsv', 'Norway\tcapital\tOslo\r\nOslo\tin\tNorway\r\n', {}),
        ('t.tsv', ' Norway \tcapital\t Oslo\nOslo\t in\tNorway\xa0\n', {}),
        ('t.tsv', '"Norway"\t"capital"\tOslo\nOslo\tin\t"Norway"\n', {}),
        ('t.csv', '"Norway","capital","Oslo"\r\nOslo,"in",Norway\r\n', {}),
        ('t.csv', 'Norway, "capital", Oslo\nOslo, in, Norway\n', {}),
    ],
)
def test_ways_to_write_the_same(
    tmp_path: Path, name: str, content: str, noticed: dict[str, int]
) -> None:
    part, counts = triples(tmp_path, content, name)
    assert part.rows == ROWS
    assert part.lines == [1, 2]
    assert part.file == tmp_path / name
    assert counts == noticed


def test_blank_lines_keep_the_numbers(tmp_path: Path) -> None:
    part, _ = triples(tmp_path, '\n \na\tr\tb\n\t\t\n\nb\tr\tc\n\n')
    assert part.rows == [('a', 'r', 'b'), ('b', 'r', 'c')]
    assert part.lines == [3, 6]
    part, _ = triples(tmp_path, 'a,r,b\n,,\n\n"b\nc",r,d\ne,r,f\n', 't.csv')
    assert part.rows[1:] == [('b\nc', 'r', 'd'), ('e', 'r', 'f')]
    assert part.lines == [1, 4, 6]


def test_the_separator_of_cells_over_several_lines(tmp_path: Path) -> None:
    content = '"a, b";r;"c\nd"\n \n' * 30
    part, counts = triples(tmp_path, content, 't.csv')
    assert part.rows == [('a, b', 'r', 'c\nd')] * 30
    assert part.lines == list(range(1, 90, 3))
    assert counts == {'separator': 1}


@pytest.mark.parametrize(
    ('cell', 'name'),
    [
        ('"Weird Al" Yankovic', '"Weird Al" Yankovic'),
        ('The "King"', 'The "King"'),
        ('"Weird Al" and "Fat Boy"', '"Weird Al" and "Fat Boy"'),
        ('"A ""B"" C"', 'A "B" C'),
        ('"plain"', 'plain'),
        ('"', '"'),
        ('AC/DC', 'AC/DC'),
        ("O'Neill", "O'Neill"),
        ('a\u2028b', 'a\u2028b'),
    ],
)
def test_quotes_in_a_tsv(tmp_path: Path, cell: str, name: str) -> None:
    part, _ = triples(tmp_path, f'{cell}\tr\tb\nb\tr\tc\n')
    assert part.rows == [(name, 'r', 'b'), ('b', 'r', 'c')]


@pytest.mark.parametrize(
    'header',
    [
        'head\trelation\ttail',
        'Subject\tPREDICATE\tobject',
        'h\tr\tt',
        'source\trelation\ttarget',
        'from\tgoes by\tto',
        '"Head" \t Relation\tTail',
        'entity1\trelation\tentity2',
        'node1\tedge\tnode2',
        'start\trelation\tend',
        'head_id\trelation_id\ttail_id',
        'Subject ID\tPredicate\tObject ID',
        'e1\tr\te2',
        'head_name\trelation\ttail_name',
        'head-label\tgoes by\ttail-label',
    ],
)
def test_a_header_is_skipped(tmp_path: Path, header: str) -> None:
    part, counts = triples(tmp_path, f'\n{header}\na\tr\tb\n')
    assert part.rows == [('a', 'r', 'b')]
    assert part.lines == [3]
    assert counts == {'header': 1}


def test_a_header_orders_the_columns(tmp_path: Path) -> None:
    content = ',tail,weight,head,relation\n0,b,1.5,a,r\n1,c,,b,r\n'
    part, counts = triples(tmp_path, content, 't.csv')
    assert part.rows == [('a', 'r', 'b'), ('b', 'r', 'c')]
    assert counts == {'header': 1, 'unused column': 1}


def test_names_that_look_like_a_header(tmp_path: Path) -> None:
    # A header does not come again as an entity.
    for first in ('e1\tr\te2', 'node1\tedge\tnode2', 'Start\ttype\tEnd'):
        tail = first.split('\t')[2]
        part, counts = triples(tmp_path, f'{first}\n{tail}\tr\tx\n')
        assert part.rows[0] == tuple(first.split('\t'))
        assert 'header' not in counts


def test_maybe_a_header(tmp_path: Path) -> None:
    rows = 'a\tr\tb\nb\tr\tc\n'
    part, counts = triples(tmp_path, f'Von\tRelation\tNach\n{rows}')
    assert part.rows[0] == ('Von', 'Relation', 'Nach')
    assert counts == {'maybe a header': 1}
    for first in ('x\tr\ty', 'x\tlikes\ty', 'x\ttype\ty\nz\ttype\ty'):
        assert triples(tmp_path, f'{first}\n{rows}')[1] == {}
    findings = Findings()
    path = tmp_path / 'one.tsv'
    path.write_text('\nx\tedge_id\ty\n')
    read_triples(path, findings)
    assert [each.line for each in findings] == [2]


@pytest.mark.parametrize(
    ('content', 'rows', 'noticed'),
    [
        # The separator is followed by no space.
        (
            'Oslo, NO;capital of;Norway, EU',
            [('Oslo, NO', 'capital of', 'Norway, EU')],
            {'separator': 1, 'ambiguous separator': 1},
        ),
        ('a;b,r,c;d', [('a;b', 'r', 'c;d')], {'ambiguous separator': 1}),
        # Only one of them leaves no quote within a cell.
        ('"a, b";r;c, d, e', [('a, b', 'r', 'c, d, e')], {'separator': 1}),
        ('a;b,r,"c;d"', [('a;b', 'r', 'c;d')], {}),
        # Only one of them gives three columns.
        ('a, b, x;r;c, d, y', [('a, b, x', 'r', 'c, d, y')], {'separator': 1}),
        # Hardly any name holds a tab.
        ('a, x\tr\tb, y', [('a, x', 'r', 'b, y')], {'separator': 1}),
    ],
)
def test_several_separators_fit(
    tmp_path: Path, content: str, rows: object, noticed: dict[str, int]
) -> None:
    part, counts = triples(tmp_path, content, 't.csv')
    assert part.rows == rows
    assert counts == noticed


def test_separators_of_a_txt(tmp_path: Path) -> None:
    for content in ('New York\tin, by\tthe USA', 'New York,in,the USA'):
        part, counts = triples(tmp_path, content, 't.txt')
        assert part.rows[0][0] == 'New York'
        assert 'ambiguous separator' not in counts
    with pytest.raises(DatasetError, match=r"separated by '\\t', got 4"):
        triples(tmp_path, 'a\tr\tb\tw, x, y', 't.txt')
    with pytest.raises(DatasetError, match="separated by ',', got 4"):
        triples(tmp_path, 'a b,x,y,z w', 't.txt')


@pytest.mark.parametrize(
    ('cells', 'places'),
    [
        (['tail', 'relation', 'head'], (2, 1, 0)),
        (['id', 'h', 'r', 't'], (1, 2, 3)),
        (['to', 'from', 'how'], (1, 2, 0)),
        (['head', 'head_id', 'relation', 'tail_id', 'tail'], (0, 2, 4)),
        (['Subject ID', 'x', 'Object Label'], (0, 1, 2)),
        (['e1', 'e2', 'relation'], (0, 2, 1)),
        # These alone may be names.
        (['e1', 'x', 'e2'], None),
        (['start', 'x', 'end'], None),
        # Single letters alone may be names.
        (['s', 'x', 't'], None),
        (['Norway', 'capital', 'Oslo'], None),
        (['head', 'of', 'state'], None),
        (['head', 'x', 'y', 'tail'], None),
        (['tail'], None),
    ],
)
def test_what_is_a_header(
    cells: list[str], places: tuple[int, ...] | None
) -> None:
    found = triple_columns(cells)
    assert (found and tuple(found.values())) == places


@pytest.mark.parametrize(
    ('name', 'content', 'line', 'message'),
    [
        ('t.tsv', 'a\tr\tb\na\tr\n', 2, r'3 columns \(head.* got 2: .a.tr'),
        ('t.tsv', 'a\tr\tb\na\tr\tb\t1\n', 2, 'expected 3 columns .* got 4'),
        ('t.tsv', '\na,r,b\n', 2, r"separated by '\\t', got 1"),
        ('t.tsv', 'a\t\tb\n', 1, 'column 2 is empty'),
        ('t.tsv', 'a\tr\t""\n', 1, 'column 3 is empty'),
        ('t.csv', 'a,r,b\na,r,"b\nc,r,d\n', 2, 'cannot be read as CSV'),
        ('t.csv', 'a,r,b\n"a" x,r,b\n', 2, 'a quote within .* twice'),
        ('t.csv', 'a,r,b\na,r,b,c\n', 2, 'got 4: .*quote cells'),
        ('t.csv', 'h,w,r,t\na,1,r,b\na,r,b\n', 3, 'expected 4 .* got 3'),
        ('t.csv', 'tail,relation,head\na,r,\n', 2, 'column 3 is empty'),
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
    # The first row fixes the separator and is no header.
    writer.writerows([('first', 'row', 'here'), *rows])
    folder = tmp_path_factory.getbasetemp()
    part, _ = triples(folder, out.getvalue(), 't.csv')
    assert part.rows[1:] == rows


def test_texts(tmp_path: Path) -> None:
    content = 'Norway\tin the north, cold\nOslo\t\n\nNorway\t"quoted"\n'
    found, counts = items(tmp_path, content, 'texts.txt')
    assert [each[:3] for each in found] == [
        (('Norway',), 'in the north, cold', None),
        (('Norway',), 'quoted', None),
    ]
    assert [each.line for each in found] == [1, 4]
    assert counts == {'empty value': 1}


def test_texts_with_a_header_of_many_columns(tmp_path: Path) -> None:
    content = 'description,size,name,ID\n"cold, dark",5,Norway,Q20\n'
    found, counts = items(tmp_path, content, 'texts.csv')
    path = tmp_path / 'texts.csv'
    item = Item(('Q20', 'Norway'), 'cold, dark', 'Norway', path, 2)
    assert found == [item]
    assert counts == {'header': 1, 'unused column': 1}


@pytest.mark.parametrize(
    'word', ['desc', 'content', 'definition', 'bio', 'about', 'Text_Label']
)
def test_what_texts_are_called(tmp_path: Path, word: str) -> None:
    content = f'id,name,{word}\nQ20,Norway,cold\n'
    found, _ = items(tmp_path, content, 'descriptions.csv')
    assert [each[:3] for each in found] == [
        (('Q20', 'Norway'), 'cold', 'Norway')
    ]


def test_plain_words_go_first(tmp_path: Path) -> None:
    content = 'text_id,text,entity_id\n5,cold,Q20\n'
    found, _ = items(tmp_path, content, 'texts.csv')
    assert [each[:2] for each in found] == [(('Q20',), 'cold')]
    found, _ = items(tmp_path, 'label,name\nQ20,Norway\n', 'n.csv', NAME)
    assert [each[:2] for each in found] == [(('Q20',), 'Norway')]


@pytest.mark.parametrize(
    ('header', 'words', 'word'),
    [
        ('id,name,blurb', TEXT, 'text'),
        ('id,name', TEXT, 'text'),
        ('id,description', NAME, 'name'),
    ],
)
def test_a_header_without_what_is_asked_for(
    tmp_path: Path, header: str, words: tuple[str, ...], word: str
) -> None:
    row = ','.join('abc'[: header.count(',') + 1])
    want = f':1: the header .* names no column with a {word}; call .* "{word}"'
    with pytest.raises(DatasetError, match=want):
        items(tmp_path, f'{header}\n{row}\n', 'i.csv', words)


def test_names(tmp_path: Path) -> None:
    found, counts = items(tmp_path, 'id\tname\nQ20\tNorway\n', 'n.tsv', NAME)
    assert [each[:3] for each in found] == [(('Q20',), 'Norway', None)]
    assert counts == {'header': 1}


def test_json_lines(tmp_path: Path) -> None:
    content = """
        {"entity": "Oslo", "text": "a city"}
        {"ID": 20, "name": "Norway", "description": ["cold", " ", "dark"]}

        {"name": "Sweden", "text": null}
        {"label": "Bergen", "text": 7}
    """
    found, counts = items(tmp_path, content, 'texts.jsonl')
    assert [each[:3] for each in found] == [
        (('Oslo',), 'a city', None),
        (('20', 'Norway'), 'cold', 'Norway'),
        (('20', 'Norway'), 'dark', 'Norway'),
        (('Bergen',), '7', None),
    ]
    assert [each.line for each in found] == [2, 3, 3, 6]
    assert counts == {'empty value': 1}


def test_json_keys_that_do_not_matter(tmp_path: Path) -> None:
    content = """
        {"entity": "a", "text": "t", "label": ["x", "y"], "name": {"en": 1}}
        {"entity": "", "id": null, "title": "b", "key": 7, "text": "u"}
    """
    found, counts = items(tmp_path, content, 'texts.jsonl')
    assert [each[:3] for each in found] == [
        (('a',), 't', None),
        (('7', 'b'), 'u', 'b'),
    ]
    assert counts == {}


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    content = r"""
        {"id": "a\ud800", "name": "\udc00b", "text": "c\ud800d"}
        {"id": "a", "text": "\ud83d\ude00"}
    """
    found, _ = items(tmp_path, content, 'texts.jsonl')
    assert [each[:3] for each in found] == [
        (('a\ufffd', '\ufffdb'), 'c\ufffdd', '\ufffdb'),
        (('a',), '\U0001f600', None),
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'line', 'message'),
    [
        ('t.tsv', 'Oslo\ta city\nOslo\n', 2, 'expected 2 columns .*value'),
        ('t.tsv', '\ta city\n', 1, 'column 1 is empty'),
        ('t.txt', 'Oslo, a city\n', 1, r"separated by '\\t', got 1"),
        ('t.csv', 'a,b\na,b, c\n', 2, 'got 3: .*quote cells'),
        ('t.jsonl', '{"entity": "a", "text": "b"}\n{"a"\n', 2, 'is not JSON'),
        ('t.jsonl', '["a", "b"]\n', 1, 'must be a JSON object'),
        ('t.jsonl', '{"entity": "a"}\n', 1, r"needs .* the keys 'entity'"),
        ('t.jsonl', '{"text": "a", "x": 1}\n', 1, 'needs an entity'),
        ('t.jsonl', '{"id": [1], "text": "a"}\n', 1, "'id' must be a string"),
        ('t.jsonl', '{"id": 1, "text": {}}\n', 1, "'text' must be a string"),
        ('t.jsonl', '[' * 100_000, 1, 'is not JSON'),
    ],
)
def test_malformed_items(
    tmp_path: Path, name: str, content: str, line: int, message: str
) -> None:
    where = re.escape(f'{tmp_path / name}:{line}: ')
    with pytest.raises(DatasetError, match=f'{where}.*{message}'):
        items(tmp_path, content, name)


def test_rdf_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dsom_pyg.datasets.rdf import read_ntriples

    monkeypatch.setitem(sys.modules, 'rdflib', None)
    with pytest.raises(ImportError, match=r'pip install "dsom_pyg\[rdf\]"'):
        read_ntriples(tmp_path / 'a.nt', Findings())


NT = """\
# A comment
<http://x/A> <http://x/r> <http://x/B_b> .

_:n1\t<http://x/r>  <http://x/A> . # of a blank node
<http://x/A> <http://x/r> _:n1 .
<http://x/A> <http://www.w3.org/2000/01/rdf-schema#label> "Ah"@fr .
<http://x/A> <http://www.w3.org/2000/01/rdf-schema#label> "A \\"a\\""@en-GB .
<http://x/A> <http://schema.org/description> "M\\u00fcnchen" .
<http://x/A> <http://schema.org/description> "auf deutsch"@de .
<http://x/B_b> <http://www.w3.org/2000/01/rdf-schema#comment> "b b"@de .
<http://x/A> <http://x/size> "5"^^<http://www.w3.org/2001/XMLSchema#int> .
"""


def test_ntriples(tmp_path: Path) -> None:
    pytest.importorskip('rdflib')
    from dsom_pyg.datasets.rdf import read_ntriples

    path = tmp_path / 'triples.nt'
    path.write_text(NT, encoding='utf-8')
    findings = Findings()
    part, names, texts = read_ntriples(path, findings)
    assert part.rows == [
        ('http://x/A', 'http://x/r', 'http://x/B_b'),
        ('_:n1', 'http://x/r', 'http://x/A'),
        ('http://x/A', 'http://x/r', '_:n1'),
    ]
    assert part.lines == [2, 4, 5]
    assert [(each.entity[0], each.value) for each in names] == [
        ('http://x/A', 'A "a"')
    ]
    assert [(each.entity[0], each.value, each.line) for each in texts] == [
        ('http://x/A', 'München', 8),
        ('http://x/B_b', 'b b', 10),
    ]
    assert findings.counts == {'literal': 1, 'other language': 2}


@pytest.mark.parametrize(
    'line',
    [
        '<http://x/A> <http://x/r> <http://x/B>',
        '<http://x/A> "r" <http://x/B> .',
        'A\tr\tB',
        '<A> <http://x/r> <http://x/B> .',
        '<A> <http://x/A> <http://x/r> <http://x/B> .',
        '<http://x/A> <http://x/r> <http://x/B> . <http://x/C>',
        '<http://x/a b> <http://x/r> <http://x/B> .',
    ],
)
def test_no_ntriples(tmp_path: Path, line: str) -> None:
    pytest.importorskip('rdflib')
    from dsom_pyg.datasets.rdf import read_ntriples

    path = tmp_path / 'triples.nt'
    path.write_text(f'# fine\n{line}\n', encoding='utf-8')
    with pytest.raises(DatasetError, match=re.escape(f'{path}:2: ')):
        read_ntriples(path, Findings())
