"""What of a training run must survive an interruption, and its file."""

import json
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.files import (
    CLOSED,
    FULL,
    DamagedFile,
    check_name,
    digest,
    explain,
    load_tensors,
    save_tensors,
    take_lock,
)
from dsom_pyg.kg import KG
from dsom_pyg.models.sharded import shards
from dsom_pyg.processes import Shard, first, share
from dsom_pyg.teachers import TeacherEnsemble
from dsom_pyg.training.task import Task, details, held
from dsom_pyg.words import plain

FORMAT = 'dsom_pyg-run-3'
# From a part of a table to all of it, or back.
How = Callable[[Shard, Tensor], Tensor]
PROGRESS = (
    'start',
    'history',
    'best',
    'best_mrr',
    'best_epoch',
    'failed',
    'stopped',
)


@dataclass
class TrainState:
    r"""All that must survive for training to go on: the modules that are
    trained, their optimisers, the generator of the order of batches, what the
    first batch cost before the first step, and how far training has come.
    """

    modules: Sequence[nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
    start: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best: list[dict[str, Tensor]] = field(default_factory=list)
    best_mrr: float = -1.0
    best_epoch: int = 0
    failed: int = 0
    stopped: bool = False

    def compare(self, epoch: int, mrr: float, patience: int) -> None:
        r"""Keep this state if it is the best so far; stop after
        :obj:`patience` evaluations that were not.
        """
        if mrr > self.best_mrr:
            self.best_mrr, self.best_epoch, self.failed = mrr, epoch, 0
            self.best = [
                {k: v.detach().clone() for k, v in m.state_dict().items()}
                for m in self.modules
            ]
        else:
            self.failed += 1
            self.stopped = self.failed >= patience

    def restore_best(self) -> bool:
        r"""Put the best state back; whether there is one."""
        for module, state in zip(self.modules, self.best, strict=False):
            module.load_state_dict(state)
        return bool(self.best)

    def state_dict(self) -> dict[str, Any]:
        r"""Nested dictionaries and lists of tensors, numbers and strings. What
        processes share is whole in that of the first one, on its host, so that
        any number of them can go on.
        """
        gpu = self._gpu
        modules = [m.state_dict() for m in self.modules]
        return {
            **{name: getattr(self, name) for name in PROGRESS},
            'best': self._each(self.best, Shard.gathered_by_first),
            'modules': self._each(modules, Shard.gathered_by_first),
            'optimizers': [
                self._moments(
                    o, o.state_dict()['state'], Shard.gathered_by_first
                )
                for o in self.optimizers
            ],
            'batches': self.generator.get_state(),
            'random': torch.get_rng_state(),
            'cuda': [] if gpu is None else [torch.cuda.get_rng_state(gpu)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        r"""Go back to where the state was taken."""
        for name in PROGRESS:
            setattr(self, name, state[name])
        self.best = self._each(state['best'], Shard.part)
        modules = self._each(state['modules'], Shard.part)
        for module, saved in zip(self.modules, modules, strict=True):
            module.load_state_dict(saved)
        moments = state['optimizers']
        for optimizer, whole in zip(self.optimizers, moments, strict=True):
            groups = optimizer.state_dict()['param_groups']
            mine = self._moments(optimizer, whole, Shard.part)
            optimizer.load_state_dict({'state': mine, 'param_groups': groups})
        self.generator.set_state(state['batches'])
        torch.set_rng_state(state['random'])
        gpu = self._gpu
        if gpu is not None and state['cuda']:
            torch.cuda.set_rng_state(state['cuda'][0], gpu)

    @property
    def _gpu(self) -> torch.device | None:
        # Where this process trains. All processes draw the same there, each
        # on its own, so that the state of the first one is that of all.
        every = (p for module in self.modules for p in module.parameters())
        return next((p.device for p in every if p.is_cuda), None)

    def _each(
        self, states: list[dict[str, Tensor]], how: How
    ) -> list[dict[str, Tensor]]:
        # The parameters of modules, shared ones whole or in parts.
        out = []
        for module, state in zip(self.modules, states, strict=False):
            mine = shards(module)
            out.append(
                {
                    name: how(mine[name], value) if name in mine else value
                    for name, value in state.items()
                }
            )
        return out

    def _moments(
        self,
        optimizer: torch.optim.Optimizer,
        state: dict[int, dict[str, Any]],
        how: How,
    ) -> dict[int, dict[str, Any]]:
        # As torch numbers them, parameter by parameter.
        mine = {
            id(module.get_parameter(name)): shard
            for module in self.modules
            for name, shard in shards(module).items()
        }
        params = [p for g in optimizer.param_groups for p in g['params']]
        out = {}
        for at, values in state.items():
            shard = mine.get(id(params[int(at)]))
            out[at] = {
                key: how(shard, value)
                if shard and isinstance(value, Tensor) and value.dim()
                else value
                for key, value in values.items()
            }
        return out


# Files of before do not tell them.
DETAILS, HELD = 'details', 'attributes'


def identity(config: dict[str, Any], graph: KG, task: Task) -> dict[str, Any]:
    r"""What a run must be to go on from a file: its settings, the graph, and
    what is frozen in it. Where it runs does not matter.
    """
    frozen = [
        named
        for module in task.frozen
        for named in (*module.named_parameters(), *module.named_buffers())
    ]
    # The buffers that no file holds, such as the features of a teacher.
    fixed = [
        (f'{at}.{name}'.replace('.', '/'), value)
        for at, module in enumerate(task.trained)
        for name, value in module.named_buffers()
        if name not in module.state_dict()
    ]
    # Teachers were trained in a stage before, and compared there.
    others = [x for x in task.frozen if not isinstance(x, TeacherEnsemble)]
    return {
        **config,
        'graph': graph.fingerprint,
        'frozen modules': digest(frozen),
        'fixed features': digest(fixed),
        DETAILS: [words for each in task.trained for words in details(each)],
        HELD: [
            words for each in (*task.trained, *others) for words in held(each)
        ],
    }


def check_alike(mine: dict[str, Any]) -> None:
    r"""Raise :class:`ValueError`, in all processes, unless each is about to
    train the same: the :func:`identity` of this one is given.
    """
    # What they have learned before, each by sums of its own, may be apart in
    # the last bits.
    words = {k: x for k, x in mine.items() if k != 'frozen modules'}
    theirs = share(words)
    for at, other in enumerate(theirs[1:], 1):
        if lines := differences(theirs[0], other):
            raise ValueError(
                f'process {at} (here) would train another run than process 0 '
                '(there); start all with the same command, settings and '
                'data:\n' + '\n'.join(lines)
            )


def differences(other: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    r"""What of two identities differs, line by line."""
    out = []
    for key in sorted({*other, *mine}):
        there, here = other.get(key), mine.get(key)
        if there == here:
            continue
        if key in (DETAILS, HELD):
            if there is None or here is None:
                continue
            # They are many, so only those that differ.
            there, here = (
                ', '.join(x for x in one if x not in another) or 'nothing'
                for one, another in ((there, here), (here, there))
            )
        out.append(f'{key}: {there} there, {here} here')
    return out


class RunFile:
    r"""A file, ``*.safetensors``, that a run is written to and goes on from,
    if it has the same :func:`identity`, or, to :obj:`prolong` it, more epochs
    of a constant rate. Until the run has ended, the file of
    the epoch before stays beside it, as ``*.previous.safetensors``.
    """

    def __init__(
        self,
        path: str | Path,
        identity: dict[str, Any],
        prolong: bool = False,
    ) -> None:
        self.path = path = Path(path)
        self.prolong = prolong
        self.previous = path.with_name(f'{path.stem}.previous{path.suffix}')
        # As it will be read: JSON knows no tuples.
        self.identity = json.loads(json.dumps(identity, default=plain))
        self.epochs = 0
        # Whether the file holds these epochs, or is damaged or not there.
        self._whole = False
        self._closed: OSError | None = None
        check_name(path)
        if path.is_dir():
            raise ValueError(f"checkpoint '{path}' is a folder; name a file")

    def __str__(self) -> str:
        if self.epochs:
            return f"epoch {self.epochs} is saved in '{self.path}'"
        return f"no epoch is saved in '{self.path}' yet"

    @contextmanager
    def held(self) -> Iterator[None]:
        r"""Keep other processes from writing the file, by a lock that ends
        with this one. Where the system has no locks (Windows, some network
        disks) nothing is kept from anybody.

        Raises:
            ValueError: Another run is writing the file, or this one
                elsewhere; what differs is named.
        """
        path, lock = self.path.with_name(f'.{self.path.name}.lock'), None
        if not first():  # the first of several processes holds it for all
            yield
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(path)
        except OSError as error:
            # A run that has ended is read nevertheless.
            if error.errno not in FULL | CLOSED:
                raise
            self._closed = error
        if self._closed is not None:
            yield
            return
        if lock is None:
            raise ValueError(self._busy(path))
        try:
            with suppress(OSError):  # such as a full disk
                lock.truncate()
                me = {'process': os.getpid(), 'host': platform.node()}
                json.dump({**me, 'identity': self.identity}, lock)
                lock.flush()
            yield
        finally:
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):
                lock.close()

    def _busy(self, path: Path) -> str:
        owner: Any = None
        with suppress(OSError, ValueError):  # it may be about to write it
            owner = json.loads(path.read_text())
        who = 'another process'
        theirs = self.identity
        # What is there may not be of this library.
        if isinstance(owner, dict) and isinstance(owner.get('identity'), dict):
            theirs = owner['identity']
            who = f'process {owner.get("process")} on {owner.get("host")}'
        lines = differences(theirs, self.identity)
        if lines:
            return (
                f'{who} is writing {self.path} for another run; choose '
                'another folder:\n' + '\n'.join(lines)
            )
        return f'{who} is writing {self.path}; wait until it has ended'

    def _prolongs(self, other: dict[str, Any]) -> bool:
        # Whether this run is the other one with more epochs, which would have
        # begun with the same ones.
        there, here = (x.get('epochs', 0) for x in (other, self.identity))
        others = differences({**other, 'epochs': here}, self.identity)
        if others or here < there or other.get('cooldown'):
            return False
        # The last epoch is evaluated in any case.
        every = other.get('eval_every')
        return not every or there % every == 0

    def check_open(self) -> None:
        r"""Raise :class:`~dsom_pyg.files.NotWritten` if it is known that
        nothing can be saved: now, not after an epoch.
        """
        if self._closed is not None:
            explain(self._closed, self.path)

    def save(self, state: TrainState) -> None:
        r"""Write the run; an earlier file stays until this one is whole. Of
        several processes the first one writes, with what all have.
        """
        tensors: dict[str, Tensor] = {}
        tree = state.state_dict()
        if first():
            header = {
                'format': FORMAT,
                'identity': json.dumps(self.identity),
                'tree': json.dumps(_flatten(tree, '', tensors)),
            }
            # A damaged file does not take the place of the one before.
            previous = self.previous if self._whole else None
            save_tensors(self.path, tensors, header, previous)
        self.epochs, self._whole = len(state.history), True

    def load(self, state: TrainState) -> None:
        r"""Bring a run to where the file is, or the one of the epoch before
        if that is damaged; does nothing without a file.

        Raises:
            ValueError: Both are damaged, or the file belongs to a run of
                other settings, another graph or other teachers; what differs
                is named.
        """
        damage: DamagedFile | None = None
        found = [p for p in (self.path, self.previous) if p.exists()]
        these = 'it' if len(found) < 2 else ' and '.join(map(str, found))
        for path in found:
            try:
                tensors, header = self._read(path)
                break
            except DamagedFile as error:
                damage = damage or error
        else:
            if damage is None:
                return
            raise ValueError(
                f'cannot go on: {damage}; delete {these} to start anew'
            ) from damage
        theirs = json.loads(header['identity'])
        lines = differences(theirs, self.identity)
        if lines and not (self.prolong and self._prolongs(theirs)):
            if any(line.startswith('frozen modules:') for line in lines):
                lines.append('(what it builds on, such as teachers, changed)')
            if any(line.startswith(f'{HELD}:') for line in lines):
                lines.append(
                    '(public attributes are options; the name of what changes '
                    "in training begins with '_')"
                )
            if all(x.startswith('epochs:') for x in lines):
                lines.append(
                    '(more epochs go on where the learning rate is constant, '
                    'and the last one was evaluated in its turn)'
                    if self.prolong
                    else '(what comes last alone goes on with more epochs: '
                    'other stages are built on this one)'
                )
            raise ValueError(
                f'{path} belongs to another run; choose another folder or '
                f'delete {these}:\n' + '\n'.join(lines)
            )
        self._whole = path == self.path
        if not self._whole:
            what = damage or f'{self.path} is missing'
            message = f'{what}; training goes on from the epoch before, {path}'
            warnings.warn(message, stacklevel=3)
        state.load_state_dict(_unflatten(json.loads(header['tree']), tensors))
        self.epochs = len(state.history)

    def check_found(self) -> None:
        r"""Raise :class:`ValueError`, in all processes, unless each has found
        the same epochs.
        """
        found = share(self.epochs)
        if len({*found}) > 1:
            each = ', '.join(f'{n} by {at}' for at, n in enumerate(found))
            raise ValueError(
                f"the processes find other epochs in '{self.path}' ({each}); "
                'they need a folder that all of them see, or one file in each'
            )

    def finish(self) -> None:
        r"""Delete the file of the epoch before, after the last one."""
        if self._whole and first():
            with suppress(OSError):
                self.previous.unlink()

    def _read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors, header = load_tensors(path, hashed=True)
        if header.get('format') != FORMAT:
            raise DamagedFile(
                f'{path} has the format {header.get("format")!r}, expected '
                f'{FORMAT!r}'
            )
        return tensors, header


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    # Tensors move to `tensors`; in their place stands where they are.
    if isinstance(value, Tensor):
        tensors[name] = value
        return {'tensor': name}
    if not isinstance(value, dict | list):
        return {'value': value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    pairs = [[k, _flatten(v, f'{name}/{k}', tensors)] for k, v in items]
    if isinstance(value, dict):
        return {'dict': pairs}
    return {'list': [each for _, each in pairs]}


def _unflatten(tree: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, value),) = tree.items()
    if kind == 'tensor':
        return tensors[value]
    if kind == 'dict':
        return {key: _unflatten(each, tensors) for key, each in value}
    if kind == 'list':
        return [_unflatten(each, tensors) for each in value]
    return value
