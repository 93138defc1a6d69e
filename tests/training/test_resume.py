"""A run that was interrupted ends like one that was not, bit for bit."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import modalities, pool_features
from dsom_pyg.losses import mean_advantage
from dsom_pyg.nn import (
    ComplEx,
    DistMult,
    EntityEmbedding,
    ReinforcedCombiner,
    TeacherEnsemble,
)
from dsom_pyg.training import (
    DistillTask,
    FitConfig,
    FitResult,
    ModelTask,
    Task,
    TeachersTask,
    fit,
)
from dsom_pyg.training.fit import _Keeper

DATA = FakeMMKG(30, 4, 200)[0]


def model() -> ModelTask:
    torch.manual_seed(0)
    return ModelTask(ComplEx(EntityEmbedding(30, 8), 4))


def teachers() -> TeachersTask:
    torch.manual_seed(0)
    features = {name: pool_features(DATA, name) for name in modalities(DATA)}
    return TeachersTask(TeacherEnsemble.from_features(features, 30, 4, 8))


def student() -> DistillTask:
    ensemble = teachers().ensemble
    policy = ReinforcedCombiner.for_ensemble(ensemble, hidden_channels=16)
    return DistillTask(model().model, ensemble, policy)


def config(**words: Any) -> FitConfig:
    return FitConfig(epochs=6, batch_size=32, progress=False, **words)


def states(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    return [dict(module.state_dict()) for module in modules]


def assert_equal(one: Task, two: Task) -> None:
    pairs = zip(states(one.modules()), states(two.modules()), strict=True)
    for a, b in pairs:
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def without_time(result: FitResult) -> list[dict[str, float]]:
    return [
        {key: value for key, value in epoch.items() if key != 'seconds'}
        for epoch in result.history
    ]


class Killed(Exception):  # noqa: N818
    pass


def kill_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    after = _Keeper.after

    def stop(self: _Keeper, now: int, record: dict[str, float]) -> bool:
        if now > epoch:
            raise Killed
        return after(self, now, record)

    monkeypatch.setattr(_Keeper, 'after', stop)


@pytest.mark.parametrize('make', [model, teachers, student])
@pytest.mark.parametrize(
    'loop',
    [
        {'eval_every': 0, 'cooldown': 0.75},
        {'eval_every': 1, 'patience': 10},
        {'optimizer': 'adam', 'lr': 0.01, 'cooldown': 1.0},
    ],
)
def test_bit_equal(
    make: Callable[[], Task], loop: dict[str, Any], tmp_path: Path
) -> None:
    settings = config(**loop)
    whole = make()
    expected = fit(whole, DATA, settings)
    path = tmp_path / 'deep' / 'run.safetensors'
    with pytest.MonkeyPatch.context() as patch:
        kill_after(3, patch)
        with pytest.raises(Killed):
            fit(make(), DATA, settings, path)
    torch.manual_seed(99)  # another process has another random state
    again = make()
    result = fit(again, DATA, settings, path)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)
    assert result.best_epoch == expected.best_epoch
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_run_that_ended_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    # A rate that ruins the model at once: early stopping ends the run.
    settings = config(eval_every=1, patience=1, lr=30.0)
    first = model()
    expected = fit(first, DATA, settings, path)
    assert len(expected.history) < 6
    stamp = path.stat().st_mtime_ns
    second = model()
    result = fit(second, DATA, settings, path)
    assert result == expected
    assert_equal(first, second)
    assert path.stat().st_mtime_ns == stamp


def test_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    fit(student(), DATA, config(), path)
    with pytest.raises(ValueError, match=r'lr: 0.1 there, 0.2 here$'):
        fit(student(), DATA, config(lr=0.2), path)
    other = FakeMMKG(30, 4, 200, seed=1)[0]
    with pytest.raises(ValueError, match=r'\ngraph: '):
        fit(student(), other, config(), path)
    task = student()
    with torch.no_grad():
        task.ensemble['text'].relations[0, 0] += 1
    with pytest.raises(ValueError, match='frozen modules: '):
        fit(task, DATA, config(), path)
    task = student()
    task.combiner = ReinforcedCombiner.for_ensemble(
        task.ensemble, 16, estimator='exact', advantage=mean_advantage
    )
    with pytest.raises(ValueError, match=r'combiner: .*paper.*mean_advantage'):
        fit(task, DATA, config(), path)
    task = student()
    task.combiner = ReinforcedCombiner.for_ensemble(task.ensemble, 32)
    with pytest.raises(ValueError, match=r'channels=16.*channels=32'):
        fit(task, DATA, config(), path)
    task = student()
    task.student = DistMult(EntityEmbedding(30, 8), 4)
    with pytest.raises(ValueError, match=r'student: ComplEx.*DistMult'):
        fit(task, DATA, config(), path)
    # Where it runs and what it shows is no difference.
    fit(student(), DATA, FitConfig(epochs=6, batch_size=32), path)


def test_features_belong_to_the_run(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    fit(teachers(), DATA, config(), path)
    task = teachers()
    task.ensemble['text'].entities.x[3, 0] += 1
    with pytest.raises(ValueError, match='fixed features: '):
        fit(task, DATA, config(), path)


@pytest.mark.parametrize('keep', [0, 50, -10])
def test_a_damaged_file_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / 'run.safetensors'
    fit(model(), DATA, config(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r'run\.safetensors .* delete it'):
        fit(model(), DATA, config(), path)


def test_the_last_good_epoch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'run.safetensors'
    good = model()
    with pytest.MonkeyPatch.context() as patch:
        kill_after(2, patch)
        with pytest.raises(Killed):
            fit(good, DATA, config(), path)
    before = path.read_bytes()
    step = ModelTask.step

    def broken(self: ModelTask, *words: Any) -> Any:
        return {k: v * torch.nan for k, v in step(self, *words).items()}

    monkeypatch.setattr(ModelTask, 'step', broken)
    with pytest.raises(FloatingPointError, match='epoch 3'):
        fit(model(), DATA, config(), path)
    assert path.read_bytes() == before
