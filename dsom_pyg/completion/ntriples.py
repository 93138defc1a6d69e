"""Proposals as N-Triples, each with its probability and what made it."""

import re
import uuid
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from dsom_pyg.completion.provenance import Provenance
from dsom_pyg.completion.results import Proposal
from dsom_pyg.completion.store import Parts

# Nobody owns it (RFC 2606), so it means nothing to others.
BASE = 'http://example.org/'
RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'
RDFS = 'http://www.w3.org/2000/01/rdf-schema#'
XSD = 'http://www.w3.org/2001/XMLSchema#'
PROV = 'http://www.w3.org/ns/prov#'
TERMS = 'http://purl.org/dc/terms/'
# An absolute IRI, as strict parsers read it (RFC 3987, without addresses in
# brackets). A word before a colon alone is more likely a name, such as
# 'Alien:Resurrection'.
_SIGN = (
    r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}"
    r'|[\xa0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef]'
    r'|[\U00010000-\U0001fffd\U00020000-\U0002fffd])'
)
_HOST = _SIGN.replace(':@', '')
ABSOLUTE = re.compile(
    rf'(?:[A-Za-z][A-Za-z0-9+.-]*://(?:{_HOST}*@)?{_HOST}*(?::[0-9]*)?'
    rf'(?=[/?#]|$)|urn:[A-Za-z0-9])(?:{_SIGN}|/)*'
    rf'(?:\?(?:{_SIGN}|[/?])*)?(?:#(?:{_SIGN}|[/?])*)?'
)
ESCAPES = {'\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r'}
MEANING = (
    'How likely the triple is to be among those that are held back, if as '
    'many are as validation holds.'
)


def statements(
    proposals: Iterable[Proposal],
    parts: Parts,
    origin: Provenance,
    base: str = BASE,
) -> Iterator[str]:
    r"""Lines of N-Triples: each proposal as a triple, and a
    ``rdf:Statement`` about it.

    N-Triples cannot say anything of a triple itself. What RDF has had for
    that since 1.0, reification, is read by every tool. A statement has the
    ``rdf:subject``, ``rdf:predicate`` and ``rdf:object`` of the triple,
    ``<base>probability`` and ``<base>score``. It is ``prov:wasGeneratedBy``
    the run, which tells software, graph and time in the terms of PROV-O.

    A label that is an absolute IRI is one here. Of any other is made
    ``<base>entity/<label>`` or ``<base>relation/<label>``, percent-encoded.
    Readable names are ``rdfs:label``.

    Args:
        proposals: What to write.
        parts: The model that made them.
        origin: What to say of it.
        base: An absolute IRI that ends in ``/``, ``#`` or ``:``.

    Raises:
        ValueError: The base is no such IRI.
    """
    if not ABSOLUTE.fullmatch(base) or base[-1] not in '/#:':
        raise ValueError(
            f'base must be an absolute IRI that ends in / # or :, such as '
            f'{BASE!r}, got {base!r}'
        )
    # Blank nodes stay apart where files are put together.
    node = f'_:b{uuid.uuid4().hex}'
    likely, score = f'<{base}probability>', f'<{base}score>'
    yield from _about(node, origin, likely)
    vocabularies = ('entity', parts.entities), ('relation', parts.relations)
    labels = {kind: vocabulary.labels for kind, vocabulary in vocabularies}
    named: set[str] = set()
    for number, each in enumerate(proposals):
        kinds = 'entity', 'relation', 'entity'
        iris = []
        names = each.head, each.relation, each.tail
        for kind, at, name in zip(kinds, each.id, names, strict=True):
            iris.append(iri(labels[kind][at], f'{base}{kind}/'))
            if iris[-1] not in named:
                named.add(iris[-1])
                yield f'{iris[-1]} <{RDFS}label> {literal(name)} .'
        head, relation, tail = iris
        said = f'{node}n{number}'
        yield f'{head} {relation} {tail} .'
        yield f'{said} <{RDF}type> <{RDF}Statement> .'
        yield f'{said} <{RDF}subject> {head} .'
        yield f'{said} <{RDF}predicate> {relation} .'
        yield f'{said} <{RDF}object> {tail} .'
        yield f'{said} {likely} {_number(each.probability)} .'
        yield f'{said} {score} {_number(each.score)} .'
        yield f'{said} <{PROV}wasGeneratedBy> {node}run .'


def _about(node: str, origin: Provenance, likely: str) -> Iterator[str]:
    run, graph, software = f'{node}run', f'{node}graph', f'{node}software'
    made_by = f'{origin.software} {origin.version}, {origin.model}'
    date = f'{literal(origin.date)}^^<{XSD}dateTime>'
    yield f'{likely} <{RDFS}comment> {literal(MEANING)} .'
    yield f'{run} <{RDF}type> <{PROV}Activity> .'
    yield f'{run} <{PROV}endedAtTime> {date} .'
    yield f'{run} <{PROV}used> {graph} .'
    yield f'{run} <{PROV}wasAssociatedWith> {software} .'
    yield f'{graph} <{RDF}type> <{PROV}Entity> .'
    yield f'{graph} <{TERMS}title> {literal(origin.dataset)} .'
    yield f'{graph} <{TERMS}identifier> {literal(origin.fingerprint)} .'
    yield f'{software} <{RDF}type> <{PROV}SoftwareAgent> .'
    yield f'{software} <{RDFS}label> {literal(made_by)} .'


def iri(label: str, base: str) -> str:
    r"""The IRI that a label is, or else its percent-encoding after a base."""
    if ABSOLUTE.fullmatch(label):
        return f'<{label}>'
    return f'<{base}{quote(label, safe="")}>'


def literal(text: str) -> str:
    r"""A string of N-Triples."""
    return f'"{"".join(ESCAPES.get(c, c) for c in text)}"'


def _number(value: float) -> str:
    return f'"{value:.9g}"^^<{XSD}double>'
