"""Losses on known answers: query cross-entropy and N3."""

import torch
from torch import Tensor

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores, as_scores


def query_cross_entropy(scores: Scores | Tensor, targets: Pairs) -> Tensor:
    r"""Cross-entropy over all entities, mean over (query, tail) pairs.

    With :math:`n_q` tails of query q among the targets (Eq. 1 of the paper,
    grouped by query):

    .. math::
        \mathcal{L} = \frac{1}{K} \Big( \sum_q n_q \log \sum_e e^{F_q[e]}
        - \sum_{(q, t)} F_q[t] \Big)

    The scores are ``[B, E]``, the targets K pairs, at least one.
    """
    if targets.row.numel() == 0:
        raise ValueError('query_cross_entropy needs at least one target')
    scores = as_scores(scores)
    log_z, count = scores.logsumexp(), targets.count(scores.shape[0])
    total = (log_z * count).sum() - scores.at(targets).sum()
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


@torch.no_grad()
def target_cross_entropy(scores: Scores | Tensor, targets: Pairs) -> Tensor:
    r"""Cross-entropy ``[K]`` of every (query, tail) pair under scores
    ``[B, E]``, without gradient.
    """
    scores = as_scores(scores)
    return scores.logsumexp()[targets.row] - scores.at(targets)
