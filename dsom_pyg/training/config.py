"""How to train, and what comes of it."""

from dataclasses import dataclass, field
from typing import Any

import torch

from dsom_pyg.precision import PRECISIONS, default_precision
from dsom_pyg.training.batches import BATCHES

# And the rate each of them wants.
OPTIMIZERS = {'adagrad': 0.1, 'adam': 0.02}


@dataclass(kw_only=True)
class FitConfig:
    r"""How to train.

    Args:
        epochs: Passes over the training queries. (default: :obj:`12`)
        batch_size: Queries (or triples) in a batch. (default: :obj:`500`)
        batch_by: ``'queries'`` or ``'triples'``, see
            :class:`~dsom_pyg.training.QueryLoader`.
        lr: Learning rate. (default: 0.1 for Adagrad, as in the paper, 0.02
            for Adam)
        optimizer: Of models, teachers and students: ``'adagrad'`` or
            ``'adam'``. Combiners have an Adam of their own.
            (default: ``'adagrad'``)
        cooldown: In which share of the steps, the last ones, the learning
            rates of all optimisers fall linearly to 0; 1: in all of them.
            (default: :obj:`0.0`, constant rates)
        precision: ``'bf16'`` or ``'fp32'`` matrix products.
            (default: the faster one on this device)
        eval_every: Epochs between two evaluations on the validation split
            (the last epoch is evaluated too); the best state by filtered
            MRR there is kept. 0: no evaluation, the last epoch is kept.
            (default: :obj:`0`)
        patience: Evaluations without improvement before stopping early.
            (default: :obj:`3`)
        seed: Of batches and of sampled actions. (default: :obj:`0`)
        device: Where to train. (default: ``'cpu'``)
        progress: Show a progress bar. (default: only on a terminal)
    """

    epochs: int = 12
    batch_size: int = 500
    batch_by: str = 'queries'
    lr: float | None = None
    optimizer: str = 'adagrad'
    cooldown: float = 0.0
    precision: str | None = None
    eval_every: int = 0
    patience: int = 3
    seed: int = 0
    device: str = 'cpu'
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f'epochs must be positive, got {self.epochs}')
        if self.batch_size < 1:
            raise ValueError(
                f'batch_size must be positive, got {self.batch_size}'
            )
        if self.batch_by not in BATCHES:
            raise ValueError(
                f"batch_by must be one of {BATCHES}, got '{self.batch_by}'"
            )
        if not 0.0 <= self.cooldown <= 1.0:
            raise ValueError(f'cooldown must be in 0..1, got {self.cooldown}')
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f'optimizer must be one of {tuple(OPTIMIZERS)}, '
                f"got '{self.optimizer}'"
            )
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f'precision must be one of {PRECISIONS}, '
                f"got '{self.precision}'"
            )

    def lr_factor(self, done: float) -> float:
        r"""What learning rates are multiplied with.

        Args:
            done: Share of the steps that lie behind, in 0..1.
        """
        left = 1.0 - done
        return 1.0 if left >= self.cooldown else left / self.cooldown

    def resolved_lr(self) -> float:
        r"""The learning rate that will be used."""
        return OPTIMIZERS[self.optimizer] if self.lr is None else self.lr

    def resolved_precision(self) -> str:
        r"""The precision that will be used."""
        return self.precision or default_precision(torch.device(self.device))


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
