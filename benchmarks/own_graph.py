"""Whether examples/own_graph.py goes on after being killed, at full size.

    python -m benchmarks.own_graph

Makes a folder of 10,000 made-up entities (towns on a map, with a picture and
a description each), runs the example there to the end, then runs it in a
copy where it is killed again and again at random moments, and compares the
answers. They must be the same, word for word.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments import record

EXAMPLE = Path(__file__).parents[1] / 'examples' / 'own_graph.py'
SIDE = 100


def make_folder(folder: Path, seed: int = 0) -> int:
    """Towns on a grid, their roads and provinces; how many triples."""
    rng = random.Random(seed)
    towns = [(x, y) for x in range(SIDE) for y in range(SIDE)]

    def name(x: int, y: int) -> str:
        return f'Town {x}/{y}'  # a slash, as real names have

    rows = []
    for x, y in towns:
        here = name(x, y)
        for relation, dx, dy in (('road east', 1, 0), ('road north', 0, 1)):
            if x + dx < SIDE and y + dy < SIDE and rng.random() < 0.8:
                rows.append((here, relation, name(x + dx, y + dy)))
        rows.append((here, 'market in', name(x // 5 * 5, y // 5 * 5)))
        rows.append((here, 'court in', name(x // 20 * 20, y // 20 * 20)))
        far = name((x + rng.randrange(3)) % SIDE, (y + 7) % SIDE)
        rows.append((here, 'twinned with', far))
    lines = ['\t'.join(row) for row in rows]
    (folder / 'triples.tsv').write_text('\n'.join(lines) + '\n')
    texts = [
        f'{name(x, y)}\tcolumn{x // 5} row{y // 5} county{x // 20}{y // 20}'
        for x, y in towns
    ]
    (folder / 'descriptions.tsv').write_text('\n'.join(texts) + '\n')
    images = folder / 'images'
    images.mkdir()
    for x, y in towns:
        pixels = np.full((32, 32, 3), (x * 2, y * 2, 128), np.uint8)
        pixels[: 4 + x % 20, : 4 + y % 20] = 255
        path = images / f'{name(x, y).replace("/", "_")}.png'
        Image.fromarray(pixels).save(path)
    return len(rows)


def example(folder: Path, epochs: int, limit: float | None) -> str | None:
    """What the example prints, or nothing if it was killed."""
    words = [sys.executable, str(EXAMPLE), str(folder)]
    words += ['--query', 'Town 41/63', 'market in', '--epochs', str(epochs)]
    try:
        done = subprocess.run(
            words, timeout=limit, capture_output=True, text=True, check=True
        )
    except subprocess.TimeoutExpired:  # killed by SIGKILL
        return None
    return done.stdout


def measure(
    folder: Path, epochs: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An undisturbed run, and one that is killed many times."""
    start = time.perf_counter()
    triples = make_folder(folder)
    made = time.perf_counter() - start
    copy = folder.with_name('copy')
    shutil.copytree(folder, copy)
    start = time.perf_counter()
    expected = example(folder, epochs, None)
    seconds = time.perf_counter() - start
    assert expected is not None
    print(expected)
    rng = random.Random(seed)
    kills = 0
    while (
        got := example(copy, epochs, rng.uniform(0.1, 0.5) * seconds)
    ) is None:
        kills += 1
        print(f'killed {kills} times', flush=True)
    answers = expected.partition('without known answers')[2].strip()
    settings = {
        'entities': SIDE**2,
        'triples': triples,
        'epochs': epochs,
        'seed': seed,
    }
    return settings, {
        'seconds to make the folder': made,
        'seconds of an undisturbed run': seconds,
        'kills': kills,
        # The first line is the name of the folder.
        'same output': got.partition('sizes')[2]
        == expected.partition('sizes')[2],
        'answers': answers.split('\n')[1:],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / 'towns'
        folder.mkdir()
        settings, measured = measure(folder, args.epochs, args.seed)
    record.benchmark('own_graph', settings, measured)


if __name__ == '__main__':
    main()
