"""Filtered ranks, tie rules, and what is reported of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from dsom_pyg.query_index import Pairs, QueryIndex

CATEGORIES = ('1-1', '1-N', 'N-1', 'N-N')
TIES = ('realistic', 'optimistic', 'pessimistic')


def count_rivals(
    scores: Tensor, pairs: Pairs, known: Pairs, target_scores: Tensor
) -> tuple[Tensor, Tensor]:
    r"""How many unknown entities score above, and as high as, each target.

    Args:
        scores: Scores of (a part of) the entities; overwritten at the known
            tails.
        pairs: The targets; only their rows are used.
        known: Tails that are no rivals, the targets among them, as
            positions in the columns of :obj:`scores`.
        target_scores: Read from the same scores.

    Shapes:
        - **scores:** :math:`(B, E)`
        - **target_scores:** :math:`(K)`
        - **above, equal:** :math:`(K)`
    """
    minus_inf = torch.tensor(
        -torch.inf, dtype=scores.dtype, device=scores.device
    )
    scores.index_put_((known.row, known.tail), minus_inf)
    above, reach = [], []
    # No more targets at a time than there are rows: some queries have many.
    for part in torch.arange(pairs.row.numel(), device=scores.device).split(
        max(1, scores.size(0))
    ):
        rivals = scores[pairs.row[part]]
        limit = target_scores[part, None]
        # Comparisons into a float buffer: summing booleans is several times
        # slower on a CPU. Exact up to 2^24 columns.
        buffer = torch.empty_like(rivals, dtype=torch.float32)
        above.append(torch.gt(rivals, limit, out=buffer).sum(dim=1))
        reach.append(torch.ge(rivals, limit, out=buffer).sum(dim=1))
    better, least = torch.cat(above).long(), torch.cat(reach).long()
    return better, least - better


def relation_categories(index: QueryIndex, num_relations: int) -> Tensor:
    r"""Category of each relation: 1-1, 1-N, N-1 or N-N.

    A side counts as N when a query has more than 1.5 answers on average
    (`Bordes et al. <https://papers.nips.cc/paper/5071>`_, 2013).

    Args:
        index: Tails by query, reciprocals included.
        num_relations: R.

    Shapes:
        - **output:** :math:`(R)`, positions in :data:`CATEGORIES`; a
          relation without triples gets 0
    """
    size = 2 * num_relations
    queries = scatter(torch.ones_like(index.rel), index.rel, dim_size=size)
    pairs = scatter(index.ptr.diff(), index.rel, dim_size=size)
    many = pairs > 1.5 * queries
    return 2 * many[num_relations:].long() + many[:num_relations].long()


@dataclass(frozen=True, eq=False)
class RankingResult:
    r"""Ranks of all targets of a split, and the protocol they follow.

    Ranks are kept as counts, so that every tie rule can be asked for:
    optimistic is 1 + above, pessimistic 1 + above + equal, and realistic,
    the default, their mean (`Berrendorf et al.
    <https://arxiv.org/abs/2002.06914>`_).

    Args:
        head, rel, tail: The queries (reciprocals of the original relations
            are :math:`r + R`) and their targets.
        above: Rivals with a higher score.
        equal: Rivals with the same score.
        num_relations: R.
        categories: Of each relation, see
            :func:`relation_categories`.
        protocol: Split, filter and the like, in words.

    Shapes:
        - **head, rel, tail, above, equal:** :math:`(K)`
        - **categories:** :math:`(R)`
    """

    head: Tensor
    rel: Tensor
    tail: Tensor
    above: Tensor
    equal: Tensor
    num_relations: int
    categories: Tensor
    protocol: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.rel.numel()

    def ranks(self, ties: str = 'realistic') -> Tensor:
        r"""Ranks as float64, ``[K]``.

        Args:
            ties: ``'realistic'``, ``'optimistic'`` or ``'pessimistic'``.
        """
        if ties not in TIES:
            raise ValueError(f"ties must be one of {TIES}, got '{ties}'")
        best = 1.0 + self.above.double()
        share = {'optimistic': 0.0, 'realistic': 0.5, 'pessimistic': 1.0}
        return best + share[ties] * self.equal.double()

    def mr(self, ties: str = 'realistic') -> float:
        r"""Mean rank."""
        return float(self.ranks(ties).mean())

    def mrr(self, ties: str = 'realistic') -> float:
        r"""Mean reciprocal rank, in 0..1."""
        return float(self.ranks(ties).reciprocal().mean())

    def hits(self, k: int, ties: str = 'realistic') -> float:
        r"""Share of targets with a rank of at most :obj:`k`, in 0..1."""
        return float((self.ranks(ties) <= k).double().mean())

    def metrics(
        self, ties: str = 'realistic', ks: Sequence[int] = (1, 3, 10)
    ) -> dict[str, float]:
        r"""MRR and Hits@k in percent, MR, and the number of targets.

        Metrics of an empty result are NaN.
        """
        out = {'mrr': 100 * self.mrr(ties)}
        out |= {f'hits@{k}': 100 * self.hits(k, ties) for k in ks}
        return out | {'mr': self.mr(ties), 'count': float(len(self))}

    def select(self, mask: Tensor) -> 'RankingResult':
        r"""The targets where :obj:`mask` ``[K]`` holds."""
        return replace(
            self,
            head=self.head[mask],
            rel=self.rel[mask],
            tail=self.tail[mask],
            above=self.above[mask],
            equal=self.equal[mask],
        )

    def by_side(self) -> dict[str, 'RankingResult']:
        r"""Results of head queries (reciprocals) and of tail queries."""
        is_head = self.rel >= self.num_relations
        return {'head': self.select(is_head), 'tail': self.select(~is_head)}

    def by_relation(self) -> dict[int, 'RankingResult']:
        r"""Results of each relation, both sides together."""
        rel = self.rel % self.num_relations
        return {int(r): self.select(rel == r) for r in torch.unique(rel)}

    def by_category(self) -> dict[str, 'RankingResult']:
        r"""Results of 1-1, 1-N, N-1 and N-N relations, where there are
        any.
        """
        category = self.categories[self.rel % self.num_relations]
        return {
            name: self.select(category == position)
            for position, name in enumerate(CATEGORIES)
            if bool((category == position).any())
        }

    def __str__(self) -> str:
        m = self.metrics()
        return (
            f'MRR {m["mrr"]:.2f}  H@1 {m["hits@1"]:.2f}  '
            f'H@3 {m["hits@3"]:.2f}  H@10 {m["hits@10"]:.2f}  '
            f'MR {m["mr"]:.0f}'
        )
