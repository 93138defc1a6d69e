"""What stands beside every measured figure."""

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.atomic import whole_or_nothing
from dsom_pyg.training import FitConfig


class Report:
    """A JSON file of rows by name and seed that belong to one protocol.

    Rows are written as they come, each with the commit that measured it.
    """

    def __init__(self, path: Path, protocol: dict[str, Any]) -> None:
        self.path, self.commit = path, commit()
        protocol = json.loads(json.dumps({**protocol, 'machine': machine()}))
        self.content: dict[str, Any] = {'protocol': protocol, 'rows': {}}
        if path.exists():
            self.content = json.loads(path.read_text())
            found = self.content['protocol']
            if found != protocol:
                keys = {*found, *protocol}
                other = [
                    f'{key}: {found.get(key)} there, {protocol.get(key)} here'
                    for key in sorted(keys)
                    if found.get(key) != protocol.get(key)
                ]
                raise SystemExit(
                    f'{path} has another protocol; move it, or name another '
                    '--out\n' + '\n'.join(other)
                )

    def done(self, name: str, seed: int) -> bool:
        """Whether this row is there."""
        return str(seed) in self.content['rows'].get(name, {})

    def add(self, name: str, seed: int, row: dict[str, Any]) -> None:
        """Write a row."""
        rows = self.content['rows'].setdefault(name, {})
        rows[str(seed)] = {**row, 'commit': self.commit}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_nothing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content, indent=1) + '\n')


def commit() -> str:
    """The commit of this checkout, if it is one."""
    words = ['git', 'rev-parse', '--short', 'HEAD']
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or 'unknown'


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                cpu = line.partition(':')[2].strip()
    return {
        'cpu': cpu,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'precision': FitConfig().resolved_precision(),
    }
