"""Trackers of experiments: told of all, and read again by their own tools."""

import json
import os
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsom_pyg import Recipe
from dsom_pyg.completion import Completer
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.trackers import (
    Metrics,
    MLflow,
    TensorBoard,
    Tracker,
    WandB,
    run_id,
    tracker,
)
from dsom_pyg.training import Progress

STAGES = ['teachers', 'student']


class Recorder:
    def __init__(self, fails_at: int | None = None) -> None:
        self.begun: list[tuple[Path, Mapping[str, Any]]] = []
        self.logged: list[tuple[str, int, Mapping[str, float]]] = []
        self.ended: list[Metrics | None] = []
        self.fails_at = fails_at

    def begin(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.begun.append((folder, settings))

    def log(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        if len(self.logged) == self.fails_at:
            raise ConnectionError('the server is gone')
        self.logged.append((stage, epoch, values))

    def end(self, metrics: Metrics | None) -> None:
        self.ended.append(metrics)
        if self.fails_at is not None:
            raise ConnectionError('the server is still gone')


class Stops(Progress):
    """Interrupts the student after some epochs."""

    def __init__(self, after: int) -> None:
        self.after, self.stage = after, ''

    def begin(self, stage: str, *_: Any) -> None:
        self.stage = stage

    def epoch(self, record: Mapping[str, float]) -> None:
        if self.stage == 'student' and record['epoch'] == self.after:
            raise KeyboardInterrupt


def train(
    dataset: OwnGraph, folder: Path, recipe: Recipe, *told: Tracker
) -> Completer:
    return Completer.train(dataset, folder, recipe, trackers=told)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / 'metrics.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_tracker_hears_all(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    one = Recorder()
    model = train(dataset, tmp_path, recipe, one)
    ((folder, settings),) = one.begun
    assert folder == tmp_path
    assert settings['student.channels'] == 4
    assert settings['graph'] == model.graph.fingerprint
    assert [x[:2] for x in one.logged] == [
        (stage, epoch) for stage in STAGES for epoch in range(1, 9)
    ]
    # The same as in the file of the run.
    for (stage, epoch, values), line in zip(
        one.logged, lines(tmp_path), strict=True
    ):
        assert {'stage': stage, 'epoch': epoch, **values} == line
    (metrics,) = one.ended
    assert metrics == model.parts.about['metrics']
    assert metrics is not None
    assert metrics['test']['mrr'] > 0
    # What is there already is nobody's news, and what is refused neither.
    with pytest.warns(UserWarning, match='has ended: its trackers are told'):
        train(dataset, tmp_path, recipe, one)
    other = replace(
        recipe.student, loop=replace(recipe.student.loop, epochs=7)
    )
    with pytest.raises(ValueError, match='another run'):
        train(dataset, tmp_path, replace(recipe, student=other), one)
    assert len(one.begun) == len(one.ended) == 1


def test_a_tracker_hears_of_a_run_whose_model_alone_was_missing(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    train(dataset, tmp_path, recipe)
    (tmp_path / 'model.json').unlink()
    one = Recorder()
    model = train(dataset, tmp_path, recipe, one)
    assert (len(one.begun), one.logged) == (1, [])
    assert one.ended == [model.parts.about['metrics']]


def test_a_tracker_hears_of_an_interruption(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    one, other = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path, replace(recipe, progress=Stops(3)), one)
    assert one.ended == [None]
    known = run_id(tmp_path)
    train(dataset, tmp_path, recipe, other)
    # Where it goes on, it tells what is new.
    assert [x[:2] for x in one.logged + other.logged] == [
        (stage, epoch) for stage in STAGES for epoch in range(1, 9)
    ]
    assert other.begun == one.begun
    assert run_id(tmp_path) == known


def test_a_tracker_that_fails_costs_no_run(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    one, other = Recorder(fails_at=2), Recorder()
    with pytest.warns(UserWarning, match='Recorder failed.*server is gone'):
        train(dataset, tmp_path, recipe, one, other)
    assert len(one.logged) == 2
    # It is told that the run has ended nevertheless, and may fail again; to
    # whom it tells that, its curves are cut off.
    assert one.ended == [None]
    assert len(other.logged) == 16
    assert len(other.ended) == 1


def test_a_tracker_that_cannot_begin_is_named(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    class Shut(Recorder):
        def begin(self, folder: Path, settings: Mapping[str, Any]) -> None:
            raise RuntimeError('no login')

    one = Recorder()
    with pytest.raises(ValueError, match='Shut cannot begin: no login'):
        train(dataset, tmp_path, recipe, one, Shut())
    # Who has begun is told that it ends.
    assert one.ended == [None]
    assert one.logged == []


def test_trackers_need_a_folder(dataset: OwnGraph, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match='folder'):
        Completer.train(dataset, None, recipe, trackers=[Recorder()])


def test_tensorboard(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing import event_accumulator

    told = replace(recipe, progress=Stops(3))
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path, told, TensorBoard())
    model = train(dataset, tmp_path, recipe, TensorBoard())
    # Its own reader follows one file after the other.
    found = event_accumulator.EventAccumulator(str(tmp_path / 'tensorboard'))
    found.Reload()
    for stage in STAGES:
        curve = [(x.step, x.value) for x in found.Scalars(f'{stage}/loss')]
        assert curve == [
            (x['epoch'], pytest.approx(x['loss'], rel=1e-6))
            for x in lines(tmp_path)
            if x['stage'] == stage
        ]
    (mrr,) = found.Scalars('test/mrr')
    expected = model.parts.about['metrics']['test']['mrr']
    assert mrr.value == pytest.approx(expected, rel=1e-6)
    text = found.Tensors('settings/text_summary')[-1]
    words = text.tensor_proto.string_val[0].decode()
    assert '    student.channels: 4' in words.splitlines()


def logged_records(path: Path) -> list[bytes]:
    """The records of a log in the form of LevelDB, in blocks of 32 KiB, after
    a header of seven bytes.
    """
    data, at, out = path.read_bytes(), 7, []
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:  # padding
            at += left
            continue
        if len(data) < at + 7:  # the rest is not written yet
            break
        _, size, kind = struct.unpack('<IHB', data[at : at + 7])
        if len(data) < at + 7 + size:
            break
        part = data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 2):  # whole, first
            out.append(part)
        else:  # middle, last
            out[-1] += part
    return out


def test_wandb(
    dataset: OwnGraph,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    for name in [x for x in os.environ if x.startswith('WANDB')]:
        monkeypatch.delenv(name)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    train(dataset, tmp_path, recipe, WandB('ships', tags=['first']))
    (path,) = tmp_path.glob('wandb/offline-run-*/*.wandb')
    records: list[Any] = []
    # Another process writes the file, and may still do so.
    for _ in range(600):
        records = [Record.FromString(x) for x in logged_records(path)]
        if any(x.HasField('exit') for x in records):
            break
        time.sleep(0.1)
    (run,) = {
        x.run.run_id: x.run for x in records if x.HasField('run')
    }.items()
    assert run[0] == run_id(tmp_path)
    assert run[1].project == 'ships'
    assert run[1].display_name == tmp_path.name
    assert list(run[1].tags) == ['first']
    config = {x.key: json.loads(x.value_json) for x in run[1].config.update}
    assert config['student.channels'] == 4
    logged = []
    for record in records:
        if record.HasField('history'):
            items = record.history.item
            row = {
                (x.key or '/'.join(x.nested_key)): json.loads(x.value_json)
                for x in items
            }
            if 'student/loss' in row:
                logged.append((row['student/epoch'], row['student/loss']))
    assert logged == [
        (x['epoch'], x['loss'])
        for x in lines(tmp_path)
        if x['stage'] == 'student'
    ]
    axes = {
        x.metric.glob_name: x.metric.step_metric
        for x in records
        if x.HasField('metric')
    }
    assert axes['student/*'] == 'student/epoch'
    assert [x.exit.exit_code for x in records if x.HasField('exit')] == [0]


def test_mlflow(dataset: OwnGraph, recipe: Recipe, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f'sqlite:///{tmp_path}/mlflow.db'
    folder = tmp_path / 'ships'
    told = replace(recipe, progress=Stops(3))
    with pytest.raises(KeyboardInterrupt):
        train(dataset, folder, told, MLflow('harbours', uri))
    client = MlflowClient(uri)
    found = client.get_experiment_by_name('harbours')
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == 'FAILED'
    model = train(dataset, folder, recipe, MLflow('harbours', uri))
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == 'FINISHED'
    assert run.info.run_name == 'ships'
    assert run.data.params['student.channels'] == '4'
    assert run.data.params['graph'] == model.graph.fingerprint
    for stage in STAGES:
        curve = client.get_metric_history(run.info.run_id, f'{stage}/loss')
        assert [(x.step, x.value) for x in curve] == [
            (x['epoch'], x['loss'])
            for x in lines(folder)
            if x['stage'] == stage
        ]
    expected = model.parts.about['metrics']['test']
    assert run.data.metrics['test/mrr'] == expected['mrr']
    assert run.data.metrics['test/hits_10'] == expected['hits@10']


@pytest.mark.parametrize(
    ('name', 'package'),
    [
        ('tensorboard', 'torch.utils.tensorboard'),
        ('wandb', 'wandb'),
        ('mlflow', 'mlflow'),
    ],
)
def test_a_missing_package_is_named(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'dsom_pyg\[{name}\]'):
        tracker(name)


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(ValueError, match='mlflow'):
        tracker('neptune')
