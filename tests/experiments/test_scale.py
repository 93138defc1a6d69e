import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != 'linux', reason='reads memory of /proc')
@pytest.mark.parametrize('kind', ['teacher', 'student', 'sampled'])
def test_a_line_of_the_benchmark_of_scale(kind: str) -> None:
    words = ['--one', kind, '20000', '4', '--steps', '1']
    words += ['--batch-size', '5', '--chunk', '4096']
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.scale', *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    row = json.loads(done.stdout)
    asked = kind, 20_000, 4, 5, 4096
    keys = 'kind', 'entities', 'channels', 'batch_size', 'chunk'
    assert tuple(row[key] for key in keys) == asked
    assert 0 < row['share_of_products'] <= row['best_share']
