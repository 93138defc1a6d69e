"""What stands beside every measured figure."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.training import FitConfig


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
