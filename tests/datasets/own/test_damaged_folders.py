"""Damaged folders of every layout: each is refused, or no row is lost.

Hypothesis changes some bytes of one file of a sound folder. Then the folder
raises `DatasetError`, or every row of every file with triples is in the graph
or in the findings. The rows are counted here, without the readers.
"""

import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet import ROWS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_layouts_of_the_field import (
    LAYOUTS,
    apoc_csv,
    apoc_json,
    mmkb,
    neo4j_admin,
    ogb,
    tabs,
    wikidata5m,
    write,
)

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.folder import read_folder
from dsom_pyg.graph import SPLITS, get_split

LEFT_OUT = ('duplicate triple', 'literal')


def plain(root: Path) -> None:
    write(root / 'triples.tsv', ['# a comment', '', *tabs(ROWS)])


def times(root: Path) -> None:
    rows = [(*row, f'2014-01-{at % 28 + 1}') for at, row in enumerate(ROWS)]
    write(root / 'triples.txt', tabs(rows))


def json_lines(root: Path) -> None:
    rows = [str(list(row)).replace("'", '"') for row in ROWS]
    write(root / 'triples.jsonl', rows)


def ntriples(root: Path) -> None:
    pytest.importorskip('pyoxigraph')

    def iri(word: str) -> str:
        return f'<http://example.org/{word.replace(" ", "_")}>'

    lines = [f'{" ".join(map(iri, row))} .' for row in ROWS]
    write(root / 'triples.nt', [*lines, '# a comment'])


def rdf(suffix: str, syntax: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        pytest.importorskip('pyoxigraph')
        rdflib = pytest.importorskip('rdflib')
        ntriples(root)
        path = root / 'triples.nt'
        graph = rdflib.Graph().parse(path)
        path.unlink()
        graph.serialize(root / f'triples{suffix}', format=syntax)

    make.__name__ = syntax
    return make


def sheet(suffix: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        pytest.importorskip('openpyxl' if suffix == '.xlsx' else 'pyarrow')
        pandas = pytest.importorskip('pandas')
        frame = pandas.DataFrame(ROWS, columns=['head', 'relation', 'tail'])
        path = root / f'triples{suffix}'
        if suffix == '.xlsx':
            frame.to_excel(path, index=False)
        else:
            frame.to_parquet(path)

    make.__name__ = suffix[1:]
    return make


BY_LINES: list[Callable[[Path], None]] = [
    *(make for make, _ in LAYOUTS),
    *(plain, times, json_lines, ntriples, apoc_json, wikidata5m),
]
TABLES = [
    *(neo4j_admin, apoc_csv, mmkb, ogb),
    *(rdf('.ttl', 'turtle'), rdf('.rdf', 'xml'), rdf('.jsonld', 'json-ld')),
    *(sheet('.xlsx'), sheet('.parquet')),
]
# The files that hold triples, a line each.
TRIPLES = ('train', 'valid', 'test', 'triples', 'numeric', 'all')


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    start, end = sorted(
        draw(st.tuples(*[st.integers(0, len(raw))] * 2)),
    )
    some = draw(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b'\t', b'\n', b'#', b'"', b'\r', b'0', b'\xff']),
            st.just(raw[start:end]),
        )
    )
    what = draw(st.sampled_from(['insert', 'replace', 'delete', 'cut', 'all']))
    return {
        'insert': raw[:start] + some + raw[start:],
        'replace': raw[:start] + some + raw[start + len(some) :],
        'delete': raw[:start] + raw[end:],
        'cut': raw[:start],
        'all': some,
    }[what]


def is_row(file: Path, number: int, line: str) -> bool:
    if not line.strip():
        return False
    if file.suffix == '.nt':
        return not line.strip().startswith('#')
    if file.suffix == '.json':
        return bool(json.loads(line)['type'] == 'relationship')
    return not (number == 1 and file.name.endswith('2id.txt'))


def check(root: Path, by_lines: bool) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            raw = build_graph(read_folder(root))
    except DatasetError:
        return
    table = read_folder(root)
    both = (*table.triples.values(), *table.literals.values())
    rows = [row for split in both for row in split]
    kept = sum(get_split(raw.data, each)[1].numel() for each in SPLITS)
    assert kept + sum(raw.findings.counts[x] for x in LEFT_OUT) == len(rows)
    if not by_lines or len(table.findings) > 20:  # more than are listed
        return
    told = {(x.file, x.line) for x in table.findings}
    used = {(str(row.place.file), row.place.line) for row in rows}
    for file in root.iterdir():
        if file.name.startswith(TRIPLES) and file.suffix != '.gz':
            raw_bytes = file.read_bytes()
            # What begins as UTF-16 does is read as such.
            wide = raw_bytes[:2] in (b'\xfe\xff', b'\xff\xfe')
            text = raw_bytes.decode('utf-16' if wide else 'utf-8-sig')
            # In RDF, a CR alone ends a line, too.
            ends = r'\r\n?|\n' if file.suffix == '.nt' else r'\n'
            for number, line in enumerate(re.split(ends, text), 1):
                if is_row(file, number, line):
                    assert (str(file), number) in used | told, line


@pytest.mark.parametrize(
    'make', [*BY_LINES, *TABLES], ids=lambda make: make.__name__
)
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_folder(
    make: Callable[[Path], None],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    sound = tmp_path_factory.getbasetemp() / f'sound-{make.__name__}'
    if not sound.is_dir():
        sound.mkdir()
        make(sound)
        check(sound, make in BY_LINES)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / 'g'
        shutil.copytree(sound, root)
        files = sorted(x for x in root.rglob('*') if x.is_file())
        path = data.draw(st.sampled_from(files))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        check(root, make in BY_LINES)
