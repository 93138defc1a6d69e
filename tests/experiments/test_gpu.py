import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from experiments import record


def test_the_benchmark_of_gpus_runs_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, 'RESULTS', tmp_path)
    words = ['gpu', '--device', 'cpu', '--small', '--steps', '1']
    monkeypatch.setattr(sys, 'argv', words)
    gpu.main()
    said = json.loads((tmp_path / 'benchmarks' / 'gpu.json').read_text())
    measured = said['measured']
    assert said['settings']['small'] is True
    assert set(measured) == {
        'machine',
        *(
            f'small, {what}, D = {d}'
            for what in (
                *('teacher', *gpu.STUDENTS, 'ranking', 'PyKEEN', 'ratio'),
            )
            for d in (16, 32)
        ),
        *(f'large, {x}, D = 16' for x in ('teacher', 'student', 'ranking')),
        *(f'growth, E = {e}' for e in gpu.GROWTH),
        *(f'losses, E = {e}' for e in (50, 500)),
    }
    for entities in (50, 500):
        part = measured.pop(f'losses, E = {entities}')
        # One loss, however it is made. Where nothing compiles, that is told.
        assert part.pop('products')['seconds'] > 0
        ways = [x for x in part.values() if isinstance(x, dict)]
        values = [way['value'] for way in ways]
        assert len(values) >= 2
        assert values == pytest.approx([values[0]] * len(values), rel=1e-2)
        assert all(way['seconds'] > 0 for way in ways)
    for d in (16, 32):
        ratio = measured.pop(f'small, ratio, D = {d}')
        theirs, ours = (
            measured[f'small, {name}, D = {d}']['epoch_s']
            for name in ('PyKEEN', 'teacher')
        )
        assert ratio['PyKEEN LCWA / teacher'] == pytest.approx(theirs / ours)
    for name, part in measured.items():
        times = [part[x] for x in part if x.endswith(('_s', 'seconds'))]
        numbers = [x for x in times if isinstance(x, float)]
        assert numbers, name
        assert min(numbers) > 0


def test_a_part_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise TypeError('of a foreign library')

    monkeypatch.setattr(record, 'RESULTS', tmp_path)
    monkeypatch.setattr(gpu, 'pykeen', fail)
    for name in ('training', 'losses', 'ranking'):
        monkeypatch.setattr(gpu, name, lambda *words: {'done': True})
    words = ['gpu', '--device', 'cpu', '--small', '--steps', '1']
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit, match='failed: small, PyKEEN, D = 16; sm'):
        gpu.main()
    file = tmp_path / 'benchmarks' / 'gpu.json'
    measured = json.loads(file.read_text())['measured']
    why = 'TypeError: of a foreign library'
    assert measured.pop('small, PyKEEN, D = 16') == why
    assert measured.pop('small, PyKEEN, D = 32') == why
    assert measured.pop('machine')
    assert all(part['done'] for part in measured.values())
    assert f'growth, E = {gpu.GROWTH[-1]}' in measured


def test_what_the_time_does_not_allow_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, 'RESULTS', tmp_path)
    bench = gpu.Bench('cpu', 1, -1.0)
    bench.part('late', lambda: pytest.fail('begun'))
    assert bench.measured == {'late': 'not measured: no time was left'}
