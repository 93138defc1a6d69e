"""Encode texts and images once for each content."""

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dsom_pyg import processes
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.cache import FeatureCache
from dsom_pyg.datasets.features.graph import Features
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.encoders import Encoder, UnreadableImage, open_image
from dsom_pyg.encoders.images import open_file
from dsom_pyg.graph import finite_rows

# Items between two writes: seconds of work for a large model on a CPU, and
# enough texts for an encoder that sorts them by length.
CHUNK = 512


class Encoded(NamedTuple):
    r"""Features of the items that could be read, and why others could not,
    by their position.

    Shapes:
        - **x:** :math:`(n, d)`, float32
        - **position:** :math:`(n)`, of the items, ascending
    """

    x: Tensor
    position: Tensor
    failures: dict[int, str]


def check_encoder(modality: str, encoder: object) -> None:
    r"""Raise :class:`TypeError` unless an object can encode."""
    if (
        isinstance(encoder, type)
        or not callable(encoder)
        or not isinstance(getattr(encoder, 'name', None), str)
        or not isinstance(getattr(encoder, 'out_channels', None), int)
    ):
        raise TypeError(
            f'{modality}_encoder must be callable, with a name and '
            f'out_channels, such as an object of dsom_pyg.encoders; got '
            f'{encoder!r}'
        )


def encode_entities(
    encoder: Encoder,
    modality: str,
    items: Sequence[Sequence[str]] | Sequence[Sequence[Path]],
    findings: Findings,
    folder: Path | None = None,
    refresh: bool = False,
) -> Features:
    r"""Encode the texts or image paths of each entity.

    Every item that cannot be read counts as missing and becomes a finding.
    For :obj:`folder` and :obj:`refresh` see :func:`encode_items`.
    """
    flat: list[Any] = [item for group in items for item in group]
    if not flat:
        why = f'pass {modality}_encoder=None'
        if count := findings.counts.get(f'{modality} of an unknown entity'):
            why = f'{count} are of entities that no triple has, letter by '
            why += 'letter: see the findings, or audit the folder'
        raise DatasetError(
            f"no entity has any {modality}, so encoder '{encoder.name}' has "
            f'nothing to encode; {why}'
        )
    x, position, failures = encode_items(encoder, flat, folder, refresh)
    if failures:
        warnings.warn(
            f'{len(failures)} of {len(flat)} {modality}s cannot be read and '
            f'count as missing; the findings of the dataset list them',
            UserWarning,
            stacklevel=2,
        )
    for at, why in failures.items():
        findings.add(f'unreadable {modality}', why, flat[at])
    entity = torch.tensor(
        [index for index, group in enumerate(items) for _ in group]
    )
    return Features(x, entity[position])


def encode_items(
    encoder: Encoder,
    items: Sequence[str] | Sequence[Path],
    folder: Path | None = None,
    refresh: bool = False,
    chunk: int = CHUNK,
) -> Encoded:
    r"""Encode texts, or images given as paths.

    Equal contents are encoded once. If there is a :obj:`folder`, it caches
    them, :obj:`chunk` at a time: only new contents are encoded, and an
    interrupted run goes on where it stopped. :obj:`refresh` empties it first.
    An encoder with ``corpus_dependent = True`` gets all items in one call,
    and nothing is cached. Several processes encode a chunk each, and tell
    each other; all must make the call.
    """
    if getattr(encoder, 'corpus_dependent', False):
        x, failures = _encode(encoder, list(items))
        position = [at for at in range(len(items)) if at not in failures]
        return Encoded(x, torch.tensor(position, dtype=torch.long), failures)
    processes.join()
    failures = {}
    keys: dict[int, bytes] = {}
    for at, item in enumerate(items):
        try:
            keys[at] = _key(item)
        except UnreadableImage as error:
            failures[at] = error.reason
    _check_shared(keys, items)
    cache = FeatureCache(folder, encoder) if folder else None
    if cache and refresh:
        cache.clear()
    # The row of each content is that of the first item that has it.
    row: dict[bytes, int] = {}
    for at, key in enumerate(keys.values()):
        row.setdefault(key, at)
    # There may be millions: no second copy of them is held on the way.
    x = torch.empty(len(keys), encoder.out_channels, dtype=torch.float32)
    new = torch.ones(len(keys), dtype=torch.bool)
    for cached, values in cache.load() if cache else ():
        here = [(row[k], at) for at, k in enumerate(cached) if k in row]
        place, source = torch.tensor(here).long().view(-1, 2).unbind(1)
        x[place], new[place] = values[source], False
    is_new = new.tolist()
    todo: dict[bytes, Any] = {}
    for at, key in keys.items():
        if is_new[row[key]]:
            todo.setdefault(key, items[at])
    order, broken = list(_agreed(todo, keys, items)), dict[bytes, str]()
    quiet = None if processes.first() else True
    bar = tqdm(total=len(order), desc=encoder.name, unit='item', disable=quiet)
    with bar:
        for start in range(0, len(order), chunk * processes.count()):
            mine = start + chunk * processes.rank()
            part = order[mine : mine + chunk]
            found = _encode(encoder, [todo[key] for key in part])
            _check_unchanged(part, todo, found[1])
            for done, values, bad in processes.share((part, *found)):
                good = [key for at, key in enumerate(done) if at not in bad]
                broken.update((done[at], why) for at, why in bad.items())
                if cache and good and processes.first():
                    cache.add(good, values)
                x[[row[key] for key in good]] = values
                bar.update(len(done))
    processes.share(None)  # until all is in the cache
    failures |= {at: broken[k] for at, k in keys.items() if k in broken}
    position = [at for at, key in keys.items() if key not in broken]
    twins = [
        (at, row[key])
        for at, key in enumerate(keys.values())
        if row[key] != at
    ]
    place, source = torch.tensor(twins).long().view(-1, 2).unbind(1)
    x[place] = x[source]
    if broken:
        x = x[torch.tensor([key not in broken for key in keys.values()])]
    return Encoded(x, torch.tensor(position, dtype=torch.long), failures)


def _check_shared(keys: dict[int, bytes], items: Sequence[Any]) -> None:
    # One of several processes may not see a file as others do.
    if processes.count() == 1:
        return
    mine = hashlib.sha256(repr(list(keys)).encode() + b''.join(keys.values()))
    if len(set(processes.share(mine.digest()))) > 1:
        every = processes.share(keys)
        far = (
            item
            for at, item in enumerate(items)
            if len({each.get(at) for each in every}) > 1
        )
        raise DatasetError(
            f"processes read '{next(far)}' differently; see that all of them "
            'can read it, that nobody changes it meanwhile, and start again'
        )


def _agreed(
    todo: dict[bytes, Any], keys: dict[int, bytes], items: Sequence[Any]
) -> dict[bytes, Any]:
    # What any process has to do, in the order of the items: another run may
    # have filled the cache while some were reading it.
    parts = processes.share(hashlib.sha256(b''.join(todo)).digest())
    if len(set(parts)) > 1:
        wanted = set().union(*processes.share(list(todo)))
        for at, key in keys.items():
            if key in wanted:
                todo.setdefault(key, items[at])
        first = {key: at for at, key in reversed(keys.items())}
        order = sorted(wanted, key=first.__getitem__)
        todo = {key: todo[key] for key in order}
    return todo


def _key(item: Any) -> bytes:
    # The first byte keeps a text apart from a file that holds it.
    if isinstance(item, Path):
        digest = hashlib.sha256(b'f')
        with open_file(item) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    else:
        text = item.encode('utf-8', 'surrogatepass')
        digest = hashlib.sha256(b't' + text)
    return digest.digest()


def _check_unchanged(
    keys: list[bytes], items: dict[bytes, Any], bad: dict[int, str]
) -> None:
    # The cache would give what a file was to those who ask for what it is.
    for at, key in enumerate(keys):
        if isinstance(item := items[key], Path) and at not in bad:
            try:
                same = _key(item) == key
            except UnreadableImage:
                same = False
            if not same:
                raise DatasetError(
                    f"'{item}' changed while it was encoded; see that nobody "
                    'writes it, and start again'
                )


def _encode(
    encoder: Encoder, part: list[Any]
) -> tuple[Tensor, dict[int, str]]:
    # The encoder alone opens the images, once. If it names an image that it
    # cannot read, that one is bad. If it fails in another way, all are tried.
    bad: dict[int, str] = {}
    while len(bad) < len(part):
        good = [item for at, item in enumerate(part) if at not in bad]
        try:
            return _checked(encoder, good, encoder(good)), bad
        except (DatasetError, KeyError):  # KeyError: of `Precomputed`
            raise
        except Exception as error:
            found = _unreadable(error, part)
            if found.keys() <= bad.keys():
                raise
            bad.update(found)
    return torch.empty(0, encoder.out_channels), bad


def _unreadable(error: Exception, part: list[Any]) -> dict[int, str]:
    # If `open_image` cannot read the image either that the encoder names,
    # others may be damaged as well.
    if isinstance(error, UnreadableImage) and not _reason(error.path):
        named = [at for at, each in enumerate(part) if each == error.path]
        if named:
            return dict.fromkeys(named, error.reason)
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
    if isinstance(x, Tensor):
        got, fits = f'{x.dtype} {list(x.shape)}', list(x.shape) == want
    else:
        got, fits = type(x).__name__, False
    if not fits or not x.is_floating_point():
        raise DatasetError(
            f"encoder '{encoder.name}' must return floats of shape {want} "
            f'for {len(part)} items, got {got}'
        )
    x = x.detach().float().cpu()
    bad = (~finite_rows(x)).nonzero().flatten().tolist()
    if bad:
        raise DatasetError(
            f"encoder '{encoder.name}' returned a non-finite feature for "
            f"'{part[bad[0]]}'"
        )
    return x
