"""What a model learns by: losses over all entities, or over drawn ones.

Every objective takes a :class:`~dsom_pyg.models.Step` and gives the terms of
the loss: means over its targets, of :class:`KvsAll` over its queries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from dsom_pyg.losses import (
    bernoulli_weights,
    margin_loss,
    multi_label_bce,
    query_cross_entropy,
    self_adversarial,
)
from dsom_pyg.query_index import QueryBatch, QueryIndex

if TYPE_CHECKING:
    from dsom_pyg.models.kge import Step

CORRUPTIONS = ('uniform', 'bernoulli')


class Objective(Protocol):
    r"""From a step to the terms of its loss. It may have ``check_loop``, as
    :meth:`Model.check_loop <dsom_pyg.models.Model.check_loop>`, which is
    asked before anything is trained.
    """

    def __call__(self, step: Step) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class CrossEntropy:
    r"""Cross-entropy over all entities (Eq. 1), and of the relation between
    head and tail over all relations (`Chen et al.
    <https://arxiv.org/abs/2110.02834>`_, 2021).

    Args:
        relations: Weight of the second; 0 for none.
    """

    relations: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.relations < inf:
            raise ValueError(
                f'relations is a weight, at least 0, got {self.relations}'
            )

    def __call__(self, step: Step) -> dict[str, Tensor]:
        ce = query_cross_entropy(step.scores, step.targets, step.weights)
        if not self.relations:
            return {'ce': ce}
        right = step.batch.rel[step.batch.targets.row]
        each = F.cross_entropy(step.of_relations(), right, reduction='none')
        return {
            'ce': ce,
            'relation_ce': self.relations * _mean(each, step.weights),
        }


CROSS_ENTROPY = CrossEntropy()


@dataclass(frozen=True)
class KvsAll:
    r"""Binary cross-entropy of every entity, all known tails of a query at
    once, as TuckER learns.

    Args:
        smoothing: Of the labels, in [0, 1).
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(
                f'smoothing must lie in [0, 1), got {self.smoothing}'
            )

    def check_loop(self, sampled: bool, rarity: float) -> None:
        _needs_all(self, sampled)
        if rarity:
            raise ValueError(
                'KvsAll weighs queries, not their tails; leave '
                'Loop(rarity=...) out'
            )

    def __call__(self, step: Step) -> dict[str, Tensor]:
        _check_batch(self, step.batch)
        # A query without known tails is asked for the sake of others.
        known = step.batch.neighbors.count(len(step.batch)) > 0
        each = multi_label_bce(step.scores, step.neighbors, self.smoothing)
        return {'bce': (each * known).sum() / known.sum()}


@dataclass(frozen=True)
class Negatives:
    r"""Entities that take the place of the tail of a query. As every triple is
    asked from both sides, heads are replaced alike.

    Args:
        count: How many for each query.
        corruption: ``'uniform'``: both sides of a triple count alike;
            ``'bernoulli'``: the side with fewer answers counts more (`Wang et
            al. <https://ojs.aaai.org/index.php/AAAI/article/view/8870>`_,
            2014).
        filtered: Known tails are no negatives.
        shared: All queries of a batch have the same ones, which costs a
            fraction.
    """

    count: int = 64
    corruption: str = 'uniform'
    filtered: bool = True
    shared: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f'count must be positive, got {self.count}')
        if self.corruption not in CORRUPTIONS:
            raise ValueError(
                f'corruption must be one of {CORRUPTIONS}, got '
                f"'{self.corruption}'"
            )

    def draw(self, step: Step) -> tuple[Tensor, Tensor]:
        r"""Negatives, ``[B, N]`` or shared ``[N]``, and which of them count
        for each query, ``[B, N]``.
        """
        batch, size = step.batch, step.model.num_entities
        shape = (len(batch), self.count)[self.shared :]
        drawn = torch.randint(size, shape, device=batch.head.device)
        if not self.filtered:
            every = torch.ones(len(batch), self.count, dtype=torch.bool)
            return drawn, every.to(drawn.device)
        pairs = batch.neighbors
        row = torch.arange(len(batch), device=drawn.device)[:, None]
        known, _ = (pairs.row * size + pairs.tail).sort()
        asked = row * size + drawn
        # As torch.isin tells it, which a device would have to be waited for.
        place = torch.searchsorted(known, asked).clamp(max=len(known) - 1)
        return drawn, known[place] != asked

    def weights(self, step: Step) -> Tensor | None:
        r"""How much the side of each query counts, ``[B]``."""
        if self.corruption == 'uniform':
            return None
        both = 2 * step.model.num_relations
        table = bernoulli_weights(_index(step), both)
        return table.to(step.query)[step.batch.rel]


@dataclass(frozen=True)
class Margin:
    r"""A triple is to score higher than its negatives, by a margin (TransE).

    Args:
        margin: By how much.
        negatives: How they are drawn.
    """

    margin: float = 5.0
    negatives: Negatives = field(default_factory=Negatives)

    def check_loop(self, sampled: bool, rarity: float) -> None:
        _needs_all(self, sampled)

    def __call__(self, step: Step) -> dict[str, Tensor]:
        _check_batch(self, step.batch)
        drawn, false = self.negatives.draw(step)
        row = step.batch.targets.row
        each = margin_loss(
            step.of_targets(), step.of(drawn)[row], false[row], self.margin
        )
        weight = self.negatives.weights(step)
        if weight is not None:
            each = each * weight[row]
        return {'margin': _mean(each, step.weights)}


@dataclass(frozen=True)
class SelfAdversarial:
    r"""Negative sampling that weighs negatives by how likely they look (`Sun
    et al. <https://arxiv.org/abs/1902.10197>`_, 2019, Eq. 5 and 6).

    Args:
        margin: Added to every score; 0 for products.
        temperature: Of the weights of negatives; 0 for equal ones.
        negatives: How they are drawn.
        subsampling: Frequent pairs count less, by :math:`(c(h, r) + c(t,
            r^{-1}))^{-1/2}`; the first triple of a pair counts 4.
    """

    margin: float = 9.0
    temperature: float = 1.0
    negatives: Negatives = field(default_factory=Negatives)
    subsampling: bool = False

    def check_loop(self, sampled: bool, rarity: float) -> None:
        _needs_all(self, sampled)

    def __call__(self, step: Step) -> dict[str, Tensor]:
        _check_batch(self, step.batch)
        drawn, false = self.negatives.draw(step)
        row = step.batch.targets.row
        positive, negative = self_adversarial(
            step.of_targets() + self.margin,
            step.of(drawn)[row] + self.margin,
            false[row],
            self.temperature,
        )
        weight = self._weights(step)
        total = weight.sum()
        return {
            'positive': (weight * positive).sum() / total / 2,
            'negative': (weight * negative).sum() / total / 2,
        }

    def _weights(self, step: Step) -> Tensor:
        batch = step.batch
        row, tail = batch.targets.row, batch.targets.tail
        weight = torch.ones_like(row, dtype=step.query.dtype)
        if self.subsampling:
            index = _index(step)
            size = step.model.num_relations
            turned = (batch.rel[row] + size) % (2 * size)
            count = index.counts(batch.head, batch.rel)[row]
            count = count + index.counts(tail, turned)
            weight = (count + 6).to(weight).rsqrt()
        if step.weights is not None:
            weight = weight * step.weights
        sides = self.negatives.weights(step)
        return weight if sides is None else weight * sides[row]


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return each.mean()
    return (weight * each).sum() / weight.sum()


def _index(step: Step) -> QueryIndex:
    if step.batch.index is None:
        raise ValueError(
            'the objective asks how frequent pairs are; its batch does not '
            'know: QueryBatch(index=...)'
        )
    return step.batch.index


def _check_batch(
    objective: KvsAll | Margin | SelfAdversarial, batch: QueryBatch
) -> None:
    objective.check_loop(batch.candidates is not None, batch.rarity)


def _needs_all(objective: object, sampled: bool) -> None:
    if sampled:
        raise ValueError(
            f'{type(objective).__name__} draws no candidates for all queries; '
            'leave Loop(sampled=...) out'
        )
