"""The scripts and the quick start, run as a reader would.

In place of the bundled graph stands a small one: what is tested is that each
line runs and says what it promises.
"""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg import datasets

ROOT = Path(__file__).parents[2]


class Small(datasets.FakeMMKG):
    """The random graph, called like `Countries`."""

    def __init__(self, text_encoder: Any = None) -> None:
        self.text_encoder = text_encoder
        super().__init__()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, 'Countries', Small)


def run(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> None:
    monkeypatch.setattr(sys, 'argv', [script, *words])
    runpy.run_path(str(ROOT / script), run_name='__main__')


def test_they_fit_a_screen() -> None:
    scripts = list((ROOT / 'examples').glob('*.py'))
    assert len(scripts) == 3
    for script in scripts:
        assert len(script.read_text().splitlines()) < 60, script


def test_train_dsom(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    words = ('--epochs', '1', '--folder', str(tmp_path))
    run(monkeypatch, 'examples/train_dsom.py', *words)
    table = capsys.readouterr().out
    for name in (
        'plain ComplEx-N3',
        'teacher: structure',
        'teacher: joint',
        'teachers by the policy',
        'student',
    ):
        assert re.search(rf'^{name} +MRR \d+\.\d\d', table, re.M), name
    stages = {path.stem for path in tmp_path.glob('*.safetensors')}
    assert stages == {
        *(f'fold-{at}-of-4' for at in (1, 2, 3, 4)),
        *('teachers', 'weights', 'policy', 'student'),
    }


def test_own_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, 'examples/own_part.py', '--epochs', '1')
    assert capsys.readouterr().out.startswith('MRR')
    part = runpy.run_path(str(ROOT / 'examples/own_part.py'))
    x = part['LetterTriples']()(['Norway', 'Norways', 'Peru'])
    likeness = x @ x.t()
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]
    # By its first and third quarter DistMult, by the others ComplEx.
    head, rel, tail = torch.randn(3, 5, 8).unbind()
    a, b = head.chunk(4, -1), rel.chunk(4, -1)
    t = tail.chunk(4, -1)
    h_c = torch.complex(a[1], a[3])
    r_c = torch.complex(b[1], b[3])
    t_c = torch.complex(t[1], t[3])
    expected = (a[0] * b[0] * t[0] + a[2] * b[2] * t[2]).sum(1)
    expected = expected + (h_c * r_c * t_c.conj()).real.sum(1)
    query = part['Analogy'].query(None, head, rel)
    assert torch.allclose((query * tail).sum(1), expected, atol=1e-5)


def test_own_graph(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    rows = [
        f'n{i}\tr{k % 2}\tn{(i + k) % 12}\n'
        for i in range(12)
        for k in (1, 2, 3, 4)
    ]
    (tmp_path / 'triples.tsv').write_text(''.join(rows))
    (tmp_path / 'descriptions.tsv').write_text('n0\tthe first\nn1\tsecond\n')
    words = (str(tmp_path), '--epochs', '1', '--channels', '8', '--query')
    run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r1')
    out = capsys.readouterr().out
    assert 'problems: none' in out
    assert len(re.findall(r'^ +-?\d+\.\d\d  n\d+$', out, re.M)) == 10
    with pytest.raises(ValueError, match="unknown relation 'r'; did you mean"):
        run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r')
    capsys.readouterr()
    # A second run has nothing left to do, and says the same.
    files = sorted(tmp_path.glob('runs/*/*'))
    stamps = [path.stat().st_mtime_ns for path in files]
    assert len(stamps) == 6  # teachers, two folds, weights, policy, student
    run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r1')
    assert capsys.readouterr().out == out
    assert stamps == [path.stat().st_mtime_ns for path in files]


def test_quick_start_of_the_readme(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / 'README.md').read_text()
    blocks = text.split('## Quick start')[1].split('```python')[1:3]
    names: dict[str, Any] = {}
    for block in blocks:
        code = block.split('```')[0].strip()
        assert len(code.splitlines()) <= 15
        exec(compile(code, 'README.md', 'exec'), names)
    assert re.match(r'MRR \d+\.\d\d', capsys.readouterr().out)
    assert names['recipe'].policy.evidence.ratio == 0.05
