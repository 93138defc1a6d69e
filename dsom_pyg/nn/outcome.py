"""How well weighted teachers answer: what a combiner learns from."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from dsom_pyg.losses import row_blocks
from dsom_pyg.nn.ensemble import combine
from dsom_pyg.query_index import Pairs


def combined_cross_entropy(
    weights: Tensor,
    logits: Sequence[Tensor],
    targets: Pairs,
    known: Pairs | None = None,
) -> Tensor:
    r"""Cross-entropy of each pair under a combination that is not kept.

    Args:
        weights: Of each query and teacher; a gradient flows into them.
        logits: Of each teacher.
        targets: Tails of the queries.
        known: True tails that are no rivals of each other, as in a filtered
            ranking; targets among them compete with all other entities.
            (default: every other entity is a rival)

    Shapes:
        - **weights:** :math:`(B, M)`
        - **logits:** M times :math:`(B, E)`
        - **output:** :math:`(K)`
    """
    row, tail = targets.row, targets.tail
    at_target = torch.stack([x[row, tail] for x in logits], dim=1)
    score = (weights[row] * at_target).sum(dim=1)
    parts = []
    for rows in row_blocks(logits[0]):
        combined = combine(weights[rows], [x[rows] for x in logits])
        parts.append(_without(combined, known, rows).logsumexp(dim=1))
    log_z = torch.cat(parts)[row]
    if known is not None:
        log_z = torch.logaddexp(log_z, score)
    return log_z - score


@torch.no_grad()
def reciprocal_ranks(
    actions: Tensor,
    logits: Sequence[Tensor],
    targets: Pairs,
    known: Pairs | None = None,
) -> Tensor:
    r"""Reciprocal rank of each pair under each of A weightings, ties
    realistic.

    As weights are not negative, an entity that no teacher ranks above the
    target is below it under every weighting: only the few others are
    weighed.

    Args:
        actions: Weightings, non-negative, some weight in each.
        logits: Of each teacher.
        targets: Tails of the queries, row by row.
        known: True tails that are no rivals. (default: every other entity
            is a rival)

    Shapes:
        - **actions:** :math:`(A, M)`
        - **logits:** M times :math:`(B, E)`
        - **output:** :math:`(K, A)`
    """
    parts = []
    for rows in row_blocks(logits[0]):
        inside = _inside(targets, rows)
        row, tail = targets.row[inside] - rows.start, targets.tail[inside]
        lead = [x[rows][row] - x[rows][row, tail][:, None] for x in logits]
        rival = _without(torch.zeros_like(logits[0][rows]), known, rows)[row]
        rival = rival == 0
        rival[torch.arange(row.numel(), device=row.device), tail] = False
        ahead = torch.stack([x >= 0 for x in lead]).any(dim=0)
        pair, entity = (rival & ahead).nonzero(as_tuple=True)
        leads = torch.stack([x[pair, entity] for x in lead], dim=1)
        score = leads @ actions.t()
        count = (score > 0).float() + (score == 0).float() / 2
        above = scatter(count, pair, dim_size=row.numel())
        parts.append((1 + above).reciprocal())
    return torch.cat(parts)


def _inside(pairs: Pairs, rows: slice) -> slice:
    # Rows of pairs ascend, so those of a block lie together.
    edges = torch.tensor([rows.start, rows.stop], device=pairs.row.device)
    low, high = torch.searchsorted(pairs.row, edges).tolist()
    return slice(low, high)


def _without(combined: Tensor, known: Pairs | None, rows: slice) -> Tensor:
    if known is None:
        return combined
    inside = _inside(known, rows)
    at = (known.row[inside] - rows.start, known.tail[inside])
    minus_inf = combined.new_full((), -torch.inf)
    return combined.index_put(at, minus_inf)
