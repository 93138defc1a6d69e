"""What a policy reads of frozen teachers is read once, and is the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.losses import gain_advantage
from dsom_pyg.models import ComplEx
from dsom_pyg.query_index import Pairs
from dsom_pyg.stages import Teachers
from dsom_pyg.teachers import (
    Answers,
    Combiner,
    CompactState,
    CrossEntropyReward,
    LogitState,
    Policy,
    RankReward,
    Reward,
    State,
    TeacherEnsemble,
    subsets,
)
from dsom_pyg.training import (
    Fold,
    KFolds,
    Loop,
    PolicyTask,
    fit,
    held_graph,
)

GRAPH = KG(FakeMMKG(20, 4, 120)[0])
TEACHERS = Teachers(channels=8, structure=ComplEx, joint=False)
PAIRS = 2 * GRAPH.triples('train').edge_type.numel()


def folds_of(k: int = 2) -> list[Fold]:
    folds = []
    for seed, (rest, held) in enumerate(KFolds(k).parts(GRAPH, 0)):
        ensemble = TEACHERS.build(GRAPH, seed).eval()
        for p in ensemble.parameters():
            torch.nn.init.normal_(p, std=0.5)
        folds.append(Fold(ensemble, rest, held))
    return folds


class Surer(Combiner):
    """A base of one's own: the surer a teacher, the more it weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def weights(self, answers: Answers) -> Tensor:
        self.asked += len(answers)
        best = [x.softmax(dim=1).amax(dim=1) for x in answers.each]
        return torch.stack(best, dim=1)


class Best(State):
    """A state of one's own, which knows nothing of what is kept."""

    def __init__(self, ensemble: TeacherEnsemble) -> None:
        super().__init__(len(ensemble))
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.asked: list[int] = []

    @classmethod
    def for_teachers(cls, ensemble: TeacherEnsemble, graph: KG) -> State:
        return cls(ensemble)

    def forward(self, answers: Answers) -> Tensor:
        self.asked.append(len(answers) if self.training else 0)
        best = [x.amax(dim=1) for x in answers.each]
        return self.scale * torch.stack(best, dim=1)


class KeptBest(Best):
    """The same, one line longer."""

    def forward(self, answers: Answers) -> Tensor:
        return self.scale * answers.once(self, lambda: self.best(answers))

    def best(self, answers: Answers) -> Tensor:
        self.asked.append(len(answers))
        return torch.stack([x.amax(dim=1) for x in answers.each], dim=1)


class AnewInEveryStep(Policy):
    """What a policy did before anything was kept."""

    def read(self, answers: Answers, targets: Pairs) -> None:
        pass


class Likes:
    """A reward of one's own."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(
        self, actions: Tensor, answers: Answers, targets: Pairs, *_: Any
    ) -> Tensor:
        self.asked += targets.row.numel()
        own = [x[targets.row, targets.tail] for x in answers.each]
        return torch.stack(own, dim=1) @ actions.t()


def compact() -> State:
    return CompactState(3, 4, GRAPH.degree, k=4, relation_channels=5)


def policy(
    kind: type[Policy] = Policy,
    state: Callable[[], State] = compact,
    reward: Reward | None = None,
    decision: str = 'mean',
    estimator: str = 'exact',
    base: Combiner | None = None,
) -> Policy:
    torch.manual_seed(0)
    return kind(
        state(),
        subsets(3),
        reward or RankReward(),
        decision,
        estimator,
        base,
        mask_missing=True,
        prior=1.0,
        kl=0.5,
        mlp_channels=16,
        dropout=0.2,
        lr=0.01,
    )


def learn(
    learner: Policy, batch_by: str = 'queries', epochs: int = 2, k: int = 2
) -> list[dict[str, float]]:
    folds = folds_of(k)
    loop = Loop(epochs=epochs, batch_size=60, batch_by=batch_by)
    graph = held_graph(GRAPH, folds)
    history = fit(PolicyTask(folds, learner), graph, loop).history
    return [{k: v for k, v in r.items() if k != 'seconds'} for r in history]


CASES: dict[str, dict[str, Any]] = {
    'as in the default recipe': {},
    'a base': {'base': Surer},
    'sampled': {'estimator': 'sampled', 'base': Surer},
    'best': {'decision': 'best'},
    'the reward of the paper': {
        'reward': lambda: CrossEntropyReward(gain_advantage),
        'base': Surer,
    },
    'an action that is drawn': {'decision': 'sample', 'base': Surer},
    'drawn and rewarded': {'decision': 'sample', 'estimator': 'sampled'},
    'logits as they are': {'state': lambda: LogitState(3, 20)},
    'a state and a reward of its own': {
        'state': lambda: KeptBest(TEACHERS.build(GRAPH, 0)),
        'reward': Likes,
    },
}


@pytest.mark.parametrize(
    ('name', 'batch_by'),
    [*((name, 'queries') for name in CASES), ('sampled', 'triples')],
)
def test_it_learns_as_if_everything_were_read_anew(
    name: str, batch_by: str
) -> None:
    runs = []
    for kind in (Policy, AnewInEveryStep):
        words = dict(CASES[name])
        for part in ('base', 'reward'):
            if part in words:
                words[part] = words[part]()
        learner = policy(kind, **words)
        runs.append((learner, learn(learner, batch_by)))
    (one, history), (two, expected) = runs
    for record, other in zip(history, expected, strict=True):
        assert record == pytest.approx(other, rel=1e-4, abs=1e-5)
    before = policy(**{**words, 'base': None}).state_dict()
    state = two.state_dict()
    for key, value in one.state_dict().items():
        assert torch.allclose(value, state[key], rtol=1e-3, atol=1e-4), key
    assert not torch.allclose(before['mlp.0.weight'], state['mlp.0.weight'])


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_everything_is_read_once(
    batch_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    each = TeacherEnsemble.each

    def counted(self: TeacherEnsemble, head: Tensor, *rest: Any, **w: Any):  # type: ignore[no-untyped-def]
        asked.append(len(head))
        return each(self, head, *rest, **w)

    monkeypatch.setattr(TeacherEnsemble, 'each', counted)
    base, reward = Surer(), Likes()
    learner = policy(reward=reward, base=base)
    learn(learner, batch_by)
    queries = sum(len(fold.held_index) for fold in folds_of())
    assert sum(asked) == base.asked == queries
    assert reward.asked == PAIRS
    # What is looked at before training is no part of its moments.
    state = learner.state
    assert isinstance(state, CompactState)
    per_epoch = queries if batch_by == 'queries' else PAIRS
    assert state.count == 2 * per_epoch


# The first action, with which it is compared, is rewarded once.
@pytest.mark.parametrize(('decision', 'times'), [('mean', 1), ('sample', 4)])
def test_an_action_that_is_drawn_is_rewarded_then(
    decision: str, times: int
) -> None:
    reward = Likes()
    words: dict[str, Any] = {'decision': decision, 'estimator': 'sampled'}
    learn(policy(reward=reward, **words), epochs=3)
    assert reward.asked == times * PAIRS


def test_a_state_of_ones_own_is_asked_in_every_epoch() -> None:
    state = Best(TEACHERS.build(GRAPH, 0))
    learn(policy(state=lambda: state), epochs=2)
    queries = sum(len(fold.held_index) for fold in folds_of())
    assert sum(state.asked) == 2 * queries
    # It learns as well.
    assert state.scale != 1.0
    kept = KeptBest(TEACHERS.build(GRAPH, 0))
    learn(policy(state=lambda: kept), epochs=2)
    assert sum(kept.asked) == queries
    assert torch.allclose(kept.scale, state.scale, atol=1e-5)


def test_nothing_kept_is_as_wide_as_the_graph() -> None:
    for state in (compact(), LogitState(3, 20)):
        learner = policy(state=lambda state=state: state, base=Surer())  # type: ignore[misc]
        folds = folds_of()
        task = PolicyTask(folds, learner)
        graph = held_graph(GRAPH, folds)
        fit(task, graph, Loop(epochs=1))
        for judge, fold in zip(task._judges, folds, strict=True):
            kept = judge.kept
            rows = len(fold.held_index), fold.held_index.tail.numel()
            wide = {3} if isinstance(state, LogitState) else {3, 54}
            assert {t.size(1) for t in kept.of_queries.values()} == wide
            assert {t.size(0) for t in kept.of_queries.values()} == {rows[0]}
            (rewards,) = kept.of_pairs.values()
            assert rewards.shape == (rows[1], 7)
            assert not rewards.requires_grad


def test_a_second_training_reads_anew() -> None:
    folds, learner = folds_of(), policy()
    task, graph = PolicyTask(folds, learner), held_graph(GRAPH, folds)
    first = fit(task, graph, Loop(epochs=1)).history[0]['reward']
    for fold in folds:
        for p in fold.ensemble.parameters():
            torch.nn.init.normal_(p, std=3.0)
    again = fit(task, graph, Loop(epochs=1)).history[0]['reward']
    fresh = fit(PolicyTask(folds, policy()), graph, Loop(epochs=1))
    assert abs(first - again) > 0.5
    assert again == pytest.approx(fresh.history[0]['reward'], abs=0.5)


def test_once() -> None:
    answers = Answers(TEACHERS.build(GRAPH, 0), *torch.zeros(2, 5).long())
    made = []
    weight = torch.ones(5, 1, requires_grad=True)

    def make() -> Tensor:
        made.append(1)
        return 2 * weight

    for owner in ('a', 'b', 'a'):
        assert not answers.once(owner, make).requires_grad
    assert len(made) == 2
    assert answers.once('a', lambda: -weight, of_pairs=True)[0] == -1
    assert len(made) == 2
