"""A run as a folder: its settings, what happened, and what is saved.

- ``run.json``: settings, fingerprint of the graph, versions, machine
- ``metrics.jsonl``: losses and metrics, a line for each stage and epoch
- ``stages/``: a checkpoint for each stage, see
  :func:`~dsom_pyg.training.fit`
- the model itself, see :mod:`dsom_pyg.completion.store`
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import dsom_pyg
from dsom_pyg.completion.store import MANIFEST, as_json, read_manifest
from dsom_pyg.dsom import Recipe
from dsom_pyg.files import append, digest, sweep, whole_or_nothing
from dsom_pyg.kg import KG
from dsom_pyg.processes import first
from dsom_pyg.settings import describe
from dsom_pyg.training.progress import Progress, Record, watching

SETTINGS, METRICS, STAGES = 'run.json', 'metrics.jsonl', 'stages'
# Where a run is computed makes it no other run, and whether more epochs do is
# for its stages to say.
MAY_DIFFER = ('device', 'precision')
EPOCHS = '.epochs'


def identity_of(recipe: Recipe, graph: KG) -> dict[str, Any]:
    r"""What tells a run from others: the settings of its recipe by name, the
    fingerprint of its graph, and that of the features.
    """
    features = (
        (f'{modality}/{at}', part)
        for modality, parts in sorted(graph.features.items())
        for at, part in enumerate(parts)
    )
    return {
        **describe(recipe),
        'graph': graph.fingerprint,
        'features': digest(features),
    }


class RunFolder:
    r"""The folder of a run, which may have begun already.

    Args:
        folder: The folder; made if it is not there.
        identity: See :func:`identity_of`.

    Raises:
        ValueError: The folder holds a run of other settings, of another graph
            or of other features; what differs is named.
    """

    def __init__(
        self, folder: str | Path, identity: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.identity = dict(identity)
        self._check()
        # Where nothing is left to be written, nobody else would do it.
        for path in (self.folder, *self.folder.glob(f'{STAGES}/**/')):
            sweep(path)

    @property
    def stages(self) -> Path:
        r"""Where its checkpoints are."""
        return self.folder / STAGES

    @contextmanager
    def begun(self) -> Iterator[None]:
        r"""Write ``run.json``; of several processes the first one does. What
        is refused leaves it as it was.
        """
        if not first():
            yield
            return
        path = self.folder / SETTINGS
        before = path.read_bytes() if path.exists() else None
        self._write()
        try:
            yield
        except ValueError:
            if before is not None:
                with whole_or_nothing(path) as temporary:
                    temporary.write_bytes(before)
            elif not any(self.stages.rglob('*.safetensors')):
                path.unlink(missing_ok=True)
            raise

    def _write(self) -> None:
        about = {
            'run': self.identity,
            'versions': _versions(),
            'machine': {
                'system': platform.platform(),
                'processor': platform.processor() or platform.machine(),
                'cores': os.cpu_count(),
            },
            'begun': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }
        with whole_or_nothing(self.folder / SETTINGS) as temporary:
            temporary.write_bytes(as_json(about))

    def has_ended(self) -> bool:
        r"""Whether the model of this very run is there already."""
        if not (self.folder / MANIFEST).exists():
            return False
        about = read_manifest(self.folder)
        kept = about['about'].get('run') or {}
        return not self._differences(kept) and not self._is_later(about)

    def _is_later(self, about: Mapping[str, Any]) -> bool:
        # Whether a run's model was enlarged or corrected, and saved.
        changed = about['fingerprint'] != self.identity['graph']
        more = about['about']
        return changed or bool(more.get('added') or more.get('heeded'))

    def metrics(self, then: Progress | bool | None = None) -> 'Metrics':
        r"""Who writes ``metrics.jsonl``, and tells somebody else as well."""
        return Metrics(self.folder / METRICS, then)

    def _check(self) -> None:
        path = self.folder / SETTINGS
        # What was added to, or saved by hand, is no run to go on with.
        other = (
            f'{self.folder} holds a model that this run has not made; choose '
            'another folder'
        )
        there_is = (self.folder / MANIFEST).exists()
        if not path.exists():
            if there_is and not self.has_ended():
                raise ValueError(other)
            return
        try:
            about = json.loads(path.read_text(encoding='utf-8'))
            there = dict(about['run'])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path} is damaged ({error}); choose another folder, or '
                'delete this file to go on with what is there'
            ) from error
        here = self.identity
        lines = [
            f'{key}: {there.get(key)} there, {here.get(key)} here'
            for key in self._differences(there)
            if not key.endswith(EPOCHS)
        ]
        if lines:
            raise ValueError(
                f'{self.folder} holds another run; choose another folder:\n'
                + '\n'.join(lines)
            )
        if there_is and self._is_later(read_manifest(self.folder)):
            raise ValueError(other)

    def _differences(self, other: Mapping[str, Any]) -> list[str]:
        here = self.identity
        return [
            key
            for key in sorted({*other, *here} - {*MAY_DIFFER})
            if other.get(key) != here.get(key)
        ]


class Metrics(Progress):
    r"""Writes losses and metrics, a line of JSON for each epoch. What an
    interruption left out is written when the run goes on.

    Args:
        path: The file.
        then: Who is told as well; a bar if it is no
            :class:`~dsom_pyg.training.Progress`.
    """

    def __init__(
        self, path: Path, then: Progress | bool | None = None
    ) -> None:
        self.path = path
        self.then = watching(then)
        self.stage = ''

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.stage = stage
        old = self.path.read_text() if self.path.exists() else ''
        lines = [line for line in old.splitlines() if self._of_another(line)]
        lines += [_line(stage, record) for record in history]
        new = ''.join(f'{line}\n' for line in lines)
        if new != old:
            with whole_or_nothing(self.path) as temporary:
                temporary.write_text(new)
        self.then.begin(stage, epochs, batches, history)

    def _of_another(self, line: str) -> bool:
        try:
            return bool(json.loads(line)['stage'] != self.stage)
        except (ValueError, KeyError, TypeError):  # cut off
            return False

    def step(self) -> None:
        self.then.step()

    def epoch(self, record: Record) -> None:
        append(self.path, _line(self.stage, record))
        self.then.epoch(record)

    def end(self) -> None:
        self.then.end()


def _line(stage: str, record: Record) -> str:
    epoch = int(record['epoch'])
    return json.dumps({'stage': stage, **record, 'epoch': epoch})


def _versions() -> dict[str, str]:
    out = {
        'dsom_pyg': dsom_pyg.__version__,
        'python': platform.python_version(),
    }
    for name in ('torch', 'torch-geometric', 'torch-scatter', 'numpy'):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
