"""N-Triples: triples, and what their literals say of entities."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.table import Entry, Place, Triple
from dsom_pyg.datasets.text import read_lines

RDFS = 'http://www.w3.org/2000/01/rdf-schema#'
NAMES = (f'{RDFS}label', 'http://www.w3.org/2004/02/skos/core#prefLabel')
TEXTS = (
    f'{RDFS}comment',
    'http://schema.org/description',
    'https://schema.org/description',
    'http://dbpedia.org/ontology/abstract',
    'http://purl.org/dc/terms/description',
)
# English goes before no language, and that before any other language.
LANGUAGES = ('en', '')


class Statement(NamedTuple):
    r"""A statement; its language is :obj:`None` unless its object is a
    literal, and ``''`` for a literal without a language.
    """

    subject: str
    predicate: str
    object: str
    language: str | None
    place: Place


def read_ntriples(
    path: Path, findings: Findings
) -> tuple[list[Triple], list[Entry], list[Entry]]:
    r"""Triples between resources, names and texts, from N-Triples.

    Labels become names; comments, descriptions and abstracts become texts.
    Where one of them comes in several languages, only English is read, or
    else what has no language, or else the first language by its code. Other
    literals are not read, but counted in :obj:`findings`. Blank nodes are
    entities.

    Args:
        path: A ``.nt`` file.
        findings: Gets what was noticed.

    Raises:
        DatasetError: A line cannot be read.
        ImportError: rdflib is not installed.
    """
    triples = []
    literals: dict[tuple[str, str], list[Statement]] = {}
    for each in _statements(path):
        subject, predicate, value, language, place = each
        if language is None:
            triples.append(Triple(subject, predicate, value, place))
        elif predicate in NAMES or predicate in TEXTS:
            literals.setdefault((subject, predicate), []).append(each)
        else:
            message = f'not used: {shorten(value)} of {shorten(predicate)}'
            findings.add('literal', message, *place)
    names: list[Entry] = []
    texts: list[Entry] = []
    for (subject, predicate), said in literals.items():
        kept = [
            Entry((subject,), each.object.strip(), each.place)
            for each in _in_one_language(said)
        ]
        if predicate in NAMES:
            names += kept[:1]
        else:
            texts += kept
        if len(kept) < len(said):
            findings.add(
                'other language',
                f'{len(said) - len(kept)} more values of '
                f'{shorten(subject)} in other languages are not used',
                *said[0].place,
            )
    return triples, names, texts


def _in_one_language(said: list[Statement]) -> list[Statement]:
    codes = [(each.language or '').lower().split('-')[0] for each in said]
    best = next((code for code in LANGUAGES if code in codes), min(codes))
    return [
        each
        for code, each in zip(codes, said, strict=True)
        if code == best and each.object.strip()
    ]


class _SameIds(dict[str, str]):
    # rdflib would give blank nodes new random ids at every reading.
    def get(self, key: str, default: Any = None) -> Any:
        return key


class _Last:
    # What rdflib calls a sink; it keeps one statement.
    statement: tuple[Any, Any, Any] | None = None

    def triple(self, *statement: Any) -> None:
        subject, predicate, value = statement
        self.statement = subject, predicate, value


def _statements(path: Path) -> Iterator[Statement]:
    try:
        from rdflib import BNode, Literal
        from rdflib.plugins.parsers.ntriples import W3CNTriplesParser
    except ImportError as error:
        raise ImportError(
            f'reading \'{path}\' needs rdflib: pip install "dsom_pyg[rdf]"'
        ) from error
    sink = _Last()
    parser: Any = W3CNTriplesParser(sink, _SameIds())  # type: ignore[arg-type, unused-ignore]
    for number, text in enumerate(read_lines(path), 1):
        sink.statement = None
        parser.line = text
        try:
            parser.parseline()
        except Exception as error:
            raise error_at(
                path, number, f'is no line of N-Triples: {shorten(text)}'
            ) from error
        if sink.statement is None:  # a comment, or nothing
            continue
        words = []
        for term in sink.statement:
            word = f'_:{term}' if isinstance(term, BNode) else str(term)
            # rdflib lets a relative IRI swallow what follows it.
            if not isinstance(term, Literal) and set(word) & set(' <>"'):
                raise error_at(
                    path,
                    number,
                    f'{shorten(word)} is no IRI; IRIs must be absolute',
                )
            words.append(word)
        value = sink.statement[2]
        literal = isinstance(value, Literal)
        language = (value.language or '') if literal else None
        place = Place(path, number)
        yield Statement(words[0], words[1], words[2], language, place)
