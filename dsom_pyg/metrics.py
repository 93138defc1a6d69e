"""Filtered ranks, tie rules, and what is reported of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.graph import check_ids
from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.scatter import scatter

CATEGORIES = ('1-1', '1-N', 'N-1', 'N-N')
# What share of its equals comes before a target.
TIES = {'realistic': 0.5, 'optimistic': 0.0, 'pessimistic': 1.0}


def count_rivals(
    scores: Tensor, pairs: Pairs, known: Pairs, target_scores: Tensor
) -> tuple[Tensor, Tensor]:
    r"""How many unknown entities score above, and as high as, each of K
    targets.

    Args:
        scores: Scores of (a part of) the entities, ``[B, E]``; overwritten at
            the known tails.
        pairs: The targets; only their rows are used.
        known: Tails that are no rivals, the targets among them, as
            positions in the columns of :obj:`scores`.
        target_scores: Read from the same scores, ``[K]``.
    """
    minus_inf = scores.new_full((), -torch.inf)
    scores.index_put_((known.row, known.tail), minus_inf)
    above, reach = [], []
    # No more targets at a time than there are rows: some queries have many.
    step = max(1, scores.size(0))
    for row, limit in zip(
        pairs.row.split(step), target_scores[:, None].split(step), strict=True
    ):
        rivals = scores[row]
        # Comparisons into a float buffer: summing booleans is several times
        # slower on a CPU. Exact up to 2^24 columns.
        buffer = torch.empty_like(rivals, dtype=torch.float32)
        above.append(torch.gt(rivals, limit, out=buffer).sum(dim=1))
        reach.append(torch.ge(rivals, limit, out=buffer).sum(dim=1))
    better, least = torch.cat(above).long(), torch.cat(reach).long()
    return better, least - better


def relation_categories(index: QueryIndex, num_relations: int) -> Tensor:
    r"""Category of each of R relations, a position in :data:`CATEGORIES`, from
    an index with reciprocals; a relation without triples gets 0.

    A side counts as N when a query has more than 1.5 answers on average
    (`Bordes et al. <https://papers.nips.cc/paper/5071>`_, 2013).

    Raises:
        ValueError: The index is of another R, as far as it tells.
    """
    size = 2 * num_relations
    if index.num_relations not in (None, num_relations):
        raise ValueError(
            f'num_relations is {num_relations}, the index is of '
            f'{index.num_relations}'
        )
    check_ids(relations=(index.rel, size))
    queries = scatter(torch.ones_like(index.rel), index.rel, dim_size=size)
    pairs = scatter(index.ptr.diff(), index.rel, dim_size=size)
    many = pairs > 1.5 * queries
    return 2 * many[num_relations:].long() + many[:num_relations].long()


@dataclass(frozen=True, eq=False, repr=False)
class RankingResult:
    r"""Ranks of all targets of a split, and the protocol they follow.

    Ranks are kept as counts, so that every tie rule can be asked for:
    optimistic is 1 + above, pessimistic 1 + above + equal, and realistic,
    the default, their mean (`Berrendorf et al.
    <https://arxiv.org/abs/2002.06914>`_).

    Args:
        head, rel, tail: The queries (reciprocals of the original relations
            are :math:`r + R`) and their targets, ``[K]``.
        above, equal: Rivals with a higher and with the same score, ``[K]``.
        num_relations: R.
        categories: Of each relation, see :func:`relation_categories`.
        protocol: Split, filter and the like, in words.
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
        r"""Ranks as float64, ``[K]``, by one of the three tie rules."""
        if ties not in TIES:
            raise ValueError(f"ties must be one of {[*TIES]}, got '{ties}'")
        return 1.0 + self.above.double() + TIES[ties] * self.equal.double()

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
        r"""MRR and Hits@k in percent, MR, and the number of targets; all but
        that are NaN for an empty result.
        """
        out = {'mrr': 100 * self.mrr(ties)}
        out |= {f'hits@{k}': 100 * self.hits(k, ties) for k in ks}
        return out | {'mr': self.mr(ties), 'count': float(len(self))}

    def select(self, mask: Tensor) -> 'RankingResult':
        r"""The targets where :obj:`mask` ``[K]`` holds, or at positions."""
        names = ('head', 'rel', 'tail', 'above', 'equal')
        chosen: dict[str, Any] = {n: getattr(self, n)[mask] for n in names}
        return replace(self, **chosen)

    def by_side(self) -> dict[str, 'RankingResult']:
        r"""Results of head queries (reciprocals) and of tail queries."""
        is_head = self.rel >= self.num_relations
        return {'head': self.select(is_head), 'tail': self.select(~is_head)}

    def by_relation(self) -> dict[int, 'RankingResult']:
        r"""Results of each relation, both sides together."""
        rel, order = (self.rel % self.num_relations).sort(stable=True)
        each, count = rel.unique_consecutive(return_counts=True)
        parts = order.split(count.tolist())
        pairs = zip(each.tolist(), parts, strict=True)
        return {r: self.select(part) for r, part in pairs}

    def by_category(self) -> dict[str, 'RankingResult']:
        r"""Results of the :data:`CATEGORIES` that there are."""
        category = self.categories[self.rel % self.num_relations]
        there = torch.unique(category).tolist()
        return {CATEGORIES[at]: self.select(category == at) for at in there}

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self})'

    def __str__(self) -> str:
        m = self.metrics()
        hits = '  '.join(f'H@{k} {m[f"hits@{k}"]:.2f}' for k in (1, 3, 10))
        return f'MRR {m["mrr"]:.2f}  {hits}  MR {m["mr"]:.0f}'
