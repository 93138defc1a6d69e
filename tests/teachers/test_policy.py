"""A policy over weightings of teachers."""

import math

import pytest
import torch
from fake_answers import GRAPH, SEEN, TARGETS, answers, ensemble
from torch import Tensor

from dsom_pyg.query_index import Pairs
from dsom_pyg.teachers import (
    Answers,
    Boosted,
    Combiner,
    CompactState,
    CrossEntropyReward,
    LogitState,
    Lookup,
    Policy,
    QueryState,
    RankReward,
    Weighted,
    grid,
    reciprocal_ranks,
    subsets,
)


def said() -> Answers:
    return answers(ensemble(), seen=SEEN)


def compact() -> CompactState:
    torch.manual_seed(0)
    return CompactState(3, 4, GRAPH.degree, k=4, relation_channels=5)


def policy(
    actions: Tensor | None = None,
    base: Combiner | None = None,
    decision: str = 'mean',
    estimator: str = 'exact',
    mask_missing: bool = False,
    prior: float = 2.0,
    kl: float = 3.0,
    dropout: float = 0.2,
) -> Policy:
    return Policy(
        compact(),
        subsets(3) if actions is None else actions,
        RankReward(),
        decision,
        estimator,
        base,
        mask_missing,
        prior,
        kl,
        mlp_channels=64,
        dropout=dropout,
    )


def test_actions() -> None:
    rows = subsets(3)
    assert rows.shape == (7, 3)
    assert len(set(map(tuple, rows.tolist()))) == 7
    assert all(len(set(row) - {0.0}) == 1 for row in rows.tolist())
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(rows[0], torch.full((3,), 1 / 3))
    levels = grid(2, (0.0, 0.5, 1.0))
    assert levels.shape == (5, 2)  # 9 - 4
    torch.testing.assert_close(levels.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(levels[0], torch.tensor([0.5, 0.5]))
    expected = {(1, 1), (1, 0), (0, 1), (1, 2), (2, 1)}
    found = (levels / levels.amax(dim=1, keepdim=True) * 2).tolist()
    assert {(a * c, b * c) for a, b in expected for c in (2 / max(a, b),)} == {
        tuple(row) for row in found
    }


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match='some weight'):
        policy(torch.zeros(2, 3))
    with pytest.raises(ValueError, match='some weight'):
        policy(torch.tensor([[1.0, -1.0, 1.0]]))
    with pytest.raises(ValueError, match='some weight'):
        policy(torch.full((2, 3), math.nan))
    for levels in ((0.0,), (1.0, -1.0)):
        with pytest.raises(ValueError, match='levels must not be negative'):
            grid(2, levels)
    with pytest.raises(ValueError, match=r"estimator .* got 'none'"):
        policy(estimator='none')
    with pytest.raises(ValueError, match=r"decision .* got 'greedy'"):
        policy(decision='greedy')
    for count in (0, 9):
        with pytest.raises(ValueError, match='num_teachers must be 1 to 8'):
            subsets(count)


def test_numbers_of_another_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        teachers = ensemble()
        base = Weighted(3)
        made = Policy(compact(), subsets(3), RankReward(), 'mean', base=base)
        decision = made.train()(answers(teachers, seen=SEEN), TARGETS)
        assert decision.loss is not None
        assert decision.loss.dtype == torch.float64
        assert decision.weights.dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_a_base_with_negative_weights_is_refused() -> None:
    words = QueryState(ensemble()), subsets(3), RankReward(), 'mean'
    table = torch.ones(8, 3)
    assert Policy(*words, base=Boosted(table))
    table[0, 1] = -0.5
    with pytest.raises(ValueError, match='Boosted may be negative'):
        Policy(*words, base=Boosted(table))
    table[:, 1], seen = -0.5, GRAPH.index('train')
    kept = Lookup.of(Boosted(table), ensemble(), seen)
    with pytest.raises(ValueError, match='Lookup may be negative'):
        Policy(*words, base=kept)
    kept = Lookup.of(Boosted(table + 1), ensemble(), seen)
    assert Policy(*words, base=kept)


def test_exact_gradient_is_that_of_the_expected_reward() -> None:
    actions = subsets(3)
    learned = policy(kl=0.0, dropout=0.0).train()
    batch = said()
    learned.state.eval()
    rewards = 100 * reciprocal_ranks(actions, batch.each, TARGETS)
    pi = learned.log_policy(batch).exp()[TARGETS.row]
    (pi * rewards).sum(dim=1).mean().backward()
    bias = learned.mlp[-1].bias
    expected = -bias.grad.clone()
    learned.zero_grad()
    learned(batch, TARGETS).loss.backward()
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(bias.grad, expected, atol=1e-4, rtol=1e-3)


def test_sampled_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = subsets(3)
    learned = policy(kl=0.0, dropout=0.0, estimator='sampled').train()
    batch = said()
    learned.state.eval()
    drawn = torch.tensor([[3], [0], [6], [1], [2]])
    monkeypatch.setattr(torch, 'multinomial', lambda *_: drawn)
    loss = learned(batch, TARGETS).loss
    rewards = 100 * reciprocal_ranks(actions, batch.each, TARGETS)
    log_pi = learned.log_policy(batch).detach()
    total = 0.0
    for k, action in enumerate([3, 0, 6, 1, 2]):
        # Against the reward of the first action, the mean of all.
        delta = float(rewards[k, action] - rewards[k, 0])
        total += delta * float(log_pi[TARGETS.row[k], action])
    assert abs(total) > 1
    assert loss.item() == pytest.approx(-total / 5, rel=1e-4)


@pytest.mark.parametrize('estimator', ['exact', 'sampled'])
def test_divergence_from_the_prior_by_hand(estimator: str) -> None:
    losses = []
    for kl in (0.0, 2.5):
        learned = policy(
            prior=1.5,
            kl=kl,
            dropout=0.0,
            estimator=estimator,
            mask_missing=True,
        ).train()
        learned.state.eval()
        torch.manual_seed(1)
        losses.append(learned(said(), TARGETS).loss.item())
    batch = said()
    pi = learned.log_policy(batch).exp().tolist()
    total = 0.0
    for row in TARGETS.row.tolist():
        present = batch.available[row].tolist()
        possible = []
        for action in learned.actions.tolist():
            needed = zip(action, present, strict=True)
            possible.append(all(p for weight, p in needed if weight > 0))
        odds = [math.exp(1.5 * (a == 0)) * p for a, p in enumerate(possible)]
        for a, p in enumerate(possible):
            if p:
                prior = odds[a] / sum(odds)
                total += pi[row][a] * math.log(pi[row][a] / prior) / 5
            else:
                assert pi[row][a] == 0
    assert total > 0.001
    assert losses[1] - losses[0] == pytest.approx(2.5 * total, rel=1e-2)


def test_the_prior_leads_at_the_start() -> None:
    batch = said()
    even, led = policy(prior=0.0), policy(prior=1.5)
    a = even.eval().log_policy(batch)
    b = led.eval().log_policy(batch)
    odds = (b[:, 0] - b[:, 3]) - (a[:, 0] - a[:, 3])
    torch.testing.assert_close(odds, torch.full((4,), 1.5))


def test_subsets_of_weighted_teachers() -> None:
    base = Weighted(3, torch.ones(8))
    with torch.no_grad():
        base.log_weight.copy_(torch.tensor([0.5, -1.0, 0.2]))
        assert base.offset is not None
        base.offset.normal_()
    learned = policy(base=base, kl=0.0, dropout=0.0).train()
    learned.state.eval()
    batch = said()
    given = base.weights(batch)
    # What is rewarded is what is used: the action times the base.
    pi = learned.log_policy(batch).exp()[TARGETS.row].detach()
    expected = 0.0
    for k, row in enumerate(TARGETS.row.tolist()):
        pair = Pairs(torch.tensor([row]), TARGETS.tail[k : k + 1])
        own = learned.actions * given[row]
        rewards = 100 * reciprocal_ranks(own, batch.each, pair)
        expected += float((pi[k] * rewards[0]).sum()) / 5
    loss = learned(batch, TARGETS).loss
    assert loss.item() == pytest.approx(-expected, rel=1e-4)
    assert all(p.grad is None for p in base.parameters())
    assert not any(p.requires_grad for p in base.parameters())
    shared = learned.eval().weights(batch)
    assert not torch.allclose(shared, given)
    torch.testing.assert_close(shared.sum(dim=1), given.sum(dim=1))
    # The first action alone: the base.
    with torch.no_grad():
        learned.mlp[-1].bias[0] += 50.0
    torch.testing.assert_close(learned.weights(batch), given)


def test_a_subset_that_the_base_leaves_out_is_no_nan() -> None:
    batch = said()
    base = Weighted(3, mask_missing=True)
    learned = policy(base=base, decision='best').eval()
    missing, teacher = (~batch.available).nonzero()[0].tolist()
    alone = torch.eye(3)[teacher]
    at = (learned.actions == alone).all(dim=1).nonzero().item()
    with torch.no_grad():
        learned.mlp[-1].bias[at] += 50.0
    weights = learned.weights(batch)
    torch.testing.assert_close(weights[missing], base.weights(batch)[missing])
    present = batch.available[:, teacher]
    assert (weights[present] > 0).sum() == present.sum()


def test_policy_gives_weights_and_respects_what_is_missing() -> None:
    batch = said()
    learned = policy(grid(3), mask_missing=True).eval()
    weights = learned.weights(batch)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights[~batch.available] == 0).all()
    assert learned(batch).loss is None
    learned.decision = 'best'
    at = learned.log_policy(batch).argmax(dim=1)
    assert torch.equal(learned.weights(batch), learned.actions[at])
    assert (learned.weights(batch)[~batch.available] == 0).all()


def test_an_action_without_the_base_is_rewarded_as_the_base() -> None:
    batch = said()
    base = torch.tensor([[1.0, 0.0, 0.5], [0.3, 0.2, 0.1]] * 2)
    actions = subsets(3)
    found = reciprocal_ranks(actions, batch.each, TARGETS, None, base)
    text = (actions == torch.eye(3)[1]).all(dim=1).nonzero().item()
    # The first action, of all teachers alike, is the base itself.
    out = base[TARGETS.row, 1] == 0
    torch.testing.assert_close(found[out, text], found[out, 0])
    assert not torch.equal(found[~out, text], found[~out, 0])


def test_a_base_has_learned_already() -> None:
    base = policy()
    before = {k: v.clone() for k, v in base.state_dict().items()}
    learned = policy(base=base)
    batch = said()
    learned.train()(batch, TARGETS)
    assert learned.training
    assert not any(module.training for module in base.modules())
    after = base.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert learned.state.count == 4


def test_a_base_that_leaves_out_everybody_is_no_nan() -> None:
    class TextAlone(Weighted):
        def weights(self, answers: Answers) -> Tensor:
            return answers.available * torch.eye(3)[2]

    batch = said()
    none = ~batch.available[:, 2]
    assert none.any()
    weights = policy(base=TextAlone(3)).eval().weights(batch)
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights[none] > 0).sum() == 3 * none.sum()


@pytest.mark.parametrize('state', [CompactState, LogitState])
def test_the_drawn_gradient_is_the_exact_one_on_average(
    state: type,
) -> None:
    # The same queries many times over: each draws an action of its own.
    times = 4000
    teachers = ensemble()
    one = answers(teachers)
    # What one teacher finds, another one does not.
    best = Pairs(torch.arange(4), one.each[0].argmax(dim=1))
    many = Answers(teachers, one.head.repeat(times), one.rel.repeat(times))
    targets = Pairs(torch.arange(4 * times), best.tail.repeat(times))
    gradients = []
    for estimator in ('exact', 'sampled'):
        torch.manual_seed(0)
        learned = Policy(
            state.for_teachers(teachers, GRAPH),
            subsets(3),
            RankReward(),
            'mean',
            estimator,
            mlp_channels=8,
        ).train()
        learned.state.eval()
        # Far from uniform, so that a wrong weighting shows.
        with torch.no_grad():
            learned.mlp[-1].bias.copy_(torch.linspace(-1, 1, 7))
        said = (one, best) if estimator == 'exact' else (many, targets)
        learned(*said).loss.backward()
        gradients.append(learned.mlp[-1].bias.grad)
    exact, mean = gradients
    assert exact.abs().max() > 3
    torch.testing.assert_close(mean, exact, atol=0.7, rtol=0)


@pytest.mark.parametrize('weighted', [True, False])
def test_what_is_drawn_is_compared_with_the_first_action(
    weighted: bool,
) -> None:
    # A reward that compares with nothing, such as a rank, needs a baseline.
    base = Weighted(3) if weighted else None
    learned = policy(
        base=base, decision='sample', estimator='sampled', kl=0.0, dropout=0.0
    )
    batch = said()
    decision = learned.train()(batch, TARGETS)
    weights = decision.weights
    everyone = torch.full((len(batch), 3), 1 / 3)
    first = everyone if base is None else base.weights(batch)
    streams = batch.streams
    known = batch.context.known
    each = [
        100 * reciprocal_ranks(torch.ones(1, 3), streams, TARGETS, known, used)
        for used in (weights, first)
    ]
    expected = float((each[0] - each[1]).mean())
    assert float(decision.metrics['advantage']) == pytest.approx(expected)
    assert decision.loss is not None


def test_what_is_drawn_and_what_is_taken() -> None:
    teachers, times = ensemble(), 3000
    one = answers(teachers)
    many = Answers(teachers, one.head.repeat(times), one.rel.repeat(times))
    targets = Pairs(torch.arange(4 * times), TARGETS.tail[1:].repeat(times))
    learned = policy(decision='sample', kl=0.0, dropout=0.0, prior=0.5)
    learned.train().state.eval()
    probability = learned.log_policy(one).exp()
    drawn = learned(many, targets).weights.view(times, 4, 3)
    for query in range(4):
        share = [
            (drawn[:, query] == action).all(dim=1).float().mean()
            for action in learned.actions
        ]
        torch.testing.assert_close(
            torch.stack(share), probability[query], atol=0.05, rtol=0
        )
    best = learned.actions[probability.argmax(dim=1)]
    # Nothing is drawn where nothing is learned.
    assert torch.equal(learned(one).weights, best)
    assert torch.equal(learned.weights(one), best)
    learned.eval()
    assert torch.equal(learned(one, TARGETS).weights, best)
    learned.decision = 'mean'
    expected = probability @ learned.actions
    torch.testing.assert_close(learned.weights(one), expected)


@pytest.mark.parametrize('decision', ['sample', 'best', 'mean'])
@pytest.mark.parametrize('estimator', ['exact', 'sampled'])
@pytest.mark.parametrize('reward', [RankReward(), CrossEntropyReward()])
def test_every_setting_masks_learns_and_keeps_the_scale(
    decision: str, estimator: str, reward: object
) -> None:
    said, student = answers(ensemble(), seen=SEEN), torch.randn(4, 20)
    base = Weighted(3, mask_missing=True)
    with torch.no_grad():
        base.log_weight.copy_(torch.tensor([0.5, -1.0, 0.2]))
    learned = Policy(
        compact(),
        subsets(3),
        reward,
        decision,
        estimator,
        base,
        mask_missing=True,
        kl=1.0,
    ).train()
    for _ in range(5):
        out = learned(said, TARGETS, student)
        assert (out.weights[~said.available] == 0).all()
        total = base.weights(said).sum(dim=1)
        torch.testing.assert_close(out.weights.sum(dim=1), total)
        assert not out.weights.requires_grad
        assert out.loss is not None
        out.loss.backward()
        assert all(value.isfinite() for value in out.metrics.values())
    for name, parameter in learned.named_parameters():
        if not name.startswith('base.'):
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
    assert base.log_weight.grad is None
    probability = learned.log_policy(said).exp()
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(4))
    assert ((probability @ learned.actions)[~said.available] == 0).all()
