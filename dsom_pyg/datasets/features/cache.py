"""Features on disk, by the content of what was encoded."""

import errno
import hashlib
import os
import re
import secrets
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsom_pyg import processes
from dsom_pyg.datasets.errors import printable
from dsom_pyg.encoders import Encoder
from dsom_pyg.files import DamagedFile, load_tensors, save_tensors
from dsom_pyg.graph import finite_rows

# What a folder answers that may be read only.
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
# Items from which on a file stays one of its own.
MANY = 100_000


def warn_if_read_only(error: OSError, folder: Path, what: str) -> None:
    r"""Warn that :obj:`what` is not stored in a folder that may not be
    written; raise any other error again.
    """
    if error.errno not in READ_ONLY:
        raise error
    warnings.warn(
        f"'{printable(str(folder))}' may not be written "
        f'({os.strerror(error.errno or 0)}): '
        f'{what} not stored there, and will be made again next time',
        UserWarning,
        stacklevel=3,
    )


class FeatureCache:
    r"""Features of one encoder by the content of their items.

    Every call of :meth:`add` writes one file, whole or not at all, under a
    name of its own, so several processes may share a folder. Of a folder
    that may not be written, what is there is read; a warning says that
    nothing is added.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.identity = f'{encoder.name}\n{encoder.out_channels}'
        self.width = encoder.out_channels
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:12]
        slug = re.sub(r'[^A-Za-z0-9.]+', '_', encoder.name)[:64]
        self.folder = folder / f'{slug}-{digest}'
        self._writable = self._current = True

    def load(self) -> Iterator[tuple[list[bytes], Tensor]]:
        r"""All features, a part at a time: the keys of items, and their rows
        ``[n, d]``.

        Small files become one. A damaged file is deleted, and its items
        are encoded again.
        """
        small: list[Path] = []
        rows: dict[bytes, Tensor] = {}
        large: set[bytes] = set()
        for path in self._files() if self._current else ():
            try:
                tensors, header = load_tensors(path)
                keys, x = tensors['key'], tensors['x']
                ours = header['encoder'] == self.identity and _fit(keys, x)
            except OSError:  # another process merged it, or it is not ours
                continue
            except (DamagedFile, KeyError):
                ours = False
            if not ours or x.size(1) != self.width:
                self._delete(path)
                continue
            part = list(map(bytes, keys.numpy()))
            yield part, x
            # Others of several processes may be reading them.
            if processes.count() > 1:
                continue
            if len(part) >= MANY:
                # Two runs that merged the same files at once.
                these = hashlib.sha256(b''.join(sorted(part))).digest()
                if these in large:
                    self._delete(path)
                large.add(these)
            else:
                small.append(path)
                rows.update(zip(part, x, strict=True))
            if len(rows) >= MANY:
                self._merge(small, rows)
                small, rows = [], {}
        self._merge(small, rows)

    def _merge(self, files: list[Path], rows: dict[bytes, Tensor]) -> None:
        if len(files) < 2:
            return
        try:
            self._save(list(rows), torch.stack(list(rows.values())))
        except OSError as error:
            # They stay several where nothing may be written.
            if error.errno not in READ_ONLY:
                raise
            return
        for path in files:
            self._delete(path)

    def add(self, keys: Sequence[bytes], x: Tensor) -> None:
        r"""Store features of some items, ``[n, d]``."""
        try:
            if self._writable:
                self._save(keys, x)
        except OSError as error:
            self._writable = False
            warn_if_read_only(error, self.folder, 'features are')

    def _save(self, keys: Sequence[bytes], x: Tensor) -> None:
        key = torch.tensor([list(each) for each in keys]).to(torch.uint8)
        path = self.folder / f'{secrets.token_hex(8)}.safetensors'
        save_tensors(path, {'key': key, 'x': x}, {'encoder': self.identity})

    def clear(self) -> None:
        r"""Forget everything."""
        for path in self._files():
            self._current &= self._delete(path)

    def _delete(self, path: Path) -> bool:
        # Whether it is gone; it stays where nothing may be written.
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            return False
        return True

    def _files(self) -> list[Path]:
        # A file of a write that was killed begins with a dot.
        found = sorted(self.folder.glob('[!.]*.safetensors'))
        return [path for path in found if path.is_file()]


def _fit(keys: Tensor, x: Tensor) -> bool:
    size = hashlib.sha256().digest_size
    sound = keys.dtype == torch.uint8 and x.dtype == torch.float32
    sound = sound and x.dim() == 2 and keys.shape == (len(x), size)
    sound = sound and x.size(1) > 0
    return sound and bool(finite_rows(x).all())
