"""Features on disk, by the content of what was encoded."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dsom_pyg.encoders import Encoder
from dsom_pyg.files import whole_or_nothing


class FeatureCache:
    r"""Features by the content of their items, in one folder.

    Every call of :meth:`add` writes one file, whole or not at all, under a
    name of its own: several processes may share a folder.

    Args:
        folder: Where the files of all encoders lie.
        encoder: Its name and width choose the folder below.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        identity = f'{encoder.name}\n{encoder.out_channels}'
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        slug = re.sub(r'[^A-Za-z0-9.]+', '_', encoder.name)[:64]
        self.folder = folder / f'{slug}-{digest}'
        self.identity = identity
        self.width = encoder.out_channels

    def load(self) -> dict[bytes, Tensor]:
        r"""All features, by the key of their item.

        A damaged file is deleted, and its items are encoded again.
        """
        return self._load(self._files())[0]

    def _load(
        self, paths: Sequence[Path]
    ) -> tuple[dict[bytes, Tensor], list[Path]]:
        # And the files that were read.
        rows: dict[bytes, Tensor] = {}
        found = []
        for path in paths:
            try:
                with safe_open(str(path), framework='pt') as file:
                    if (file.metadata() or {}).get('encoder') != self.identity:
                        raise ValueError('of another encoder')
                    keys, x = file.get_tensor('key'), file.get_tensor('x')
                if x.shape != (len(keys), self.width):
                    raise ValueError('of another shape')
            except OSError:  # merged by another process, or not for us
                continue
            except (SafetensorError, ValueError):
                path.unlink(missing_ok=True)
                continue
            names = keys.numpy()
            rows.update((names[i].tobytes(), x[i]) for i in range(len(keys)))
            found.append(path)
        return rows, found

    def add(self, keys: Sequence[bytes], x: Tensor) -> None:
        r"""Store features of some items.

        Shapes:
            - **x:** :math:`(n, d)`
        """
        tensors = {
            'key': torch.tensor([list(key) for key in keys]).to(torch.uint8),
            'x': x.contiguous(),
        }
        path = self.folder / f'{secrets.token_hex(8)}.safetensors'
        with whole_or_nothing(path) as temporary:
            save_file(tensors, temporary, {'encoder': self.identity})

    def clear(self) -> None:
        r"""Forget everything."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def merge(self) -> None:
        r"""Make one file of many."""
        rows, paths = self._load(self._files())
        if len(paths) < 2:
            return
        if rows:
            self.add(list(rows), torch.stack(list(rows.values())))
        for path in paths:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        # A file of a write that was killed begins with a dot.
        return sorted(self.folder.glob('[!.]*.safetensors'))
