"""Losses on known answers: over all entities, over drawn ones, and N3."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.scores import Scores, as_scores


def query_cross_entropy(
    scores: Scores | Tensor, targets: Pairs, weight: Tensor | None = None
) -> Tensor:
    r"""Cross-entropy over all entities, mean over (query, tail) pairs.

    With :math:`n_q` tails of query q among the targets (Eq. 1 of the paper,
    grouped by query):

    .. math::
        \mathcal{L} = \frac{1}{K} \Big( \sum_q n_q \log \sum_e e^{F_q[e]}
        - \sum_{(q, t)} F_q[t] \Big)

    The scores are ``[B, E]``, the targets K pairs, at least one. With weights
    ``[K]`` it is the weighted mean.
    """
    if targets.row.numel() == 0:
        raise ValueError('query_cross_entropy needs at least one target')
    scores = as_scores(scores)
    log_z, score = scores.logsumexp(), scores.at(targets)
    if weight is None:
        count = targets.count(scores.shape[0])
        return ((log_z * count).sum() - score.sum()) / targets.row.numel()
    total = (weight * (log_z[targets.row] - score)).sum()
    return total / weight.sum()


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


def multi_label_bce(
    scores: Scores | Tensor, known: Pairs, smoothing: float = 0.0
) -> Tensor:
    r"""Binary cross-entropy of all entities, mean over these, ``[B]``.

    The labels are 1 for the known tails of a query and 0 for others; smoothed
    as :math:`(1 - \epsilon) y + 1 / E`, as TuckER's code does.

    Args:
        scores: ``[B, E]``.
        known: Distinct tails of each query.
        smoothing: :math:`\epsilon`; 0 leaves the labels as they are.
    """
    scores = as_scores(scores)
    rows, size = scores.shape
    logs, total = scores.softplus()
    inside = scores.at(known)
    zero = inside.new_zeros(rows)
    label = (1 - smoothing) * zero.index_add(0, known.row, inside)
    if smoothing:
        label = label + total / size
    return (logs - label) / size


def margin_loss(
    positive: Tensor, negative: Tensor, counts: Tensor, margin: float
) -> Tensor:
    r"""Mean over negatives of :math:`\max(0, \gamma - f^+ + f^-)`, ``[K]``.

    Args:
        positive: Scores of triples, ``[K]``.
        negative: Scores of their negatives, ``[K, N]``.
        counts: Which of these count, bool ``[K, N]``; 0 where none does.
        margin: :math:`\gamma`.
    """
    lead = (margin - positive[:, None] + negative).clamp(min=0.0)
    return (lead * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)


def self_adversarial(
    positive: Tensor, negative: Tensor, counts: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    r"""Both parts of self-adversarial negative sampling, ``[K]`` each:
    :math:`-\log \sigma(f^+)` and :math:`-\sum_j p_j \log \sigma(-f^-_j)`,
    where :math:`p = \mathrm{softmax}(a f^-)` carries no gradient (`Sun et al.
    <https://arxiv.org/abs/1902.10197>`_, Eq. 5 and 6).

    Args:
        positive: Scores of triples plus the margin, ``[K]``.
        negative: Those of their negatives, ``[K, N]``.
        counts: Which of these count, bool ``[K, N]``; 0 where none does.
        temperature: a; 0 for equal weights.
    """
    with torch.no_grad():
        raised = temperature * negative
        weight = raised.masked_fill(~counts, -torch.inf).softmax(dim=1)
        weight = weight.masked_fill(~counts.any(dim=1)[:, None], 0.0)
    against = (weight * softplus(negative)).sum(dim=1)
    return softplus(-positive), against


def bernoulli_weights(index: QueryIndex, num_relations: int) -> Tensor:
    r"""How much each side of a triple is corrupted, ``[2R]``, 1 on average
    over both sides: twice the probability of replacing the tail, which is
    heads a tail over the sum of that and tails a head (`Wang et al.
    <https://ojs.aaai.org/index.php/AAAI/article/view/8870>`_, 2014).

    Args:
        index: N(h, r) over training triples with reciprocals.
        num_relations: 2R.
    """
    tails = index.ptr.diff()
    queries = torch.bincount(index.rel, minlength=num_relations)
    pairs = queries.new_zeros(num_relations).index_add_(0, index.rel, tails)
    mean = pairs.double() / queries.clamp(min=1)
    there, back = mean.roll(num_relations // 2), mean
    # A side with many answers is replaced rarely: it would often be true.
    share = 2 * there / (there + back).clamp(min=1e-12)
    return share.to(torch.get_default_dtype())
