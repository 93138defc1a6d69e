"""From a graph to a student in one call."""

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.graph import (
    add_reciprocals,
    get_split,
    modalities,
    num_entities,
    num_relations,
    pool_features,
)
from dsom_pyg.nn import (
    AdaptiveCombiner,
    CombinedTeachers,
    CompactState,
    ComplEx,
    EntityEmbedding,
    JointEmbedding,
    QueryWeights,
    TeacherEnsemble,
    WeightedCombiner,
)
from dsom_pyg.query_index import unlabeled_queries
from dsom_pyg.training.config import FitConfig, FitResult
from dsom_pyg.training.fit import fit, train_index
from dsom_pyg.training.held_out import (
    Fold,
    PolicyTask,
    cross_fit,
    held_out_data,
)
from dsom_pyg.training.tasks import (
    DistillConfig,
    DistillTask,
    ModelTask,
    TeachersTask,
)


@dataclass(kw_only=True)
class RecipeConfig:
    r"""How :func:`train_dsom` trains.

    Args:
        hidden_channels: D of the student. (default: :obj:`256`)
        teacher_channels: D of the teachers. (default: that of the student)
        n3: Weight of the N3 regulariser of the teachers with a free entity
            table, structure and joint. (default: :obj:`0.05`)
        feature_n3: The same of the others. (default: :obj:`0.01`)
        joint: Have a teacher over structure and all features at once beside
            those of the single modalities. (default: :obj:`True`)
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`True`)
        folds: Parts of train that weights and policy learn from; see
            :func:`~dsom_pyg.training.cross_fit`. With 1 it is one part of
            size :obj:`ratio`, judged by teachers that saw nearly all of train
            and so are close to the full ones. With more every training triple
            counts, for graphs that have few of them, at the cost of a
            training of all teachers for each. (default: :obj:`1`)
        ratio: Held-out share of train if :obj:`folds` is 1.
            (default: :obj:`0.05`)
        weight_epochs: Passes over the held-out queries for the weights that
            the policy starts from. (default: :obj:`15`)
        weight_lr: Learning rate of these. (default: :obj:`0.05`)
        policy_epochs: Passes of the policy. (default: :obj:`16`)
        policy_lr: Learning rate of the policy. (default: :obj:`2e-3`)
        unlabeled: How many queries without a known answer to draw; 0: none.
            (default: :obj:`60000`)
        teachers: The loop of teachers and folds; folds are trained as long
            as the teachers were. (default: 12 epochs, batches of 250 queries,
            learning rate 0.2 that falls to 0, from trials on the validation
            splits of DB15K and MKG-W)
        warm_start: The student begins as a trained joint model of its size
            and keeps the features inside until it is done: what is returned
            is the table of its rows, structure-only, see
            :meth:`~dsom_pyg.nn.ScoreFunction.as_table`. If the teachers have
            no joint one of that size, it is trained first. Otherwise the
            student begins as a fresh table. A warm student wants a learning
            rate near 0.1, constant or falling. (default: :obj:`False`)
        warm_accumulator: Takes the place of
            :obj:`distill.initial_accumulator` after a warm start.
            (default: :obj:`2e-6`, from trials on DB15K)
        student: The loop of the student. A loop that is given here, or for
            the teachers, brings its own rate and batches: if it names none,
            0.1, constant, and 500. (default: 12 epochs, batches of 250,
            learning rate 0.3 that falls to 0, from the same trials)
        distill: The objective of the student. (default: tau 2, gamma 4)
    """

    hidden_channels: int = 256
    teacher_channels: int | None = None
    n3: float = 0.05
    feature_n3: float = 0.01
    joint: bool = True
    mask_missing: bool = True
    folds: int = 1
    ratio: float = 0.05
    weight_epochs: int = 15
    weight_lr: float = 0.05
    policy_epochs: int = 16
    policy_lr: float = 2e-3
    unlabeled: int = 60_000
    warm_start: bool = False
    warm_accumulator: float = 2e-6
    teachers: FitConfig = field(
        default_factory=lambda: FitConfig(batch_size=250, lr=0.2, cooldown=1.0)
    )
    student: FitConfig = field(
        default_factory=lambda: FitConfig(batch_size=250, lr=0.3, cooldown=1.0)
    )
    distill: DistillConfig = field(
        default_factory=lambda: DistillConfig(tau=2.0, gamma=4.0)
    )

    def objective(self, student: ComplEx) -> DistillConfig:
        r"""The objective for a student that :func:`start_student` made."""
        if isinstance(student.entities, EntityEmbedding):
            return self.distill
        start = self.warm_accumulator
        return replace(self.distill, initial_accumulator=start)


@dataclass
class Trained:
    r"""What :func:`train_dsom` returns.

    Attributes:
        student: What answers at test time.
        ensemble: Its teachers.
        policy: What combined them.
        results: What happened in training, stage by stage: ``'teachers'``,
            ``'policy'``, ``'student'``, and ``'start'`` if the student's
            beginning had to be trained.
    """

    student: ComplEx
    ensemble: TeacherEnsemble
    policy: AdaptiveCombiner
    results: dict[str, FitResult]

    def combined(self, data: HeteroData) -> CombinedTeachers:
        r"""The teachers as a scorer, for comparison with the student."""
        return CombinedTeachers(self.ensemble, self.policy, train_index(data))


def train_dsom(
    data: HeteroData,
    config: RecipeConfig | None = None,
    checkpoints: str | Path | None = None,
) -> Trained:
    r"""Train teachers, a policy on held-out triples, and the student.

    The stages, each of which can be had alone: teachers on all of train;
    teachers that never saw a part of it (:func:`cross_fit`); weights by
    relation and, over subsets of the weighted teachers, a policy that is
    rewarded by the ranks of that part (:class:`AdaptiveCombiner`); its
    decisions for all training queries and for plausible ones without a known
    answer (:class:`QueryWeights`, :func:`unlabeled_queries`); the student
    before distillation (:func:`start_student`), and distillation.

    Args:
        data: The graph, with features of its modalities.
        config: How. (default: :class:`RecipeConfig()`)
        checkpoints: A folder; every stage then writes a file there after
            each epoch, and goes on from it. (default: :obj:`None`)
    """
    config = config or RecipeConfig()
    folder = None if checkpoints is None else Path(checkpoints)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)

    def path(stage: str) -> Path | None:
        return folder and folder / f'{stage}.safetensors'

    results = {}
    ensemble = build_teachers(data, config)
    task = TeachersTask(ensemble, teacher_n3(ensemble, config))
    loop = config.teachers
    results['teachers'] = fit(task, data, loop, path('teachers'))
    epochs = results['teachers'].best_epoch
    folds = fit_folds(data, config, epochs, folder)
    policy, results['policy'] = fit_policy(data, folds, config, path('policy'))
    device = torch.device(loop.device)
    index = train_index(data).to(device)
    pool = None
    if config.unlabeled:
        pool = unlabeled_queries(
            index, num_entities(data), config.unlabeled, loop.seed
        )
    decided = QueryWeights.of(
        policy,
        ensemble,
        index,
        pool,
        precision=loop.resolved_precision(),
    )
    student, begun = start_student(data, ensemble, config, path('start'))
    if begun is not None:
        results['start'] = begun
    objective = config.objective(student)
    distill = DistillTask(student, ensemble, decided, objective, pool)
    results['student'] = fit(distill, data, config.student, path('student'))
    return Trained(student.as_table(), ensemble, policy, results)


def start_student(
    data: HeteroData,
    ensemble: TeacherEnsemble,
    config: RecipeConfig,
    checkpoint: str | Path | None = None,
) -> tuple[ComplEx, FitResult | None]:
    r"""The student before distillation.

    Args:
        data: The graph.
        ensemble: The trained teachers. If they have a joint ComplEx of the
            student's size, a warm start is a copy of it.
        config: With :obj:`warm_start` or without.
        checkpoint: A file for the training of a joint model, where the
            teachers have no such one. (default: :obj:`None`)

    Returns:
        The student, and how it was trained, if it had to be.
    """
    size, channels = num_relations(data), config.hidden_channels
    names = modalities(data)
    if not (config.warm_start and names):
        torch.manual_seed(config.student.seed + 1)
        table = EntityEmbedding(num_entities(data), channels)
        return ComplEx(table, size), None
    if 'joint' in ensemble.modalities:
        joint = ensemble['joint']
        if type(joint) is ComplEx and joint.hidden_channels == channels:
            return copy.deepcopy(joint).requires_grad_(True), None
    # A further teacher, so to speak: by their loop and seed.
    torch.manual_seed(config.teachers.seed + 1)
    features = {name: pool_features(data, name) for name in names}
    student = ComplEx(JointEmbedding(features, channels), size)
    task = ModelTask(student, config.n3, 'start of the student')
    return student, fit(task, data, config.teachers, checkpoint)


def build_teachers(data: HeteroData, config: RecipeConfig) -> TeacherEnsemble:
    r"""Untrained teachers of all modalities of the graph, drawn with the
    seed of their loop.
    """
    torch.manual_seed(config.teachers.seed)
    features = {name: pool_features(data, name) for name in modalities(data)}
    channels = config.teacher_channels
    if channels is None:
        channels = config.hidden_channels
    return TeacherEnsemble.from_features(
        features,
        num_entities(data),
        num_relations(data),
        channels,
        joint=config.joint and bool(features),
    )


def teacher_n3(
    ensemble: TeacherEnsemble, config: RecipeConfig
) -> dict[str, float]:
    r"""The regulariser of each teacher."""
    free = ('structure', 'joint')
    return {
        name: config.n3 if name in free else config.feature_n3
        for name in ensemble.modalities
    }


def fit_folds(
    data: HeteroData,
    config: RecipeConfig,
    epochs: int,
    checkpoints: str | Path | None = None,
) -> list[Fold]:
    r"""Teachers that never saw a part of train, to learn a policy from.

    Args:
        data: The graph.
        config: With :obj:`folds` and :obj:`ratio`.
        epochs: How long the teachers of all of train were trained.
        checkpoints: As in :func:`cross_fit`. (default: :obj:`None`)
    """
    return cross_fit(
        data,
        lambda: build_teachers(data, config),
        # Folds have no validation of their own.
        replace(config.teachers, eval_every=0, epochs=epochs),
        config.folds,
        config.ratio,
        teacher_n3(build_teachers(data, config), config),
        seed=config.teachers.seed + 1,
        checkpoints=checkpoints,
    )


def policy_loop(config: RecipeConfig, epochs: int) -> FitConfig:
    r"""The loop of what is fitted on held-out triples: that of the teachers,
    at a constant rate and without evaluation.
    """
    return replace(config.teachers, eval_every=0, epochs=epochs, cooldown=0.0)


def fit_policy(
    data: HeteroData,
    folds: list[Fold],
    config: RecipeConfig,
    checkpoint: str | Path | None = None,
) -> tuple[AdaptiveCombiner, FitResult]:
    r"""A policy over subsets of teachers as weighted by relation
    (:func:`fit_weights`), rewarded on held-out triples.

    Args:
        data: The graph.
        folds: What it learns from.
        config: How.
        checkpoint: A file for the training of the policy.
            (default: :obj:`None`)
    """
    count = len(folds[0].ensemble)
    # Not kept in a file: it takes less than the policy.
    weights = fit_weights(data, folds, config)
    train = get_split(data, 'train')
    degree = torch.bincount(
        train.edge_index.flatten(), minlength=num_entities(data)
    )
    torch.manual_seed(config.teachers.seed)
    policy = AdaptiveCombiner(
        CompactState(count, num_relations(data), degree),
        AdaptiveCombiner.subsets(count),
        weights,
        mask_missing=config.mask_missing,
    )
    result = fit(
        PolicyTask(folds, policy, config.policy_lr),
        held_out_data(data, folds),
        policy_loop(config, config.policy_epochs),
        checkpoint,
    )
    policy.requires_grad_(False).eval()
    return policy, result


def fit_weights(
    data: HeteroData, folds: list[Fold], config: RecipeConfig
) -> WeightedCombiner:
    r"""Weights for each teacher and relation, fitted on held-out triples."""
    held = held_out_data(data, folds)
    size = num_relations(data)
    asked = add_reciprocals(get_split(held, 'train'), size)
    weights = WeightedCombiner(
        len(folds[0].ensemble),
        torch.bincount(asked.edge_type, minlength=2 * size),
        mask_missing=config.mask_missing,
    )
    fit(
        PolicyTask(folds, weights, config.weight_lr),
        held,
        policy_loop(config, config.weight_epochs),
    )
    weights.requires_grad_(False).eval()
    return weights
