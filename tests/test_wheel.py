"""A wheel, built from the tracked files and installed away from them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dsom_pyg
from dsom_pyg.datasets import Countries
from dsom_pyg.graph import fingerprint

ROOT = Path(__file__).parents[1]
DATA = 'datasets/Countries/'

# Imports every module that it finds beside `dsom_pyg/__init__.py`.
SCRIPT = """
import json, sys
from importlib import import_module
from pathlib import Path

import dsom_pyg

site = Path(dsom_pyg.__file__).parents[1]
modules = {}
for path in sorted(site.glob('dsom_pyg/**/*.py')):
    parts = path.relative_to(site).with_suffix('').parts
    if parts[-1] != '__main__':  # a command, to be run
        name = '.'.join(parts).removesuffix('.__init__')
        modules[name] = import_module(name).__file__

from dsom_pyg.datasets import Countries
from dsom_pyg.graph import fingerprint

data = Countries(sys.argv[1], image_encoder=None, text_encoder=None)[0]
print(json.dumps([modules, fingerprint(data)]))
"""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    assert not done.returncode, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope='module')
def tracked() -> list[str]:
    if not (ROOT / '.git').exists():
        pytest.skip('no checkout')
    names = run('git', 'ls-files', '-z', cwd=ROOT).split('\0')
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def site(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but what the wheel brings."""
    place = tmp_path_factory.mktemp('wheel')
    for name in tracked:
        copy = place / 'source' / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    wheels, empty = place / 'wheels', place / 'site'
    build = ['--no-deps', '--no-build-isolation', '--wheel-dir', wheels]
    run(*pip, 'wheel', *build, place / 'source', cwd=place)
    [wheel] = wheels.iterdir()
    options = ['--no-deps', '--no-compile', '--target', empty]
    run(*pip, 'install', *options, wheel, cwd=place)
    return empty


def test_every_file_is_in_the_wheel(site: Path, tracked: list[str]) -> None:
    wanted = {
        name.replace(DATA, 'dsom_pyg/datasets/countries_data/'): name
        for name in tracked
        if name.startswith(('dsom_pyg/', DATA))
    }
    assert 'dsom_pyg/py.typed' in wanted
    assert 'dsom_pyg/datasets/countries_data/train.tsv' in wanted
    for there, here in wanted.items():
        assert (site / there).is_file(), f'{here} is not in the wheel'
        assert (site / there).read_bytes() == (ROOT / here).read_bytes()
    files = (path for path in site.glob('dsom_pyg/**/*') if path.is_file())
    assert {path.relative_to(site).as_posix() for path in files} == set(wanted)
    [metadata] = site.glob('dsom_pyg-*.dist-info/METADATA')
    lines = metadata.read_text(encoding='utf-8').splitlines()
    assert f'Version: {dsom_pyg.__version__}' in lines


def test_the_installed_package_stands_alone(
    site: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / 'empty'
    elsewhere.mkdir()
    out = run(
        *(sys.executable, '-c', SCRIPT, tmp_path / 'there'),
        cwd=elsewhere,
        env={**os.environ, 'PYTHONPATH': str(site)},
    )
    modules, found = json.loads(out.splitlines()[-1])
    assert 'dsom_pyg.encoders.bert' in modules
    for name, file in modules.items():
        assert Path(file).is_relative_to(site), f'{name} comes from {file}'
    assert not list(elsewhere.iterdir())
    here = Countries(tmp_path / 'here', image_encoder=None, text_encoder=None)
    assert found == fingerprint(here[0])


def test_the_command(site: Path, tmp_path: Path) -> None:
    def ask(*words: str) -> str:
        path = os.pathsep.join([str(site / 'bin'), os.environ['PATH']])
        env = {**os.environ, 'PYTHONPATH': str(site), 'PATH': path}
        return run('dsom-pyg', *words, cwd=tmp_path, env=env)

    train = ['train', 'Countries', '--set', 'policy=MeanOfTeachers']
    train += ['--text-encoder', 'none', '--image-encoder', 'none']
    for setting in (
        *('teachers.channels=4', 'teachers.loop.epochs=1'),
        *('student.channels=4', 'student.loop.epochs=1'),
        'student.unlabeled.queries=100',
    ):
        train += ['--set', setting]
    said = ask(*train).splitlines()[-1]
    assert "dsom-pyg answer runs/countries '" in said
    found = ask('answer', 'runs/countries', 'Norway', 'borders', '-k', '3')
    *lines, note = found.splitlines()
    assert len(lines) == 4  # with a head line
    assert 'known answers are left out' in note
