"""Items through a model, batch by batch."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from tqdm.auto import tqdm

MAX_WORKERS = 8


def check_batch_size(batch_size: int) -> int:
    r"""Return the batch size, or raise if it is not positive."""
    if batch_size < 1:
        raise ValueError(f'batch_size must be at least 1, got {batch_size}')
    return batch_size


def check_choice(argument: str, value: str, literal: Any) -> None:
    r"""Raise if :obj:`value` is none of the strings of a ``Literal``."""
    if value not in get_args(literal):
        raise ValueError(
            f'{argument} must be one of {get_args(literal)}, got {value!r}'
        )


@torch.no_grad()
def encode_texts(
    items: Sequence[str] | Sequence[Path],
    encode: Callable[[list[str]], Tensor],
    out_channels: int,
    batch_size: int,
    progress: bool = False,
) -> Tensor:
    r"""Features of texts, which :obj:`encode` computes on any device.

    Texts of like length share a batch, so that little padding is computed;
    the longest come first, so that memory runs out at once or never.

    Shapes:
        - **output:** :math:`(n, d)`, float32, on the CPU
    """
    texts = [str(item) for item in items]
    out = torch.empty(len(texts), out_channels, dtype=torch.float32)
    order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    with tqdm(total=len(texts), unit='text', disable=not progress) as bar:
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            features = encode([texts[at] for at in part])
            out[torch.tensor(part)] = features.float().cpu()
            bar.update(len(part))
    return out


@torch.no_grad()
def encode_images(
    items: Sequence[str] | Sequence[Path],
    prepare: Callable[[Path], Tensor],
    encode: Callable[[Tensor], Tensor],
    out_channels: int,
    batch_size: int,
    device: torch.device,
    progress: bool = False,
) -> Tensor:
    r"""Features of image files: :obj:`prepare` opens one, in any thread, and
    :obj:`encode` maps a stack of what it returns, on the device, to features.

    Only a batch or two of them are held in memory.

    Shapes:
        - **output:** :math:`(n, d)`, float32, on the CPU
    """
    paths = [Path(item) for item in items]
    out = torch.empty(len(paths), out_channels, dtype=torch.float32)
    # While a GPU computes, the next batch is opened. On a CPU the model keeps
    # all cores busy itself, and every further thread would bring a team of
    # its own along, which waits for the others.
    prepared = in_turn if device.type == 'cpu' else in_threads
    start = 0
    with tqdm(total=len(paths), unit='image', disable=not progress) as bar:
        for batch in prepared(paths, prepare, batch_size):
            features = encode(batch.to(device))
            out[start : start + len(batch)] = features.float().cpu()
            start += len(batch)
            bar.update(len(batch))
    return out


def in_turn(
    paths: Sequence[Path], prepare: Callable[[Path], Tensor], batch_size: int
) -> Iterator[Tensor]:
    r"""Batches of files that :obj:`prepare` maps to tensors, in order."""
    for start in range(0, len(paths), batch_size):
        part = paths[start : start + batch_size]
        yield torch.stack([prepare(path) for path in part])


def in_threads(
    paths: Sequence[Path], prepare: Callable[[Path], Tensor], batch_size: int
) -> Iterator[Tensor]:
    r"""As :func:`in_turn`, and prepares the next batch meanwhile."""
    waiting: deque[list[Future[Tensor]]] = deque()

    def take() -> Tensor:
        return torch.stack([future.result() for future in waiting.popleft()])

    pool = ThreadPoolExecutor(min(MAX_WORKERS, num_cores()))
    try:
        for start in range(0, len(paths), batch_size):
            part = paths[start : start + batch_size]
            waiting.append([pool.submit(prepare, path) for path in part])
            if len(waiting) > 1:
                yield take()
        while waiting:
            yield take()
    finally:  # an error need not wait for the rest
        pool.shutdown(cancel_futures=True)


def num_cores() -> int:
    r"""Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
