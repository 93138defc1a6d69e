"""Trackers of experiments: who keeps settings and curves of many runs.

A tracker is anything with the three methods of :class:`Tracker`.

.. code-block:: python

    from dsom_pyg.trackers import TensorBoard

    Completer.train(dataset, 'runs/mine', trackers=[TensorBoard()])
"""

import json
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dsom_pyg.files import whole_or_nothing
from dsom_pyg.processes import first
from dsom_pyg.training.progress import Progress, Record, watching

__all__ = [
    'MLflow',
    'TensorBoard',
    'Tracked',
    'Tracker',
    'WandB',
    'run_id',
    'tracker',
]

if TYPE_CHECKING:
    import mlflow
    import wandb
    from torch.utils.tensorboard import SummaryWriter

RUN_ID = 'run-id.txt'
Settings = Mapping[str, Any]
Metrics = Mapping[str, Mapping[str, float]]


class Tracker(Protocol):
    r"""Hears of a run, in this order: :meth:`begin`, any number of
    :meth:`log`, :meth:`end`. A run that goes on after an interruption begins
    again in the same folder, and tells new epochs alone.
    """

    def begin(self, folder: Path, settings: Settings) -> None:
        r"""A run begins, or goes on.

        Args:
            folder: Of the run. What the tracker keeps may lie there, too.
            settings: By name, such as ``'student.channels'``; text, numbers
                and the like.
        """

    def log(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        r"""An epoch of a stage has ended.

        Args:
            stage: Its name, such as ``'teachers'``.
            epoch: Counted from 1.
            values: Losses and metrics of the epoch.
        """

    def end(self, metrics: Metrics | None) -> None:
        r"""The run has ended.

        Args:
            metrics: Those of the student, by split and name; :obj:`None` if
                the run failed or was interrupted, or if this tracker failed
                and was not told all of it.
        """


class Tracked(Progress):
    r"""Tells trackers how a run goes on, from the first epoch that is trained:
    what is refused before is no news. Of several processes the first one
    does. A tracker that fails is left out with a warning, and the run goes on.

    Args:
        trackers: Whom to tell.
        then: Who is told as well; a bar if it is no
            :class:`~dsom_pyg.training.Progress`.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        then: Progress | bool | None = None,
    ) -> None:
        self.trackers = list(trackers) if first() else []
        self.begun: list[Tracker] = []
        self.then = watching(then)
        self.metrics: Metrics | None = None
        self.stage = ''

    @contextmanager
    def run(self, folder: Path, settings: Settings) -> Iterator[None]:
        r"""The run, which has ended well if :attr:`metrics` are there at the
        end of the block.
        """
        self.about = folder, settings
        try:
            yield
            # All of it may have been trained before.
            self._begin()
        finally:
            for tracker in self.begun:
                self._end(tracker)

    def _begin(self) -> None:
        for tracker in self.trackers:
            if tracker not in self.begun:
                try:
                    tracker.begin(*self.about)
                except Exception as error:
                    # Something can be done about it, as a login.
                    name = type(tracker).__name__
                    message = f'{name} cannot begin: {error}'
                    raise ValueError(message) from error
                self.begun.append(tracker)

    def _end(self, tracker: Tracker) -> None:
        left = tracker not in self.trackers
        try:
            tracker.end(None if left else self.metrics)
        except Exception as error:
            if not left:
                self._leave(tracker, error)

    def _leave(self, tracker: Tracker, error: Exception) -> None:
        self.trackers.remove(tracker)
        warnings.warn(
            f'{type(tracker).__name__} failed, and is not told the rest of '
            f'this run: {type(error).__name__}: {error}',
            stacklevel=2,
        )

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.stage = stage
        if len(history) < epochs:
            self._begin()
        self.then.begin(stage, epochs, batches, history)

    def step(self) -> None:
        self.then.step()

    def epoch(self, record: Record) -> None:
        values = {key: x for key, x in record.items() if key != 'epoch'}
        for tracker in list(self.trackers):
            try:
                tracker.log(self.stage, int(record['epoch']), values)
            except Exception as error:
                # A server that does not answer costs no training.
                self._leave(tracker, error)
        self.then.epoch(record)

    def end(self) -> None:
        self.then.end()


class TensorBoard:
    r"""Event files, for ``tensorboard --logdir runs``.

    Args:
        folder: Where they go. (default: ``tensorboard`` in that of the run)

    Raises:
        ImportError: tensorboard is not installed (extra ``tensorboard``).
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing('TensorBoard', 'tensorboard') from error
        self._new = SummaryWriter

    def begin(self, folder: Path, settings: Settings) -> None:
        r"""See :class:`Tracker`."""
        where = self.folder or folder / 'tensorboard'
        self.writer: SummaryWriter = self._new(str(where))
        rows = [f'    {name}: {_word(x)}' for name, x in settings.items()]
        # Four spaces: shown as it is, not as Markdown.
        self.writer.add_text('settings', '\n'.join(rows))

    def log(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        r"""See :class:`Tracker`."""
        for name, value in values.items():
            self.writer.add_scalar(f'{stage}/{name}', value, epoch)
        self.writer.flush()

    def end(self, metrics: Metrics | None) -> None:
        r"""See :class:`Tracker`."""
        for name, value in _flat(metrics).items():
            self.writer.add_scalar(name, value)
        self.writer.close()


class WandB:
    r"""Weights & Biases. With ``WANDB_MODE=offline`` nothing leaves the
    machine, and ``wandb sync`` sends it later.

    Args:
        project: Of the run.
        options: Of :func:`wandb.init`, such as :obj:`mode='offline'` or
            :obj:`entity`.

    Raises:
        ImportError: wandb is not installed (extra ``wandb``).
    """

    def __init__(self, project: str = 'dsom_pyg', **options: Any) -> None:
        self.options = {'project': project, **options}
        try:
            import wandb
        except ImportError as error:
            raise _missing('Weights & Biases', 'wandb') from error
        self._init = wandb.init

    def begin(self, folder: Path, settings: Settings) -> None:
        r"""See :class:`Tracker`."""
        words = {
            'id': run_id(folder),
            'name': folder.name,
            'dir': str(folder),
            'config': dict(settings),
            'resume': 'allow',
        }
        self.run: wandb.Run = self._init(**words | self.options)
        self.stages: set[str] = set()

    def log(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        r"""See :class:`Tracker`."""
        # wandb counts calls; the axis of a curve is the epoch of its stage.
        axis = f'{stage}/epoch'
        if stage not in self.stages:
            self.stages.add(stage)
            self.run.define_metric(f'{stage}/*', step_metric=axis)
        told = {f'{stage}/{name}': value for name, value in values.items()}
        self.run.log({axis: epoch, **told})

    def end(self, metrics: Metrics | None) -> None:
        r"""See :class:`Tracker`."""
        self.run.summary.update(_flat(metrics))
        self.run.finish(exit_code=int(metrics is None))


class MLflow:
    r"""MLflow, its server or a file of one's own.

    Args:
        experiment: The name of the experiment; made if it is not there.
        uri: Of the server, or such as ``'sqlite:///mlflow.db'``.
            (default: MLflow's own, ``MLFLOW_TRACKING_URI``)

    Raises:
        ImportError: mlflow is not installed (extra ``mlflow``).
    """

    # What MLflow takes at most in one call, and as the text of a setting.
    PARAMETERS, LETTERS = 100, 6000

    def __init__(
        self, experiment: str = 'dsom_pyg', uri: str | None = None
    ) -> None:
        self.experiment, self.uri = experiment, uri
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise _missing('MLflow', 'mlflow') from error
        self._client = MlflowClient

    def begin(self, folder: Path, settings: Settings) -> None:
        r"""See :class:`Tracker`."""
        self.client: mlflow.MlflowClient = self._client(self.uri)
        found = self.client.get_experiment_by_name(self.experiment)
        where = (
            found.experiment_id
            if found is not None
            else self.client.create_experiment(self.experiment)
        )
        tag = run_id(folder)
        there = self.client.search_runs([where], f"tags.dsom_pyg = '{tag}'")
        if there:
            self.run = str(there[0].info.run_id)
            self.client.update_run(self.run, status='RUNNING')
            return
        made = self.client.create_run(
            where, tags={'dsom_pyg': tag}, run_name=folder.name
        )
        self.run = str(made.info.run_id)
        from mlflow.entities import Param

        told = [
            Param(_permitted(name), _word(x)[: self.LETTERS])
            for name, x in settings.items()
        ]
        for at in range(0, len(told), self.PARAMETERS):
            part = told[at : at + self.PARAMETERS]
            self.client.log_batch(self.run, params=part)

    def log(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        r"""See :class:`Tracker`."""
        for name, value in values.items():
            key = _permitted(f'{stage}/{name}')
            self.client.log_metric(self.run, key, value, step=epoch)

    def end(self, metrics: Metrics | None) -> None:
        r"""See :class:`Tracker`."""
        for name, value in _flat(metrics).items():
            self.client.log_metric(self.run, _permitted(name), value)
        status = 'FAILED' if metrics is None else 'FINISHED'
        self.client.set_terminated(self.run, status)


TRACKERS = {'tensorboard': TensorBoard, 'wandb': WandB, 'mlflow': MLflow}


def tracker(name: str) -> Tracker:
    r"""A tracker by its name, as the command line has it: ``tensorboard``,
    ``wandb`` or ``mlflow``.

    Raises:
        ValueError: There is no such tracker.
        ImportError: Its package is not installed.
    """
    if name not in TRACKERS:
        known = ', '.join(TRACKERS)
        raise ValueError(f'no tracker is called {name!r}; there are {known}')
    made: Tracker = TRACKERS[name]()
    return made


def _missing(name: str, extra: str) -> ImportError:
    return ImportError(f'{name} needs pip install "dsom_pyg[{extra}]"')


def run_id(folder: Path) -> str:
    r"""What trackers know a run by, also where it goes on on another machine:
    drawn once, and kept in its folder.
    """
    path = folder / RUN_ID
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_or_nothing(path) as temporary:
            temporary.write_text(f'{uuid.uuid4().hex}\n')
    return path.read_text().strip()


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _flat(metrics: Metrics | None) -> dict[str, float]:
    return {
        f'{split}/{name}': value
        for split, each in (metrics or {}).items()
        for name, value in each.items()
    }


def _permitted(name: str) -> str:
    # hits@10 is no name for MLflow.
    return re.sub(r'[^\w\-. :/]', '_', name)
