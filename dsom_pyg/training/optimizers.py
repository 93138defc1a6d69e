"""Optimisers of embeddings and of combiners."""

from collections.abc import Iterable

import torch
from torch import nn

from dsom_pyg.training.config import FitConfig


def embedding_optimizer(
    params: Iterable[nn.Parameter],
    config: FitConfig,
    initial_accumulator: float = 0.0,
) -> torch.optim.Optimizer:
    r"""The optimiser that a loop names, at its rate.

    On a CPU, and Adam on a GPU, in its fused form: tables of all entities are
    walked through once in a step, not once an operation.

    Args:
        params: What to train.
        config: The loop, with :obj:`optimizer` and :obj:`lr`.
        initial_accumulator: What the sums of squared gradients of Adagrad
            start with. (default: :obj:`0.0`)

    Raises:
        ValueError: Adam is to start with an accumulator.
    """
    params, lr = list(params), config.resolved_lr()
    devices = {p.device.type for p in params}
    if config.optimizer == 'adagrad':
        return torch.optim.Adagrad(
            params,
            lr=lr,
            initial_accumulator_value=initial_accumulator,
            fused=devices == {'cpu'} or None,
        )
    if initial_accumulator:
        raise ValueError(
            'initial_accumulator is that of Adagrad; this loop has '
            f"optimizer='{config.optimizer}'"
        )
    # Gradients of single coordinates are of the order of 1e-5 and less: the
    # usual eps of 1e-8 would be felt by the least of them.
    fused = devices in ({'cpu'}, {'cuda'}) or None
    return torch.optim.Adam(params, lr=lr, eps=1e-10, fused=fused)


def adam(module: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    r"""Adam for what is trainable in a module, nothing if nothing is."""
    params = [p for p in module.parameters() if p.requires_grad]
    return [torch.optim.Adam(params, lr=lr)] if params else []
