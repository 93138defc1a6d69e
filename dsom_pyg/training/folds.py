"""Evidence from triples that teachers were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.graph import (
    Triples,
    check_sizes,
    concat,
    get_split,
    hold_out,
    k_folds,
)
from dsom_pyg.kg import KG
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.teachers import Combiner, Policy, TeacherEnsemble
from dsom_pyg.teachers.answers import Answers, Context, Kept
from dsom_pyg.teachers.lookup import queries_at_once
from dsom_pyg.training.loop import Loop
from dsom_pyg.training.run import drawn_with
from dsom_pyg.training.task import Task, adam, describe, with_loss

Parts = list[tuple[KG, Triples]]


@dataclass(frozen=True)
class OneFold:
    r"""A single part of train, this share of its triples, is held out. Its
    teachers see nearly all of train and so are close to the full ones.
    """

    ratio: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f'ratio must lie in (0, 1), got {self.ratio}')

    def check(self, graph: KG) -> None:
        r"""Raise :class:`ValueError` if a graph has too few triples."""
        _check_enough(graph, 2)

    def parts(self, graph: KG, seed: int) -> Parts:
        r"""The graph without the part, and the part."""
        self.check(graph)
        # Any triple may be held out: a part without rare entities would not
        # tell which teachers to trust with those.
        rest, held = hold_out(graph.data, self.ratio, seed, keep='nothing')
        return [(graph.with_train(get_split(rest, 'train')), held)]


@dataclass(frozen=True)
class KFolds:
    r"""Every training triple is held out in one of k parts, 2 or more, for
    graphs that have few triples. Each part costs a training of all teachers.
    """

    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(
                f'k must be 2 or more, got {self.k}; one part is OneFold()'
            )

    def check(self, graph: KG) -> None:
        r"""Raise :class:`ValueError` if a graph has too few triples."""
        _check_enough(graph, self.k)

    def parts(self, graph: KG, seed: int) -> Parts:
        r"""For each part the graph without it, and the part."""
        self.check(graph)
        return [
            (graph.with_train(get_split(rest, 'train')), held)
            for rest, held in k_folds(graph.data, self.k, seed)
        ]


@dataclass(frozen=True)
class OnValidation:
    r"""The validation split, which the teachers have not seen: no teacher is
    trained for it. It must not choose anything else then.
    """


def _check_enough(graph: KG, least: int) -> None:
    count = graph.triples('train').edge_type.numel()
    if count < least:
        triples = 'triple' if count == 1 else 'triples'
        raise ValueError(
            f'{count} training {triples}; a policy that learns from held-out '
            f'triples needs {least}: take policy=MeanOfTeachers()'
        )


@dataclass(frozen=True, eq=False)
class Fold:
    r"""Teachers, the graph they were trained on (its training split), and
    true triples that they never saw.
    """

    ensemble: TeacherEnsemble
    graph: KG
    held: Triples

    def __post_init__(self) -> None:
        check_sizes(graph=self.graph, teachers=self.ensemble)

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
    r"""A graph to fit a :class:`PolicyTask` on: its training split is what
    the folds held out.
    """
    return graph.with_train(concat(*(fold.held for fold in folds)))


class PolicyTask(Task):
    r"""Train a combiner alone, without a student: its reward must need none.

    What teachers say on their own training triples is memory. So every triple
    of :func:`held_graph` is judged by the teachers of the fold that held it
    out, among the entities that are no known answers.

    The teachers do not change. So what the combiner works out by
    :meth:`Answers.once <dsom_pyg.teachers.Answers.once>` is worked out before
    the first step, for all queries in the order of their index, and kept.

    Raises:
        ValueError: The combiner has nothing to train, or reads what means
            something else in each fold
            (:class:`~dsom_pyg.teachers.QueryState`).
    """

    falling = ()

    def __init__(self, folds: Sequence[Fold], combiner: Combiner) -> None:
        if not combiner.learns:
            raise ValueError(f'{type(combiner).__name__} has nothing to train')
        state = combiner.state if isinstance(combiner, Policy) else None
        if state is not None and not state.same_for_all_folds:
            raise ValueError(
                f'{type(state).__name__} means something else for other '
                'teachers than those of a fold; use LogitState or CompactState'
            )
        graphs = {f'fold {at}': fold.graph for at, fold in enumerate(folds, 1)}
        check_sizes(**graphs, combiner=combiner)
        frozen: list[nn.Module] = [fold.ensemble for fold in folds]
        for child in combiner.children():
            # What the combiner builds on tells runs apart as well.
            if not any(p.requires_grad for p in child.parameters()):
                frozen.append(child)
        super().__init__('policy', [combiner], frozen)
        self.folds, self.combiner = folds, combiner
        self._judges: list[_Judge] = []

    def settings(self) -> dict[str, Any]:
        return {'combiner': describe(self.combiner)}

    def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
        # The device may be another one, the teachers may have changed.
        self._judges = []
        return adam(self.combiner, self.combiner.lr)

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        if not self._judges:
            device = batch.head.device
            judges = [_Judge(f, device, precision) for f in self.folds]
            # Whatever is drawn here, a run that goes on draws as well.
            with drawn_with(0):
                for judge in judges:
                    judge.hear(self.combiner)
            self._judges = judges
        parts = []
        for judge in self._judges:
            answers, targets = judge.asked(batch)
            if not len(answers):
                continue
            decision = self.combiner(answers, targets)
            assert decision.loss is not None
            terms = with_loss(decision.loss, decision.metrics)
            parts.append((targets.row.numel(), terms))
        if not parts:
            raise ValueError(
                'no fold held out a triple of this batch; fit on '
                'held_graph(graph, folds)'
            )
        count = sum(size for size, _ in parts)
        out = {}
        for name in parts[0][1]:
            shares = [size / count * terms[name] for size, terms in parts]
            out[name] = torch.stack(shares).sum()
        return out


class _Judge:
    # A fold on a device, and what is kept of its teachers' answers.
    def __init__(
        self, fold: Fold, device: torch.device, precision: str
    ) -> None:
        self.ensemble, self.precision = fold.ensemble, precision
        three = fold.held_index, fold.seen_index, fold.known_index
        self.held, self.seen, self.known = (i.to(device) for i in three)
        self.queries = torch.arange(len(self.held), device=device)
        self.query_of_pair = self.held.rows(self.queries).row
        self.kept = Kept()

    def hear(self, combiner: Combiner) -> None:
        # In an order and in batches that depend on nothing else, so that a
        # run that goes on hears the same to the last bit.
        training, parts = combiner.training, []
        combiner.eval()
        size = queries_at_once(self.ensemble, combiner.wide)
        for queries in self.queries.split(size):
            answers = self._answers(queries, Kept())
            combiner.read(answers, self.held.rows(queries))
            parts.append(answers.kept)
        combiner.train(training)
        self.kept = Kept.concatenate(parts)

    def asked(self, batch: QueryBatch) -> tuple[Answers, Pairs]:
        # The queries and pairs of a batch that the fold held out.
        row, pair = self.held.find(batch.head, batch.rel)
        theirs = Pairs(row, self.held.tail[pair])
        held = _in_both(theirs, batch.targets, self.ensemble.num_entities)
        row, pair = row[held], pair[held]
        rows, position = row.unique(return_inverse=True)
        queries = torch.empty_like(rows)
        queries[position] = self.query_of_pair[pair]
        answers = self._answers(queries, self.kept.select(queries, pair))
        return answers, Pairs(position, self.held.tail[pair])

    def _answers(self, queries: Tensor, kept: Kept) -> Answers:
        head, rel = self.held.head[queries], self.held.rel[queries]
        context = Context(
            seen=self.seen.lookup(head, rel),
            known=self.known.lookup(head, rel),
            degree=self.seen.degree(head),
        )
        words = self.ensemble, head, rel, self.precision, context
        return Answers(*words, kept=kept)


def _in_both(some: Pairs, others: Pairs, num_entities: int) -> Tensor:
    # Which pairs of `some` are among the others.
    mine, theirs = (p.row * num_entities + p.tail for p in (some, others))
    return torch.isin(mine, theirs)
