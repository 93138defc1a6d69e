"""On a GPU the same comes out as on a CPU."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dsom_pyg import nn
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate, predict_tails
from dsom_pyg.graph import num_relations
from dsom_pyg.plots import choices
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    RecipeConfig,
    TeachersTask,
    build_teachers,
    fit,
    fit_folds,
    start_student,
    teacher_n3,
    train_dsom,
)

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'
)

ROOT = Path(__file__).parents[1]
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


def test_a_run_goes_on_on_another_device(tmp_path: Path) -> None:
    path = tmp_path / 'teachers.safetensors'
    losses = []
    for device in ('cuda', 'cpu'):
        recipe = config(device)
        ensemble = build_teachers(DATA, recipe)
        task = TeachersTask(ensemble, teacher_n3(ensemble, recipe))
        result = fit(task, DATA, recipe.teachers, path)
        losses.append([epoch['loss'] for epoch in result.history])
    # The second one had nothing to do.
    assert losses[0] == losses[1]


def test_default_precision_trains() -> None:
    recipe = config()
    loop = replace(recipe.teachers, precision=None)
    assert loop.resolved_precision() in ('bf16', 'fp32')
    trained = train_dsom(DATA, replace(recipe, teachers=loop, student=loop))
    assert evaluate(trained.student, DATA).mrr() > 0


def test_every_combiner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'candidates', raising=False)
    from candidates import candidates  # type: ignore[import-not-found]

    recipe = config()
    ensemble = build_teachers(DATA, recipe)
    task = TeachersTask(ensemble, teacher_n3(ensemble, recipe))
    fit(task, DATA, recipe.teachers)
    folds = fit_folds(DATA, recipe, 3)
    for name, make in candidates(DATA, folds, recipe):
        combiner = make().to('cuda').eval()
        chosen = choices(DATA, ensemble, combiner)
        assert sum(chosen.tables['all'][0][2]) == pytest.approx(1), name


@pytest.mark.parametrize('estimator', ['sampled', 'exact'])
@pytest.mark.parametrize('state', ['queries', 'logits'])
def test_the_papers_policy(state: str, estimator: str) -> None:
    recipe = config()
    ensemble = build_teachers(DATA, recipe).to('cuda')
    policy = nn.ReinforcedCombiner.for_ensemble(
        ensemble, 16, state=state, estimator=estimator, mask_missing=True
    )
    student, _ = start_student(DATA, ensemble, recipe)
    assert student.num_relations == num_relations(DATA)
    task = DistillTask(student, ensemble, policy, DistillConfig())
    result = fit(task, DATA, recipe.student_loop())
    assert result.history[-1]['ce'] < result.history[0]['ce']
