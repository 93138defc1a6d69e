"""From items to features: once for each content, resumable, no crash.

Features lie in one folder for each encoder, keyed by what an item holds,
not by where it lies. So a changed item is encoded again and no other, and
work that was interrupted goes on where it stopped.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from dsom_pyg.atomic import whole_or_nothing
from dsom_pyg.datasets.reading import DatasetError
from dsom_pyg.encoders import Encoder, UnreadableImage, open_image

# Items between two writes: seconds of work for a large model on a CPU, and
# enough texts for an encoder that sorts them by length.
CHUNK = 512


class Encoded(NamedTuple):
    r"""Features of the items that could be read.

    Attributes:
        failures: For each item that could not be read, by position, why.

    Shapes:
        - **x:** :math:`(n, d)`, float32
        - **position:** :math:`(n)`, of the items, ascending
    """

    x: Tensor
    position: Tensor
    failures: dict[int, str]


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


def encode_items(
    encoder: Encoder,
    items: Sequence[str] | Sequence[Path],
    folder: Path | None = None,
    refresh: bool = False,
    chunk: int = CHUNK,
) -> Encoded:
    r"""Encode texts, or images given as paths.

    Equal contents are encoded once. An encoder whose features depend on all
    items together says so by ``corpus_dependent = True``; it gets them all
    in one call, and nothing is cached.

    Args:
        encoder: What encodes.
        items: All strings, or all paths.
        folder: Where features are cached; with :obj:`None` nowhere.
            (default: :obj:`None`)
        refresh: Encode again what is cached. (default: :obj:`False`)
        chunk: Items between two writes. (default: :obj:`512`)

    Raises:
        DatasetError: The output of the encoder has a wrong shape or type or
            is not finite.
    """
    if getattr(encoder, 'corpus_dependent', False):
        x, failures = _encode(encoder, list(items))
        position = [at for at in range(len(items)) if at not in failures]
        return Encoded(x, torch.tensor(position, dtype=torch.long), failures)
    failures = {}
    keys: dict[int, bytes] = {}
    item: Any
    for at, item in enumerate(items):
        try:
            keys[at] = _key(item)
        except (
            FileNotFoundError,
            IsADirectoryError,
            NotADirectoryError,
        ) as error:
            failures[at] = str(error.strerror)
    cache = FeatureCache(folder, encoder) if folder else None
    if cache and refresh:
        cache.clear()
    rows = cache.load() if cache else {}
    # The first item of each content that is not cached.
    todo = {key: at for at, key in reversed(keys.items()) if key not in rows}
    broken = _encode_missing(encoder, items, todo, rows, cache, chunk)
    for at, key in list(keys.items()):
        if key in broken:
            failures[at] = broken[key]
            del keys[at]
    x = torch.empty(len(keys), encoder.out_channels)
    for row, key in enumerate(keys.values()):
        x[row] = rows[key]
    return Encoded(x, torch.tensor(list(keys), dtype=torch.long), failures)


def _encode_missing(
    encoder: Encoder,
    items: Sequence[Any],
    todo: dict[bytes, int],
    rows: dict[bytes, Tensor],
    cache: FeatureCache | None,
    chunk: int,
) -> dict[bytes, str]:
    # Fills `rows`; returns why some could not be encoded.
    broken: dict[bytes, str] = {}
    order = sorted(todo, key=todo.__getitem__)
    with tqdm(
        total=len(order), desc=encoder.name, unit='item', disable=None
    ) as bar:
        for start in range(0, len(order), chunk):
            part = order[start : start + chunk]
            x, bad = _encode(encoder, [items[todo[key]] for key in part])
            good = [key for at, key in enumerate(part) if at not in bad]
            broken.update((part[at], why) for at, why in bad.items())
            if cache and good:
                cache.add(good, x)
            rows.update(zip(good, x, strict=True))
            bar.update(len(part))
    if cache:
        cache.merge()
    return broken


def file_digest(path: Path) -> str:
    r"""SHA-256 of a file, or ``'missing'``."""
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        return 'missing'
    return digest.hexdigest()


def _key(item: str | Path) -> bytes:
    # The first byte keeps a text apart from a file that holds it.
    if isinstance(item, Path):
        digest = hashlib.sha256(b'f')
        with item.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.digest()
    return hashlib.sha256(
        b't' + item.encode('utf-8', 'surrogatepass')
    ).digest()


def _encode(
    encoder: Encoder, part: list[Any]
) -> tuple[Tensor, dict[int, str]]:
    # Images are opened once, by the encoder. It names one that it cannot
    # read, or fails in a way of its own; then all are looked at.
    bad: dict[int, str] = {}
    while len(bad) < len(part):
        good = [item for at, item in enumerate(part) if at not in bad]
        try:
            return _checked(encoder, good, encoder(good)), bad
        except (DatasetError, KeyError):  # KeyError: of `Precomputed`
            raise
        except Exception as error:
            found = _named(error, part) or _unreadable(part)
            if found.keys() <= bad.keys():
                raise
            bad.update(found)
    return torch.empty(0, encoder.out_channels), bad


def _named(error: Exception, part: list[Any]) -> dict[int, str]:
    # An image that only this encoder cannot read; else all are to be tried.
    if not isinstance(error, UnreadableImage) or _reason(error.path):
        return {}
    return {
        at: error.reason for at, each in enumerate(part) if each == error.path
    }


def _unreadable(part: list[Any]) -> dict[int, str]:
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(_reason, part)
        return {at: why for at, why in enumerate(reasons) if why}


def _reason(item: Any) -> str | None:
    if isinstance(item, Path):
        try:
            open_image(item)
        except UnreadableImage as error:
            return error.reason
    return None


def _checked(encoder: Encoder, part: list[Any], x: Any) -> Tensor:
    want = [len(part), encoder.out_channels]
    if not isinstance(x, Tensor) or list(x.shape) != want:
        got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise DatasetError(
            f"encoder '{encoder.name}' must return a tensor of shape {want} "
            f'for {len(part)} items, got {got}'
        )
    if not x.is_floating_point():
        raise DatasetError(
            f"encoder '{encoder.name}' must return floats, got {x.dtype}"
        )
    x = x.detach().float().cpu()
    finite = x.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise DatasetError(
            f"encoder '{encoder.name}' returned a non-finite feature for "
            f"'{part[row]}'"
        )
    return x
