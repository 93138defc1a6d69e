"""Evidence from triples that teachers were not trained on."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from dsom_pyg.evaluation import Scorer
from dsom_pyg.graph import (
    Triples,
    add_reciprocals,
    concat,
    get_split,
    hold_out,
    k_folds,
    num_relations,
    set_split,
)
from dsom_pyg.nn import (
    CombinedTeachers,
    Combiner,
    ReinforcedCombiner,
    TeacherBatch,
    TeacherEnsemble,
)
from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.training.batches import QueryBatch
from dsom_pyg.training.config import FitConfig
from dsom_pyg.training.fit import fit
from dsom_pyg.training.optimizers import adam
from dsom_pyg.training.tasks import TeachersTask, describe


@dataclass(frozen=True, eq=False)
class Fold:
    r"""Teachers, what they were trained on, and what they never saw.

    Args:
        ensemble: The teachers.
        seen: Their training triples.
        held: Other true triples.
        num_relations: R.
    """

    ensemble: TeacherEnsemble
    seen: Triples
    held: Triples
    num_relations: int

    def held_index(self) -> QueryIndex:
        r"""The held-out tails of every query, reciprocals included."""
        return QueryIndex(add_reciprocals(self.held, self.num_relations))

    def seen_index(self) -> QueryIndex:
        r"""The training tails of every query, reciprocals included."""
        return QueryIndex(add_reciprocals(self.seen, self.num_relations))

    def known_index(self) -> QueryIndex:
        r"""Both: true tails, which are no rivals of a held-out one."""
        both = concat(self.seen, self.held)
        return QueryIndex(add_reciprocals(both, self.num_relations))


def cross_fit(
    data: HeteroData,
    build: Callable[[], TeacherEnsemble],
    config: FitConfig,
    k: int = 1,
    ratio: float = 0.05,
    n3: float | Mapping[str, float] = 0.01,
    seed: int = 0,
    checkpoints: str | Path | None = None,
) -> list[Fold]:
    r"""Train teachers that leave out a part of train, for every part.

    What teachers say on their own training triples is memory; a combiner
    that is to help on new ones must be fitted to what they say on triples
    that they never saw. That costs a training of all teachers for each fold;
    :obj:`config` may be shorter than that of the teachers themselves.

    Args:
        data: The graph; only its train split is used.
        build: Makes fresh teachers.
        config: How to train them; there is no evaluation, the last epoch is
            kept.
        k: Number of folds, 1 or more. With 1, a single part of size
            :obj:`ratio` is held out. (default: :obj:`1`)
        ratio: Share of train to hold out if k is 1. (default: :obj:`0.05`)
        n3: As in :class:`TeachersTask`. (default: :obj:`0.01`)
        seed: Of the split. (default: :obj:`0`)
        checkpoints: A folder; every fold is then written there after each
            epoch and goes on from there. (default: :obj:`None`)

    Returns:
        The folds; with k > 1 every training triple is held out in one.
    """
    if k < 1:
        raise ValueError(f'k must be at least 1, got {k}')
    # Any triple may be held out: a part without rare entities would not tell
    # which teachers to trust with those.
    if k == 1:
        parts = [hold_out(data, ratio, seed, keep='nothing')]
    else:
        parts = k_folds(data, k, seed)
    config = replace(config, eval_every=0)
    folds = []
    for at, (rest, held) in enumerate(parts):
        ensemble = build()
        path = None
        if checkpoints is not None:
            path = Path(checkpoints) / f'fold-{at + 1}-of-{k}.safetensors'
        fit(TeachersTask(ensemble, n3), rest, config, checkpoint=path)
        seen = get_split(rest, 'train')
        folds.append(Fold(ensemble, seen, held, num_relations(data)))
    return folds


def held_out_data(data: HeteroData, folds: Sequence[Fold]) -> HeteroData:
    r"""A graph whose train split is what the folds held out.

    What :class:`PolicyTask` of these folds is fitted on.

    Args:
        data: The graph; not changed.
        folds: As :func:`cross_fit` returns them.
    """
    held = copy.copy(data)
    set_split(held, 'train', concat(*(fold.held for fold in folds)))
    return held


class PolicyTask:
    r"""Train a combiner alone, without a student.

    Args:
        teachers: Folds, as :func:`cross_fit` returns them: every triple of
            :func:`held_out_data` is judged by the teachers of the fold that
            held it out, among the entities that are no known answers. Or an
            ensemble that never saw the triples of the data it is fitted on:
            all other entities are rivals then.
        combiner: What to train. Its reward must not need a student. One that
            reads the teachers' own vectors (:class:`ReinforcedCombiner` with
            state ``'queries'``) is right for a single ensemble, see its
            :meth:`transfer`; several folds are refused.
        lr: Learning rate of Adam. (default: :obj:`1e-3`)
    """

    name = 'policy'

    def __init__(
        self,
        teachers: TeacherEnsemble | Sequence[Fold],
        combiner: Combiner,
        lr: float = 1e-3,
    ) -> None:
        self.teachers, self.combiner, self.lr = teachers, combiner, lr
        self.indices: list[tuple[QueryIndex, ...]] = []
        if not isinstance(teachers, TeacherEnsemble):
            if len(teachers) > 1 and (
                isinstance(combiner, ReinforcedCombiner)
                and combiner.state == 'queries'
            ):
                raise ValueError(
                    'vectors of teachers mean something else in each fold; '
                    "use state='logits', a single fold, or AdaptiveCombiner"
                )
            for f in teachers:
                self.indices.append(
                    (f.held_index(), f.seen_index(), f.known_index())
                )

    def modules(self) -> Iterable[nn.Module]:
        return [self.combiner]

    def frozen(self) -> Iterable[nn.Module]:
        # What the combiner builds on tells runs apart as well.
        inner = [
            child
            for child in self.combiner.children()
            if not any(p.requires_grad for p in child.parameters())
        ]
        if isinstance(self.teachers, TeacherEnsemble):
            return [self.teachers, *inner]
        return [*(fold.ensemble for fold in self.teachers), *inner]

    def scorer(self) -> Scorer:
        if isinstance(self.teachers, TeacherEnsemble):
            return CombinedTeachers(self.teachers, self.combiner)
        # Their rivals on validation are not those of one training split.
        raise ValueError(
            'a combiner that learns from folds is not evaluated along the '
            'way; set eval_every = 0'
        )

    def settings(self) -> dict[str, Any]:
        return {
            'combiner_lr': self.lr,
            'combiner': describe(self.combiner),
        }

    def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
        return adam(self.combiner, self.lr)

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        if isinstance(self.teachers, TeacherEnsemble):
            said = TeacherBatch(
                self.teachers, batch.head, batch.rel, precision
            )
            return self._learn(said, batch.targets)
        parts = []
        device = batch.head.device
        for at, fold in enumerate(self.teachers):
            held, seen, known = (i.to(device) for i in self.indices[at])
            targets = shared(held.lookup(batch.head, batch.rel), batch.targets)
            rows, position = targets.row.unique(return_inverse=True)
            if rows.numel() == 0:
                continue
            head, rel = batch.head[rows], batch.rel[rows]
            said = TeacherBatch(
                fold.ensemble,
                head,
                rel,
                precision,
                seen=seen.lookup(head, rel),
                known=known.lookup(head, rel),
                degree=seen.degree(head),
            )
            terms = self._learn(said, Pairs(position, targets.tail))
            parts.append((position.numel(), terms))
        if not parts:
            raise ValueError(
                'no fold held out a triple of this batch; fit on '
                'held_out_data(data, folds)'
            )
        count = sum(size for size, _ in parts)
        return {
            name: torch.stack(
                [size / count * terms[name] for size, terms in parts]
            ).sum()
            for name in parts[0][1]
        }

    def _learn(self, said: TeacherBatch, targets: Pairs) -> dict[str, Tensor]:
        combined = self.combiner(said, targets)
        if combined.loss is None:
            raise ValueError(
                f'{type(self.combiner).__name__} has nothing to train'
            )
        return {'loss': combined.loss, **combined.metrics}


def shared(some: Pairs, others: Pairs) -> Pairs:
    r"""The pairs of :obj:`some` that :obj:`others` has as well."""
    if some.row.numel() == 0 or others.row.numel() == 0:
        return Pairs(some.row[:0], some.tail[:0])
    width = int(torch.maximum(some.tail.max(), others.tail.max())) + 1
    both = torch.isin(
        some.row * width + some.tail, others.row * width + others.tail
    )
    return Pairs(some.row[both], some.tail[both])
