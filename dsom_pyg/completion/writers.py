"""Proposals as files: TSV, N-Triples or Parquet, whole or not at all; and
the graph that a model knows, as it was corrected.

A table has the columns of :class:`Line`. Its heads, relations and tails are
what the files of the graph call them (:attr:`Vocabulary.labels
<dsom_pyg.completion.Vocabulary.labels>`), so it can be read as a graph again;
readable names stand beside them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from dsom_pyg.completion.ntriples import BASE, statements
from dsom_pyg.completion.provenance import Provenance
from dsom_pyg.completion.results import Proposal
from dsom_pyg.completion.store import Parts
from dsom_pyg.datasets.errors import shorten
from dsom_pyg.files import output

# Endings of files of triples.
TRIPLES = '.tsv', '.parquet'
# Rows that are held at a time.
HELD = 10_000
# What would end a cell or a line of TSV for one reader or another.
BREAKS = '\t\n\r\0'


class Line(NamedTuple):
    r"""A proposal in a table, see
    :class:`~dsom_pyg.completion.results.Proposal`.
    """

    head: str
    relation: str
    tail: str
    probability: float
    score: float
    head_name: str
    relation_name: str
    tail_name: str


def write_proposals(
    path: str | Path,
    proposals: Iterable[Proposal],
    parts: Parts,
    base: str = BASE,
) -> None:
    r"""Write proposals in the format that the ending of the path says.

    - ``.tsv``: a header, then one line each, UTF-8, quotes being plain
      characters. :class:`~dsom_pyg.datasets.MKGFolder` reads it, and pandas
      with ``sep='\t', quoting=3, keep_default_na=False``. Provenance stands
      in ``<name>.tsv-metadata.json``, where `CSV on the Web
      <https://www.w3.org/TR/tabular-metadata/>`_ looks for it.
    - ``.nt``: see :func:`~dsom_pyg.completion.ntriples.statements`.
    - ``.parquet``: the same table; provenance is JSON in the metadata
      ``dsom_pyg`` of its schema.

    Args:
        path: The file.
        proposals: From :meth:`~dsom_pyg.completion.Completer.complete`; read
            once, and never all held.
        parts: The model that made them.
        base: Where names that are no IRIs become some, for ``.nt``.

    Raises:
        ValueError: The ending is another, or a label cannot be written so.
    """
    path = Path(path).expanduser()
    check_ending(path)
    origin = Provenance.of(parts)
    match path.suffix.lower():
        case '.tsv':
            _write_tsv(path, _lines(proposals, parts), origin)
        case '.nt':
            lines = statements(proposals, parts, origin, base)
            with (
                output(path) as temporary,
                temporary.open('w', encoding='utf-8', newline='\n') as file,
            ):
                file.writelines(f'{line}\n' for line in lines)
        case _:
            lines_of = _lines(proposals, parts)
            _write_parquet(path, lines_of, origin, Line.__annotations__)


def check_ending(path: Path) -> None:
    r"""Raise :class:`ValueError` unless proposals can be written there."""
    if path.suffix.lower() not in ('.tsv', '.nt', '.parquet'):
        raise ValueError(
            f"'{path}' must end in .tsv (a table), .nt (N-Triples) or "
            '.parquet (a table)'
        )


def write_triples(path: str | Path, parts: Parts) -> None:
    r"""Write the graph of a model: all triples that it knows, of any split, as
    ``.tsv`` or ``.parquet`` with the columns head, relation and tail, by the
    labels of its files.

    Raises:
        ValueError: The ending is another, or a label cannot be written so.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in TRIPLES:
        raise ValueError(f"'{path}' must end in {' or '.join(TRIPLES)}")
    known = parts.graph.triple_graph.known()
    entities, relations = parts.entities.labels, parts.relations.labels
    columns = known.head, known.edge_type, known.tail
    rows = (
        (entities[head], relations[rel], entities[tail])
        for head, rel, tail in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )
    if path.suffix.lower() == '.parquet':
        kinds = dict.fromkeys(('head', 'relation', 'tail'), str)
        _write_parquet(path, rows, Provenance.of(parts), kinds)
        return
    with (
        output(path) as temporary,
        temporary.open('w', encoding='utf-8', newline='\n') as file,
    ):
        file.write('head\trelation\ttail\n')
        for row in rows:
            file.write('\t'.join(map(_label, row)) + '\n')


def _lines(proposals: Iterable[Proposal], parts: Parts) -> Iterator[Line]:
    entities, relations = parts.entities.labels, parts.relations.labels
    for each in proposals:
        head, rel, tail = each.id
        yield Line(
            *(entities[head], relations[rel], entities[tail]),
            *(each.probability, each.score),
            *(each.head, each.relation, each.tail),
        )


def _write_tsv(path: Path, lines: Iterable[Line], origin: Provenance) -> None:
    about = path.with_name(f'{path.name}-metadata.json')
    with (
        output(about) as beside,
        output(path) as temporary,
        temporary.open('w', encoding='utf-8', newline='\n') as file,
    ):
        text = json.dumps(_metadata(path.name, origin), indent=1)
        beside.write_text(f'{text}\n', encoding='utf-8')
        file.write('\t'.join(Line._fields) + '\n')
        file.writelines('\t'.join(_cells(line)) + '\n' for line in lines)


def _cells(line: Line) -> Iterator[str]:
    yield from map(_label, line[:3])
    for number in line[3:5]:
        yield f'{number:.9g}'  # all of a float32
    for name in line[5:]:
        yield name.translate(dict.fromkeys(map(ord, BREAKS), ' '))


def _label(label: str) -> str:
    if any(mark in label for mark in BREAKS):
        raise ValueError(
            'a label with a tab, NUL or an end of line cannot stand in .tsv: '
            f'{shorten(label)}; write .parquet'
        )
    return label


def _metadata(name: str, origin: Provenance) -> dict[str, Any]:
    kinds = {str: 'string', float: 'number'}
    columns = [
        {'titles': column, 'datatype': kinds[kind]}
        for column, kind in Line.__annotations__.items()
    ]
    return {
        '@context': 'http://www.w3.org/ns/csvw',
        'url': quote(name),
        'dialect': {
            'delimiter': '\t',
            'quoteChar': None,
            'commentPrefix': None,
        },
        'tableSchema': {'columns': columns},
        'dc:creator': f'{origin.software} {origin.version}',
        'dc:created': origin.date,
        'notes': [origin._asdict()],
    }


def _write_parquet(
    path: Path,
    lines: Iterator[tuple[Any, ...]],
    origin: Provenance,
    columns: Mapping[str, type],
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), float: pa.float32()}
    schema = pa.schema(
        [(name, kinds[kind]) for name, kind in columns.items()],
        {'dsom_pyg': json.dumps(origin._asdict())},
    )
    with (
        output(path) as temporary,
        temporary.open('wb') as file,
        parquet.ParquetWriter(file, schema) as writer,
    ):
        while rows := list(islice(lines, HELD)):
            cells = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(cells, schema=schema))
