"""Training that diverges stops, and nothing else does."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.teachers import Mean, TeacherEnsemble, Weighted, paper_policy
from dsom_pyg.training import (
    Adagrad,
    Adam,
    DistillTask,
    Fold,
    Loop,
    ModelTask,
    OneFold,
    PolicyTask,
    Task,
    TeachersTask,
    fit,
    held_graph,
)
from dsom_pyg.training.state import RunFile, TrainState

DATA = FakeMMKG(30, 4, 200)[0]
GRAPH = KG(DATA)
GRAPH_TEACHERS = ['structure', 'image', 'text']


def model() -> ModelTask:
    torch.manual_seed(0)
    return ModelTask(ComplEx(EntityEmbedding(30, 8), 4))


def teachers() -> TeacherEnsemble:
    torch.manual_seed(0)
    return TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8)


def student() -> DistillTask:
    return DistillTask(model().model, teachers(), Mean())


def policy() -> PolicyTask:
    parts = OneFold(0.3).parts(GRAPH, seed=0)
    return PolicyTask([Fold(teachers(), *parts[0])], Weighted(3, lr=1e6))


@pytest.mark.parametrize('optimizer', [Adam(1e6), Adagrad(1e6)])
@pytest.mark.parametrize(
    'task', [model, lambda: TeachersTask(teachers()), student]
)
def test_a_rate_that_is_far_too_high(
    task: Any, optimizer: Adam | Adagrad, tmp_path: Path
) -> None:
    path = tmp_path / 'run.safetensors'
    loop = Loop(epochs=5, batch_size=20, optimizer=optimizer)
    for _ in range(2):
        made = task()
        with pytest.raises(FloatingPointError) as caught:
            fit(made, DATA, loop, path)
        said = str(caught.value)
        assert said.startswith(f"{made.name}: 'loss' is ")
        assert 'in epoch 1, it was ' in said
        assert 'lower the learning rate (1000000.0)' in said
        assert 'no epoch is saved' in said
        assert not list(tmp_path.iterdir())


def test_a_combiner_of_a_rate_that_is_far_too_high() -> None:
    task = policy()
    graph = held_graph(GRAPH, task.folds)
    # A weight of exp(1e6): the score itself is infinite.
    with pytest.raises(FloatingPointError, match='policy: '):
        fit(task, graph, Loop(epochs=3, batch_size=20))


class Scripted(Task):
    """Its losses are written down, batch by batch."""

    def __init__(self, losses: list[list[float]], **words: Any) -> None:
        self.weight = torch.nn.Linear(1, 1, bias=False)
        super().__init__('scripted', [self.weight])
        self.losses = iter([loss for epoch in losses for loss in epoch])
        self.loop = Loop(epochs=len(losses), batch_size=40)
        for name, value in words.items():
            setattr(self, name, value)

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        nothing = 0 * self.weight.weight.sum()
        loss = next(self.losses)
        return {'loss': nothing + loss, 'other': nothing.detach() + 9 * loss}


# As many batches as an epoch has.
def epoch(*losses: float) -> list[float]:
    count = -(-len(GRAPH.index('train')) // 40)
    assert count >= 3
    return [*losses, *[losses[-1]] * (count - len(losses))]


def run(
    losses: list[list[float]], path: Path | None = None, **words: Any
) -> Any:
    task = Scripted(losses, **words)
    return fit(task, DATA, task.loop, path)


@pytest.mark.parametrize(
    'losses',
    [
        # A start that hurts, and comes back.
        [epoch(3.4, 900.0), epoch(50.0), epoch(2.0)],
        # One epoch, which begins where it begins.
        [epoch(3.4, 90.0)],
        # A model that has learned already: noise around where it was.
        [epoch(0.1, 0.6), epoch(0.5, 0.15, 0.7)],
        [epoch(4.0, 4.6), epoch(4.7, 4.3, 4.7)],
        # A reward below 0.
        [epoch(-30.0), epoch(-29.0), epoch(-35.0)],
        [epoch(0.0), epoch(0.05)],
    ],
)
def test_what_does_not_diverge(losses: list[list[float]]) -> None:
    assert len(run(losses).history) == len(losses)


@pytest.mark.parametrize(
    ('losses', 'words'),
    [
        (
            [epoch(3.4, 9000.0), epoch(2.0)],
            r"scripted: 'loss' is .* in epoch 1, it was 3\.4 .*no epoch is",
        ),
        (
            [epoch(0.01), epoch(1.1e3)],
            r'in epoch 2, it was 0\.01 .*epoch 1 is',
        ),
        (
            [epoch(-30.0), epoch(-20.0), epoch(3.1e4), epoch(0.0)],
            r'in epoch 3, it was -30 .*epoch 2 is saved',
        ),
        (
            [epoch(3.4), epoch(3.0), epoch(4.6, 4.5)],
            r'is 4\.5 or more in all batches of epoch 3, .*epoch 2 is saved',
        ),
        (
            [epoch(-30.0), epoch(-31.0), epoch(-26.0)],
            r'is -26 or more .*epoch 3, the last one.*epoch 2 is saved',
        ),
        (
            [epoch(3.4), epoch(float('nan'))],
            r'is nan in epoch 2; .*epoch 1 is saved',
        ),
    ],
)
def test_what_diverges(
    losses: list[list[float]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(FloatingPointError, match=words) as caught:
        run(losses, tmp_path / 'run.safetensors')
    assert 'lower the learning rate (0.1)' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_the_last_good_epoch_stays(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    losses = [epoch(3.4), epoch(3.0), epoch(1e6), epoch(1.0)]
    with pytest.raises(FloatingPointError, match='epoch 2 is saved in'):
        run(losses, path)
    before = path.read_bytes()
    # Going on from there, it knows how the run began.
    with pytest.raises(FloatingPointError, match=r'epoch 3, it was 3\.4 '):
        run([*losses[2:], [], []], path)
    assert path.read_bytes() == before


def test_an_early_end_above_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 0.4, 0.3])
    module = import_module('dsom_pyg.training.fit')
    monkeypatch.setattr(module, '_validate', lambda *words: next(values))
    task = Scripted([epoch(3.4), epoch(5.0), epoch(5.0)])
    loop = replace(task.loop, epochs=9, eval_every=1, patience=2)
    with pytest.raises(FloatingPointError, match='epoch 3, the last one'):
        fit(task, DATA, loop)


def test_an_end_above_the_start_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'run.safetensors'
    loop = Loop(epochs=2, batch_size=20, optimizer=Adam(1.0))
    for _ in range(2):
        with pytest.raises(
            FloatingPointError,
            match=r'in all batches of epoch 2.*epoch 1 is s',
        ):
            fit(model(), DATA, loop, path)
    save = RunFile.save

    def stop(self: RunFile, state: TrainState) -> None:
        save(self, state)
        raise KeyboardInterrupt

    other = tmp_path / 'other.safetensors'
    monkeypatch.setattr(RunFile, 'save', stop)
    with pytest.raises(KeyboardInterrupt):
        fit(model(), DATA, loop, other)
    with pytest.raises(FloatingPointError, match='in all batches of epoch 2'):
        fit(model(), DATA, loop, other)


def test_what_need_not_fall_may_end_above_its_start() -> None:
    losses = [epoch(3.4), epoch(5.0)]
    with pytest.raises(FloatingPointError, match="'loss' is 5 or more"):
        run(losses)
    assert len(run(losses, falling=()).history) == 2
    with pytest.raises(FloatingPointError, match="'other' is 45 or more"):
        run(losses, falling=('other',))
    assert not policy().falling
    assert student().falling == ('loss',)
    # One bad teacher among good ones.
    assert TeachersTask(teachers()).falling == GRAPH_TEACHERS
    # Its reward changes along with the student.
    ensemble = teachers()
    learns = DistillTask(model().model, ensemble, paper_policy(ensemble, 8))
    assert not learns.falling


@pytest.mark.parametrize('seed', range(4))
def test_a_model_that_has_learned_may_lose_a_little(seed: int) -> None:
    trained = model()
    fit(trained, DATA, Loop(epochs=60, batch_size=20))
    loop = Loop(epochs=2, batch_size=20)
    result = fit(ModelTask(trained.model), DATA, loop, seed=seed)
    assert len(result.history) == 2
