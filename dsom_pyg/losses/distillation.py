"""Distillation: plain, decoupled, neighbor-decoupled."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dsom_pyg.query_index import Pairs
from dsom_pyg.scatter import scatter
from dsom_pyg.scores import Scores, as_scores
from dsom_pyg.scores.chunks import (
    NEG_INF,
    InChunks,
    Sums,
    added,
    exponents,
    finite_or_0,
)
from dsom_pyg.scores.sources import ScoreSource
from dsom_pyg.scores.tables import once


def kd(
    teacher: Scores | Tensor, student: Scores | Tensor, tau: float = 1.0
) -> Tensor:
    r"""Vanilla distillation, Eq. 2: KL(teacher || student) at temperature
    :obj:`tau`, mean over rows ``[B, E]``. The teacher gets no gradient. In a
    matrix, an entity of -inf is no candidate.
    """
    nothing = torch.empty(0, dtype=torch.long, device=student.device)
    outside = _outside(teacher, student, Pairs(nothing, nothing), tau)[0]
    return outside.mean()


class Decoupled(NamedTuple):
    r"""The two parts of a decoupled distillation loss, ``[B]`` each: binary
    KL of the neighbors against the rest, and KL among the non-neighbors.
    """

    neighbor: Tensor
    outside: Tensor


class _OutsideKL(torch.autograd.Function):
    # KL of two distributions renormalised outside the neighbors, and both
    # log-sum-exps outside, so that the walk through the scores is shared with
    # the binary part.
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        stu: ScoreSource,
        tea: ScoreSource,
        pairs: InChunks,
        tau: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums_t, sums_s = Sums(tea, 1 / tau), Sums(stu, 1 / tau)
        rarer = _rarer(stu, tau)
        both, room = (stu.walk(change=True), tea.walk(change=True)), stu.room()
        for (some, s), (_, t) in zip(*both, strict=True):
            diff = torch.sub(t, s, out=room.take(s.shape))
            for sums, rest, values in (
                (sums_s, s, None),
                (sums_t, t, diff),
            ):
                if rarer is not None:
                    rest.sub_(rarer[some])
                pairs.put(some, rest, NEG_INF)
                sums.add(rest, values, over=True)
        sums_s.join()
        sums_t.join()
        lse_t, lse_s = sums_t.log(), sums_s.log()
        # Where nobody is outside, both sides are empty and the KL is 0.
        kl = sums_t.mean() / tau - (finite_or_0(lse_t) - finite_or_0(lse_s))
        ctx.saved = stu, tea, pairs, tau, rarer, token, lse_t, lse_s
        ctx.mark_non_differentiable(lse_t)
        return kl, lse_t, lse_s.clone()

    @staticmethod
    @once
    def backward(
        ctx: Any, grad_kl: Tensor, _: Tensor, grad_lse: Tensor
    ) -> tuple[Any, ...]:
        stu, tea, pairs, tau, rarer, token, lse_t, lse_s = ctx.saved
        weight_t = (-grad_kl / tau)[:, None]
        weight_s = ((grad_kl + grad_lse) / tau)[:, None]
        log_t, log_s = (finite_or_0(x) * tau for x in (lse_t, lse_s))
        of_stu, of_tea = stu.room(), tea.room()

        def part(
            some: slice, chunk: Tensor, out: Tensor | None, last: bool
        ) -> Tensor:
            place = chunk if last else of_stu.take(chunk.shape)
            said = tea.take(some, of_tea)
            for scores, log, weight, to in (
                (chunk, log_s, weight_s, place),
                (said, log_t, weight_t, said),
            ):
                if rarer is not None:
                    scores = scores - rarer[some]
                p = exponents(scores, log, 1 / tau, to)
                # Neighbors may score far above the rest, and overflow.
                pairs.put(some, p, NEG_INF)
                out = added(out, p.exp2_(), weight)
            assert out is not None
            return out

        stu.parts.append(part)
        return torch.zeros_like(token), None, None, None, None


def _rarer(source: ScoreSource, tau: float) -> Tensor | None:
    # Scores of drawn entities come less log p, which suits sums of exp(s):
    # each counts 1 / p times. Sums of exp(s / tau) want them less tau * log p.
    # What is told apart, known tails, is there for certain: its log p is 0.
    return None if source.log_p is None else (tau - 1) * source.log_p


def _outside(
    teacher: Scores | Tensor,
    student: Scores | Tensor,
    neighbors: Pairs,
    tau: float,
) -> tuple[Tensor, Tensor, Tensor]:
    stu = _finite(student)
    tea = _finite(teacher).beside(stu)
    pairs = InChunks(neighbors.row, neighbors.tail, stu.source)
    parts: tuple[Tensor, Tensor, Tensor] = _OutsideKL.apply(
        stu.token, stu.source, tea.source, pairs, tau
    )
    return parts


def _finite(scores: Scores | Tensor) -> Scores:
    # Models give numbers; a matrix of a user may have -inf, of which there
    # are no differences. So low a number has no probability either, and
    # stays one when it is divided by a temperature.
    if torch.is_tensor(scores):
        low = max(torch.finfo(scores.dtype).min / 4, -1e30)
        scores = scores.clamp(min=low)
    return as_scores(scores)


def _segment_logsumexp(value: Tensor, row: Tensor, num_rows: int) -> Tensor:
    # -inf for a row without entries.
    top = scatter(value.detach(), row, dim_size=num_rows, reduce='max')
    total = scatter((value - top[row]).exp(), row, dim_size=num_rows)
    empty = total == 0
    log = total.masked_fill(empty, 1.0).log() + top
    return log.masked_fill(empty, NEG_INF)


def _log_binary(
    lse_in: Tensor, lse_out: Tensor, log_count: Tensor, form: str
) -> tuple[Tensor, Tensor]:
    # (log p_N, log(1 - p_N)) from log-sum-exps, no probability involved:
    # log sigmoid keeps the 1e-20 that log p_N is away from 0.
    log_in = logsigmoid(lse_in - lse_out)
    log_out = logsigmoid(lse_out - lse_in)
    if form == 'sum':
        return log_in, log_out
    # p_N = mean: 1 - p_N = (1 - 1/n) + (1 - sum p) / n.
    share = torch.log1p(-(-log_count).exp().clamp(max=1.0))
    return log_in - log_count, torch.logaddexp(share, log_out - log_count)


def _binary_kl(
    tea: tuple[Tensor, Tensor], stu: tuple[Tensor, Tensor]
) -> Tensor:
    out = torch.zeros_like(tea[0])
    for log_t, log_s in zip(tea, stu, strict=True):
        # 0 log 0 = 0; the double `where` keeps NaN out of the gradient.
        none = ~(log_t > NEG_INF)
        t, s = log_t.masked_fill(none, 0.0), log_s.masked_fill(none, 0.0)
        out = out + (log_t.exp() * (t - s)).masked_fill(none, 0.0)
    return out


def decoupled_parts(
    teacher: Scores | Tensor,
    student: Scores | Tensor,
    neighbors: Pairs,
    tau: float = 4.0,
    form: str = 'mean',
) -> Decoupled:
    r"""The two parts of neighbor-decoupled distillation, Eq. 11 and 12.

    With :math:`P = \mathrm{softmax}(F / \tau)`, neighbors N of a query and
    :math:`\bar p = \frac{1}{|N|} \sum_{n \in N} p_n`:

    .. math::
        \mathcal{L}_{NEKD} &= KL([\bar p, 1 - \bar p]^{tea} \,\|\,
        [\bar p, 1 - \bar p]^{stu}) \\
        \mathcal{L}_{NNKD} &= KL(\tilde P^{tea} \,\|\, \tilde P^{stu}),
        \quad \tilde p_e = p_e / \sum_{e' \notin N} p_{e'}

    A query without neighbors has a neighbor part of 0, and its outside part
    is plain distillation. One whose neighbors are all its candidates has two
    parts of 0. In a matrix, an entity of -inf is no candidate.

    Args:
        teacher: Scores ``[B, E]``; no gradient flows into them.
        student: Scores ``[B, E]``.
        neighbors: N of each query, distinct tails.
        tau: Temperature.
        form: ``'mean'`` as the paper writes it, or ``'sum'``, with which
            KD = neighbor part + (1 - p_N) outside + p_N within holds.
    """
    if form not in ('mean', 'sum'):
        raise ValueError(f"form must be 'mean' or 'sum', got '{form}'")
    stu = _finite(student)
    tea = _finite(teacher).beside(stu)
    row, rows = neighbors.row, stu.shape[0]
    outside, out_tea, out_stu = _outside(tea, stu, neighbors, tau)
    log_count = neighbors.count(rows).to(tea.dtype).log()
    tea_in = _segment_logsumexp(tea.at(neighbors) / tau, row, rows)
    stu_in = _segment_logsumexp(stu.at(neighbors) / tau, row, rows)
    # Rows without neighbors, or without anybody else, leave before any
    # 0 * inf can arise.
    none = log_count == NEG_INF
    none = none | (out_tea == NEG_INF) | (out_stu == NEG_INF)
    tea_in, out_tea, stu_in, out_stu, log_count = (
        x.masked_fill(none, 0.0)
        for x in (tea_in, out_tea, stu_in, out_stu, log_count)
    )
    binary = _binary_kl(
        _log_binary(tea_in, out_tea, log_count, form),
        _log_binary(stu_in, out_stu, log_count, form),
    )
    neighbor = binary.masked_fill(none, 0.0)
    return Decoupled(neighbor, outside)


def neighbor_decoupled_kd(
    teacher: Scores | Tensor,
    student: Scores | Tensor,
    neighbors: Pairs,
    tau: float = 4.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    form: str = 'mean',
) -> Tensor:
    r"""Eq. 12: :math:`\alpha \mathcal{L}_{NEKD} + \beta \mathcal{L}_{NNKD}`,
    ``[B]``. See :func:`decoupled_parts`.
    """
    parts = decoupled_parts(teacher, student, neighbors, tau, form)
    return alpha * parts.neighbor + beta * parts.outside


def decoupled_kd(
    teacher: Scores | Tensor,
    student: Scores | Tensor,
    target: Tensor,
    tau: float = 4.0,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Tensor:
    r"""Decoupled distillation of `Zhao et al.
    <https://arxiv.org/abs/2203.08679>`_ (2022), ``[B]``: N holds the target
    of each query alone.
    """
    row = torch.arange(target.numel(), device=target.device)
    both, alone = (teacher, student), Pairs(row, target)
    return neighbor_decoupled_kd(*both, alone, tau, alpha, beta)
