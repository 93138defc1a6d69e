"""Matrices with a row for each entity, which scores are products with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor

from dsom_pyg.precision import matmul
from dsom_pyg.processes import Shard

Backward = TypeVar('Backward', bound=Callable[..., Any])


def once(backward: Backward) -> Backward:
    r"""A backward pass that refuses to be differentiated itself: what it
    walks through again leaves no trace, so the result would be wrong.
    """

    @wraps(backward)
    def checked(ctx: Any, *grads: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                'losses over all entities have first derivatives only; leave '
                'create_graph out'
            )
        return backward(ctx, *grads)

    return checked  # type: ignore[return-value]


class EntityTable:
    r"""A matrix ``[E, k]``, some rows of which a step reads, while it scores
    all of them: its gradient is one matrix, not one for each use.

    Args:
        matrix: The parameter.
        shard: The entities that its rows are of, if not of all.
    """

    def __init__(self, matrix: Tensor, shard: Shard | None = None) -> None:
        self.matrix, self.shard = matrix.detach(), shard
        self.gradient = TableGradient(self.matrix)
        self.token: Tensor = _FromTable.apply(self.gradient, matrix)

    def to(self, dtype: torch.dtype) -> EntityTable:
        r"""A copy of another type, without gradient."""
        return EntityTable(self.matrix.to(dtype), self.shard)

    def rows(self, index: Tensor) -> Tensor:
        r"""Some rows, ``[N, k]``."""
        out: Tensor = _Rows.apply(self.token, self.gradient, index, self.shard)
        return out


# A frozen one may have stayed on the host.
Basis = Tensor | EntityTable


def width(basis: Basis) -> int:
    r"""How many coordinates it has."""
    return (basis.matrix if isinstance(basis, EntityTable) else basis).size(1)


def address(basis: Basis) -> int:
    r"""Where it lies in memory."""
    return (
        basis.matrix if isinstance(basis, EntityTable) else basis
    ).data_ptr()


def rows_at(matrix: Tensor, index: Tensor) -> Tensor:
    r"""Some rows ``[N, k]`` of a matrix, where the index is."""
    return matrix[index.to(matrix.device)].to(index.device)


def product(
    coordinates: Tensor, basis: Basis, part: slice, precision: str
) -> Tensor:
    r"""Products ``[B, E]`` of coordinates ``[B, k]`` with a part of a basis.
    Where processes share its rows, all of them get all products, without
    gradient.
    """
    matrix = basis.matrix if isinstance(basis, EntityTable) else basis
    if not isinstance(basis, EntityTable) or basis.shard is None:
        rows = matrix[part].to(coordinates.device)
        return matmul(coordinates, rows.t(), precision)
    if coordinates.requires_grad:
        raise RuntimeError(
            'scores of all entities have no gradient where processes share '
            'the entities; scores_and_loss has'
        )
    own = matmul(coordinates, matrix.to(coordinates.device).t(), precision)
    return basis.shard.whole(own, dim=1)[:, part]


# By where the parameter lies: memory of the size of its gradient.
_ROOM: ContextVar[dict[int, Tensor] | None] = ContextVar('room', default=None)


@contextmanager
def reusing_gradients(params: Iterable[Tensor]) -> Iterator[None]:
    r"""Take the gradients of these parameters away, and give their memory to
    those of the same tables that are made within. Nobody else may hold them.
    """
    # Memory that was freed comes back page by page on a CPU.
    params = list(params)
    # No name may hold one here: autograd copies what it is not given alone.
    rooms = {p.data_ptr(): p.grad for p in params if _is_room(p.grad)}
    for param in params:
        param.grad = None
    token = _ROOM.set(rooms)
    try:
        yield
    finally:
        _ROOM.reset(token)


def _is_room(grad: Tensor | None) -> TypeGuard[Tensor]:
    return (
        grad is not None and not grad.is_sparse and grad.device.type == 'cpu'
    )


class TableGradient:
    r"""Parts of the gradient of a matrix, until all uses have left theirs."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.whole: Tensor | None = None
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.walk = -1

    def begin(self) -> None:
        # What another walk back has left, such as one for the gradient of
        # relations alone, which never came to the matrix, is not of this one.
        walk = torch._C._current_graph_task_id()
        if walk != self.walk:
            self.clear()
        self.walk = walk

    def clear(self) -> None:
        self.whole = None
        self.rows.clear()

    def room(self) -> Tensor:
        r"""Memory for all of it."""
        matrix, rooms = self.matrix, _ROOM.get() or {}
        room = rooms.pop(matrix.data_ptr(), None)
        if room is None or room.shape != matrix.shape:
            return torch.empty_like(matrix)
        return room

    def take(self) -> Tensor:
        out = self.whole
        if out is None:
            out = self.room().zero_()
        for index, grad in self.rows:
            out.index_add_(0, index, grad)
        self.clear()
        return out


class _FromTable(torch.autograd.Function):
    # As of _WalkBack: its output tells autograd when all uses are through.
    @staticmethod
    def forward(ctx: Any, gradient: TableGradient, matrix: Tensor) -> Tensor:
        ctx.gradient = gradient
        return matrix.new_zeros(())

    @staticmethod
    @once
    def backward(ctx: Any, _: Tensor) -> tuple[None, Tensor]:
        return None, ctx.gradient.take()


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        gradient: TableGradient,
        index: Tensor,
        shard: Shard | None,
    ) -> Tensor:
        ctx.saved = token, gradient, index, shard
        return rows_of(gradient.matrix, index, shard)

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        token, gradient, index, shard = ctx.saved
        if shard is not None:
            mine, index = shard.local(index)
            grad = grad * mine[:, None]
        gradient.begin()
        gradient.rows.append((index, grad))
        return torch.zeros_like(token), None, None, None


def rows_of(matrix: Tensor, index: Tensor, shard: Shard | None) -> Tensor:
    r"""Some rows ``[N, k]`` of a matrix, of which each process may hold a
    part; no gradient looks back at it then.
    """
    if shard is None:
        return rows_at(matrix, index)
    mine, local = shard.local(index)
    return shard.sum(rows_at(matrix.detach(), local) * mine[:, None])
