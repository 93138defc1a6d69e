"""Losses over some entities, where all of them are too many."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dsom_pyg.query_index import QueryIndex, SampledCandidates

KINDS = ('uniform', 'frequency')


@dataclass(frozen=True)
class Sampled:
    r"""Losses over the tails of a batch and entities that are drawn for all
    of its queries, instead of all entities.

    Each drawn entity counts as many times as others were left out: where an
    entity is among the candidates with probability :math:`\pi`, its score
    rises by :math:`-\log \pi`, so that the sum of exponentials is right in
    the mean (the logQ correction of sampled softmax, `Jean et al.
    <https://arxiv.org/abs/1412.2007>`_). Rankings stay exact.

    Args:
        count: How many to draw; an entity that is drawn twice counts once.
        by: ``'uniform'``, or ``'frequency'``: half of them as often as they
            are the tail of a training query.
    """

    count: int = 10_000
    by: str = 'uniform'

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f'count must be positive, got {self.count}')
        if self.by not in KINDS:
            raise ValueError(f"by must be one of {KINDS}, got '{self.by}'")


class Draw:
    r"""Draws the candidates of each batch.

    Args:
        sampled: How.
        index: N(h, r) over training triples.
        size: E.
        generator: Of the draws, on the host.
    """

    def __init__(
        self,
        sampled: Sampled,
        index: QueryIndex,
        size: int,
        generator: torch.Generator,
    ) -> None:
        self.sampled, self.size, self.generator = sampled, size, generator
        self.tails = index.tail
        half = sampled.count // 2
        self.often = half if sampled.by == 'frequency' else 0
        self.evenly = sampled.count - self.often
        count = torch.bincount(index.tail, minlength=size).double()
        # The logarithm of how probable it is that no draw meets an entity.
        never = torch.full_like(count, -1.0 / size).log1p() * self.evenly
        if self.often:
            never += self.often * torch.log1p(-count / len(index.tail))
        log_p = (-torch.expm1(never)).log()
        self.log_p = log_p.to(torch.get_default_dtype())

    def __call__(self, known: Tensor) -> SampledCandidates:
        r"""Candidates for queries whose tails are known, these included."""
        generator = self.generator
        drawn = torch.randint(self.size, (self.evenly,), generator=generator)
        parts = [known, drawn.to(known.device)]
        if self.often:
            size = (self.often,)
            at = torch.randint(len(self.tails), size, generator=generator)
            parts.append(self.tails[at.to(known.device)])
        ids = torch.cat(parts).unique()
        log_p = self.log_p[ids]
        sure = torch.isin(ids, known)
        return SampledCandidates(ids, log_p.masked_fill(sure, 0.0))
