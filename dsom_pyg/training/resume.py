"""The state of a training run at the end of an epoch, to go on from."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dsom_pyg.atomic import whole_or_nothing

FORMAT = 'dsom_pyg-run-1'


@dataclass
class Progress:
    r"""What a run knows beside tensors.

    Attributes:
        history: One record an epoch.
        best_mrr: Of the evaluations so far.
        best_epoch: Where it was reached.
        failed: Evaluations since then.
        stopped: Whether the run has ended before its last epoch.
    """

    history: list[dict[str, float]]
    best_mrr: float
    best_epoch: int
    failed: int
    stopped: bool = False


class RunFile:
    r"""A file that a run is written to and goes on from.

    It holds modules, the best state so far, optimisers, and random states.
    On a CPU a run that goes on ends bit for bit like one that was never
    interrupted.

    Args:
        path: ``*.safetensors``.
        identity: What the run must be to go on from the file: settings,
            fingerprint of the graph, digest of the frozen modules.
    """

    def __init__(self, path: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        # As it will be read: JSON knows no tuples.
        self.identity = json.loads(json.dumps(identity))

    def save(
        self,
        progress: Progress,
        states: dict[str, Any],
    ) -> None:
        r"""Write the run; an earlier file stays until this one is whole.

        Args:
            progress: What is no tensor.
            states: Nested dictionaries and lists of tensors and numbers.
        """
        tensors: dict[str, Tensor] = {}
        header = {
            'format': FORMAT,
            'identity': json.dumps(self.identity),
            'progress': json.dumps(asdict(progress)),
            'tree': json.dumps(_flatten(states, '', tensors)),
        }
        with whole_or_nothing(self.path) as temporary:
            save_file(tensors, temporary, header)

    def load(self) -> tuple[Progress, dict[str, Any]] | None:
        r"""The run as it was saved; :obj:`None` if there is no file.

        Raises:
            ValueError: The file is damaged, or belongs to a run of other
                settings, another graph or other teachers; what differs is
                named.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework='pt') as file:
                header = file.metadata() or {}
                if header.get('format') != FORMAT:
                    raise ValueError('it is no file of a run')
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError) as error:
            raise ValueError(
                f'cannot go on from {self.path} ({error}); delete it to '
                f'start anew'
            ) from error
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
        progress = Progress(**json.loads(header['progress']))
        return progress, _unflatten(json.loads(header['tree']), tensors)


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


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    # Tensors move to `tensors`; in their place stands where they are.
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
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
