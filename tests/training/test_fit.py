import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import (
    EDGE,
    Triples,
    get_split,
    make_data,
    modalities,
    num_entities,
    num_relations,
    pool_features,
    set_split,
)
from dsom_pyg.losses import mean_advantage
from dsom_pyg.nn import (
    ComplEx,
    DistMult,
    EntityEmbedding,
    MeanCombiner,
    ReinforcedCombiner,
    TeacherEnsemble,
)
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    ModelTask,
    PolicyTask,
    QueryLoader,
    Task,
    TeachersTask,
    fit,
    model_step,
    train_index,
)

DATA = FakeMMKG(30, 4, 200)[0]
GOLDEN = Path(__file__).parent / 'golden.json'


def model(seed: int = 0, channels: int = 8) -> ComplEx:
    torch.manual_seed(seed)
    table = EntityEmbedding(num_entities(DATA), channels)
    return ComplEx(table, num_relations(DATA))


def teachers(seed: int = 0) -> TeacherEnsemble:
    torch.manual_seed(seed)
    features = {name: pool_features(DATA, name) for name in modalities(DATA)}
    return TeacherEnsemble.from_features(
        features, num_entities(DATA), num_relations(DATA), 8
    )


def distill(
    batch_by: str = 'queries', **words: object
) -> tuple[ComplEx, dict[str, list[float]]]:
    frozen, student = teachers(), model(1)
    fit(TeachersTask(frozen), DATA, FitConfig(epochs=3, batch_size=20))
    torch.manual_seed(0)
    policy = ReinforcedCombiner.for_ensemble(frozen, 16, mask_missing=True)
    before = [p.clone() for p in frozen.parameters()]
    task = DistillTask(student, frozen, policy, DistillConfig(**words))  # type: ignore[arg-type]
    config = FitConfig(epochs=5, batch_size=20, batch_by=batch_by)
    result = fit(task, DATA, config)
    for old, new in zip(before, frozen.parameters(), strict=True):
        assert torch.equal(old, new)
    assert not any(m.training for m in frozen.modules())
    keys = result.history[0].keys() - {'seconds', 'epoch'}
    return student, {
        key: [epoch[key] for epoch in result.history] for key in sorted(keys)
    }


def test_objective_of_a_query_batch_is_that_of_its_triples() -> None:
    index = train_index(DATA)
    net = model()
    nn.init.normal_(net.relations)
    nn.init.normal_(net.entities.weight)
    everything = 10_000
    grads, losses = [], []
    for batch_by in ('queries', 'triples'):
        (batch,) = QueryLoader(index, everything, batch_by)
        net.zero_grad()
        _, ce, penalty = model_step(net, batch, 0.01, 'fp32')
        (ce + penalty).backward()
        losses.append((ce.item(), penalty.item()))
        grads.append([p.grad.clone() for p in net.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_distillation_of_a_query_batch_is_that_of_its_triples() -> None:
    frozen, student = teachers(), model(1)
    for p in (*frozen.parameters(), *student.parameters()):
        nn.init.normal_(p)
    task = DistillTask(student, frozen, MeanCombiner())
    index, losses = train_index(DATA), []
    for batch_by in ('queries', 'triples'):
        (batch,) = QueryLoader(index, 10_000, batch_by)
        terms = task.step(batch, 'fp32')
        losses.append([terms[k].item() for k in ('loss', 'ce', 'ndkd')])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize('score', [ComplEx, DistMult])
@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_a_model_learns_its_training_triples(score, batch_by: str) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = score(EntityEmbedding(30, 16), 4)
    seen = Triples(*get_split(DATA, 'train'))
    known = make_data(30, 4, seen, None, seen)
    before = evaluate(net, known).mrr()
    config = FitConfig(epochs=30, batch_size=50, batch_by=batch_by)
    result = fit(ModelTask(net, n3=0.0), DATA, config)
    losses = [epoch['loss'] for epoch in result.history]
    assert losses[-1] < 0.6 * losses[0]
    assert evaluate(net, known).mrr() > max(0.8, 2 * before)
    assert result.selection == 'last epoch'
    assert result.best_epoch == 30
    assert result.config['precision'] in ('fp32', 'bf16')


def test_joint_teachers_equal_separate_ones() -> None:
    together, apart = teachers(), teachers()
    config = FitConfig(epochs=2, batch_size=20, precision='fp32')
    fit(TeachersTask(together), DATA, config)
    for name in apart.modalities:
        fit(ModelTask(apart[name]), DATA, config)
    for a, b in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_every_teacher_may_have_its_own_regulariser() -> None:
    frozen = teachers()
    task = TeachersTask(frozen, {'structure': 0.0, 'image': 1.0, 'text': 0.0})
    (batch,) = QueryLoader(train_index(DATA), 10_000)
    plain = TeachersTask(frozen, 0.0).step(batch, 'fp32')
    mine = task.step(batch, 'fp32')
    assert mine['text'].item() == plain['text'].item()
    assert mine['image'].item() > plain['image'].item()
    with pytest.raises(ValueError, match="'sound'"):
        TeachersTask(frozen, {'sound': 0.1})


def test_distillation_moves_the_student_towards_its_teachers() -> None:
    frozen, student = teachers(), model(1)
    fit(TeachersTask(frozen), DATA, FitConfig(epochs=3, batch_size=20))
    objective = DistillConfig(gamma=50.0, n3=0.0)
    task = DistillTask(student, frozen, MeanCombiner(), objective)
    history = fit(task, DATA, FitConfig(epochs=20, batch_size=20)).history
    assert history[-1]['ndkd'] < 0.4 * history[0]['ndkd']


def test_what_a_policy_reports() -> None:
    _, history = distill()
    assert -10 <= history['reward'][-1] <= 1
    assert -11 <= history['advantage'][-1] <= 11
    shares = {k: v[-1] for k, v in history.items() if k.startswith('share')}
    assert len(shares) == 7
    assert 'share structure+image+text' in shares
    assert sum(shares.values()) == pytest.approx(1.0)


def test_tau_squared_scales_distillation() -> None:
    frozen, student = teachers(), model(1)
    (batch,) = QueryLoader(train_index(DATA), 10_000)
    values = []
    for scale in (False, True):
        config = DistillConfig(scale_tau=scale, tau=3.0)
        task = DistillTask(student, frozen, MeanCombiner(), config)
        values.append(task.step(batch, 'fp32')['ndkd'].item())
    assert values[1] == pytest.approx(9 * values[0])


def test_teachers_take_no_gradient_and_policy_none_from_the_student() -> None:
    frozen, student = teachers(), model(1)
    policy = ReinforcedCombiner.for_ensemble(frozen, 8)
    task = DistillTask(student, frozen, policy)
    (batch,) = QueryLoader(train_index(DATA), 10_000)
    terms = task.step(batch, 'fp32')
    (terms['ce'] + terms['n3'] + terms['ndkd']).backward()
    assert all(p.grad is None for p in policy.parameters())
    assert all(p.grad is None for p in frozen.parameters())
    student.zero_grad()
    task.step(batch, 'fp32')['rc'].backward()
    assert all(p.grad is None for p in student.parameters())
    assert any(p.grad is not None for p in policy.parameters())


def test_a_policy_learns_without_a_student() -> None:
    frozen = teachers()
    fit(TeachersTask(frozen), DATA, FitConfig(epochs=3, batch_size=20))
    policy = ReinforcedCombiner.for_ensemble(
        frozen, 16, advantage=mean_advantage
    )
    task = PolicyTask(frozen, policy)
    result = fit(task, DATA, FitConfig(epochs=15, batch_size=20))
    advantage = [epoch['advantage'] for epoch in result.history]
    assert advantage[-1] > advantage[0]
    task = PolicyTask(frozen, MeanCombiner())
    with pytest.raises(ValueError, match='nothing to train'):
        fit(task, DATA, FitConfig(epochs=1))


def test_same_seed_same_result() -> None:
    runs = []
    for state in (123, 456):
        frozen, student = teachers(), model(1)
        policy = ReinforcedCombiner.for_ensemble(frozen, 16)
        torch.manual_seed(state)  # the global state must not matter
        task = DistillTask(student, frozen, policy)
        result = fit(task, DATA, FitConfig(epochs=3, batch_size=20))
        history = [
            {k: v for k, v in epoch.items() if k != 'seconds'}
            for epoch in result.history
        ]
        runs.append((history, [p.clone() for p in student.parameters()]))
        assert result.config['gamma'] == 2.0
        assert result.config['combiner'].startswith('ReinforcedCombiner(')
    assert runs[0][0] == runs[1][0]
    for a, b in zip(runs[0][1], runs[1][1], strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    net = model()
    torch.manual_seed(5)
    fit(ModelTask(net), DATA, FitConfig(epochs=1))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_losses_are_the_stored_ones(batch_by: str) -> None:
    """Regenerate with a line in the changelog: delete golden.json, run."""
    frozen, student = teachers(), model(1)
    config = FitConfig(
        epochs=5, batch_size=20, batch_by=batch_by, precision='fp32'
    )
    runs: dict[str, Task] = {'teachers': TeachersTask(frozen)}
    # No policy: a sampled action may flip where a CPU rounds otherwise.
    runs['student'] = DistillTask(student, frozen, MeanCombiner())
    losses = {
        name: [epoch['loss'] for epoch in fit(task, DATA, config).history]
        for name, task in runs.items()
    }
    stored = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if batch_by not in stored:
        stored[batch_by] = losses
        GOLDEN.write_text(json.dumps(stored, indent=1) + '\n')
        pytest.fail('golden.json was missing and has been written')
    for name, values in losses.items():
        assert values == pytest.approx(stored[batch_by][name], rel=1e-3)


def test_early_stopping_keeps_the_best_epoch() -> None:
    net = model()
    config = FitConfig(epochs=40, batch_size=20, eval_every=2, patience=2)
    result = fit(ModelTask(net, n3=0.0), DATA, config)
    seen = {
        epoch['epoch']: epoch['val_mrr']
        for epoch in result.history
        if 'val_mrr' in epoch
    }
    best = max(seen, key=lambda epoch: seen[epoch])
    assert result.best_epoch == best
    assert result.selection == 'best filtered validation MRR'
    assert len(result.history) == min(40, best + 4)
    again = evaluate(net, DATA, 'val', filter_splits=('train', 'val'))
    assert again.mrr() == pytest.approx(seen[best])


def test_the_last_epoch_is_evaluated_too() -> None:
    config = FitConfig(epochs=3, batch_size=20, eval_every=2)
    history = fit(ModelTask(model()), DATA, config).history
    assert ['val_mrr' in epoch for epoch in history] == [False, True, True]


def test_training_never_reads_test() -> None:
    with_test = FakeMMKG(30, 4, 200)[0]
    without = FakeMMKG(30, 4, 200)[0]
    nothing = torch.zeros(
        get_split(without, 'test').edge_type.numel(), dtype=torch.bool
    )
    set_split(without, 'test', get_split(without, 'test').select(nothing))
    runs = []
    for data in (with_test, without):
        net = model()
        config = FitConfig(epochs=4, batch_size=20, eval_every=1)
        history = fit(ModelTask(net), data, config).history
        runs.append([(e['loss'], e['val_mrr']) for e in history])
    assert runs[0] == runs[1]
    # And it would not even notice that the split is gone.
    del without[EDGE].test_edge_index
    del without[EDGE].test_edge_type
    fit(ModelTask(model()), without, FitConfig(epochs=1, eval_every=1))


def test_validation_is_needed_for_early_stopping() -> None:
    train = get_split(DATA, 'train')
    data = make_data(30, 4, train)
    with pytest.raises(ValueError, match='needs validation triples'):
        fit(ModelTask(model()), data, FitConfig(eval_every=1))


def test_a_loss_that_is_not_finite_stops() -> None:
    net = model()
    net.relations.data[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"'loss' is nan in epoch 1"):
        fit(ModelTask(net, name='mine'), DATA, FitConfig(epochs=2))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ({'epochs': 0}, 'epochs must be positive'),
        ({'precision': 'fp16'}, "got 'fp16'"),
    ],
)
def test_bad_settings(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(**words)  # type: ignore[arg-type]


def test_unseen_relation_and_structure_only() -> None:
    # Relation 1 has no training triple, entity 4 neither; no features.
    train = Triples(
        torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.zeros(3).long()
    )
    test = Triples(torch.tensor([[4], [0]]), torch.tensor([1]))
    data = make_data(5, 2, train, None, test)
    assert modalities(data) == []
    torch.manual_seed(0)
    only = TeacherEnsemble.from_features({}, 5, 2, 4)
    fit(TeachersTask(only), data, FitConfig(epochs=2, batch_size=1))
    student = ComplEx(EntityEmbedding(5, 4), 2)
    policy = ReinforcedCombiner.for_ensemble(only, 8)
    task = DistillTask(student, only, policy)
    fit(task, data, FitConfig(epochs=2, batch_size=1))
    result = evaluate(student, data)
    assert len(result) == 2
    assert ((result.ranks() >= 1) & (result.ranks() <= 5)).all()


def test_bf16_trains_to_nearly_the_same_loss() -> None:
    losses = []
    for precision in ('fp32', 'bf16'):
        config = FitConfig(epochs=5, batch_size=20, precision=precision)
        losses.append(fit(ModelTask(model()), DATA, config).history[-1])
    assert losses[0]['loss'] == pytest.approx(losses[1]['loss'], rel=0.05)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors: more threads only wait
    yield
    torch.set_num_threads(before)
