"""Damaged files: each is refused, or nothing of it is lost.

Three hundred damaged copies of a small file for every reader. A reader
raises `DatasetError`, or the rows of the file add up: they are in the graph
or in the findings. The rows are counted here, without the readers.
"""

import json
import random
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dsom_pyg.datasets import read_features
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import align
from dsom_pyg.datasets.features.graph import load_graph, save_graph
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own import delimited, objects
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.columns import TEXT
from dsom_pyg.datasets.own.rdf import read_rdf
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.files import load_tensors
from dsom_pyg.graph import SPLITS, Triples, get_split, make_data

COUNT = 300
NAMES = ['Rome', 'New York', 'ü', 'Q1', 'Q1', 'Q 2']
X = np.arange(1, 13, dtype=np.float32).reshape(6, 2)


def damaged(whole: bytes, seed: str) -> Iterator[bytes]:
    draw = random.Random(seed)
    for _ in range(COUNT):
        raw = bytearray(whole)
        match draw.randrange(5):
            case 0:
                for _ in range(draw.choice((1, 1, 2, 8))):
                    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            case 1:
                for _ in range(draw.choice((1, 4, 16))):
                    raw[draw.randrange(len(raw))] = draw.randrange(256)
            case 2:
                del raw[draw.randrange(len(raw)) :]
            case 3:
                at = draw.randrange(len(raw))
                raw[at:at] = draw.randbytes(draw.choice((1, 2, 8, 64)))
            case 4:
                start, end = sorted(draw.choices(range(len(raw)), k=2))
                if draw.random() < 0.5:
                    del raw[start:end]
                else:
                    raw[start:start] = raw[start:end]
        yield bytes(raw)


def read_all(
    path: Path, check: Callable[[Path], None], seed: str = ''
) -> None:
    """Check every damaged copy that is read, and that some are not."""
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check(path)
        for raw in damaged(path.read_bytes(), seed + path.name):
            path.write_bytes(raw)
            try:
                check(path)
            except DatasetError:
                refused += 1
    assert 0 < refused < COUNT


def write_features(path: Path) -> None:
    match path.suffix:
        case '.safetensors':
            # Without the hash of our own files, which gives damages away.
            names = {'names': json.dumps(NAMES)}
            save_file({'x': torch.from_numpy(X)}, path, names)
        case '.npy':
            np.save(path, X)
        case '.npz':
            np.savez_compressed(path, x=X, names=NAMES)
        case '.h5':
            h5py = pytest.importorskip('h5py')
            with h5py.File(path, 'w') as file:
                file.create_dataset('x', data=X, compression='gzip')
                file['names'] = [name.encode() for name in NAMES]
        case '.pt':
            torch.save({'x': torch.from_numpy(X), 'names': NAMES}, path)


def check_features(path: Path) -> None:
    table = read_features(path)
    n = len(table.x)
    assert table.x.shape == (n, table.x.size(1))
    assert table.x.numel()
    assert table.x.isfinite().all()
    findings = Findings()
    aliases = [[name] for name in dict.fromkeys(NAMES)]
    if table.names is None:
        aliases = aliases * 2
    x, entity = align(table, aliases[: max(n, 5)], path.name, findings)
    lost = [f.message for f in findings if f.kind == 'feature of no entity']
    nobody = [name for name in table.names or () if repr(name) in lost]
    zeros = findings.counts['feature of zeros only']
    assert len(x) == len(entity) == n - len(nobody) - zeros
    assert len(entity) == 0 or 0 <= entity.min() <= entity.max() < n


@pytest.mark.parametrize('suffix', ['.safetensors', '.npy', '.npz', '.pt'])
def test_features(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'f{suffix}'
    write_features(path)
    read_all(path, check_features)


@pytest.mark.parametrize('seed', ['', 'strings that vary in length'])
def test_features_in_hdf5(tmp_path: Path, seed: str) -> None:
    h5py = pytest.importorskip('h5py')
    path = tmp_path / 'f.h5'
    write_features(path)
    if seed:
        with h5py.File(path, 'a') as file:
            del file['names']
            file.create_dataset('names', data=NAMES, dtype=h5py.string_dtype())
    read_all(path, check_features, seed)


def check_graph(triples: list[Triple]) -> None:
    if not triples:
        return
    raw = build_graph(Table({'train': triples}))
    rows = sum(get_split(raw.data, split)[1].numel() for split in SPLITS)
    counts = raw.findings.counts
    left_out = counts['duplicate triple'] + counts['literal']
    assert rows + left_out == len(triples)


TSV = 'head\trelation\ttail\nRome\tcapital of\tItaly\n\nü"\tr\tx y\n' * 2
CSV = 'Rome,capital of,Italy\n\n"a, ""b""\nc", r,x\nü,r,"y;z"\nd,r,e\n'


def lines_of(path: Path) -> list[tuple[int, str]]:
    """The lines with text, by their numbers."""
    lines = path.read_bytes().removeprefix(b'\xef\xbb\xbf').split(b'\n')
    both = enumerate((line.decode() for line in lines), 1)
    return [(number, line) for number, line in both if line.strip()]


def test_tabs(tmp_path: Path) -> None:
    def check(path: Path) -> None:
        findings = Findings()
        triples = delimited.read_triples(path, findings)
        want = [number for number, _ in lines_of(path)]
        skipped = [f.line for f in findings if f.kind in ('header', 'comment')]
        got = [triple.place.line for triple in triples]
        assert sorted(skipped + got) == want
        check_graph(triples)

    path = tmp_path / 'triples.tsv'
    path.write_text(TSV)
    read_all(path, check)


def count_rows(text: str, mark: str) -> int:
    """The rows of RFC 4180 that have any text, character by character."""
    rows, quoted, fresh, filled = 0, False, True, False
    text = text.replace('\r\n', '\n').removesuffix('\n') + '\n'
    for char in text:
        if char == '"' and (quoted or fresh):
            # A second quote in a row opens the cell again.
            quoted, fresh = not quoted, quoted
        elif quoted:
            filled, fresh = filled or not char.isspace(), False
        elif char == '\n':
            rows, fresh, filled = rows + filled, True, False
        else:
            filled = filled or not (char == mark or char.isspace())
            fresh = char == mark or (fresh and char == ' ')
    return rows


def test_commas(tmp_path: Path) -> None:
    def check(path: Path) -> None:
        findings = Findings()
        triples = delimited.read_triples(path, findings)
        text = path.read_bytes().decode('utf-8-sig')
        rows = {count_rows(text, mark) for mark in ',;'}
        assert len(triples) + findings.counts['header'] in rows
        check_graph(triples)

    path = tmp_path / 'triples.csv'
    path.write_text(CSV)
    read_all(path, check)


def check_entries(path: Path) -> None:
    findings = Findings()
    kind = objects if path.suffix == '.jsonl' else delimited
    entries, _ = kind.read_entries(path, TEXT, findings)
    used = {entry.place.line for entry in entries}
    other = [f.line for f in findings if f.kind in ('header', 'empty value')]
    want = [number for number, _ in lines_of(path)]
    assert sorted([*used, *other]) == want  # type: ignore[type-var]


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / 'texts.tsv'
    path.write_text('entity\ttext\nRome\tA city.\nü\t\n\nx\t"y" z\n')
    read_all(path, check_entries)


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {'entity': 'Rome', 'text': 'A city.'},
        {'name': 'x', 'id': 7, 'texts': ['a', 'ü', None]},
        {'entity': 'y', 'text': ''},
        {'entity': 1.0, 'text': 'b', 'more': {'c': [1, 2]}},
    ]
    path = tmp_path / 'texts.jsonl'
    path.write_text('\n'.join(map(json.dumps, rows)) + '\n')
    read_all(path, check_entries)


NT = """\
# A comment
<http://x/A> <http://x/r> <http://x/B> .
_:n1 <http://x/r>  <http://x/A> . # of a blank node
<http://x/A> <http://www.w3.org/2000/01/rdf-schema#label> "Ah"@fr .
<http://x/A> <http://www.w3.org/2000/01/rdf-schema#label> "A \\"a\\""@en .
<http://x/A> <http://schema.org/description> "M\\u00fcnchen" .

<http://x/A> <http://x/size> "5"^^<http://www.w3.org/2001/XMLSchema#decimal> .
"""


def test_ntriples(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')

    def check(path: Path) -> None:
        table = Table({})
        read_rdf(path, table, 'train')
        findings, triples = table.findings, table.triples['train']
        values = table.literals['train']
        said: list[Triple | Entry] = [
            *(*triples, *values),
            *(*table.names, *table.texts),
        ]
        foreign = sum(
            int(re.findall(r'not used: (\d+)', f.message)[0])
            for f in findings
            if f.kind == 'other language'
        )
        lines = [line.strip(' \t\r') for _, line in lines_of(path)]
        want = [line for line in lines if line and line[0] != '#']
        other = sum(
            findings.counts[kind] for kind in ('further name', 'empty value')
        )
        assert len(said) + other + foreign == len(want)
        check_graph(triples)

    path = tmp_path / 'triples.nt'
    path.write_text(NT)
    read_all(path, check)


def test_processed_graphs(tmp_path: Path) -> None:
    # So many that some damages leave ids of others.
    head = torch.arange(200) % 100
    index, rel = torch.stack([head, head.flip(0)]), head % 2
    data = make_data(100, 2, Triples(index, rel))
    path = tmp_path / 'graph.safetensors'
    save_graph(path, data, {'entity_names': list('abcd')})
    # Without the hash, which gives every damage away.
    save_file(load_tensors(path)[0], path)

    def check(path: Path) -> None:
        graph, meta = load_graph(path)
        for split in SPLITS:
            ids, relations = get_split(graph, split)
            assert ids.shape == (2, len(relations))
            assert ids.numel() == 0 or 0 <= ids.min() <= ids.max() < 100
        assert isinstance(meta, dict)

    read_all(path, check)
