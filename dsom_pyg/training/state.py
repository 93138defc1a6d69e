"""What of a training run must survive an interruption, and its file."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.files import DamagedFile, load_tensors, save_tensors
from dsom_pyg.kg import KG
from dsom_pyg.training.task import Task

FORMAT = 'dsom_pyg-run-2'


class TrainState:
    r"""All that must survive for training to go on.

    Args:
        modules: What is trained.
        optimizers: Of these.
        generator: Of the order of batches.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        optimizers: Sequence[torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        self.modules, self.optimizers = modules, optimizers
        self.generator = generator
        self.history: list[dict[str, float]] = []
        self.best: list[dict[str, Tensor]] = []
        self.best_mrr, self.best_epoch, self.failed = -1.0, 0, 0
        self.stopped = False

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
            return
        self.failed += 1
        self.stopped = self.failed >= patience

    def restore_best(self) -> bool:
        r"""Put the best state back; whether there is one."""
        for module, state in zip(self.modules, self.best, strict=False):
            module.load_state_dict(state)
        return bool(self.best)

    def state_dict(self) -> dict[str, Any]:
        r"""Nested dictionaries and lists of tensors, numbers and strings."""
        cuda = torch.cuda.is_available()
        return {
            'history': self.history,
            'best': self.best,
            'best_mrr': self.best_mrr,
            'best_epoch': self.best_epoch,
            'failed': self.failed,
            'stopped': self.stopped,
            'modules': [m.state_dict() for m in self.modules],
            'optimizers': [o.state_dict()['state'] for o in self.optimizers],
            'batches': self.generator.get_state(),
            'random': torch.get_rng_state(),
            'cuda': torch.cuda.get_rng_state_all() if cuda else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        r"""Go back to where the state was taken."""
        for name in (
            'history',
            'best',
            'best_mrr',
            'best_epoch',
            'failed',
            'stopped',
        ):
            setattr(self, name, state[name])
        for module, saved in zip(self.modules, state['modules'], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(
            self.optimizers, state['optimizers'], strict=True
        ):
            groups = optimizer.state_dict()['param_groups']
            optimizer.load_state_dict({'state': saved, 'param_groups': groups})
        self.generator.set_state(state['batches'])
        torch.set_rng_state(state['random'])
        if state['cuda'] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state['cuda'])


def identity(config: dict[str, Any], graph: KG, task: Task) -> dict[str, Any]:
    r"""What a run must be to go on from a file: its settings, the graph, and
    what is frozen in it. Where it runs does not matter.
    """
    return {
        **config,
        'graph': graph.fingerprint,
        'frozen modules': digest(task.frozen),
        'fixed features': digest(_fixed(task.trained)),
    }


class RunFile:
    r"""A file that a run is written to and goes on from.

    On a CPU a run that goes on ends bit for bit like one that was never
    interrupted.

    Args:
        path: ``*.safetensors``.
        identity: See :func:`identity`.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        # As it will be read: JSON knows no tuples.
        self.identity = json.loads(json.dumps(identity))

    def save(self, state: TrainState) -> None:
        r"""Write the run; an earlier file stays until this one is whole."""
        tensors: dict[str, Tensor] = {}
        tree = _flatten(state.state_dict(), '', tensors)
        header = {
            'format': FORMAT,
            'identity': json.dumps(self.identity),
            'tree': json.dumps(tree),
        }
        save_tensors(self.path, tensors, header)

    def load(self, state: TrainState) -> None:
        r"""Bring a run to where the file is; does nothing without a file.

        Raises:
            ValueError: The file is damaged, or belongs to a run of other
                settings, another graph or other teachers; what differs is
                named.
        """
        if not self.path.exists():
            return
        try:
            tensors, header = load_tensors(self.path)
        except DamagedFile as error:
            raise self._refused(str(error)) from error
        if header.get('format') != FORMAT:
            raise self._refused(
                f'its format is {header.get("format")!r}, expected {FORMAT!r}'
            )
        saved = json.loads(header['identity'])
        keys = sorted({*saved, *self.identity})
        lines = [
            f'{key}: {saved.get(key)} there, {self.identity.get(key)} here'
            for key in keys
            if saved.get(key) != self.identity.get(key)
        ]
        if lines:
            raise ValueError(
                f'{self.path} belongs to another run; choose another file '
                f'or delete it:\n' + '\n'.join(lines)
            )
        state.load_state_dict(_unflatten(json.loads(header['tree']), tensors))

    def _refused(self, why: str) -> ValueError:
        return ValueError(
            f'cannot go on from {self.path} ({why}); delete it to start anew'
        )


def digest(modules: Iterable[nn.Module]) -> str:
    r"""SHA-256 over all parameters and buffers."""
    out = hashlib.sha256()
    for module in modules:
        for name, value in (
            *module.named_parameters(),
            *module.named_buffers(),
        ):
            out.update(f'{name} {list(value.shape)}'.encode())
            flat = value.detach().cpu().contiguous().flatten()
            out.update(flat.view(torch.uint8).numpy().tobytes())
    return out.hexdigest()


def _fixed(modules: Iterable[nn.Module]) -> list[nn.Module]:
    # The buffers that no file holds, such as the features of a teacher.
    holder = nn.Module()
    for at, module in enumerate(modules):
        stored = module.state_dict().keys()
        for name, value in module.named_buffers():
            if name not in stored:
                name = f'{at}.{name}'.replace('.', '/')
                holder.register_buffer(name, value)
    return [holder]


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    # Tensors move to `tensors`; in their place stands where they are.
    if isinstance(value, Tensor):
        tensors[name] = value
        return {'tensor': name}
    if isinstance(value, dict):
        pairs = [
            [key, _flatten(each, f'{name}/{key}', tensors)]
            for key, each in value.items()
        ]
        return {'dict': pairs}
    if isinstance(value, list | tuple):
        return {
            'list': [
                _flatten(each, f'{name}/{at}', tensors)
                for at, each in enumerate(value)
            ]
        }
    return {'value': value}


def _unflatten(tree: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, value),) = tree.items()
    if kind == 'tensor':
        return tensors[value]
    if kind == 'dict':
        return {key: _unflatten(each, tensors) for key, each in value}
    if kind == 'list':
        return [_unflatten(each, tensors) for each in value]
    return value
