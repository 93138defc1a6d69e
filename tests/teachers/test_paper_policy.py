"""The paper's policy (Eq. 5-10), and the teachers that it chooses from."""

import pytest
import torch
from fake_answers import GRAPH, TARGETS, answers, by_teacher, ensemble
from torch import Tensor
from transe import TransE

from dsom_pyg.evaluation import evaluate
from dsom_pyg.kg import KG
from dsom_pyg.losses import mean_advantage
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import weighted_sum
from dsom_pyg.teachers import (
    Answers,
    CrossEntropyReward,
    EnsembleScorer,
    LogitState,
    Mean,
    Policy,
    TeacherEnsemble,
    combined_cross_entropy,
    paper_policy,
    subsets,
)


def literal_policy(
    teachers: TeacherEnsemble,
    mlp_channels: int = 8,
    estimator: str = 'sampled',
    mask_missing: bool = False,
) -> Policy:
    """The paper's policy over the logits as they are."""
    return Policy(
        LogitState.for_teachers(teachers, GRAPH),
        subsets(len(teachers)).flip(0),
        CrossEntropyReward(),
        'sample',
        estimator,
        mask_missing=mask_missing,
        mlp_channels=mlp_channels,
    )


def test_ensemble_stacks_its_teachers() -> None:
    teachers = ensemble()
    said = answers(teachers)
    assert teachers.modalities == ['structure', 'image', 'text']
    stacked = teachers(said.head, said.rel)
    assert stacked.shape == (4, 3, 20)
    for m, name in enumerate(teachers.modalities):
        expected = teachers[name].score_tails(said.head, said.rel)
        torch.testing.assert_close(stacked[:, m], expected)
        torch.testing.assert_close(said.each[m], expected)
        assert not said.each[m].requires_grad
    assert said.available.tolist() == [
        [True, True, True],
        [True, False, True],
        [True, True, False],
        [True, False, False],
    ]


def test_combining_is_a_weighted_sum() -> None:
    said = answers(ensemble())
    weights = torch.rand(4, 3)
    expected = torch.einsum('bm,bme->be', weights, by_teacher(said))
    torch.testing.assert_close(
        weighted_sum(weights, said.each).dense(), expected
    )
    # With the logits at hand, and without.
    torch.testing.assert_close(said.combined(weights).dense(), expected)
    anew = answers(said.ensemble)
    torch.testing.assert_close(anew.combined(weights).dense(), expected)
    cross_entropy = torch.nn.functional.cross_entropy(
        expected[TARGETS.row], TARGETS.tail, reduction='none'
    )
    torch.testing.assert_close(
        combined_cross_entropy(weights, said.each, TARGETS), cross_entropy
    )


def test_mean_combiner() -> None:
    said = answers(ensemble())
    out = Mean()(said)
    mean = by_teacher(said).mean(dim=1)
    torch.testing.assert_close(said.combined(out.weights).dense(), mean)
    assert out.loss is None
    weights = Mean(mask_missing=True)(said).weights
    assert weights[1].tolist() == [0.5, 0.0, 0.5]
    assert weights[3].tolist() == [1.0, 0.0, 0.0]


def test_mean_of_nobody_is_the_mean_of_all() -> None:
    teachers = ensemble()
    only = TeacherEnsemble({'image': teachers['image']})
    weights = Mean(mask_missing=True)(answers(only)).weights
    assert weights.flatten().tolist() == [1.0] * 4
    names = {'image': teachers['image'], 'again': teachers['image']}
    both = TeacherEnsemble(names)
    policy = paper_policy(both, 8, mask_missing=True)
    assert policy.log_policy(answers(both)).isfinite().all()
    expected = torch.full((4, 2), 0.5)
    assert torch.equal(Mean(True)(answers(both)).weights, expected)


def test_subsets_are_all_non_empty_ones() -> None:
    policy = paper_policy(ensemble(), 8)
    rows = {tuple(row) for row in (policy.actions > 0).tolist()}
    assert len(policy.actions) == len(rows) == 7
    assert (False, False, False) not in rows
    names = policy.strategies(['structure', 'image', 'text'])
    assert names[0] == 'structure'
    assert names[-1] == 'structure+image+text'
    for name, row in zip(names, policy.actions.tolist(), strict=True):
        members = name.split('+')
        assert row == pytest.approx(
            [
                (teacher in members) / len(members)
                for teacher in ('structure', 'image', 'text')
            ]
        )


def test_folded_policy_is_the_literal_one() -> None:
    teachers = ensemble()
    said = answers(teachers)
    literal, folded = literal_policy(teachers, 16), paper_policy(teachers, 16)
    w = literal.mlp[0].weight.view(16, 3, 20)
    v = [w[:, m] @ t.entities.basis() for m, t in enumerate(teachers)]
    with torch.no_grad():
        folded.mlp[0].weight.copy_(torch.cat(v, dim=1))
        folded.mlp[0].bias.copy_(literal.mlp[0].bias)
        folded.mlp[3].load_state_dict(literal.mlp[3].state_dict())
    torch.testing.assert_close(
        folded.log_policy(said), literal.log_policy(said)
    )


def test_folded_policy_starts_with_the_literal_distribution() -> None:
    teachers = ensemble()
    first = paper_policy(teachers, 4096).mlp[0]
    matrix = torch.cat([t.entities.basis() for t in teachers], dim=1)
    # Var(W E) = sum of squares of a column times a third of the bound's.
    expected = (matrix.square().sum(0) / (3 * 60)).sqrt()
    spread = first.weight.std(dim=0)
    torch.testing.assert_close(spread, expected, rtol=0.1, atol=1e-4)


@pytest.mark.parametrize('kind', [paper_policy, literal_policy])
@pytest.mark.parametrize('estimator', ['sampled', 'exact'])
def test_missing_modalities_are_masked(kind, estimator: str) -> None:  # type: ignore[no-untyped-def]
    teachers = ensemble()
    said = answers(teachers)
    policy = kind(teachers, 8, estimator, mask_missing=True)
    probability = policy.log_policy(said).exp()
    used = probability @ policy.actions
    assert (used[~said.available] == 0).all()
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(4))
    for _ in range(20):
        out = policy(said, TARGETS, torch.randn(4, 20))
        assert (out.weights[~said.available] == 0).all()
        assert out.loss is not None
        out.loss.backward()
    for p in policy.parameters():
        assert p.grad is not None
        assert p.grad.isfinite().all()


def test_the_baseline_is_the_mean_of_those_available() -> None:
    teachers, seen = ensemble(), []

    def spy(action: Tensor, everyone: Tensor, student: object) -> Tensor:
        seen.append(everyone)
        return mean_advantage(action, everyone, None)

    policy = paper_policy(teachers, 8, mask_missing=True, advantage=spy)
    said = answers(teachers)
    policy(said, TARGETS)
    weights = Mean(mask_missing=True).weights(said)
    expected = combined_cross_entropy(weights, said.streams, TARGETS)
    assert torch.equal(seen[0], expected)


def test_policy_gradient_is_unbiased() -> None:
    teachers = ensemble()
    said, stu = answers(teachers), torch.randn(4, 20)
    exact = paper_policy(teachers, 8, estimator='exact')
    sampled = paper_policy(teachers, 8)
    sampled.load_state_dict(exact.state_dict())
    # A student between the teachers, so that actions differ in reward.
    stu = by_teacher(said).mean(dim=1) + 0.1 * stu
    exact(said, TARGETS, stu).loss.backward()
    # The same queries many times over: each draws an action of its own.
    times = 20_000
    many = Answers(teachers, said.head.repeat(times), said.rel.repeat(times))
    rows = 4 * torch.arange(times)[:, None] + TARGETS.row
    targets = Pairs(rows.flatten(), TARGETS.tail.repeat(times))
    torch.manual_seed(0)
    sampled(many, targets, stu.repeat(times, 1)).loss.backward()
    expected, mean = exact.mlp[-1].bias.grad, sampled.mlp[-1].bias.grad
    assert expected.abs().max() > 0.3
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.08)


def test_reward_loss_by_hand() -> None:
    teachers = ensemble()
    said = answers(teachers)
    policy = paper_policy(teachers, 8)
    logits = by_teacher(said)
    stu = logits.mean(dim=1) + 0.1 * torch.randn(4, 20)
    torch.manual_seed(3)
    out = policy(said, TARGETS, stu)
    log_policy = policy.log_policy(said)
    total = torch.zeros(())
    for row, tail in zip(TARGETS.row, TARGETS.tail, strict=True):

        def loss_of(
            z: Tensor, row: Tensor = row, tail: Tensor = tail
        ) -> Tensor:
            return -z[row].log_softmax(-1)[tail]

        chosen = out.weights[row] > 0
        action = ((policy.actions > 0) == chosen).all(dim=1).nonzero().item()
        mixed = logits[:, chosen].mean(dim=1)
        everyone = logits.mean(dim=1)
        r = 1.0 if loss_of(mixed) < loss_of(stu) else -10.0
        base = 1.0 if loss_of(everyone) < loss_of(stu) else -10.0
        if chosen.all():
            base = r
        total = total - (r - base) * log_policy[row, action]
    torch.testing.assert_close(out.loss, total / 5)


def test_policy_learns_to_leave_noise_out() -> None:
    torch.manual_seed(0)
    good, bad = ensemble()['structure'], ensemble(9)['structure']
    teachers = TeacherEnsemble({'good': good, 'bad': bad})
    said = answers(teachers)
    best = said.each[0].argmax(dim=1)
    targets = Pairs(torch.arange(4), best)
    policy = paper_policy(teachers, 16, advantage=mean_advantage)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        policy(said, targets).loss.backward()
        optimizer.step()
    policy.eval()
    assert (policy(said).weights[:, 1] == 0).all()


def test_policy_sees_the_query_only() -> None:
    teachers = ensemble()
    policy = paper_policy(teachers, 8).eval()
    scorer = EnsembleScorer(teachers, policy)
    whole = evaluate(scorer, GRAPH)
    parts = evaluate(scorer, GRAPH, max_memory=16 * 7)
    assert torch.equal(whole.above, parts.above)
    # No argument of the scoring path carries a target.
    head, rel = torch.tensor([0, 1]), torch.tensor([0, 1])
    asked = Answers(teachers, head, rel)
    torch.testing.assert_close(
        scorer.score_tails(head, rel),
        weighted_sum(policy(asked).weights, asked.each).dense(),
    )


def test_frozen_policy_takes_the_most_probable_subset() -> None:
    teachers = ensemble()
    said = answers(teachers)
    policy = paper_policy(teachers, 8)
    policy.requires_grad_(False).train()
    out = policy(said, TARGETS, torch.randn(4, 20))
    assert out.loss is None
    best = policy.log_policy(said).argmax(dim=1)
    assert torch.equal(out.weights, policy.actions[best])


def test_one_teacher_only() -> None:
    model = ComplEx(EntityEmbedding(20, 4, scale=1.0), 4)
    only = TeacherEnsemble({'structure': model})
    said = answers(only)
    policy = paper_policy(only, 8)
    out = policy(said, TARGETS, torch.randn(4, 20))
    assert torch.equal(out.weights, torch.ones(4, 1))
    assert out.loss is not None
    assert out.loss.item() == pytest.approx(0.0)


def test_teachers_that_are_no_dot_products() -> None:
    torch.manual_seed(0)
    one = ensemble()['structure']
    teachers = TeacherEnsemble({'structure': one, 'distance': TransE(20, 4)})
    assert teachers.bilinear is None
    assert teachers.tables()[1] is None
    head, rel = torch.tensor([0, 5, 7]), torch.tensor([0, 3, 6])
    weights = torch.rand(3, 2)
    expected = weights[:, :1] * teachers['structure'].score_tails(
        head, rel
    ) + weights[:, 1:] * teachers['distance'].score_tails(head, rel)
    found = teachers.combined(head, rel, weights)
    torch.testing.assert_close(found, expected)
    found = teachers.combined(head, rel, weights, slice(3, 9))
    torch.testing.assert_close(found, expected[:, 3:9])
    asked = Answers(teachers, head, rel)
    torch.testing.assert_close(asked.combined(weights).dense(), expected)
    assert asked.available.all()
    # Eq. 5 has no short form here.
    made = []
    for make in (paper_policy, literal_policy):
        torch.manual_seed(0)
        made.append(make(teachers, mlp_channels=8))
    policy, literal = made
    assert torch.equal(policy.log_policy(asked), literal.log_policy(asked))
    out = policy(answers(teachers), TARGETS, torch.randn(4, 20))
    out.loss.backward()
    assert policy.mlp[0].weight.grad.isfinite().all()
    scorer = EnsembleScorer(teachers, policy)
    assert evaluate(scorer, KG.of(GRAPH.data)).ranks().max() <= 20
    with pytest.raises(ValueError, match="'distance' are no bilinear models"):
        TeacherEnsemble.concatenate(
            [TeacherEnsemble({'distance': TransE(20, 4)}) for _ in range(2)]
        )


def test_the_logit_state_is_all_logits_side_by_side() -> None:
    teachers = ensemble()
    said = answers(teachers)
    state = LogitState.for_teachers(teachers, GRAPH)
    assert state.out_channels == 60
    torch.testing.assert_close(state(said), torch.cat(said.each, dim=1))
