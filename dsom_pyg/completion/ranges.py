"""Which entities a question can sensibly be answered with."""

from functools import cached_property

import torch
from torch import Tensor

from dsom_pyg.query_index import Queries, QueryIndex

# An entity is like the tails of a relation if it has a role that at least
# this share of them has, too.
SHARED = 0.05
# Bytes of ranges that are kept.
KEPT = 2**28


class Ranges:
    r"""The entities that a relation takes as tails: those that it has in
    train, and entities like them.

    A role of an entity is to be a tail of a relation, one of :math:`2R`.
    An entity is like the tails of r if it has a role that many tails of r
    have as well. So harbours answer "calls at", whether they have been called
    at or not, and cargoes do not.

    Args:
        index: N(h, r) over training triples with reciprocals.
        num_entities: E.
        num_relations: R.
        shared: Which share of the tails of r must have a role.
        likely: Questions that can be asked of entities that have no triples
            yet, see :mod:`dsom_pyg.completion.newcomers`.
        learned: Entities that the model has learned, bool ``[E]``.
            (default: those of train)
    """

    def __init__(
        self,
        index: QueryIndex,
        num_entities: int,
        num_relations: int,
        shared: float = SHARED,
        likely: Queries | None = None,
        learned: Tensor | None = None,
    ) -> None:
        self.num_entities, self.num_relations = num_entities, num_relations
        self.shared = shared
        # A head of r + R is a tail of r: queries name every role once.
        self._entity = index.head.cpu()
        rel, size = index.rel.cpu(), num_relations
        self._role = torch.where(rel < size, rel + size, rel - size)
        self._likely, self._learned = likely, learned
        self._found: dict[int, Tensor] = {}
        # Relations that link some entity to itself.
        pairs = index.rows(torch.arange(len(index), device=index.head.device))
        loops = index.rel[pairs.row][index.head[pairs.row] == pairs.tail]
        self.reflexive = torch.zeros(2 * num_relations, dtype=torch.bool)
        self.reflexive[loops.cpu()] = True

    def __getitem__(self, rel: int) -> Tensor:
        r"""The entities that relation :math:`0..2R - 1` takes as tails, as far
        as they are :attr:`seen`, bool ``[E]``; all entities for a relation
        that train does not have.
        """
        found = self._found.pop(rel, None)
        if found is None:
            found = self._of(rel)
        self._found[rel] = found
        # The one that was asked for longest ago goes first.
        if len(self._found) * self.num_entities > KEPT:
            del self._found[next(iter(self._found))]
        return found

    def heads(self, rel: int) -> Tensor:
        r"""The entities of which relation :math:`0..2R - 1` can be asked, bool
        ``[E]``: those that its reciprocal takes, and are :attr:`seen`.
        """
        size = self.num_relations
        return self[(rel + size) % (2 * size)] & self.seen

    def take(self, head: Tensor, rel: Tensor, tail: Tensor) -> Tensor:
        r"""Which tails may answer (head, relation, ?), bool ``[B]``: the
        relation takes them, and an entity is no answer about itself unless
        the relation is known to link some entity to itself.

        Args:
            head: Of the questions, ``[B]``.
            rel: Their relations in :math:`0..2R - 1`, ``[B]``.
            tail: An answer to each, ``[B]``.
        """
        both = zip(rel.tolist(), tail.tolist(), strict=True)
        taken = torch.tensor([bool(self[r][t]) for r, t in both])
        return taken.bool() & ((head != tail) | self.reflexive[rel])

    def _of(self, rel: int) -> Tensor:
        entities = torch.zeros(self.num_entities, dtype=torch.bool)
        entities[self._entity[self._role == rel]] = True
        if not entities.any():
            return ~entities
        both = self._counts(entities)
        alike = both >= self.shared * int(entities.sum())
        entities[self._entity[alike[self._role]]] = True
        if self._likely is not None:
            turned = (rel + self.num_relations) % (2 * self.num_relations)
            entities[self._likely.head[self._likely.rel == turned]] = True
        return entities & self.seen

    def _counts(self, entities: Tensor) -> Tensor:
        # How many of some entities have each role.
        roles = self._role[entities[self._entity]]
        return torch.bincount(roles, minlength=2 * self.num_relations)

    @cached_property
    def seen(self) -> Tensor:
        r"""Of which entities the model knows something, bool ``[E]``: it has
        learned them, or they are likely to be asked.
        """
        if self._learned is None:
            out = torch.zeros(self.num_entities, dtype=torch.bool)
            out[self._entity] = True
        else:
            out = self._learned.clone()
        if self._likely is not None:
            out[self._likely.head] = True
        return out
