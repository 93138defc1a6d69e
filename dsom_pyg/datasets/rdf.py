"""N-Triples, with what their literals say of entities."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import error_at, shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.tables import Item, Part
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
# English before no language before any other.
LANGUAGES = ('en', '')

Literals = dict[tuple[str, str], list[tuple[str, Item]]]


def read_ntriples(
    path: Path, findings: Findings
) -> tuple[Part, list[Item], list[Item]]:
    r"""Triples between resources, names and texts, from N-Triples.

    Labels become names; comments, descriptions and abstracts become texts,
    in English or without a language where there are several languages. All
    other literals are counted in :obj:`findings`. Blank nodes are entities.

    Args:
        path: A ``.nt`` file.
        findings: Gets what was noticed.

    Raises:
        DatasetError: A line cannot be read.
        ImportError: rdflib is not installed.
    """
    part = Part(file=path)
    said: Literals = {}
    for line, subject, rel, value, language in _statements(path):
        if language is None:
            part.rows.append((subject, rel, value))
            part.lines.append(line)
        elif rel in NAMES or rel in TEXTS:
            item = Item((subject,), value.strip(), file=path, line=line)
            said.setdefault((subject, rel), []).append((language, item))
        else:
            findings.add(
                'literal',
                f'not used: {shorten(value)} of {shorten(rel)}',
                path,
                line,
            )
    names: list[Item] = []
    texts: list[Item] = []
    for (_, rel), values in said.items():
        kept = _preferred(values)
        (names if rel in NAMES else texts).extend(
            kept[:1] if rel in NAMES else kept
        )
        if len(kept) < len(values):
            item = values[0][1]
            findings.add(
                'other language',
                f'{len(values) - len(kept)} more values of '
                f'{shorten(item.entity[0])} in other languages are not used',
                path,
                item.line,
            )
    return part, names, texts


def _preferred(values: list[tuple[str, Item]]) -> list[Item]:
    languages = [language.lower().split('-')[0] for language, _ in values]
    best = next((x for x in LANGUAGES if x in languages), min(languages))
    return [
        item
        for language, (_, item) in zip(languages, values, strict=True)
        if language == best and item.value
    ]


class _SameIds(dict[str, str]):
    # rdflib would give blank nodes new random ids at every reading.
    def get(self, key: str, default: Any = None) -> Any:
        return key


class _Last:
    # What rdflib calls a sink; it keeps one statement.
    statement: tuple[Any, Any, Any] | None = None

    def triple(self, *statement: Any) -> None:
        subject, rel, value = statement
        self.statement = subject, rel, value


def _statements(
    path: Path,
) -> Iterator[tuple[int, str, str, str, str | None]]:
    # Line, subject, predicate, object, and the language of a literal: '' if
    # it has none, None if the object is a resource.
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
        language = None
        if isinstance(value, Literal):
            language = value.language or ''
        yield number, words[0], words[1], words[2], language
