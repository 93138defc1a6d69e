import gzip
import re
import sys
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.own import rdf
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.datasets.own.rdf import IRI, OWL, RDF, TYPE, read_rdf
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.table import Table

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


def read(path: Path) -> Table:
    table = Table({})
    read_rdf(path, table, 'train')
    return table


def test_rdf_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'pyoxigraph', None)
    with pytest.raises(ImportError, match=r'pip install "dsom_pyg\[rdf\]"'):
        read(tmp_path / 'a.nt')


def test_an_indented_line_is_no_blank_one(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    a, b, c, r = (f'<http://x/{x}>' for x in 'abcr')
    path.write_text(f'{a} {r} {b}.\n {b} {r} {c}.\n \n {c} {r} {a} .\n')
    found = [(x.head, x.tail) for x in read(path).triples['train']]
    ends = [(f'http://x/{x}', f'http://x/{y}') for x, y in ('ab', 'bc', 'ca')]
    assert sorted(found) == sorted(ends)


def test_ntriples(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    path.write_text(NT, encoding='utf-8')
    table = read(path)
    names, texts, findings = table.names, table.texts, table.findings
    assert table.triples['train'] == [
        ('http://x/A', 'http://x/r', 'http://x/B_b', (path, 2)),
        ('_:n1', 'http://x/r', 'http://x/A', (path, 4)),
        ('http://x/A', 'http://x/r', '_:n1', (path, 5)),
    ]
    assert [(each.entity[0], each.value) for each in names] == [
        ('http://x/A', 'A "a"')
    ]
    assert [
        (each.entity[0], each.value, each.place.line) for each in texts
    ] == [
        ('http://x/A', 'München', 8),
        ('http://x/B_b', 'b b', 10),
    ]
    assert table.literals['train'] == [
        ('http://x/A', 'http://x/size', '5', (path, 11))
    ]
    assert findings.counts == {'other language': 2}


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
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    path.write_text(f'# fine\n{line}\n', encoding='utf-8')
    with pytest.raises(DatasetError, match=re.escape(f'{path}:2: ')):
        read(path)


def test_literals_are_not_evaluated(tmp_path: Path) -> None:
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    kinds = '<http://www.w3.org/2001/XMLSchema#'
    path.write_text(
        f'<http://x/A> <http://x/r> "1E999999999"^^{kinds}decimal> .\n'
        f'<http://x/A> <http://x/r> "<a>"^^{kinds}XMLLiteral> .\n'
        f'<http://x/A> {label} "007"^^{kinds}integer> .\n'
    )
    table = read(path)
    assert (table.triples['train'], table.texts) == ([], [])
    assert [name.value for name in table.names] == ['007']
    tails = [row.tail for row in table.literals['train']]
    assert tails == ['1E999999999', '<a>']
    assert not table.findings.counts


def test_every_value_is_used_or_reported(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    values = '"A"@en', '"B"@en-GB', '" "@en', '"C"@de'
    path.write_text(
        ''.join(f'<http://x/A> {label} {value} .\n' for value in values)
    )
    table = read(path)
    findings = table.findings
    assert [name.value for name in table.names] == ['A']
    assert findings.counts == {
        'further name': 1,
        'empty value': 1,
        'other language': 1,
    }
    assert f"{path}:2: not used: 'B' of 'http://x/A'" in str(findings)


SHARED = """
@prefix : <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> .
:Auk :calls_at :Arnel, :Bude ; rdfs:label "Ferry Auk"@en, "Fähre Auk"@de ;
    foaf:depiction <http://example.org/auk.jpg> ; :length 12.5 .
:Gull :calls_at :Bude ; a :Ferry ; rdfs:comment "A ferry." .
:Bude :near [ :near :Arnel ] .
:calls_at a owl:ObjectProperty ; rdfs:label "calls at" .
"""
LEFT_OUT = {
    'image address': 1,
    'declaration': 1,
    'other language': 1,
}


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    ('syntax', 'suffix'),
    [
        ('turtle', '.ttl'),
        ('nt', '.nt'),
        ('nquads', '.nq'),
        ('trig', '.trig'),
        ('n3', '.n3'),
        ('xml', '.rdf'),
        ('xml', '.owl'),
        ('json-ld', '.jsonld'),
    ],
)
def test_every_syntax(syntax: str, suffix: str, tmp_path: Path) -> None:
    # rdflib writes what pyoxigraph reads.
    graph = rdflib.Dataset(default_union=True)
    graph.parse(data=SHARED, format='turtle')
    path = tmp_path / f'triples{suffix}.gz'
    path.write_bytes(gzip.compress(graph.serialize(format=syntax).encode()))
    table = read(path)
    triples = table.triples['train']
    assert len(triples) == 6
    at = 'http://example.org/'
    plain = [row[:3] for row in triples if '_:' not in ''.join(row[:3])]
    assert sorted(plain) == [
        (f'{at}Auk', f'{at}calls_at', f'{at}Arnel'),
        (f'{at}Auk', f'{at}calls_at', f'{at}Bude'),
        (f'{at}Gull', f'{at}calls_at', f'{at}Bude'),
        (f'{at}Gull', f'{RDF}type', f'{at}Ferry'),
    ]
    (middle,) = {row.tail for row in triples if row.tail[0] == '_'}
    ends = {(x.head, x.tail) for x in triples if x.relation == f'{at}near'}
    assert ends == {(f'{at}Bude', middle), (middle, f'{at}Arnel')}
    assert {(each.entity[0], each.value) for each in table.names} == {
        (f'{at}Auk', 'Ferry Auk'),
        (f'{at}calls_at', 'calls at'),
    }
    assert [each.value for each in table.texts] == ['A ferry.']
    [value] = table.literals['train']
    assert value[:3] == (f'{at}Auk', f'{at}length', '12.5')
    [address] = table.addresses
    assert address[:2] == ((f'{at}Auk',), f'{at}auk.jpg')
    assert table.findings.counts == LEFT_OUT
    # A node without a label is the same one at the next reading.
    assert read(path).triples['train'] == triples


def test_relations_of_wikidata_have_names(tmp_path: Path) -> None:
    item, direct = (
        f'http://www.wikidata.org/{x}/' for x in ('entity', 'prop/direct')
    )
    label = 'http://www.w3.org/2000/01/rdf-schema#label'
    (tmp_path / 'triples.nt').write_text(
        f'<{item}Q1> <{direct}P31> <{item}Q5> .\n'
        f'<{item}Q2> <{direct}P31> <{item}Q5> .\n'
        f'<{item}P31> <{label}> "instance of"@en .\n'
        f'<{item}Q1> <{direct}P18> <http://example.org/a.jpg> .\n'
    )
    dataset = MKGFolder(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.relation_names == ['instance of']
    assert dataset.num_entities == 3
    assert dataset.findings.counts['image address'] == 1


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('t.ttl', '<http://a> <http://r>\n .', ':2: cannot be read as TURTLE'),
        ('t.rdf', '<rdf:RDF>', 'cannot be read as RDF-XML'),
        ('t.jsonld', '{"@context": "http://x.org"}', 'read as JSON-LD'),
    ],
)
def test_rdf_that_cannot_be_read(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / name)


def test_an_entity_has_one_language(tmp_path: Path) -> None:
    rdfs = 'http://www.w3.org/2000/01/rdf-schema#'
    head = f'@prefix : <http://x.example/> . @prefix rdfs: <{rdfs}> . '
    head += '@prefix dbo: <http://dbpedia.org/ontology/> . '
    head += '@prefix schema: <http://schema.org/> .'
    said = (
        ':w schema:name "Wien"@de ; rdfs:label "Vienna"@en ; '
        'rdfs:comment "Hauptstadt"@de ; dbo:abstract "the capital"@en .'
        # What is in no language is in any; else there is one other.
        ':n rdfs:label "Nice" ; rdfs:comment "une ville"@fr . '
        ':g rdfs:label "Graz"@de ; rdfs:comment "Stadt"@de ; '
        'dbo:abstract "citta"@it . :w :near :n , :g .'
    )
    (tmp_path / 'graph.ttl').write_text(f'{head}\n{said}\n')
    options: Any = {'text_encoder': None, 'split': (1.0, 0.0, 0.0)}
    dataset = MKGFolder(tmp_path, **options)
    assert dataset.entity_names == ['Vienna', 'Nice', 'Graz']
    texts = [['the capital'], ['une ville'], ['Stadt']]
    assert dataset.entity_texts == texts


def test_language_and_types_are_told(tmp_path: Path) -> None:
    text = SHARED + ':Ferry rdfs:label "a ferry"@en .'
    (tmp_path / 'triples.ttl').write_text(text, encoding='utf-8')
    options: dict[str, Any] = {'split': (1.0, 0.0, 0.0)}
    dataset = MKGFolder(tmp_path, **options)
    assert 'type' in dataset.relation_names
    assert {'Ferry Auk', 'a ferry'} < set(dataset.entity_names)
    assert not any(dataset.entity_types)
    dataset = MKGFolder(tmp_path, language='de-AT', types='type', **options)
    assert 'type' not in dataset.relation_names
    assert 'Fähre Auk' in dataset.entity_names
    assert 'a ferry' not in dataset.entity_names
    types = dict(zip(dataset.entity_names, dataset.entity_types, strict=True))
    assert {name: each for name, each in types.items() if each} == {
        'Gull': ['a ferry']
    }
    assert dataset.findings.counts == {**LEFT_OUT, 'literal': 1, 'values': 1}
    with pytest.raises(ValueError, match=r"'relation', 'type'\), got 'keep'"):
        MKGFolder(tmp_path, types='keep')


def test_declarations_are_kept_on_request(tmp_path: Path) -> None:
    (tmp_path / 'triples.ttl').write_text(SHARED, encoding='utf-8')
    told = str(MKGFolder(tmp_path, split=(1.0, 0.0, 0.0)).findings)
    assert "declarations='keep' keeps it" in told
    dataset = MKGFolder(tmp_path, declarations='keep', split=(1.0, 0.0, 0.0))
    assert 'declaration' not in dataset.findings.counts
    assert {'calls at', 'ObjectProperty'} <= set(dataset.entity_names)
    with pytest.raises(ValueError, match='declarations must be one of'):
        MKGFolder(tmp_path, declarations='no')


def test_values_of_rdf_are_features_or_entities(tmp_path: Path) -> None:
    xsd = 'http://www.w3.org/2001/XMLSchema#'
    values = f"""
    :Auk :built "1962"^^<{xsd}gYear> ; :motto "Ever on" .
    :Gull :length 10.5 ; :built "1972"^^<{xsd}gYear> .
    """
    (tmp_path / 'triples.ttl').write_text(SHARED + values, encoding='utf-8')
    options: dict[str, Any] = {'split': (1.0, 0.0, 0.0)}
    left = MKGFolder(tmp_path, **options)
    assert left.findings.counts['literal'] == 5
    made = MKGFolder(tmp_path, literals='features', **options)
    # The motto is no number.
    assert made.findings.counts['literal'] == 1
    assert made.entity_names == left.entity_names
    x = made[0]['number'].x
    owners = made[0]['number', 'entity'].edge_index[1].tolist()
    names = [made.entity_names[each] for each in owners]
    rows = dict(zip(names, x.tolist(), strict=True))
    # z-scores of length and year, and that they are there.
    assert sorted(rows['Ferry Auk']) == [-1, 1, 1, 1]
    assert sorted(rows['Gull']) == [-1, 1, 1, 1]
    assert rows['Ferry Auk'] != rows['Gull']
    kept = MKGFolder(tmp_path, literals='keep', **options)
    added = {'12.5', '10.5', '1962', '1972', 'Ever on'}
    assert set(kept.entity_names) - set(left.entity_names) == added


def test_pictures_are_found_by_their_addresses(tmp_path: Path) -> None:
    (tmp_path / 'triples.nt').write_text(
        '<http://x/Q1> <http://x/r> <http://x/Q2> .\n'
        '<http://x/Q1> <http://www.wikidata.org/prop/direct/P18> '
        '<http://c.org/Special:FilePath/An%20Auk?width=9> .\n'
    )
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'An_Auk.jpg').write_bytes(b'')
    dataset = MKGFolder(tmp_path, split=(1.0, 0.0, 0.0))
    addresses = dataset.image_addresses
    assert addresses[0] == ['http://c.org/Special:FilePath/An%20Auk?width=9']
    names = [[path.name for path in each] for each in dataset.entity_images]
    assert names == [['An_Auk.jpg'], []]
    assert 'not fetched' in str(dataset.findings)


def test_pages_are_no_entities(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    wiki, item = 'https://en.wikipedia.org', 'http://www.wikidata.org/entity'
    (tmp_path / 'triples.nt').write_text(
        f'<{item}/Q1> <http://x/r> <{item}/Q2> .\n'
        f'<{wiki}/wiki/Auk> <http://schema.org/about> <{item}/Q1> .\n'
        f'<{wiki}/wiki/Auk> <http://schema.org/isPartOf> <{wiki}/> .\n'
        f'<{wiki}/wiki/Auk> <http://schema.org/name> "Auk"@en .\n'
    )
    dataset = MKGFolder(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.entity_names == ['Q1', 'Q2']
    assert dataset.findings.counts['page'] == 2
    kept = MKGFolder(tmp_path, declarations='keep', split=(1.0, 0.0, 0.0))
    assert kept.num_entities == 4


def test_an_address_goes_before_a_name(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    # The first entity is called as the picture of the second one is.
    (tmp_path / 'triples.nt').write_text(
        '<http://x/Auk> <http://x/r> <http://x/Q2> .\n'
        '<http://x/Q2> <http://schema.org/image> <http://c.org/Auk.jpg> .\n'
    )
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'Auk.jpg').write_bytes(b'')
    dataset = MKGFolder(tmp_path, split=(1.0, 0.0, 0.0))
    assert [len(each) for each in dataset.entity_images] == [0, 1]


ODD = st.sampled_from([*"az09/:?#%[]@-._~!'()ü€\ue000 ", '//', '%41', '::'])


@settings(max_examples=1000)
@given(st.lists(ODD, max_size=8).map(''.join), st.sampled_from(['h', 'u:h']))
def test_iris_that_need_no_parser(rest: str, scheme: str) -> None:
    word = f'<{scheme}:{rest}>'
    if IRI.fullmatch(word):
        line = f'{word} {word} {word} .'
        [quad] = ox.parse(input=line, format=ox.RdfFormat.N_TRIPLES)
        assert quad.subject.value == quad.object.value == word[1:-1]
        assert quad.predicate.value == word[1:-1]


STATEMENTS = (
    '<http://e.org/a> <http://e.org/r> <http://e.org/b> .',
    '<http://e.org/b> <http://e.org/r> <http://e.org/\u00fc> .',
    '_:x <http://e.org/r> _:y1 .',
    '_:x.y <http://e.org/r> <http://e.org/a> . # a comment',
    '<http://e.org/c><http://e.org/s><http://e.org/a>.',
    '<http://e.org/c>\t<http://e.org/s>\t<http://e.org/d>\t.',
    '<http://e.org/\\u0061> <http://e.org/s> <http://e.org/c> .',
    '<http://e.org/a> <http://e.org/n> "7" .',
    '<http://e.org/a> <http://www.w3.org/2000/01/rdf-schema#label> "A b"@en .',
    f'<http://e.org/a> <{TYPE}> <http://e.org/T> .',
    f'<http://e.org/a> <{TYPE}> <http://www.w3.org/2002/07/owl#Thing> .',
    '<http://e.org/a> <http://schema.org/image> <http://e.org/a.jpg> .',
    '<http://e.org/a> <http://schema.org/about> <http://e.org/b> .',
    f'<http://e.org/a> <{OWL}sameAs> <http://e.org/b> .',
    '# a comment of four words',
    '',
    '  ',
)


@given(
    st.lists(st.sampled_from(STATEMENTS), max_size=12),
    st.sampled_from(['\n', '\r\n']),
    st.sampled_from(['relation', 'type']),
    st.sampled_from(['leave', 'keep']),
)
def test_columns_and_statements_agree(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    end: str,
    types: str,
    declarations: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'a.nt'
    path.write_bytes(end.join(lines).encode())
    reading = Reading(types=types, declarations=declarations)
    tables = [Table({}), Table({})]
    read_rdf(path, tables[0], 'train', reading)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rdf, '_plain_rows', lambda *_: (None, None))
        read_rdf(path, tables[1], 'train', reading)
    if path.stat().st_size:
        assert isinstance(tables[0].triples['train'], TripleRows)
    assert tables[0].triples['train'] == tables[1].triples['train']
    for name in ('literals', 'texts', 'names', 'addresses', 'types'):
        assert getattr(tables[0], name) == getattr(tables[1], name)
    assert str(tables[0].findings) == str(tables[1].findings)


def test_the_line_of_an_error_between_plain_ones(tmp_path: Path) -> None:
    path = tmp_path / 'a.nt'
    lines = [STATEMENTS[0]] * 9
    lines[5] = '<http://e.org/a> <http://e.org/r> <http://e.org/b c> .'
    path.write_text('\n'.join(lines))
    with pytest.raises(DatasetError, match=r'a\.nt:6: cannot be read') as told:
        read_rdf(path, Table({}), 'train')
    # The parser saw one line.
    assert 'N-TRIPLES: Invalid IRI' in str(told.value)
