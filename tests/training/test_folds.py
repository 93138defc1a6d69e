"""Folds, and combiners that learn from what their teachers never saw."""

import copy
from dataclasses import replace

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    Triples,
    concat,
    get_split,
    hold_out,
    k_folds,
    merge_val,
    modalities,
    pool_features,
    set_split,
)
from dsom_pyg.nn import (
    AdaptiveCombiner,
    CompactState,
    ReinforcedCombiner,
    TeacherEnsemble,
    WeightedCombiner,
)
from dsom_pyg.training import (
    FitConfig,
    Fold,
    ModelTask,
    PolicyTask,
    QueryLoader,
    cross_fit,
    fit,
    held_out_data,
    train_index,
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
    stamps = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    again = cross_fit(DATA, build, CONFIG, k=2, checkpoints=tmp_path)
    for one, two in zip(folds, again, strict=True):
        for a, b in zip(
            one.ensemble.parameters(), two.ensemble.parameters(), strict=True
        ):
            assert torch.equal(a, b)
    assert stamps == [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    single = cross_fit(DATA, build, CONFIG, ratio=0.1)
    assert len(single) == 1
    # Any triple may be in it, the only one of an entity as well.
    assert len(rows(single[0].held)) == round(0.1 * len(rows(train)))


def test_twins_stay_together() -> None:
    # Every third triple twice.
    whole = copy.copy(DATA)
    train = get_split(DATA, 'train')
    third = torch.arange(train.edge_type.numel()) % 3 == 0
    set_split(whole, 'train', concat(train, train.select(third)))
    parts = k_folds(whole, 3)
    parts += [hold_out(whole, 0.2, keep=k) for k in ('roles', 'nothing')]
    for rest, held in parts:
        assert not set(rows(get_split(rest, 'train'))) & set(rows(held))
        both = concat(get_split(rest, 'train'), held)
        assert rows(both) == rows(get_split(whole, 'train'))
    # A twin does not make up for the only triple of a head.
    head = torch.arange(15)
    only = Triples(torch.stack([head, head + 15]), torch.zeros_like(head))
    set_split(whole, 'train', concat(only, only))
    assert hold_out(whole, 0.2)[1].edge_type.numel() == 0
    # A part that teachers are judged on may have it all the same.
    held = cross_fit(whole, build, CONFIG, ratio=0.2)[0].held
    assert len(set(rows(held))) == 3
    assert len(rows(held)) == 6


def test_vectors_of_several_folds_are_refused() -> None:
    folds = cross_fit(DATA, build, CONFIG, k=2)
    policy = ReinforcedCombiner.for_ensemble(folds[0].ensemble)
    with pytest.raises(ValueError, match='something else in each fold'):
        PolicyTask(folds, policy)
    PolicyTask(folds[:1], policy)


def test_folds_are_not_evaluated_along_the_way() -> None:
    config = replace(CONFIG, eval_every=1)
    # Nothing to evaluate on is no obstacle.
    folds = cross_fit(merge_val(DATA), build, config)
    task = PolicyTask(folds, WeightedCombiner(3), lr=0.1)
    with pytest.raises(ValueError, match='set eval_every = 0'):
        fit(task, held_out_data(DATA, folds), config)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_every_pair_is_judged_by_its_own_fold(batch_by: str) -> None:
    train = get_split(DATA, 'train')
    third = torch.arange(train.edge_type.numel()) % 3 == 0
    folds = []
    for at, mask in enumerate((third, ~third)):
        ensemble = build()
        for p in ensemble.parameters():
            torch.nn.init.normal_(p, std=0.3 + at)
        held, seen = train.select(mask), train.select(~mask)
        folds.append(Fold(ensemble, seen, held, 4))
    combiner = WeightedCombiner(3).train()
    task = PolicyTask(folds, combiner)
    data = held_out_data(DATA, folds)
    known = train_index(DATA)
    for batch in QueryLoader(train_index(data), 40, batch_by):
        found = task.step(batch, 'fp32')['loss'].item()
        pairs = zip(
            batch.targets.row.tolist(),
            batch.targets.tail.tolist(),
            strict=True,
        )
        terms = []
        for row, tail in pairs:
            head, rel = batch.head[row], batch.rel[row]
            triple = (int(head), int(rel), tail)
            if rel >= 4:
                triple = (tail, int(rel) - 4, int(head))
            fold = folds[0] if triple in set(rows(folds[0].held)) else folds[1]
            assert triple in rows(fold.held)
            logits = fold.ensemble(head[None], rel[None]).mean(dim=1)[0]
            others = known.lookup(head[None], rel[None]).tail
            score = logits[tail].clone()
            logits[others] = -torch.inf
            total = torch.logaddexp(logits.logsumexp(dim=0), score)
            terms.append((total - score).item())
        assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_data_that_no_fold_held_out_are_refused() -> None:
    train = get_split(DATA, 'train')
    first = torch.arange(train.edge_type.numel()) == 0
    fold = Fold(build(), train.select(~first), train.select(first), 4)
    other = copy.copy(DATA)
    set_split(other, 'train', train.select(~first))
    with pytest.raises(ValueError, match='held_out_data'):
        fit(PolicyTask([fold], WeightedCombiner(3)), other, CONFIG)
    with pytest.raises(ValueError, match='at least 1'):
        cross_fit(DATA, build, CONFIG, k=0)


@pytest.mark.parametrize(
    ('options', 'least'),
    # Subsets that do no harm stay in as far as the prior holds them.
    [({'prior': 0.0, 'beta': 0.0}, 0.6), ({}, 0.4)],
)
def test_noise_is_excluded_on_held_out_triples(
    options: dict[str, float], least: float
) -> None:
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
        **options,  # type: ignore[arg-type]
    )
    task = PolicyTask(folds, policy, lr=0.01)
    config = FitConfig(epochs=20, batch_size=50, progress=False)
    history = fit(task, held_out_data(DATA, folds), config).history
    assert history[-1]['weight structure'] > least
    # With all teachers alike it was 86.
    assert history[-1]['reward'] > 95
