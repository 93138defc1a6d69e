"""The scripts and the quick start, run as a reader would."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from dsom_pyg.training.checkpoint import read_meta

ROOT = Path(__file__).parents[2]


def run(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> None:
    monkeypatch.setattr(sys, 'argv', [script, *words])
    runpy.run_path(str(ROOT / script), run_name='__main__')


def test_train_dsom(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    run(
        monkeypatch,
        'examples/train_dsom.py',
        *('--epochs', '1', '--channels', '8', '--seeds', '2'),
        *('--save', str(tmp_path / 'saved')),
    )
    table = capsys.readouterr().out.split('\n\n')[-1]
    for name in (
        'plain ComplEx-N3',
        'teacher: structure',
        'teacher: image',
        'teacher: text',
        'mean of the teachers',
        'teachers by policy',
        'teachers by policy, val reward',
        'student of mean',
        'student of policy',
        'student of policy, val reward',
    ):
        assert re.search(rf'^{name} +\d+\.\d\d \(\d+\.\d\d\)', table, re.M)
    meta = read_meta(tmp_path / 'saved' / 'student-seed1.safetensors')
    assert 'France' in meta['entity_names']


def test_quick_start_of_the_readme(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    text = (ROOT / 'README.md').read_text()
    code = text.split('## Quick start')[1].split('```python')[1]
    code = code.split('```')[0].strip()
    assert len(code.splitlines()) <= 15
    exec(compile(code, 'README.md', 'exec'), {})
    assert 'MRR' in capsys.readouterr().out
