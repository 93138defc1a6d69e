"""Two and four processes give what one gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

JOB = Path(__file__).parent / 'job.py'
ROOT = JOB.parents[2]
RANKS = 'ranks', 'ranks of the joint teacher', 'ranks of the teachers'


def run(folder: Path, processes: int, *words: str, job: str = 'job.py') -> str:
    """Run the job, by torchrun if in several processes; what it printed."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, '-W', 'ignore']
    if processes > 1:
        command += ['-m', 'torch.distributed.run', '--standalone']
        command += ['--nproc-per-node', str(processes)]
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(
        [*command, str(JOB.with_name(job)), str(folder), *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('processes')


def said(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / 'said.json').read_text())
    return found


def check_alike(one: Path, many: Path, processes: int, far: float) -> None:
    a, b = said(one), said(many)
    assert (a['processes'], b['processes']) == (1, processes)
    assert a['history'].keys() == b['history'].keys()
    for stage, epochs in a['history'].items():
        for x, y in zip(epochs, b['history'][stage], strict=True):
            assert x.keys() == y.keys()
            for name in x.keys() - {'seconds'}:
                # Of nearly equal scores the last bits decide who is ahead.
                near = max(far, 2e-3) if name == 'val_mrr' else far
                assert y[name] == pytest.approx(x[name], rel=near, abs=near)
    weights = [torch.load(folder / 'student.pt') for folder in (one, many)]
    for name, value in weights[0].items():
        torch.testing.assert_close(
            weights[1][name], value, atol=20 * far, rtol=20 * far
        )


def check_ranks(one: Path, many: Path) -> None:
    a, b = said(one), said(many)
    for name in RANKS:
        # Of entities with nearly equal scores, some change places.
        far = torch.tensor(a[name]) - torch.tensor(b[name])
        assert far.abs().max() <= 1
        assert far.count_nonzero() <= 0.03 * len(far)
    # The same entities, but for near equals.
    for name in ('tails', 'others'):
        pairs = zip(a[name], b[name], strict=True)
        same = [len({*x} & {*y}) / len({*x}) for x, y in pairs]
        assert min(same) > 0.7


def test_several_processes(root: Path) -> None:
    run(root / 'one', 1, 'mean')
    run(root / 'two', 2, 'mean')
    # Sums of other parts in another order: losses agree to 1e-4.
    check_alike(root / 'one', root / 'two', 2, 1e-4)
    # No step, and no ranking, puts scores of all entities together.
    assert said(root / 'two')['joined'] == []
    check_ranks(root / 'one', root / 'two')


def test_others_go_on(root: Path) -> None:
    # Two processes end before the third epoch of the student, four go on,
    # and one reads what they have written.
    if not (root / 'one').exists():
        run(root / 'one', 1, 'mean')
    run(root / 'four', 2, 'mean', '3')
    assert not (root / 'four' / 'said.json').exists()
    run(root / 'four', 4, 'mean')
    check_alike(root / 'one', root / 'four', 4, 1e-4)
    check_ranks(root / 'one', root / 'four')
    four = said(root / 'four')
    run(root / 'four', 1, 'mean')
    one = said(root / 'four')
    # Of equal weights, all is equal.
    for name in ('history', *RANKS, 'tails', 'others'):
        assert one[name] == four[name]
    for query, tails in enumerate(one['others']):
        count = 61 - one['known'].count(query)
        assert len(tails) == 61
        assert len({*tails} - {-1}) == count
    assert (one['processes'], four['processes']) == (1, 4)


def test_processes_that_drift_apart_agree_after_each_epoch(root: Path) -> None:
    run(root / 'apart', 2, 'apart')
    assert said(root / 'apart')['processes'] == 2


@pytest.mark.parametrize(
    'what',
    [
        'warm',
        'wide',
        'near',
        'committee',
        'row by row',
        'sampled',
        'paper',
        'policy',
        'mixed',
        'mixed-policy',
    ],
)
def test_other_recipes(what: str, root: Path) -> None:
    one, two = root / f'one-{what}', root / f'two-{what}'
    run(one, 1, what)
    run(two, 2, what)
    # A policy looks at whom a teacher prefers; of scores that are nearly
    # equal the last bits decide.
    policy = what.endswith('policy')
    check_alike(one, two, 2, 2e-3 if policy else 1e-4)
    assert said(two)['joined'] == []
    if not policy:
        check_ranks(one, two)


def test_halves_are_rounded_alike(root: Path) -> None:
    one, two = root / 'one-bf16', root / 'two-bf16'
    run(one, 1, 'bf16')
    run(two, 2, 'bf16')
    # Each process rounds its own gradient of the queries.
    history, other = (said(folder)['history'] for folder in (one, two))
    for stage, epochs in history.items():
        for x, y in zip(epochs, other[stage], strict=True):
            assert y['loss'] == pytest.approx(x['loss'], rel=5e-3)


def test_who_would_do_something_else_is_told(tmp_path: Path) -> None:
    run(tmp_path, 2, job='other.py')
    for at in range(2):
        said = json.loads((tmp_path / f'{at}.json').read_text())
        assert 'seed: 0 there, 1 here' in said['seed']
        for kind in ('seed', 'graph', 'features'):
            assert 'process 1 (here) would train another run' in said[kind]
            name = 'fixed features' if kind == 'features' else kind
            assert f'\n{name}: ' in said[kind]
        assert '\ncheckpoint: True there, False here' in said['kept']
        wrong = "epochs in '.*' \\(1 by 0, 0 by 1\\); they need a folder"
        assert re.search(wrong, said['folder'])


def test_the_command_trains_in_two_processes(tmp_path: Path) -> None:
    folder = tmp_path / 'graph'
    folder.mkdir()
    rows = [f'e{i}\tr{i % 2}\te{(3 * i + 1) % 40}' for i in range(120)]
    (folder / 'triples.tsv').write_text('\n'.join(rows) + '\n')
    words = 'train', str(folder), '--recipe', 'small', '--device', 'cpu'
    words = *words, '--set', 'seed=1', '--out', str(tmp_path / 'run')
    said = run(tmp_path / 'job', 2, *words, job='command.py')
    assert said.count('the model is kept') == 1
    assert (tmp_path / 'run' / 'model.json').is_file()
