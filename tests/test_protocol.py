"""Rows of benchmarks and the protocol they belong to."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'protocol', raising=False)
    import protocol as module  # type: ignore[import-not-found]
    from protocol import Report

    path = tmp_path / 'deeper' / 'rows.json'
    protocol = {'dataset': 'A', 'fit': {'epochs': 3, 'lr': (0.1, 0.2)}}
    first = Report(path, protocol)
    assert not first.done('plain', 0)
    first.add('plain', 0, {'test': {'mrr': 1.5}})
    # Another process goes on where the first one was, on another machine.
    there = {**module.machine(), 'cpu': 'another'}
    monkeypatch.setattr(module, 'machine', lambda device: there)
    second = Report(path, protocol)
    assert second.done('plain', 0)
    assert not second.done('plain', 1)
    second.add('plain', 1, {'test': {'mrr': 2.5}})
    # The first one may still be at work: nothing is lost.
    first.add('other', 0, {'test': {'mrr': 3.5}})
    rows = json.loads(path.read_text())['rows']
    assert [rows['plain'][s]['test']['mrr'] for s in '01'] == [1.5, 2.5]
    for row in rows['plain'].values():
        assert row['commit']
        assert row['machine']['precision'] in ('bf16', 'fp32')
    assert rows['plain']['0']['machine']['cpu'] != 'another'
    assert rows['plain']['1']['machine']['cpu'] == 'another'
    # Not even if the file was not there when they were begun.
    new = tmp_path / 'new.json'
    early, late = Report(new, protocol), Report(new, {'dataset': 'B'})
    early.add('plain', 0, {})
    with pytest.raises(SystemExit, match='dataset: A there, B here'):
        late.add('plain', 0, {})
    # Rows of other settings do not belong there; what differs is named.
    other = {'dataset': 'A', 'fit': {'epochs': 4, 'lr': (0.1, 0.2)}}
    with pytest.raises(SystemExit, match=r'fit\.epochs: 3 there, 4 here') as e:
        Report(path, other)
    assert 'lr' not in str(e.value)


def test_reports_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'protocol', raising=False)
    from protocol import Report

    path = tmp_path / 'rows.json'

    def work(name: str) -> None:
        report = Report(path, {'dataset': 'A'})
        for seed in range(20):
            report.add(name, seed, {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, 'abcd'))
    rows = json.loads(path.read_text())['rows']
    assert {name: len(seeds) for name, seeds in rows.items()} == dict.fromkeys(
        'abcd', 20
    )
