"""Encoders that need no pretrained weights."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dsom_pyg.encoders.images import open_image

MID_GREY = (128, 128, 128)


class TfidfText:
    r"""TF-IDF over words and word pairs, reduced by a truncated SVD.

    The vocabulary is fitted on the texts given in one call: features of two
    calls do not live in the same space. With fewer texts or words than
    :obj:`out_channels`, the remaining columns are zero. Where no word occurs
    in :obj:`min_count` texts, as in Chinese, which has no spaces, characters
    in twos and threes take the place of words. The last bits of the features
    depend on the number of threads.

    Args:
        out_channels: d.
        min_count: Texts in which a word must occur.
        seed: Of the randomised SVD.
    """

    corpus_dependent = True

    def __init__(
        self, out_channels: int = 128, min_count: int = 2, seed: int = 0
    ) -> None:
        if out_channels < 1 or min_count < 1:
            raise ValueError(
                'out_channels and min_count must be positive, got '
                f'{out_channels} and {min_count}'
            )
        self.out_channels, self.min_count = out_channels, min_count
        self.seed = seed
        self.name = f'tfidf-svd-d{out_channels}-min{min_count}-seed{seed}'

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        return self._fit(items)[1]

    def fitted(self, items: Sequence[str]) -> 'FittedTfidf':
        r"""An encoder of other texts, into the space of the features of
        these.
        """
        return self._fit(items)[0]

    def _fit(
        self, items: Sequence[str] | Sequence[Path]
    ) -> tuple['FittedTfidf', Tensor]:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [str(item) for item in items]
        nothing = torch.zeros(len(texts), self.out_channels)
        none = FittedTfidf(self.name, self.out_channels, None, None)
        count = min(self.min_count, max(1, len(texts)))
        vectorizer = TfidfVectorizer(min_df=count, sublinear_tf=True)
        for unit, sizes in (('word', (1, 2)), ('char_wb', (2, 3))):
            vectorizer.set_params(analyzer=unit, ngram_range=sizes)
            try:
                matrix = vectorizer.fit_transform(texts)
                break
            except ValueError:  # nothing occurs often enough
                continue
        else:
            matrix = None
        width = 0
        if matrix is not None:
            width = min(self.out_channels, min(matrix.shape) - 1)
        if width < 1:
            if texts:
                warnings.warn(
                    f'{self.name} found nothing that tells {len(texts)} texts '
                    'apart, so all their features are zero; lower min_count, '
                    'or take another encoder',
                    stacklevel=3,
                )
            return none, nothing
        svd = TruncatedSVD(width, random_state=self.seed)
        with np.errstate(invalid='ignore', divide='ignore'):
            # Of texts that are all alike it divides by their variance.
            reduced = svd.fit_transform(matrix)
        fitted = FittedTfidf(self.name, self.out_channels, vectorizer, svd)
        return fitted, fitted.scaled(reduced)


class FittedTfidf:
    r"""What :class:`TfidfText` has learned from its texts: an encoder whose
    features do not depend on the other texts of a call.
    """

    def __init__(
        self, name: str, out_channels: int, vectorizer: Any, svd: Any
    ) -> None:
        self.name, self.out_channels = name, out_channels
        self._vectorizer, self._svd = vectorizer, svd

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        texts = [str(item) for item in items]
        if self._svd is None or not texts:
            return torch.zeros(len(texts), self.out_channels)
        matrix = self._vectorizer.transform(texts)
        return self.scaled(self._svd.transform(matrix))

    def scaled(self, reduced: np.ndarray) -> Tensor:
        r"""Rows of unit length, and columns up to the width."""
        out = torch.zeros(len(reduced), self.out_channels)
        rows = torch.from_numpy(reduced).float()
        norm = rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
        out[:, : rows.size(1)] = rows / norm
        return out


class ImageStatistics:
    r"""Colours, their layout, and edges of an image: a small fixed vector.

    A joint histogram of 4 levels each of red, green and blue (64), the mean
    colour of a 4 x 4 grid (48), and a histogram of 8 edge directions in each
    cell of a 2 x 2 grid (32), each block with unit norm. Transparent parts
    count as mid-grey.

    Args:
        size: Side to which images are resized.

    Raises:
        UnreadableImage: On a call, an image cannot be read.
    """

    out_channels = 144

    def __init__(self, size: int = 32) -> None:
        if size < 8 or size % 4:
            raise ValueError(f'size must be a multiple of 4 >= 8, got {size}')
        self.size = size
        self.name = f'image-statistics2-s{size}'

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        rows = [self._encode(Path(item)) for item in items]
        if not rows:
            return torch.empty(0, self.out_channels)
        return torch.from_numpy(np.stack(rows)).float()

    def _encode(self, path: Path) -> np.ndarray:
        side = (self.size, self.size)
        image = open_image(path, MID_GREY)
        resized = image.resize(side, Image.Resampling.BILINEAR)
        rgb = np.asarray(resized, dtype=np.float64) / 255
        levels = np.minimum((rgb * 4).astype(int), 3)
        code = (levels[..., 0] * 4 + levels[..., 1]) * 4 + levels[..., 2]
        colours = np.bincount(code.ravel(), minlength=64).astype(float)
        cell = self.size // 4
        grid = rgb.reshape(4, cell, 4, cell, 3).mean(axis=(1, 3)).ravel()
        blocks = [np.sqrt(colours), grid - 0.5, self._edges(rgb.mean(axis=2))]
        return np.concatenate(
            [b / max(float(np.linalg.norm(b)), 1e-12) for b in blocks]
        )

    def _edges(self, grey: np.ndarray) -> np.ndarray:
        dy, dx = np.gradient(grey)
        strength = np.hypot(dx, dy)
        bins = ((np.arctan2(dy, dx) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
        half = np.arange(self.size) // (self.size // 2)
        cell = 2 * half[:, None] + half
        at = (8 * cell + bins).ravel()
        return np.bincount(at, strength.ravel(), minlength=32)
