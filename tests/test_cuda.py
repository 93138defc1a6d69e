"""Everything works on a GPU; what can be compared is what a CPU gives."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dsom_pyg import Recipe, evaluate, predict_tails, train_dsom
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.policies import HeldOut, RewardedPolicy
from dsom_pyg.precision import default_precision
from dsom_pyg.stages import (
    Student,
    Teachers,
    Unlabeled,
    WarmStart,
    start_student,
)
from dsom_pyg.teachers import (
    CrossEntropyReward,
    LogitState,
    Policy,
    TeacherEnsemble,
    paper_policy,
    subsets,
)
from dsom_pyg.training import (
    Adagrad,
    Adam,
    DistillTask,
    Loop,
    Run,
    TeachersTask,
    fit,
)
from dsom_pyg.training.state import TrainState

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'
)

DATA = FakeMMKG(30, 4, 200)[0]
LOOP = Loop(epochs=3, batch_size=50, optimizer=Adam())
TEACHERS = Teachers(channels=8, loop=LOOP)
STUDENT = Student(channels=8, loop=LOOP, unlabeled=Unlabeled(40))
RECIPE = Recipe(
    teachers=TEACHERS,
    policy=HeldOut(learner=RewardedPolicy(epochs=3)),
    student=STUDENT,
    device='cuda',
    precision='fp32',
    progress=False,
)


def losses(
    device: str, loop: Loop = LOOP, path: Path | None = None
) -> list[float]:
    ensemble = TEACHERS.build(KG(DATA), 0)
    result = fit(
        TeachersTask(ensemble),
        DATA,
        loop,
        path,
        device=device,
        precision='fp32',
        progress=False,
    )
    return [epoch['loss'] for epoch in result.history]


@pytest.mark.parametrize('optimizer', [Adam(), Adagrad()])
def test_teachers_learn_the_same(optimizer: Adam | Adagrad) -> None:
    loop = replace(LOOP, optimizer=optimizer)
    here, there = losses('cpu', loop), losses('cuda', loop)
    assert there == pytest.approx(here, rel=1e-3)
    assert there[-1] < there[0]


@pytest.mark.parametrize(
    'student', [STUDENT, replace(STUDENT, start=WarmStart())]
)
def test_recipe(tmp_path: Path, student: Student) -> None:
    recipe = replace(RECIPE, student=student)
    trained = train_dsom(DATA, recipe, tmp_path)
    answering = trained.student
    assert next(answering.parameters()).is_cuda
    assert evaluate(answering, DATA).ranks().max() <= 30
    assert evaluate(trained.teachers, DATA).ranks().max() <= 30
    head, rel = torch.tensor([0, 3]), torch.tensor([1, 2])
    there, _ = predict_tails(answering, head, rel)
    # Started again, nothing is trained anew.
    again = train_dsom(DATA, recipe, tmp_path).student
    for one, other in zip(
        again.parameters(), answering.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    here, _ = predict_tails(answering.cpu(), head, rel)
    torch.testing.assert_close(here, there.cpu())


class KilledError(Exception):
    pass


def test_a_run_goes_on_on_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = replace(LOOP, eval_every=1)

    def stop(self: TrainState, epoch: int, *_: object) -> None:
        if epoch == 2:
            raise KilledError

    path = tmp_path / 'teachers.safetensors'
    with monkeypatch.context() as patch:
        patch.setattr(TrainState, 'compare', stop)
        with pytest.raises(KilledError):
            losses('cuda', loop, path)
    assert path.exists()
    expected = losses('cpu', loop)
    assert losses('cpu', loop, path) == pytest.approx(expected, rel=1e-3)


def test_default_precision_trains() -> None:
    ensemble = TEACHERS.build(KG(DATA), 0)
    task = TeachersTask(ensemble)
    result = fit(task, DATA, LOOP, device='cuda', progress=False)
    assert result.config['precision'] == default_precision(
        torch.device('cuda')
    )
    assert result.history[-1]['loss'] < result.history[0]['loss']


def over_logits(
    ensemble: TeacherEnsemble, width: int, estimator: str, mask: bool
) -> Policy:
    return Policy(
        LogitState(len(ensemble), 30),
        subsets(len(ensemble)),
        CrossEntropyReward(),
        'sample',
        estimator,
        mask_missing=mask,
        mlp_channels=width,
    )


@pytest.mark.parametrize('estimator', ['sampled', 'exact'])
@pytest.mark.parametrize('kind', [paper_policy, over_logits])
def test_the_papers_policy(kind, estimator: str) -> None:  # type: ignore[no-untyped-def]
    run = Run(graph=KG(DATA), device='cuda', precision='fp32', progress=False)
    ensemble = TEACHERS.build(run.graph, 0).to('cuda')
    policy = kind(ensemble, 16, estimator, True)
    student = start_student(run, STUDENT, TEACHERS, ensemble)
    task = DistillTask(student, ensemble, policy)
    history = run.fit('student', task, LOOP).history
    assert history[-1]['ce'] < history[0]['ce']
