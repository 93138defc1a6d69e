import gzip
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import rdflib

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.datasets.own.rdf import RDF, read_rdf

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


def test_rdf_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'pyoxigraph', None)
    with pytest.raises(ImportError, match=r'pip install "dsom_pyg\[rdf\]"'):
        read_rdf(tmp_path / 'a.nt', Findings())


def test_ntriples(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    path.write_text(NT, encoding='utf-8')
    findings = Findings()
    triples, names, texts = read_rdf(path, findings)
    assert triples == [
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
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    path.write_text(f'# fine\n{line}\n', encoding='utf-8')
    with pytest.raises(DatasetError, match=re.escape(f'{path}:2: ')):
        read_rdf(path, Findings())


def test_literals_are_not_evaluated(tmp_path: Path) -> None:
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    kinds = '<http://www.w3.org/2001/XMLSchema#'
    path.write_text(
        f'<http://x/A> <http://x/r> "1E999999999"^^{kinds}decimal> .\n'
        f'<http://x/A> <http://x/r> "<a>"^^{kinds}XMLLiteral> .\n'
        f'<http://x/A> {label} "007"^^{kinds}integer> .\n'
    )
    findings = Findings()
    triples, names, texts = read_rdf(path, findings)
    assert (triples, texts) == ([], [])
    assert [name.value for name in names] == ['007']
    assert "'1E999999999' of 'http://x/r'" in str(findings)
    assert findings.counts == {'literal': 2}


def test_every_value_is_used_or_reported(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    values = '"A"@en', '"B"@en-GB', '" "@en', '"C"@de'
    path.write_text(
        ''.join(f'<http://x/A> {label} {value} .\n' for value in values)
    )
    findings = Findings()
    _, names, _ = read_rdf(path, findings)
    assert [name.value for name in names] == ['A']
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
    'literal': 1,
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
    findings = Findings()
    triples, names, texts = read_rdf(path, findings)
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
    assert {(each.entity[0], each.value) for each in names} == {
        (f'{at}Auk', 'Ferry Auk'),
        (f'{at}calls_at', 'calls at'),
    }
    assert [each.value for each in texts] == ['A ferry.']
    assert findings.counts == LEFT_OUT
    # A node without a label is the same one at the next reading.
    assert read_rdf(path, Findings())[0] == triples


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
        read_rdf(tmp_path / name, Findings())


def test_language_and_types_are_told(tmp_path: Path) -> None:
    (tmp_path / 'triples.ttl').write_text(SHARED, encoding='utf-8')
    options: dict[str, Any] = {'split': (1.0, 0.0, 0.0)}
    dataset = MKGFolder(tmp_path, **options)
    assert 'type' in dataset.relation_names
    assert 'Ferry Auk' in dataset.entity_names
    dataset = MKGFolder(tmp_path, language='de-AT', types='leave', **options)
    assert 'type' not in dataset.relation_names
    assert 'Fähre Auk' in dataset.entity_names
    assert 'Ferry' not in dataset.entity_names
    assert dataset.findings.counts == {**LEFT_OUT, 'type': 1}
    with pytest.raises(ValueError, match=r"'relation', 'leave'\), got 'keep'"):
        MKGFolder(tmp_path, types='keep')
