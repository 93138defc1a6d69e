"""The stages of the recipe."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
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
    CompactState,
    ComplEx,
    EntityEmbedding,
    JointEmbedding,
    TeacherEnsemble,
    WeightedCombiner,
)
from dsom_pyg.training.config import FitConfig, FitResult
from dsom_pyg.training.fit import fit
from dsom_pyg.training.held_out import (
    Fold,
    PolicyTask,
    cross_fit,
    held_out_data,
)
from dsom_pyg.training.recipe_config import RecipeConfig
from dsom_pyg.training.tasks import ModelTask, TeachersTask


@contextmanager
def _drawn_with(seed: int) -> Iterator[None]:
    # Parameters are drawn on the CPU. The caller's own stream goes on as if
    # nothing had happened, as around `fit`.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def build_teachers(data: HeteroData, config: RecipeConfig) -> TeacherEnsemble:
    r"""Untrained teachers of all modalities of the graph, drawn with the
    seed of their loop: one of each kind, the first member of a committee.
    """
    features = {name: pool_features(data, name) for name in modalities(data)}
    channels = config.teacher_channels
    if channels is None:
        channels = config.hidden_channels
    with _drawn_with(config.teachers.seed):
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


def fit_teachers(
    data: HeteroData,
    config: RecipeConfig,
    checkpoints: str | Path | None = None,
) -> tuple[TeacherEnsemble, list[FitResult]]:
    r"""Teachers on all of train.

    Args:
        data: The graph.
        config: How, and how many of each kind.
        checkpoints: A folder; every member of the committee is then written
            there after each epoch, and goes on from there.
            (default: :obj:`None`)

    Returns:
        The teachers, and how each member of the committee was trained.
    """
    ensembles, results = [], []
    for at, member in enumerate(config.members()):
        ensemble = build_teachers(data, member)
        task = TeachersTask(ensemble, teacher_n3(ensemble, member))
        stem = 'teachers' if at == 0 else f'teachers-{at + 1}'
        path = None
        if checkpoints is not None:
            path = Path(checkpoints) / f'{stem}.safetensors'
        results.append(fit(task, data, member.teachers, path))
        ensembles.append(ensemble)
    return together(ensembles), results


def together(ensembles: Sequence[TeacherEnsemble]) -> TeacherEnsemble:
    r"""The only ensemble, or the committee of several."""
    if len(ensembles) == 1:
        return ensembles[0]
    return TeacherEnsemble.concatenate(ensembles)


def fit_folds(
    data: HeteroData,
    config: RecipeConfig,
    epochs: int | Sequence[int],
    checkpoints: str | Path | None = None,
) -> list[Fold]:
    r"""Teachers that never saw a part of train, to learn a policy from.

    Args:
        data: The graph.
        config: With :obj:`folds` and :obj:`ratio`. All members of a
            committee leave out the same parts.
        epochs: How long the teachers of all of train were trained; one
            number for all members of a committee, or one for each.
        checkpoints: As in :func:`cross_fit`; those of further members of a
            committee go to folders in it. (default: :obj:`None`)
    """
    members = config.members()
    if isinstance(epochs, int):
        epochs = [epochs] * len(members)
    found = []
    for at, (member, length) in enumerate(zip(members, epochs, strict=True)):
        folder = checkpoints
        if checkpoints is not None and at > 0:
            folder = Path(checkpoints) / f'member-{at + 1}'
            folder.mkdir(parents=True, exist_ok=True)
        build = partial(build_teachers, data, member)
        folds = cross_fit(
            data,
            build,
            replace(member.teachers, epochs=length),
            config.folds,
            config.ratio,
            teacher_n3(build(), member),
            seed=config.teachers.seed + 1,
            checkpoints=folder,
        )
        found.append(folds)
    return [
        replace(of_all[0], ensemble=together([f.ensemble for f in of_all]))
        for of_all in zip(*found, strict=True)
    ]


def policy_loop(config: RecipeConfig, epochs: int) -> FitConfig:
    r"""The loop of what is fitted on held-out triples: that of the teachers,
    at a constant rate, without evaluation, and in batches of 250 at most,
    since these triples are few.
    """
    return replace(
        config.teachers,
        eval_every=0,
        epochs=epochs,
        cooldown=0.0,
        batch_size=min(config.teachers.batch_size, 250),
    )


def fit_policy(
    data: HeteroData,
    folds: list[Fold],
    config: RecipeConfig,
    checkpoint: str | Path | None = None,
    weights: WeightedCombiner | None = None,
) -> tuple[AdaptiveCombiner, FitResult]:
    r"""A policy over subsets of weighted teachers, rewarded on held-out
    triples.

    Args:
        data: The graph.
        folds: What it learns from.
        config: How.
        checkpoint: A file for the training of the policy.
            (default: :obj:`None`)
        weights: The weights of the teachers. (default: fitted to the same,
            :func:`fit_weights`)
    """
    count = len(folds[0].ensemble)
    if weights is None:
        weights = fit_weights(data, folds, config)
    train = get_split(data, 'train')
    degree = torch.bincount(
        train.edge_index.flatten(), minlength=num_entities(data)
    )
    with _drawn_with(config.teachers.seed):
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
    data: HeteroData,
    folds: list[Fold],
    config: RecipeConfig,
    checkpoint: str | Path | None = None,
) -> WeightedCombiner:
    r"""Weights for each teacher and relation, fitted on held-out triples.

    Args:
        data: The graph.
        folds: Who held them out.
        config: How.
        checkpoint: A file for this training. (default: :obj:`None`)
    """
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
        checkpoint,
    )
    weights.requires_grad_(False).eval()
    return weights


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
        config: With :obj:`warm_start` or without. The joint teacher of a
            committee has the D of all its members together.
        checkpoint: A file for the training of a joint model, where the
            teachers have no such one. (default: :obj:`None`)

    Returns:
        The student, and how it was trained, if it had to be.
    """
    size, channels = num_relations(data), config.hidden_channels
    names = modalities(data)
    if not (config.warm_start and names):
        with _drawn_with(config.student_loop().seed + 1):
            table = EntityEmbedding(num_entities(data), channels)
            return ComplEx(table, size), None
    if 'joint' in ensemble.modalities:
        joint = ensemble['joint']
        if type(joint) is ComplEx and joint.hidden_channels == channels:
            return copy.deepcopy(joint).requires_grad_(True), None
    # A further teacher, so to speak: by their loop and seed.
    features = {name: pool_features(data, name) for name in names}
    with _drawn_with(config.teachers.seed + 1):
        student = ComplEx(JointEmbedding(features, channels), size)
    task = ModelTask(student, config.n3, 'start of the student')
    return student, fit(task, data, config.teachers, checkpoint)
