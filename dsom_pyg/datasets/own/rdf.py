"""RDF: triples, and what is said of entities in words, numbers and links."""

import re
from collections.abc import Iterator
from itertools import compress, repeat
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    needs_extra,
    shorten,
)
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.plain import read_cells
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.datasets.own.rows import TripleRows
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.datasets.text import read_bytes, read_text, suffix_of

OWL = 'http://www.w3.org/2002/07/owl#'
RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'
TYPE = f'{RDF}type'
RDFS = 'http://www.w3.org/2000/01/rdf-schema#'
FOAF = 'http://xmlns.com/foaf/0.1/'
# Both forms are in use.
SCHEMA = ('http://schema.org/', 'https://schema.org/')
NAMES = (
    f'{RDFS}label',
    'http://www.w3.org/2004/02/skos/core#prefLabel',
    *(f'{start}name' for start in SCHEMA),
    f'{FOAF}name',
)
TEXTS = (
    f'{RDFS}comment',
    *(f'{start}description' for start in SCHEMA),
    'http://dbpedia.org/ontology/abstract',
    'http://purl.org/dc/terms/description',
    'http://purl.org/dc/elements/1.1/description',
)
IMAGES = (
    *(f'{start}image' for start in SCHEMA),
    *(f'{FOAF}depiction', f'{FOAF}img', f'{FOAF}thumbnail'),
    'http://dbpedia.org/ontology/thumbnail',
    'http://www.wikidata.org/prop/direct/P18',
)
# What says of an entity what it is.
TYPES = (TYPE, 'http://www.wikidata.org/prop/direct/P31')
# What is said of the vocabulary, not of the world.
DECLARATIONS = (
    *(f'{RDFS}isDefinedBy', f'{RDFS}seeAlso', f'{RDFS}domain'),
    *(f'{RDFS}range', f'{RDFS}subPropertyOf'),
)
# What is said of pages about entities, such as those of Wikipedia.
PAGES = (
    *(f'{start}{word}' for start in SCHEMA for word in ('about', 'isPartOf')),
    *(f'{FOAF}isPrimaryTopicOf', f'{FOAF}primaryTopic'),
    'http://www.w3.org/ns/prov#wasDerivedFrom',
    'http://wikiba.se/ontology#badge',
)
# Wikidata gives names to P31, and calls its relation by another IRI.
PROPERTY = re.compile(r'http://www\.wikidata\.org/entity/(P\d+)')
DIRECT = 'http://www.wikidata.org/prop/direct/'
# A line of N-Triples, whatever the file is called.
STATEMENT = re.compile(
    r'(<\w+:[^<>\s]*>|_:\S+)\s+<\w+:[^<>\s]*>\s+[<"_].*\.\s*(#.*)?'
)
# The formats of pyoxigraph by suffix.
SYNTAXES = {
    '.nt': 'N_TRIPLES',
    '.nq': 'N_QUADS',
    '.ttl': 'TURTLE',
    '.trig': 'TRIG',
    '.n3': 'N3',
    '.rdf': 'RDF_XML',
    '.owl': 'RDF_XML',
    '.xml': 'RDF_XML',
    '.jsonld': 'JSON_LD',
}
BY_LINES = ('N_TRIPLES', 'N_QUADS')
# IRIs and nodes without a label that need no parser: all of them mean what
# they say, and some of them would do for a parser that checks more.
_CHARS = r"(?:[\w.~!$&'()*+,;=:@/\xa0-\ud7ff-]|%[0-9A-Fa-f]{2})*"
IRI = re.compile(
    r'<[A-Za-z][A-Za-z0-9+.-]*:'
    r'(?://[A-Za-z0-9._~-]*(?::\d+)?(?=[/?#>])|(?!//))'
    rf'{_CHARS}(?:\?{_CHARS})?(?:#{_CHARS})?>',
    re.ASCII,
)
BLANK = re.compile('_:[A-Za-z0-9]+')
# A line, and what stands there.
Line = tuple[int, str]


class Statement(NamedTuple):
    r"""A triple, and the language of its literal, ``''`` for none; no
    language at all (:obj:`None`) if it has no literal.
    """

    triple: Triple
    language: str | None


def is_ntriples(path: Path) -> bool:
    r"""Whether a file looks like N-Triples by its first statement."""
    start = read_bytes(path, 2**16).decode('utf-8-sig', 'replace')
    lines = (line.strip() for line in start.split('\n'))
    first = next((x for x in lines if x and not x.startswith('#')), '')
    return bool(STATEMENT.fullmatch(first))


def read_rdf(
    path: Path, table: Table, split: str, reading: Reading | None = None
) -> None:
    r"""Add to a table what a file of RDF says.

    Its suffix (:data:`SYNTAXES`) tells the syntax; without one of them it is
    N-Triples. Labels become names; comments, descriptions and abstracts
    become texts. Of several languages of an entity, only the preferred one is
    read, else what has none, else one other. Other literals are values, and no
    literal is evaluated: its text counts, not its number or date. Addresses of
    images are kept apart, and so are types, if they are no relation. All names
    of an entity but the first one and what declares a vocabulary are not read,
    but counted in the findings. Blank nodes are entities.

    Args:
        path: The file.
        table: What is added to.
        split: Of the triples.
        reading: The language, and what types and declarations are. (default:
            English, relations, left out)

    Raises:
        DatasetError: The file cannot be read.
        ImportError: pyoxigraph is not installed.
    """
    reading, findings = reading or Reading(), table.findings
    plain, rest = _plain_rows(path, reading)
    triples = table.of_split(split)
    values = table.literals.setdefault(split, [])
    words: dict[tuple[str, str], list[tuple[str, Entry]]] = {}
    for triple, language in _statements(path, findings, rest):
        subject, predicate, value, place = triple
        if predicate in IMAGES:
            table.addresses.append(Entry((subject,), value, place))
            message = f'a picture of {shorten(subject)}, not fetched: '
            message += shorten(value)
            findings.add('image address', message, *place)
        elif language is not None and predicate in (*NAMES, *TEXTS):
            entry = Entry(_called(subject), value.strip(), place)
            said = words.setdefault((subject, predicate), [])
            said.append((language, entry))
        elif language is not None:
            values.append(triple)
        elif reading.declarations == 'leave' and (
            predicate in PAGES or _declares(predicate, value)
        ):
            kind = 'page' if predicate in PAGES else 'declaration'
            message = f'left out: {" | ".join(map(shorten, triple[:3]))}'
            message += "; declarations='keep' keeps it"
            findings.add(kind, message, *place)
        elif predicate in TYPES and reading.types == 'type':
            table.types.append(Entry((subject,), value, place))
        else:
            triples.append(triple)
    if plain is not None:
        rows = TripleRows.concat([plain, TripleRows.of(triples)])
        table.triples[split] = rows.by_line()
    # An entity has its names in one language, and its texts.
    codes: dict[tuple[str, bool], set[str]] = {}
    for (subject, predicate), said in words.items():
        found = codes.setdefault((subject, predicate in TEXTS), set())
        found.update(_code(language) for language, _ in said)
    for (subject, predicate), said in words.items():
        there = codes[subject, predicate in TEXTS]
        kept = _in_one_language(said, reading.language, there)
        filled = [entry for entry in kept if entry.value]
        if predicate in TEXTS:
            table.texts += filled
        else:
            table.names += filled[:1]
            for entry in filled[1:]:
                message = f'not used: {shorten(entry.value)} of '
                message += shorten(subject)
                findings.add('further name', message, *entry.place)
        for entry in kept:
            if not entry.value:
                message = f'an empty one of {shorten(subject)}'
                findings.add('empty value', message, *entry.place)
        if more := len(said) - len(kept):
            message = f'not used: {more} of {shorten(subject)} in other '
            message += 'languages than language= tells'
            findings.add('other language', message, *said[0][1].place)


# Most statements of most files lead from one entity to another, and are read
# by columns; these, and the other lines. Nothing where the file is another
# one, which is read statement by statement.
def _plain_rows(
    path: Path, reading: Reading
) -> tuple[TripleRows | None, list[Line] | None]:
    if SYNTAXES.get(suffix_of(path), 'N_TRIPLES') != 'N_TRIPLES':
        return None, None
    cells = read_cells(path, ' ', 4, range(4), others=True)
    if cells is None:
        return None, None
    labels, codes = cells.labels, cells.codes
    iri = np.array([bool(IRI.fullmatch(x)) for x in labels], bool)
    node = iri.copy()
    for at in np.flatnonzero(~iri).tolist():
        node[at] = BLANK.fullmatch(labels[at])
    head, relation, tail, dot = codes
    kinds = np.zeros(len(labels), bool)
    for at in np.unique(relation).tolist():
        kinds[at] = iri[at] and not _is_special(labels[at][1:-1], reading)
    plain = node[head] & kinds[relation] & node[tail]
    plain &= np.array([x == '.' for x in labels], bool)[dot]
    empty = np.array([x == '' for x in labels], bool)
    blank = empty[codes].all(axis=0)
    rest = list(cells.others)
    for at in np.flatnonzero(~plain & ~blank).tolist():
        words = (labels[code] for code in codes[:, at])
        rest.append((int(cells.lines[at]), ' '.join(words)))
    # Without the labels of other rows.
    number = (node.cumsum() - 1).astype(np.int32)
    codes = number[codes[:3].compress(plain, axis=1)]
    lines = cells.lines.compress(plain)
    named = [x.strip('<>') for x in compress(labels, node)]
    return TripleRows(named, codes, [path], lines=lines), sorted(rest)


def _is_special(predicate: str, reading: Reading) -> bool:
    # Whether it may say something else than a triple.
    kinds = (TYPE, *IMAGES, *PAGES, *DECLARATIONS)
    if reading.types == 'type':
        kinds += TYPES
    return predicate in kinds or predicate.startswith(OWL)


def _called(subject: str) -> tuple[str, ...]:
    found = PROPERTY.fullmatch(subject)
    return (subject, f'{DIRECT}{found[1]}') if found else (subject,)


def _declares(predicate: str, value: str) -> bool:
    if predicate == TYPE:
        return value.startswith((OWL, RDFS, RDF))
    return predicate.startswith(OWL) or predicate in DECLARATIONS


def _in_one_language(
    said: list[tuple[str, Entry]], language: str, there: set[str]
) -> list[Entry]:
    # Those in the language, else those in none; and if nothing that is said
    # of the entity is in either, those in one other.
    coded = [(_code(code), entry) for code, entry in said]
    codes = [code for code, _ in coded]
    wanted = _code(language), ''
    other = None if there & {*wanted} else min(there)
    best = next((code for code in wanted if code in codes), other)
    return [entry for code, entry in coded if code == best]


def _code(language: str) -> str:
    return language.lower().split('-')[0]


def _statements(
    path: Path, findings: Findings, lines: list[Line] | None
) -> Iterator[Statement]:
    # Those of a file, or of some of its lines.
    if lines is not None and not lines:
        return
    try:
        import pyoxigraph as ox
    except ImportError as error:
        raise needs_extra(path, 'pyoxigraph', 'rdf') from error
    syntax = SYNTAXES.get(suffix_of(path), 'N_TRIPLES')
    if lines is None:
        text = read_text(path)
        if syntax in BY_LINES:
            lines = list(enumerate(re.split(r'\r\n?|\n', text), 1))
    else:
        text = '\n'.join(line for _, line in lines)
    places = _places(path, lines)
    # Nodes without a label get random ones at every reading.
    blank: dict[str, str] = {}

    def word(term: Any) -> str:
        if not isinstance(term, ox.BlankNode):
            return str(term.value)
        if syntax in BY_LINES:
            return f'_:{term.value}'
        return blank.setdefault(term.value, f'_:b{len(blank)}')

    terms = (ox.NamedNode, ox.BlankNode)
    # Wherever the folder lies, the same graph.
    base = None if syntax in BY_LINES else f'file:///{quote(path.name)}'
    try:
        form = getattr(ox.RdfFormat, syntax)
        for quad in ox.parse(input=text, format=form, base_iri=base):
            place = next(places)
            head, relation, tail = quad.subject, quad.predicate, quad.object
            literal = isinstance(tail, ox.Literal)
            if not isinstance(head, terms) or not (
                literal or isinstance(tail, terms)
            ):
                message = f'a triple within a triple: {shorten(str(quad))}'
                findings.add('quoted triple', message, *place)
                continue
            language = (tail.language or '') if literal else None
            triple = Triple(word(head), word(relation), word(tail), place)
            yield Statement(triple, language)
    except SyntaxError as error:
        # The parser counts the lines that it was given.
        said = re.sub(r'^Parser error at line .*?: ', '', error.msg)
        why = f'cannot be read as {syntax.replace("_", "-")}: {said}'
        line = error.lineno
        if syntax in BY_LINES:  # it notices in the next line what lacks here
            line = next(places, Place(path, line)).line
        if line is None:
            raise DatasetError(f"'{path}' {why}") from None
        raise error_at(path, line, why) from None


def _places(path: Path, lines: list[Line] | None) -> Iterator[Place]:
    # Where the statements stand, where each has a line.
    if lines is None:
        yield from repeat(Place(path))
        return
    for number, line in lines:
        bare = line.strip()
        if bare and not bare.startswith('#'):
            yield Place(path, number)
