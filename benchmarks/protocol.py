"""What stands beside every measured figure."""

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.atomic import whole_or_nothing
from dsom_pyg.training import FitConfig


class Report:
    """A JSON file of rows by name and seed that belong to one protocol.

    Rows are written as they come, each with the commit and the machine that
    measured it. Several processes may add to one file.
    """

    def __init__(
        self, path: Path, protocol: dict[str, Any], device: str = 'cpu'
    ) -> None:
        self.path = path
        self.where = {'commit': commit(), 'machine': machine(device)}
        self.protocol = json.loads(json.dumps(protocol))
        self.rows()  # refuses a file of another protocol

    def rows(self) -> dict[str, Any]:
        """What is in the file by now, row by row and seed by seed.

        Raises:
            SystemExit: It belongs to another protocol.
        """
        if not self.path.exists():
            return {}
        found = json.loads(self.path.read_text())
        there, here = flat(found['protocol']), flat(self.protocol)
        other = [
            f'{key}: {there.get(key, "-")} there, {here.get(key, "-")} here'
            for key in sorted({*there, *here})
            if there.get(key, '-') != here.get(key, '-')
        ]
        if other:
            raise SystemExit(
                f'{self.path} has another protocol; move it, or name another '
                '--out\n' + '\n'.join(other)
            )
        rows: dict[str, Any] = found['rows']
        return rows

    def done(self, name: str, seed: int) -> bool:
        """Whether this row is there."""
        return str(seed) in self.rows().get(name, {})

    def add(self, name: str, seed: int, row: dict[str, Any]) -> None:
        """Write a row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with alone(self.path.parent), whole_or_nothing(self.path) as new:
            rows = self.rows()
            rows.setdefault(name, {})[str(seed)] = {**row, **self.where}
            content = {'protocol': self.protocol, 'rows': rows}
            new.write_text(json.dumps(content, indent=1) + '\n')


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes a report here."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def flat(nested: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Settings within settings, with dots in their names."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            out |= flat(value, f'{prefix}{key}.')
        else:
            out[f'{prefix}{key}'] = value
    return out


def commit() -> str:
    """The commit of this checkout, if it is one, and whether its code has
    been changed since.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ['git', *words],
                capture_output=True,
                text=True,
                cwd=here.parent,
            )
        except FileNotFoundError:
            return ''
        return done.stdout.strip()

    changed = git('status', '--porcelain', '--', 'dsom_pyg', 'benchmarks')
    name = git('rev-parse', '--short', 'HEAD') or 'unknown'
    return f'{name}+changes' if changed else name


def machine(device: str = 'cpu') -> dict[str, Any]:
    """What the figures were measured on, with what precision there."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                cpu = line.partition(':')[2].strip()
    gpu = {}
    if torch.device(device).type == 'cuda':
        gpu = {'gpu': torch.cuda.get_device_name(device)}
    return {
        'cpu': cpu,
        **gpu,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'precision': FitConfig(device=device).resolved_precision(),
    }
