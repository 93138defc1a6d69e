"""The exchangeable part of DSoM: who decides which teachers to believe.

Each choice here prepares a combiner for trained teachers. Another way to
choose teachers is one more class with ``prepare``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from numbers import Integral
from typing import Any, Protocol

import torch
from torch import Tensor

from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.losses import paper_advantage
from dsom_pyg.models.sharded import sharded
from dsom_pyg.stages import Teachers, fit_folds
from dsom_pyg.teachers import (
    Best,
    Boosted,
    Combiner,
    Mean,
    MostConfident,
    MulDE,
    Policy,
    TeacherEnsemble,
    Weighted,
    boost,
)
from dsom_pyg.teachers.mulde import check_mulde
from dsom_pyg.teachers.policy import (
    DECISIONS,
    ESTIMATORS,
    paper_policy,
    subsets,
)
from dsom_pyg.teachers.rewards import Advantage, RankReward, Reward
from dsom_pyg.teachers.states import CompactState, State
from dsom_pyg.training import (
    Fold,
    KFolds,
    Loop,
    OneFold,
    OnValidation,
    PolicyTask,
    Run,
)
from dsom_pyg.training.folds import held_graph
from dsom_pyg.training.loop import check_epochs
from dsom_pyg.training.run import drawn_with
from dsom_pyg.training.tasks import check_learns_along

__all__ = [
    'AsInPaper',
    'BestStrategy',
    'BestTeacher',
    'Boosting',
    'ByRelation',
    'ConfTeacher',
    'FixedWeights',
    'HeldOut',
    'Learner',
    'MeanOfTeachers',
    'OneTeacher',
    'PolicyChoice',
    'RewardedPolicy',
    'Senior',
]


# Those of a class, of an object that may have more.
def _options(kind: Any, part: Any) -> dict[str, Any]:
    return {each.name: getattr(part, each.name) for each in fields(kind)}


# Found out now, not after the teachers were trained.
def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got '{value}'")


def _check_mlp(channels: int, dropout: float, lr: float) -> None:
    if channels < 1 or not isinstance(channels, Integral):
        raise ValueError(
            f'mlp_channels must be a positive integer, got {channels}'
        )
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f'dropout must lie in [0, 1), got {dropout}')
    if not lr > 0:
        raise ValueError(f'lr must be positive, got {lr}')


class PolicyChoice(Protocol):
    r"""How a recipe weighs its teachers. It may have ``check(names, graph,
    loop)`` as well, which raises :class:`ValueError` before anything is
    trained if it does not suit teachers of these names, the graph, or the
    loop of the student.
    """

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        r"""The combiner of an ensemble that was trained as :obj:`teachers`
        says. One with trainable parameters is trained in the distillation.
        """


@dataclass(kw_only=True, frozen=True)
class AsInPaper:
    r"""The paper's policy (Eq. 5-10): it picks a subset of teachers, and
    learns along with the student, from training triples. The options are
    those of :func:`~dsom_pyg.teachers.paper_policy`.
    """

    mlp_channels: int = 1024
    estimator: str = 'sampled'
    mask_missing: bool = False
    advantage: Advantage = paper_advantage
    lr: float = 1e-3

    def __post_init__(self) -> None:
        _check_known('estimator', self.estimator, ESTIMATORS)
        _check_mlp(self.mlp_channels, 0.0, self.lr)

    def check(self, names: Sequence[str], graph: KG, loop: Loop) -> None:
        subsets(len(names))
        check_learns_along(loop)

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        with drawn_with(run.seed + 2):
            return paper_policy(ensemble, **_options(AsInPaper, self))


@dataclass(kw_only=True, frozen=True)
class MeanOfTeachers:
    r"""The plain mean of all teachers, or of those whose modality the head
    has (:obj:`mask_missing`); nothing is learned.
    """

    mask_missing: bool = False

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        return Mean(self.mask_missing)


@dataclass(kw_only=True, frozen=True)
class OneTeacher:
    r"""A single teacher, by its modality (Table 6)."""

    name: str = 'structure'

    def check(self, names: Sequence[str], graph: KG, loop: Loop) -> None:
        self._check_name(names)

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        self._check_name(ensemble.modalities)
        row = [float(name == self.name) for name in ensemble.modalities]
        both = 2 * ensemble.num_relations
        return Boosted(torch.tensor([row]).repeat(both, 1))

    def _check_name(self, names: Sequence[str]) -> None:
        if self.name not in names:
            raise ValueError(
                f'there is no teacher {self.name!r}; there are '
                f'{", ".join(names)}'
            )


@dataclass(kw_only=True, frozen=True)
class ConfTeacher:
    r"""The most confident teacher, query by query (Table 2)."""

    mask_missing: bool = False

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        return MostConfident(self.mask_missing)


@dataclass(frozen=True)
class BestTeacher:
    r"""The teacher that knows the label best (Table 2)."""

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        return Best(len(ensemble), alone=True)


@dataclass(frozen=True)
class BestStrategy:
    r"""The subset of teachers that knows the label best (Table 2)."""

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        return Best(len(ensemble))


@dataclass(kw_only=True, frozen=True)
class Senior:
    r"""The Senior of MulDE, whose options these are; see
    :class:`~dsom_pyg.teachers.MulDE`. In MulDE the student distils with
    ``Distill(decoupled='nobody', among=500)``.
    """

    top: int = 500
    soft: float = 2.0
    tau: float = 4.0
    lr: float = 5e-4

    def __post_init__(self) -> None:
        check_mulde(**_options(Senior, self))

    def check(self, names: Sequence[str], graph: KG, loop: Loop) -> None:
        check_learns_along(loop)

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        sizes = len(ensemble), ensemble.num_relations
        return MulDE(*sizes, **_options(Senior, self))


@dataclass(kw_only=True, frozen=True)
class Boosting:
    r"""MoSE-BI: weights by relation, boosted on the validation split; see
    :func:`~dsom_pyg.teachers.boost`.
    """

    again: bool = False

    def check(self, names: Sequence[str], graph: KG, loop: Loop) -> None:
        _validation(graph)

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        _validation(run.graph)
        held = run.graph.index('val').to(run.device)
        known = run.graph.index('train', 'val').to(run.device)
        precision = run.resolved_precision()
        with sharded([ensemble], changed=False):
            asked = ensemble.to(run.device), held, known
            return boost(*asked, self.again, precision)


class Learner(Protocol):
    r"""What learns from held-out triples."""

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        r"""A combiner fitted to what the folds held out, by a loop but for
        its epochs, which are the learner's own.
        """


@dataclass(kw_only=True, frozen=True)
class FixedWeights:
    r"""One weight a teacher, see :class:`~dsom_pyg.teachers.Weighted`, from
    some passes (:obj:`epochs`) over the held-out queries.
    """

    epochs: int = 10
    lr: float = 0.05

    def __post_init__(self) -> None:
        check_epochs(self.epochs)
        if not self.lr > 0:
            raise ValueError(f'lr must be positive, got {self.lr}')

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        count = len(folds[0].ensemble)
        weights = Weighted(count, mask_missing=mask_missing, lr=self.lr)
        return _learned(weights, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class ByRelation(FixedWeights):
    r"""A weight for each teacher and relation, see
    :class:`~dsom_pyg.teachers.Weighted`. Those of relations with few triples
    are drawn (:obj:`shrinkage`) to those of all.
    """

    epochs: int = 15
    shrinkage: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shrinkage >= 0:
            raise ValueError(
                f'shrinkage must not be negative, got {self.shrinkage}'
            )

    def learn(
        self, run: Run, loop: Loop, folds: Sequence[Fold], mask_missing: bool
    ) -> Combiner:
        rel = held_graph(run.graph, folds).index('train').of_tails().rel
        count = torch.bincount(rel, minlength=2 * run.graph.num_relations)
        weights = Weighted(
            len(folds[0].ensemble),
            count,
            self.shrinkage,
            mask_missing,
            self.lr,
        )
        return _learned(weights, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class RewardedPolicy:
    r"""A policy over subsets of weighted teachers, rewarded by the rank of
    the target. The options that are not listed are those of
    :class:`~dsom_pyg.teachers.Policy`.

    Args:
        base: Learns the weights that each action multiplies; :obj:`None` for
            equal ones.
        state: Makes what the policy looks at.
        actions: From the number of teachers M to the actions ``[A, M]``.
        reward: What it is rewarded for.
            (default: :class:`~dsom_pyg.teachers.RankReward`)
        kl: Weight of the divergence from the initial policy, in points of
            reciprocal rank.
        epochs: Passes over the held-out queries.
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
        check_epochs(self.epochs)
        _check_known('decision', self.decision, DECISIONS)
        if not self.state.same_for_all_folds:
            raise ValueError(
                f'{self.state.__name__} means something else for the teachers '
                'of a fold than for all; use LogitState or CompactState'
            )
        _check_known('estimator', self.estimator, ESTIMATORS)
        _check_mlp(self.mlp_channels, self.dropout, self.lr)
        if not self.kl >= 0:
            raise ValueError(f'kl must not be negative, got {self.kl}')
        if not isfinite(self.prior):
            raise ValueError(f'prior must be finite, got {self.prior}')
        if getattr(self.reward, 'advantage', None) is paper_advantage:
            raise ValueError(
                'the reward of Eq. 8 compares with a student, and nobody is '
                'one yet where held-out triples are learned from; take '
                'CrossEntropyReward(mean_advantage)'
            )

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
        return _learned(policy, run, loop, folds, self.epochs)


@dataclass(kw_only=True, frozen=True)
class HeldOut:
    r"""A combiner learned on held-out triples, each judged by teachers that
    were not trained on it.

    Args:
        learner: What learns.
        evidence: What is held out of train: one part, or k folds; or the
            validation split, as in the paper's Table 4.
        mask_missing: Leave out teachers whose modality the head lacks.
    """

    learner: Learner = field(default_factory=RewardedPolicy)
    evidence: OneFold | KFolds | OnValidation = field(default_factory=OneFold)
    mask_missing: bool = True

    def __post_init__(self) -> None:
        made = not isinstance(self.learner, type)
        if not (made and hasattr(self.learner, 'learn')):
            raise TypeError(
                'learner needs learn(run, loop, folds, mask_missing), as '
                f'RewardedPolicy() has it, got {self.learner!r}'
            )

    def check(self, names: Sequence[str], graph: KG, loop: Loop) -> None:
        if isinstance(self.evidence, OnValidation):
            _validation(graph)
        else:
            self.evidence.check(graph)
        if isinstance(self.learner, RewardedPolicy):
            self.learner.actions(len(names))

    def prepare(
        self, run: Run, teachers: Teachers, ensemble: TeacherEnsemble
    ) -> Combiner:
        if isinstance(self.evidence, OnValidation):
            held = _validation(run.graph)
            folds = [Fold(ensemble, run.graph, held)]
        else:
            folds = fit_folds(run, teachers, self.evidence)
        return self.learner.learn(run, teachers.loop, folds, self.mask_missing)


def _validation(graph: KG) -> Triples:
    held = graph.triples('val')
    if not held.edge_type.numel():
        raise ValueError(
            'the graph has no validation triples to learn weights from'
        )
    return held


def _learned(
    policy: Combiner, run: Run, loop: Loop, folds: Sequence[Fold], epochs: int
) -> Combiner:
    # Held-out triples are few: at a constant rate, without evaluation, in
    # small batches, and judged among all entities.
    loop = replace(loop, epochs=epochs, batch_size=min(loop.batch_size, 250))
    loop = replace(loop, eval_every=0, cooldown=0.0, sampled=None)
    stage = 'policy' if isinstance(policy, Policy) else 'weights'
    held = held_graph(run.graph, folds)
    run.fit(stage, PolicyTask(folds, policy), loop, held)
    return policy.requires_grad_(False).eval()
