"""Features that somebody else computed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

import torch
from torch import Tensor

from dsom_pyg.encoders.identity import settings_digest, weights_digest


class Precomputed:
    r"""Looks features up instead of computing them.

    A text is looked up as it is. The path of an image is looked up whole and
    then with ever fewer of its leading folders, each time with and without
    its suffix: a key may be a relative path, a file name, or its stem. The
    files themselves need not exist.

    Args:
        features: A matrix, or a mapping of keys to vectors.
        keys: The key of each row of a matrix.
        name: What the features are.

    Shapes:
        - **features:** :math:`(k, d)`, finite, :math:`d > 0`

    Raises:
        KeyError: On a call, an item has no feature.
        ValueError: Keys and features do not fit, or a feature is not finite;
            on a call, two images share a key that names only a part of
            their paths.
    """

    # By the name of a file, not by what is in it.
    corpus_dependent = True

    def __init__(
        self,
        features: Tensor | Mapping[str, Tensor],
        keys: Sequence[str] | None = None,
        name: str = 'features',
    ) -> None:
        if isinstance(features, Mapping):
            if keys is not None:
                raise ValueError('a mapping brings its keys, give no others')
            keys = list(features)
            rows = [torch.as_tensor(row) for row in features.values()]
            for key, row in zip(keys, rows, strict=True):
                if row.shape != rows[0].shape:
                    raise ValueError(
                        f'the feature of {key!r} is {list(row.shape)}, that '
                        f'of {keys[0]!r} {list(rows[0].shape)}'
                    )
            features = torch.stack(rows) if rows else torch.empty(0, 0)
        if keys is None:
            raise ValueError('a matrix of features needs the keys of its rows')
        x = torch.as_tensor(features).detach()
        if x.is_complex():
            raise ValueError('features are real numbers, got complex ones')
        x = x.float().cpu()
        if x.dim() != 2 or len(x) != len(keys):
            raise ValueError(
                f'{len(keys)} keys need a matrix of as many rows, got '
                f'{list(x.shape)}'
            )
        if not x.size(1):
            raise ValueError(f'the features {list(x.shape)} have no columns')
        bad = (~x.isfinite()).any(dim=1).nonzero().flatten().tolist()
        if bad:
            raise ValueError(f"the feature of '{keys[bad[0]]}' is not finite")
        self._row = {str(key): row for row, key in enumerate(keys)}
        if len(self._row) < len(keys):
            raise ValueError('a key occurs twice')
        self._x = x
        self.out_channels = x.size(1)
        digest = settings_digest(list(self._row), weights_digest({'x': x}))
        self.name = f'precomputed-{name}-{digest[:12]}'

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        rows: list[int] = []
        missing: list[str] = []
        user: dict[int, PurePath] = {}
        for item in items:
            known = (self._row[k] for k in _keys(item) if k in self._row)
            row = next(known, None)
            if row is None:
                missing.append(str(item))
                continue
            if isinstance(item, PurePath):
                other = user.setdefault(row, item)
                if other != item:
                    raise ValueError(
                        f"'{other}' and '{item}' have the same feature; "
                        'give keys that tell their folders apart'
                    )
            rows.append(row)
        if missing:
            more = f' and of {len(missing) - 1} more' if missing[1:] else ''
            raise KeyError(
                f"'{self.name}' has no feature of '{missing[0]}'{more}"
            )
        return self._x[torch.tensor(rows, dtype=torch.long)]


def _keys(item: str | PurePath) -> Iterator[str]:
    if isinstance(item, str):
        yield item
        return
    parts = item.parts
    for start in range(len(parts)):
        path = PurePath(*parts[start:])
        if not path.name:  # the root
            return
        yield path.as_posix()
        yield path.with_suffix('').as_posix()
