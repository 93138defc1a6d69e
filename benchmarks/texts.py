"""The memory that texts and features of many entities take while their folder
is read, encoded and stored for the first time; with ``--before CHECKOUT`` of
another state of this package as well.

    git worktree add ../before a8ed2dd
    python -m benchmarks.texts --before ../before

A folder as Wikidata5M is distributed, with ``--entities``, 4.5 triples each,
and texts of 540 characters of which some are not Latin (seed 0). The encoder
gives 384 ones, so it takes no memory of its own. *bytes* is the peak above
that after the imports, for each entity. Every reading is a process of its own,
whose peak Linux tells (``VmHWM``).
"""

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.reading import BLOCK, draw, read_once
from experiments import record

LENGTH, WORDS = 540, 5000
LETTERS = 'abcdefghijklmnopqrstuvwxyz'
# One text in so many has such a character.
RARE = {3: '漢', 10: 'é', 1000: '😀'}
READ = r"""
import json, os, re, sys, time
import torch
import dsom_pyg
assert dsom_pyg.__file__.startswith(os.environ['PYTHONPATH'] + '/')
from dsom_pyg.datasets import MKGFolder
class Ones:
    name, out_channels = 'ones', 384
    def __call__(self, items):
        return torch.ones(len(items), 384)
def peak():
    # The peak of resource.getrusage would begin at that of the parent.
    with open('/proc/self/status') as file:
        return int(re.search(r'VmHWM:\s*(\d+) kB', file.read())[1]) * 1024
before, start = peak(), time.perf_counter()
dataset = MKGFolder(sys.argv[1], text_encoder=Ones())
seconds = time.perf_counter() - start
assert all(len(each) == 1 for each in dataset.entity_texts)
print(json.dumps({'seconds': seconds,
    'bytes': (peak() - before) / dataset.num_entities}))
"""


def write_folder(root: Path, entities: int) -> Path:
    """The folder; every entity has a text and a name."""
    words = random.Random(0)
    known = [
        ''.join(words.choices(LETTERS, k=words.randint(2, 10)))
        for _ in range(WORDS)
    ]

    def text(number: int) -> str:
        said = ' '.join(words.choices(known, k=LENGTH // 4))[: LENGTH - 1]
        rare = [RARE[each] for each in RARE if number % each == 0]
        return said + (rare[-1] if rare else '.')

    def write(name: str, lines: list[str]) -> None:
        with (root / f'wikidata5m_{name}.txt').open('a') as file:
            file.writelines(lines)

    root.mkdir()
    for at in range(0, entities, BLOCK):
        block = range(entities)[at : at + BLOCK]
        write('text', [f'Q{x}\t{text(x)}\n' for x in block])
        write('entity', [f'Q{x}\tname {x}\tother {x}\n' for x in block])
    columns = draw(9 * entities // 2, entities, 100, zipf=True)
    rows = np.stack(columns, 1).tolist()
    lines = [f'Q{h}\tP{r}\tQ{t}\n' for h, r, t in rows]
    write('transductive_valid', lines[:1000])
    write('transductive_test', lines[1000:2000])
    write('transductive_train', lines[2000:])
    return root


def main() -> None:
    """Read the folder by each state of the package."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--entities', type=int, default=500_000)
    parser.add_argument('--before', type=Path, help='another checkout')
    args = parser.parse_args()
    settings = {'entities': args.entities, 'characters': LENGTH, 'seed': 0}
    states = {'now': record.ROOT}
    if args.before:
        states['before'] = args.before.resolve()
        head = ['git', '-C', str(args.before), 'rev-parse', '--short', 'HEAD']
        settings['before'] = subprocess.check_output(head, text=True).strip()
    measured = {}
    for name, package in states.items():
        with tempfile.TemporaryDirectory() as root:
            folder = write_folder(Path(root) / 'wikidata5m', args.entities)
            measured[name] = read_once(package, folder, 2, READ)
        print(name, measured[name], flush=True)
    record.benchmark('texts', settings, measured)


if __name__ == '__main__':
    main()
