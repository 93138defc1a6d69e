"""Reports of benchmarks as tables."""

import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / 'benchmarks' / 'table.py'


def report() -> dict[str, object]:
    def seeds(*mrr: float) -> dict[str, object]:
        return {
            str(seed): {
                'val': {'mrr': x, 'hits@1': 1, 'hits@3': 2, 'hits@10': 3}
            }
            for seed, x in enumerate(mrr)
        }

    rows = {
        'teacher: text': seeds(7.0),
        'mean: teachers': seeds(10.0, 12.0),
        'mean: student': seeds(9.0),
        'policy: teachers': seeds(11.0, 14.0, 17.0),
    }
    return {'protocol': {'measured_on': 'val'}, 'rows': rows}


def test_table(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.delitem(sys.modules, 'table', raising=False)
    from table import main  # type: ignore[import-not-found]

    path = tmp_path / 'rows.json'
    path.write_text(json.dumps(report()))
    words = ['table.py', str(path), '--against']
    monkeypatch.setattr(sys, 'argv', [*words, 'mean'])
    main()
    lines = capsys.readouterr().out.splitlines()
    cells = [[c.strip() for c in line.split('|')[1:-1]] for line in lines[2:]]
    # Seeds 0 and 1 are in both: 1 and 2 apart, 1.5 on average, and a sample
    # deviation of 1 / sqrt(2).
    assert cells == [
        ['teacher: text', '1', '7.00', '1.00', '2.00', '3.00', ''],
        ['mean: teachers', '2', '11.00 (1.41)', '1.00', '2.00', '3.00', ''],
        ['mean: student', '1', '9.00', '1.00', '2.00', '3.00', ''],
        [
            'policy: teachers',
            '3',
            '14.00 (3.00)',
            '1.00',
            '2.00',
            '3.00',
            '1.50 (0.71), least 1.00',
        ],
    ]
    monkeypatch.setattr(sys, 'argv', [*words, 'teacher'])
    with pytest.raises(SystemExit, match='there are: mean, policy'):
        main()
