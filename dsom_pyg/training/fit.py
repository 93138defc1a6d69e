"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from dsom_pyg.evaluation import evaluate
from dsom_pyg.files import NotWritten
from dsom_pyg.graph import check_sizes
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from dsom_pyg.models.sharded import agree_on_whole, sharded
from dsom_pyg.precision import resolve_precision
from dsom_pyg.processes import begin, count
from dsom_pyg.pyg import HeteroData
from dsom_pyg.training.batches import QueryLoader
from dsom_pyg.training.loop import Adam8bit, FitResult, Loop
from dsom_pyg.training.progress import Progress, watching
from dsom_pyg.training.state import (
    RunFile,
    TrainState,
    check_alike,
    identity,
)
from dsom_pyg.training.task import Task
from dsom_pyg.words import in_words

# A loss this many times what it was before the first step does not come
# back; one of 100 times, of a first epoch at a high rate, does.
FAR = 1000.0
# How far, in parts of that and at least in nats, noise may lift all batches of
# the last epoch: the first batch may have been an easy one, and a model that
# has learned already loses a little at first.
NOISE, LEAST = 0.1, 1.0


def fit(
    task: Task,
    data: HeteroData | KG,
    loop: Loop | None = None,
    checkpoint: str | Path | None = None,
    *,
    prolong: bool = True,
    seed: int = 0,
    device: str = 'cpu',
    precision: str | None = None,
    progress: bool | Progress | None = None,
) -> FitResult:
    r"""Train a task on the training split.

    Only the training split is learned from, only the validation split is
    used to choose; the test split is never read.

    Args:
        task: What to train.
        data: The graph.
        loop: How long, in which batches, by which optimiser.
            (default: :class:`Loop()`)
        checkpoint: A file that is written after every epoch. If it is there
            already, training goes on from it, and a run that had ended is
            not repeated. In one CPU thread the outcome is bit for bit that of
            an uninterrupted run; several threads add in no fixed order. Until
            the run has ended, the epoch before stays as
            ``*.previous.safetensors``, for the case that the file is damaged.
        prolong: Go on from the file of a run of fewer epochs, if these would
            have been the same: its rate was constant, and its last epoch was
            not evaluated out of turn. Without it such a run is another one.
        seed: Of batches and of sampled actions.
        device: Where to train.
        precision: ``'bf16'`` or ``'fp32'`` matrix products.
            (default: the faster one on this device)
        progress: Show a progress bar, or who else is told how it goes on, see
            :class:`~dsom_pyg.training.Progress`.
            (default: a bar, only on a terminal)

    Raises:
        FloatingPointError: Training diverges: a loss became NaN or infinite,
            rose to 1000 times what it was before the first step, or ended
            above that (:attr:`Task.falling`). The modules are of no use then;
            :obj:`checkpoint` keeps the last good epoch.
        KeyboardInterrupt: It was interrupted; the message says what is saved.
        NotWritten: The disk of :obj:`checkpoint` is full or read-only.
        ValueError: :obj:`eval_every` is set but there are no validation
            triples; what is trained cannot learn from sampled entities; what
            takes part is for other numbers of entities or relations than the
            graph; or :obj:`checkpoint` is damaged, belongs
            to another run, or is being written by another process.
    """
    loop, graph, device = loop or Loop(), KG.of(data), begin(device)
    for module in (*task.trained, *task.frozen):
        check_sizes(**{'graph': graph, type(module).__name__: module})
    check_loop(loop, graph, task.trained)
    precision = resolve_precision(precision, device)
    config = {
        'task': task.name,
        **task.settings(),
        **asdict(loop),
        'optimizer': in_words(loop.optimizer),
        'seed': seed,
        'precision': precision,
    }
    file = None
    if checkpoint is not None or count() > 1:
        words = identity(config, graph, task)
        check_alike({**words, 'checkpoint': checkpoint is not None})
        if checkpoint is not None:
            file = RunFile(checkpoint, words, prolong)
    watch = watching(progress)
    with sharded(task.trained), sharded(task.frozen, changed=False):
        result = _fit(task, graph, loop, file, seed, device, precision, watch)
    result.config = {**config, 'device': device}
    return result


def check_loop(loop: Loop, graph: KG, trained: Sequence[nn.Module]) -> None:
    r"""Raise :class:`ValueError` unless a loop can train these: if it looks at
    validation triples and the graph has none, or if a model cannot learn so.
    """
    if loop.eval_every and not graph.triples('val').edge_type.numel():
        raise ValueError(
            'eval_every needs validation triples; hold out a part of '
            'train (dsom_pyg.graph.hold_out), or set eval_every=0 in the '
            'loops of teachers and student'
        )
    if isinstance(loop.optimizer, Adam8bit):
        loop.optimizer.check()
    for module in trained:
        for model in module.modules():
            if isinstance(model, Model):
                sampled = loop.sampled is not None
                model.check_loop(sampled, loop.rarity or 0.0)


def _fit(
    task: Task,
    graph: KG,
    loop: Loop,
    file: RunFile | None,
    seed: int,
    device: str,
    precision: str,
    watch: Progress,
) -> FitResult:
    for module in (*task.trained, *task.frozen):
        module.to(device).eval()
    index = graph.index('train').to(device)
    loader = QueryLoader(
        index,
        loop.batch_size,
        loop.batch_by,
        seed,
        loop.equal_pairs,
        loop.rarity or 0.0,
        loop.sampled,
        graph.num_entities,
    )
    state = TrainState(task.trained, task.optimizers(loop), loader.generator)
    cuda = torch.device(device)
    devices = [cuda.index or 0] if cuda.type == 'cuda' else []
    held = file.held() if file else nullcontext()
    forked = torch.random.fork_rng(devices=devices)
    with held, forked, _told(task, file), ExitStack() as stack:
        torch.manual_seed(seed)
        if file:
            file.load(state)
            file.check_found()
        done = loop.epochs if state.stopped else len(state.history)
        if file and done < loop.epochs:
            file.check_open()
        # What is told may be kept or changed there; of a run that has stopped
        # early nothing is left to do.
        told = [dict(record) for record in state.history]
        epochs = len(told) if state.stopped else loop.epochs
        watch.begin(task.name, epochs, len(loader), told)
        stack.callback(watch.end)
        for epoch in range(done + 1, loop.epochs + 1):
            record, lowest = _train_epoch(
                task, loader, state, loop, precision, epoch, watch.step
            )
            agree_on_whole(task.trained)
            last = epoch == loop.epochs
            if loop.eval_every and (epoch % loop.eval_every == 0 or last):
                record['val_mrr'] = _validate(task, graph, device)
                state.compare(epoch, record['val_mrr'], loop.patience)
            if last or state.stopped:
                _check_end(state, lowest, epoch)
                _check_finite(task, state)
            state.history.append(record)
            if file:
                file.save(state)
            watch.epoch(dict(record))
            if state.stopped:
                break
        if file:
            file.finish()
    result = FitResult(state.history, len(state.history))
    if state.restore_best():
        result.best_epoch = state.best_epoch
        result.selection = 'best filtered validation MRR'
    for module in task.trained:
        module.eval()
    return result


@contextmanager
def _told(task: Task, file: RunFile | None) -> Iterator[None]:
    # What happened, what is whole, how to go on.
    saved = file or 'nothing is saved, for want of a checkpoint'
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f'{task.name}: training was interrupted; {saved}; run the same '
            'again to go on'
        ) from None
    except NotWritten as error:
        message = f'{task.name}: {error}; {saved}'
        raise NotWritten(error.errno, message) from error
    except FloatingPointError as error:
        raise FloatingPointError(f'{task.name}: {error}; {saved}') from error


def _train_epoch(
    task: Task,
    loader: QueryLoader,
    state: TrainState,
    loop: Loop,
    precision: str,
    epoch: int,
    told: Callable[[], None],
) -> tuple[dict[str, float], dict[str, float]]:
    # The means of all terms, and the lowest values of those that fall.
    task.epochs_done = epoch - 1
    for module in task.trained:
        module.train()
    start = time.perf_counter()
    sums: dict[str, Tensor] = {}
    lows: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}
    for at, batch in enumerate(loader):
        # Rates depend on nothing but the step, so that a run that was
        # interrupted goes on as it would have gone.
        done = (epoch - 1) * len(loader) + at
        factor = loop.lr_factor(done / (loop.epochs * len(loader)))
        for group in (g for o in state.optimizers for g in o.param_groups):
            full = group.setdefault('initial_lr', group['lr'])
            group['lr'] = full * factor
        terms = task.update(batch, precision, state.optimizers)
        # Summed where they are: reading them would wait for the device.
        for name, value in terms.items():
            value = value.detach()
            sums[name] = sums.get(name, 0.0) + value
            first.setdefault(name, value)
            if name in task.falling:
                lows[name] = torch.minimum(lows.get(name, value), value)
        told()
    means = {name: float(value) / len(loader) for name, value in sums.items()}
    seconds = time.perf_counter() - start
    if epoch == 1:
        state.start = {name: float(value) for name, value in first.items()}
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise _diverged(f"'{name}' is {mean} in epoch {epoch}", state)
        if name == 'loss' or name in task.falling:
            _check_near(name, mean, state, epoch)
    record = {'epoch': float(epoch), **means, 'seconds': seconds}
    return record, {name: float(value) for name, value in lows.items()}


def _check_near(name: str, mean: float, state: TrainState, epoch: int) -> None:
    start = state.start[name]
    # A start near 0, such as that of a model which has learned, is no scale.
    if mean > start + FAR * max(abs(start), 1.0):
        raise _diverged(
            f"'{name}' is {mean:.4g} in epoch {epoch}, it was {start:.4g} "
            'before the first step',
            state,
        )


def _check_end(
    state: TrainState, lowest: dict[str, float], epoch: int
) -> None:
    for name, value in lowest.items():
        start = state.start[name]
        if value > start + max(NOISE * abs(start), LEAST):
            raise _diverged(
                f"'{name}' is {value:.4g} or more in all batches of epoch "
                f'{epoch}, the last one, and was {start:.4g} before the first '
                'step',
                state,
            )


def _check_finite(task: Task, state: TrainState) -> None:
    # No loss has looked at what the last step has made.
    for module in task.trained:
        for name, value in module.named_parameters():
            if not value.numel():
                continue
            # No masks of a whole table; NaN wins both.
            ends = torch.stack(value.detach().aminmax())
            if not bool(ends.isfinite().all()):
                raise _diverged(f"'{name}' is not finite in the end", state)


def _diverged(what: str, state: TrainState) -> FloatingPointError:
    groups = (g for o in state.optimizers for g in o.param_groups)
    rates = sorted({group['initial_lr'] for group in groups})
    return FloatingPointError(
        f'{what}; lower the learning rate ({", ".join(map(str, rates))}) or '
        'check the features'
    )


def _validate(task: Task, graph: KG, device: str) -> float:
    for module in task.trained:
        module.eval()
    # The filter leaves test out: it takes no part in any choice.
    splits = ('train', 'val')
    return evaluate(task.scorer(), graph, 'val', splits, device=device).mrr()
