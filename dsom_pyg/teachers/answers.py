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
            tell memory from knowledge. (default: not told)
        known: True tails that are no rivals of each other when an answer
            is judged on held-out triples, as in a filtered ranking.
            (default: every other entity is a rival)
        degree: How often the heads occur in what the teachers were trained
            on, if that is not the whole training split.

    Shapes:
        - **degree:** :math:`(B)`
    """

    seen: Pairs | None = None
    known: Pairs | None = None
    degree: Tensor | None = None


class Answers:
    r"""The answers of an ensemble to a batch of queries, without gradient.

    They are computed when they are asked for: a combiner that decides from
    query vectors or availability alone never pays for the logits, and one
    that is evaluated on a part of the entities never holds all of them.

    Args:
        ensemble: The teachers.
        head: Heads.
        rel: Relations in :math:`0..2R - 1`.
        precision: Of the matrix products. (default: ``'fp32'``)
        context: What else is known of the queries.
        bases: The teachers' bases, if they are kept.

    Shapes:
        - **head, rel:** :math:`(B)`
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        head: Tensor,
        rel: Tensor,
        precision: str = 'fp32',
        context: Context | None = None,
        bases: Tensor | None = None,
    ) -> None:
        self.ensemble, self.head, self.rel = ensemble, head, rel
        self.precision, self.bases = precision, bases
        self.context = context or Context()
        self._each: list[Tensor] | None = None

    def __len__(self) -> int:
        return self.head.numel()

    @property
    def each(self) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``."""
        if self._each is None:
            with torch.no_grad():
                self._each = self.ensemble.each(
                    self.head, self.rel, precision=self.precision
                )
        return self._each

    def combined(self, weights: Tensor) -> Tensor:
        r"""Weighted sum of the teachers' logits (Eq. 7).

        Shapes:
            - **weights:** :math:`(B, M)`
            - **output:** :math:`(B, E)`
        """
        weights = weights.detach()
        if self._each is not None:
            return weighted_sum(weights, self._each)
        with torch.no_grad():
            return self.ensemble.combined(
                self.head,
                self.rel,
                weights,
                precision=self.precision,
                bases=self.bases,
            )

    @cached_property
    def available(self) -> Tensor:
        r"""Which teachers know the heads, bool ``[B, M]``."""
        return self.ensemble.available(self.head)
