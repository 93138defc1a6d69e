"""Which known triples may be wrong, by models that did not see them.

How such models are trained: :mod:`dsom_pyg.completion.judging`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.completion.asking import Candidates
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.evaluation import Scorer, queries_at_a_time
from dsom_pyg.graph import Triples, add_reciprocals
from dsom_pyg.kg import KG

# Mean and deviation of a relation are drawn to those of all, as if so many
# triples of all were among its own.
PRIOR_TRIPLES = 10


class Suspicion(NamedTuple):
    r"""How much known triples are believed by who did not see them.

    Attributes:
        triples: T of them, of all splits.
        belief: ``[T]``, in standard deviations from the mean of the relation:
            the lowest are suspicious.
    """

    triples: Triples
    belief: Tensor

    def select(self, index: Tensor) -> Suspicion:
        r"""Some of them."""
        return Suspicion(self.triples.select(index), self.belief[index])

    @property
    def order(self) -> Tensor:
        r"""Their places, the least believed first."""
        return self.belief.argsort(stable=True)


@torch.no_grad()
def belief(
    scorer: Scorer, graph: KG, ranges: Ranges, triples: Triples
) -> Tensor:
    r""":math:`-\log s_t - \log s_h` of triples, ``[T]``: :math:`s_t` is the
    share of the candidates for the tail, which is one of them, that do not
    score lower than it; :math:`s_h` likewise. Candidates are those of new
    answers, :class:`~dsom_pyg.completion.asking.Candidates`.
    """
    size = graph.num_relations
    known = graph.index('train', 'val', 'test')
    candidates = Candidates(known, graph.num_entities, ranges)
    both = add_reciprocals(triples, size)
    total = torch.zeros(len(both.edge_type))
    # Those of a relation share their candidates.
    order = both.edge_type.argsort(stable=True)
    for part in order.split(queries_at_a_time(graph.num_entities)):
        h, r, t = both.head[part], both.edge_type[part], both.tail[part, None]
        rivals = scorer.score_tails(h, r)
        own = rivals.gather(1, t)
        candidates.bar(rivals, h, r)
        rivals.scatter_(1, t, -torch.inf)
        there = rivals > -torch.inf
        above = (there & (rivals >= own)).sum(dim=1)
        share = (1 + above) / (1 + there.sum(dim=1))
        total[part] = -share.log()
    return torch.stack(total.chunk(2)).sum(dim=0)


def standardised(value: Tensor, group: Tensor) -> Tensor:
    r"""Values ``[T]`` less the mean of their group, in deviations of it."""
    size = int(group.max()) + 1 if len(group) else 0
    count = torch.bincount(group, minlength=size) + PRIOR_TRIPLES

    def mean(x: Tensor, of_all: Tensor) -> Tensor:
        total = torch.bincount(group, x, minlength=size)
        return ((total + PRIOR_TRIPLES * of_all) / count)[group]

    value = value.double()
    centred = value - mean(value, value.mean())
    square = mean(centred.square(), value.var(correction=0))
    return (centred / square.sqrt().clamp(min=1e-12)).float()
