"""Heads that know the triples they are in."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dsom_pyg import KG, Recipe, train_dsom
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import Triples
from dsom_pyg.models import (
    GCOTE,
    KGE,
    ComplEx,
    DistMult,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
    OneHop,
    Step,
    TransE,
    concatenate,
)
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.stages import (
    Student,
    Teachers,
    WarmStart,
    fit_folds,
    fit_teachers,
)
from dsom_pyg.training import Adam, KFolds, Loop, ModelTask, Run

E, R, D = 9, 3, 4
GRAPH = KG(FakeMMKG(num_entities=40, num_relations=4, seed=3)[0])
X = torch.randn(E, 5, generator=torch.Generator().manual_seed(9))
PRESENT = torch.arange(E) % 3 != 0
# Entity 8 is in no triple; 0 is in many.
TRIPLES = [
    *((0, r, t) for r in (0, 1) for t in (1, 2, 3, 4)),
    (2, 2, 5),
    (2, 2, 2),
    (6, 1, 0),
    (7, 0, 6),
]


def index_of(triples: list[tuple[int, int, int]]) -> QueryIndex:
    both = triples + [(t, r + R, h) for h, r, t in triples]
    h, r, t = (torch.tensor(x) for x in zip(*both, strict=True))
    return QueryIndex(Triples(torch.stack([h, t]), r), E, R)


INDEX = index_of(TRIPLES)


def inner(kind: type[EntityModule]) -> EntityModule:
    if kind is EntityEmbedding:
        return EntityEmbedding(E, D, scale=1.0)
    if kind is FeatureProjection:
        return FeatureProjection(X * PRESENT[:, None], PRESENT, D)
    return JointEmbedding({'text': (X, PRESENT)}, D, scale=1.0)


def made(
    kind: type[EntityModule] = FeatureProjection, most: int = 64
) -> OneHop:
    torch.manual_seed(0)
    out = OneHop(inner(kind), INDEX, most, dropout=0.0)
    torch.nn.init.normal_(out.weight)
    return out


def by_hand(module: OneHop, head: int, rel: int) -> Tensor:
    r"""The formula, triple by triple, in complex numbers."""
    rows = torch.complex(*module().chunk(2, dim=1))
    weight = torch.complex(*module.weight.chunk(2, dim=1))
    both = TRIPLES + [(t, r + R, h) for h, r, t in TRIPLES]
    found = [
        weight[r] * rows[t]
        for h, r, t in both
        if h == head and r != rel and t != head  # a loop tells nothing
    ]
    out = rows[head]
    if found:
        out = out + torch.stack(found).sum(0) / len(found) ** 0.5
    return torch.cat([out.real, out.imag])


def test_a_student_that_begins_warm_gets_a_joint_model_without() -> None:
    loop = Loop(epochs=1, batch_size=50)
    student = Student(channels=4, start=WarmStart(), loop=loop, unlabeled=None)
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=loop, one_hop=4),
        policy=MeanOfTeachers(),
        student=student,
    )
    trained = train_dsom(GRAPH, recipe)
    assert list(trained.results) == ['teachers', 'start', 'student']
    assert type(trained.student.entities) is EntityEmbedding


@pytest.mark.parametrize(
    'kind', [EntityEmbedding, FeatureProjection, JointEmbedding]
)
def test_rows_of_heads(kind: type[EntityModule]) -> None:
    module = made(kind)
    head, rel = torch.cartesian_prod(torch.arange(E), torch.arange(2 * R)).T
    asked = head.tolist(), rel.tolist()
    expected = torch.stack(
        [by_hand(module, h, r) for h, r in zip(*asked, strict=True)]
    )
    tail = torch.tensor([3, 3, 8])
    for at in (module, module.once(), module.once().once()):
        torch.testing.assert_close(at.heads(head, rel), expected)
        heads, tails = at.ends(head, rel, tail)
        torch.testing.assert_close(heads, expected)
        torch.testing.assert_close(tails, module()[tail])
        torch.testing.assert_close(at.rows(tail), module()[tail])
    weight = torch.randn_like(expected)
    parameters = list(module.parameters())
    assert any(p is module.weight for p in parameters)
    for found, wanted in zip(
        torch.autograd.grad((heads * weight).sum(), parameters),
        torch.autograd.grad((expected * weight).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_no_answer_of_a_query_is_seen() -> None:
    module = made()
    without = [x for x in TRIPLES if x[:2] != (0, 1)]
    blind = copy.deepcopy(module)
    edges = OneHop(inner(FeatureProjection), index_of(without))
    blind.ptr, blind.rel, blind.tail = edges.ptr, edges.rel, edges.tail
    head, rel = torch.tensor([0]), torch.tensor([1])
    torch.testing.assert_close(module.heads(head, rel), blind.heads(head, rel))
    # By another relation it is seen.
    other = torch.tensor([0])
    assert not torch.allclose(
        module.heads(head, other), blind.heads(head, other)
    )


@pytest.mark.parametrize('score', [ComplEx, DistMult, TransE])
def test_every_way_to_ask(score: type[KGE]) -> None:
    module = made()
    model = score(module, R)
    torch.nn.init.normal_(model.relations)
    head, rel = torch.tensor([0, 2, 8, 6]), torch.tensor([1, 5, 0, 1])
    asked = head.tolist(), rel.tolist()
    rows = torch.stack(
        [by_hand(module, h, r) for h, r in zip(*asked, strict=True)]
    )
    query = model.query(rows, model.relation_rows(rel))
    expected = model.compare_all(query, module())
    torch.testing.assert_close(model.score_tails(head, rel), expected)
    scores = model.scores(head, rel).dense()
    torch.testing.assert_close(scores, expected)
    tail = torch.tensor([1, 0, 3, 8])
    torch.testing.assert_close(
        model(head, rel, tail), expected[torch.arange(4), tail]
    )


def test_a_step_of_training_asks_alike() -> None:
    model = ComplEx(made(), R, scale=1.0)
    head, rel = torch.tensor([0, 2, 0]), torch.tensor([1, 5, 0])
    targets = INDEX.lookup(head, rel)
    step = Step(model, QueryBatch(head, rel, targets, targets), 'fp32')
    torch.testing.assert_close(step.head, model.entities.heads(head, rel))
    torch.testing.assert_close(step.tail, model.entities()[targets.tail])
    logits = step.scores.dense()
    torch.testing.assert_close(logits, model.score_tails(head, rel))


def test_dropout() -> None:
    module = made(EntityEmbedding)
    module.dropout = 0.5
    head = torch.zeros(1000, dtype=torch.long)
    rel = torch.ones(1000, dtype=torch.long)
    whole, own = by_hand(module, 0, 1), module()[0]
    rows = module.heads(head, rel)
    dropped = (rows - (whole - own)).abs().amax(dim=1) < 1e-5
    torch.testing.assert_close(rows[~dropped], whole.expand_as(rows)[~dropped])
    assert 400 < int(dropped.sum()) < 600
    rows = module.eval().heads(head, rel)
    torch.testing.assert_close(rows, whole.expand_as(rows))
    with pytest.raises(ValueError, match='dropout must lie in'):
        OneHop(inner(FeatureProjection), INDEX, dropout=1.0)


def test_no_relation_is_told_by_what_is_left_out() -> None:
    model = ComplEx(made(), R, scale=1.0)
    head, rel = torch.tensor([0, 0]), torch.tensor([0, 1])
    tail = torch.tensor([1, 1])  # by both relations
    targets = Pairs(torch.arange(2), tail)
    step = Step(model, QueryBatch(head, rel, targets, targets), 'fp32')
    one, other = step.of_relations()
    torch.testing.assert_close(one, other)


def test_drawn_anew() -> None:
    module = made()
    before = [parameter.clone() for parameter in module.parameters()]
    module.reset_parameters()
    for old, new in zip(before, module.parameters(), strict=True):
        assert not torch.equal(old, new)


def test_of_an_entity_in_many_triples_some_are_drawn() -> None:
    module, again = made(most=3), made(most=3)
    degree = module.ptr.diff()
    assert degree.tolist() == made().ptr.diff().clamp(max=3).tolist()
    assert degree[0] == 3
    torch.manual_seed(7)
    other = OneHop(inner(FeatureProjection), INDEX, most=3)
    assert torch.equal(module.tail, again.tail)
    assert torch.equal(module.tail, other.tail)
    known = {(h, r, t) for h, r, t in TRIPLES}
    known |= {(t, r + R, h) for h, r, t in TRIPLES}
    head = torch.arange(E).repeat_interleave(degree)
    columns = head.tolist(), module.rel.tolist(), module.tail.tolist()
    kept = list(zip(*columns, strict=True))
    assert len({*kept}) == len(kept)
    assert {*kept} <= known
    # Not just the first ones, which are all by one relation.
    assert len({r for h, r, _ in kept if h == 0}) > 1


def test_who_is_known() -> None:
    # 0, 3 and 6 have no features; 8 has, and is in no triple.
    module = made()
    assert module.available is not None
    linked = {h for h, _, t in TRIPLES if PRESENT[t]}
    linked |= {t for h, _, t in TRIPLES if PRESENT[h]}
    expected = [bool(PRESENT[e]) or e in linked for e in range(E)]
    assert module.available.tolist() == expected
    assert expected[0]
    assert made(JointEmbedding).available is None


def test_committee() -> None:
    several = []
    for seed in (1, 2):
        module = made()
        torch.manual_seed(seed)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        several.append(ComplEx(module, R, scale=1.0))
    head, rel = torch.tensor([0, 2, 8]), torch.tensor([1, 5, 0])
    mean = torch.stack([m.score_tails(head, rel) for m in several]).mean(0)
    joined = concatenate(several)
    torch.testing.assert_close(joined.score_tails(head, rel), mean)


def test_errors() -> None:
    table = EntityEmbedding(E, D)
    with pytest.raises(ValueError, match='most must be positive, got 0'):
        OneHop(table, INDEX, most=0)
    with pytest.raises(ValueError, match='of 9 entities, the rows are of 8'):
        OneHop(EntityEmbedding(E - 1, D), INDEX)
    with pytest.raises(ValueError, match='tells R'):
        OneHop(table, QueryIndex(GRAPH.triples('train')))
    with pytest.raises(ValueError, match='depend on the query'):
        ComplEx(made(), R).as_table()
    with pytest.raises(ValueError, match='contexts of its own'):
        GCOTE(made(), R, Triples(torch.zeros(2, 1).long(), torch.zeros(1)))
    with pytest.raises(ValueError, match='one_hop must be a positive integer'):
        Teachers(one_hop=0)


LOOP = Loop(epochs=2, batch_size=50, optimizer=Adam(lr=0.05))
TEACHERS = Teachers(channels=8, one_hop=16, loop=LOOP)


def test_teachers() -> None:
    ensemble = TEACHERS.build(GRAPH, 0)
    kinds = {
        name: type(getattr(ensemble[name], 'entities', None))
        for name in ensemble.modalities
    }
    assert kinds.pop('structure') is EntityEmbedding
    assert {*kinds.values()} == {OneHop}
    plain = Teachers(channels=8).build(GRAPH, 0)
    assert not any(isinstance(x, OneHop) for x in plain.modules())


def test_training_and_files(tmp_path: Path) -> None:
    run = Run(graph=GRAPH, folder=tmp_path)
    ensemble = fit_teachers(run, TEACHERS)
    again = fit_teachers(run, TEACHERS)
    head, rel = torch.tensor([0, 7]), torch.tensor([1, 5])
    torch.testing.assert_close(ensemble(head, rel), again(head, rel))


def test_learns() -> None:
    text = FeatureProjection(*GRAPH.features['text'], 8)
    torch.manual_seed(0)
    sizes = GRAPH.num_relations, 0.0
    model = ComplEx(OneHop(text, GRAPH.index('train')), *sizes)

    def mrr(model: ComplEx) -> float:
        found = evaluate(model, GRAPH, 'train', ['train'])
        return found.metrics()['mrr']

    before = mrr(model)
    run = Run(graph=GRAPH)
    run.fit('model', ModelTask(model), Loop(epochs=20, optimizer=Adam(0.05)))
    assert mrr(model) > before + 0.1


def test_teachers_of_a_fold_see_none_of_what_is_held_out() -> None:
    for fold in fit_folds(Run(graph=GRAPH), TEACHERS, KFolds(2)):
        module = fold.ensemble['joint'].entities
        assert isinstance(module, OneHop)
        head = torch.arange(GRAPH.num_entities).repeat_interleave(
            module.ptr.diff()
        )
        held = fold.held_index
        row, at = held.find(head, module.rel)
        assert not bool((held.tail[at] == module.tail[row]).any())
        assert head.numel() > 0
