"""What a test runs in one process, or in several by torchrun.

    python encoding.py FOLDER CACHE...

Images are encoded by their sizes, with a cache for each process.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.encode import encode_items
from dsom_pyg.encoders import open_image
from dsom_pyg.processes import count, first, join, rank, share


class Sizes:
    """Encodes an image by its size, and notes what it was asked."""

    name, out_channels = 'sizes', 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, items: Sequence[Any]) -> Tensor:
        sizes = [open_image(item).size for item in items]
        self.asked += [item.name for item in items]
        return torch.tensor(sizes).float()


def encoded(cache: Path | None) -> list[Any]:
    """Features, where they belong, what could not be read, who was asked."""
    encoder = Sizes()
    x, position, failures = encode_items(encoder, items, cache, chunk=2)
    return [x.tolist(), position.tolist(), failures, encoder.asked]


if __name__ == '__main__':
    out = Path(sys.argv[1])
    join()
    caches = [out / name for name in sys.argv[2:]]
    widths = [*range(23, 0, -1), 3, 4]
    items = [out / f'{width}.png' for width in widths]
    own = out / f'of process {rank()}.png'
    if own.exists():
        items[3] = own
    said: list[Any]
    try:
        said = share([encoded(caches[rank()]), encoded(caches[rank()])])
    except DatasetError as error:
        said = share(str(error))
    if first():
        (out / f'{count()}.json').write_text(json.dumps(said))
