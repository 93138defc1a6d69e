"""Evidence from triples that teachers were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.graph import Triples, concat, get_split, hold_out, k_folds
from dsom_pyg.kg import KG
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.teachers import (
    Answers,
    Combiner,
    Context,
    Policy,
    TeacherEnsemble,
)
from dsom_pyg.training.loop import Loop
from dsom_pyg.training.task import Task, adam, describe

Parts = list[tuple[KG, Triples]]


@dataclass(frozen=True)
class OneFold:
    r"""A single part of train is held out. Its teachers see nearly all of
    train and so are close to the full ones.

    Args:
        ratio: Share of the training triples. (default: :obj:`0.05`)
    """

    ratio: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f'ratio must lie in (0, 1), got {self.ratio}')

    def parts(self, graph: KG, seed: int) -> Parts:
        r"""The graph without the part, and the part."""
        # Any triple may be held out: a part without rare entities would not
        # tell which teachers to trust with those.
        rest, held = hold_out(graph.data, self.ratio, seed, keep='nothing')
        return [(graph.with_train(get_split(rest, 'train')), held)]


@dataclass(frozen=True)
class KFolds:
    r"""Every training triple is held out in one of k parts, for graphs that
    have few of them, at the cost of a training of all teachers for each part.

    Args:
        k: 2 or more. (default: :obj:`4`)
    """

    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(
                f'k must be 2 or more, got {self.k}; one part is OneFold()'
            )

    def parts(self, graph: KG, seed: int) -> Parts:
        r"""For each part the graph without it, and the part."""
        return [
            (graph.with_train(get_split(rest, 'train')), held)
            for rest, held in k_folds(graph.data, self.k, seed)
        ]


@dataclass(frozen=True, eq=False)
class Fold:
    r"""Teachers, the graph they were trained on, and what they never saw.

    Args:
        ensemble: The teachers.
        graph: Its training split is theirs.
        held: Other true triples.
    """

    ensemble: TeacherEnsemble
    graph: KG
    held: Triples

    @property
    def seen_index(self) -> QueryIndex:
        r"""The training tails of every query."""
        return self.graph.index('train')

    @cached_property
    def held_index(self) -> QueryIndex:
        r"""The held-out tails of every query."""
        return self.graph.with_train(self.held).index('train')

    @cached_property
    def known_index(self) -> QueryIndex:
        r"""Both: true tails, which are no rivals of a held-out one."""
        both = concat(self.graph.triples('train'), self.held)
        return self.graph.with_train(both).index('train')


def held_graph(graph: KG, folds: Sequence[Fold]) -> KG:
    r"""A graph whose training split is what the folds held out: what a
    :class:`PolicyTask` of these folds is fitted on.
    """
    return graph.with_train(concat(*(fold.held for fold in folds)))


class PolicyTask(Task):
    r"""Train a combiner alone, without a student.

    What teachers say on their own training triples is memory. So every triple
    of :func:`held_graph` is judged by the teachers of the fold that held it
    out, among the entities that are no known answers.

    Args:
        folds: Who held out what.
        combiner: What to train. Its reward must not need a student.

    Raises:
        ValueError: The combiner has nothing to train, or reads what means
            something else in each fold
            (:class:`~dsom_pyg.teachers.QueryState`).
    """

    def __init__(self, folds: Sequence[Fold], combiner: Combiner) -> None:
        if not combiner.learns:
            raise ValueError(f'{type(combiner).__name__} has nothing to train')
        if isinstance(combiner, Policy) and not (
            combiner.state.same_for_all_folds
        ):
            raise ValueError(
                f'{type(combiner.state).__name__} means something else for '
                'other teachers than those of a fold; use LogitState or '
                'CompactState'
            )
        # What the combiner builds on tells runs apart as well.
        inner = [
            child
            for child in combiner.children()
            if not any(p.requires_grad for p in child.parameters())
        ]
        super().__init__(
            'policy', [combiner], [*(f.ensemble for f in folds), *inner]
        )
        self.folds, self.combiner = folds, combiner
        self._indices: list[tuple[QueryIndex, QueryIndex, QueryIndex]] = []

    def settings(self) -> dict[str, Any]:
        return {'combiner': describe(self.combiner)}

    def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
        self._indices = []  # the device may be another one
        return adam(self.combiner, self.combiner.lr)

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        if not self._indices:
            device = batch.head.device
            self._indices = [
                (
                    fold.held_index.to(device),
                    fold.seen_index.to(device),
                    fold.known_index.to(device),
                )
                for fold in self.folds
            ]
        parts = []
        for fold, (held, seen, known) in zip(
            self.folds, self._indices, strict=True
        ):
            theirs = held.lookup(batch.head, batch.rel)
            targets = shared(theirs, batch.targets)
            rows, position = targets.row.unique(return_inverse=True)
            if rows.numel() == 0:
                continue
            head, rel = batch.head[rows], batch.rel[rows]
            context = Context(
                seen=seen.lookup(head, rel),
                known=known.lookup(head, rel),
                degree=seen.degree(head),
            )
            decision = self.combiner(
                Answers(fold.ensemble, head, rel, precision, context),
                Pairs(position, targets.tail),
            )
            assert decision.loss is not None
            terms = {'loss': decision.loss, **decision.metrics}
            parts.append((position.numel(), terms))
        if not parts:
            raise ValueError(
                'no fold held out a triple of this batch; fit on '
                'held_graph(graph, folds)'
            )
        count = sum(size for size, _ in parts)
        return {
            name: torch.stack(
                [size / count * terms[name] for size, terms in parts]
            ).sum()
            for name in parts[0][1]
        }


def shared(some: Pairs, others: Pairs) -> Pairs:
    r"""The pairs of :obj:`some` that :obj:`others` has as well."""
    if some.row.numel() == 0 or others.row.numel() == 0:
        return Pairs(some.row[:0], some.tail[:0])
    width = int(torch.maximum(some.tail.max(), others.tail.max())) + 1
    both = torch.isin(
        some.row * width + some.tail, others.row * width + others.tail
    )
    return Pairs(some.row[both], some.tail[both])
