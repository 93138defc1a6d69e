"""A policy over weightings, and the state that it reads."""

import math

import pytest
import torch
from dsom_pyg.nn import (
    AdaptiveCombiner,
    CompactState,
    TeacherBatch,
    WeightedCombiner,
    reciprocal_ranks,
)
from test_combiners import DATA, TARGETS, ensemble
from torch import Tensor

from dsom_pyg.graph import get_split
from dsom_pyg.query_index import Pairs

DEGREE = torch.bincount(get_split(DATA, 'train').edge_index.flatten())
SEEN = Pairs(torch.tensor([0, 0, 2]), torch.tensor([3, 8, 5]))


def said() -> TeacherBatch:
    head, rel = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3, 5, 7])
    return TeacherBatch(ensemble(), head, rel, seen=SEEN)


def compact(k: int = 4) -> CompactState:
    torch.manual_seed(0)
    return CompactState(3, 4, DEGREE, k=k, relation_channels=5)


def test_state_by_hand() -> None:
    batch, state = said(), compact()
    raw = torch.cat([*state._said(batch), state._known(batch)], dim=1)
    logits = batch.each[0][0].tolist()
    unseen = sorted(
        (x for e, x in enumerate(logits) if e not in (3, 8)), reverse=True
    )
    total = sum(math.exp(x) for x in unseen)
    p = [math.exp(x) / total for x in unseen]
    entropy = -sum(x * math.log(x) for x in p) / math.log(20)
    assert raw[0, 0].item() == pytest.approx(entropy, abs=1e-5)
    margins = [x - unseen[0] for x in unseen[:4]]
    torch.testing.assert_close(raw[0, 3:7], torch.tensor(margins))
    degree = math.log1p(int(DEGREE[0]))
    expected = torch.tensor([degree, math.log1p(2), 0.0])
    torch.testing.assert_close(raw[0, -3:], expected)
    assert raw[1, -1] == 1  # no known answers
    batch.degree = torch.tensor([5, 0, 1, 2])
    own = state._known(batch)[:, 0]
    torch.testing.assert_close(own, torch.tensor([5, 0, 1, 2]).log1p())
    out = state.eval()(batch)
    assert out.shape == (4, state.out_channels)
    assert out.isfinite().all()
    assert state.out_channels == compact().out_channels


def test_nothing_left_to_answer_is_no_nan() -> None:
    everyone = Pairs(torch.zeros(20, dtype=torch.long), torch.arange(20))
    head, rel = torch.tensor([0, 1]), torch.tensor([0, 3])
    batch = TeacherBatch(ensemble(), head, rel, seen=everyone)
    state = compact().train()
    assert state(batch).isfinite().all()
    assert state.eval()(batch).isfinite().all()


def test_moments_are_those_of_all_numbers() -> None:
    state = compact().train()
    numbers = torch.randn(30, state.mean.numel()) * 3 + 1
    for part in numbers.split(7):
        state._normalised(part)
    torch.testing.assert_close(state.mean, numbers.mean(dim=0))
    normal = state.eval()._normalised(numbers)
    expected = (numbers - numbers.mean(dim=0)) / numbers.std(
        dim=0, correction=0
    )
    torch.testing.assert_close(normal, expected, rtol=1e-3, atol=1e-3)


def test_actions() -> None:
    subsets = AdaptiveCombiner.subsets(3)
    assert subsets.shape == (7, 3)
    assert len(set(map(tuple, subsets.tolist()))) == 7
    torch.testing.assert_close(subsets[0], torch.full((3,), 1 / 3))
    grid = AdaptiveCombiner.grid(2, (0.0, 0.5, 1.0))
    assert grid.shape == (5, 2)  # 9 - 4
    torch.testing.assert_close(grid.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(grid[0], torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match='some weight'):
        AdaptiveCombiner(compact(), torch.zeros(2, 3))
    with pytest.raises(ValueError, match='estimator'):
        AdaptiveCombiner(compact(), subsets, estimator='none')


def test_exact_gradient_is_that_of_the_expected_reward() -> None:
    actions = AdaptiveCombiner.subsets(3)
    torch.manual_seed(1)
    policy = AdaptiveCombiner(
        compact(), actions, beta=0.0, dropout=0.0
    ).train()
    batch = said()
    policy.state.eval()
    rewards = 100 * reciprocal_ranks(actions, batch.each, TARGETS)
    pi = policy.log_policy(batch).exp()[TARGETS.row]
    (pi * rewards).sum(dim=1).mean().backward()
    bias = policy.mlp[-1].bias
    expected = -bias.grad.clone()
    policy.zero_grad()
    policy(batch, TARGETS).loss.backward()
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(bias.grad, expected, atol=1e-4, rtol=1e-3)


def test_sampled_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = AdaptiveCombiner.subsets(3)
    torch.manual_seed(1)
    policy = AdaptiveCombiner(
        compact(), actions, beta=0.0, dropout=0.0, estimator='sampled'
    ).train()
    batch = said()
    policy.state.eval()
    drawn = torch.tensor([[3], [0], [6], [1], [2]])
    monkeypatch.setattr(torch, 'multinomial', lambda *_: drawn)
    loss = policy(batch, TARGETS).loss
    rewards = 100 * reciprocal_ranks(actions, batch.each, TARGETS)
    log_pi = policy.log_policy(batch).detach()
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
    for beta in (0.0, 2.5):
        torch.manual_seed(1)
        policy = AdaptiveCombiner(
            compact(),
            AdaptiveCombiner.subsets(3),
            prior=1.5,
            beta=beta,
            dropout=0.0,
            estimator=estimator,
            mask_missing=True,
        ).train()
        policy.state.eval()
        losses.append(policy(said(), TARGETS).loss.item())
    batch = said()
    pi = policy.log_policy(batch).exp().tolist()
    total = 0.0
    for row in TARGETS.row.tolist():
        present = batch.available[row].tolist()
        possible = []
        for action in policy.actions.tolist():
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
    torch.manual_seed(1)
    even = AdaptiveCombiner(compact(), AdaptiveCombiner.subsets(3), prior=0.0)
    torch.manual_seed(1)
    led = AdaptiveCombiner(compact(), AdaptiveCombiner.subsets(3), prior=1.5)
    a = even.eval().log_policy(batch)
    b = led.eval().log_policy(batch)
    odds = (b[:, 0] - b[:, 3]) - (a[:, 0] - a[:, 3])
    torch.testing.assert_close(odds, torch.full((4,), 1.5))


def test_subsets_of_weighted_teachers() -> None:
    base = WeightedCombiner(3, torch.ones(8))
    with torch.no_grad():
        base.log_weight.copy_(torch.tensor([0.5, -1.0, 0.2]))
        assert base.offset is not None
        base.offset.normal_()
    policy = AdaptiveCombiner(
        compact(), AdaptiveCombiner.subsets(3), base, beta=0.0, dropout=0.0
    ).train()
    policy.state.eval()
    batch = said()
    given = base.weights(batch)
    # What is rewarded is what is used: the action times the base.
    pi = policy.log_policy(batch).exp()[TARGETS.row].detach()
    expected = 0.0
    for k, row in enumerate(TARGETS.row.tolist()):
        pair = Pairs(torch.tensor([row]), TARGETS.tail[k : k + 1])
        own = policy.actions * given[row]
        rewards = 100 * reciprocal_ranks(own, batch.each, pair)
        expected += float((pi[k] * rewards[0]).sum()) / 5
    loss = policy(batch, TARGETS).loss
    assert loss.item() == pytest.approx(-expected, rel=1e-4)
    assert all(p.grad is None for p in base.parameters())
    assert not any(p.requires_grad for p in base.parameters())
    shared = policy.eval().weights(batch)
    assert not torch.allclose(shared, given)
    torch.testing.assert_close(shared.sum(dim=1), given.sum(dim=1))
    # The first action alone: the base.
    with torch.no_grad():
        policy.mlp[-1].bias[0] += 50.0
    torch.testing.assert_close(policy.weights(batch), given)


def test_a_subset_that_the_base_leaves_out_is_no_nan() -> None:
    batch = said()
    base = WeightedCombiner(3, mask_missing=True)
    policy = AdaptiveCombiner(
        compact(), AdaptiveCombiner.subsets(3), base, hard=True
    ).eval()
    missing, teacher = (~batch.available).nonzero()[0].tolist()
    alone = torch.eye(3)[teacher]
    at = (policy.actions == alone).all(dim=1).nonzero().item()
    with torch.no_grad():
        policy.mlp[-1].bias[at] += 50.0
    weights = policy.weights(batch)
    torch.testing.assert_close(weights[missing], base.weights(batch)[missing])
    present = batch.available[:, teacher]
    assert (weights[present] > 0).sum() == present.sum()


def test_policy_gives_weights_and_respects_what_is_missing() -> None:
    batch = said()
    policy = AdaptiveCombiner(
        compact(), AdaptiveCombiner.grid(3), mask_missing=True
    ).eval()
    weights = policy.weights(batch)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights[~batch.available] == 0).all()
    assert policy(batch).loss is None
    policy.hard = True
    hard = policy.weights(batch)
    for row in hard:
        assert (policy.actions == row).all(dim=1).any()


def test_an_action_without_the_base_is_rewarded_as_the_base() -> None:
    batch = said()
    base = torch.tensor([[1.0, 0.0, 0.5], [0.3, 0.2, 0.1]] * 2)
    actions = AdaptiveCombiner.subsets(3)
    found = reciprocal_ranks(actions, batch.each, TARGETS, None, base)
    text = (actions == torch.eye(3)[1]).all(dim=1).nonzero().item()
    # The first action, of all teachers alike, is the base itself.
    out = base[TARGETS.row, 1] == 0
    torch.testing.assert_close(found[out, text], found[out, 0])
    assert not torch.equal(found[~out, text], found[~out, 0])


def test_a_base_has_learned_already() -> None:
    torch.manual_seed(0)
    base = AdaptiveCombiner(compact(), AdaptiveCombiner.subsets(3))
    before = {k: v.clone() for k, v in base.state_dict().items()}
    policy = AdaptiveCombiner(compact(), AdaptiveCombiner.subsets(3), base)
    batch = said()
    policy.train()(batch, TARGETS)
    assert policy.training
    assert not any(module.training for module in base.modules())
    after = base.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert policy.state.count == 4


def test_a_base_that_leaves_out_everybody_is_no_nan() -> None:
    class TextAlone(WeightedCombiner):
        def weights(self, batch: TeacherBatch) -> Tensor:
            return batch.available * torch.eye(3)[2]

    batch = said()
    none = ~batch.available[:, 2]
    assert none.any()
    policy = AdaptiveCombiner(
        compact(), AdaptiveCombiner.subsets(3), TextAlone(3)
    ).eval()
    weights = policy.weights(batch)
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights[none] > 0).sum() == 3 * none.sum()
