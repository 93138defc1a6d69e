"""Losses over scores that are made in chunks, against the plain ones."""

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dsom_pyg.losses import (
    decoupled_kd,
    kd,
    neighbor_decoupled_kd,
    query_cross_entropy,
    target_cross_entropy,
)
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import Pairs, SampledCandidates
from dsom_pyg.scores import Scores, sources, weighted_sum
from dsom_pyg.scores.chunks import (
    Highest,
    InChunks,
    Moments,
    Sums,
    finite_or_0,
)
from dsom_pyg.scores.tables import EntityTable, reusing_gradients

B, E, K = 5, 23, 4
Loss = Callable[[Any, Any], Tensor]


def pairs(*rows: tuple[int, list[int]]) -> Pairs:
    out = [(row, tail) for row, tails in rows for tail in tails]
    row, tail = torch.tensor(out).reshape(-1, 2).unbind(1)
    return Pairs(row, tail)


# One query has no neighbors, one has all entities but one, and one all.
NEIGHBORS = pairs(
    (0, [0, 1, 22]),
    (1, [7]),
    (3, list(range(22))),
    (4, list(range(23))),
)


@pytest.fixture(
    params=['one chunk', 'kept', 'some kept', 'made again', 'no host']
)
def chunks(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    if request.param != 'one chunk':
        # 4 entities at a time: 23 are no multiple of it.
        monkeypatch.setattr(sources, 'CHUNK_CPU', 4 * B)
        monkeypatch.setattr(sources, 'COLUMNS', 1)
    if request.param == 'made again':
        monkeypatch.setattr(sources, 'KEEP', 0)
        monkeypatch.setattr(sources, 'KEEP_LEARNING', 0)
    if request.param in ('some kept', 'no host'):
        monkeypatch.setattr(sources, 'KEEP', 5 * B)
        monkeypatch.setattr(sources, 'KEEP_LEARNING', 9 * B)
    if request.param == 'no host':  # as on a GPU
        monkeypatch.setattr('dsom_pyg.scores.chunks.HOSTS', ())
    return str(request.param)


def terms(seed: int, scale: float = 1.0) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    return [
        (
            scale * torch.randn(B, width, dtype=torch.double),
            torch.randn(E, width, dtype=torch.double),
        )
        for width in (K, 3)
    ]


def plain_cross_entropy(logits: Tensor, targets: Pairs) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[targets.row], targets.tail)


def plain_decoupled(
    tea: Tensor, stu: Tensor, neighbors: Pairs, tau: float, form: str
) -> Tensor:
    """Eq. 11 and 12 as they are written, query by query."""
    out = []
    for query in range(len(stu)):
        inside = neighbors.tail[neighbors.row == query]
        mask = torch.zeros(stu.size(1), dtype=torch.bool)
        mask[inside] = True
        sides = []
        for logits in (tea[query], stu[query]):
            p = (logits / tau).softmax(dim=0)
            share = p[mask].mean() if form == 'mean' else p[mask].sum()
            rest = logits[~mask]
            sides.append((share, (rest / tau).log_softmax(dim=0)))
        (share_t, log_t), (share_s, log_s) = sides
        binary = stu.new_zeros(())
        if len(inside):
            both = torch.stack([share_t, 1 - share_t])
            other = torch.stack([share_s, 1 - share_s])
            some = both > 1e-14  # 0 log 0 = 0
            binary = (both * (both.log() - other.log()))[some].sum()
        outside = stu.new_zeros(())
        if (~mask).any():
            outside = (log_t.exp() * (log_t - log_s)).sum()
        out.append(binary + outside)
    return torch.stack(out)


def gradients(
    loss: Callable[[Any], Tensor], chunked: bool, scale: float = 1.0
) -> tuple[Tensor, list[Tensor]]:
    made = terms(0, scale)
    leaves = [x.requires_grad_() for term in made for x in term]
    if chunked:
        said: Any = Scores(made)
    else:
        said = sum(c @ b.t() for c, b in made)
    value = loss(said)
    value.sum().backward()
    return value.detach(), [x.grad for x in leaves if x.grad is not None]


def compare(
    loss: Callable[[Any], Tensor], plain: Callable[[Any], Tensor]
) -> None:
    value, grads = gradients(loss, chunked=True)
    expected, others = gradients(plain, chunked=False)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    assert len(grads) == len(others) == 4
    for grad, other in zip(grads, others, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-10, atol=1e-10)


def test_cross_entropy(chunks: str) -> None:
    targets = pairs((0, [22, 3]), (2, [4]), (4, [0, 0, 21]))
    compare(
        lambda x: query_cross_entropy(x, targets),
        lambda x: plain_cross_entropy(x, targets),
    )


@pytest.mark.parametrize('form', ['mean', 'sum'])
@pytest.mark.parametrize('tau', [1.0, 4.0])
def test_decoupled(form: str, tau: float, chunks: str) -> None:
    tea = sum(c @ b.t() for c, b in terms(1))
    assert isinstance(tea, Tensor)
    # The last query, whose neighbors are all entities, by hand: its mean
    # share is 1 / 23 for everybody, its sum is 1.
    some = Pairs(
        *(x[NEIGHBORS.row < 4] for x in (NEIGHBORS.row, NEIGHBORS.tail))
    )
    compare(
        lambda x: neighbor_decoupled_kd(
            Scores(terms(1)), x, some, tau, form=form
        ),
        lambda x: plain_decoupled(tea, x, some, tau, form),
    )
    full = neighbor_decoupled_kd(tea, terms_sum(0), NEIGHBORS, tau, form=form)
    assert full[4].abs() < 1e-12


def terms_sum(seed: int) -> Tensor:
    out = sum(c @ b.t() for c, b in terms(seed))
    assert isinstance(out, Tensor)
    return out


def test_distillation(chunks: str) -> None:
    tea = terms_sum(1)

    def plain(stu: Tensor) -> Tensor:
        log_t, log_s = ((x / 3).log_softmax(dim=1) for x in (tea, stu))
        return (log_t.exp() * (log_t - log_s)).sum(dim=1).mean()

    compare(lambda x: kd(Scores(terms(1)), x, 3.0), plain)
    target = torch.tensor([0, 22, 5, 5, 9])
    alone = Pairs(torch.arange(B), target)
    compare(
        lambda x: decoupled_kd(tea, x, target),
        lambda x: plain_decoupled(tea, x, alone, 4.0, 'mean'),
    )


def test_several_losses_share_one_walk(
    chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, made = pairs((1, [2]), (3, [3])), []
    once = sources.Products.fill

    def count(self: Any, place: Tensor, some: slice) -> None:
        made.append((id(self), some.start))
        once(self, place, some)

    monkeypatch.setattr(sources.Products, 'fill', count)

    def both(x: Any) -> Tensor:
        soft = neighbor_decoupled_kd(terms_sum(1), x, pairs((0, [1])))
        return query_cross_entropy(x, targets) + soft.mean()

    gradients(both, chunked=True)
    chunk_count = 1 if chunks == 'one chunk' else 6
    kept = {'made again': 0, 'some kept': 2, 'no host': 2}
    again = chunk_count - kept.get(chunks, chunk_count)
    # What is not kept is made for each loss, and for all of their gradients.
    assert len(made) == chunk_count + 2 * again


@pytest.mark.parametrize('learning', [True, False])
def test_the_first_scores_are_kept(
    learning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', 2)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(sources, 'KEEP_LEARNING', 9)
    monkeypatch.setattr(sources, 'KEEP', 5)
    basis = torch.randn(5, 3, requires_grad=learning)
    found = Scores([(torch.randn(2, 3), basis)])
    first = [chunk for _, chunk in found.chunks()]
    again = [chunk for _, chunk in found.chunks()]
    assert list(found.source.kept) == list(range(4 if learning else 2))
    assert torch.stack(first).equal(torch.stack(again))
    # What is taken is gone, and made again if it is asked for.
    taken = found.source.take(slice(1, 2))
    assert taken.equal(first[1])
    assert found.source.take(slice(1, 2)).equal(taken)
    assert 1 not in found.source.kept


def test_of_a_matrix_nothing_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', 2)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    matrix = torch.randn(2, 5)
    scores = Scores.of(matrix)
    for _ in range(2):
        found = [chunk for _, chunk in scores.chunks()]
    assert [x.data_ptr() for x in found] == [
        matrix[:, at].data_ptr() for at in range(5)
    ]


def test_of_no_queries_there_are_no_scores() -> None:
    found = Scores([(torch.empty(0, 3), torch.randn(5, 3))])
    for _ in range(2):
        assert [x.shape for _, x in found.chunks()] == [(0, 5)]
    assert found.logsumexp().shape == (0,)


@pytest.mark.parametrize('terms', [1, 2])
def test_kept_scores_take_half_where_nothing_is_lost(
    terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = [(torch.randn(4, 8), torch.randn(9, 8)) for _ in range(terms)]
    found = Scores([(a, b.requires_grad_()) for a, b in each], 'bf16')
    (first,) = (chunk for _, chunk in found.chunks())
    (again,) = (chunk for _, chunk in found.chunks())
    (kept,) = found.source.kept.values()
    assert first.equal(again)
    assert first.dtype == again.dtype == torch.float32
    # Products in bf16 are of that type; a sum of two of them is not.
    assert kept.dtype == (torch.bfloat16 if terms == 1 else torch.float32)
    by_hand = [(a.bfloat16() @ b.bfloat16().t()).float() for a, b in each]
    assert first.equal(torch.stack(by_hand).sum(dim=0))
    assert found.source.take(slice(0, 9)).dtype == torch.float32


def test_logsumexp(chunks: str) -> None:
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0], dtype=torch.double)
    compare(
        lambda x: x.logsumexp() * weight,
        lambda x: x.logsumexp(dim=1) * weight,
    )


def test_values_of_pairs(chunks: str) -> None:
    some = pairs((0, [22, 3]), (2, [4]), (4, [0, 21, 2]))
    weight = torch.randn(6, dtype=torch.double)
    compare(
        lambda x: x.at(some) * weight,
        lambda x: x[some.row, some.tail] * weight,
    )
    compare(lambda x: x.dense() ** 2, lambda x: x**2)
    # After a walk they come from what is kept.
    said = Scores(terms(0))
    said.logsumexp()
    torch.testing.assert_close(
        said.at(some), terms_sum(0)[some.row, some.tail]
    )


def test_many_pairs_are_read_where_all_scores_are_made(
    chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To pick each of them alone would cost more, and far more."""

    def pick(*args: Any) -> Tensor:
        picked.append(True)
        return once(*args)

    picked: list[bool] = []
    once = sources.Products.pick
    monkeypatch.setattr(sources.Products, 'pick', pick)
    torch.manual_seed(0)
    query, basis = torch.randn(B, K), torch.randn(E, K)
    query.requires_grad_()
    row = torch.arange(B).repeat_interleave(3)
    many = Pairs(row, torch.randint(E, (3 * B,)))
    every = query @ basis.t()
    expected = every[many.row, many.tail]
    (plain,) = torch.autograd.grad(expected.square().sum(), query)
    for count, share, alone in (
        (3 * B, 128, True),  # they are few
        (0, 7, True),  # few for so many entities
        (0, 128, False),
    ):
        monkeypatch.setattr('dsom_pyg.scores.chunks.PAIRS', count)
        monkeypatch.setattr('dsom_pyg.scores.chunks.PICKED', share)
        picked.clear()
        found = Scores([(query, basis)]).at(many)
        torch.testing.assert_close(found, expected)
        assert bool(picked) == alone
    scores = Scores([(query, basis)])
    found = scores.at(many)
    torch.testing.assert_close(found, expected)
    (mine,) = torch.autograd.grad(found.square().sum(), query)
    torch.testing.assert_close(mine, plain)
    both = [scores.detach(), scores.detach()]
    weights = torch.rand(B, 2)
    torch.testing.assert_close(
        weighted_sum(weights, both).at(many),
        (weights.sum(dim=1)[:, None] * every)[many.row, many.tail],
    )
    assert not picked


def test_a_table_has_one_gradient(chunks: str) -> None:
    # Rows of it make the query, and all of it is scored, twice.
    torch.manual_seed(0)
    weight = torch.randn(E, K, dtype=torch.double, requires_grad=True)
    head, targets = torch.tensor([3, 0, 0, 22, 7]), pairs((1, [2]), (4, [7]))

    def loss(rows: Tensor, said: Any, other: Any) -> Tensor:
        soft = neighbor_decoupled_kd(terms_sum(1), other, pairs((0, [1])))
        return (
            query_cross_entropy(said, targets) + soft.mean() + rows.sum() ** 2
        )

    table = EntityTable(weight)
    rows = table.rows(head)
    loss(rows, Scores([(rows, table)]), Scores([(2 * rows, table)])).backward()
    found, weight.grad = weight.grad, None
    rows = weight[head]
    loss(rows, rows @ weight.t(), 2 * rows @ weight.t()).backward()
    torch.testing.assert_close(found, weight.grad, rtol=1e-10, atol=1e-10)
    # The same table in two terms.
    weight.grad = None
    table = EntityTable(weight)
    query = torch.randn(2, B, K, dtype=torch.double)
    Scores([(q, table) for q in query]).logsumexp().sum().backward()
    found, weight.grad = weight.grad, None
    (query.sum(dim=0) @ weight.t()).logsumexp(dim=1).sum().backward()
    torch.testing.assert_close(found, weight.grad, rtol=1e-10, atol=1e-10)
    # Rows alone.
    weight.grad = None
    EntityTable(weight).rows(head).sum().backward()
    expected = torch.bincount(head, minlength=E).double()[:, None].expand(E, K)
    torch.testing.assert_close(weight.grad, expected)


def test_gradients_of_a_table_are_written_where_the_last_ones_were() -> None:
    torch.manual_seed(0)
    weight = torch.randn(E, K).requires_grad_()
    other = torch.randn(E, K).requires_grad_()
    query = torch.randn(2, B, K)

    def loss(at: int) -> Tensor:
        both = [(query[at], EntityTable(x)) for x in (weight, other)]
        return sum(Scores([each]).logsumexp().sum() for each in both)

    def expected(at: int) -> Tensor:
        plain = weight.detach().clone().requires_grad_()
        (query[at] @ plain.t()).logsumexp(dim=1).sum().backward()
        return plain.grad

    loss(0).backward()
    first = weight.grad
    place, told = first.data_ptr(), first.clone()
    torch.testing.assert_close(told, expected(0))
    # Another one is asked for within, whose memory nobody gives.
    later = loss(1)
    del first
    with reusing_gradients([weight]):
        assert weight.grad is None
        later.backward()
    assert weight.grad.data_ptr() == place
    torch.testing.assert_close(weight.grad, expected(1))
    assert not weight.grad.allclose(told)
    # Rows alone: what was there before is gone.
    with reusing_gradients([weight]):
        EntityTable(weight).rows(torch.tensor([3])).sum().backward()
    assert weight.grad.data_ptr() == place
    assert weight.grad.sum() == K
    # Who asks twice gets the sum of both.
    with reusing_gradients([weight]):
        (loss(0) + loss(1)).backward()
    torch.testing.assert_close(weight.grad, expected(0) + expected(1))
    # Of loops of one's own they stay as they were.
    mine, weight.grad = weight.grad, None
    copy = mine.clone()
    loss(1).backward()
    assert mine.equal(copy)
    torch.testing.assert_close(weight.grad, expected(1))
    mine = weight.grad
    copy = mine.clone()
    with reusing_gradients([weight]):
        pass  # nothing takes the memory
    loss(0).backward()
    assert mine.equal(copy)
    # A part of a table that lies where all of it does.
    with reusing_gradients([weight]):
        few = EntityTable(weight[:3])
        Scores([(query[0], few)]).logsumexp().sum().backward()
    assert weight.grad[:3].ne(0).all()
    assert weight.grad[3:].eq(0).all()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two entities at a time.
    monkeypatch.setattr(sources, 'CHUNK_CPU', 2 * B)
    monkeypatch.setattr(sources, 'COLUMNS', 1)


@pytest.mark.usefixtures('narrow')
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_kept_scores_stay_as_they_are(precision: str) -> None:
    both = [torch.randn(2, B, K), torch.randn(2, E, K)]
    one, other = (
        Scores([(q, x)], precision) for q, x in zip(*both, strict=True)
    )
    everywhere = [Scores.of(one.dense()), Scores.of(other.dense())]
    known = pairs((0, [1, 2]), (3, [20]))

    def made_of(tea: Scores, stu: Scores) -> list[Tensor]:
        return [
            tea.logsumexp(known),
            kd(tea, stu, 2.0),
            neighbor_decoupled_kd(tea, stu, known),
            stu.logsumexp(),
            weighted_sum(torch.ones(B, 1), [tea]).dense(),
        ]

    for tea, stu in ((one, other), everywhere, (one, one)):
        before = tea.dense(), stu.dense()
        first = made_of(tea, stu)
        assert before[0].equal(tea.dense())
        assert before[1].equal(stu.dense())
        again = made_of(tea, stu)
        assert all(a.equal(b) for a, b in zip(first, again, strict=True))


@pytest.mark.usefixtures('narrow')
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_scores_beside_themselves(precision: str) -> None:
    scores = Scores([(torch.randn(B, K), torch.randn(E, K))], precision)
    said = scores.dense()
    known = pairs((0, [1, 2]), (3, [20]))
    for tau in (0.5, 1.0, 4.0):
        nothing = kd(scores, scores, tau)
        torch.testing.assert_close(nothing, torch.zeros(()))
        soft = neighbor_decoupled_kd(scores, scores, known, tau)
        torch.testing.assert_close(soft, torch.zeros(B))
        # And what is worked out from them after that.
        torch.testing.assert_close(scores.logsumexp(), said.logsumexp(dim=1))
    # Chunks that are collected stay as well.
    each = [chunk for _, chunk in scores.chunks()]
    assert len(each) > 2
    assert torch.cat(each, dim=1).equal(said)


def test_the_gradient_of_a_matrix_is_its_own() -> None:
    # Autograd hands the same one to both that are added, one after the other.
    other = torch.randn(B, E).requires_grad_()
    later = other * 1.0
    query = torch.randn(B, K).requires_grad_()
    scores, weight = Scores([(query, torch.randn(E, K))]), torch.randn(B, E)
    log, said = scores.logsumexp(), scores.dense()
    (((said + later) * weight).sum() + log.sum()).backward()
    torch.testing.assert_close(other.grad, weight)


def test_matrices_stay_as_they_are_in_backward_passes() -> None:
    teacher, student = torch.randn(B, E), torch.randn(B, E).requires_grad_()
    copies, known = (
        (teacher.clone(), student.detach().clone()),
        pairs((0, [1])),
    )
    loss = neighbor_decoupled_kd(teacher, student, known).sum()
    (loss + query_cross_entropy(student, known)).backward()
    assert teacher.equal(copies[0])
    assert student.detach().equal(copies[1])


def test_a_matrix_is_scores(chunks: str) -> None:
    logits = terms_sum(0).requires_grad_()
    targets = pairs((1, [2]), (3, [3]))
    query_cross_entropy(logits, targets).backward()
    grad, logits.grad = logits.grad, None
    plain_cross_entropy(logits, targets).backward()
    torch.testing.assert_close(grad, logits.grad, rtol=1e-10, atol=1e-10)


def test_one_query(chunks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], 'B', 1)
    target, near = pairs((0, [3])), pairs((0, [3, 7]))
    tea = terms_sum(1)
    assert len(tea) == 1

    def loss(x: Any) -> Tensor:
        soft = neighbor_decoupled_kd(Scores(terms(1)), x, near)
        return query_cross_entropy(x, target) + soft.sum()

    def plain(x: Tensor) -> Tensor:
        soft = plain_decoupled(tea, x, near, 4.0, 'mean')
        return plain_cross_entropy(x, target) + soft.sum()

    compare(loss, plain)


def test_scores_far_apart(chunks: str) -> None:
    # exp of the plain values would overflow.
    made = [(1e4 * c, b) for c, b in terms(0)]
    logits = sum(c @ b.t() for c, b in made)
    assert isinstance(logits, Tensor)
    torch.testing.assert_close(
        Scores(made).logsumexp(), logits.logsumexp(dim=1)
    )
    tea = Scores([(1e4 * c, b) for c, b in terms(1)])
    loss = neighbor_decoupled_kd(tea, Scores(made), NEIGHBORS)
    assert loss.isfinite().all()


def test_targets_without_gradient(chunks: str) -> None:
    made = [(c.requires_grad_(), b) for c, b in terms(0)]
    targets = pairs((1, [2]), (3, [3]))
    said = Scores(made)
    assert said.requires_grad
    assert not said.detach().requires_grad
    found = target_cross_entropy(said, targets)
    assert not found.requires_grad
    torch.testing.assert_close(
        found,
        torch.nn.functional.cross_entropy(
            terms_sum(0)[targets.row], targets.tail, reduction='none'
        ),
    )


@pytest.mark.parametrize(
    ('precision', 'bound'), [('fp32', 1e-5), ('bf16', 0.05)]
)
def test_float32(precision: str, bound: float, chunks: str) -> None:
    # Relative to the largest gradient.
    targets = pairs((0, [22, 3]), (2, [4]))
    made = [(c.float(), b.float()) for c, b in terms(0)]
    leaves = [x.requires_grad_() for term in made for x in term]
    tea = Scores([(c.float(), b.float()) for c, b in terms(1)], precision)
    said = Scores(made, precision)
    loss = query_cross_entropy(said, targets)
    loss = loss + neighbor_decoupled_kd(tea, said, NEIGHBORS).mean()
    loss.backward()

    def plain(x: Tensor) -> Tensor:
        soft = plain_decoupled(terms_sum(1), x, NEIGHBORS, 4.0, 'mean')[:4]
        return plain_cross_entropy(x, targets) + soft.sum() / B

    expected, others = gradients(plain, chunked=False)
    assert abs(loss.item() - expected.item()) < bound * expected.item()
    for leaf, other in zip(leaves, others, strict=True):
        assert leaf.grad is not None
        error = (leaf.grad - other).abs().max() / other.abs().max()
        assert error < bound


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that an operation makes."""

    largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self.largest = max(self.largest, x.numel())
        return out


def test_nothing_is_as_large_as_all_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size, rows = 5000, 50
    monkeypatch.setattr(sources, 'CHUNK_CPU', 2**12)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(sources, 'KEEP', 0)
    monkeypatch.setattr(sources, 'KEEP_LEARNING', 0)
    basis = torch.randn(size, 2, requires_grad=True)
    query = torch.randn(rows, 2, requires_grad=True)
    tea = Scores([(torch.randn(rows, 2), torch.randn(size, 2))])
    targets = pairs((0, [1, 2]), (9, [4999]))
    with Largest() as seen:
        said = Scores([(query, basis)])
        loss = query_cross_entropy(said, targets)
        loss = loss + neighbor_decoupled_kd(tea, said, targets).mean()
        loss.backward()
    assert seen.largest <= max(2 * size, 2**12) < rows * size


def test_sums_of_nothing() -> None:
    said = Scores([(torch.zeros(2, 1), torch.zeros(3, 1))])
    sums = Sums(said.source)
    nothing = torch.full((2, 3), -torch.inf)
    nothing[1, 1] = 2.0
    values = torch.tensor([1.0, 7.0, 3.0]).expand(2, 3).clone()
    sums.add(nothing, values)
    assert sums.log().tolist() == [-torch.inf, pytest.approx(2.0)]
    assert sums.mean().tolist() == [0.0, 7.0]


@pytest.mark.parametrize('hosts', [('cpu',), ()])
@pytest.mark.parametrize('keep', [0, 8 * B, 100 * B])
def test_pairs_in_chunks(
    hosts: tuple[str, ...], keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', 4 * B)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(sources, 'KEEP', keep)
    monkeypatch.setattr('dsom_pyg.scores.chunks.HOSTS', hosts)
    said = Scores(terms(0))
    matrix, source = said.dense(), said.source
    row, tail = NEIGHBORS.row, NEIGHBORS.tail
    some = InChunks(row, tail, source)
    torch.testing.assert_close(some.read(), matrix[row, tail])
    values = torch.arange(1.0, len(row) + 1)
    added, filled = torch.zeros_like(matrix), matrix.clone()
    for part in source.slices():
        # A matrix in another order of its own, and one of nothing else.
        chunk = added[:, part].t().contiguous().t()
        some.add(part, chunk, values)
        added[:, part] = chunk
        some.put(part, filled[:, part], -torch.inf)
    want = torch.zeros_like(matrix)
    want[row, tail] = values.double()
    assert added.equal(want)
    want = matrix.clone()
    want[row, tail] = -torch.inf
    assert filled.equal(want)


@pytest.mark.parametrize('count', [1, 3, 8, E, E + 4])
def test_the_highest_scores(count: int, chunks: str) -> None:
    torch.manual_seed(0)
    matrix = torch.randint(4, (B, E)).double()
    matrix[1] = 0.0
    matrix[2] = torch.arange(E)
    # The same as products, whose chunks may take each other's memory.
    made = Scores([(torch.eye(B).double(), matrix.t().contiguous())])
    for scores in (Scores.of(matrix), made):
        found, ids = scores.best(count)
        for row, values in enumerate(matrix.tolist()):
            # Of equal ones the lower id comes first.
            order = sorted(range(E), key=lambda at: (-values[at], at))[:count]
            assert ids[row].tolist() == order
            assert found[row].tolist() == [values[at] for at in order]


def test_no_candidates_are_left_out_twice(chunks: str) -> None:
    matrix = torch.randn(B, E, dtype=torch.double)
    matrix[0, 22] = -torch.inf  # it is among the pairs
    scores = Scores.of(matrix.requires_grad_())
    found = scores.logsumexp(without=pairs((0, [1, 22])))
    left = matrix[0, [*range(1), *range(2, 22)]]
    torch.testing.assert_close(found[0], left.logsumexp(0))
    found.sum().backward()
    assert matrix.grad is not None
    assert matrix.grad.isfinite().all()


def test_log_sums_without_some_pairs(chunks: str) -> None:
    def plain(logits: Tensor) -> Tensor:
        left = logits.clone()
        left[NEIGHBORS.row, NEIGHBORS.tail] = -torch.inf
        return left.logsumexp(dim=1)[:4].sum()

    compare(lambda x: x.logsumexp(without=NEIGHBORS)[:4].sum(), plain)
    # Nobody is left in the last row: no number, and no gradient from it.
    said = Scores(terms(0))
    assert said.logsumexp(without=NEIGHBORS)[4].item() == -torch.inf


@pytest.mark.parametrize('again', [True, False])
@pytest.mark.parametrize('form', ['products', 'matrices', 'both'])
def test_weighted_sums(chunks: str, form: str, again: bool) -> None:
    weights = torch.rand(B, 3, dtype=torch.double, requires_grad=True)
    parts: list[Any] = [Scores(terms(at)) for at in (1, 2, 3)]
    dense = [part.dense() for part in parts]
    if form != 'products':
        parts[0], parts[2] = dense[0], dense[2]
    if form == 'matrices':
        parts[1] = Scores.of(dense[1])
    targets = pairs((0, [1, 7]), (3, [22]))
    found = weighted_sum(weights, parts, again)
    plain = sum(x * weights[:, at, None] for at, x in enumerate(dense))
    assert isinstance(plain, Tensor)
    torch.testing.assert_close(found.part(slice(3, 9)), plain[:, 3:9])
    torch.testing.assert_close(found.part(slice(-3, 999)), plain[:, -3:])
    torch.testing.assert_close(found.dense(), plain)
    [have] = torch.autograd.grad(query_cross_entropy(found, targets), weights)
    [want] = torch.autograd.grad(plain_cross_entropy(plain, targets), weights)
    torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-10)


def test_what_is_used_again_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    once = sources.Products.fill

    def count(self: Any, place: Tensor, some: slice) -> None:
        made.append(some)
        once(self, place, some)

    monkeypatch.setattr(sources.Products, 'fill', count)
    parts = [Scores(terms(at)) for at in (1, 2)]
    for _ in range(3):
        weighted_sum(torch.rand(B, 2).double(), parts).logsumexp()
    assert len(made) == 2
    # Once for all where nobody looks at a part again.
    made.clear()
    parts = [Scores(terms(at)) for at in (1, 2)]
    weighted_sum(torch.rand(B, 2).double(), parts, again=False).logsumexp()
    assert len(made) == 1


def test_scores_of_pairs_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, 'KEEP', 0)
    torch.manual_seed(0)
    rows = torch.randn(40, 100)[torch.zeros(40).long()]
    said = Scores([(torch.randn(B, 100), rows)])
    some = pairs((0, list(range(40))), (2, [3, 39]))
    chunk = dict(enumerate(said.chunks()))[0][1]
    assert said.at(some, walk=True).equal(chunk[some.row, some.tail])


def test_scores_among_candidates() -> None:
    ids = torch.tensor([4, 0, 4, 22])
    candidates = SampledCandidates(ids, torch.rand(4, dtype=torch.double))
    said = Scores(terms(0))
    expected = said.dense()[:, ids] - candidates.log_p
    for scores in (said, Scores.of(said.dense())):
        torch.testing.assert_close(scores.among(candidates).dense(), expected)


def test_weighted_scores_among_candidates() -> None:
    torch.manual_seed(0)
    (query, rows), (other, more) = (
        (q.float(), x.float()) for q, x in terms(0)
    )
    weights = torch.rand(B, 2)
    ids = torch.tensor([2, 5, 11])
    candidates = SampledCandidates(ids, torch.tensor([-0.5, -1.0, -2.0]))

    def compare(query: Tensor, rows: Tensor) -> Tensor:
        assert len(rows.unique(dim=0)) <= len(ids)  # nobody else
        return -(query - rows).abs().sum(dim=-1)

    def compare_all(query: Tensor, rows: Tensor) -> Tensor:
        return compare(query[:, None], rows)

    distance = Scores.compared(other, more, compare, compare_all, 3)
    product = Scores([(query, rows)], 'fp32')
    both = weighted_sum(weights, [product, distance])
    found = both.among(candidates).dense()
    apart = -(other[:, None] - more[ids]).abs().sum(dim=-1)
    plain = weights[:, :1] * (query @ rows[ids].t()) + weights[:, 1:] * apart
    torch.testing.assert_close(found, plain - candidates.log_p)


def test_among_candidates_nothing_else_is_compared() -> None:
    size, rows = 5000, 7
    query = torch.randn(rows, 3, dtype=torch.double)
    basis = torch.randn(size, 3, dtype=torch.double)

    def far(x: Tensor, y: Tensor) -> Tensor:
        return -(x - y).abs().sum(dim=-1)

    said = Scores.compared(
        query, basis, far, lambda x, y: far(x[:, None], y), width=3
    )
    ids = torch.tensor([4, 0, 4, 4999])
    candidates = SampledCandidates(ids, torch.rand(4, dtype=torch.double))
    expected = -torch.cdist(query, basis, p=1)[:, ids] - candidates.log_p
    with Largest() as seen:
        found = said.among(candidates).dense()
    torch.testing.assert_close(found, expected)
    assert seen.largest < size


def test_pairs_are_rounded_as_sums_are(chunks: str) -> None:
    """Of large scores bf16 keeps few digits: both must lose the same."""
    torch.manual_seed(0)
    query = torch.randn(B, 64) * 3
    basis = torch.randn(E, 64)
    # One entity is far above all others, so that its cross-entropy is 0.
    tails = torch.tensor([0, 4, 9, 20, 22])
    basis[tails] = 4 * query / query.norm(dim=1, keepdim=True) * 3
    targets = Pairs(torch.arange(B), tails)
    said = Scores([(query.requires_grad_(), basis)], 'bf16')
    assert (said.at(targets).detach() > 100).all()
    torch.testing.assert_close(
        target_cross_entropy(said, targets), torch.zeros(B), atol=1e-3, rtol=0
    )
    dense = said.dense()
    torch.testing.assert_close(
        said.at(targets), dense[targets.row, tails], rtol=0.005, atol=0
    )


def test_a_walk_back_that_never_came_to_the_table(chunks: str) -> None:
    """Such as for the gradient of something else alone: it leaves nothing."""
    torch.manual_seed(0)
    weight = torch.randn(E, K, dtype=torch.double, requires_grad=True)
    other = torch.randn(B, K, dtype=torch.double, requires_grad=True)
    head, targets = torch.tensor([3, 0, 0, 22, 7]), pairs((1, [2]), (4, [7]))
    rows = weight[head] * other
    plain = plain_cross_entropy(rows @ weight.t(), targets)
    table = EntityTable(weight)
    query = table.rows(head) * other
    loss = query_cross_entropy(Scores([(query, table)]), targets)
    # Made after the scores, rows give their part of the gradient before them.
    plain, loss = (
        plain + weight[2].sum(),
        loss + table.rows(head[:1] - 1).sum(),
    )
    expected = torch.autograd.grad(plain, [other, weight], retain_graph=True)
    for _ in range(2):
        (found,) = torch.autograd.grad(loss, [other], retain_graph=True)
        torch.testing.assert_close(found, expected[0])
    found = torch.autograd.grad(loss, [other, weight], retain_graph=True)
    torch.testing.assert_close(found, expected)
    loss.backward()
    torch.testing.assert_close(weight.grad, expected[1])
    # Nor does one from scores that are not asked again.
    first, weight.grad = Scores([(table.rows(head) * other, table)]), None
    torch.autograd.grad(first.logsumexp().sum(), [other])
    Scores([(other, table)]).logsumexp().sum().backward()
    found, weight.grad = weight.grad, None
    (other @ weight.t()).logsumexp(dim=1).sum().backward()
    torch.testing.assert_close(found, weight.grad)


def test_the_best_of_several_processes_are_no_pads() -> None:
    class Smaller(Shard):
        # The first of two processes holds two of five entities.
        def __init__(self) -> None:
            self.size, self.widths = 5, [2, 3]
            self.start, self.stop = 0, 2

        def beside(self, x: Tensor) -> Tensor:
            other = {
                torch.float32: [[4.0, 3.0, -torch.inf]],
                torch.int64: [[2, 3, 4]],
            }[x.dtype]
            return torch.cat([x, torch.tensor(other)], dim=1)

    own = torch.tensor([[5.0, -torch.inf]])
    walk = Highest(Scores.of(own).source, 10)
    walk.shard = Smaller()
    walk.add(slice(0, 2), own)
    walk.join()
    assert walk.values.tolist() == [[5, 4, 3, -torch.inf, -torch.inf]]
    assert walk.ids.tolist() == [[0, 2, 3, 1, 4]]


def test_second_derivatives_are_refused() -> None:
    # They would be wrong: what is walked again is not differentiated.
    scores = torch.randn(B, E, requires_grad=True)
    targets = pairs((0, [1]), (2, [3]))
    loss = query_cross_entropy(Scores.of(scores), targets)
    with pytest.raises(RuntimeError, match='first derivatives only'):
        torch.autograd.grad(loss, scores, create_graph=True)
    assert torch.autograd.grad(loss, scores)[0].isfinite().all()


def test_only_an_excluded_score_becomes_0() -> None:
    # What else is not finite must not be hidden from those who look for it.
    x = torch.tensor([math.nan, math.inf, -math.inf, -2.0])
    expected = torch.tensor([math.nan, math.inf, 0.0, -2.0])
    torch.testing.assert_close(finite_or_0(x), expected, equal_nan=True)
    torch.testing.assert_close(finite_or_0(x, x), expected, equal_nan=True)
    torch.testing.assert_close(x, expected, equal_nan=True)


@pytest.mark.parametrize('chunk', [2**19, 40])
def test_moments_leave_out_what_is_excluded(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', chunk)
    monkeypatch.setattr(sources, 'COLUMNS', 3)
    scores = 30 + torch.randn(4, 50, dtype=torch.double)
    scores[torch.rand(4, 50) < 0.3] = -math.inf
    scores[1] = -math.inf
    source = Scores.of(scores).source
    moments = Moments(source)
    before = scores.clone()
    for _, part in source.walk():
        moments.add(part)
    assert scores.equal(before)
    for row, mean, deviation in zip(
        scores, moments.mean, moments.deviation(), strict=True
    ):
        left = row[row > -math.inf]
        if not len(left):
            assert mean == deviation == 0
            continue
        assert mean == pytest.approx(float(left.mean()))
        assert deviation == pytest.approx(float(left.std(correction=0)))
