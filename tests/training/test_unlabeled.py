"""Queries without a known answer: how they are drawn and distilled."""

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples, modalities, pool_features
from dsom_pyg.losses import kd
from dsom_pyg.nn import (
    ComplEx,
    EntityEmbedding,
    MeanCombiner,
    TeacherEnsemble,
)
from dsom_pyg.query_index import Queries, QueryIndex, unlabeled_queries
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    QueryLoader,
    fit,
    train_index,
)

DATA = FakeMMKG(30, 4, 200)[0]


def distillation(pool: Queries | None, **options: int) -> DistillTask:
    torch.manual_seed(0)
    features = {name: pool_features(DATA, name) for name in modalities(DATA)}
    teachers = TeacherEnsemble.from_features(features, 30, 4, 8)
    student = ComplEx(EntityEmbedding(30, 8), 4)
    for p in (*teachers.parameters(), *student.parameters()):
        torch.nn.init.normal_(p, std=0.5)
    config = DistillConfig(**options)  # type: ignore[arg-type]
    return DistillTask(student, teachers, MeanCombiner(), config, pool)


def test_drawn_relations_go_with_those_of_the_head() -> None:
    # Heads 0-9 have relations 0 and 1 but for head 0, which lacks 1; heads
    # 10-19 have relation 2 alone.
    head = torch.cat([torch.arange(10), torch.arange(1, 10)])
    rel = torch.tensor([0] * 10 + [1] * 9 + [2] * 10)
    head = torch.cat([head, torch.arange(10, 20)])
    triples = Triples(torch.stack([head, torch.full_like(head, 20)]), rel)
    index = QueryIndex(triples)
    drawn = unlabeled_queries(index, 21, 1)
    assert drawn.head.tolist() == [0]
    assert drawn.rel.tolist() == [1]


def test_drawn_queries_are_distinct_unknown_and_repeatable() -> None:
    index = train_index(DATA)
    drawn = unlabeled_queries(index, 30, 40, seed=3)
    keys = set(zip(drawn.head.tolist(), drawn.rel.tolist(), strict=True))
    assert len(keys) == len(drawn.head) == 40
    assert index.lookup(drawn.head, drawn.rel).row.numel() == 0
    assert drawn.rel.max() < 8
    again = unlabeled_queries(index, 30, 40, seed=3)
    assert torch.equal(drawn.head, again.head)
    other = unlabeled_queries(index, 30, 40, seed=4)
    assert not torch.equal(drawn.head, other.head)
    # More than there are: all there are, with relations that go together.
    everything = unlabeled_queries(index, 30, 1000)
    heads = index.head.unique().numel()
    assert len(everything.head) == heads * 8 - len(index)
    nothing = Triples(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 0]))
    assert len(unlabeled_queries(QueryIndex(nothing), 3, 5).head) == 0


def test_unlabeled_queries_add_plain_distillation() -> None:
    index = train_index(DATA)
    batch = next(iter(QueryLoader(index, 20)))
    one = unlabeled_queries(index, 30, 1)
    without = distillation(None, unlabeled=0.25).step(batch, 'fp32')
    task = distillation(one, unlabeled=0.25)
    terms = task.step(batch, 'fp32')
    teacher = task.ensemble(one.head, one.rel).mean(dim=1)
    student = task.student.score_tails(one.head, one.rel)
    extra = 16 * kd(teacher, student, tau=4.0)
    assert terms['ce'].item() == pytest.approx(without['ce'].item())
    assert terms['n3'].item() == pytest.approx(without['n3'].item())
    difference = terms['ndkd'] - without['ndkd']
    assert difference.item() == pytest.approx(extra.item(), rel=1e-4)
    empty = Queries(one.head[:0], one.rel[:0])
    none = distillation(empty, unlabeled=0.25).step(batch, 'fp32')
    assert none['ndkd'].item() == pytest.approx(without['ndkd'].item())
    off = distillation(one, unlabeled=0).step(batch, 'fp32')
    assert off['ndkd'].item() == pytest.approx(without['ndkd'].item())


def test_students_learn_what_teachers_say_on_unlabeled_queries() -> None:
    pool = unlabeled_queries(train_index(DATA), 30, 60)
    distance = []
    for unlabeled in (None, pool):
        task = distillation(unlabeled, unlabeled=1.0, n3=0)
        fit(task, DATA, FitConfig(epochs=30, batch_size=20, progress=False))
        with torch.no_grad():
            teacher = task.ensemble(pool.head, pool.rel).mean(dim=1)
            student = task.student.score_tails(pool.head, pool.rel)
        distance.append(kd(teacher, student, tau=4.0).item())
    assert distance[1] < distance[0] / 2
