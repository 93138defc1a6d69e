"""Everything works on a GPU; what can be compared is what a CPU gives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dsom_pyg import nn
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate, predict_tails
from dsom_pyg.precision import default_precision
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    RecipeConfig,
    TeachersTask,
    build_teachers,
    fit,
    start_student,
    teacher_n3,
    train_dsom,
)
from dsom_pyg.training.fit import _Keeper

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'
)

DATA = FakeMMKG(30, 4, 200)[0]


def config(device: str = 'cuda', optimizer: str = 'adam') -> RecipeConfig:
    loop = FitConfig(
        epochs=3,
        batch_size=50,
        optimizer=optimizer,
        precision='fp32',
        device=device,
        progress=False,
    )
    return RecipeConfig(
        hidden_channels=8,
        teachers=loop,
        student=loop,
        policy_epochs=3,
        unlabeled=40,
    )


@pytest.mark.parametrize('optimizer', ['adam', 'adagrad'])
def test_teachers_learn_the_same(optimizer: str) -> None:
    losses = []
    for device in ('cpu', 'cuda'):
        recipe = config(device, optimizer)
        ensemble = build_teachers(DATA, recipe)
        task = TeachersTask(ensemble, teacher_n3(ensemble, recipe))
        result = fit(task, DATA, recipe.teachers)
        losses.append([epoch['loss'] for epoch in result.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1][-1] < losses[1][0]


def test_recipe(tmp_path: Path) -> None:
    trained = train_dsom(DATA, config(), tmp_path)
    student = trained.student
    assert next(student.parameters()).is_cuda
    assert evaluate(student, DATA).ranks().max() <= 30
    assert evaluate(trained.combined(DATA), DATA).ranks().max() <= 30
    head, rel = torch.tensor([0, 3]), torch.tensor([1, 2])
    there, _ = predict_tails(student, head, rel)
    # Started again, nothing is trained anew.
    again = train_dsom(DATA, config(), tmp_path).student
    for one, other in zip(
        again.parameters(), student.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    here, _ = predict_tails(student.cpu(), head, rel)
    torch.testing.assert_close(here, there.cpu())


class KilledError(Exception):
    pass


def test_a_run_goes_on_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(device: str, path: Path | None) -> list[float]:
        recipe = config(device)
        ensemble = build_teachers(DATA, recipe)
        task = TeachersTask(ensemble, teacher_n3(ensemble, recipe))
        result = fit(task, DATA, recipe.teachers, path)
        return [epoch['loss'] for epoch in result.history]

    def stop(self: _Keeper, epoch: int, record: dict[str, float]) -> bool:
        if epoch == 2:
            raise KilledError
        return False

    path = tmp_path / 'teachers.safetensors'
    with monkeypatch.context() as patch:
        patch.setattr(_Keeper, 'after', stop)
        with pytest.raises(KilledError):
            train('cuda', path)
    assert train('cpu', path) == pytest.approx(train('cpu', None), rel=1e-3)


def test_default_precision_trains() -> None:
    recipe = config()
    loop = replace(recipe.teachers, precision=None)
    ensemble = build_teachers(DATA, recipe)
    task = TeachersTask(ensemble, teacher_n3(ensemble, recipe))
    result = fit(task, DATA, loop)
    assert result.config['precision'] == default_precision(
        torch.device('cuda')
    )
    assert result.history[-1]['loss'] < result.history[0]['loss']


@pytest.mark.parametrize('estimator', ['sampled', 'exact'])
@pytest.mark.parametrize('state', ['queries', 'logits'])
def test_the_papers_policy(state: str, estimator: str) -> None:
    recipe = config()
    ensemble = build_teachers(DATA, recipe).to('cuda')
    policy = nn.ReinforcedCombiner.for_ensemble(
        ensemble, 16, state=state, estimator=estimator, mask_missing=True
    )
    student, _ = start_student(DATA, ensemble, recipe)
    task = DistillTask(student, ensemble, policy, DistillConfig())
    result = fit(task, DATA, recipe.student_loop())
    assert result.history[-1]['ce'] < result.history[0]['ce']
