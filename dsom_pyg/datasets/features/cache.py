"""Features on disk, by the content of what was encoded."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsom_pyg.encoders import Encoder
from dsom_pyg.files import DamagedFile, load_tensors, save_tensors


class FeatureCache:
    r"""Features of one encoder by the content of their items.

    Every call of :meth:`add` writes one file, whole or not at all, under a
    name of its own, so several processes may share a folder.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self.identity = f'{encoder.name}\n{encoder.out_channels}'
        self.width = encoder.out_channels
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:12]
        slug = re.sub(r'[^A-Za-z0-9.]+', '_', encoder.name)[:64]
        self.folder = folder / f'{slug}-{digest}'

    def load(self) -> dict[bytes, Tensor]:
        r"""All features, by the key of their item.

        Several files become one. A damaged file is deleted, and its items
        are encoded again.
        """
        rows: dict[bytes, Tensor] = {}
        found = []
        for path in self._files():
            try:
                tensors, header = load_tensors(path)
                keys, x = tensors['key'], tensors['x']
                ours = header['encoder'] == self.identity and _fit(keys, x)
            except OSError:  # another process merged it, or it is not ours
                continue
            except (DamagedFile, KeyError):
                ours = False
            if not ours or x.size(1) != self.width:
                path.unlink(missing_ok=True)
                continue
            rows.update(zip(map(bytes, keys.numpy()), x, strict=True))
            found.append(path)
        if len(found) > 1:
            self.add(list(rows), torch.stack(list(rows.values())))
            for path in found:
                path.unlink(missing_ok=True)
        return rows

    def add(self, keys: Sequence[bytes], x: Tensor) -> None:
        r"""Store features of some items, ``[n, d]``."""
        key = torch.tensor([list(each) for each in keys]).to(torch.uint8)
        path = self.folder / f'{secrets.token_hex(8)}.safetensors'
        save_tensors(path, {'key': key, 'x': x}, {'encoder': self.identity})

    def clear(self) -> None:
        r"""Forget everything."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        # A file of a write that was killed begins with a dot.
        return sorted(self.folder.glob('[!.]*.safetensors'))


def _fit(keys: Tensor, x: Tensor) -> bool:
    size = hashlib.sha256().digest_size
    sound = keys.dtype == torch.uint8 and x.dtype == torch.float32
    sound = sound and x.dim() == 2 and keys.shape == (len(x), size)
    return sound and bool(x.isfinite().all())
