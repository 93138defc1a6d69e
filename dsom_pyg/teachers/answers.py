"""What frozen teachers answer to a batch of queries."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dsom_pyg.query_index import Pairs
from dsom_pyg.teachers.ensemble import TeacherEnsemble, weighted_sum


@dataclass(frozen=True)
class Context:
    r"""What is known of the queries of a batch beside the queries.

    Args:
        seen: Tails that the teachers were trained on, for combiners that
            tell memory from knowledge.
        known: True tails that are no rivals of each other on held-out
            triples, as in a filtered ranking; :obj:`None` for no filter.
        degree: How often the heads occur in what the teachers were trained
            on, ``[B]``, if that is not the whole training split.
    """

    seen: Pairs | None = None
    known: Pairs | None = None
    degree: Tensor | None = None


@dataclass(eq=False)
class Answers:
    r"""The answers of an ensemble to a batch of queries, without gradient.

    They are computed when they are asked for: a combiner that decides from
    query vectors or availability alone never pays for the logits.

    Args:
        ensemble: The teachers.
        head, rel: The queries, ``[B]``; relations in :math:`0..2R - 1`.
        precision: Of the matrix products.
        context: What else is known of the queries.
        bases: The teachers' bases, if they are kept.
    """

    ensemble: TeacherEnsemble
    head: Tensor
    rel: Tensor
    precision: str = 'fp32'
    context: Context = Context()
    bases: Tensor | None = None

    def __len__(self) -> int:
        return self.head.numel()

    @cached_property
    @torch.no_grad()
    def each(self) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``."""
        query, precision = (self.head, self.rel), self.precision
        return self.ensemble.each(*query, precision=precision)

    @torch.no_grad()
    def combined(self, weights: Tensor) -> Tensor:
        r"""Logits ``[B, E]`` under weights ``[B, M]`` (Eq. 7)."""
        if 'each' in vars(self):
            return weighted_sum(weights, self.each)
        query, precision = (self.head, self.rel), self.precision
        return self.ensemble.combined(
            *query, weights, precision=precision, bases=self.bases
        )

    @cached_property
    def available(self) -> Tensor:
        r"""Which teachers know the heads, bool ``[B, M]``."""
        return self.ensemble.available(self.head)
