"""Seconds to read a folder of triples, TSV and N-Triples, and the peak memory;
with ``--before CHECKOUT`` in turns with another state of this package.

    git worktree add ../before fe617cc
    python -m benchmarks.reading --before ../before
    python -m benchmarks.reading --large

The triples are drawn with seed 0, without a feature: a million over 100,000
entities and 100 relations, or ``--large`` as many as in Wikidata5M, where each
entity is the head of a triple and others are drawn by Zipf's law. Every
reading is a process of its own, and makes the graph, its splits and its
processed file anew; ``index`` is how long N(h, r) takes then, and ``audit``
the audit, which reads the folder once more. The figure is the median of
``--rounds``. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments import record

# Triples, entities, relations.
SMALL, LARGE = (1_000_000, 100_000, 100), (20_614_279, 4_594_485, 822)
# How each format writes a triple.
FORMS = {
    'TSV': ('tsv', 'entity {}\trelation {}\tentity {}\n'),
    'N-Triples': (
        'nt',
        '<http://example.org/e{}> <http://example.org/r{}> '
        '<http://example.org/e{}> .\n',
    ),
}
BLOCK = 500_000
FIGURES = ('seconds', 'peak_mib', 'index', 'audit', 'audit_peak_mib')
# What the process of one reading does; both states of the package know it.
READ = """
import json, os, re, sys, time
import dsom_pyg
assert dsom_pyg.__file__.startswith(os.environ['PYTHONPATH'] + '/')
from dsom_pyg import KG
from dsom_pyg.audit import audit
from dsom_pyg.datasets import MKGFolder
def peak_mib():
    # That of resource.getrusage would begin at the parent's.
    with open('/proc/self/status') as file:
        return int(re.search(r'VmHWM:\\s*(\\d+) kB', file.read())[1]) / 1024
start = time.perf_counter()
dataset = MKGFolder(sys.argv[1], text_encoder=None, image_encoder=None)
seconds = time.perf_counter() - start
peak = peak_mib()
start = time.perf_counter()
KG(dataset[0]).index('train')
index = time.perf_counter() - start
start = time.perf_counter()
audit(dataset, images=False)
audited = time.perf_counter() - start
most = peak_mib()
print(json.dumps({'seconds': seconds, 'peak_mib': peak, 'index': index,
    'audit': audited, 'audit_peak_mib': most,
    'entities': dataset.num_entities, 'relations': dataset.num_relations}))
"""


def draw(
    triples: int, entities: int, relations: int, zipf: bool
) -> list[np.ndarray]:
    """Heads, relations and tails."""
    generator = np.random.default_rng(0)
    if not zipf:
        head, tail = generator.integers(0, entities, (2, triples))
        return [head, generator.integers(0, relations, triples), tail]

    def ids(size: int, count: int) -> np.ndarray:
        return (size ** generator.random(count) - 1).astype(np.int64)

    head = np.concatenate(
        [np.arange(entities), ids(entities, triples - entities)]
    )
    columns = [
        head,
        ids(relations, triples),
        generator.permutation(entities)[ids(entities, triples)],
    ]
    order = generator.permutation(triples)
    return [column[order] for column in columns]


def write_folder(root: Path, form: str, columns: list[np.ndarray]) -> Path:
    """The triples in a format."""
    suffix, line = FORMS[form]
    folder = root / suffix
    folder.mkdir()
    with (folder / f'triples.{suffix}').open('w') as file:
        for at in range(0, len(columns[0]), BLOCK):
            rows = (column[at : at + BLOCK].tolist() for column in columns)
            file.writelines(line.format(*x) for x in zip(*rows, strict=True))
    return folder


def read_once(
    package: Path, folder: Path, threads: int, code: str = READ
) -> dict[str, Any]:
    """What one process measured that reads a folder with the package that
    stands in a checkout.
    """
    processed = folder / 'processed'
    for path in processed.glob('*') if processed.exists() else ():
        path.unlink()
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, str(folder)],
        env={
            **os.environ,
            'OMP_NUM_THREADS': str(threads),
            'PYTHONPATH': str(package),
        },
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    """Read both folders in turns, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--large', action='store_true')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--before', type=Path, help='another checkout')
    args = parser.parse_args()
    sizes, threads = (LARGE, 2) if args.large else (SMALL, 1)
    states = {'now': record.ROOT}
    commits = {}
    if args.before:
        states['before'] = args.before.resolve()
        commit = [
            'git',
            '-C',
            str(args.before),
            'rev-parse',
            '--short',
            'HEAD',
        ]
        commits['before'] = subprocess.check_output(commit, text=True).strip()
    rows = []
    columns = draw(*sizes, zipf=args.large)
    with tempfile.TemporaryDirectory() as root:
        for form in FORMS:
            folder = write_folder(Path(root), form, columns)
            said: dict[str, list[dict[str, Any]]] = {x: [] for x in states}
            for _ in range(args.rounds):
                for name, package in states.items():
                    said[name].append(read_once(package, folder, threads))
            graphs = {
                (x['entities'], x['relations'])
                for y in said.values()
                for x in y
            }
            assert len(graphs) == 1, graphs
            row: dict[str, Any] = {'format': form}
            for name, each in said.items():
                for key in FIGURES:
                    values = [x[key] for x in each]
                    row[f'{key}_{name}'] = statistics.median(values)
            if 'before' in said:
                row['ratio'] = row['seconds_now'] / row['seconds_before']
            rows.append(row)
            print(row, flush=True)
    settings = {
        **commits,
        **dict(zip(('triples', 'entities', 'relations'), sizes, strict=True)),
        'seed': 0,
        'threads': threads,
        'rounds': args.rounds,
    }
    name = 'reading-large' if args.large else 'reading'
    record.benchmark(name, settings, {'rows': rows})


if __name__ == '__main__':
    main()
