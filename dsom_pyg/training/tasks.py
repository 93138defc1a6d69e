"""What is trained: a model, teachers, or a student that teachers teach."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.evaluation import Scorer
from dsom_pyg.graph import check_queries, check_sizes
from dsom_pyg.losses import neighbor_decoupled_kd
from dsom_pyg.models import Model
from dsom_pyg.models.base import total
from dsom_pyg.query_index import Pairs, Queries, QueryBatch
from dsom_pyg.scores import Scores
from dsom_pyg.scores.tables import Basis
from dsom_pyg.teachers import Combiner, EnsembleScorer, Mean, TeacherEnsemble
from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.training.batches import send
from dsom_pyg.training.loop import Loop
from dsom_pyg.training.task import Task, adam, describe, with_loss


class ModelTask(Task):
    r"""Train one model by its own loss: a teacher, or plain ComplEx-N3.

    A checkpoint tells runs apart by the model's class and options, and by
    names, shapes and types of its parameters, not by what these held before:
    give a model that begins otherwise another file.
    """

    def __init__(self, model: Model, name: str = 'model') -> None:
        super().__init__(name, [model], model.asked)
        self.model = model

    def scorer(self) -> Scorer:
        return self.model

    def settings(self) -> dict[str, Any]:
        return {'model': describe(self.model)}

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        terms = self.model.loss(batch, precision)
        return with_loss(total(terms), terms)


class TeachersTask(Task):
    r"""Train all teachers jointly: the sum of their losses (Eq. 3).

    As nothing is shared, this equals training one by one with the same
    batches; early stopping looks at the mean of their logits.
    """

    def __init__(self, ensemble: TeacherEnsemble) -> None:
        super().__init__('teachers', [ensemble])
        self.ensemble = ensemble
        self.falling = ensemble.modalities

    def scorer(self) -> Scorer:
        return EnsembleScorer(self.ensemble, Mean())

    def settings(self) -> dict[str, Any]:
        names = self.ensemble.modalities
        return {'teachers': {m: describe(self.ensemble[m]) for m in names}}

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        terms = {
            name: total(self.ensemble[name].loss(batch, precision))
            for name in self.ensemble.modalities
        }
        return with_loss(torch.stack(list(terms.values())).sum(), terms)


@dataclass(kw_only=True, frozen=True)
class Distill:
    r"""The objective of distillation, Eq. 4 and 11-12.

    Args:
        gamma: Weight of distillation.
        tau: Temperature.
        alpha, beta: Weights of the neighbor and of the non-neighbor part.
        form: ``'mean'`` or ``'sum'`` over neighbors, see
            :func:`~dsom_pyg.losses.decoupled_parts`.
        scale_tau: Multiply by :math:`\tau^2`, as Hinton et al. do; the paper
            does not say. Without it the student loses two points of
            validation MRR on Countries.
        decoupled: Whose probability is told apart from that of the rest:
            :obj:`None` for the neighbors, ``'target'`` for the target alone
            (decoupled distillation, of batches of triples), ``'nobody'``
            (plain distillation, Eq. 2, weighted by :obj:`beta`).
        among: Only so many entities, those that the student scores highest;
            :obj:`None` for all. Of plain distillation alone.
    """

    gamma: float = 2.0
    tau: float = 4.0
    alpha: float = 1.0
    beta: float = 1.0
    form: str = 'mean'
    scale_tau: bool = True
    decoupled: str | None = None
    among: int | None = None

    def __post_init__(self) -> None:
        if self.decoupled not in (None, 'target', 'nobody'):
            raise ValueError(
                "decoupled must be None, 'target' or 'nobody', got "
                f"'{self.decoupled}'"
            )
        if self.among is not None and self.decoupled != 'nobody':
            raise ValueError("among needs decoupled='nobody'")
        if self.among is not None and self.among < 1:
            raise ValueError(f'among must be positive, got {self.among}')
        if self.form not in ('mean', 'sum'):
            raise ValueError(
                f"form must be 'mean' or 'sum', got '{self.form}'"
            )
        if not self.tau > 0:
            raise ValueError(f'tau must be positive, got {self.tau}')
        for name in ('gamma', 'alpha', 'beta'):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f'{name} must not be negative, got {getattr(self, name)}'
                )

    def check(self, loop: Loop) -> None:
        r"""Raise :class:`ValueError` unless a loop can train by it."""
        if loop.sampled is not None and self.among is not None:
            raise ValueError(
                'the entities that a student scores highest are found among '
                'all; leave Loop(sampled=...) or Distill(among=...) out'
            )
        if self.decoupled == 'target' and loop.batch_by != 'triples':
            raise ValueError(
                "decoupled='target' tells single targets apart; take "
                "Loop(batch_by='triples')"
            )


class DistillTask(Task):
    r"""Train a student, and the combiner of its teachers if that learns
    (Eq. 4, Algorithm 1).

    Args:
        student: A fresh structure-only model, or one that has learned
            already; see :class:`~dsom_pyg.training.Adagrad` then.
        ensemble: Trained teachers; they stay as they are.
        combiner: How they are weighed; trained along if it has parameters
            that require gradients.
        distill: The objective. (default: :class:`Distill()`)
        unlabeled: Queries without a known answer, as
            :func:`~dsom_pyg.query_index.unlabeled_queries` finds them; the
            paper has none.
        unlabeled_share: How many of these come into a batch, as a share of
            its other queries, in [0, 1]. Their distillation (they have no
            neighbors: it is plain) weighs as much as that of the others.
        begins_as: What the student is before, in words, unless it is fresh;
            it tells runs apart.
    """

    def __init__(
        self,
        student: Model,
        ensemble: TeacherEnsemble,
        combiner: Combiner,
        distill: Distill | None = None,
        unlabeled: Queries | None = None,
        unlabeled_share: float = 1.0,
        begins_as: str | None = None,
    ) -> None:
        if not 0.0 <= unlabeled_share <= 1.0:
            raise ValueError(
                'unlabeled_share is a share of the batch, in [0, 1]; got '
                f'{unlabeled_share}'
            )
        check_sizes(student=student, teachers=ensemble, combiner=combiner)
        if unlabeled is not None:
            sizes = ensemble.num_entities, ensemble.num_relations
            check_queries(*unlabeled, *sizes)
        trained = [student, combiner] if combiner.learns else [student]
        frozen = [ensemble] if combiner.learns else [ensemble, combiner]
        super().__init__('student', trained, frozen)
        self.student, self.combiner = student, combiner
        self.ensemble = ensemble
        # What a policy that learns along is rewarded for changes.
        self.falling = () if combiner.learns else ('loss',)
        self.distill = distill or Distill()
        self.unlabeled, self.unlabeled_share = unlabeled, unlabeled_share
        self.begins_as = begins_as
        self._tables: list[list[Basis] | None] | None = None

    def scorer(self) -> Scorer:
        return self.student

    def settings(self) -> dict[str, Any]:
        pool, begins = self.unlabeled, self.begins_as
        return {
            **asdict(self.distill),
            **({'begins as': begins} if begins is not None else {}),
            'student': describe(self.student),
            'combiner': describe(self.combiner),
            'unlabeled_queries': None if pool is None else pool.digest(),
            'unlabeled_share': self.unlabeled_share,
        }

    def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
        if self.combiner.learns:
            check_learns_along(loop)
        self.distill.check(loop)
        self._tables = None  # of teachers that may have changed since
        return [
            loop.optimizer(self.student.parameters()),
            *adam(self.combiner, self.combiner.lr),
        ]

    def step(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        d, labeled = self.distill, len(batch)
        batch = self._with_unlabeled(batch)
        # Algorithm 1. The student answers and counts its own loss (Eq. 1).
        scores, terms = self.student.scores_and_loss(batch, precision)
        # The combiner weighs the teachers. The paper's policy draws an action
        # for each query here, and learns from its reward against the student;
        # one that has learned before says what it decided.
        if self._tables is None:
            self._tables = self.ensemble.tables(precision)
        seen = Context(seen=batch.neighbors)
        answers = Answers(
            self.ensemble, batch.head, batch.rel, precision, seen, self._tables
        )
        self.combiner.epochs_done = self.epochs_done
        decision = self.combiner(answers, batch.targets, scores.detach())
        # The student imitates the teachers so weighed (Eq. 11-12), for every
        # training triple as its own loss weighs them.
        combined = answers.combined(decision.weights)
        if batch.candidates is not None:
            combined = combined.among(batch.candidates)
        if d.among is not None:
            combined, scores = _best(combined, scores, d.among)
        ndkd = neighbor_decoupled_kd(
            combined,
            scores,
            _told_apart(batch, d.decoupled),
            d.tau,
            d.alpha,
            d.beta,
            d.form,
        )
        weight = batch.query_weights()
        soft = (ndkd * weight).sum() / weight.sum()
        if len(batch) > labeled:
            soft = soft + ndkd[labeled:].mean()
        if d.scale_tau:
            soft = soft * d.tau**2
        loss = total(terms) + d.gamma * soft
        terms = {**terms, 'ndkd': soft}
        if decision.loss is not None:
            loss = loss + decision.loss
            terms['rc'] = decision.loss
        return with_loss(loss, terms, **decision.metrics)

    def _with_unlabeled(self, batch: QueryBatch) -> QueryBatch:
        # Appended without targets and neighbors, so that they cost no
        # cross-entropy and no regulariser.
        pool = self.unlabeled
        if pool is None or not self.unlabeled_share or not len(pool.head):
            return batch
        wanted = round(self.unlabeled_share * len(batch))
        size = (min(wanted, len(pool.head)),)
        if pool.head.device != batch.head.device:  # before the first step
            pool = Queries(pool.head.to(batch.head), pool.rel.to(batch.rel))
            self.unlabeled = pool
        at = send(torch.randint(len(pool.head), size), batch.head.device)
        head = torch.cat([batch.head, pool.head[at]])
        rel = torch.cat([batch.rel, pool.rel[at]])
        return replace(batch, head=head, rel=rel)


def check_learns_along(loop: Loop) -> None:
    r"""Raise :class:`ValueError` unless a combiner can learn along with a
    student that is trained by this loop.
    """
    if loop.sampled is not None:
        raise ValueError(
            'a combiner that learns along with the student needs all '
            'entities; leave Loop(sampled=...) out'
        )


def _told_apart(batch: QueryBatch, decoupled: str | None) -> Pairs:
    # The pairs that distillation decouples from all others.
    if decoupled == 'nobody':
        nothing = batch.head.new_empty(0)
        return Pairs(nothing, nothing)
    pairs = batch.targets if decoupled == 'target' else batch.neighbors
    return pairs if batch.candidates is None else batch.candidates.pairs(pairs)


def _best(
    combined: Scores, scores: Scores, count: int
) -> tuple[Scores, Scores]:
    # Both of the entities that the second one scores highest.
    _, ids = scores.best(count)
    row = torch.arange(len(ids), device=ids.device)
    pairs = Pairs(row.repeat_interleave(ids.size(1)), ids.flatten())
    one, other = (x.at(pairs).view(ids.shape) for x in (combined, scores))
    return Scores.of(one), Scores.of(other)
