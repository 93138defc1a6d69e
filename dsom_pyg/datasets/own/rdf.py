"""N-Triples: triples, and what their literals say of entities."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.table import Entry, Place, Triple
from dsom_pyg.datasets.text import read_bytes, read_lines

RDFS = 'http://www.w3.org/2000/01/rdf-schema#'
NAMES = (f'{RDFS}label', 'http://www.w3.org/2004/02/skos/core#prefLabel')
TEXTS = (
    f'{RDFS}comment',
    'http://schema.org/description',
    'https://schema.org/description',
    'http://dbpedia.org/ontology/abstract',
    'http://purl.org/dc/terms/description',
)
# A line of N-Triples, whatever the file is called.
STATEMENT = re.compile(
    r'(<\w+:[^<>\s]*>|_:\S+)\s+<\w+:[^<>\s]*>\s+[<"_].*\.\s*(#.*)?'
)
# English goes before no language, and that before any other one.
LANGUAGES = ('en', '')


def is_ntriples(path: Path) -> bool:
    r"""Whether a file looks like N-Triples by its first statement."""
    start = read_bytes(path, 2**16).decode('utf-8-sig', 'replace')
    lines = (line.strip() for line in start.split('\n'))
    first = next((x for x in lines if x and not x.startswith('#')), '')
    return bool(STATEMENT.fullmatch(first))


def read_ntriples(
    path: Path, findings: Findings
) -> tuple[list[Triple], list[Entry], list[Entry]]:
    r"""Triples between resources, names and texts, from N-Triples.

    Labels become names; comments, descriptions and abstracts become texts.
    Of several languages, only English is read, or else what has no language,
    or else the first language by its code. Other literals, and all names of
    an entity but the first one, are not read, but counted in
    :obj:`findings`. No literal is evaluated: its text counts, not its number
    or date. Blank nodes are entities.

    Raises:
        DatasetError: A line cannot be read.
        ImportError: rdflib is not installed.
    """
    triples = []
    literals: dict[tuple[str, str], list[tuple[str, Entry]]] = {}
    for triple, language in _statements(path):
        subject, predicate, value, place = triple
        if language is None:
            triples.append(triple)
        elif predicate in NAMES or predicate in TEXTS:
            entry = Entry((subject,), value.strip(), place)
            said = literals.setdefault((subject, predicate), [])
            said.append((language, entry))
        else:
            message = f'not used: {shorten(value)} of {shorten(predicate)}'
            findings.add('literal', message, *place)
    names: list[Entry] = []
    texts: list[Entry] = []
    for (subject, predicate), said in literals.items():
        kept = _in_one_language(said)
        filled = [entry for entry in kept if entry.value]
        if predicate in TEXTS:
            texts += filled
        else:
            names += filled[:1]
            for entry in filled[1:]:
                message = f'not used: {shorten(entry.value)} of '
                message += shorten(subject)
                findings.add('further name', message, *entry.place)
        for entry in kept:
            if not entry.value:
                message = f'nothing for {shorten(subject)}'
                findings.add('empty value', message, *entry.place)
        if more := len(said) - len(kept):
            message = f'{more} more values of {shorten(subject)} in other '
            message += 'languages are not used'
            findings.add('other language', message, *said[0][1].place)
    return triples, names, texts


def _in_one_language(said: list[tuple[str, Entry]]) -> list[Entry]:
    coded = [(code.lower().split('-')[0], entry) for code, entry in said]
    codes = [code for code, _ in coded]
    best = next((code for code in LANGUAGES if code in codes), min(codes))
    return [entry for code, entry in coded if code == best]


class _SameIds(dict[str, str]):
    # rdflib would give blank nodes new random ids at every reading.
    def get(self, key: str, default: Any = None) -> Any:
        return key


def _statements(path: Path) -> Iterator[tuple[Triple, str | None]]:
    # With the language of a literal, ``''`` if it has none.
    try:
        from rdflib import BNode, Literal
        from rdflib.plugins.parsers import ntriples
    except ImportError as error:
        why = f'reading \'{path}\' needs rdflib: pip install "dsom_pyg[rdf]"'
        raise ImportError(why) from error

    class Parser(ntriples.W3CNTriplesParser):
        # rdflib would compute the value of each literal: 1E999999999 has as
        # many digits. Without its type it is a text.
        def literal(self) -> Any:
            if not self.peek('"'):
                return False
            words = self.eat(ntriples.r_literal)
            return Literal(ntriples.unquote(words[1]), words[2])

    said: list[tuple[Any, Any, Any]] = []
    sink: Any = SimpleNamespace(triple=lambda *terms: said.append(terms))
    parser: Any = Parser(sink, _SameIds())  # type: ignore[arg-type, unused-ignore]
    for number, text in enumerate(read_lines(path), 1):
        parser.line = text
        try:
            parser.parseline()
        except Exception as error:
            why = f'is no line of N-Triples: {shorten(text)}'
            raise error_at(path, number, why) from error
        if not said:  # a comment, or nothing
            continue
        terms = said.pop()
        words = []
        for term in terms:
            word = f'_:{term}' if isinstance(term, BNode) else str(term)
            # rdflib lets a relative IRI swallow what follows it.
            if not isinstance(term, Literal) and set(word) & set(' <>"'):
                why = f'{shorten(word)} is no IRI; IRIs must be absolute'
                raise error_at(path, number, why)
            words.append(word)
        literal = isinstance(terms[2], Literal)
        language = terms[2].language or '' if literal else None
        head, relation, tail = words
        yield Triple(head, relation, tail, Place(path, number)), language
