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
        'teacher: joint',
        "teachers by paper's policy",
        'teachers by held-out policy',
        'student of mean',
        "student of paper's policy",
        'student of held-out policy',
    ):
        assert re.search(rf'^{name} +\d+\.\d\d \(\d+\.\d\d\)', table, re.M)
    meta = read_meta(tmp_path / 'saved' / 'student-seed1.safetensors')
    assert 'France' in meta['entity_names']


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
    (tmp_path / 'texts.tsv').write_text('n0\tthe first\nn1\tthe second\n')
    words = (str(tmp_path), '--epochs', '1', '--channels', '8', '--query')
    run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r1')
    out = capsys.readouterr().out
    assert 'problems: none' in out
    assert len(re.findall(r'^ +-?\d+\.\d\d  n\d+$', out, re.M)) == 10
    with pytest.raises(SystemExit, match="unknown relation 'r'; did you mean"):
        run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r')
    capsys.readouterr()
    # A second run has nothing left to do, and says the same.
    stamps = [path.stat().st_mtime_ns for path in tmp_path.glob('runs/*/*')]
    assert len(stamps) == 6  # teachers, two folds, weights, policy, student
    run(monkeypatch, 'examples/own_graph.py', *words, 'n0', 'r1')
    assert capsys.readouterr().out == out
    assert stamps == [p.stat().st_mtime_ns for p in tmp_path.glob('runs/*/*')]


def test_numbers_as_a_further_modality(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    rows = [('France', 'population', '67'), ('Peru', 'population', '34')]
    rows += [('Peru', 'area', '1.3e6'), ('Atlantis', 'area', '1')]
    rows += [('Peru', 'motto', 'firm'), ('Chad',)]
    resource = '<http://dbpedia.org/resource/Papua_New_Guinea>'
    rows += [(resource, 'area', '"4.6e5"^^<http://w3.org#double>')]
    numbers = tmp_path / 'numbers.tsv'
    numbers.write_text('\n'.join('\t'.join(row) for row in rows))
    words = ['--epochs', '1', '--channels', '4', '--numbers', str(numbers)]
    run(monkeypatch, 'examples/numeric_modality.py', *words)
    without, with_numbers = capsys.readouterr().out.split('teachers: ')[1:]
    assert without.startswith('structure, image, text;')
    assert with_numbers.startswith('structure, image, text, number;')
    assert re.search(r'^  number +MRR \d', with_numbers, re.M)
    script = runpy.run_path(str(ROOT / 'examples/numeric_modality.py'))
    read = script['numbers_of_file'](numbers)
    assert [row[2] for row in read] == [67, 34, 1.3e6, 1, 4.6e5]
    assert script['readable'](read[-1][0]) == 'Papua New Guinea'
    with pytest.raises(SystemExit, match='no row names an entity'):
        script['numeric_features'](read[3:4], {'Peru': 0})


def test_close_numbers_have_close_features() -> None:
    script = runpy.run_path(str(ROOT / 'examples/numeric_modality.py'))
    names = [str(i) for i in range(100)]
    # Units and order of the rows do not matter, only ranks do.
    rows = [(name, 'x', 1000.0 * int(name) ** 3) for name in names[:0:-1]]
    ids = {name: i for i, name in enumerate(names)}
    x, entity = script['numeric_features'](rows, ids)
    assert entity.tolist() == list(range(1, 100))
    likeness = (x @ x.t())[49]
    assert likeness.argmax() == 49
    assert (likeness[:49].diff() > -1e-3).all()
    assert likeness[0] < 0.05 < 0.9 < likeness[48]


def test_quick_start_of_the_readme(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    text = (ROOT / 'README.md').read_text()
    blocks = text.split('## Quick start')[1].split('```python')[1:3]
    names: dict[str, object] = {}
    for block in blocks:
        code = block.split('```')[0].strip()
        assert len(code.splitlines()) <= 15
        exec(compile(code, 'README.md', 'exec'), names)
    assert 'MRR' in capsys.readouterr().out
