"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    r"""A temporary path in the same folder, moved to :obj:`path` at the end.

    If the block raises, :obj:`path` stays as it was and nothing is left
    behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not from `tempfile`, whose files nobody else may read.
    temporary = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        # safetensors makes such files as well.
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
