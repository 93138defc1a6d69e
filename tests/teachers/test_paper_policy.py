import pytest
import torch
from dsom_pyg.nn import (
    CombinedTeachers,
    ComplEx,
    EntityEmbedding,
    MeanCombiner,
    ReinforcedCombiner,
    TeacherBatch,
    TeacherEnsemble,
    combine,
)
from dsom_pyg.nn.outcome import combined_cross_entropy
from torch import Tensor

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import (
    modalities,
    num_entities,
    num_relations,
    pool_features,
)
from dsom_pyg.losses import mean_advantage
from dsom_pyg.query_index import Pairs

DATA = FakeMMKG()[0]


def ensemble(seed: int = 0, channels: int = 4) -> TeacherEnsemble:
    torch.manual_seed(seed)
    features = {name: pool_features(DATA, name) for name in modalities(DATA)}
    teachers = TeacherEnsemble.from_features(
        features, num_entities(DATA), num_relations(DATA), channels
    )
    for teacher in teachers:
        torch.nn.init.normal_(teacher.relations)
    torch.nn.init.normal_(teachers['structure'].entities.weight)
    return teachers


def batch(teachers: TeacherEnsemble) -> TeacherBatch:
    # Entity 0 has everything, 1 no image, 2 no text, 3 neither.
    return TeacherBatch(
        teachers, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3, 5, 7])
    )


TARGETS = Pairs(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([1, 4, 2, 0, 9]))


def test_ensemble_stacks_its_teachers() -> None:
    teachers = ensemble()
    said = batch(teachers)
    assert teachers.modalities == ['structure', 'image', 'text']
    assert said.logits.shape == (4, 3, 20)
    for m, name in enumerate(teachers.modalities):
        expected = teachers[name].score_tails(said.head, said.rel)
        torch.testing.assert_close(said.logits[:, m], expected)
    assert not said.logits.requires_grad
    assert said.available.tolist() == [
        [True, True, True],
        [True, False, True],
        [True, True, False],
        [True, False, False],
    ]


def test_combining_is_a_weighted_sum() -> None:
    said = batch(ensemble())
    weights = torch.rand(4, 3)
    expected = torch.einsum('bm,bme->be', weights, said.logits)
    torch.testing.assert_close(combine(weights, said.each), expected)
    cross_entropy = torch.nn.functional.cross_entropy(
        expected[TARGETS.row], TARGETS.tail, reduction='none'
    )
    torch.testing.assert_close(
        combined_cross_entropy(weights, said.each, TARGETS), cross_entropy
    )


def test_mean_combiner() -> None:
    said = batch(ensemble())
    out = MeanCombiner()(said)
    torch.testing.assert_close(out.logits, said.logits.mean(dim=1))
    assert out.loss is None
    weights = MeanCombiner(mask_missing=True)(said).weights
    assert weights[1].tolist() == [0.5, 0.0, 0.5]
    assert weights[3].tolist() == [1.0, 0.0, 0.0]


def test_mean_of_nobody_is_the_mean_of_all() -> None:
    teachers = ensemble()
    only = TeacherEnsemble({'image': teachers['image']})
    weights = MeanCombiner(mask_missing=True)(batch(only)).weights
    assert weights.flatten().tolist() == [1.0] * 4
    names = {'image': teachers['image'], 'again': teachers['image']}
    both = TeacherEnsemble(names)
    policy = ReinforcedCombiner.for_ensemble(both, 8, mask_missing=True)
    assert policy.log_policy(batch(both)).isfinite().all()
    expected = torch.full((4, 2), 0.5)
    assert torch.equal(MeanCombiner(True)(batch(both)).weights, expected)


def test_subsets_are_all_non_empty_ones() -> None:
    policy = ReinforcedCombiner.for_ensemble(ensemble(), 8)
    rows = {tuple(row) for row in policy.subsets.tolist()}
    assert len(policy.subsets) == len(rows) == 7
    assert (False, False, False) not in rows
    names = policy.strategies(['structure', 'image', 'text'])
    assert names[0] == 'structure'
    assert names[-1] == 'structure+image+text'
    weights = policy.action_weights(torch.arange(7))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(weights[-1], torch.full((3,), 1 / 3))
    assert ((weights > 0) == policy.subsets).all()


def test_folded_policy_is_the_literal_one() -> None:
    teachers = ensemble()
    said = batch(teachers)
    literal = ReinforcedCombiner.for_ensemble(teachers, 16, state='logits')
    folded = ReinforcedCombiner.for_ensemble(teachers, 16, state='queries')
    w = literal.mlp[0].weight.view(16, 3, 20)
    v = [w[:, m] @ t.entities.basis() for m, t in enumerate(teachers)]
    with torch.no_grad():
        folded.mlp[0].weight.copy_(torch.cat(v, dim=1))
        folded.mlp[0].bias.copy_(literal.mlp[0].bias)
        folded.mlp[2].load_state_dict(literal.mlp[2].state_dict())
    torch.testing.assert_close(
        folded.log_policy(said), literal.log_policy(said)
    )


def test_folded_policy_starts_with_the_literal_distribution() -> None:
    teachers = ensemble()
    first = ReinforcedCombiner.for_ensemble(teachers, 4096).mlp[0]
    matrix = torch.cat([t.entities.basis() for t in teachers], dim=1)
    # Var(W E) = sum of squares of a column times a third of the bound's.
    expected = (matrix.square().sum(0) / (3 * 60)).sqrt()
    spread = first.weight.std(dim=0)
    torch.testing.assert_close(spread, expected, rtol=0.1, atol=1e-4)


def test_transfer_to_the_same_teachers_changes_nothing() -> None:
    # d is 6 and 8, 2D is 8 or 20: narrow features too, and a policy that
    # has moved away from where it was folded.
    teachers = ensemble(channels=10)
    policy = ReinforcedCombiner.for_ensemble(teachers, 16)
    torch.nn.init.normal_(policy.mlp[0].weight)
    before = policy.log_policy(batch(teachers))
    policy.transfer(teachers, teachers)
    torch.testing.assert_close(
        policy.log_policy(batch(teachers)), before, rtol=1e-3, atol=1e-4
    )


def test_transfer_to_rotated_teachers_keeps_the_policy() -> None:
    # A unitary change of all complex coordinates leaves every logit as it
    # was, while query vectors change: the policy has to follow.
    teachers, rotated = ensemble(), ensemble()
    for teacher in rotated:
        d = teacher.hidden_channels
        turn = torch.polar(torch.ones(d), torch.linspace(0.3, 2.0, d))
        weight = teacher.entities.weight.data
        z = torch.complex(weight[:, :d], weight[:, d:]) * turn
        weight.copy_(torch.cat([z.real, z.imag], dim=1))
    torch.testing.assert_close(
        batch(rotated).logits, batch(teachers).logits, rtol=1e-4, atol=1e-4
    )
    policy = ReinforcedCombiner.for_ensemble(teachers, 16)
    before = policy.log_policy(batch(teachers))
    assert not torch.allclose(policy.log_policy(batch(rotated)), before)
    policy.transfer(teachers, rotated)
    torch.testing.assert_close(
        policy.log_policy(batch(rotated)), before, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize('state', ['queries', 'logits'])
@pytest.mark.parametrize('estimator', ['sampled', 'exact'])
def test_missing_modalities_are_masked(state: str, estimator: str) -> None:
    teachers = ensemble()
    said = batch(teachers)
    policy = ReinforcedCombiner.for_ensemble(
        teachers, 8, state, estimator, mask_missing=True
    )
    probability = policy.log_policy(said).exp()
    used = probability @ policy.subsets.float()
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

    policy = ReinforcedCombiner.for_ensemble(
        teachers, 8, mask_missing=True, advantage=spy
    )
    said = batch(teachers)
    policy(said, TARGETS)
    weights = MeanCombiner(mask_missing=True).weights(said)
    expected = combined_cross_entropy(weights, said.each, TARGETS)
    assert torch.equal(seen[0], expected)


def test_policy_gradient_is_unbiased() -> None:
    teachers = ensemble()
    said, stu = batch(teachers), torch.randn(4, 20)
    exact = ReinforcedCombiner.for_ensemble(teachers, 8, estimator='exact')
    sampled = ReinforcedCombiner.for_ensemble(teachers, 8)
    sampled.load_state_dict(exact.state_dict())
    # A student between the teachers, so that actions differ in reward.
    stu = said.logits.mean(dim=1) + 0.1 * stu
    exact(said, TARGETS, stu).loss.backward()
    torch.manual_seed(0)
    rounds = 6000
    for _ in range(rounds):
        sampled(said, TARGETS, stu).loss.backward()
    expected = exact.mlp[2].bias.grad
    mean = sampled.mlp[2].bias.grad / rounds
    assert expected.abs().max() > 0.3
    torch.testing.assert_close(mean, expected, rtol=0.1, atol=0.1)


def test_reward_loss_by_hand() -> None:
    teachers = ensemble()
    said = batch(teachers)
    policy = ReinforcedCombiner.for_ensemble(teachers, 8)
    stu = said.logits.mean(dim=1) + 0.1 * torch.randn(4, 20)
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
        action = (policy.subsets == chosen).all(dim=1).nonzero().item()
        mixed = said.logits[:, chosen].mean(dim=1)
        everyone = said.logits.mean(dim=1)
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
    said = batch(teachers)
    best = said.each[0].argmax(dim=1)
    targets = Pairs(torch.arange(4), best)
    policy = ReinforcedCombiner.for_ensemble(
        teachers, 16, advantage=mean_advantage
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        policy(said, targets).loss.backward()
        optimizer.step()
    policy.eval()
    assert (policy(said).weights[:, 1] == 0).all()


def test_policy_sees_the_query_only() -> None:
    teachers = ensemble()
    policy = ReinforcedCombiner.for_ensemble(teachers, 8).eval()
    scorer = CombinedTeachers(teachers, policy)
    whole = evaluate(scorer, DATA)
    parts = evaluate(scorer, DATA, max_memory=16 * 7)
    assert torch.equal(whole.above, parts.above)
    # No argument of the scoring path carries a target.
    head, rel = torch.tensor([0, 1]), torch.tensor([0, 1])
    torch.testing.assert_close(
        scorer.score_tails(head, rel),
        policy(TeacherBatch(teachers, head, rel)).logits,
    )


def test_frozen_policy_takes_the_most_probable_subset() -> None:
    teachers = ensemble()
    said = batch(teachers)
    policy = ReinforcedCombiner.for_ensemble(teachers, 8)
    policy.requires_grad_(False).train()
    out = policy(said, TARGETS, torch.randn(4, 20))
    assert out.loss is None
    best = policy.log_policy(said).argmax(dim=1)
    assert torch.equal(out.weights, policy.action_weights(best))


def test_one_teacher_only() -> None:
    model = ComplEx(EntityEmbedding(20, 4, scale=1.0), 4)
    only = TeacherEnsemble({'structure': model})
    said = batch(only)
    policy = ReinforcedCombiner.for_ensemble(only, 8)
    out = policy(said, TARGETS, torch.randn(4, 20))
    torch.testing.assert_close(out.logits, said.logits[:, 0])
    assert out.loss is not None
    assert out.loss.item() == pytest.approx(0.0)


def test_bad_settings() -> None:
    for words, message in (
        ({'state': 'raw'}, "'queries' or 'logits'"),
        ({'estimator': 'greedy'}, "'sampled' or 'exact'"),
        ({'num_teachers': 0}, 'num_teachers'),
    ):
        settings = {'num_teachers': 2, 'in_channels': 3, **words}
        with pytest.raises(ValueError, match=message):
            ReinforcedCombiner(**settings)
