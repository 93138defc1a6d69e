"""The exchangeable part of DSoM: who decides which teachers to believe.

Each choice here prepares a combiner for trained teachers. Another way to
choose teachers is one more class with ``prepare``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from dsom_pyg.losses import paper_advantage
from dsom_pyg.stages import Teachers, fit_folds
from dsom_pyg.teachers import (
    Combiner,
    CompactState,
    Mean,
    Policy,
    RankReward,
    Reward,
    State,
    TeacherEnsemble,
    Weighted,
    paper_policy,
    subsets,
)
from dsom_pyg.teachers.policy import DECISIONS, ESTIMATORS
from dsom_pyg.teachers.rewards import Advantage
from dsom_pyg.training import (
    Fold,
    KFolds,
    Loop,
    OneFold,
    PolicyTask,
    Run,
    drawn_with,
    held_graph,
)


# Found out now, not after the teachers were trained.
def _check_epochs(epochs: int) -> None:
    if epochs < 1:
        raise ValueError(f'epochs must be positive, got {epochs}')


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got '{value}'")


class PolicyChoice(Protocol):
    r"""How a recipe weighs its teachers."""

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        r"""The combiner of trained teachers. If it still learns, it learns
        in the distillation.

        Args:
            run: The run.
            teachers: How the teachers were trained.
            ensemble: The trained teachers.
        """


@dataclass(kw_only=True, frozen=True)
class AsInPaper:
    r"""The paper's policy (Eq. 5-10): it picks a subset of teachers, and
    learns along with the student, from training triples. See
    :func:`~dsom_pyg.teachers.paper_policy`.

    Args:
        mlp_channels: Width of the hidden layer. (default: :obj:`1024`)
        estimator: ``'sampled'`` or ``'exact'``. (default: ``'sampled'``)
        mask_missing: Never pick a teacher whose modality the head lacks.
            (default: :obj:`False`)
        advantage: See :class:`~dsom_pyg.teachers.CrossEntropyReward`.
        lr: Learning rate of Adam. (default: :obj:`1e-3`)
    """

    mlp_channels: int = 1024
    estimator: str = 'sampled'
    mask_missing: bool = False
    advantage: Advantage = paper_advantage
    lr: float = 1e-3

    def __post_init__(self) -> None:
        _check_known('estimator', self.estimator, ESTIMATORS)

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        with drawn_with(run.seed + 2):
            return paper_policy(
                ensemble,
                self.mlp_channels,
                self.estimator,
                self.mask_missing,
                self.advantage,
                self.lr,
            )


@dataclass(kw_only=True, frozen=True)
class MeanOfTeachers:
    r"""The plain mean of all teachers; nothing is learned.

    Args:
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`False`)
    """

    mask_missing: bool = False

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        return Mean(self.mask_missing)


class Learner(Protocol):
    r"""What learns from held-out triples."""

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        r"""A combiner fitted to what the folds held out.

        Args:
            run: The run.
            loop: Batches and optimiser settings; the learner sets its own
                epochs.
            folds: Who held out what.
            mask_missing: Leave out teachers whose modality the head lacks.
        """


@dataclass(kw_only=True, frozen=True)
class FixedWeights:
    r"""One weight a teacher, see :class:`~dsom_pyg.teachers.Weighted`.

    Args:
        epochs: Passes over the held-out queries. (default: :obj:`10`)
        lr: Learning rate. (default: :obj:`0.05`)
    """

    epochs: int = 10
    lr: float = 0.05

    def __post_init__(self) -> None:
        _check_epochs(self.epochs)

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        count = len(folds[0].ensemble)
        weights = Weighted(count, mask_missing=mask_missing, lr=self.lr)
        return _learned('weights', weights, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class ByRelation:
    r"""A weight for each teacher and relation, see
    :class:`~dsom_pyg.teachers.Weighted`.

    Args:
        epochs: Passes over the held-out queries. (default: :obj:`15`)
        lr: Learning rate. (default: :obj:`0.05`)
        shrinkage: How strongly weights of relations with few triples are
            drawn to those of all. (default: :obj:`10.0`)
    """

    epochs: int = 15
    lr: float = 0.05
    shrinkage: float = 10.0

    def __post_init__(self) -> None:
        _check_epochs(self.epochs)

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        held = held_graph(run.graph, folds).triples('train').edge_type
        count = torch.bincount(held, minlength=run.graph.num_relations)
        weights = Weighted(
            len(folds[0].ensemble),
            count.repeat(2),  # a triple is asked from both sides
            self.shrinkage,
            mask_missing,
            self.lr,
        )
        return _learned('weights', weights, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class RewardedPolicy:
    r"""A policy over subsets of weighted teachers, rewarded by the rank of
    the target; see :class:`~dsom_pyg.teachers.Policy`.

    Args:
        base: Fits the weights that subsets are taken of; :obj:`None` for
            none. (default: :class:`ByRelation()`)
        state: Makes what the policy looks at.
            (default: :class:`~dsom_pyg.teachers.CompactState`)
        actions: From M to the actions.
            (default: :func:`~dsom_pyg.teachers.subsets`)
        reward: What it is rewarded for.
            (default: :class:`~dsom_pyg.teachers.RankReward`)
        decision: ``'mean'`` or ``'best'``. (default: ``'mean'``)
        estimator: ``'exact'`` or ``'sampled'``. (default: ``'exact'``)
        prior: How far all teachers together lead at the start, in nats.
            (default: :obj:`2.0`)
        kl: How strongly the policy is held where it starts, in points of
            reciprocal rank. (default: :obj:`3.0`)
        mlp_channels: Width of the hidden layer. (default: :obj:`64`)
        dropout: Of the hidden layer. (default: :obj:`0.2`)
        epochs: Passes over the held-out queries. (default: :obj:`16`)
        lr: Learning rate of Adam. (default: :obj:`2e-3`)
    """

    base: Learner | None = ByRelation()
    state: type[State] = CompactState
    actions: Callable[[int], Tensor] = subsets
    reward: Reward = field(default_factory=RankReward)
    decision: str = 'mean'
    estimator: str = 'exact'
    prior: float = 2.0
    kl: float = 3.0
    mlp_channels: int = 64
    dropout: float = 0.2
    epochs: int = 16
    lr: float = 2e-3

    def __post_init__(self) -> None:
        _check_epochs(self.epochs)
        _check_known('decision', self.decision, DECISIONS)
        _check_known('estimator', self.estimator, ESTIMATORS)

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        base = None
        if self.base is not None:
            base = self.base.learn(run, loop, folds, mask_missing)
        ensemble = folds[0].ensemble
        with drawn_with(run.seed):
            policy = Policy(
                self.state.for_teachers(ensemble, run.graph),
                self.actions(len(ensemble)),
                self.reward,
                self.decision,
                self.estimator,
                base,
                mask_missing,
                self.prior,
                self.kl,
                self.mlp_channels,
                self.dropout,
                self.lr,
            )
        return _learned('policy', policy, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class HeldOut:
    r"""Weights that are learned from triples which the teachers that judge
    them never saw.

    Args:
        learner: What learns. (default: :class:`RewardedPolicy()`)
        evidence: Which part of train is held out, or parts.
            (default: :class:`~dsom_pyg.training.OneFold()`)
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`True`)
    """

    learner: Learner = field(default_factory=RewardedPolicy)
    evidence: OneFold | KFolds = field(default_factory=OneFold)
    mask_missing: bool = True

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        folds = fit_folds(run, teachers, self.evidence)
        return self.learner.learn(run, teachers.loop, folds, self.mask_missing)


def _learned(
    stage: str,
    combiner: Combiner,
    run: Run,
    loop: Loop,
    folds: Sequence[Fold],
    epochs: int,
) -> Combiner:
    # Held-out triples are few: at a constant rate, without evaluation, in
    # batches of 250 at most.
    loop = replace(
        loop,
        epochs=epochs,
        eval_every=0,
        cooldown=0.0,
        batch_size=min(loop.batch_size, 250),
    )
    held = held_graph(run.graph, folds)
    run.fit(stage, PolicyTask(folds, combiner), loop, held)
    return combiner.requires_grad_(False).eval()
