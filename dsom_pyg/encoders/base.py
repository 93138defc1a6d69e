"""What an encoder is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor


class Encoder(Protocol):
    r"""Turns texts, or images given as paths, into frozen features.

    Any callable with these attributes will do. The name must change with
    everything that changes the output, since features are stored under it.

    If the feature of an item depends on more than what the item holds, such
    as the other items of the call or the name of a file, an attribute
    ``corpus_dependent = True`` says so. Then all items are encoded in one
    call and no feature is kept for later.

    Attributes:
        out_channels: d, the width of a feature.
    """

    name: str
    out_channels: int

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        r"""Encode items.

        Raises:
            UnreadableImage: An image cannot be read.

        Shapes:
            - **output:** :math:`(n, d)`, float32, finite
        """
