import re
import sys
from pathlib import Path

import pytest

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.rdf import read_ntriples

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
    monkeypatch.setitem(sys.modules, 'rdflib', None)
    with pytest.raises(ImportError, match=r'pip install "dsom_pyg\[rdf\]"'):
        read_ntriples(tmp_path / 'a.nt', Findings())


def test_ntriples(tmp_path: Path) -> None:
    pytest.importorskip('rdflib')
    path = tmp_path / 'triples.nt'
    path.write_text(NT, encoding='utf-8')
    findings = Findings()
    triples, names, texts = read_ntriples(path, findings)
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
    pytest.importorskip('rdflib')
    path = tmp_path / 'triples.nt'
    path.write_text(f'# fine\n{line}\n', encoding='utf-8')
    with pytest.raises(DatasetError, match=re.escape(f'{path}:2: ')):
        read_ntriples(path, Findings())


def test_literals_are_not_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = pytest.importorskip('rdflib').term

    def cast(text: str, datatype: object) -> None:
        assert datatype is None, f'evaluates {text} as {datatype}'

    monkeypatch.setattr(term, '_castLexicalToPython', cast)
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    kinds = '<http://www.w3.org/2001/XMLSchema#'
    path.write_text(
        f'<http://x/A> <http://x/r> "1E999999999"^^{kinds}decimal> .\n'
        f'<http://x/A> <http://x/r> "<a>"^^{kinds}XMLLiteral> .\n'
        f'<http://x/A> {label} "007"^^{kinds}integer> .\n'
    )
    findings = Findings()
    triples, names, texts = read_ntriples(path, findings)
    assert (triples, texts) == ([], [])
    assert [name.value for name in names] == ['007']
    assert "'1E999999999' of 'http://x/r'" in str(findings)
    assert findings.counts == {'literal': 2}


def test_every_value_is_used_or_reported(tmp_path: Path) -> None:
    pytest.importorskip('rdflib')
    path = tmp_path / 'triples.nt'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    values = '"A"@en', '"B"@en-GB', '" "@en', '"C"@de'
    path.write_text(
        ''.join(f'<http://x/A> {label} {value} .\n' for value in values)
    )
    findings = Findings()
    _, names, _ = read_ntriples(path, findings)
    assert [name.value for name in names] == ['A']
    assert findings.counts == {
        'further name': 1,
        'empty value': 1,
        'other language': 1,
    }
    assert f"{path}:2: not used: 'B' of 'http://x/A'" in str(findings)
