"""Objectives against plain formulas, PyKEEN, and values worked by hand."""

from typing import Any

import pytest
import torch
from pykeen.losses import MarginRankingLoss, NSSALoss
from torch.nn import functional as F

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.losses import (
    bernoulli_weights,
    margin_loss,
    multi_label_bce,
    self_adversarial,
)
from dsom_pyg.models import (
    ComplEx,
    CrossEntropy,
    EntityEmbedding,
    KvsAll,
    Margin,
    Negatives,
    Objective,
    RotatE,
    SelfAdversarial,
    Step,
    TransE,
    TuckER,
)
from dsom_pyg.query_index import Pairs, QueryBatch, SampledCandidates
from dsom_pyg.scores import sources
from dsom_pyg.training import Loop, ModelTask, QueryLoader, Sampled, fit

GRAPH = KG(FakeMMKG(40, 4, 200, seed=1)[0])
INDEX = GRAPH.index('train')
E, R = GRAPH.num_entities, GRAPH.num_relations
KNOWN = Pairs(torch.tensor([0, 0, 2]), torch.tensor([3, 8, 1]))


def model_of(objective: Objective, kind: Any = TransE, **options: Any) -> Any:
    torch.manual_seed(0)
    entities = EntityEmbedding(E, 4, scale=1.0)
    return kind(entities, R, objective=objective, **options)


def batch(size: int = 30, by: str = 'queries') -> QueryBatch:
    return next(iter(QueryLoader(INDEX, size, by)))


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
@pytest.mark.parametrize('columns', [1, 4, 2**17])
def test_bce_of_all_entities(
    smoothing: float, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', columns)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    scores = torch.randn(3, 11, dtype=torch.double, requires_grad=True)
    label = torch.zeros(3, 11, dtype=torch.double)
    label[KNOWN.row, KNOWN.tail] = 1.0
    if smoothing:
        label = (1 - smoothing) * label + 1 / 11
    plain = F.binary_cross_entropy_with_logits(scores, label, reduction='none')
    found = multi_label_bce(scores, KNOWN, smoothing)
    torch.testing.assert_close(found, plain.mean(dim=1))
    weight = torch.rand(3).double()
    [have] = torch.autograd.grad((found * weight).sum(), scores)
    [want] = torch.autograd.grad((plain.mean(dim=1) * weight).sum(), scores)
    torch.testing.assert_close(have, want)


def test_cross_entropy_of_relations_by_hand() -> None:
    model, asked = model_of(CrossEntropy(0.3), ComplEx), batch()
    row, tail = asked.targets.row, asked.targets.tail
    logits = torch.stack(
        [
            model(asked.head[row], torch.full_like(row, r), tail)
            for r in range(2 * R)
        ],
        dim=1,
    )
    expected = F.cross_entropy(logits, asked.rel[row])
    terms = model.loss(asked, 'fp32')
    torch.testing.assert_close(terms['relation_ce'], 0.3 * expected)
    plain = model_of(CrossEntropy(), ComplEx).loss(asked, 'fp32')
    assert plain.keys() == {'ce', 'n3'}
    torch.testing.assert_close(terms['ce'], plain['ce'])
    # The gradient of the relation rows is that of the plain formula.
    [have] = torch.autograd.grad(terms['relation_ce'], model.relations)
    [want] = torch.autograd.grad(0.3 * expected, model.relations)
    torch.testing.assert_close(have, want)
    with pytest.raises(ValueError, match='weight'):
        CrossEntropy(-1.0)


def test_k_versus_all_of_a_model() -> None:
    model = model_of(KvsAll(0.1), ComplEx)
    asked = batch()
    logits = model.score_tails(asked.head, asked.rel)
    label = torch.zeros_like(logits)
    label[asked.neighbors.row, asked.neighbors.tail] = 1.0
    label = 0.9 * label + 1 / E
    expected = F.binary_cross_entropy_with_logits(logits, label)
    terms = model.loss(asked, 'fp32')
    torch.testing.assert_close(terms['bce'], expected)
    assert terms.keys() == {'bce', 'n3'}
    # Queries without a known tail, as a distillation adds them, say nothing.
    more = [torch.cat([x, x[:7]]) for x in (asked.head, asked.rel)]
    wider = QueryBatch(*more, asked.targets, asked.neighbors)
    torch.testing.assert_close(model.loss(wider, 'fp32')['bce'], expected)


def test_margin_is_that_of_pykeen() -> None:
    positive, negative = torch.randn(6), torch.randn(6, 5)
    every = torch.ones(6, 5, dtype=torch.bool)
    found = margin_loss(positive, negative, every, 2.0).mean()
    theirs = MarginRankingLoss(margin=2.0)
    words = positive[:, None], negative
    torch.testing.assert_close(found, theirs.process_slcwa_scores(*words))
    counts = every.clone()
    counts[0], counts[1, 2:] = False, False
    each = margin_loss(positive, negative, counts, 2.0)
    assert each[0] == 0
    lead = (2.0 - positive[1] + negative[1, :2]).clamp(min=0).mean()
    torch.testing.assert_close(each[1], lead)


def test_self_adversarial_is_that_of_pykeen() -> None:
    positive, negative = torch.randn(6), torch.randn(6, 5)
    every = torch.ones(6, 5, dtype=torch.bool)
    margin, temperature = 3.0, 0.7
    parts = self_adversarial(
        positive + margin, negative + margin, every, temperature
    )
    theirs = NSSALoss(margin=margin, adversarial_temperature=temperature)
    words = positive[:, None], negative
    # Theirs adds the margin, and halves the sum.
    expected = theirs.process_slcwa_scores(*words)
    found = (parts[0].mean() + parts[1].mean()) / 2
    torch.testing.assert_close(found, expected)


def test_self_adversarial_by_hand() -> None:
    one = torch.ones(1, 2, dtype=torch.bool)
    words = torch.tensor([1.0]), torch.tensor([[0.0, -1.0]])
    positive, negative = self_adversarial(*words, one, 1.0)
    assert (positive + negative).item() / 2 == pytest.approx(
        0.452121, abs=1e-6
    )
    # Without temperature all count alike; of none there is nothing.
    _, negative = self_adversarial(*words, one, 0.0)
    plain = F.softplus(words[1]).mean()
    torch.testing.assert_close(negative[0], plain)
    _, negative = self_adversarial(*words, ~one, 1.0)
    assert negative.item() == 0


@pytest.mark.parametrize('shared', [True, False])
def test_negatives_are_no_known_tails(shared: bool) -> None:
    asked = batch()
    step = Step(model_of(Margin()), asked, 'fp32')
    drawn, false = Negatives(200, shared=shared).draw(step)
    assert drawn.shape == ((200,) if shared else (len(asked), 200))
    pairs = asked.neighbors
    known = set(zip(pairs.row.tolist(), pairs.tail.tolist(), strict=True))
    every = drawn.expand(len(asked), 200)
    for row, tails in enumerate(every.tolist()):
        counts = [(row, tail) not in known for tail in tails]
        assert false[row].tolist() == counts
    assert not false.all()
    assert len(drawn.unique()) == E
    one = Step(model_of(Margin()), asked, 'fp32')
    torch.testing.assert_close(one.of(drawn), one.of(every))
    _, false = Negatives(200, filtered=False, shared=shared).draw(step)
    assert false.all()
    assert false.shape == (len(asked), 200)


def test_which_side_is_replaced() -> None:
    found = bernoulli_weights(INDEX, 2 * R)
    triples = GRAPH.triples('train')
    for r in range(R):
        inside = triples.edge_type == r
        head, tail = triples.edge_index[:, inside].tolist()
        pairs = len(set(zip(head, tail, strict=True)))
        tph, hpt = pairs / len(set(head)), pairs / len(set(tail))
        # The head is replaced with probability tph / (tph + hpt).
        assert found[r + R].item() / 2 == pytest.approx(tph / (tph + hpt))
        assert found[r].item() / 2 == pytest.approx(hpt / (tph + hpt))


@pytest.mark.parametrize('by', ['queries', 'triples'])
@pytest.mark.parametrize('subsampling', [True, False])
@pytest.mark.parametrize('corruption', ['uniform', 'bernoulli'])
def test_self_adversarial_of_a_model(
    by: str, subsampling: bool, corruption: str
) -> None:
    negatives = Negatives(7, corruption)
    objective = SelfAdversarial(6.0, 0.5, negatives, subsampling)
    model, asked = model_of(objective, RotatE), batch(by=by)
    torch.manual_seed(3)
    terms = model.loss(asked, 'fp32')
    torch.manual_seed(3)
    drawn, false = negatives.draw(Step(model, asked, 'fp32'))
    sides = bernoulli_weights(INDEX, 2 * R)
    total = parts = 0.0
    for row, tail in zip(asked.targets.row, asked.targets.tail, strict=True):
        h, r = asked.head[row], asked.rel[row]
        turned = (r + R) % (2 * R)
        weight = 1.0
        if subsampling:
            first = ((INDEX.head == h) & (INDEX.rel == r)).nonzero()
            other = ((INDEX.head == tail) & (INDEX.rel == turned)).nonzero()
            count = sum(int(INDEX.ptr.diff()[x]) for x in (first, other))
            weight = (3 + 3 + count) ** -0.5  # n triples count 3 + n
        if corruption == 'bernoulli':
            weight *= sides[r].item()
        scores = 6.0 + model(h[None], r[None], tail[None])
        others = drawn[row][false[row]]
        against = 6.0 + model(
            h.expand(len(others)), r.expand(len(others)), others
        )
        share = (0.5 * against).softmax(dim=0)
        loss = F.softplus(-scores).sum() + (share * F.softplus(against)).sum()
        parts, total = parts + weight * loss.item() / 2, total + weight
    found = sum(term.item() for term in terms.values())
    assert found == pytest.approx(parts / total, rel=1e-4)


@pytest.mark.parametrize(
    'objective',
    [
        KvsAll(),
        Margin(2.0, Negatives(5)),
        Margin(2.0, Negatives(5, 'bernoulli')),
        SelfAdversarial(4.0, 1.0, Negatives(5), True),
        SelfAdversarial(4.0, 1.0, Negatives(20, shared=True)),
    ],
    ids=str,
)
def test_each_is_learned_by_the_one_loop(objective: Objective) -> None:
    kind = ComplEx if isinstance(objective, KvsAll) else TransE
    model = model_of(objective, kind)
    loop = Loop(epochs=5, batch_size=20, batch_by='triples')
    history = fit(ModelTask(model), GRAPH, loop).history
    assert history[-1]['loss'] < history[0]['loss']
    again = model_of(objective, kind)
    assert (
        fit(ModelTask(again), GRAPH, loop).history[-1]['loss']
        == (history[-1]['loss'])
    )
    some = SampledCandidates(torch.arange(E), torch.zeros(E))
    asked = batch()
    with pytest.raises(ValueError, match='leave Loop'):
        model.loss(QueryBatch(**{**vars(asked), 'candidates': some}), 'fp32')


def test_distances_learn_from_sampled_entities() -> None:
    loop = Loop(epochs=3, batch_size=20, sampled=Sampled(30))
    history = fit(ModelTask(model_of(CrossEntropy())), GRAPH, loop).history
    assert history[-1]['loss'] < history[0]['loss']


def test_settings() -> None:
    for make, word in (
        (lambda: KvsAll(1.0), 'smoothing'),
        (lambda: Negatives(0), 'count'),
        (lambda: Negatives(3, 'never'), 'corruption'),
    ):
        with pytest.raises(ValueError, match=word):
            make()
    alone = QueryBatch(**{**vars(batch()), 'index': None})
    model = model_of(SelfAdversarial(subsampling=True))
    with pytest.raises(ValueError, match='index'):
        model.loss(alone, 'fp32')


def test_what_cannot_tell_relations_is_refused() -> None:
    tell = CrossEntropy(relations=1.0)
    with pytest.raises(ValueError, match='TuckER tells no relations'):
        TuckER(EntityEmbedding(5, 2), 2, objective=tell)
