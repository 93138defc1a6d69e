"""Losses on known answers: query cross-entropy and N3."""

from typing import Any

import torch
from torch import Tensor

from dsom_pyg.losses.blocks import logsumexp, row_blocks
from dsom_pyg.query_index import Pairs
from dsom_pyg.scatter import scatter


class _QueryCrossEntropy(torch.autograd.Function):
    # The gradient of a cross-entropy over [B, E] is softmax minus one-hot.
    # Autograd's own graph for it (logsumexp, gather, add) walks through the
    # large matrix several times more often than this does.
    @staticmethod
    def forward(ctx: Any, logits: Tensor, row: Tensor, tail: Tensor) -> Tensor:
        log_z = logsumexp(logits)
        ctx.save_for_backward(logits, log_z, row, tail)
        return (log_z[row] - logits[row, tail]).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, log_z, row, tail = ctx.saved_tensors
        ones = torch.ones_like(log_z[row])
        count = scatter(ones, row, dim_size=len(logits))
        weight = (count * grad)[:, None]
        out = torch.empty_like(logits)
        for block in row_blocks(logits):
            part = torch.sub(logits[block], log_z[block, None], out=out[block])
            part.exp_().mul_(weight[block])
        one = -grad.expand(row.numel()).to(out.dtype)
        out.index_put_((row, tail), one, accumulate=True)
        return out, None, None


def query_cross_entropy(logits: Tensor, targets: Pairs) -> Tensor:
    r"""Cross-entropy over all entities, mean over (query, tail) pairs.

    With :math:`n_q` tails of query q among the targets (Eq. 1 of the paper,
    grouped by query):

    .. math::
        \mathcal{L} = \frac{1}{K} \Big( \sum_q n_q \log \sum_e e^{F_q[e]}
        - \sum_{(q, t)} F_q[t] \Big)

    The logits are ``[B, E]``, the targets K pairs, at least one.
    """
    if targets.row.numel() == 0:
        raise ValueError('query_cross_entropy needs at least one target')
    total: Tensor = _QueryCrossEntropy.apply(logits, targets.row, targets.tail)
    return total / targets.row.numel()


def n3(
    rows: Tensor, weight: Tensor | None = None, complex_rows: bool = True
) -> Tensor:
    r"""Sum of the cubed complex moduli of factor rows, :math:`(re^2 +
    im^2)^{3/2}`: the nuclear 3-norm regulariser of `Lacroix et al.
    <https://arxiv.org/abs/1806.07297>`_ for one factor.

    Args:
        rows: Factor rows, ``[N, 2D]``.
        weight: How often each row counts, ``[N]``; :obj:`None` for once.
        complex_rows: Whether rows are [real | imaginary]; real rows
            contribute :math:`|x|^3` a coordinate.
    """
    square = rows.square()
    if complex_rows:
        real, imag = square.chunk(2, dim=-1)
        square = real + imag
    # x * sqrt(x) has an infinite gradient term at 0, pow(1.5) has not.
    cubed = square.pow(1.5).sum(dim=-1)
    return (cubed if weight is None else cubed * weight).sum()


def target_cross_entropy(logits: Tensor, targets: Pairs) -> Tensor:
    r"""Cross-entropy ``[K]`` of every (query, tail) pair under logits
    ``[B, E]``, without gradient.
    """
    logits, row = logits.detach(), targets.row
    return logsumexp(logits)[row] - logits[row, targets.tail]
