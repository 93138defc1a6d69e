"""Files that are whole or absent, and the tensors in them.

The only place that opens safetensors files. Nothing here, or in the format,
can run code.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


class DamagedFile(ValueError):  # noqa: N818
    r"""A file is truncated, or is no safetensors file."""


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    r"""A temporary path in the same folder, moved to :obj:`path` at the end.
    If the block raises, :obj:`path` stays as it was and nothing else is left.
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


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str] | None = None,
) -> None:
    r"""Write a safetensors file, with a header that :func:`read_header`
    gives back. Missing folders are made, tensors of any device and layout
    are copied, and an earlier file stays until this one is whole.
    """
    copies = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in tensors.items()
    }
    with whole_or_nothing(Path(path)) as temporary:
        save_file(copies, temporary, dict(header or {}))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    r"""The tensors of a safetensors file, on the CPU, and its header.

    Raises:
        DamagedFile: It is truncated, or of another format.
        OSError: It cannot be opened.
    """
    try:
        with safe_open(str(path), framework='pt') as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFile(f'{path} is damaged: {error}') from error


def read_header(path: str | Path) -> dict[str, str]:
    r"""The header alone; raises like :func:`load_tensors`."""
    try:
        with safe_open(str(path), framework='pt') as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFile(f'{path} is damaged: {error}') from error


def hash_file(path: str | Path) -> str:
    r"""SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
