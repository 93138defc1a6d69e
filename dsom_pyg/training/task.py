"""What the loop trains."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.evaluation import Scorer
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.scores.tables import reusing_gradients
from dsom_pyg.training.loop import Loop
from dsom_pyg.words import in_short, in_words, tells_all


class Task:
    r"""Base class of what :func:`~dsom_pyg.training.fit` trains.

    A subclass gives :meth:`step`. One that needs several optimisers or
    passes, such as a generator and its critic, overrides :meth:`update`.

    Args:
        name: Shown in progress bars and results.
        trained: What is trained.
        frozen: What takes part but stays as it is.
    """

    epochs_done = 0
    r"""How many have been trained."""

    falling: Sequence[str] = ('loss',)
    r"""The terms that training lowers; one that ends above what it was before
    the first step is an error. Empty where nothing need fall, such as the
    reward of a policy, or the loss of a model that has learned already.
    """

    def __init__(
        self,
        name: str,
        trained: Sequence[nn.Module],
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self.name = name
        self.trained, self.frozen = list(trained), list(frozen)

    def scorer(self) -> Scorer:
        r"""What is evaluated for early stopping."""
        raise ValueError(
            f"'{self.name}' is not evaluated along the way; set eval_every=0"
        )

    def settings(self) -> dict[str, Any]:
        r"""Settings of the objective, for the record."""
        return {}

    def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
        r"""Optimisers of all trained parameters."""
        params = (p for module in self.trained for p in module.parameters())
        return [loop.optimizer(params)]

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        r"""Losses and metrics of a batch, means over its targets; ``'loss'``
        is minimised.
        """
        raise NotImplementedError

    def update(
        self,
        batch: QueryBatch,
        precision: str,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> dict[str, Tensor]:
        r"""Learn from a batch, by one backward pass and one step of all
        optimisers; returns losses and metrics for the history. Its loss
        counts as much as :obj:`batch.weight` says.
        """
        terms = self.step(batch, precision)
        groups = [x for each in optimizers for x in each.param_groups]
        with reusing_gradients(p for group in groups for p in group['params']):
            (terms['loss'] * batch.weight).backward()
        for optimizer in optimizers:
            optimizer.step()
        return terms


# Of a line of the history, beside what a step tells.
TAKEN = {'epoch', 'seconds', 'val_mrr'}


def with_loss(
    loss: Tensor, terms: Mapping[str, Tensor], **more: Tensor
) -> dict[str, Tensor]:
    r"""What a step returns: its loss, whatever its terms are called, and
    these.

    Raises:
        ValueError: A term has the name of something else in a history.
    """
    terms = {**terms, **more}
    if taken := TAKEN & {*terms}:
        raise ValueError(
            f'a term of a loss cannot be called {", ".join(sorted(taken))}, '
            'as a line of the history has such a number; rename it'
        )
    others = {name: x for name, x in terms.items() if name != 'loss'}
    return {'loss': loss, **others}


# Of what else modules hold, tensors and their containers.
PLAIN = 'builtins', 'collections', 'numpy', 'torch'


def _origin(value: object) -> str:
    return type(value).__module__.partition('.')[0]


def adam(module: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    r"""Adam for what is trainable in a module, nothing if nothing is."""
    params = [p for p in module.parameters() if p.requires_grad]
    return [torch.optim.Adam(params, lr=lr)] if params else []


def describe(module: nn.Module) -> str:
    r"""A module's class and plain attributes, for the record. Parameters do
    not count, functions by their name.
    """
    words = _attributes(module)
    for child in module.children():
        if _origin(child) != 'torch':
            words.append(describe(child))
    return f'{type(module).__name__}({", ".join(words)})'


def details(module: nn.Module) -> list[str]:
    r"""What :func:`describe` does not say: modules of torch, what they
    contain, and how each parameter is held.
    """
    words = []
    within = set()
    for name, each in module.named_modules():
        above = name.rpartition('.')[0]
        if _origin(each) == 'torch':
            within.add(name)
            if said := each.extra_repr():
                words.append(f'{name}: {type(each).__name__}({said})')
        elif above in within:
            within.add(name)
            said = ', '.join(_attributes(each))
            words.append(f'{name}: {type(each).__name__}({said})')
    for name, value in module.named_parameters():
        kind = str(value.dtype).removeprefix('torch.')
        frozen = '' if value.requires_grad else ', frozen'
        words.append(f'{name}: {kind} {list(value.shape)}{frozen}')
    return words


def held(module: nn.Module) -> list[str]:
    r"""What :func:`describe` leaves out of the attributes of a module and of
    those in it: lists and other containers, tensors, numbers of NumPy, None.
    Modules that a model asks are compared by their weights. Attributes whose
    names begin with ``_`` are its own affair: they may change in training.
    What nothing but an address tells, such as a generator, is passed over.
    """
    words = []
    for name, each in module.named_modules():
        for key, value in _public(each) if _origin(each) != 'torch' else ():
            if _is_told(value) or _are_modules(value):
                continue
            said = in_words(value)
            if tells_all(said):
                words.append(f'{name}.{key}={in_short(said)}'.lstrip('.'))
    return words


def _attributes(module: nn.Module) -> list[str]:
    words = []
    for key, value in _public(module):
        if isinstance(value, bool | int | float | str):
            words.append(f'{key}={value}')
        elif _is_told(value):
            words.append(f'{key}={in_words(value)}')
    return words


def _public(module: nn.Module) -> list[tuple[str, Any]]:
    own = vars(module).items()
    return sorted((k, x) for k, x in own if k[0] != '_' and k != 'training')


def _are_modules(value: object) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(each, nn.Module) for each in value)


def _is_told(value: object) -> bool:
    # By its words, which do not change.
    return (
        isinstance(value, bool | int | float | str)
        or isinstance(getattr(value, '__qualname__', None), str)
        or _origin(value) not in PLAIN
    )
