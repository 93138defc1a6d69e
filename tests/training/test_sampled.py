from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transe import TransE

from dsom_pyg import KG, Recipe, train_dsom
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.losses import decoupled_parts, query_cross_entropy
from dsom_pyg.models import (
    ComplEx,
    EntityEmbedding,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.policies import AsInPaper, MeanOfTeachers
from dsom_pyg.query_index import Pairs, SampledCandidates
from dsom_pyg.scores import Scores
from dsom_pyg.stages import Student, Teachers, Unlabeled
from dsom_pyg.training import (
    Distill,
    Loop,
    ModelTask,
    QueryLoader,
    Sampled,
    fit,
)
from dsom_pyg.training.sampled import Draw

GRAPH = KG(FakeMMKG(60, num_triples=300, seed=1)[0])
INDEX = GRAPH.index('train')
E, R = GRAPH.num_entities, GRAPH.num_relations


def draw(sampled: Sampled, seed: int = 0) -> Draw:
    return Draw(sampled, INDEX, E, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('by', ['uniform', 'frequency'])
def test_sums_are_right_in_the_mean(by: str) -> None:
    # Of a sum over all entities, weighted by 1 / p.
    value = torch.rand(E, dtype=torch.double)
    known = torch.tensor([3, 7, 7, 20])
    drawing = draw(Sampled(20, by))
    sums = []
    for _ in range(4000):
        found = drawing(known)
        assert torch.equal(found.ids, found.ids.unique())
        assert torch.isin(known, found.ids).all()
        sure = torch.isin(found.ids, known)
        assert (found.log_p[sure] == 0).all()
        assert (found.log_p[~sure] < 0).all()
        sums.append((value[found.ids] * (-found.log_p).double().exp()).sum())
    every = torch.stack(sums)
    error = every.std() / len(sums) ** 0.5
    assert abs(every.mean() - value.sum()) < 4 * error
    # Without the correction the sum is another one.
    assert abs(value[found.ids].sum() - value.sum()) > 100 * error


def test_half_of_them_are_as_frequent_as_tails() -> None:
    count = torch.bincount(INDEX.tail, minlength=E)
    often, rare = count.argmax(), (count == count.min()).nonzero()[0, 0]
    drawing = draw(Sampled(10, 'frequency'))
    nothing = torch.empty(0, dtype=torch.long)
    found = [drawing(nothing).ids for _ in range(2000)]
    for entity in (often, rare):
        share = sum(bool((ids == entity).any()) for ids in found) / 2000
        tail = float(count[entity]) / len(INDEX.tail)
        p = 1 - (1 - 1 / E) ** 5 * (1 - tail) ** 5
        assert share == pytest.approx(p, abs=0.04)
        assert float(drawing.log_p[entity].exp()) == pytest.approx(p)


def modules() -> list[Any]:
    x = torch.randn(E, 5)
    present = torch.arange(E) % 3 > 0
    return [
        EntityEmbedding(E, 4, scale=0.5),
        FeatureProjection(x, present, 4),
        JointEmbedding({'text': (x, present)}, 4, scale=0.5),
    ]


@pytest.mark.parametrize('at', [0, 1, 2])
def test_scores_of_candidates_as_by_hand(at: int) -> None:
    torch.manual_seed(0)
    model = ComplEx(modules()[at], R).double()
    batch = next(iter(QueryLoader(INDEX, 30)))
    found = draw(Sampled(15))(batch.neighbors.tail)
    batch = replace(batch, candidates=found)
    for entities in (model.entities, model.entities.once()):
        query = model.query_vectors(batch.head, batch.rel)
        scores = Scores(entities.terms(query), 'fp32', found)
        full = query @ model.entities().t()
        want = full[:, found.ids] - found.log_p
        torch.testing.assert_close(scores.dense(), want)
        pairs = found.pairs(batch.targets)
        ce = query_cross_entropy(want, pairs)
        row = torch.arange(len(batch)).repeat_interleave(
            batch.targets.count(len(batch))
        )
        log_p = want.log_softmax(dim=1)[row, pairs.tail]
        torch.testing.assert_close(ce, -log_p.mean())
    got: dict[str, Tensor] = {}
    model.zero_grad()
    model.scores_and_loss(batch, 'fp32')[1]['ce'].backward()
    got = {k: p.grad.clone() for k, p in model.named_parameters()}
    model.zero_grad()
    query = model.query_vectors(batch.head, batch.rel)
    want = (query @ model.entities().t())[:, found.ids] - found.log_p
    query_cross_entropy(want, found.pairs(batch.targets)).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(got[name], p.grad)


def test_all_candidates_are_the_exact_loss() -> None:
    torch.manual_seed(0)
    model = ComplEx(EntityEmbedding(E, 4, scale=0.5), R)
    batch = next(iter(QueryLoader(INDEX, 30)))
    every = SampledCandidates(torch.arange(E), torch.zeros(E))
    exact = model.loss(batch, 'fp32')
    found = model.loss(replace(batch, candidates=every), 'fp32')
    for name, value in exact.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize('tau', [1.0, 4.0])
@pytest.mark.parametrize('at', [0, 1, 2])
def test_distillation_counts_each_drawn_entity_by_one_over_its_probability(
    at: int, tau: float
) -> None:
    """Whatever the temperature is: exp(s / tau) / p."""
    torch.manual_seed(0)
    student = ComplEx(modules()[at], R).double()
    teacher = deepcopy(student)
    for p in teacher.parameters():
        p.data = p.data * 1.5
    batch = next(iter(QueryLoader(INDEX, 30)))
    found = draw(Sampled(15))(batch.neighbors.tail)
    assert (found.log_p < -1).any()
    batch = replace(batch, candidates=found)
    pairs = found.pairs(batch.neighbors)
    tea = teacher.scores(batch.head, batch.rel).detach().among(found)
    stu, _ = student.scores_and_loss(batch, 'fp32')
    parts = decoupled_parts(tea, stu, pairs, tau)
    (parts.neighbor + parts.outside).sum().backward()
    got = [p.grad.clone() for p in student.parameters()]
    student.zero_grad()

    known = torch.zeros(len(batch), len(found.ids), dtype=torch.bool)
    known[pairs.row, pairs.tail] = True
    log, told = [], []
    for model in (teacher, student):
        query = model.query_vectors(batch.head, batch.rel)
        full = (query @ model.entities().t())[:, found.ids]
        p = (full / tau - found.log_p).softmax(dim=1)
        mean = (p * known).sum(dim=1) / known.sum(dim=1)
        told.append(torch.stack([mean, 1 - mean], dim=1))
        rest = (full / tau - found.log_p).masked_fill(known, -1e9)
        log.append(rest.log_softmax(dim=1))
    (t, s), (m, n) = told, log
    neighbor = (t * (t.log() - s.log())).sum(dim=1)
    outside = (m.exp() * (m - n)).sum(dim=1)
    torch.testing.assert_close(parts.neighbor, neighbor)
    torch.testing.assert_close(parts.outside, outside)
    (neighbor + outside).sum().backward()
    for gradient, p in zip(got, student.parameters(), strict=True):
        torch.testing.assert_close(gradient, p.grad)


def recipe(sampled: Sampled | None, **parts: Any) -> Recipe:
    loop = Loop(epochs=3, batch_size=40, sampled=sampled)
    return Recipe(
        teachers=Teachers(channels=8, loop=loop),
        student=Student(
            channels=8, loop=loop, unlabeled=Unlabeled(queries=50)
        ),
        **{'policy': MeanOfTeachers(), **parts},
    )


def test_a_recipe_says_that_it_sampled(tmp_path: Path) -> None:
    first, again = (
        train_dsom(GRAPH, recipe(Sampled(30)), tmp_path / str(at))
        for at in range(2)
    )
    for stage in ('teachers', 'student'):
        result = first.results[stage]
        assert result.config['sampled'] == {'count': 30, 'by': 'uniform'}
        losses = [epoch['loss'] for epoch in result.history]
        assert losses[-1] < losses[0]
        # Candidates belong to what a seed decides.
        assert losses == [e['loss'] for e in again.results[stage].history]
    with pytest.raises(ValueError, match='sampled'):
        train_dsom(GRAPH, recipe(None), tmp_path / '0')


def test_a_policy_that_learns_along_needs_all() -> None:
    with pytest.raises(ValueError, match=r'leave Loop\(sampled=...\) out'):
        train_dsom(GRAPH, recipe(Sampled(30), policy=AsInPaper()))


def test_the_best_among_drawn_entities_are_not_the_best() -> None:
    student = Student(
        channels=8,
        loop=Loop(epochs=1, sampled=Sampled(30)),
        distill=Distill(decoupled='nobody', among=5),
    )
    parts = replace(recipe(None), student=student)
    with pytest.raises(ValueError, match=r'or Distill\(among=...\) out'):
        train_dsom(GRAPH, parts)


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match='TransE cannot learn from sampled'):
        fit(ModelTask(TransE(E, R)), GRAPH, Loop(epochs=1, sampled=Sampled(9)))


def test_settings() -> None:
    with pytest.raises(ValueError, match='count must be positive'):
        Sampled(0)
    with pytest.raises(ValueError, match=r"by must be one of .*'rank'"):
        Sampled(5, 'rank')


def test_pairs() -> None:
    found = SampledCandidates(torch.tensor([2, 5, 9]), torch.zeros(3))
    pairs = found.pairs(
        Pairs(torch.tensor([0, 0, 1]), torch.tensor([9, 2, 5]))
    )
    assert pairs.tail.tolist() == [2, 0, 1]
