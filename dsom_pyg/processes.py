"""Several processes, one for each device, as ``torchrun`` starts them.

All of them run the same script with the same seeds, and decide alike. They
share the entities: each holds some rows of every entity table, with the state
of their optimiser, and scores these alone. Sums over all entities are joined.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ['first']

T = TypeVar('T')
# The device of this process, if it has begun as one of several.
_place: str | None = None


def check_device(device: torch.device | str) -> None:
    r"""Raise :class:`ValueError` unless this machine has such a device."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition('\n')[0]
        raise ValueError(
            f"there is no device '{device}' here; 'cpu' always is: {reason}"
        ) from error


def begin(device: torch.device | str) -> str:
    r"""The device of this process. Where ``torchrun`` started several, they
    find each other: by NCCL for what is on GPUs, by gloo for all else.
    """
    global _place
    here = own_device(device)
    check_device(here)
    if here.startswith('cuda:') and _launched():
        torch.cuda.set_device(here)
    join()
    _place = here if count() > 1 else None
    return here


def place(otherwise: torch.device) -> torch.device:
    r"""Where this one of several processes works; models are whole on the
    host between two stages.
    """
    return otherwise if _place is None else torch.device(_place)


def own_device(device: torch.device | str) -> str:
    r"""Which device this process means by a name such as ``'cuda'``."""
    if str(device) == 'cuda' and _launched():
        return f'cuda:{os.environ.get("LOCAL_RANK", "0")}'
    return str(device)


def join() -> None:
    r"""Find the other processes, if there are any."""
    if not _launched() or dist.is_initialized():
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group('cpu:gloo,cuda:nccl' if gpus else 'gloo')
    atexit.register(dist.destroy_process_group)


def share(mine: T) -> list[T]:
    r"""What each process has, in the order of processes. All must call it."""
    if count() == 1:
        return [mine]
    found: list[Any] = [None] * count()
    dist.all_gather_object(found, mine)
    return found


def agree(tensors: Iterable[Tensor]) -> None:
    r"""Give all processes what the first one has. All must call it."""
    if count() > 1:
        for x in tensors:
            dist.broadcast(x, 0)


def rank() -> int:
    r"""Which of the processes this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def count() -> int:
    r"""How many processes work together."""
    ready = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if ready else 1


def first() -> bool:
    r"""Whether this is the one that writes files and tells people."""
    return not _launched() or os.environ.get('RANK', '0') == '0'


def _launched() -> bool:
    # Some builds of torch know no processes.
    return dist.is_available() and dist.is_torchelastic_launched()


class Shard:
    r"""The entities that this process holds: ``start`` up to ``stop``.

    All processes must call the joining functions in the same order.

    Args:
        size: E.
    """

    def __init__(self, size: int) -> None:
        self.size, self.count, rank = size, count(), dist.get_rank()
        if size < self.count:
            raise ValueError(
                f'{size} entities are too few for {self.count} processes'
            )
        edges = [size * at // self.count for at in range(self.count + 1)]
        self.widths = [stop - start for start, stop in pairwise(edges)]
        self.start, self.stop = edges[rank], edges[rank + 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shard) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.size, self.start, self.stop))

    def local(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        r"""Which ids this process holds, a mask, and the row of each; of one
        that it does not hold some row or other.
        """
        mine = (ids >= self.start) & (ids < self.stop)
        return mine, (ids - self.start).clamp(0, self.stop - self.start - 1)

    def sum(self, x: Tensor) -> Tensor:
        r"""The sum over all processes, in place."""
        dist.all_reduce(x)
        return x

    def max(self, x: Tensor) -> Tensor:
        r"""The maximum over all processes, in place."""
        dist.all_reduce(x, dist.ReduceOp.MAX)
        return x

    def beside(self, x: Tensor) -> Tensor:
        r"""Matrices ``[B, k]``, one of each process, as ``[B, P k]``."""
        parts = [torch.empty_like(x) for _ in self.widths]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts, dim=1)

    def part(self, x: Tensor) -> Tensor:
        r"""The rows of this process, of those of all entities."""
        return x[self.start : self.stop]

    def gathered(self, x: Tensor, device: torch.device | str) -> Tensor:
        r"""The rows of all entities on a device, from those of each process.
        One part after the other comes, so that beside them there is one part
        alone.
        """
        out = x.new_empty(self.size, *x.shape[1:], device=device)
        for at, part in self._in_turn(x):
            out[at] = part
        return out

    def gathered_by_first(self, x: Tensor) -> Tensor:
        r"""Likewise, on the host of the first process; no rows elsewhere."""
        if first():
            return self.gathered(x, 'cpu')
        for _ in self._in_turn(x):
            pass
        return x.new_empty(0, *x.shape[1:], device='cpu')

    def _in_turn(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        start = 0
        for rank, width in enumerate(self.widths):
            mine = start == self.start
            part = x.contiguous() if mine else x.new_empty(width, *x.shape[1:])
            dist.broadcast(part, rank)
            yield slice(start, start + width), part
            start += width

    def whole(self, x: Tensor, dim: int = 0) -> Tensor:
        r"""All entities, from the part ``[..., stop - start, ...]`` of each
        process along a dimension.
        """
        x = x.movedim(dim, 0).contiguous()
        widest = max(self.widths)
        padded = x.new_zeros(widest, *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in self.widths]
        dist.all_gather(parts, padded)
        each = [p[:w] for p, w in zip(parts, self.widths, strict=True)]
        return torch.cat(each).movedim(0, dim)
