"""Folds, and combiners that learn from what their teachers never saw."""

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    concat,
    get_split,
    k_folds,
    modalities,
    pool_features,
)
from dsom_pyg.nn import (
    AdaptiveCombiner,
    CompactState,
    TeacherEnsemble,
    WeightedCombiner,
)
from dsom_pyg.training import (
    FitConfig,
    Fold,
    ModelTask,
    PolicyTask,
    cross_fit,
    fit,
    held_out_data,
)

DATA = FakeMMKG(30, 4, 200)[0]
FEATURES = {name: pool_features(DATA, name) for name in modalities(DATA)}
CONFIG = FitConfig(epochs=3, batch_size=50, progress=False)


def build() -> TeacherEnsemble:
    torch.manual_seed(0)
    return TeacherEnsemble.from_features(FEATURES, 30, 4, 8)


def rows(part) -> list[tuple[int, ...]]:  # type: ignore[no-untyped-def]
    head, tail = part.edge_index.tolist()
    return sorted(zip(head, part.edge_type.tolist(), tail, strict=True))


def test_every_triple_is_in_one_fold() -> None:
    folds = k_folds(DATA, 3, seed=4)
    train = get_split(DATA, 'train')
    assert rows(concat(*(part for _, part in folds))) == rows(train)
    for rest, part in folds:
        left = get_split(rest, 'train')
        assert rows(concat(left, part)) == rows(train)
        assert abs(len(rows(part)) - len(rows(train)) / 3) < 1
    assert rows(get_split(DATA, 'train')) == rows(train)
    with pytest.raises(ValueError, match='k must be 2 to'):
        k_folds(DATA, 1)


def test_teachers_of_a_fold_never_saw_what_it_holds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folds = cross_fit(DATA, build, CONFIG, k=2, checkpoints=tmp_path)
    train = get_split(DATA, 'train')
    assert rows(get_split(held_out_data(DATA, folds), 'train')) == rows(train)
    for fold in folds:
        assert not set(rows(fold.held)) & set(rows(fold.seen))
        assert rows(concat(fold.held, fold.seen)) == rows(train)
    # A second call goes on from the files: nothing is trained again.
    again = cross_fit(DATA, build, CONFIG, k=2, checkpoints=tmp_path)
    for one, two in zip(folds, again, strict=True):
        for a, b in zip(
            one.ensemble.parameters(), two.ensemble.parameters(), strict=True
        ):
            assert torch.equal(a, b)
    single = cross_fit(DATA, build, CONFIG, ratio=0.1)
    assert len(single) == 1
    # hold_out keeps a triple of every entity in train.
    assert 10 <= len(rows(single[0].held)) <= 20


def test_the_teachers_of_the_right_fold_are_asked() -> None:
    train = get_split(DATA, 'train')
    half = torch.arange(train.edge_type.numel()) % 2 == 0
    parts = train.select(half), train.select(~half)
    folds = []
    for held, seen in (parts, parts[::-1]):
        ensemble = build()
        folds.append(Fold(ensemble, seen, held, 4))
    combiner = WeightedCombiner(3)
    task = PolicyTask(folds, combiner, lr=0.05)
    asked = []
    learn = task._learn

    def spy(said, targets):  # type: ignore[no-untyped-def]
        held = (
            folds[0].held_index()
            if said.ensemble is folds[0].ensemble
            else folds[1].held_index()
        )
        pairs = held.lookup(said.head, said.rel)
        assert torch.equal(pairs.row, targets.row)
        assert torch.equal(pairs.tail, targets.tail)
        asked.append(targets.row.numel())
        return learn(said, targets)

    task._learn = spy  # type: ignore[method-assign]
    result = fit(task, held_out_data(DATA, folds), CONFIG)
    distinct = len(set(rows(train)))
    assert sum(asked) == 3 * 2 * distinct
    assert len(result.history) == 3


def test_noise_is_excluded_on_held_out_triples() -> None:
    # The graph's own random structure cannot be learned, noise even less;
    # what answers the held-out triples is a teacher that knows them.
    torch.manual_seed(0)
    folds = cross_fit(DATA, build, CONFIG, k=2)
    for fold in folds:
        whole = build()
        config = FitConfig(epochs=30, batch_size=50, progress=False)
        fit(ModelTask(whole['structure']), DATA, config)
        fold.ensemble.teachers['structure'] = whole['structure']
    degree = torch.bincount(get_split(DATA, 'train').edge_index.flatten())
    policy = AdaptiveCombiner(
        CompactState(3, 4, degree, relation_channels=4),
        AdaptiveCombiner.subsets(3),
    )
    task = PolicyTask(folds, policy, lr=0.01)
    config = FitConfig(epochs=20, batch_size=50, progress=False)
    history = fit(task, held_out_data(DATA, folds), config).history
    assert history[-1]['weight structure'] > 0.7
    assert history[-1]['reward'] > history[0]['reward']
