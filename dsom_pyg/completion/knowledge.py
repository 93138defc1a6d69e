"""What a model knows, and what of that it has learned."""

from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from dsom_pyg.completion.asking import Candidates
from dsom_pyg.completion.proposals import Rates
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.completion.store import Parts
from dsom_pyg.graph import SPLITS, Triples, add_reciprocals, concat, within
from dsom_pyg.query_index import QueryIndex


class Knowledge:
    r"""The graph of a model as it is now, corrected and enlarged since the
    training, and that part of it which the model has learned.

    Args:
        parts: What the model is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.graph = parts, parts.graph
        self._sizes = self.graph.num_entities, self.graph.num_relations

    @cached_property
    def known(self) -> QueryIndex:
        r"""The known answers of every question."""
        return self.graph.index(*SPLITS)

    @cached_property
    def rejected(self) -> QueryIndex | None:
        r"""Answers that people have rejected."""
        if self.parts.rejected is None:
            return None
        both = add_reciprocals(self.parts.rejected, self._sizes[1])
        return QueryIndex(both, *self._sizes)

    @cached_property
    def settled(self) -> QueryIndex:
        r"""Answers that are no rivals of others: known, or rejected."""
        if self.parts.rejected is None:
            return self.known
        every = concat(self.graph.triple_graph.known(), self.parts.rejected)
        return QueryIndex(add_reciprocals(every, self._sizes[1]), *self._sizes)

    def has(self, triples: Triples) -> Tensor:
        r"""Which triples are known, bool ``[N]``."""
        answers = self.known.lookup(triples.head, triples.edge_type)
        hit = answers.tail == triples.tail[answers.row]
        out = torch.zeros(len(triples.edge_type), dtype=torch.bool)
        out[answers.row[hit]] = True
        return out

    @cached_property
    def learned(self) -> Triples:
        r"""The training triples that were there in training."""
        train, later = self.graph.triples('train'), self.parts.accepted
        if later is not None:
            train = train.select(~within(train, later))
        if self.parts.removed is not None:
            train = concat(train, self.parts.removed)
        return train.select((train.edge_index < self._added).all(dim=0))

    @property
    def _added(self) -> int:
        # The first entity that came after the training.
        return self._sizes[0] - self.parts.about.get('added', 0)

    @cached_property
    def ranges(self) -> Ranges:
        r"""Which entities each relation takes."""
        learned = torch.zeros(self._sizes[0], dtype=torch.bool)
        learned[self.learned.edge_index.flatten()] = True
        return Ranges(
            self._roles,
            *self._sizes,
            likely=self.parts.likely,
            learned=learned,
        )

    @property
    def _roles(self) -> QueryIndex:
        # By train; of whom it has nothing since all was rejected, by that.
        removed = self.parts.removed
        if removed is None:
            return self.graph.index('train')
        train = self.graph.triples('train')
        alone = torch.ones(self._sizes[0], dtype=torch.bool)
        alone[train.edge_index.flatten()] = False
        removed = removed.select(alone[removed.edge_index].any(dim=0))
        both = add_reciprocals(concat(train, removed), self._sizes[1])
        return QueryIndex(both, *self._sizes)

    @cached_property
    def rates(self) -> Rates:
        r"""How many answers questions lack."""
        return Rates(self.graph, self.ranges)

    @property
    def candidates(self) -> Candidates:
        r"""What may be proposed."""
        return Candidates(
            self.known, self._sizes[0], self.ranges, never=self.rejected
        )

    def others(self, head: Tensor, rel: Tensor, tail: Tensor) -> Tensor:
        r"""A tail and its rivals among all entities, bool ``[B, E]``: who is
        no known answer and was not rejected.

        Args:
            head: Of the questions, ``[B]``.
            rel: Their relations in :math:`0..2R - 1`, ``[B]``.
            tail: An answer to each, ``[B]``.
        """
        out = torch.ones(len(head), self._sizes[0], dtype=torch.bool)
        settled = self.settled.lookup(head, rel)
        out[settled.row, settled.tail] = False
        return out.scatter_(1, tail[:, None], True)

    def rivals(self, head: Tensor, rel: Tensor, tail: Tensor) -> Tensor:
        r"""The same among those that may be proposed, which the probability
        of an answer is a share of. A tail that the relation does not take has
        all rivals: among the few that it takes it would seem likely.
        """
        scores = torch.zeros(len(head), self._sizes[0])
        self.candidates.bar(scores, head, rel)
        out = (scores == 0).scatter_(1, tail[:, None], True)
        taken = self.ranges.take(head, rel, tail)
        taken |= self.has(Triples(torch.stack([head, tail]), rel))
        far = (~taken).nonzero()[:, 0]
        out[far] = self.others(head[far], rel[far], tail[far])
        return out

    def notes(self, ends: Iterable[int], rel: int) -> list[str]:
        r"""What a person is told about some entities and a relation."""
        notes, unheard = [], []
        for end in ends:
            name = self.parts.entities.names[end]
            if end >= self._added:
                notes.append(
                    f'{name!r} was added later, and is known less well'
                )
            elif not self.ranges.seen[end]:
                unheard.append(name)
        rel = rel % self._sizes[1]
        if not self.trained[rel]:
            unheard.append(self.parts.relations.names[rel])
        return notes + [
            f'{name!r} was in no training triple: what is said of it means '
            'nothing'
            for name in unheard
        ]

    @cached_property
    def trained(self) -> Tensor:
        r"""Which relations the model has learned, bool ``[R]``."""
        size = self._sizes[1]
        return self.learned.edge_type.bincount(minlength=size) > 0
