"""Models of an entity matrix and a table of relations."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dsom_pyg.models.base import Model
from dsom_pyg.models.entity import EntityModule, draw_normal
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective
from dsom_pyg.query_index import Pairs, QueryBatch
from dsom_pyg.scores import Scores
from dsom_pyg.scores.tables import Basis

Kind = TypeVar('Kind', bound='KGE')


class KGE(Model):
    r"""Base class: a query, made of the rows of its head and of its relation,
    is compared with the row of each entity.

    A subclass gives :meth:`query` and :meth:`compare`, and :meth:`inverse` if
    a relation may be its own reciprocal turned round. Scores of all entities
    are made in chunks, whatever is compared.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        scale: Standard deviation of the initial relation rows.
        objective: What the model learns by.
        reciprocals: Relations and their reciprocals have rows of their own,
            row :math:`r + R` is the reciprocal of r. Otherwise there are R
            rows, and :meth:`inverse` gives the others.
        relation_channels: Width of the table of relations.
            (default: :math:`2D`)
    """

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        *,
        scale: float = 1e-3,
        objective: Objective = CROSS_ENTROPY,
        reciprocals: bool = True,
        relation_channels: int | None = None,
    ) -> None:
        super().__init__(entities.num_entities, num_relations)
        if not reciprocals and type(self).inverse is KGE.inverse:
            raise ValueError(
                f'{type(self).__name__} does not say what the reciprocal of a '
                'relation is; take reciprocals=True'
            )
        if not 0 <= scale < math.inf:
            raise ValueError(f'scale must not be negative, got {scale}')
        self.entities, self.scale = entities, scale
        self.objective = objective
        self.reciprocals = reciprocals
        width = relation_channels or 2 * entities.hidden_channels
        rows = 2 * num_relations if reciprocals else num_relations
        self.relations = nn.Parameter(torch.empty(rows, width))
        draw_normal(self.relations, scale)

    @property
    def hidden_channels(self) -> int:
        r"""D."""
        return self.entities.hidden_channels

    @property
    def available(self) -> Tensor | None:
        return self.entities.available

    def reset_parameters(self) -> None:
        self.entities.reset_parameters()
        draw_normal(self.relations, self.scale)

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        r"""What is compared with entities, ``[B, k]``, from rows of the head
        entities ``[B, 2D]`` and of the relations.
        """
        raise NotImplementedError

    def queries(self, head: Tensor, rel_type: Tensor, rel: Tensor) -> Tensor:
        r""":meth:`query`, told of which relations ``[B]`` the rows are.
        Override it where something made of a relation can serve all its
        queries.
        """
        return self.query(head, rel)

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        r"""Scores of queries ``[..., k]`` and of entity rows ``[..., 2D]``,
        whose other axes are broadcast. They depend on nothing else: what is
        learned, or drawn, goes into :meth:`query`.
        """
        raise NotImplementedError

    def compare_all(self, query: Tensor, rows: Tensor) -> Tensor:
        r"""Scores ``[B, C]`` of queries ``[B, k]`` and of rows ``[C, 2D]``.
        Override it, and :meth:`pair_width`, where there is a way that holds
        less than :meth:`compare`.
        """
        return self.compare(query[:, None], rows)

    def pair_width(self) -> int:
        r"""How many numbers :meth:`compare_all` holds for each pair."""
        return 2 * self.hidden_channels

    def compare_relations(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> Tensor:
        r"""Scores ``[K, N]`` of rows of heads and tails, ``[K, 2D]``, with
        each of N rows of relations. Override it where there is a way that
        holds less than :math:`K \cdot N \cdot 2D` numbers.
        """
        size, number = len(head), len(rel)
        query = self.query(
            head.repeat_interleave(number, dim=0), rel.repeat(size, 1)
        )
        tail = tail.repeat_interleave(number, dim=0)
        return self.compare(query, tail).unflatten(0, (size, number))

    def inverse(self, rel: Tensor) -> Tensor:
        r"""Rows of the reciprocals of relations, from their own."""
        raise NotImplementedError

    def relation_rows(self, rel_type: Tensor) -> Tensor:
        r"""Rows of relations in :math:`0..2R - 1`, ``[B, k]``."""
        if self.reciprocals:
            return self.relations[rel_type]
        rows = self.relations[rel_type % self.num_relations]
        turned = (rel_type >= self.num_relations)[:, None]
        return torch.where(turned, self.inverse(rows), rows)

    def encoded(self, batch: QueryBatch | None = None) -> EntityModule:
        r"""The entity rows of one step, or of one question: all that is made
        for all entities is made once. A model whose rows depend on the graph
        leaves out the triples of the batch.
        """
        return self.entities.once()

    def query_vectors(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""Queries by id, ``[B, k]``."""
        head = self.encoded().heads(head_index, rel_type)
        return self.queries(head, rel_type, self.relation_rows(rel_type))

    def forward(
        self, head_index: Tensor, rel_type: Tensor, tail_index: Tensor
    ) -> Tensor:
        self.check_triples(head_index, rel_type, tail_index)
        entities = self.encoded()
        head, tail = entities.ends(head_index, rel_type, tail_index)
        query = self.queries(head, rel_type, self.relation_rows(rel_type))
        return self.compare(query, tail)

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        scores = self.scores(head_index, rel_type, precision)
        if scores.requires_grad:
            return scores.dense()[:, entities]
        return scores.part(entities)

    def scores(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        precision: str = 'fp32',
        tables: Sequence[Basis] | None = None,
    ) -> Scores:
        entities = self.encoded()
        head = entities.heads(head_index, rel_type)
        query = self.queries(head, rel_type, self.relation_rows(rel_type))
        return self.scores_of(query, entities, precision)

    def scores_of(
        self,
        query: Tensor,
        entities: EntityModule,
        precision: str,
        batch: QueryBatch | None = None,
    ) -> Scores:
        r"""Scores of queries ``[B, k]``, among the candidates of a batch if
        it has some.
        """
        candidates = None if batch is None else batch.candidates
        width = self.pair_width()
        words = self.compare, self.compare_all, width, candidates
        return Scores.compared(query, entities.table(), *words)

    def check_loop(self, sampled: bool, rarity: float) -> None:
        if check := getattr(self.objective, 'check_loop', None):
            check(sampled, rarity)

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        step = Step(self, batch, precision)
        return {**self.objective(step), **self.penalties(step)}

    def scores_and_loss(
        self, batch: QueryBatch, precision: str
    ) -> tuple[Scores, dict[str, Tensor]]:
        step = Step(self, batch, precision)
        terms = {**self.objective(step), **self.penalties(step)}
        return step.scores, terms

    def penalties(self, step: Step) -> dict[str, Tensor]:
        r"""What the loss has beside the objective."""
        return {}

    def options(self) -> dict[str, Any]:
        r"""What its class takes beside entities and R to make it again for
        its tables, as JSON.
        """
        return {} if self.reciprocals else {'reciprocals': False}

    def kept(self) -> dict[str, Tensor]:
        r"""Its tables: entity rows, relations, and whatever else it holds."""
        held = (*self.named_parameters(), *self.named_buffers())
        own = {k: x for k, x in held if not k.startswith('entities.')}
        return {'entities': self.entities(), **own}

    def as_table(self: Kind) -> Kind:
        r"""A copy that scores alike from a free table of entity rows, so that
        a student with features inside its entity module needs none to answer.
        """
        table = self.entities.as_table()
        # Neither features nor gradients are to be copied along.
        return copy.deepcopy(self, {id(self.entities): table})

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.entities!r}, '
            f'num_relations={self.num_relations})'
        )


class Step:
    r"""A batch as a model sees it, for :class:`~dsom_pyg.models.Objective`.
    What nobody asks for is not computed.

    Attributes:
        head, rel: Rows of the queries.
        tail: Rows of the targets, ``[K, 2D]``.
        query: What is compared, ``[B, k]``.
    """

    def __init__(self, model: KGE, batch: QueryBatch, precision: str) -> None:
        self.model, self.batch, self.precision = model, batch, precision
        self.entities = model.encoded(batch)
        ends = batch.head, batch.rel, batch.targets.tail
        self.head, self.tail = self.entities.ends(*ends)
        self.rel = model.relation_rows(batch.rel)
        self.query = model.queries(self.head, batch.rel, self.rel)

    @cached_property
    def scores(self) -> Scores:
        r"""Scores of all entities, ``[B, E]``, or of the candidates."""
        words = self.query, self.entities, self.precision, self.batch
        return self.model.scores_of(*words)

    @cached_property
    def weights(self) -> Tensor | None:
        r"""How much each target counts, ``[K]``; :obj:`None` if all count
        alike.
        """
        weight = self.batch.pair_weights()
        return None if weight is None else weight.to(self.query)

    @cached_property
    def targets(self) -> Pairs:
        r"""The targets, by their places among the scored entities."""
        candidates, targets = self.batch.candidates, self.batch.targets
        return targets if candidates is None else candidates.pairs(targets)

    @cached_property
    def neighbors(self) -> Pairs:
        r"""N(h, r) of each query, alike."""
        candidates, pairs = self.batch.candidates, self.batch.neighbors
        return pairs if candidates is None else candidates.pairs(pairs)

    def of_targets(self) -> Tensor:
        r"""The scores of the targets alone, ``[K]``."""
        query = self.query[self.batch.targets.row]
        return self.model.compare(query, self.tail)

    def of_relations(self) -> Tensor:
        r"""The scores ``[K, 2R]`` of heads and targets with every relation
        and every reciprocal.
        """
        model, head = self.model, self.head
        if self.entities.by_query:
            # What was left out for their sake tells which relation it is.
            head = self.entities.rows(self.batch.head)
        head = head[self.batch.targets.row]
        every = torch.arange(2 * model.num_relations, device=head.device)
        rows = model.relation_rows(every)
        return model.compare_relations(head, rows, self.tail)

    def of(self, tail: Tensor) -> Tensor:
        r"""The scores ``[B, N]`` of some entities, ``[B, N]`` or, the same
        for all queries, ``[N]``.
        """
        if tail.dim() == 1:
            return self._of_shared(self.entities.rows(tail))
        rows = self.entities.rows(tail.flatten()).unflatten(0, tail.shape)
        return self.model.compare(self.query[:, None], rows)

    def _of_shared(self, rows: Tensor) -> Tensor:
        model, width = self.model, self.model.pair_width()
        if width == 1:
            return model.compare_all(self.query, rows)
        # In parts that stay in the cache: faster, although made twice.
        how = model.compare, model.compare_all, width
        return Scores.compared(self.query, rows, *how).dense()
