import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Before bitsandbytes, or PyKEEN takes the optimisers of both for one.
import pykeen.optimizers  # noqa: F401
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
    set_split,
)
from dsom_pyg.kg import KG
from dsom_pyg.losses import mean_advantage
from dsom_pyg.models import (
    ComplEx,
    CrossEntropy,
    DistMult,
    EntityEmbedding,
)
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import (
    CrossEntropyReward,
    LogitState,
    Mean,
    Policy,
    TeacherEnsemble,
    Weighted,
    paper_policy,
    subsets,
)
from dsom_pyg.training import (
    Adagrad,
    Adam,
    Adam8bit,
    Distill,
    DistillTask,
    Fold,
    Loop,
    ModelTask,
    OneFold,
    PolicyTask,
    QueryLoader,
    RowwiseAdagrad,
    Task,
    TeachersTask,
    fit,
    held_graph,
)

DATA = FakeMMKG(30, 4, 200)[0]
GRAPH = KG(DATA)
GOLDEN = Path(__file__).parent / 'golden.json'


def model(seed: int = 0, channels: int = 8, n3: float = 0.01) -> ComplEx:
    torch.manual_seed(seed)
    return ComplEx(EntityEmbedding(30, channels), 4, n3)


def teachers(seed: int = 0, **words: object) -> TeacherEnsemble:
    torch.manual_seed(seed)
    return TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8, **words)  # type: ignore[arg-type]


def distill(
    batch_by: str = 'queries', **words: object
) -> tuple[ComplEx, dict[str, list[float]]]:
    frozen, student = teachers(), model(1)
    fit(TeachersTask(frozen), DATA, Loop(epochs=3, batch_size=20))
    torch.manual_seed(0)
    policy = paper_policy(frozen, 16, mask_missing=True)
    before = [p.clone() for p in frozen.parameters()]
    task = DistillTask(student, frozen, policy, Distill(**words))  # type: ignore[arg-type]
    loop = Loop(epochs=5, batch_size=20, batch_by=batch_by)
    result = fit(task, DATA, loop)
    for old, new in zip(before, frozen.parameters(), strict=True):
        assert torch.equal(old, new)
    assert not any(m.training for m in frozen.modules())
    keys = result.history[0].keys() - {'seconds', 'epoch'}
    return student, {
        key: [epoch[key] for epoch in result.history] for key in sorted(keys)
    }


def test_objective_of_a_query_batch_is_that_of_its_triples() -> None:
    index = GRAPH.index('train')
    net = model()
    nn.init.normal_(net.relations)
    nn.init.normal_(net.entities.weight)
    everything = 10_000
    grads, losses = [], []
    for batch_by in ('queries', 'triples'):
        (batch,) = QueryLoader(index, everything, batch_by)
        net.zero_grad()
        terms = net.loss(batch, 'fp32')
        (terms['ce'] + terms['n3']).backward()
        losses.append((terms['ce'].item(), terms['n3'].item()))
        grads.append([p.grad.clone() for p in net.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_distillation_of_a_query_batch_is_that_of_its_triples() -> None:
    frozen, student = teachers(), model(1)
    for p in (*frozen.parameters(), *student.parameters()):
        nn.init.normal_(p)
    task = DistillTask(student, frozen, Mean())
    index, losses = GRAPH.index('train'), []
    for batch_by in ('queries', 'triples'):
        (batch,) = QueryLoader(index, 10_000, batch_by)
        terms = task.step(batch, 'fp32')
        losses.append([terms[k].item() for k in ('loss', 'ce', 'ndkd')])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize('score', [ComplEx, DistMult])
@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_a_model_learns_its_training_triples(score, batch_by: str) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = score(EntityEmbedding(30, 16), 4, n3=0.0)
    seen = Triples(*get_split(DATA, 'train'))
    known = make_data(30, 4, seen, None, seen)
    before = evaluate(net, known).mrr()
    loop = Loop(epochs=30, batch_size=50, batch_by=batch_by)
    result = fit(ModelTask(net), DATA, loop)
    losses = [epoch['loss'] for epoch in result.history]
    assert losses[-1] < 0.6 * losses[0]
    assert evaluate(net, known).mrr() > max(0.8, 2 * before)
    assert result.selection == 'last epoch'
    assert result.best_epoch == 30
    assert result.config['precision'] in ('fp32', 'bf16')


def test_joint_teachers_equal_separate_ones() -> None:
    together, apart = teachers(), teachers()
    loop = Loop(epochs=2, batch_size=20)
    fit(TeachersTask(together), DATA, loop, precision='fp32')
    for name in apart.modalities:
        fit(ModelTask(apart[name]), DATA, loop, precision='fp32')
    for a, b in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_every_teacher_may_have_its_own_regulariser() -> None:
    (batch,) = QueryLoader(GRAPH.index('train'), 10_000)

    def losses(structure: float, feature: float) -> dict[str, float]:
        ensemble = teachers(
            structure=partial(ComplEx, n3=structure),
            feature=partial(ComplEx, n3=feature),
        )
        terms = TeachersTask(ensemble).step(batch, 'fp32')
        return {name: value.item() for name, value in terms.items()}

    plain, mine = losses(0.0, 0.0), losses(0.0, 1.0)
    assert mine['structure'] == plain['structure']
    assert mine['image'] > plain['image']
    assert mine['text'] > plain['text']


def test_distillation_moves_the_student_towards_its_teachers() -> None:
    frozen, student = teachers(), model(1, n3=0.0)
    fit(TeachersTask(frozen), DATA, Loop(epochs=3, batch_size=20))
    objective = Distill(gamma=50.0)
    task = DistillTask(student, frozen, Mean(), objective)
    history = fit(task, DATA, Loop(epochs=20, batch_size=50)).history
    assert history[-1]['ndkd'] < 0.4 * history[0]['ndkd']


def test_what_a_policy_reports() -> None:
    _, history = distill()
    shares = {k: v[-1] for k, v in history.items() if k.startswith('weight')}
    assert list(shares) == ['weight image', 'weight structure', 'weight text']
    assert sum(shares.values()) == pytest.approx(1.0)


def test_tau_squared_scales_distillation() -> None:
    frozen, student = teachers(), model(1)
    (batch,) = QueryLoader(GRAPH.index('train'), 10_000)
    values = []
    for scale in (False, True):
        objective = Distill(scale_tau=scale, tau=3.0)
        task = DistillTask(student, frozen, Mean(), objective)
        values.append(task.step(batch, 'fp32')['ndkd'].item())
    assert values[1] == pytest.approx(9 * values[0])


def test_teachers_take_no_gradient_and_policy_none_from_the_student() -> None:
    frozen, student = teachers(), model(1)
    policy = paper_policy(frozen, 8)
    task = DistillTask(student, frozen, policy)
    (batch,) = QueryLoader(GRAPH.index('train'), 10_000)
    terms = task.step(batch, 'fp32')
    (terms['ce'] + terms['n3'] + terms['ndkd']).backward()
    assert all(p.grad is None for p in policy.parameters())
    assert all(p.grad is None for p in frozen.parameters())
    student.zero_grad()
    task.step(batch, 'fp32')['rc'].backward()
    assert all(p.grad is None for p in student.parameters())
    assert any(p.grad is not None for p in policy.parameters())


@pytest.mark.parametrize(
    ('estimator', 'least'),
    # Of actions drawn alike it is a third.
    [('exact', 0.65), ('sampled', 0.45)],
)
def test_a_policy_learns_without_a_student(
    estimator: str, least: float
) -> None:
    ((rest, held),) = OneFold(0.3).parts(GRAPH, seed=0)
    fold = Fold(teachers(), rest, held)
    # One teacher knows the answers, the others know nothing.
    knows = fold.ensemble['structure']
    fit(ModelTask(knows), DATA, Loop(epochs=15, batch_size=50))
    policy = Policy(
        LogitState(3, 30),
        subsets(3),
        CrossEntropyReward(mean_advantage),
        'sample',
        estimator,
        mlp_channels=16,
        lr=1e-2,
    )
    loop, graph = Loop(epochs=15, batch_size=20), held_graph(GRAPH, [fold])
    history = fit(PolicyTask([fold], policy), graph, loop).history
    name = 'reward' if estimator == 'exact' else 'advantage'
    assert history[-1][name] > history[0][name] + 0.5
    assert history[-1]['weight structure'] > history[0]['weight structure']
    assert history[-1]['weight structure'] > least


def test_nothing_to_train() -> None:
    ((rest, held),) = OneFold(0.3).parts(GRAPH, seed=0)
    with pytest.raises(ValueError, match='Mean has nothing to train'):
        PolicyTask([Fold(teachers(), rest, held)], Mean())


def test_same_seed_same_result() -> None:
    runs = []
    for state in (123, 456):
        frozen, student = teachers(), model(1)
        policy = paper_policy(frozen, 16)
        torch.manual_seed(state)  # the global state must not matter
        task = DistillTask(student, frozen, policy)
        result = fit(task, DATA, Loop(epochs=3, batch_size=20))
        history = [
            {k: v for k, v in epoch.items() if k != 'seconds'}
            for epoch in result.history
        ]
        runs.append((history, [p.clone() for p in student.parameters()]))
        assert result.config['gamma'] == 2.0
        assert result.config['combiner'].startswith('Policy(')
    assert runs[0][0] == runs[1][0]
    for a, b in zip(runs[0][1], runs[1][1], strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    net = model()
    torch.manual_seed(5)
    fit(ModelTask(net), DATA, Loop(epochs=1))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_losses_are_the_stored_ones(batch_by: str) -> None:
    """Regenerate with a line in the changelog: delete golden.json, run."""
    frozen, student = teachers(), model(1)
    loop = Loop(epochs=5, batch_size=20, batch_by=batch_by)
    runs: dict[str, Task] = {'teachers': TeachersTask(frozen)}
    # No policy: a sampled action may flip where a CPU rounds otherwise.
    runs['student'] = DistillTask(student, frozen, Mean())
    losses = {
        name: [epoch['loss'] for epoch in result.history]
        for name, task in runs.items()
        for result in [fit(task, DATA, loop, precision='fp32')]
    }
    stored = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if batch_by not in stored:
        stored[batch_by] = losses
        GOLDEN.write_text(json.dumps(stored, indent=1) + '\n')
        pytest.fail('golden.json was missing and has been written')
    for name, values in losses.items():
        assert values == pytest.approx(stored[batch_by][name], rel=1e-3)


def test_early_stopping_keeps_the_best_epoch() -> None:
    net = model(n3=0.0)
    loop = Loop(epochs=40, batch_size=20, eval_every=2, patience=2)
    result = fit(ModelTask(net), DATA, loop)
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
    loop = Loop(epochs=3, batch_size=20, eval_every=2)
    history = fit(ModelTask(model()), DATA, loop).history
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
        loop = Loop(epochs=4, batch_size=20, eval_every=1)
        history = fit(ModelTask(net), data, loop).history
        runs.append([(e['loss'], e['val_mrr']) for e in history])
    assert runs[0] == runs[1]
    # And it would not even notice that the split is gone.
    del without[EDGE].test_edge_index
    del without[EDGE].test_edge_type
    fit(ModelTask(model()), without, Loop(epochs=1, eval_every=1))


def test_validation_is_needed_for_early_stopping() -> None:
    train = get_split(DATA, 'train')
    data = make_data(30, 4, train)
    with pytest.raises(ValueError, match='needs validation triples'):
        fit(ModelTask(model()), data, Loop(eval_every=1))


def test_a_loss_that_is_not_finite_stops() -> None:
    net = model()
    net.relations.data[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"'loss' is nan in epoch 1"):
        fit(ModelTask(net, name='mine'), DATA, Loop(epochs=2))


@pytest.mark.parametrize('terms', [torch.tensor(1.0), {}, None])
def test_a_loss_without_names_is_told(terms: object) -> None:
    net = model()
    net.loss = lambda *_: terms  # type: ignore[method-assign,assignment]
    with pytest.raises(TypeError, match='a dict of its terms, such as'):
        fit(ModelTask(net), DATA, Loop(epochs=1))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ({'epochs': 0}, 'epochs must be positive, got 0'),
        ({'epochs': 2.5}, 'epochs must be an integer, got 2.5'),
        ({'batch_size': 0}, 'batch_size must be positive, got 0'),
        ({'batch_size': 10.0}, 'batch_size must be an integer, got 10.0'),
        ({'batch_by': 'query'}, "got 'query'"),
        ({'cooldown': 3}, r'in 0\.\.1, got 3'),
    ],
)
def test_bad_loops(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize('optimizer', ['adam', None, Adam])
def test_an_optimiser_is_no_name(optimizer: object) -> None:
    with pytest.raises(TypeError, match=r'Adagrad\(...\), Adam'):
        Loop(optimizer=optimizer)  # type: ignore[arg-type]


def test_a_precision_that_is_none_trains_nothing() -> None:
    net = model()
    before = net.relations.clone()
    with pytest.raises(ValueError, match="got 'fp16'"):
        fit(ModelTask(net), DATA, precision='fp16')
    assert torch.equal(net.relations, before)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ({'form': 'average'}, "got 'average'"),
        ({'tau': 0.0}, 'tau must be positive, got 0.0'),
        ({'tau': math.nan}, 'tau must be positive, got nan'),
        ({'gamma': -1.0}, 'gamma must not be negative, got -1.0'),
        ({'beta': math.nan}, 'beta must not be negative, got nan'),
    ],
)
def test_bad_objectives(words: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distill(**words)  # type: ignore[arg-type]


@pytest.mark.parametrize('kind', [Adagrad, Adam, RowwiseAdagrad])
def test_bad_rates(kind: Any) -> None:
    for lr in (0.0, -0.01, math.nan, math.inf):
        with pytest.raises(ValueError, match=f'lr must be positive, got {lr}'):
            kind(lr=lr)
    if kind is not Adam:
        with pytest.raises(ValueError, match='must not be negative, got -5'):
            kind(initial_accumulator=-5.0)


def test_what_is_sampled_is_no_number() -> None:
    with pytest.raises(TypeError, match=r'Sampled\(...\), got 5'):
        Loop(sampled=5)  # type: ignore[arg-type]


def test_bad_scales() -> None:
    table = EntityEmbedding(30, 4)
    for words in ({'n3': -1.0}, {'n3': math.nan}, {'scale': -1.0}):
        with pytest.raises(ValueError, match='must not be negative, got'):
            ComplEx(table, 4, **words)


@dataclass(frozen=True)
class Called:
    word: str

    def __call__(self, step: Any) -> dict[str, torch.Tensor]:
        return {self.word: CrossEntropy()(step)['ce']}


def test_a_term_that_is_called_loss_is_not_all_of_it() -> None:
    histories = []
    for word in ('ce', 'loss'):
        torch.manual_seed(0)
        words: dict[str, Any] = {'n3': 10.0, 'objective': Called(word)}
        net = ComplEx(EntityEmbedding(30, 8), 4, **words)
        histories.append(fit(ModelTask(net), DATA, Loop(epochs=2)).history)
    for one, other in zip(*histories, strict=True):
        assert one['loss'] == other['loss']
        assert one['loss'] == pytest.approx(one['ce'] + one['n3'])
    net = ComplEx(EntityEmbedding(30, 8), 4, objective=Called('epoch'))
    with pytest.raises(ValueError, match='cannot be called epoch'):
        fit(ModelTask(net), DATA, Loop(epochs=1))


def test_what_the_last_step_breaks_is_told() -> None:
    class Breaking(ModelTask):
        def update(self, *words: Any) -> dict[str, Any]:
            terms = super().update(*words)
            self.model.relations.data[0, 0] = math.nan
            return terms

    with pytest.raises(FloatingPointError, match=r"'relations' is not finite"):
        fit(Breaking(model()), DATA, Loop(epochs=1, batch_size=1000))


def test_unseen_relation_and_structure_only() -> None:
    # Relation 1 has no training triple, entity 4 neither; no features.
    train = Triples(
        torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.zeros(3).long()
    )
    test = Triples(torch.tensor([[4], [0]]), torch.tensor([1]))
    data = make_data(5, 2, train, None, test)
    assert KG(data).modalities == []
    torch.manual_seed(0)
    only = TeacherEnsemble.from_features({}, 5, 2, 4)
    fit(TeachersTask(only), data, Loop(epochs=2, batch_size=1))
    student = ComplEx(EntityEmbedding(5, 4), 2)
    policy = paper_policy(only, 8)
    task = DistillTask(student, only, policy)
    fit(task, data, Loop(epochs=2, batch_size=1))
    result = evaluate(student, data)
    assert len(result) == 2
    assert ((result.ranks() >= 1) & (result.ranks() <= 5)).all()


def test_bf16_trains_to_nearly_the_same_loss() -> None:
    losses = []
    for precision in ('fp32', 'bf16'):
        loop = Loop(epochs=5, batch_size=20)
        result = fit(ModelTask(model()), DATA, loop, precision=precision)
        losses.append(result.history[-1])
    assert losses[0]['loss'] == pytest.approx(losses[1]['loss'], rel=0.05)


def test_accumulator_is_where_adagrad_begins() -> None:
    weight = nn.Parameter(torch.ones(4))
    gradient = torch.tensor([1e-4, -1e-4, 1e-2, 0.0])
    for start in (0.0, 1e-6):
        weight.data.fill_(1.0)
        weight.grad = gradient.clone()
        Adagrad(0.1, start)([weight]).step()
        step = 0.1 * gradient / ((gradient.square() + start).sqrt() + 1e-10)
        torch.testing.assert_close(weight.data, 1.0 - step)


def test_rowwise_adagrad_by_hand() -> None:
    table, scalars = (
        nn.Parameter(torch.ones(2, 2)),
        nn.Parameter(torch.ones(2)),
    )
    single = nn.Parameter(torch.tensor(2.0))
    optimizer = RowwiseAdagrad(0.1, 0.5)([table, scalars, single])
    for _ in range(2):
        table.grad = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
        scalars.grad = torch.tensor([2.0, 0.0])
        single.grad = torch.tensor(2.0)
        optimizer.step()
    # The mean square of the first row is 5; after two steps 0.5 + 5 + 5.
    steps = 0.1 / 5.5**0.5 + 0.1 / 10.5**0.5
    torch.testing.assert_close(
        table.data, torch.tensor([[1 - 3 * steps, 1 - steps], [1.0, 1.0]])
    )
    step = 0.1 * 2 / 4.5**0.5 + 0.1 * 2 / 8.5**0.5
    torch.testing.assert_close(scalars.data, torch.tensor([1 - step, 1.0]))
    torch.testing.assert_close(single.data, torch.tensor(2 - step))


@pytest.mark.parametrize('stop', [1, 3])
@pytest.mark.parametrize('optimizer', [RowwiseAdagrad(), Adam8bit()])
def test_optimizers_go_on(tmp_path: Path, optimizer: Any, stop: int) -> None:
    weights = []
    for epochs in ([4], [stop, 4]):
        path = tmp_path / f'{len(epochs)}.safetensors'
        for count in epochs:
            loop = Loop(epochs=count, batch_size=20, optimizer=optimizer)
            # Tables of 4,096 numbers and more have moments of 8 bits.
            student = model(channels=100)
            result = fit(ModelTask(student), DATA, loop, path)
        assert result.history[-1]['loss'] < result.history[0]['loss']
        weights.append(student.entities.weight)
    assert torch.equal(*weights)


def test_moments_of_8_bits() -> None:
    """Near Adam, and half a number for each parameter where there are many."""
    steps = []
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(64, 64, generator=generator) for _ in range(5)]
    for make in (Adam(0.01), Adam8bit(0.01)):
        table = nn.Parameter(torch.zeros(64, 64))
        few = nn.Parameter(torch.zeros(64))
        optimizer = make([table, few])
        for gradient in gradients:
            table.grad, few.grad = gradient, gradient[0]
            optimizer.step()
        steps.append((table.detach(), few.detach()))
    (one, few), (other, same) = steps
    torch.testing.assert_close(few, same, atol=1e-7, rtol=1e-4)
    assert not torch.equal(one, other)
    assert (one - other).abs().mean() < 0.02 * one.abs().mean()
    state = optimizer.state[table]
    assert {state[x].dtype for x in ('state1', 'state2')} == {torch.uint8}


def test_moments_of_8_bits_are_asked_for_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer = Adam8bit()
    monkeypatch.setattr('dsom_pyg.processes.count', lambda: 2)
    with pytest.raises(ValueError, match='Adam8bit trains in one process'):
        optimizer([nn.Parameter(torch.ones(2))])
    # Before the teachers of a student are trained.
    student = Student(channels=8, loop=Loop(optimizer=optimizer))
    with pytest.raises(ValueError, match='Adam8bit trains in one process'):
        student.check(GRAPH, Teachers())
    monkeypatch.setattr('dsom_pyg.training.loop.find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'dsom_pyg\[adam8bit\]'):
        Adam8bit()


def test_the_first_step_of_adam_is_its_rate() -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([1e-6, -1e-2, 1.0])
    Adam(0.01)([weight]).step()
    expected = 1.0 - 0.01 * weight.grad.sign()
    torch.testing.assert_close(weight.data, expected)


def test_a_loop_brings_the_optimiser_and_a_combiner_its_rate() -> None:
    frozen, student = teachers(), model(1)
    combiner = Weighted(3, lr=5e-3)
    distill = DistillTask(student, frozen, combiner)
    for task in (ModelTask(student), TeachersTask(frozen), distill):
        first = task.optimizers(Loop(optimizer=Adam(lr=0.01)))[0]
        assert type(first) is torch.optim.Adam
        assert first.defaults['lr'] == 0.01
        first = task.optimizers(Loop(optimizer=Adagrad(0.3, 2e-6)))[0]
        assert type(first) is torch.optim.Adagrad
        assert first.defaults['lr'] == 0.3
        assert first.state
        assert all((s['sum'] == 2e-6).all() for s in first.state.values())
    for loop in (Loop(), Loop(optimizer=Adam())):
        _, other = distill.optimizers(loop)
        assert type(other) is torch.optim.Adam
        assert other.defaults['lr'] == 5e-3
    # A rate that is not given is that of the optimiser.
    for optimizer, lr in ((Adagrad(), 0.1), (Adam(), 0.02)):
        (only,) = ModelTask(student).optimizers(Loop(optimizer=optimizer))
        assert only.defaults['lr'] == lr


def test_a_combiner_is_told_which_tails_are_known() -> None:
    asked = []

    class Spy(Mean):
        def forward(self, answers, *rest):  # type: ignore[no-untyped-def]
            asked.append((answers, *rest))
            return super().forward(answers, *rest)

    frozen, student = teachers(), model(1)
    task = DistillTask(student, frozen, Spy())
    for batch_by in ('queries', 'triples'):
        batch = next(iter(QueryLoader(GRAPH.index('train'), 20, batch_by)))
        task.step(batch, 'fp32')
        answers, targets, logits = asked.pop()
        # All that the teachers saw, whatever the batch asks for.
        assert answers.context.seen is batch.neighbors
        assert targets is batch.targets
        assert not logits.requires_grad
        expected = student.score_tails(batch.head, batch.rel)
        torch.testing.assert_close(logits.dense(), expected.detach())


def test_a_step_takes_the_memory_of_the_last_gradient() -> None:
    # And learns what a plain loop does.
    batches = list(QueryLoader(GRAPH.index('train'), 40, 'queries'))
    ours, plain = ModelTask(model()), ModelTask(model())
    own, theirs = ours.optimizers(Loop()), plain.optimizers(Loop())
    places = set()
    for batch in batches:
        ours.update(batch, 'fp32', own)
        places.add(ours.trained[0].entities.weight.grad.data_ptr())
        for optimizer in theirs:
            optimizer.zero_grad()
        (plain.step(batch, 'fp32')['loss'] * batch.weight).backward()
        for optimizer in theirs:
            optimizer.step()
    assert len(batches) > 2
    assert len(places) == 1
    for one, other in zip(
        ours.trained[0].parameters(),
        plain.trained[0].parameters(),
        strict=True,
    ):
        assert one.equal(other)
        assert one.grad.equal(other.grad)
