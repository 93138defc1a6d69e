import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dsom_pyg.losses import (
    decoupled_kd,
    decoupled_parts,
    expected_reinforce,
    gain_advantage,
    kd,
    mean_advantage,
    n3,
    neighbor_decoupled_kd,
    paper_advantage,
    query_cross_entropy,
    reinforce,
    reward,
    target_cross_entropy,
)
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import sources

DTYPES = (torch.float32, torch.float64)


def pairs(*groups: tuple[int, ...]) -> Pairs:
    row = [i for i, group in enumerate(groups) for _ in group]
    tail = [t for group in groups for t in group]
    return Pairs(torch.tensor(row).long(), torch.tensor(tail).long())


def logits(rows: int, columns: int, seed: int, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    out = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return out * scale


@pytest.fixture(params=['one chunk', 'many chunks'])
def chunks(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.param == 'many chunks':
        monkeypatch.setattr(sources, 'CHUNK_CPU', 16)
        monkeypatch.setattr(sources, 'COLUMNS', 1)


@pytest.mark.parametrize('dtype', DTYPES)
def test_cross_entropy_of_queries_is_that_of_triples(
    dtype: torch.dtype, chunks: None
) -> None:
    z = logits(4, 9, 0).to(dtype).requires_grad_()
    targets = pairs((1, 5, 8), (0,), (), (2, 3))
    loss = query_cross_entropy(z, targets)
    loss.backward()
    assert z.grad is not None
    mine = z.grad.clone()
    z.grad = None
    expected = F.cross_entropy(z[targets.row], targets.tail)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(mine, z.grad)


def test_cross_entropy_without_targets() -> None:
    with pytest.raises(ValueError, match='at least one target'):
        query_cross_entropy(torch.zeros(1, 3), pairs(()))


def test_target_cross_entropy() -> None:
    z, targets = logits(2, 7, 1), pairs((1, 5), (0,))
    expected = F.cross_entropy(z[targets.row], targets.tail, reduction='none')
    torch.testing.assert_close(target_cross_entropy(z, targets), expected)


# The worked example: z_tea = (2, 1, 0, -1), z_stu = (1, 1, 0, 0).
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(
    ('tau', 'plain', 'binary', 'outside'),
    [
        (1.0, 0.178075, 0.158915, 0.053808),
        (4.0, 0.0152291, 0.0112227, 0.0061630),
    ],
)
def test_worked_example_with_one_neighbor(
    dtype: torch.dtype,
    tau: float,
    plain: float,
    binary: float,
    outside: float,
) -> None:
    tea = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=dtype)
    stu = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=dtype)
    for form in ('mean', 'sum'):
        parts = decoupled_parts(tea, stu, pairs((0,)), tau, form)
        assert parts.neighbor.item() == pytest.approx(binary, abs=6e-7)
        assert parts.outside.item() == pytest.approx(outside, abs=6e-7)
    assert kd(tea, stu, tau).item() == pytest.approx(plain, abs=6e-7)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize(
    ('tau', 'total', 'outside', 'mean'),
    [
        (1.0, 0.067131, 0.110944, 0.011794),
        (4.0, 0.0074773, 0.0077519, 0.0022020),
    ],
)
def test_worked_example_with_two_neighbors(
    dtype: torch.dtype, tau: float, total: float, outside: float, mean: float
) -> None:
    tea = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=dtype)
    stu = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=dtype)
    by_sum = decoupled_parts(tea, stu, pairs((0, 1)), tau, 'sum')
    by_mean = decoupled_parts(tea, stu, pairs((0, 1)), tau, 'mean')
    assert by_sum.neighbor.item() == pytest.approx(total, abs=6e-7)
    assert by_mean.neighbor.item() == pytest.approx(mean, abs=6e-7)
    assert by_mean.outside.item() == pytest.approx(outside, abs=6e-7)


def naive_parts(
    tea: Tensor, stu: Tensor, tails: list[int], tau: float, form: str
) -> tuple[float, float]:
    p, q = (tea / tau).softmax(-1), (stu / tau).softmax(-1)
    reduce = torch.mean if form == 'mean' else torch.sum
    a, b = reduce(p[tails]), reduce(q[tails])
    neighbor = a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()
    rest = [e for e in range(len(p)) if e not in tails]
    p, q = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
    return neighbor.item(), (p * (p / q).log()).sum().item()


@pytest.mark.parametrize('form', ['mean', 'sum'])
def test_parts_follow_the_definition(form: str, chunks: None) -> None:
    tea, stu = logits(3, 12, 0), logits(3, 12, 1)
    groups = ((3,), (0, 1, 7), (2, 3, 4, 5, 6, 11))
    parts = decoupled_parts(tea, stu, pairs(*groups), 2.0, form)
    for i, group in enumerate(groups):
        expected = naive_parts(tea[i], stu[i], list(group), 2.0, form)
        assert parts.neighbor[i].item() == pytest.approx(expected[0])
        assert parts.outside[i].item() == pytest.approx(expected[1])


def test_one_neighbor_is_decoupled_kd() -> None:
    tea, stu = logits(3, 12, 0), logits(3, 12, 1)
    target = torch.tensor([4, 0, 11])
    tau, alpha, beta = 3.0, 0.7, 2.0
    p, q = (tea / tau).softmax(-1), (stu / tau).softmax(-1)
    for i, t in enumerate(target.tolist()):
        b_t = torch.stack([p[i, t], 1 - p[i, t]])
        b_s = torch.stack([q[i, t], 1 - q[i, t]])
        keep = torch.arange(12) != t
        n_t = p[i, keep] / p[i, keep].sum()
        n_s = q[i, keep] / q[i, keep].sum()
        expected = alpha * F.kl_div(
            b_s.log(), b_t, reduction='sum'
        ) + beta * F.kl_div(n_s.log(), n_t, reduction='sum')
        mine = decoupled_kd(tea, stu, target, tau, alpha, beta)[i]
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_distillation_decomposes_exactly(tau: float) -> None:
    tea, stu = logits(1, 15, 0), logits(1, 15, 1)
    tails = [1, 4, 9]
    p, q = (tea / tau).softmax(-1)[0], (stu / tau).softmax(-1)[0]
    p_n = p[tails].sum()
    within = F.kl_div(
        (q[tails] / q[tails].sum()).log(),
        p[tails] / p_n,
        reduction='sum',
    )
    parts = decoupled_parts(tea, stu, pairs((1, 4, 9)), tau, 'sum')
    total = parts.neighbor + (1 - p_n) * parts.outside + p_n * within
    torch.testing.assert_close(total[0], kd(tea, stu, tau))


def test_outside_part_has_no_gradient_at_neighbors(chunks: None) -> None:
    tea, stu = logits(2, 12, 0), logits(2, 12, 1).requires_grad_()
    near = pairs((1, 4), (0,))
    decoupled_parts(tea, stu, near).outside.sum().backward()
    assert stu.grad is not None
    assert (stu.grad[near.row, near.tail] == 0).all()
    assert (stu.grad != 0).sum() == 2 * 12 - 3


@pytest.mark.parametrize('form', ['mean', 'sum'])
def test_gradients(form: str, chunks: None) -> None:
    tea, stu = logits(4, 8, 0), logits(4, 8, 1).requires_grad_()
    near = pairs((1,), (0, 3, 5), (), tuple(range(8)))

    def parts(z: Tensor) -> tuple[Tensor, ...]:
        return tuple(decoupled_parts(tea, z, near, 2.0, form))

    assert torch.autograd.gradcheck(parts, (stu,))
    targets = pairs((1,), (0, 3, 5), (), (2,))
    assert torch.autograd.gradcheck(
        lambda z: query_cross_entropy(z, targets), (stu,)
    )


def test_query_without_neighbors_is_plain_distillation() -> None:
    tea, stu = logits(2, 8, 0), logits(2, 8, 1)
    parts = decoupled_parts(tea, stu, pairs((), (1,)), 2.0)
    assert parts.neighbor[0] == 0
    torch.testing.assert_close(parts.outside[0], kd(tea[:1], stu[:1], 2.0))


def test_all_entities_are_neighbors() -> None:
    tea, stu = logits(1, 4, 0), logits(1, 4, 1).requires_grad_()
    loss = neighbor_decoupled_kd(
        tea, stu, pairs((0, 1, 2, 3)), 1.0, form='sum'
    )
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.0)
    assert stu.grad is not None
    assert stu.grad.isfinite().all()


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('form', ['mean', 'sum'])
def test_extreme_logits_stay_finite(dtype: torch.dtype, form: str) -> None:
    size = 13_000
    tea = logits(4, size, 0).sign().to(dtype) * 1e4
    stu = logits(4, size, 1).sign().to(dtype) * 1e4
    # The neighbor alone on top, and alone at the bottom.
    tea[0], tea[0, 3], stu[0], stu[0, 3] = -1e4, 1e4, 1e4, -1e4
    tea[1], tea[1, 3], stu[1], stu[1, 3] = 1e4, -1e4, -1e4, 1e4
    stu.requires_grad_()
    near = pairs((3,), (3,), (0, 5, 7), ())
    loss = neighbor_decoupled_kd(tea, stu, near, 1.0, form=form)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert stu.grad is not None
    assert stu.grad.isfinite().all()
    # p_tea = (1, 0), log p_stu = -2e4 - log(E - 1), and nothing outside.
    expected = 2e4 + torch.log(torch.tensor(size - 1.0)).item()
    if form == 'sum':
        assert loss[0].item() == pytest.approx(expected, rel=1e-6)
    targets = pairs((3,), (3,), (0, 5, 7), (1,))
    stu.grad = None
    query_cross_entropy(stu, targets).backward()
    assert stu.grad is not None
    assert stu.grad.isfinite().all()


def test_peaked_distribution_over_many_entities() -> None:
    # 1 - p_N underflows in float32 when computed from probabilities.
    tea, stu = torch.zeros(1, 13_000), torch.zeros(1, 13_000)
    tea[0, 0], stu[0, 0] = 60.0, 50.0
    near = pairs((0,))
    single = decoupled_parts(tea, stu, near, 1.0).neighbor
    double = decoupled_parts(tea.double(), stu.double(), near, 1.0).neighbor
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=0)
    # KL of two nearly certain answers: the student's doubt, to first order.
    doubt = 12_999 * math.exp(-50.0)
    assert double.item() == pytest.approx(doubt, rel=1e-3)


@pytest.mark.parametrize('dtype', DTYPES)
def test_entities_that_are_no_candidates(dtype: torch.dtype) -> None:
    """Scores of -inf, of both sides or of the teacher alone."""
    tea, stu = logits(2, 6, 1).to(dtype), logits(2, 6, 2).to(dtype)
    neighbors, left = pairs((1,), (0, 3)), [0, 1, 3, 4]
    stu = stu.detach().requires_grad_()
    masked = tea.detach().clone()
    masked[:, [2, 5]] = -math.inf
    log_t, log_s = tea[:, left].log_softmax(1), stu.log_softmax(1)[:, left]
    plain = (log_t.exp() * (log_t - log_s)).sum(dim=1).mean()
    (expected,) = torch.autograd.grad(plain, stu)
    mine = kd(masked, stu)
    torch.testing.assert_close(mine, plain)
    torch.testing.assert_close(torch.autograd.grad(mine, stu)[0], expected)
    both = stu.detach().masked_fill(masked.isinf(), -math.inf)
    both.requires_grad_()
    few = stu.detach()[:, left].requires_grad_()
    alike = pairs((1,), (0, 2))
    for form in ('mean', 'sum'):
        found = neighbor_decoupled_kd(masked, both, neighbors, form=form)
        other = neighbor_decoupled_kd(tea[:, left], few, alike, form=form)
        torch.testing.assert_close(found, other)
        grad = torch.autograd.grad(found.sum(), both)[0]
        small = torch.autograd.grad(other.sum(), few)[0]
        torch.testing.assert_close(grad[:, left], small)
        assert not grad[:, [2, 5]].any()
    # The only neighbor is no candidate of the student: far off, but a number,
    # at a low temperature as well.
    far = neighbor_decoupled_kd(tea, both, pairs((5,), ()), 0.1, form='sum')
    assert float(far[0].detach()) > 1e6


@pytest.mark.parametrize('form', ['mean', 'sum'])
def test_the_only_candidate_is_the_only_neighbor(form: str) -> None:
    teacher = torch.tensor([[1.0], [2.0]])
    student = torch.zeros(2, 1, requires_grad=True)
    alone = Pairs(torch.tensor([0]), torch.tensor([0]))
    loss = neighbor_decoupled_kd(teacher, student, alone, form=form)
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0]
    assert student.grad is not None
    assert student.grad.tolist() == [[0.0], [0.0]]


def test_unknown_form() -> None:
    with pytest.raises(ValueError, match="'mean' or 'sum', got 'max'"):
        decoupled_parts(
            torch.zeros(1, 2), torch.zeros(1, 2), pairs((0,)), form='max'
        )


def test_n3_by_hand() -> None:
    # h = 3 + 4i, r = 1, t = 2i: 125 + 1 + 8, times 0.01.
    rows = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    assert 0.01 * n3(rows).item() == pytest.approx(1.34)
    weight = torch.tensor([2.0, 1.0, 0.0])
    assert n3(rows, weight).item() == pytest.approx(251.0)
    assert n3(rows, complex_rows=False).item() == pytest.approx(
        27 + 64 + 1 + 8
    )


def test_n3_is_smooth_at_zero() -> None:
    rows = torch.zeros(2, 4, requires_grad=True)
    n3(rows).backward()
    assert rows.grad is not None
    assert (rows.grad == 0).all()


def test_rewards() -> None:
    action = torch.tensor([1.0, 3.0, 2.0, 1.0])
    student = torch.tensor([2.0, 2.0, 2.0, 2.0])
    everyone = torch.tensor([3.0, 1.0, 2.0, 1.5])
    assert reward(action, student).tolist() == [1, -10, -10, 1]
    delta = paper_advantage(action, everyone, student)
    assert delta.tolist() == [11, -11, 0, 0]
    delta = mean_advantage(action, everyone, None)
    assert delta.tolist() == [11, -11, 0, 11]
    assert gain_advantage(action, everyone, None).tolist() == [2, -2, 0, 0.5]
    with pytest.raises(ValueError, match='student'):
        paper_advantage(action, everyone, None)


def test_exact_reinforce_is_the_expectation_of_the_sampled_one() -> None:
    delta = torch.tensor([[11.0, -11.0, 0.0], [0.0, 11.0, 0.0]])
    scores = logits(2, 3, 5).requires_grad_()
    expected_reinforce(scores.log_softmax(1), delta.double()).backward()
    assert scores.grad is not None
    exact = scores.grad.clone()
    # The expectation by enumeration of all actions of both rows.
    policy = scores.detach().softmax(1)
    total = torch.zeros_like(exact)
    for a in range(3):
        for b in range(3):
            scores.grad = None
            chosen = torch.tensor([a, b])
            log_prob = scores.log_softmax(1)[torch.arange(2), chosen]
            reinforce(log_prob, delta[torch.arange(2), chosen]).backward()
            assert scores.grad is not None
            total += policy[0, a] * policy[1, b] * scores.grad
    torch.testing.assert_close(total, exact)
