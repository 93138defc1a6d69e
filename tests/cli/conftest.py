"""A folder with a graph, and a model that the command has trained of it."""

from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from dsom_pyg.cli.main import app

SHIPS = ['MV Auk', 'MV Brent', 'MV Dunlin', 'MV Eider', 'MV Gull']
PORTS = ['Arnel', 'Port Bude', 'Crail', 'Doune', 'Elie', 'Forth']
# Two epochs of everything.
QUICK = """
recipe = "small"
text_encoder = "tfidf"
teachers.channels = 4
student.channels = 4
student.unlabeled.queries = 50
policy.evidence = {kind = "OneFold", ratio = 0.3}
policy.learner.epochs = 2
policy.learner.base.epochs = 2
[teachers.loop]
epochs = 2
eval_every = 0
[student.loop]
epochs = 2
eval_every = 0
"""

Command = Callable[..., Result]


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for at, (ship, port) in enumerate(product(SHIPS, PORTS)):
        if at % 3:
            rows.append((ship, 'calls at', port))
    for one, other in pairwise(PORTS):
        rows += [(one, 'sea route to', other), (other, 'sea route to', one)]
    root = tmp_path_factory.mktemp('ships')
    for name, part in (
        ('train', rows[:-6]),
        ('valid', rows[-6:-3]),
        ('test', rows[-3:]),
    ):
        lines = ['\t'.join(row) for row in part]
        (root / f'{name}.tsv').write_text('\n'.join(lines) + '\n')
    lines = [f'{port}\ta harbour called {port}' for port in PORTS]
    (root / 'descriptions.tsv').write_text('\n'.join(lines) + '\n')
    (root / 'images').mkdir()
    for at, ship in enumerate(SHIPS):
        colour = (40 * at, 90, 200 - 30 * at)
        Image.new('RGB', (9, 9), colour).save(root / f'images/{ship}.png')
    (root / 'run.toml').write_text(QUICK)
    return root


@pytest.fixture(scope='session')
def command() -> Command:
    def run(*words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture(scope='session')
def run_folder(
    folder: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp('runs') / 'ships'
    done = command(
        'train', folder, '--out', out, '--config', folder / 'run.toml'
    )
    assert done.exit_code == 0, done.output
    (out / 'said.txt').write_text(done.output)
    return out
