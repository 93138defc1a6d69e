"""Seconds to read a folder of a million triples, TSV and N-Triples, and the
peak memory; with ``--before CHECKOUT`` in turns with another state of this
package.

    git worktree add ../before ef2a0b4
    python -m benchmarks.reading --before ../before

The triples are drawn with seed 0: 100,000 entities, 100 relations, without a
feature. Every reading is a process of its own, in one thread, and makes the
graph, its splits and its processed file anew. The figure is the median of
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

ENTITIES, RELATIONS = 100_000, 100
IRI = 'http://example.org/{}'
# What the process of one reading does; both states of the package know it.
READ = """
import json, os, resource, sys, time
import dsom_pyg
assert dsom_pyg.__file__.startswith(os.environ['PYTHONPATH'] + '/')
from dsom_pyg.datasets import MKGFolder
start = time.perf_counter()
dataset = MKGFolder(sys.argv[1], text_encoder=None, image_encoder=None)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({'seconds': seconds, 'peak_mib': peak,
    'entities': dataset.num_entities, 'relations': dataset.num_relations}))
"""


def write_folders(root: Path, triples: int) -> dict[str, Path]:
    """The same triples in each format."""
    draw = np.random.default_rng(0)
    pairs = draw.integers(0, ENTITIES, (2, triples)).tolist()
    kinds = draw.integers(0, RELATIONS, triples).tolist()
    rows = list(zip(pairs[0], kinds, pairs[1], strict=True))
    plain = [f'entity {h}\trelation {r}\tentity {t}\n' for h, r, t in rows]
    iris = (
        [IRI.format(x) for x in (f'e{h}', f'r{r}', f'e{t}')]
        for h, r, t in rows
    )
    linked = [f'<{h}> <{r}> <{t}> .\n' for h, r, t in iris]
    files = {'TSV': ('tsv', plain), 'N-Triples': ('nt', linked)}
    folders = {}
    for name, (suffix, lines) in files.items():
        folders[name] = root / suffix
        folders[name].mkdir()
        (folders[name] / f'triples.{suffix}').write_text(''.join(lines))
    return folders


def read_once(package: Path, folder: Path) -> dict[str, Any]:
    """What one process measured that reads a folder with the package that
    stands in a checkout.
    """
    processed = folder / 'processed'
    for path in processed.glob('*') if processed.exists() else ():
        path.unlink()
    one_thread = {'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(package)}
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', READ, str(folder)],
        env={**os.environ, **one_thread},
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    """Read both folders in turns, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--triples', type=int, default=1_000_000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--before', type=Path, help='another checkout')
    args = parser.parse_args()
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
    with tempfile.TemporaryDirectory() as root:
        for form, folder in write_folders(Path(root), args.triples).items():
            said: dict[str, list[dict[str, Any]]] = {x: [] for x in states}
            for _ in range(args.rounds):
                for name, package in states.items():
                    said[name].append(read_once(package, folder))
            graphs = {
                (x['entities'], x['relations'])
                for y in said.values()
                for x in y
            }
            assert len(graphs) == 1, graphs
            row: dict[str, Any] = {'format': form}
            for name, each in said.items():
                for key in ('seconds', 'peak_mib'):
                    values = [x[key] for x in each]
                    row[f'{key}_{name}'] = statistics.median(values)
            if 'before' in said:
                row['ratio'] = row['seconds_now'] / row['seconds_before']
            rows.append(row)
            print(row, flush=True)
    settings = {
        **commits,
        'triples': args.triples,
        'entities': ENTITIES,
        'relations': RELATIONS,
        'seed': 0,
        'threads': 1,
        'rounds': args.rounds,
    }
    record.benchmark('reading', settings, {'rows': rows})


if __name__ == '__main__':
    main()
