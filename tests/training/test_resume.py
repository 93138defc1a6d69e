"""A run that was interrupted ends like one that was not, bit for bit."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.files import NotWritten, load_tensors, save_tensors
from dsom_pyg.kg import KG
from dsom_pyg.losses import mean_advantage, paper_advantage
from dsom_pyg.models import (
    ComplEx,
    CrossEntropy,
    DistMult,
    EntityEmbedding,
    JointEmbedding,
    Model,
)
from dsom_pyg.models.entity import EntityModule
from dsom_pyg.models.kge import Step
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.teachers import (
    Answers,
    Combiner,
    CompactState,
    CrossEntropyReward,
    MetaLearner,
    Policy,
    RankReward,
    TeacherEnsemble,
    Weighted,
    paper_policy,
    subsets,
)
from dsom_pyg.training import (
    Adagrad,
    Adam,
    DistillTask,
    FitResult,
    Fold,
    KFolds,
    Loop,
    ModelTask,
    PolicyTask,
    Task,
    TeachersTask,
    fit,
)
from dsom_pyg.training.state import RunFile, TrainState

DATA = FakeMMKG(30, 4, 200)[0]
GRAPH = KG(DATA)


def model() -> ModelTask:
    torch.manual_seed(0)
    return ModelTask(ComplEx(EntityEmbedding(30, 8), 4))


def teachers() -> TeachersTask:
    torch.manual_seed(0)
    return TeachersTask(
        TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8)
    )


def student(
    net: Model | None = None, combiner: Combiner | None = None
) -> DistillTask:
    ensemble = teachers().ensemble
    policy = paper_policy(ensemble, 16)
    return DistillTask(net or model().model, ensemble, combiner or policy)


class Players(Task):
    # A generator of entities that are taken for true tails, and the critic
    # that is to tell them: each has an optimiser and a pass of its own.
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.critic = nn.Embedding(30, 4)
        self.generator = nn.Linear(4, 30)
        super().__init__('players', [self.critic, self.generator])

    def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
        return [
            loop.optimizer(self.critic.parameters()),
            torch.optim.Adam(self.generator.parameters(), lr=0.01),
        ]

    def update(
        self,
        batch: QueryBatch,
        precision: str,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> dict[str, torch.Tensor]:
        first, second = optimizers
        true = self.critic(batch.targets.tail).sum(dim=1)
        noise = torch.randn(len(true), 4)
        made = self.generator(noise).softmax(dim=1)
        scores = self.critic.weight.sum(dim=1)
        critic = -nn.functional.logsigmoid(true).mean()
        critic = (
            critic - nn.functional.logsigmoid(-(made.detach() @ scores)).mean()
        )
        first.zero_grad()
        critic.backward()
        first.step()
        scores = self.critic.weight.detach().sum(dim=1)
        generator = -nn.functional.logsigmoid(made @ scores).mean()
        second.zero_grad()
        generator.backward()
        second.step()
        return {'critic': critic, 'generator': generator}


def loop_of(**words: Any) -> Loop:
    return Loop(**{'epochs': 6, 'batch_size': 64, **words})


def states(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    return [dict(module.state_dict()) for module in modules]


def assert_equal(one: Task, two: Task) -> None:
    pairs = zip(states(one.trained), states(two.trained), strict=True)
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
    save = RunFile.save

    def stop(self: RunFile, state: TrainState) -> None:
        if len(state.history) > epoch:
            raise Killed
        save(self, state)

    monkeypatch.setattr(RunFile, 'save', stop)


@pytest.mark.parametrize('make', [model, teachers, student])
@pytest.mark.parametrize(
    'loop',
    [
        {'eval_every': 0, 'cooldown': 0.75},
        {'eval_every': 1, 'patience': 10},
        {'optimizer': Adam(0.01), 'cooldown': 1.0},
    ],
)
def test_bit_equal(
    make: Callable[[], Task], loop: dict[str, Any], tmp_path: Path
) -> None:
    settings = loop_of(**loop)
    whole = make()
    expected = fit(whole, DATA, settings)
    path = tmp_path / 'deep' / 'run.safetensors'
    again, result = killed_and_gone_on(make, settings, path, 3)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)
    assert result.best_epoch == expected.best_epoch
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def killed_and_gone_on(
    make: Callable[[], Task], loop: Loop, path: Path, epoch: int
) -> tuple[Task, FitResult]:
    with pytest.MonkeyPatch.context() as patch:
        kill_after(epoch, patch)
        with pytest.raises(Killed):
            fit(make(), DATA, loop, path)
    torch.manual_seed(99)  # another process has another random state
    again = make()
    return again, fit(again, DATA, loop, path)


class Noisy(RankReward):
    """A reward that draws."""

    def __call__(self, *words: Any) -> torch.Tensor:
        reward = super().__call__(*words)
        return reward + torch.randn_like(reward)


def policy() -> PolicyTask:
    folds = []
    for rest, held in KFolds(2).parts(GRAPH, 0):
        torch.manual_seed(len(folds))
        ensemble = TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8)
        folds.append(Fold(ensemble, rest, held))
    base, state = Weighted(3), CompactState(3, 4, GRAPH.degree)
    learner = Policy(
        state, subsets(3), Noisy(), 'mean', base=base, dropout=0.2, lr=0.01
    )
    return PolicyTask(folds, learner)


@pytest.mark.parametrize('epoch', [1, 4])
def test_a_policy_from_answers_that_are_kept(
    epoch: int, tmp_path: Path
) -> None:
    whole, loop = policy(), loop_of()
    expected = fit(whole, DATA, loop)
    path = tmp_path / 'run.safetensors'
    again, result = killed_and_gone_on(policy, loop, path, epoch)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)


@pytest.mark.parametrize('epoch', [1, 4])
def test_a_task_of_two_players(epoch: int, tmp_path: Path) -> None:
    loop = loop_of(cooldown=0.5)
    whole = Players()
    before = [dict(m.state_dict()) for m in Players().trained]
    expected = fit(whole, DATA, loop)
    names = {'epoch', 'seconds', 'critic', 'generator'}
    assert expected.history[0].keys() == names
    # Each has learned, from its own loss.
    for old, new in zip(before, states(whole.trained), strict=True):
        assert not torch.equal(old['weight'], new['weight'])
    losses = [record['critic'] for record in expected.history]
    assert losses[-1] < losses[0]
    path = tmp_path / 'run.safetensors'
    again, result = killed_and_gone_on(Players, loop, path, epoch)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)


def test_a_player_may_fail_to_converge() -> None:
    class Lost(Players):
        def update(self, *words: Any) -> dict[str, torch.Tensor]:
            terms = super().update(*words)
            return {**terms, 'generator': terms['generator'] / 0}

    with pytest.raises(FloatingPointError, match=r"players: 'generator' is"):
        fit(Lost(), DATA, loop_of())


def test_a_run_that_ended_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    # A rate that ruins the model at once: early stopping ends the run.
    settings = loop_of(eval_every=1, patience=1, optimizer=Adagrad(3.0))
    first = model()
    expected = fit(first, DATA, settings, path, precision='fp32')
    assert len(expected.history) < 6
    stamp = path.stat().st_mtime_ns
    second = model()
    result = fit(second, DATA, settings, path, precision='fp32')
    assert result == expected
    assert_equal(first, second)
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ('earlier', 'later'),
    [
        ({'epochs': 2}, {'epochs': 5}),
        ({'epochs': 2, 'eval_every': 2}, {'epochs': 4, 'eval_every': 2}),
    ],
)
def test_more_epochs_go_on(
    earlier: dict[str, Any], later: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / 'run.safetensors'
    fit(model(), DATA, loop_of(**earlier), path)
    longer, whole = model(), model()
    result = fit(longer, DATA, loop_of(**later), path)
    expected = fit(whole, DATA, loop_of(**later))
    with pytest.raises(ValueError, match=r'\nseed: 0 there, 1 here$'):
        fit(model(), DATA, loop_of(**later), path, seed=1)
    assert len(result.history) == later['epochs']
    assert result.best_epoch == expected.best_epoch
    assert_equal(longer, whole)


@pytest.mark.parametrize(
    ('earlier', 'later'),
    [
        # The rate would have fallen otherwise.
        ({'epochs': 2, 'cooldown': 0.5}, {'epochs': 4, 'cooldown': 0.5}),
        # The third epoch was evaluated because it was the last one.
        ({'epochs': 3, 'eval_every': 2}, {'epochs': 4, 'eval_every': 2}),
        # There are more already.
        ({'epochs': 3}, {'epochs': 2}),
    ],
)
def test_more_epochs_would_be_another_run(
    earlier: dict[str, Any], later: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / 'run.safetensors'
    fit(model(), DATA, loop_of(**earlier), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r'\nepochs: .*\n.more epochs go on'):
        fit(model(), DATA, loop_of(**later), path)
    assert path.read_bytes() == before


def test_only_what_comes_last_is_prolonged(tmp_path: Path) -> None:
    path, more = tmp_path / 'run.safetensors', loop_of(epochs=4)
    fit(model(), DATA, loop_of(epochs=2), path)
    with pytest.raises(ValueError, match=r'4 here\n\(what comes last alone'):
        fit(model(), DATA, more, path, prolong=False)
    assert len(fit(model(), DATA, more, path).history) == 4


def test_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    fit(student(), DATA, loop_of(), path)
    with pytest.raises(ValueError, match=r'lr=0\.1.* there, .*lr=0\.2.* here'):
        fit(student(), DATA, loop_of(optimizer=Adagrad(0.2)), path)
    with pytest.raises(ValueError, match=r'\nseed: 0 there, 1 here$'):
        fit(student(), DATA, loop_of(), path, seed=1)
    other = FakeMMKG(30, 4, 200, seed=1)[0]
    with pytest.raises(ValueError, match=r'\ngraph: '):
        fit(student(), other, loop_of(), path)
    task = student()
    with torch.no_grad():
        task.ensemble['text'].get_parameter('relations')[0, 0] += 1
    with pytest.raises(ValueError, match='frozen modules: '):
        fit(task, DATA, loop_of(), path)
    ensemble = teachers().ensemble
    policy = paper_policy(ensemble, 16, 'exact', advantage=mean_advantage)
    with pytest.raises(ValueError, match=r'combiner: .*paper.*mean_advantage'):
        fit(student(combiner=policy), DATA, loop_of(), path)
    policy = paper_policy(ensemble, 32)
    with pytest.raises(ValueError, match=r'channels=16.*channels=32'):
        fit(student(combiner=policy), DATA, loop_of(), path)
    policy = paper_policy(ensemble, 16, lr=0.5)
    with pytest.raises(ValueError, match=r'lr=0\.001.*lr=0\.5'):
        fit(student(combiner=policy), DATA, loop_of(), path)
    net: Model = DistMult(EntityEmbedding(30, 8), 4)
    with pytest.raises(ValueError, match=r'student: ComplEx.*DistMult'):
        fit(student(net), DATA, loop_of(), path)
    net = ComplEx(EntityEmbedding(30, 8), 4, n3=0.5)
    with pytest.raises(ValueError, match=r'n3=0\.01.*n3=0\.5'):
        fit(student(net), DATA, loop_of(), path)
    # Where it runs and what it shows is no difference.
    fit(student(), DATA, loop_of(), path, progress=False)


class Weighed:
    """An objective that somebody wrote."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, step: Step) -> dict[str, Tensor]:
        return {'ce': self.weight * CrossEntropy()(step)['ce']}


def scaled(*ce: Tensor | None, by: float) -> Tensor:
    return by * paper_advantage(*ce)  # type: ignore[arg-type]


def test_what_somebody_wrote_belongs_to_the_run(tmp_path: Path) -> None:
    def made(weight: float) -> ModelTask:
        torch.manual_seed(0)
        objective = Weighed(weight)
        net = ComplEx(EntityEmbedding(30, 4), 4, objective=objective)
        return ModelTask(net)

    path = tmp_path / 'run.safetensors'
    fit(made(1.0), DATA, loop_of(), path)
    fit(made(1.0), DATA, loop_of(), path)
    with pytest.raises(ValueError, match=r'weight=1\.0.*weight=5\.0'):
        fit(made(5.0), DATA, loop_of(), path)
    # A partial says the same each time that it is made.
    reward = CrossEntropyReward(partial(scaled, by=2.0))
    assert repr(reward) == 'CrossEntropyReward(scaled(by=2.0))'


def test_who_is_asked_is_neither_trained_nor_kept(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    one, other = teachers().ensemble, teachers().ensemble
    with torch.no_grad():
        other['text'].get_parameter('relations')[0, 0] += 1
    before = deepcopy(other.state_dict())
    net = MetaLearner(one)
    fit(ModelTask(net), DATA, loop_of(), path)
    assert {name.partition('.')[0] for name in net.state_dict()} == {'mlp'}
    with pytest.raises(ValueError, match='frozen modules: '):
        fit(ModelTask(MetaLearner(other)), DATA, loop_of(), path)
    after = other.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_processes_go_on_with_the_same_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GPU each, whose generators stand in for those of torch."""
    gpus = [torch.Generator().manual_seed(at) for at in range(2)]
    here = [0]
    monkeypatch.setattr(TrainState, '_gpu', property(lambda _: here[0]))
    monkeypatch.setattr(
        torch.cuda, 'get_rng_state', lambda at: gpus[at].get_state()
    )
    monkeypatch.setattr(
        torch.cuda,
        'set_rng_state',
        lambda state, at: gpus[at].set_state(state),
    )
    net = ComplEx(EntityEmbedding(30, 4), 4)
    state = TrainState([net], [], torch.Generator())
    torch.randint(9, (5,), generator=gpus[0])
    saved = state.state_dict()
    drawn = torch.randint(99, (4,), generator=gpus[0])
    for at in range(2):
        here[0] = at
        state.load_state_dict(saved)
        again = torch.randint(99, (4,), generator=gpus[at])
        assert torch.equal(again, drawn)


def test_features_belong_to_the_run(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    fit(teachers(), DATA, loop_of(), path)
    task = teachers()
    task.ensemble['text'].get_buffer('entities.x')[3, 0] += 1
    with pytest.raises(ValueError, match='fixed features: '):
        fit(task, DATA, loop_of(), path)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 16
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b'')


@pytest.mark.parametrize('harm', [damage, cut, empty])
def test_a_damaged_file_is_named(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = tmp_path / 'run.safetensors'
    fit(model(), DATA, Loop(epochs=1), path)
    harm(path)
    with pytest.raises(ValueError, match=r'run\.safetensors .* delete it'):
        fit(model(), DATA, Loop(epochs=1), path)


@pytest.mark.parametrize('harm', [damage, cut, empty, Path.unlink])
@pytest.mark.parametrize('eval_every', [0, 1])
def test_a_damaged_file_costs_one_epoch(
    tmp_path: Path, harm: Callable[[Path], None], eval_every: int
) -> None:
    path = tmp_path / 'run.safetensors'
    previous = tmp_path / 'run.previous.safetensors'
    loop = loop_of(eval_every=eval_every, patience=10)
    whole = model()
    expected = fit(whole, DATA, loop)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(3, patch)
        with pytest.raises(Killed):
            fit(model(), DATA, loop, path)
    harm(path)
    # Twice in a row: what is damaged does not take the place of the other.
    for epoch in (2, 3):
        with pytest.MonkeyPatch.context() as patch:
            kill_after(epoch, patch)
            with (
                pytest.raises(Killed),
                pytest.warns(UserWarning, match='goes on from the epoch befo'),
            ):
                fit(model(), DATA, loop, path)
        assert previous.exists()
        if epoch == 3:
            harm(path)
    again = model()
    with pytest.warns(UserWarning, match=r'run\.safetensors is .*previous'):
        result = fit(again, DATA, loop, path)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)
    # Its work is done; nothing to warn of.
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert fit(model(), DATA, loop, path) == result


def test_both_files_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    previous = tmp_path / 'run.previous.safetensors'
    with pytest.MonkeyPatch.context() as patch:
        kill_after(2, patch)
        with pytest.raises(Killed):
            fit(model(), DATA, loop_of(), path)
    for file in (path, previous):
        damage(file)
    message = r'delete .*run\.safetensors and .*run\.previous\.safetensors to'
    with pytest.raises(ValueError, match=message):
        fit(model(), DATA, loop_of(), path)


class Meanwhile(ModelTask):
    """Something happens while it trains, in one of its epochs."""

    def __init__(self, what: Callable[[], object], epoch: int = 1) -> None:
        super().__init__(model().model)
        self.what, self.calls, self.epoch = what, 0, epoch

    def step(self, batch: QueryBatch, precision: str) -> Any:
        self.calls += 1
        # Of 64 queries each.
        batches = -(-len(GRAPH.index('train')) // 64)
        if self.calls == (self.epoch - 1) * batches + 2:
            self.what()
        return super().step(batch, precision)


def test_two_runs_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    said = []

    def another(seed: int) -> None:
        with pytest.raises(ValueError, match='is writing') as caught:
            fit(model(), DATA, loop_of(), path, seed=seed)
        said.append(str(caught.value))

    def others() -> None:
        another(1)
        another(0)

    first, alone = Meanwhile(others), Meanwhile(list)
    fit(first, DATA, loop_of(), path)
    fit(alone, DATA, loop_of())
    assert_equal(first, alone)
    assert 'seed: 0 there, 1 here' in said[0]
    assert 'choose another folder' in said[0]
    assert f'process {os.getpid()} on ' in said[1]
    assert 'seed' not in said[1]
    assert 'wait until it has ended' in said[1]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('text', ['', '[1]', '{"x": 1}', '{"identity": 5}'])
def test_a_lock_that_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'run.safetensors'

    def another() -> None:
        (tmp_path / '.run.safetensors.lock').write_text(text)
        with pytest.raises(ValueError, match='another process is writing'):
            fit(model(), DATA, loop_of(), path)

    fit(Meanwhile(another), DATA, loop_of(), path)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='is a folder; name a file'):
        fit(model(), DATA, loop_of(), tmp_path)


def test_the_lock_of_a_killed_run_holds_nobody(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    child = os.fork()
    if child == 0:
        try:
            kill = partial(os.kill, os.getpid(), signal.SIGKILL)
            fit(Meanwhile(kill, 3), DATA, loop_of(), path)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 3
    whole, again = Meanwhile(list), Meanwhile(list)
    expected = fit(whole, DATA, loop_of())
    result = fit(again, DATA, loop_of(), path)
    assert_equal(whole, again)
    assert without_time(result) == without_time(expected)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('epoch', [1, 3])
@pytest.mark.parametrize('saved', [True, False])
def test_an_interrupted_run_says_what_is_saved(
    tmp_path: Path, epoch: int, saved: bool
) -> None:
    path = tmp_path / 'run.safetensors' if saved else None

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(Meanwhile(interrupt, epoch), DATA, loop_of(), path)
    said = str(caught.value)
    assert said.startswith('model: training was interrupted')
    assert '\n' not in said
    assert 'run the same again to go on' in said
    if not saved:
        assert 'nothing is saved' in said
        return
    assert ('epoch 2 is saved' if epoch == 3 else 'no epoch is saved') in said
    assert "run.safetensors'" in said
    whole, again = Meanwhile(list), Meanwhile(list)
    fit(whole, DATA, loop_of())
    fit(again, DATA, loop_of(), path)
    assert_equal(whole, again)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    with pytest.MonkeyPatch.context() as patch:
        fill = partial(patch.setattr, 'dsom_pyg.files.save_file', full)
        with pytest.raises(NotWritten) as caught:
            fit(Meanwhile(fill, 4), DATA, loop_of(), path)
    said = str(caught.value)
    for words in ('model: ', 'disk is full', 'make room', 'epoch 3 is saved'):
        assert words in said
    whole, again = Meanwhile(list), Meanwhile(list)
    fit(whole, DATA, loop_of())
    fit(again, DATA, loop_of(), path)
    assert_equal(whole, again)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES])
def test_a_folder_that_is_read_only(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tmp_path / 'ended.safetensors'
    expected = fit(model(), DATA, loop_of(), ended)

    def closed(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ('os.open', 'os.replace', 'os.mkdir', 'pathlib.Path.unlink'):
        monkeypatch.setattr(name, closed)
    # What has ended can be read.
    assert fit(model(), DATA, loop_of(), ended) == expected
    # Nothing else is trained in vain.
    task = Meanwhile(list)
    with pytest.raises(NotWritten, match=r'model: .*choose a folder'):
        fit(task, DATA, loop_of(), tmp_path / 'new.safetensors')
    assert task.calls == 0


@pytest.mark.parametrize('header', [{}, {'format': 'dsom_pyg-run-1'}])
def test_a_file_of_another_format_is_named(
    tmp_path: Path, header: dict[str, str]
) -> None:
    path = tmp_path / 'run.safetensors'
    save_tensors(path, {'x': torch.zeros(1)}, header)
    with pytest.raises(ValueError, match=r"expected 'dsom_pyg-run-3'.*delete"):
        fit(model(), DATA, Loop(epochs=1), path)


def test_the_last_good_epoch_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'run.safetensors'
    good = model()
    with pytest.MonkeyPatch.context() as patch:
        kill_after(2, patch)
        with pytest.raises(Killed):
            fit(good, DATA, loop_of(), path)
    before = path.read_bytes()
    step = ModelTask.step

    def broken(self: ModelTask, *words: Any) -> Any:
        return {k: v * torch.nan for k, v in step(self, *words).items()}

    monkeypatch.setattr(ModelTask, 'step', broken)
    with pytest.raises(FloatingPointError, match='epoch 3'):
        fit(model(), DATA, loop_of(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ('other', 'why'),
    [
        (lambda: JointEmbedding(GRAPH.features, 8, scale=1.0), 'scale=1.0'),
        (lambda: JointEmbedding(GRAPH.features, 8).double(), 'float64'),
        (
            lambda: JointEmbedding(GRAPH.features, 8).requires_grad_(False),
            'frozen',
        ),
        (lambda: JointEmbedding(GRAPH.features, 8), ''),
    ],
)
def test_what_modules_of_torch_contain_tells_runs_apart(
    other: Callable[[], EntityModule], why: str, tmp_path: Path
) -> None:
    path = tmp_path / 'run.safetensors'
    loop = Loop(epochs=1, batch_size=50)

    def run(entities: EntityModule) -> FitResult:
        return fit(ModelTask(ComplEx(entities, 4)), DATA, loop, path)

    run(JointEmbedding(GRAPH.features, 8))
    if not why:
        assert len(run(other()).history) == 1
        return
    with pytest.raises(ValueError, match=f'details: .*there, .*{why}'):
        run(other())


class Scaled(ComplEx):
    def __init__(self, scales: Any) -> None:
        super().__init__(EntityEmbedding(30, 4), 4)
        self.scales, self._cache = scales, [scales]


@pytest.mark.parametrize(
    ('before', 'now'),
    [
        ((1.0,), (4.0,)),
        ([1.0], [4.0]),
        ({'a': 1}, {'a': 4}),
        (None, (4.0,)),
        (np.int64(1), np.int64(4)),
        (torch.ones(2), torch.zeros(2)),
        ([1] * 999, [1] * 999 + [2]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_public_attributes_of_any_kind_tell_runs_apart(
    before: object, now: object, tmp_path: Path
) -> None:
    path, loop = tmp_path / 'run.safetensors', Loop(epochs=1, batch_size=50)
    fit(ModelTask(Scaled(before)), DATA, loop, path)
    assert len(fit(ModelTask(Scaled(before)), DATA, loop, path).history) == 1
    with pytest.raises(ValueError, match=r'attributes: scales=.* here'):
        fit(ModelTask(Scaled(now)), DATA, loop, path)


class Fixed(Combiner):
    def __init__(self, shares: list[float]) -> None:
        super().__init__()
        # A word that models have for modules which they ask.
        self.asked = shares
        self.unused = nn.Parameter(torch.zeros(1), requires_grad=False)

    def weights(self, answers: Answers) -> Tensor:
        return torch.tensor([self.asked]).expand(len(answers), -1)


def test_what_changes_in_training_has_a_name_of_its_own(
    tmp_path: Path,
) -> None:
    path, loop = tmp_path / 'run.safetensors', Loop(epochs=1, batch_size=50)
    net = Scaled([1.0])
    fit(ModelTask(net), DATA, loop, path)
    net._cache.append(torch.ones(2))
    assert len(fit(ModelTask(net), DATA, loop, path).history) == 1
    net.scales.append(2.0)
    with pytest.raises(ValueError, match="in training begins with '_'"):
        fit(ModelTask(net), DATA, loop, path)


def test_what_an_address_alone_tells_is_no_option(tmp_path: Path) -> None:
    path, loop = tmp_path / 'run.safetensors', Loop(epochs=1, batch_size=50)
    for stream in [(at for at in ()), (at for at in ())]:
        task = ModelTask(Scaled([stream]))
        assert len(fit(task, DATA, loop, path).history) == 1


def test_modules_that_a_model_asks_are_no_options(tmp_path: Path) -> None:
    path, loop = tmp_path / 'run.safetensors', Loop(epochs=1, batch_size=50)
    net = MetaLearner(teachers().ensemble)
    fit(ModelTask(net), DATA, loop, path)
    said = json.loads(load_tensors(path, hashed=True)[1]['identity'])
    assert said['attributes'] == []


def test_attributes_of_a_combiner_tell_students_apart(tmp_path: Path) -> None:
    path, loop = tmp_path / 'run.safetensors', Loop(epochs=1, batch_size=50)

    count = len(teachers().ensemble)

    def run(chosen: int) -> FitResult:
        shares = [float(at == chosen) for at in range(count)]
        return fit(student(combiner=Fixed(shares)), DATA, loop, path)

    run(0)
    assert len(run(0).history) == 1
    with pytest.raises(ValueError, match=r'attributes: asked=\[1.0, 0.0'):
        run(1)


def test_files_of_before_know_no_details(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    loop = Loop(epochs=1, batch_size=50)
    fit(model(), DATA, loop, path)
    tensors, header = load_tensors(path, hashed=True)
    said = json.loads(header['identity'])
    assert said.pop('details') == [
        'relations: float32 [8, 16]',
        'entities.weight: float32 [30, 16]',
    ]
    assert said.pop('attributes') == []
    header = {k: v for k, v in header.items() if k != 'sha256'}
    save_tensors(path, tensors, header | {'identity': json.dumps(said)})
    assert len(fit(model(), DATA, loop, path).history) == 1
