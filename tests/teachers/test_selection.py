"""Teachers picked by rule, boosted, mixed, or near to the student."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from fake_answers import DATA, GRAPH, TARGETS, answers, by_teacher, ensemble
from torch.nn import functional as F

from dsom_pyg import Recipe, train_dsom
from dsom_pyg.graph import merge_val
from dsom_pyg.kg import KG
from dsom_pyg.losses import decoupled_kd, kd, neighbor_decoupled_kd
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.policies import (
    AsInPaper,
    BestStrategy,
    BestTeacher,
    Boosting,
    ConfTeacher,
    FixedWeights,
    HeldOut,
    OneTeacher,
    PolicyChoice,
    Senior,
)
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores, sources
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.teachers import (
    Best,
    EnsembleScorer,
    Lookup,
    Mean,
    MetaLearner,
    MostConfident,
    MulDE,
    boost,
    combined_cross_entropy,
    subsets,
)
from dsom_pyg.teachers.boosting import boosted_weights
from dsom_pyg.teachers.mulde import contrast_attention, senior_kl
from dsom_pyg.training import (
    Distill,
    DistillTask,
    Loop,
    ModelTask,
    OnValidation,
    QueryLoader,
    Run,
    fit,
)

LOOP = Loop(epochs=2, batch_size=20)


def signs(text: str) -> torch.Tensor:
    """A word for each teacher: which entities it ranks below the target."""
    words = text.split()
    patterns = [
        sum(2**m for m, mark in enumerate(marks) if mark == '+')
        for marks in zip(*words, strict=True)
    ]
    return torch.bincount(torch.tensor(patterns), minlength=2 ** len(words))


@pytest.fixture(params=[2**17, 20])
def chunked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', request.param)
    monkeypatch.setattr(sources, 'COLUMNS', 1)


def test_the_most_confident(chunked: None) -> None:
    said = answers(ensemble())
    weights = MostConfident().weights(said)
    surest = by_teacher(said).softmax(dim=2).amax(dim=2).argmax(dim=1)
    assert torch.equal(weights, torch.eye(3)[surest])
    # Entity 3 has neither image nor text, entity 1 no image.
    masked = MostConfident(mask_missing=True).weights(said)
    assert masked[3].tolist() == [1, 0, 0]
    assert masked[1, 1] == 0
    assert masked.sum(dim=1).tolist() == [1] * 4
    # Who is sure without knowing the head is not asked.
    sure = said.each[1].clone()
    sure[:, 0] = 1e3
    said.streams[1] = Scores.of(sure)
    assert MostConfident().weights(said)[1].tolist() == [0, 1, 0]
    masked = MostConfident(mask_missing=True).weights(said)
    assert masked[0].tolist() == [0, 1, 0]
    assert masked[1, 1] == 0


def test_the_best_by_the_label(chunked: None) -> None:
    said = answers(ensemble())
    logits, actions = by_teacher(said), subsets(3)
    ce = {}
    for a, action in enumerate(actions):
        mixed = torch.einsum('m,bme->be', action, logits)
        each = F.cross_entropy(
            mixed[TARGETS.row], TARGETS.tail, reduction='none'
        )
        ce[a] = torch.zeros(4).index_add_(0, TARGETS.row, each)
    found = Best(3)(said, TARGETS).weights
    least = torch.stack(list(ce.values()), dim=1).amin(dim=1)
    for row, weights in enumerate(found):
        [at] = (actions == weights).all(dim=1).nonzero().flatten().tolist()
        torch.testing.assert_close(ce[at][row], least[row])
    alone = Best(3, alone=True)(said, TARGETS).weights
    assert (alone.amax(dim=1) == 1).all()

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return combined_cross_entropy(weights, said.each, TARGETS).sum()

    every = [loss(torch.eye(3)[m].expand(4, -1)) for m in range(3)]
    assert loss(found) <= loss(alone) <= min(every)
    # A mean of logits is never worse than the mean of its parts.
    thirds = torch.full((4, 3), 1 / 3)
    assert loss(thirds) <= sum(every) / 3


def test_the_fewest_teachers_go_first() -> None:
    order = [row.nonzero().flatten().tolist() for row in Best(3).actions]
    assert order == [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]
    teachers = ensemble()
    same = type(teachers)(
        {'structure': teachers['structure'], 'other': teachers['structure']}
    )
    found = Best(2)(answers(same), TARGETS).weights
    assert found.tolist() == [[1.0, 0.0]] * 4
    # A query without targets gets the mean.
    some = Pairs(TARGETS.row[:2], TARGETS.tail[:2])
    found = Best(2)(answers(same), some).weights
    assert found[1:].tolist() == [[0.5, 0.5]] * 3


@pytest.mark.parametrize(
    ('text', 'expected', 'again'),
    [
        ('+++- ++-- +-++', (0.5493, 0.2027, 0.8047), False),
        ('++++ +++- ---+', (11.5129, 0.5493, 0.0), False),
        ('+++- +--- +---', (0.5493, -0.8047, 0.0), True),
    ],
)
def test_boosting_by_hand(
    text: str, expected: tuple[float, ...], again: bool
) -> None:
    found = boosted_weights(signs(text), again)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def pair_by_pair(right: list[torch.Tensor]) -> torch.Tensor:
    """Weights from the definition, with the attention of every entity: bool
    ``[M, E]`` for each target.
    """
    signs = torch.stack(right, dim=1).double() * 2 - 1
    attention = torch.full(signs.shape[1:], 1 / signs[0].numel()).double()
    weights, left = torch.zeros(len(signs)).double(), [*range(len(signs))]
    while left:
        good = [(attention * (signs[m] > 0)).sum() + 1e-10 for m in left]
        bad = [(attention * (signs[m] < 0)).sum() + 1e-10 for m in left]
        half = [(g / b).log() / 2 for g, b in zip(good, bad, strict=True)]
        at = max(range(len(left)), key=lambda i: half[i])
        weights[left[at]] = half[at]
        attention = attention * (-half[at] * signs[left[at]]).exp()
        attention = attention / attention.sum()
        left.pop(at)
    return weights.float()


# A target is no rival of its own, whether it is known or not.
@pytest.mark.parametrize('splits', [('train', 'val'), ('train',)])
@pytest.mark.parametrize('at_once', [500, 1])
def test_boosting_asks_each_relation_alone(
    at_once: int, splits: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def size(*words: object, **more: object) -> int:
        return at_once

    monkeypatch.setattr('dsom_pyg.teachers.boosting.FEWEST', 3)
    monkeypatch.setattr('dsom_pyg.teachers.boosting.queries_at_once', size)
    teachers = ensemble()
    held, known = GRAPH.index('val'), GRAPH.index(*splits)
    found = boost(teachers, held, known).table
    counts = torch.bincount(held.rel, held.ptr.diff().double(), 8)
    assert (counts < 3).any()
    assert (counts >= 3).any()
    for rel in range(8):
        if counts[rel] < 3:
            assert found[rel].tolist() == pytest.approx([1 / 3] * 3)
            continue
        right = []
        for query in (held.rel == rel).nonzero().flatten():
            head = held.head[query]
            logits = teachers(head[None], torch.tensor([rel]))[0]
            others = known.lookup(head[None], torch.tensor([rel])).tail
            for tail in held.rows(query[None]).tail:
                above = logits >= logits[:, tail, None]
                above[:, others] = above[:, tail] = False
                right.append(~above)
        torch.testing.assert_close(found[rel], pair_by_pair(right))


def test_a_meta_learner_mixes_entity_by_entity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers = ensemble()
    model = MetaLearner(teachers)
    # W [32, 3], b, w [32], b': 161 numbers.
    assert sum(p.numel() for p in model.mlp.parameters()) == 161
    head, rel = torch.tensor([0, 1]), torch.tensor([0, 3])
    logits = teachers(head, rel)
    first, _, last = model.mlp
    hidden = torch.einsum('hm,bme->beh', first.weight, logits) + first.bias
    expected = (hidden.relu() @ last.weight[0] + last.bias).relu()
    torch.testing.assert_close(model.score_tails(head, rel), expected)
    part = model.score_tails(head, rel, slice(3, 7))
    torch.testing.assert_close(part, expected[:, 3:7])
    # In parts where there are many entities.
    with monkeypatch.context() as patch:
        patch.setattr('dsom_pyg.teachers.meta.MOST', 32 * 2 * 3)
        found = model.score_tails(head, rel)
        torch.testing.assert_close(found, expected)
        wanted = torch.autograd.grad(expected.sum(), first.weight)
        grads = torch.autograd.grad(found.sum(), first.weight)
        torch.testing.assert_close(grads, wanted)
    # Mean weights rank as the mean does where that is positive.
    with torch.no_grad():
        for p in model.mlp.parameters():
            p.zero_()
        first.weight[0], last.weight[0, 0] = 1 / 3, 1.0
    mean = logits.mean(dim=1).clamp(min=0)
    torch.testing.assert_close(model.score_tails(head, rel), mean)
    model = MetaLearner(teachers, hidden=4, final_relu=False)
    # Its teachers go where it goes.
    assert model.to(torch.double) is model
    assert teachers['structure'].relations.dtype == torch.double
    model.to(torch.float)
    before = teachers['structure'].relations.clone()
    held = GRAPH.with_train(GRAPH.triples('val'))
    history = fit(ModelTask(model), held, Loop(epochs=6)).history
    assert history[-1]['loss'] < history[0]['loss']
    assert torch.equal(teachers['structure'].relations, before)


def test_a_meta_learner_weighs_rare_queries_as_asked() -> None:
    losses = []
    for rarity in (None, 1.0):
        torch.manual_seed(0)
        task = ModelTask(MetaLearner(ensemble()))
        loop = Loop(epochs=1, batch_size=1000, rarity=rarity)
        losses.append(fit(task, GRAPH, loop).history[0]['ce'])
    assert losses[0] != losses[1]


def test_mulde_by_hand() -> None:
    each = torch.tensor([[[3.0, 1, 0], [0, 2, 1]]])
    junior = torch.tensor([[1.0, 1, 0]])
    scaled = each * torch.ones(()).sigmoid()
    found = contrast_attention(junior, scaled, epoch=4)
    assert found[0].tolist() == pytest.approx((0.504009, 0.495991), abs=1e-6)
    later = contrast_attention(junior, scaled, epoch=5)
    assert later[0, 0].item() == pytest.approx(0.501475, abs=1e-6)
    late = contrast_attention(junior, scaled, epoch=100)
    assert late[0].tolist() == pytest.approx((0.5, 0.5), abs=1e-6)
    senior = (found[:, :, None] * scaled).sum(dim=1)
    expected = (1.105381, 1.093657, 0.362598)
    assert senior[0].tolist() == pytest.approx(expected, abs=1e-6)
    soft = senior_kl(senior, junior, tau=1.0)
    assert soft.item() == pytest.approx(0.0051177, abs=1e-6)
    # Logits of the same ratio to tau: only the factor differs.
    assert senior_kl(4 * senior, 4 * junior, 4.0).item() == pytest.approx(
        16 * soft.item(), rel=1e-3
    )


@pytest.mark.parametrize('count', [1, 4, 20, 50])
def test_the_best_entities(count: int, chunked: None) -> None:
    matrix = torch.randn(3, 20)
    scores = Scores.of(matrix)
    scores.best(2)  # what was found before is another question
    values, ids = scores.best(count)
    expected = matrix.topk(min(count, 20), dim=1)
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(ids, expected.indices)


def test_mulde_weighs_and_learns() -> None:
    teachers = ensemble()
    said, student = answers(teachers), Scores.of(torch.randn(4, 20))
    senior = MulDE(3, GRAPH.num_relations, top=5, tau=1.0).train()
    out = senior(said, TARGETS, student)
    junior, best = student.best(5)
    each = torch.stack([x.gather(1, best) for x in said.each], dim=1)
    scale = torch.ones(3).sigmoid()
    attention = contrast_attention(junior, each * scale[:, None], 0)
    torch.testing.assert_close(out.weights, attention * scale)
    logits = torch.einsum('bm,bmk->bk', out.weights, each)
    label = torch.zeros(4, 5)
    for row, tail in zip(TARGETS.row, TARGETS.tail, strict=True):
        label[row] += (best[row] == tail).float()
    hard = F.binary_cross_entropy_with_logits(logits, label, reduction='none')
    loss = hard.mean(dim=1) + 2 * senior_kl(logits, junior, 1.0)
    count = torch.tensor([2, 1, 1, 1])
    expected = (loss * count).sum() / 5
    assert out.loss is not None
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    # That of the query whose teachers all know something.
    assert (senior.gates.grad[said.rel[0]] != 0).all()
    # Without a student all count alike.
    assert (senior(said).weights == scale / 3).all()


@pytest.mark.parametrize(
    'policy',
    [
        BestStrategy(),
        BestTeacher(),
        Boosting(),
        ConfTeacher(),
        OneTeacher(name='text'),
        Senior(top=5),
        HeldOut(learner=FixedWeights(epochs=2), evidence=OnValidation()),
    ],
    ids=str,
)
def test_each_teaches_a_student(
    policy: PolicyChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    of = Lookup.of
    monkeypatch.setattr(
        Lookup, 'of', lambda *a, **k: asked.append(a) or of(*a, **k)
    )
    recipe = Recipe(
        teachers=Teachers(channels=4, joint=False, loop=LOOP),
        policy=policy,
        student=Student(channels=4, loop=LOOP, unlabeled=None),
    )
    trained = train_dsom(GRAPH, recipe)
    history = trained.results['student'].history
    assert history[-1]['loss'] < history[0]['loss']
    # What sees the label, or the student, is asked in every step.
    live = isinstance(policy, BestStrategy | BestTeacher | Senior)
    assert bool(asked) == (not live)
    assert not any(name.startswith('fold') for name in trained.results)
    scorer = EnsembleScorer(trained.ensemble, trained.policy, trained.seen)
    assert scorer.score_tails(*[torch.tensor([1])] * 2).isfinite().all()


@pytest.mark.parametrize('kind', [Senior, AsInPaper])
def test_policies_may_be_extended(kind: Any) -> None:
    @dataclass(kw_only=True, frozen=True)
    class Mine(kind):  # type: ignore[misc]
        warm: int = 3

    policy = Mine(lr=1e-3, warm=2)
    recipe = Recipe(
        teachers=Teachers(channels=4, joint=False, loop=LOOP),
        policy=policy,
        student=Student(channels=4, loop=LOOP, unlabeled=None),
    )
    assert 'student' in train_dsom(GRAPH, recipe).results


def test_who_does_not_teach_is_named() -> None:
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=LOOP),
        policy=OneTeacher(name='sound'),
    )
    with pytest.raises(ValueError, match="'sound'; there are structure"):
        train_dsom(GRAPH, recipe)


@pytest.mark.parametrize(
    'options', [{}, {'alpha': 0.0}, {'beta': 0.0}, {'form': 'sum'}], ids=str
)
@pytest.mark.parametrize('decoupled', [None, 'target', 'nobody'])
def test_what_distillation_tells_apart(
    decoupled: str | None, options: dict[str, float]
) -> None:

    torch.manual_seed(0)
    teachers = ensemble().requires_grad_(False)
    entities = EntityEmbedding(GRAPH.num_entities, 4, scale=1.0)
    student = ComplEx(entities, GRAPH.num_relations, scale=1.0)
    d = Distill(tau=2.0, scale_tau=False, decoupled=decoupled, **options)  # type: ignore[arg-type]
    task = DistillTask(student, teachers, Mean(), d)
    loop = Loop(batch_by='triples')
    task.optimizers(loop)
    batch = next(iter(QueryLoader(GRAPH.index('train'), 30, 'triples')))
    said = task.step(batch, 'fp32')['ndkd']
    tea = teachers(batch.head, batch.rel).mean(dim=1)
    stu = student.score_tails(batch.head, batch.rel)
    alpha, beta = options.get('alpha', 1.0), options.get('beta', 1.0)
    form = str(options.get('form', 'mean'))
    if decoupled == 'nobody':
        expected = beta * kd(tea, stu, 2.0)
    elif decoupled == 'target':
        tail = batch.targets.tail
        expected = decoupled_kd(tea, stu, tail, 2.0, alpha, beta).mean()
    else:
        words = batch.neighbors, 2.0, alpha, beta, form
        expected = neighbor_decoupled_kd(tea, stu, *words).mean()
    torch.testing.assert_close(said, expected)
    if decoupled == 'target':
        with pytest.raises(ValueError, match='triples'):
            task.optimizers(replace(loop, batch_by='queries'))


def test_distillation_among_the_best_of_the_student() -> None:

    torch.manual_seed(0)
    teachers = ensemble().requires_grad_(False)
    entities = EntityEmbedding(GRAPH.num_entities, 4, scale=1.0)
    student = ComplEx(entities, GRAPH.num_relations, scale=1.0)
    d = Distill(tau=2.0, scale_tau=False, decoupled='nobody', among=5)
    task = DistillTask(student, teachers, Mean(), d)
    batch = next(iter(QueryLoader(GRAPH.index('train'), 30, 'triples')))
    terms = task.step(batch, 'fp32')
    stu = student.score_tails(batch.head, batch.rel)
    best = stu.topk(5, dim=1)
    tea = teachers(batch.head, batch.rel).mean(dim=1).gather(1, best.indices)
    expected = kd(tea, best.values, 2.0)
    torch.testing.assert_close(terms['ndkd'], expected)
    [have] = torch.autograd.grad(terms['ndkd'], entities.weight)
    [want] = torch.autograd.grad(expected, entities.weight)
    torch.testing.assert_close(have, want)


def test_settings_that_say_nothing() -> None:
    for words in (
        {'decoupled': 'everybody'},
        {'among': 5},
        {'among': 0, 'decoupled': 'nobody'},
    ):
        with pytest.raises(ValueError, match=r'decoupled|among'):
            Distill(**words)
    with pytest.raises(ValueError, match='top'):
        MulDE(2, 3, top=0)


@pytest.mark.parametrize(
    'policy',
    [Boosting(), HeldOut(learner=FixedWeights(), evidence=OnValidation())],
)
def test_weights_from_validation_need_some(policy: PolicyChoice) -> None:
    merged = KG(merge_val(DATA))
    recipe = Recipe(teachers=Teachers(channels=4, loop=LOOP), policy=policy)
    with pytest.raises(ValueError, match='no validation triples'):
        train_dsom(merged, recipe)


def test_boosting_learns_from_validation_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def spy(*words: object) -> object:
        asked.append(words)
        return boost(*words)  # type: ignore[arg-type]

    monkeypatch.setattr('dsom_pyg.policies.boost', spy)
    teachers = Teachers(channels=4, joint=False, loop=LOOP)
    run = Run(graph=GRAPH, progress=False)
    Boosting().prepare(run, teachers, ensemble())
    _, held, known, *_ = asked[0]
    assert torch.equal(held.tail, GRAPH.index('val').tail)
    assert torch.equal(known.tail, GRAPH.index('train', 'val').tail)
