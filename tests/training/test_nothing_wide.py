"""Combiners that learn hold no matrix of all queries and all entities."""

from collections.abc import Callable

import pytest
import torch
from test_scores import Largest

from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.scores import chunks, sources
from dsom_pyg.teachers import (
    Combiner,
    CompactState,
    Lookup,
    Policy,
    RankReward,
    TeacherEnsemble,
    Weighted,
    paper_policy,
    subsets,
)
from dsom_pyg.teachers.lookup import queries_at_once
from dsom_pyg.teachers.states import QueryState
from dsom_pyg.training import DistillTask, Fold, OneFold, PolicyTask

E, B = 1500, 60
GRAPH = KG(FakeMMKG(E, num_triples=2000, seed=1)[0])


@pytest.fixture(autouse=True)
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', 2**10)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(chunks, 'MANY', 10)
    monkeypatch.setattr(sources, 'KEEP', 0)
    monkeypatch.setattr(sources, 'KEEP_LEARNING', 0)


def teachers() -> TeacherEnsemble:
    torch.manual_seed(0)
    sizes = E, GRAPH.num_relations, 4
    made = TeacherEnsemble.from_features(GRAPH.features, *sizes)
    return made.requires_grad_(False)


def batch(graph: KG = GRAPH) -> QueryBatch:
    index = graph.index('train')
    some = torch.arange(B)
    pairs = index.rows(some)
    return QueryBatch(index.head[:B], index.rel[:B], pairs, pairs)


def as_in_paper(ensemble: TeacherEnsemble) -> Policy:
    return paper_policy(ensemble, mlp_channels=8)


def by_ranks(ensemble: TeacherEnsemble) -> Policy:
    state = QueryState(ensemble)
    words = 'sample', 'sampled'
    return Policy(
        state, subsets(len(ensemble)), RankReward(), *words, mlp_channels=8
    )


@pytest.mark.parametrize('make', [as_in_paper, by_ranks])
def test_a_policy_along_with_the_student(make: object) -> None:
    ensemble = teachers()
    combiner = make(ensemble).train()  # type: ignore[operator]
    student = ComplEx(EntityEmbedding(E, 4), GRAPH.num_relations)
    task = DistillTask(student, ensemble, combiner)
    with Largest() as seen:
        terms = task.step(batch(), 'fp32')
        terms['loss'].backward()
    assert seen.largest < E * B / 4
    assert combiner.mlp[0].weight.grad.isfinite().all()


def weights(fold: Fold) -> Combiner:
    return Weighted(len(fold.ensemble))


def by_default(fold: Fold) -> Combiner:
    state = CompactState.for_teachers(fold.ensemble, fold.graph)
    actions = subsets(len(fold.ensemble))
    return Policy(state, actions, RankReward(), 'mean', mlp_channels=8)


@pytest.mark.parametrize('make', [weights, by_default])
def test_held_out_triples(make: Callable[[Fold], Combiner]) -> None:
    [(rest, held)] = OneFold(0.2).parts(GRAPH, 0)
    fold = Fold(teachers(), rest, held)
    combiner = make(fold).train()
    task = PolicyTask([fold], combiner)
    asked = batch(GRAPH.with_train(held))
    with Largest() as seen:
        task.step(asked, 'fp32')['loss'].backward()
    # It hears about so many queries at a time, before the first step.
    assert not combiner.wide
    at_once = queries_at_once(fold.ensemble, combiner.wide)
    assert len(fold.held_index) > at_once
    assert seen.largest < E * at_once / 4
    # Afterwards it is asked about everything.
    index = GRAPH.index('train')
    with Largest() as seen:
        made = Lookup.of(combiner, fold.ensemble, index)
    assert seen.largest < E * at_once / 4
    assert made.table.isfinite().all()
