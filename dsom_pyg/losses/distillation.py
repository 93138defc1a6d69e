"""Distillation: plain, decoupled, neighbor-decoupled."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dsom_pyg.losses.blocks import row_blocks
from dsom_pyg.query_index import Pairs
from dsom_pyg.scatter import scatter

NEG_INF = -math.inf


def kd(logits_tea: Tensor, logits_stu: Tensor, tau: float = 1.0) -> Tensor:
    r"""Vanilla distillation, Eq. 2: KL(teacher || student) at temperature
    :obj:`tau`, mean over rows ``[B, E]``. The teacher gets no gradient.
    """
    log_t = (logits_tea.detach() / tau).log_softmax(dim=-1)
    log_s = (logits_stu / tau).log_softmax(dim=-1)
    return (log_t.exp() * (log_t - log_s)).sum(dim=-1).mean()


class Decoupled(NamedTuple):
    r"""The two parts of a decoupled distillation loss, ``[B]`` each: binary
    KL of the neighbors against the rest, and KL among the non-neighbors.
    """

    neighbor: Tensor
    outside: Tensor


class _OutsideKL(torch.autograd.Function):
    # KL of two distributions renormalised outside the neighbors, and both
    # log-sum-exps outside, so that the walk through the matrices is shared
    # with the binary part. Nothing of their size is kept for the backward
    # pass: recomputing a block in cache is cheaper than fetching it again.
    @staticmethod
    def forward(
        ctx: Any,
        tea: Tensor,
        stu: Tensor,
        row: Tensor,
        tail: Tensor,
        tau: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        blocks, parts = row_blocks(stu), []
        edges = [0, row.numel()]
        if len(blocks) > 1:
            starts = torch.tensor([b.start for b in blocks] + [stu.size(0)])
            edges = torch.searchsorted(row, starts).tolist()
        for block, low, high in zip(blocks, edges, edges[1:], strict=False):
            at = (row[low:high] - block.start, tail[low:high])
            parts.append(_outside_kl(tea[block], stu[block], at, tau))
        kl, lse_t, lse_s = map(torch.cat, zip(*parts, strict=True))
        ctx.save_for_backward(tea, stu, row, tail, lse_t, lse_s)
        ctx.tau = tau
        ctx.mark_non_differentiable(lse_t)
        return kl, lse_t, lse_s

    @staticmethod
    def backward(
        ctx: Any, grad_kl: Tensor, _: Tensor, grad_lse: Tensor
    ) -> tuple[None, Tensor, None, None, None]:
        tea, stu, row, tail, lse_t, lse_s = ctx.saved_tensors
        tau = ctx.tau
        weight_t = (-grad_kl / tau)[:, None]
        weight_s = ((grad_kl + grad_lse) / tau)[:, None]
        lse_t, lse_s = _finite(lse_t)[:, None], _finite(lse_s)[:, None]
        out = torch.empty_like(stu)
        # Neighbors may score far above lse of the rest: exp would overflow.
        for block in row_blocks(stu):
            part = torch.div(stu[block], tau, out=out[block])
            part.sub_(lse_s[block]).clamp_(max=0.0).exp_()
            p_t = (tea[block] / tau).sub_(lse_t[block]).clamp_(max=0.0).exp_()
            part.mul_(weight_s[block]).addcmul_(p_t, weight_t[block])
        zero = torch.zeros((), dtype=out.dtype, device=out.device)
        out.index_put_((row, tail), zero)
        return None, out, None, None, None


def _outside_kl(
    tea: Tensor, stu: Tensor, at: tuple[Tensor, Tensor], tau: float
) -> tuple[Tensor, Tensor, Tensor]:
    minus_inf = torch.tensor(NEG_INF, dtype=tea.dtype, device=tea.device)
    t, s = tea / tau, stu / tau
    diff = t - s
    lse_s = s.index_put_(at, minus_inf).logsumexp(dim=1)
    # Where nobody is outside, both sides are empty and the KL is 0.
    top = _finite(t.index_put_(at, minus_inf).amax(dim=1))
    weight = t.sub_(top[:, None]).exp_()
    total = weight.sum(dim=1)
    lse_t = total.log() + top
    kl = diff.mul_(weight).sum(dim=1) / total.clamp(min=1e-30)
    kl = kl - (_finite(lse_t) - _finite(lse_s))
    return kl, lse_t, lse_s


def _finite(x: Tensor) -> Tensor:
    return x.masked_fill(x == NEG_INF, 0.0)


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
    logits_tea: Tensor,
    logits_stu: Tensor,
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
    is plain distillation.

    Args:
        logits_tea: Of the teacher, ``[B, E]``; it gets no gradient.
        logits_stu: Of the student, ``[B, E]``.
        neighbors: N of each query, distinct tails.
        tau: Temperature.
        form: ``'mean'`` as the paper writes it, or ``'sum'``, with which
            KD = neighbor part + (1 - p_N) outside + p_N within holds.
    """
    if form not in ('mean', 'sum'):
        raise ValueError(f"form must be 'mean' or 'sum', got '{form}'")
    tea, rows = logits_tea.detach(), logits_stu.size(0)
    row, tail = neighbors.row, neighbors.tail
    parts = _OutsideKL.apply(tea, logits_stu, row, tail, tau)
    outside, out_tea, out_stu = parts
    log_count = neighbors.count(rows).to(tea.dtype).log()
    tea_in = _segment_logsumexp(tea[row, tail] / tau, row, rows)
    stu_in = _segment_logsumexp(logits_stu[row, tail] / tau, row, rows)
    some = log_count > NEG_INF
    log_count = log_count.masked_fill(~some, 0.0)
    # Rows without neighbors leave before any 0 * inf can arise.
    binary = _binary_kl(
        _log_binary(tea_in[some], out_tea[some], log_count[some], form),
        _log_binary(stu_in[some], out_stu[some], log_count[some], form),
    )
    neighbor = torch.zeros_like(outside).masked_scatter(some, binary)
    return Decoupled(neighbor, outside)


def neighbor_decoupled_kd(
    logits_tea: Tensor,
    logits_stu: Tensor,
    neighbors: Pairs,
    tau: float = 4.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    form: str = 'mean',
) -> Tensor:
    r"""Eq. 12: :math:`\alpha \mathcal{L}_{NEKD} + \beta \mathcal{L}_{NNKD}`,
    ``[B]``. See :func:`decoupled_parts`.
    """
    parts = decoupled_parts(logits_tea, logits_stu, neighbors, tau, form)
    return alpha * parts.neighbor + beta * parts.outside


def decoupled_kd(
    logits_tea: Tensor,
    logits_stu: Tensor,
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
    logits, alone = (logits_tea, logits_stu), Pairs(row, target)
    return neighbor_decoupled_kd(*logits, alone, tau, alpha, beta)
