"""What frozen teachers answer to a batch of queries."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores, weighted_sum
from dsom_pyg.scores.tables import Basis
from dsom_pyg.teachers.ensemble import TeacherEnsemble

Tables = dict[Hashable, Tensor]


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


@dataclass(frozen=True, eq=False)
class Kept:
    r"""What was worked out from answers of frozen teachers, by whom it
    belongs to. It is narrow: nothing here is as wide as E.

    Args:
        of_queries: Tables ``[B, ...]``.
        of_pairs: Tables ``[K, ...]``, of the pairs of queries and targets.
    """

    of_queries: Tables = field(default_factory=dict)
    of_pairs: Tables = field(default_factory=dict)

    @classmethod
    def concatenate(cls, parts: Sequence['Kept']) -> 'Kept':
        r"""The tables that all parts have, one below the other."""

        def joined(
            each: list[dict[Hashable, Tensor]],
        ) -> dict[Hashable, Tensor]:
            if not each:
                return {}
            owners = [o for o in each[0] if all(o in part for part in each)]
            return {o: torch.cat([part[o] for part in each]) for o in owners}

        return cls(
            joined([part.of_queries for part in parts]),
            joined([part.of_pairs for part in parts]),
        )

    def select(self, queries: Tensor, pairs: Tensor) -> 'Kept':
        r"""These rows of all tables."""
        return Kept(
            {o: table[queries] for o, table in self.of_queries.items()},
            {o: table[pairs] for o, table in self.of_pairs.items()},
        )


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
        tables: What is kept of the teachers, see
            :meth:`TeacherEnsemble.tables`.
        kept: What was worked out from them before, see :meth:`once`.
    """

    ensemble: TeacherEnsemble
    head: Tensor
    rel: Tensor
    precision: str = 'fp32'
    context: Context = Context()
    tables: Sequence[Sequence[Basis] | None] | None = None
    kept: Kept = field(default_factory=Kept)

    def __len__(self) -> int:
        return self.head.numel()

    @torch.no_grad()
    def once(
        self,
        owner: Hashable,
        make: Callable[[], Tensor],
        of_pairs: bool = False,
    ) -> Tensor:
        r"""What :obj:`make` returns, asked for the first time only.

        Where a combiner learns from answers that do not change
        (:class:`~dsom_pyg.training.PolicyTask`), that is once in a training,
        not once in an epoch. So it must depend on nothing that learns, nor
        on the other queries of a batch; and as it is kept for all queries,
        its width must not grow with E.

        Args:
            owner: Tells it from what others keep, such as the module that
                asks.
            make: Makes a row for each query, without gradient.
            of_pairs: It makes a row for each pair of query and target.
        """
        kept = self.kept.of_pairs if of_pairs else self.kept.of_queries
        if owner not in kept:
            kept[owner] = make()
        return kept[owner]

    @cached_property
    @torch.no_grad()
    def each(self) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``."""
        query, precision = (self.head, self.rel), self.precision
        return self.ensemble.each(*query, precision=precision)

    @cached_property
    @torch.no_grad()
    def streams(self) -> list[Scores]:
        r"""The same, M times ``[B, E]``, which need not be held at once: for
        those who want to make several sums of them.
        """
        if 'each' in vars(self):
            return [Scores.of(x) for x in self.each]
        words = self.head, self.rel, self.precision, self.tables
        return self.ensemble.streams(*words)

    @torch.no_grad()
    def combined(self, weights: Tensor) -> Scores:
        r"""Scores ``[B, E]`` under weights ``[B, M]`` (Eq. 7)."""
        made = vars(self).keys() & {'each', 'streams'}
        if made:
            return weighted_sum(weights, self.streams)
        words = self.head, self.rel, weights, self.precision, self.tables
        return self.ensemble.scores(*words)

    @cached_property
    def available(self) -> Tensor:
        r"""Which teachers know the heads, bool ``[B, M]``."""
        return self.ensemble.available(self.head)
