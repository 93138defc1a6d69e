"""What can be trained: a model, teachers, a student."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.evaluation import Scorer
from dsom_pyg.losses import n3, neighbor_decoupled_kd, query_cross_entropy
from dsom_pyg.nn import (
    CombinedTeachers,
    Combiner,
    MeanCombiner,
    ScoreFunction,
    TeacherBatch,
    TeacherEnsemble,
)
from dsom_pyg.query_index import Queries
from dsom_pyg.training.batches import QueryBatch
from dsom_pyg.training.config import FitConfig
from dsom_pyg.training.optimizers import adam, embedding_optimizer


def model_step(
    model: ScoreFunction, batch: QueryBatch, n3_weight: float, precision: str
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Logits ``[B, E]``, cross-entropy (Eq. 1) and N3 of a batch.

    N3 counts head and relation rows once for each tail of their query, and
    divides by the number of (query, tail) pairs, so that a batch of queries
    equals the batch of its triples.
    """
    targets = batch.targets
    logits, rows = model.logits_and_factors(
        batch.head, batch.rel, targets.tail, precision
    )
    count = targets.count(len(batch)).to(logits.dtype)
    is_complex = model.complex_rows
    cubes = (
        n3(rows.head, count, is_complex)
        + n3(rows.rel, count, is_complex)
        + n3(rows.tail, None, is_complex)
    )
    penalty = n3_weight * cubes / targets.row.numel()
    return logits, query_cross_entropy(logits, targets), penalty


class ModelTask:
    r"""Train one score function: a teacher, or plain ComplEx-N3.

    Args:
        model: The model.
        n3: Weight of the N3 regulariser. (default: :obj:`0.01`)
        name: Shown in progress bars and results.
    """

    def __init__(
        self, model: ScoreFunction, n3: float = 0.01, name: str = 'model'
    ) -> None:
        self.model, self.n3, self.name = model, n3, name

    def modules(self) -> Iterable[nn.Module]:
        return [self.model]

    def frozen(self) -> Iterable[nn.Module]:
        return []

    def scorer(self) -> Scorer:
        return self.model

    def settings(self) -> dict[str, Any]:
        return {'n3': self.n3, 'model': describe(self.model)}

    def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
        return [embedding_optimizer(self.model.parameters(), config)]

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        _, ce, penalty = model_step(self.model, batch, self.n3, precision)
        return {'loss': ce + penalty, 'ce': ce, 'n3': penalty}


class TeachersTask:
    r"""Train all teachers jointly: the sum of their losses (Eq. 3).

    As nothing is shared, this equals training one by one with the same
    batches; early stopping looks at the mean of their logits.

    Args:
        ensemble: The teachers.
        n3: Weight of the N3 regulariser, one for all or one for each
            modality. (default: :obj:`0.01`)

    Raises:
        ValueError: :obj:`n3` names other modalities than the ensemble.
    """

    name = 'teachers'

    def __init__(
        self, ensemble: TeacherEnsemble, n3: float | Mapping[str, float] = 0.01
    ) -> None:
        names = ensemble.modalities
        self.ensemble = ensemble
        self.n3 = (
            dict(n3) if isinstance(n3, Mapping) else dict.fromkeys(names, n3)
        )
        if set(self.n3) != set(names):
            raise ValueError(
                f'n3 has weights for {sorted(self.n3)}, the teachers are '
                f'{sorted(names)}'
            )

    def modules(self) -> Iterable[nn.Module]:
        return [self.ensemble]

    def frozen(self) -> Iterable[nn.Module]:
        return []

    def scorer(self) -> Scorer:
        return CombinedTeachers(self.ensemble, MeanCombiner())

    def settings(self) -> dict[str, Any]:
        teachers = {m: describe(self.ensemble[m]) for m in self.n3}
        return {'n3': self.n3, 'teachers': teachers}

    def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
        return [embedding_optimizer(self.ensemble.parameters(), config)]

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        terms = {}
        for modality in self.ensemble.modalities:
            _, ce, penalty = model_step(
                self.ensemble[modality], batch, self.n3[modality], precision
            )
            terms[modality] = ce + penalty
        return {'loss': torch.stack(list(terms.values())).sum(), **terms}


@dataclass(kw_only=True)
class DistillConfig:
    r"""The objective of distillation, Eq. 4 and 11-12.

    Args:
        n3: Weight of the student's N3 regulariser. (default: :obj:`0.01`)
        gamma: Weight of distillation. (default: :obj:`2.0`)
        tau: Temperature. (default: :obj:`4.0`)
        alpha: Weight of the neighbor part. (default: :obj:`1.0`)
        beta: Weight of the non-neighbor part. (default: :obj:`1.0`)
        form: ``'mean'`` or ``'sum'`` over neighbors, see
            :func:`~dsom_pyg.losses.decoupled_parts`.
        scale_tau: Multiply by :math:`\tau^2`, as Hinton et al. do; the
            paper does not say. (default: :obj:`True`; without it the student
            loses two points of validation MRR on Countries)
        combiner_lr: Learning rate of Adam for the combiner.
            (default: :obj:`1e-3`)
        unlabeled: Queries without a known answer in every step, if the task
            has any, as a share of the others, in [0, 1]; their distillation
            (they have no neighbors: it is plain) weighs as much as that of
            the others. (default: :obj:`1.0`)
        initial_accumulator: What the student's Adagrad starts its sums of
            squared gradients with. From 0 its first step moves every
            coordinate by the learning rate, whatever the gradient: right for
            a fresh student, ruin for a trained one, which wants about 2e-6
            on DB15K (the sums after 12 epochs there are of that order).
            Adam, whose first step is of that kind as well, has none.
            (default: :obj:`0.0`)
    """

    n3: float = 0.01
    gamma: float = 2.0
    tau: float = 4.0
    alpha: float = 1.0
    beta: float = 1.0
    form: str = 'mean'
    scale_tau: bool = True
    combiner_lr: float = 1e-3
    unlabeled: float = 1.0
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        if self.form not in ('mean', 'sum'):
            raise ValueError(
                f"form must be 'mean' or 'sum', got '{self.form}'"
            )
        if self.tau <= 0:
            raise ValueError(f'tau must be positive, got {self.tau}')
        if not 0.0 <= self.unlabeled <= 1.0:
            raise ValueError(
                'unlabeled is a share of the batch, in [0, 1]; got '
                f'{self.unlabeled}'
            )


class DistillTask:
    r"""Train a student and the policy that combines its teachers, Eq. 4.

    Args:
        student: What is trained: a fresh structure-only model, or one that
            has learned something already; see :obj:`initial_accumulator`
            then.
        ensemble: Trained teachers; they stay as they are.
        combiner: How they are combined; trained along if it has parameters
            that require gradients.
        config: The objective. (default: :class:`DistillConfig()`)
        unlabeled: Queries without a known answer, as
            :func:`~dsom_pyg.query_index.unlabeled_queries` finds them. What
            the teachers say there is all that a student can learn about
            them; the paper distils on training queries alone.
            (default: none)
    """

    name = 'student'

    def __init__(
        self,
        student: ScoreFunction,
        ensemble: TeacherEnsemble,
        combiner: Combiner,
        config: DistillConfig | None = None,
        unlabeled: Queries | None = None,
    ) -> None:
        self.student, self.combiner = student, combiner
        self.ensemble = ensemble
        self.config = config or DistillConfig()
        self.unlabeled = unlabeled
        self._bases: Tensor | None = None

    def modules(self) -> Iterable[nn.Module]:
        return [self.student, *([self.combiner] if self._learns else [])]

    def frozen(self) -> Iterable[nn.Module]:
        return [self.ensemble, *([] if self._learns else [self.combiner])]

    @property
    def _learns(self) -> bool:
        return any(p.requires_grad for p in self.combiner.parameters())

    def scorer(self) -> Scorer:
        return self.student

    def settings(self) -> dict[str, Any]:
        return {
            **asdict(self.config),
            'student': describe(self.student),
            'combiner': describe(self.combiner),
            'unlabeled_queries': (
                None if self.unlabeled is None else self.unlabeled.digest()
            ),
        }

    def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
        self._bases = None  # of teachers that may have changed since
        return [
            embedding_optimizer(
                self.student.parameters(),
                config,
                self.config.initial_accumulator,
            ),
            *adam(self.combiner, self.config.combiner_lr),
        ]

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        c, labeled = self.config, len(batch)
        pool = self.unlabeled
        if pool is not None and c.unlabeled > 0 and pool.head.numel() > 0:
            batch = self._with_unlabeled(batch, pool)
        # Algorithm 1: the student answers, ...
        logits, ce, penalty = model_step(self.student, batch, c.n3, precision)
        # ... the policy picks teachers by their logits and is rewarded
        # against the student, ...
        if self._bases is None and self.ensemble.is_dot_product:
            self._bases = self.ensemble.bases(precision)
        teachers = TeacherBatch(
            self.ensemble,
            batch.head,
            batch.rel,
            precision,
            seen=batch.neighbors,
            bases=self._bases,
        )
        combined = self.combiner(teachers, batch.targets, logits.detach())
        # ... and the student imitates them, for every triple alike.
        ndkd = neighbor_decoupled_kd(
            combined.logits,
            logits,
            batch.neighbors,
            c.tau,
            c.alpha,
            c.beta,
            c.form,
        )
        count = batch.targets.count(len(batch))
        soft = (ndkd * count).sum() / count.sum()
        if len(batch) > labeled:
            soft = soft + ndkd[labeled:].mean()
        if c.scale_tau:
            soft = soft * c.tau**2
        loss = ce + penalty + c.gamma * soft
        terms = {'ce': ce, 'n3': penalty, 'ndkd': soft}
        if combined.loss is not None:
            loss = loss + combined.loss
            terms['rc'] = combined.loss
        return {'loss': loss, **terms, **combined.metrics}

    def _with_unlabeled(self, batch: QueryBatch, pool: Queries) -> QueryBatch:
        # Appended without targets and neighbors, so that they cost no
        # cross-entropy and no regulariser.
        wanted = round(self.config.unlabeled * len(batch))
        size = (min(wanted, len(pool.head)),)
        at = torch.randint(len(pool.head), size).to(pool.head.device)
        head, rel = pool.head[at], pool.rel[at]
        return replace(
            batch,
            head=torch.cat([batch.head, head.to(batch.head)]),
            rel=torch.cat([batch.rel, rel.to(batch.rel)]),
        )


def describe(module: nn.Module) -> str:
    r"""A module's class and plain attributes, for the record.

    Parameters do not count, functions by their name.
    """
    words = []
    for key, value in sorted(vars(module).items()):
        if key.startswith('_') or key == 'training':
            continue
        if callable(value) and hasattr(value, '__qualname__'):
            value = value.__qualname__
        if isinstance(value, bool | int | float | str):
            words.append(f'{key}={value}')
    inner = [
        describe(child)
        for child in module.children()
        if type(child).__module__.startswith('dsom_pyg')
    ]
    return f'{type(module).__name__}({", ".join(words + inner)})'
