"""Queries without a known answer: how they are drawn and distilled."""

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.losses import kd
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import Queries, QueryIndex, unlabeled_queries
from dsom_pyg.stages import Unlabeled
from dsom_pyg.teachers import Mean, TeacherEnsemble
from dsom_pyg.training import DistillTask, Loop, QueryLoader, Run, fit

GRAPH = KG(FakeMMKG(30, 4, 200)[0])


def distillation(
    pool: Queries | None, share: float = 1.0, n3: float = 0.01
) -> DistillTask:
    torch.manual_seed(0)
    teachers = TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8)
    student = ComplEx(EntityEmbedding(30, 8), 4, n3)
    for p in (*teachers.parameters(), *student.parameters()):
        torch.nn.init.normal_(p, std=0.5)
    return DistillTask(student, teachers, Mean(), None, pool, share)


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
    index = GRAPH.index('train')
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
    index = GRAPH.index('train')
    batch = next(iter(QueryLoader(index, 20)))
    one = unlabeled_queries(index, 30, 1)
    without = distillation(None, share=0.25).step(batch, 'fp32')
    task = distillation(one, share=0.25)
    terms = task.step(batch, 'fp32')
    teacher = task.ensemble(one.head, one.rel).mean(dim=1)
    student = task.student.score_tails(one.head, one.rel)
    extra = 16 * kd(teacher, student, tau=4.0)
    assert terms['ce'].item() == pytest.approx(without['ce'].item())
    assert terms['n3'].item() == pytest.approx(without['n3'].item())
    difference = terms['ndkd'] - without['ndkd']
    assert difference.item() == pytest.approx(extra.item(), rel=1e-4)
    empty = Queries(one.head[:0], one.rel[:0])
    none = distillation(empty, share=0.25).step(batch, 'fp32')
    assert none['ndkd'].item() == pytest.approx(without['ndkd'].item())
    off = distillation(one, share=0.0).step(batch, 'fp32')
    assert off['ndkd'].item() == pytest.approx(without['ndkd'].item())


def test_students_learn_what_teachers_say_on_unlabeled_queries() -> None:
    pool = unlabeled_queries(GRAPH.index('train'), 30, 60)
    distance = []
    for unlabeled in (None, pool):
        task = distillation(unlabeled, n3=0.0)
        fit(task, GRAPH, Loop(epochs=20, batch_size=50))
        with torch.no_grad():
            teacher = task.ensemble(pool.head, pool.rel).mean(dim=1)
            student = task.student.score_tails(pool.head, pool.rel)
        distance.append(kd(teacher, student, tau=4.0).item())
    assert distance[1] < distance[0] / 2


def test_a_run_draws_with_its_seed() -> None:
    index = GRAPH.index('train')
    drawn = Unlabeled(queries=40, share=0.5).draw(Run(graph=GRAPH, seed=3))
    expected = unlabeled_queries(index, 30, 40, seed=3)
    assert torch.equal(drawn.head, expected.head)
    assert torch.equal(drawn.rel, expected.rel)


@pytest.mark.parametrize('share', [-0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match=rf'in \[0, 1\]; got {share}'):
        distillation(None, share)
    with pytest.raises(ValueError, match='share must lie in'):
        Unlabeled(share=share)
    with pytest.raises(ValueError, match='queries must be positive, got 0'):
        Unlabeled(queries=0)
