"""The training loop, and what every task of it gives."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from tqdm.auto import tqdm

from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import (
    add_reciprocals,
    fingerprint,
    get_split,
    num_relations,
)
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.training.batches import QueryBatch, QueryLoader
from dsom_pyg.training.config import FitConfig, FitResult
from dsom_pyg.training.resume import Progress, RunFile, digest


class Task(Protocol):
    r"""What :func:`fit` trains."""

    name: str

    def modules(self) -> Iterable[nn.Module]:
        r"""Modules that are trained."""

    def frozen(self) -> Iterable[nn.Module]:
        r"""Modules that take part but are not trained."""

    def scorer(self) -> Scorer:
        r"""What is evaluated for early stopping."""

    def settings(self) -> dict[str, Any]:
        r"""Settings of the objective, for the record."""

    def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
        r"""Optimisers of all trained parameters, for a loop."""

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        r"""Losses and metrics; the entry ``'loss'`` is minimised."""


def fit(
    task: Task,
    data: HeteroData,
    config: FitConfig | None = None,
    checkpoint: str | Path | None = None,
) -> FitResult:
    r"""Train a task on the training split.

    Only the training split is learned from, only the validation split is
    used to choose; the test split is never read.

    Args:
        task: What to train.
        data: The graph.
        config: How. (default: :class:`FitConfig()`)
        checkpoint: A file that is written after every epoch. If it is there
            already, training goes on from it, and a run that had ended is
            not repeated. On a CPU the outcome is bit for bit that of an
            uninterrupted run. (default: :obj:`None`)

    Raises:
        FloatingPointError: A loss became NaN or infinite. The modules are
            of no use then; :obj:`checkpoint` keeps the last good epoch.
        ValueError: :obj:`eval_every` is set but there are no validation
            triples, or :obj:`checkpoint` belongs to another run.
    """
    config = config or FitConfig()
    device, precision = (
        torch.device(config.device),
        config.resolved_precision(),
    )
    for module in (*task.modules(), *task.frozen()):
        module.to(device).eval()
    loader = QueryLoader(
        train_index(data).to(device),
        config.batch_size,
        config.batch_by,
        config.seed,
    )
    keeper = _Keeper(task, data, config)
    optimizers = task.optimizers(config)
    result = FitResult(
        config={
            'task': task.name,
            **task.settings(),
            **asdict(config),
            'lr': config.resolved_lr(),
            'precision': precision,
        }
    )
    schedule = _Schedule(optimizers, config, len(loader))
    run = _Run(task, data, result, keeper, optimizers, loader, checkpoint)
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(config.seed)
        bar = tqdm(
            range(run.resume() + 1, config.epochs + 1),
            desc=task.name,
            disable=None if config.progress is None else not config.progress,
        )
        for epoch in bar:
            record = _train_epoch(task, loader, schedule, precision, epoch)
            result.history.append(record)
            stop = keeper.after(epoch, record)
            run.save(stop)
            bar.set_postfix({k: f'{v:.4g}' for k, v in record.items()})
            if stop:
                break
    keeper.finish(result)
    for module in task.modules():
        module.eval()
    return result


class _Run:
    r"""All that must be saved for training to go on."""

    def __init__(
        self,
        task: Task,
        data: HeteroData,
        result: FitResult,
        keeper: '_Keeper',
        optimizers: list[torch.optim.Optimizer],
        loader: QueryLoader,
        path: str | Path | None,
    ) -> None:
        self.task, self.result, self.keeper = task, result, keeper
        self.optimizers, self.loader = optimizers, loader
        self.file = None
        if path is not None:
            identity = {
                **result.config,
                'graph': fingerprint(data),
                'frozen modules': digest(task.frozen()),
                'fixed features': digest(_buffers(task.modules())),
            }
            # Where and with what display makes no other run of it.
            del identity['device'], identity['progress']
            self.file = RunFile(path, identity)

    def save(self, stopped: bool) -> None:
        r"""Write the run after an epoch."""
        if self.file is None:
            return
        k = self.keeper
        progress = Progress(
            self.result.history, k.best_mrr, k.best_epoch, k.failed, stopped
        )
        cuda = torch.cuda.is_available()
        states = {
            'modules': [m.state_dict() for m in self.task.modules()],
            'best': k.state,
            'optimizers': [o.state_dict()['state'] for o in self.optimizers],
            'loader': self.loader.generator.get_state(),
            'random': torch.get_rng_state(),
            'cuda': torch.cuda.get_rng_state_all() if cuda else [],
        }
        self.file.save(progress, states)

    def resume(self) -> int:
        r"""Go back to where the file is; how many epochs are done."""
        found = self.file.load() if self.file else None
        if found is None:
            return 0
        progress, states = found
        modules = list(self.task.modules())
        for module, state in zip(modules, states['modules'], strict=True):
            module.load_state_dict(state)
        for optimizer, state in zip(
            self.optimizers, states['optimizers'], strict=True
        ):
            groups = optimizer.state_dict()['param_groups']
            optimizer.load_state_dict({'state': state, 'param_groups': groups})
        self.loader.generator.set_state(states['loader'])
        torch.set_rng_state(states['random'])
        if states['cuda'] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states['cuda'])
        k = self.keeper
        k.best_mrr, k.best_epoch = progress.best_mrr, progress.best_epoch
        k.failed, k.state = progress.failed, states['best']
        self.result.history += progress.history
        if progress.stopped:
            return int(self.result.config['epochs'])
        return len(progress.history)


def _buffers(modules: Iterable[nn.Module]) -> list[nn.Module]:
    # The buffers that no checkpoint holds, such as the features of a teacher.
    holder = nn.Module()
    for at, module in enumerate(modules):
        stored = module.state_dict().keys()
        for name, value in module.named_buffers():
            if name not in stored:
                name = f'{at}.{name}'.replace('.', '/')
                holder.register_buffer(name, value)
    return [holder]


def train_index(data: HeteroData) -> QueryIndex:
    r"""N(h, r): tails of the training triples, reciprocals included."""
    train = get_split(data, 'train')
    return QueryIndex(add_reciprocals(train, num_relations(data)))


def _cuda_devices(device: torch.device) -> list[int]:
    if device.type != 'cuda':
        return []
    return [device.index or 0]


class _Schedule:
    r"""Optimisers whose learning rates depend on nothing but the step, so
    that a run goes on as it would have gone.
    """

    def __init__(
        self,
        optimizers: list[torch.optim.Optimizer],
        config: FitConfig,
        steps_per_epoch: int,
    ) -> None:
        self.optimizers, self.config = optimizers, config
        self.steps = config.epochs * steps_per_epoch
        self.lrs = [
            [group['lr'] for group in optimizer.param_groups]
            for optimizer in optimizers
        ]

    def step(self, number: int) -> None:
        r"""Take a step, the first one being number 0."""
        factor = self.config.lr_factor(number / self.steps)
        for optimizer, lrs in zip(self.optimizers, self.lrs, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group['lr'] = lr * factor
            optimizer.step()


def _train_epoch(
    task: Task,
    loader: QueryLoader,
    schedule: _Schedule,
    precision: str,
    epoch: int,
) -> dict[str, float]:
    for module in task.modules():
        module.train()
    start = time.perf_counter()
    sums: dict[str, Tensor] = {}
    for at, batch in enumerate(loader):
        terms = task.step(batch, precision)
        for optimizer in schedule.optimizers:
            optimizer.zero_grad(set_to_none=True)
        terms['loss'].backward()
        schedule.step((epoch - 1) * len(loader) + at)
        # Summed where they are: reading them would wait for the device.
        for name, value in terms.items():
            value = value.detach()
            sums[name] = sums[name] + value if name in sums else value
    means = {name: float(value) / len(loader) for name, value in sums.items()}
    record = {'epoch': float(epoch), **means}
    record['seconds'] = time.perf_counter() - start
    for name, mean in means.items():
        if not torch.isfinite(torch.tensor(mean)):
            raise FloatingPointError(
                f"{task.name}: '{name}' is {mean} in epoch {epoch}; "
                'lower the learning rate or check the features'
            )
    return record


class _Keeper:
    r"""Evaluates on the validation split and keeps the best state."""

    def __init__(self, task: Task, data: HeteroData, config: FitConfig):
        self.task, self.data, self.config = task, data, config
        self.best_mrr, self.best_epoch, self.failed = -1.0, 0, 0
        self.state: list[dict[str, Tensor]] = []
        if config.eval_every and not get_split(data, 'val').edge_type.numel():
            raise ValueError(
                'eval_every needs validation triples; hold out a part of '
                'train (dsom_pyg.graph.hold_out) or set eval_every=0'
            )

    def after(self, epoch: int, record: dict[str, float]) -> bool:
        r"""Evaluate if it is time; whether to stop."""
        every = self.config.eval_every
        last = epoch == self.config.epochs
        if not every or (epoch % every and not last):
            return False
        for module in self.task.modules():
            module.eval()
        # The filter leaves test out: it takes no part in any choice.
        result = evaluate(
            self.task.scorer(),
            self.data,
            split='val',
            filter_splits=('train', 'val'),
            device=self.config.device,
        )
        record['val_mrr'] = result.mrr()
        if record['val_mrr'] > self.best_mrr:
            self.best_mrr, self.best_epoch = record['val_mrr'], epoch
            self.failed = 0
            self.state = [
                {k: v.detach().clone() for k, v in m.state_dict().items()}
                for m in self.task.modules()
            ]
            return False
        self.failed += 1
        return self.failed >= self.config.patience

    def finish(self, result: FitResult) -> None:
        r"""Put the best state back."""
        if not self.state:
            result.best_epoch = len(result.history)
            return
        for module, state in zip(self.task.modules(), self.state, strict=True):
            module.load_state_dict(state)
        result.best_epoch = self.best_epoch
        result.selection = 'best filtered validation MRR'
