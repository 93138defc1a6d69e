"""How to train, and what comes of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from numbers import Integral
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dsom_pyg import processes
from dsom_pyg.training.batches import check_batches
from dsom_pyg.training.sampled import Sampled
from dsom_pyg.words import make_plain


def _check_rate(lr: float, initial_accumulator: float = 0.0) -> None:
    # NaN is no rate either.
    if not 0.0 < lr < math.inf:
        raise ValueError(f'lr must be positive, got {lr}')
    if not 0.0 <= initial_accumulator < math.inf:
        raise ValueError(
            'initial_accumulator must not be negative, got '
            f'{initial_accumulator}'
        )


@dataclass(frozen=True)
class Adagrad:
    r"""Adagrad, the paper's optimiser.

    Args:
        lr: Learning rate.
        initial_accumulator: What the sums of squared gradients start with.
            From 0 the first step moves every coordinate by the full learning
            rate. That destroys a trained model; 2e-6 (the typical sum after
            12 epochs on DB15K) avoids it.
    """

    lr: float = 0.1
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.lr, self.initial_accumulator)

    def __call__(self, params: Iterable[nn.Parameter]) -> Optimizer:
        r"""The optimiser of these parameters; on a CPU in its fused form,
        which walks through a table once in a step, not once an operation.
        """
        params = list(params)
        fused = {p.device.type for p in params} == {'cpu'}
        return torch.optim.Adagrad(
            params,
            lr=self.lr,
            initial_accumulator_value=self.initial_accumulator,
            fused=fused or None,
        )


@dataclass(frozen=True)
class Adam:
    r"""Adam, by its learning rate."""

    lr: float = 0.02

    def __post_init__(self) -> None:
        _check_rate(self.lr)

    def __call__(self, params: Iterable[nn.Parameter]) -> Optimizer:
        r"""The optimiser of these parameters, fused where there is such."""
        params = list(params)
        fused = {p.device.type for p in params} in ({'cpu'}, {'cuda'})
        # Gradients of single coordinates are of the order of 1e-5 and less:
        # the usual eps of 1e-8 would be felt by the least of them.
        return torch.optim.Adam(
            params, lr=self.lr, eps=1e-10, fused=fused or None
        )


@dataclass(frozen=True)
class Adam8bit:
    r"""Adam of `bitsandbytes <https://github.com/bitsandbytes-foundation>`_
    (extra ``adam8bit``), whose moments have 8 bits: they take half a table
    where those of :class:`Adam` take two. Parameters of fewer than 4,096
    numbers have plain ones.

    It is made for GPUs; on a CPU a step takes some 70 times as long as one of
    :class:`Adam`. Several processes cannot share its state.

    Args:
        lr: Learning rate.

    Raises:
        ImportError: bitsandbytes is not installed.
    """

    lr: float = 0.02

    def __post_init__(self) -> None:
        _check_rate(self.lr)
        # Found out now, not after the teachers were trained.
        if find_spec('bitsandbytes') is None:
            raise ImportError(
                'Adam8bit needs bitsandbytes: pip install "dsom_pyg[adam8bit]"'
            )

    def check(self) -> None:
        r"""Raise :class:`ValueError` if several processes train together."""
        if processes.count() > 1:
            raise ValueError(
                'Adam8bit trains in one process; RowwiseAdagrad needs little '
                'memory in several ones'
            )

    def __call__(self, params: Iterable[nn.Parameter]) -> Optimizer:
        r"""The optimiser of these parameters.

        Raises:
            ValueError: Several processes train together.
        """
        from bitsandbytes.optim import adam

        self.check()
        made: Optimizer = adam.Adam8bit(list(params), lr=self.lr, eps=1e-10)
        return made


@dataclass(frozen=True)
class RowwiseAdagrad:
    r"""Adagrad with one number a row: the sum of the mean squares of its
    gradients. For tables of millions of entities: beside table and gradient
    it takes no memory worth mentioning, where Adam takes twice the table.

    Args:
        lr: Learning rate. Try some: the best one may be several times that of
            :class:`Adagrad`.
        initial_accumulator: As of :class:`Adagrad`.
    """

    lr: float = 0.1
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.lr, self.initial_accumulator)

    def __call__(self, params: Iterable[nn.Parameter]) -> Optimizer:
        r"""The optimiser of these parameters."""
        return _Rowwise(params, self.lr, self.initial_accumulator)


class _Rowwise(Optimizer):
    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, start: float
    ) -> None:
        super().__init__(list(params), {'lr': lr})
        for param in (p for g in self.param_groups for p in g['params']):
            total = param.detach().new_full(param.shape[:1], start)
            self.state[param] = {'sum': total}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is None:
                    continue
                total = self.state[param]['sum']
                grad = param.grad
                # Of one number a row, the row is the number; a single number
                # is a row.
                rows = grad.reshape(total.numel(), -1)
                # A norm walks through the table once, squares do twice.
                mean = torch.linalg.vector_norm(rows, dim=1).square_()
                total.add_(mean.div_(rows.size(1)).view_as(total))
                factor = total.sqrt().add_(1e-10).reciprocal_()
                shape = *total.shape, *(1,) * (grad.dim() - 1)
                param.addcmul_(grad, factor.view(shape), value=-group['lr'])


def check_epochs(epochs: int) -> None:
    r"""Raise :class:`ValueError` unless there is an epoch at least."""
    if epochs < 1:
        raise ValueError(f'epochs must be positive, got {epochs}')
    if not isinstance(epochs, Integral):  # 2.0 would fail later
        raise ValueError(f'epochs must be an integer, got {epochs}')


@dataclass(kw_only=True, frozen=True)
class Loop:
    r"""How long to train, in which batches, by which optimiser.

    Args:
        epochs: Passes over the training queries.
        batch_size: Queries (or triples) in a batch. A step makes scores of
            that many rows and E columns in chunks (of twice as many rows with
            unlabeled queries).
        batch_by: ``'queries'`` or ``'triples'``, see
            :class:`~dsom_pyg.training.QueryLoader`.
        equal_pairs: Every training triple counts alike, however many tails
            its queries have, see :class:`~dsom_pyg.training.QueryLoader`. On
            validation of DB15K, MKG-W and MKG-Y it changed the MRR by less
            than another seed does. An objective that is a mean over queries,
            :class:`~dsom_pyg.models.KvsAll`, counts them alike in a batch.
        rarity: a; a (query, tail) pair of a query with n tails weighs
            :math:`n^{-a}` in losses over targets. With 1 all queries count
            alike. (default: all pairs do)
        optimizer: Of models, teachers and students. Combiners have an Adam of
            their own.
        cooldown: In which share of the steps, the last ones, the learning
            rates of all optimisers fall linearly to 0; 1: in all of them.
        eval_every: Epochs between two evaluations on the validation split
            (the last epoch is evaluated too); the best state by filtered
            MRR there is kept. 0: no evaluation, the last epoch is kept.
        patience: Evaluations without improvement before stopping early.
        sampled: Losses over some entities alone, for graphs where all are too
            many. (default: all, exactly)
    """

    epochs: int = 12
    batch_size: int = 500
    batch_by: str = 'queries'
    equal_pairs: bool = False
    rarity: float | None = None
    optimizer: Adagrad | Adam | Adam8bit | RowwiseAdagrad = field(
        default_factory=Adagrad
    )
    cooldown: float = 0.0
    eval_every: int = 0
    patience: int = 3
    sampled: Sampled | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        check_epochs(self.epochs)
        check_batches(self.batch_size, self.batch_by)
        if not 0.0 <= self.cooldown <= 1.0:
            raise ValueError(f'cooldown must be in 0..1, got {self.cooldown}')
        if self.eval_every < 0 or self.patience < 1:
            raise ValueError(
                'eval_every must not be negative and patience be positive, '
                f'got {self.eval_every} and {self.patience}'
            )
        if not 0.0 <= (self.rarity or 0.0) <= 1.0:
            raise ValueError(f'rarity must be in 0..1, got {self.rarity}')
        # A class of these is callable, too.
        if not callable(self.optimizer) or isinstance(self.optimizer, type):
            raise TypeError(
                'optimizer must be Adagrad(...), Adam(...), Adam8bit(...) or '
                f'RowwiseAdagrad(...), got {self.optimizer!r}'
            )
        if not isinstance(self.sampled, Sampled | None):
            raise TypeError(
                f'sampled must be Sampled(...), got {self.sampled!r}'
            )

    def lr_factor(self, done: float) -> float:
        r"""The factor of learning rates after a share of the steps."""
        left = 1.0 - done
        return 1.0 if left >= self.cooldown else left / self.cooldown


@dataclass
class FitResult:
    r"""What happened in training.

    Attributes:
        history: One dictionary an epoch: mean of every loss and metric of
            the steps, ``seconds``, and ``val_mrr`` where evaluated.
        best_epoch: The epoch whose state was kept, counted from 1.
        selection: How it was chosen, in words.
        config: Settings of the loop and of the task's objective.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    selection: str = 'last epoch'
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        r"""Training time without evaluation."""
        return sum(epoch['seconds'] for epoch in self.history)
