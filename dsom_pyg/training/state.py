"""What of a training run must survive an interruption, and its file."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.files import DamagedFile, load_tensors, save_tensors
from dsom_pyg.kg import KG
from dsom_pyg.training.task import Task

FORMAT = 'dsom_pyg-run-2'
PROGRESS = ('history', 'best', 'best_mrr', 'best_epoch', 'failed', 'stopped')


@dataclass
class TrainState:
    r"""All that must survive for training to go on: the modules that are
    trained, their optimisers, the generator of the order of batches, and how
    far training has come.
    """

    modules: Sequence[nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator
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
        r"""Nested dictionaries and lists of tensors, numbers and strings."""
        cuda = torch.cuda.is_available()
        return {
            **{name: getattr(self, name) for name in PROGRESS},
            'modules': [m.state_dict() for m in self.modules],
            'optimizers': [o.state_dict()['state'] for o in self.optimizers],
            'batches': self.generator.get_state(),
            'random': torch.get_rng_state(),
            'cuda': torch.cuda.get_rng_state_all() if cuda else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        r"""Go back to where the state was taken."""
        for name in PROGRESS:
            setattr(self, name, state[name])
        for module, saved in zip(self.modules, state['modules'], strict=True):
            module.load_state_dict(saved)
        moments = state['optimizers']
        for optimizer, saved in zip(self.optimizers, moments, strict=True):
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
    return {
        **config,
        'graph': graph.fingerprint,
        'frozen modules': digest(frozen),
        'fixed features': digest(fixed),
    }


class RunFile:
    r"""A file, ``*.safetensors``, that a run is written to and goes on from,
    if it has the same :func:`identity`.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        # As it will be read: JSON knows no tuples.
        self.identity = json.loads(json.dumps(identity))

    def save(self, state: TrainState) -> None:
        r"""Write the run; an earlier file stays until this one is whole."""
        tensors: dict[str, Tensor] = {}
        header = {
            'format': FORMAT,
            'identity': json.dumps(self.identity),
            'tree': json.dumps(_flatten(state.state_dict(), '', tensors)),
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
            found = header.get('format')
            if found != FORMAT:
                raise DamagedFile(
                    f'its format is {found!r}, expected {FORMAT!r}'
                )
        except DamagedFile as error:
            raise ValueError(
                f'cannot go on from {self.path} ({error}); delete it to start '
                'anew'
            ) from error
        saved = json.loads(header['identity'])
        lines = [
            f'{key}: {saved.get(key)} there, {self.identity.get(key)} here'
            for key in sorted({*saved, *self.identity})
            if saved.get(key) != self.identity.get(key)
        ]
        if lines:
            raise ValueError(
                f'{self.path} belongs to another run; choose another file '
                f'or delete it:\n' + '\n'.join(lines)
            )
        state.load_state_dict(_unflatten(json.loads(header['tree']), tensors))


def digest(named: Iterable[tuple[str, Tensor]]) -> str:
    r"""SHA-256 over tensors and their names."""
    out = hashlib.sha256()
    for name, value in named:
        out.update(f'{name} {list(value.shape)}'.encode())
        flat = value.detach().cpu().contiguous().flatten()
        out.update(flat.view(torch.uint8).numpy().tobytes())
    return out.hexdigest()


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
