"""Whether ``dsom-pyg train`` goes on after it was killed, to the same weights.

    python -m benchmarks.interruptions

Makes a folder of made-up towns, with a picture and a description each, and
trains there undisturbed, in one thread. Then it trains again and again in new
folders, is stopped once at a random moment, and goes on by the same command:
by SIGKILL, every other time while a file is being written, and by SIGINT,
which must end with status 130 and one sentence. All weights must be the same
in the end, bit for bit, and no temporary file may stay.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dsom_pyg.files import BEGIN, END, load_tensors
from experiments import record

COMMAND = 'from dsom_pyg.cli.main import main; main()'
# Every stage, in few epochs.
SETTINGS = (
    'teachers.channels=16',
    'student.channels=16',
    'teachers.loop.epochs=3',
    'teachers.loop.eval_every=0',
    'student.loop.epochs=3',
    'student.loop.eval_every=0',
    'student.unlabeled.queries=2000',
    'policy.evidence.k=2',
    'policy.learner.epochs=3',
    'policy.learner.base.epochs=3',
)


def make_folder(folder: Path, side: int, seed: int) -> int:
    """Towns on a grid, their roads and markets; how many triples."""
    rng = random.Random(seed)
    towns = [(x, y) for x in range(side) for y in range(side)]

    def name(x: int, y: int) -> str:
        return f'Town {x}/{y}'  # a slash, as real names have

    rows = []
    for x, y in towns:
        here = name(x, y)
        for relation, dx, dy in (('road east', 1, 0), ('road north', 0, 1)):
            if x + dx < side and y + dy < side and rng.random() < 0.8:
                rows.append((here, relation, name(x + dx, y + dy)))
        rows.append((here, 'market in', name(x // 5 * 5, y // 5 * 5)))
        far = name((x + rng.randrange(3)) % side, (y + 7) % side)
        rows.append((here, 'twinned with', far))
    rng.shuffle(rows)
    for split, part in (('valid', rows[:50]), ('train', rows[50:])):
        lines = ['\t'.join(row) for row in part]
        (folder / f'{split}.tsv').write_text('\n'.join(lines) + '\n')
    texts = [
        f'{name(x, y)}\tcolumn{x // 5} row{y // 5} county{x // 9}{y // 9}'
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


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    """The command, in one thread."""
    words = [sys.executable, '-W', 'ignore', '-c', COMMAND, 'train']
    words += [str(folder), '--out', str(out), '--recipe', 'tiny']
    words += [word for s in SETTINGS for word in ('--set', s)]
    return subprocess.Popen(
        words,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background may have inherited deaf ears.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(folder: Path, out: Path) -> None:
    """Run it to the end."""
    process = start(folder, out)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f'status {process.returncode}: {said}')


def weights(out: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run, by file and name."""
    return {
        f'{path.relative_to(out)} {name}': tensor
        for path in sorted(out.rglob('*.safetensors'))
        for name, tensor in load_tensors(path)[0].items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two runs are equal, bit for bit."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].numpy().tobytes() == other[name].numpy().tobytes()
        for name in one
    )


def stage_of(out: Path) -> str:
    """The stage of the last epoch that was written down."""
    path = out / 'metrics.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        try:
            return str(json.loads(line)['stage'])
        except (ValueError, KeyError):
            continue
    return 'before the first epoch'


def being_written(out: Path) -> set[Path]:
    """Files that are not whole yet."""
    folders = out, out / 'stages'
    return {p for f in folders for p in f.glob(f'{BEGIN}*{END}')}


def wait(
    process: subprocess.Popen[str], out: Path, seconds: float, writes: int
) -> None:
    """Until some seconds of the training, or until a file is written."""
    while process.poll() is None and not (out / 'run.json').exists():
        time.sleep(0.01)
    if writes:
        seen: set[Path] = set()
        while process.poll() is None and len(seen) < writes:
            seen |= being_written(out)
        return
    time.sleep(seconds)


def disturb(
    folder: Path, out: Path, sign: signal.Signals, moment: float, writes: int
) -> dict[str, Any] | None:
    """Stop a run once; nothing if it had ended before.

    Raises:
        RuntimeError: It was stopped, and ended otherwise than it should.
    """
    process = start(folder, out)
    wait(process, out, moment, writes)
    process.send_signal(sign)
    _, said = process.communicate()
    # Python hears no SIGINT any more while it takes itself apart in the end.
    leaving = process.returncode == -signal.SIGINT
    if process.returncode == 0 or (leaving and (out / 'model.json').exists()):
        return None
    expected = 130 if sign == signal.SIGINT else -sign
    if process.returncode != expected:
        raise RuntimeError(
            f'{sign.name}: status {process.returncode}, expected {expected}: '
            f'{said}'
        )
    if sign == signal.SIGINT and len(said.strip().splitlines()) != 1:
        raise RuntimeError(f'not one sentence: {said}')
    return {
        'by': sign.name,
        'status': process.returncode,
        'while a file was written': bool(being_written(out)),
        'after an epoch of': stage_of(out),
        'said': said.strip().replace(str(out), 'RUN'),
    }


def measure(
    place: Path, side: int, kills: int, interrupts: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An undisturbed run, and disturbed ones."""
    folder = place / 'towns'
    folder.mkdir()
    triples = make_folder(folder, side, seed)
    finish(folder, place / 'warm')  # texts and images are encoded
    begun = time.perf_counter()
    process = start(folder, place / 'whole')
    wait(process, place / 'whole', 0.0, 0)
    imported = time.perf_counter() - begun
    if process.wait():
        raise RuntimeError(process.communicate()[1])
    seconds = time.perf_counter() - begun
    expected = weights(place / 'whole')
    # Three epochs of five stages, and of two folds; and the model itself.
    saves = 3 * 6 + 5
    rng = random.Random(seed)
    runs, too_late = [], 0
    signs = [signal.SIGKILL] * kills + [signal.SIGINT] * interrupts
    for at, sign in enumerate(signs):
        found, ended = None, 0
        while found is None:
            out = place / f'run-{at}-{ended}'
            moment = rng.uniform(0.0, seconds - imported)
            writes = rng.randrange(1, saves) if at % 2 else 0
            found = disturb(folder, out, sign, moment, writes)
            ended += found is None
        finish(folder, out)
        left = [p for p in out.rglob('*') if p.name.startswith('.')]
        left += out.rglob('*.previous.*')
        found['same weights'] = same(weights(out), expected)
        found['files left over'] = len(left)
        too_late += ended
        print(f'{at + 1} of {len(signs)}: {found}', flush=True)
        runs.append(found)
    stages = Counter(run['after an epoch of'] for run in runs)
    settings = {
        'entities': side**2,
        'triples': triples,
        'set': list(SETTINGS),
        'seed': seed,
    }
    return settings, {
        'seconds of an undisturbed run': seconds,
        'of these, until training begins': imported,
        'runs that were stopped': len(runs),
        'runs that had ended before': too_late,
        'by': dict(Counter(run['by'] for run in runs)),
        'while a file was written': sum(
            run['while a file was written'] for run in runs
        ),
        'same weights': sum(run['same weights'] for run in runs),
        'files left over': sum(run['files left over'] for run in runs),
        'after an epoch of': dict(stages),
        'runs': runs,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--interrupts', type=int, default=10)
    parser.add_argument('--side', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings, measured = measure(
            Path(name), args.side, args.kills, args.interrupts, args.seed
        )
    record.benchmark('interruptions', settings, measured)


if __name__ == '__main__':
    main()
