"""Temperatures and calibration errors, against their definitions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg.completion import Calibration, Confidences, Ranges
from dsom_pyg.completion.calibration import PRIOR_PAIRS, plot_reliability
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.kg import KG

E, R = 300, 2


class Sharp:
    """Scores are the true log-probabilities, times a factor by relation."""

    def __init__(self, logits: Tensor, factor: Tensor) -> None:
        self.logits, self.factor = logits, factor

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        rows = self.logits[head_index] * self.factor[rel_type, None]
        return rows[:, entities].clone()


@pytest.fixture(scope='module')
def logits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(E, E, generator=generator)


@pytest.fixture(scope='module')
def graph(logits: Tensor) -> KG:
    # Targets are drawn from the softmax of the logits. Heads and tails have
    # tables of their own, so that both sides follow it.
    generator = torch.Generator().manual_seed(1)
    count = 6000
    end = torch.randint(E, (count,), generator=generator)
    other = torch.multinomial(
        logits.softmax(dim=1)[end], 1, True, generator=generator
    )[:, 0]
    rel = torch.randint(R, (count,), generator=generator)
    part = Triples(torch.stack([end, other]), rel)
    half = torch.arange(count) < 3000
    return KG(make_data(E, R, part.select(half), part.select(~half)))


def filtered_loss(graph: KG, scorer: Sharp, rel: int, t: float) -> float:
    """Mean log-loss of 'the best one is right', pair by pair."""
    val, known = graph.index('val'), graph.index('train', 'val')
    pairs = val.rows(torch.arange(len(val)))
    losses = []
    for row, tail in zip(pairs.row.tolist(), pairs.tail.tolist(), strict=True):
        if int(val.rel[row]) != rel:
            continue
        h, r = val.head[row : row + 1], val.rel[row : row + 1]
        scores = scorer.score_tails(h, r)[0] / t
        keep = torch.ones(E, dtype=torch.bool)
        keep[known.lookup(h, r).tail] = False
        keep[tail] = True
        p = scores[keep].softmax(0).max()
        right = scores[keep].max() == scores[tail]
        losses.append(-float((p if right else 1 - p).log()))
    return sum(losses) / len(losses)


def test_temperatures_lower_the_loss_of_each_relation(
    graph: KG, logits: Tensor
) -> None:
    factor = torch.tensor([0.5, 2.0, 1.0, 1.0])
    scorer = Sharp(logits, factor)
    fitted = Calibration.fit(scorer, graph)
    assert fitted.pairs == int(graph.index('val').tail.numel())
    # Relations are sharpened alike, so each finds its own way back; their
    # many pairs leave little to the prior.
    ratio = fitted.temperature[1] / fitted.temperature[0]
    assert float(ratio) == pytest.approx(4.0, rel=0.15)
    for rel in range(2):
        best = float(fitted.temperature[rel])
        low = filtered_loss(graph, scorer, rel, best)
        for other in (0.8 * best, 1.25 * best):
            assert low < filtered_loss(graph, scorer, rel, other)


def test_a_relation_of_few_pairs_has_the_shared_temperature(
    graph: KG, logits: Tensor
) -> None:
    val = graph.triples('val')
    few = torch.cat(
        [
            (val.edge_type == 0).nonzero()[:, 0],
            (val.edge_type == 1).nonzero()[:1, 0],
        ]
    )
    data = make_data(E, R, graph.triples('train'), val.select(few))
    scorer = Sharp(logits, torch.tensor([2.0, 4.0, 2.0, 4.0]))
    fitted = Calibration.fit(scorer, KG(data)).temperature
    # Scores of head questions (2, 3) say nothing here, those of the others do.
    assert PRIOR_PAIRS > 1
    assert float(fitted[2] / fitted[0]) > 2
    # One pair says little: relation 1 has what is best for all, pair by pair.
    tried = [1.5 + at / 10 for at in range(25)]
    count = KG(data).index('val')
    asked = count.rel.repeat_interleave(
        count.rows(torch.arange(len(count))).count(len(count))
    ).bincount(minlength=4)
    losses = [
        sum(
            int(asked[rel]) * filtered_loss(KG(data), scorer, rel, t)
            for rel in range(4)
        )
        for t in tried
    ]
    best = tried[losses.index(min(losses))]
    assert fitted[[1, 3]].tolist() == pytest.approx([best, best], rel=0.15)


def test_test_takes_no_part(graph: KG, logits: Tensor) -> None:
    scorer = Sharp(logits, torch.tensor([0.5, 2.0, 1.0, 1.0]))
    train, val = graph.triples('train'), graph.triples('val')
    nothing, every = (
        val.select(slice(0, 0)),
        Triples(
            torch.cartesian_prod(torch.arange(40), torch.arange(E)).t(),
            torch.zeros(40 * E, dtype=torch.long),
        ),
    )
    one, other = (
        Calibration.fit(scorer, KG(make_data(E, R, train, val, test)))
        for test in (nothing, every)
    )
    assert torch.equal(one.temperature, other.temperature)
    assert one.after == other.after


def test_of_many_entities_few_queries_are_asked_at_a_time(
    graph: KG, logits: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Counted(Sharp):
        def score_tails(self, head_index: Tensor, *words: Any) -> Tensor:
            asked.append(len(head_index))
            return super().score_tails(head_index, *words)

    scorer = Counted(logits, torch.full((4,), 3.0))
    once = Calibration.fit(scorer, graph)
    assert max(asked) == 250
    asked.clear()
    monkeypatch.setattr('dsom_pyg.completion.calibration.LARGEST', 7 * E + 1)
    few = Calibration.fit(scorer, graph)
    assert max(asked) == 7
    torch.testing.assert_close(few.temperature, once.temperature)
    assert few.after == pytest.approx(once.after)


def test_a_sharpened_model_is_mended(graph: KG, logits: Tensor) -> None:
    sharp = Calibration.fit(Sharp(logits, torch.full((4,), 3.0)), graph)
    assert sharp.before > 0.1
    scorer = Sharp(logits, torch.full((4,), 3.0))
    untouched = Calibration.none(2).confidences(scorer, graph, 'val')
    assert sharp.before == pytest.approx(untouched.error())
    found = sharp.confidences(scorer, graph, 'val')
    assert sharp.after == pytest.approx(found.error())
    assert sharp.after < sharp.before / 2


def test_no_validation(logits: Tensor) -> None:
    train = Triples(torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 1]))
    graph = KG(make_data(E, R, train))
    fitted = Calibration.fit(Sharp(logits, torch.ones(4)), graph)
    assert fitted.temperature.tolist() == [1, 1, 1, 1]
    assert fitted.pairs == 0


def test_the_error_of_confidences() -> None:
    top = torch.tensor([0.95, 0.9, 0.85, 0.1, 1.0])
    hit = torch.tensor([True, False, True, False, True])
    # Bins of width 0.5: four pairs of mean 0.925 and accuracy 3 / 4, one of
    # 0.1 and 0.
    expected = 0.8 * abs(0.925 - 0.75) + 0.2 * 0.1
    found = Confidences(top, hit)
    assert found.error(bins=2) == pytest.approx(expected)
    share, confidence, accuracy = found.bins(2)
    assert share.tolist() == pytest.approx([0.2, 0.8])
    assert confidence.tolist() == pytest.approx([0.1, 0.925])
    assert accuracy.tolist() == pytest.approx([0, 0.75])
    nothing = Confidences(torch.empty(0), torch.empty(0).bool())
    assert nothing.error() != nothing.error()


def test_confidences_pair_by_pair(graph: KG, logits: Tensor) -> None:
    """Among what the relation takes, which is little here."""
    scorer = Sharp(logits, torch.ones(4))
    fitted = Calibration(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    few = graph.triples('train').select(slice(0, 400))
    graph = KG(make_data(E, R, few, graph.triples('val')))
    # Those alone that are tails of the relation in train.
    ranges = Ranges(graph.index('train'), E, R, shared=2.0)
    found = fitted.confidences(scorer, graph, 'val', ranges=ranges)
    val, known = graph.index('val'), graph.index('train', 'val')
    # They come by relation.
    pairs = val.rows(val.rel.argsort(stable=True))
    order = val.rel.argsort(stable=True)
    train = few.edge_index[:, few.edge_type == 0]
    assert 100 < len(train[1].unique()) < 200
    shown, hits = 0, 0
    for at in range(0, len(pairs.row), 50):
        row, tail = int(order[pairs.row[at]]), int(pairs.tail[at])
        h, r = val.head[row : row + 1], val.rel[row : row + 1]
        of_r = few.edge_index[:, few.edge_type == r % R]
        keep = torch.zeros(E, dtype=torch.bool)
        keep[of_r[1 if r < R else 0]] = True
        if not (of_r[0] == of_r[1]).any():
            keep[h] = False
        taken = bool(keep[tail])
        keep[known.lookup(h, r).tail] = False
        keep[tail] = taken
        scores = scorer.score_tails(h, r)[0] / fitted.temperature[r]
        shares = scores.masked_fill(~keep, -torch.inf).softmax(0)
        assert float(found.top[at]) == pytest.approx(float(shares.max()), 1e-4)
        hit = taken and int(shares.argmax()) == tail
        assert bool(found.hit[at]) == hit
        shown, hits = shown + taken, hits + hit
    assert 0 < hits < shown < len(range(0, len(pairs.row), 50))


def test_questions_that_nobody_answers_are_left_out() -> None:
    # Relation 0 takes entity 1 alone, which is known of entity 0.
    train, val = (
        Triples.of(rows) for rows in ([(0, 0, 1)], [(0, 0, 2), (3, 0, 1)])
    )
    graph = KG(make_data(4, 1, train, val))
    scorer = Sharp(torch.eye(4), torch.ones(2))
    found = Calibration.none(1).confidences(scorer, graph, 'val')
    # Tails of (0, 0, ?) and heads of (2, 1, ?): the latter takes entity 0,
    # which is not known of entity 2. (3, 0, ?) has 1, (1, 1, ?) nobody.
    assert found.hit.tolist() == [True, True]
    assert found.top.tolist() == pytest.approx([1, 1], abs=1e-5)
    assert Calibration.fit(scorer, graph).pairs == 2


def test_a_diagram(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    curve = Confidences(torch.rand(50), torch.rand(50) > 0.5)
    plot_reliability({'some': curve}, tmp_path / 'a.svg')
    # Letters are drawn: each has a comment.
    text = (tmp_path / 'a.svg').read_text()
    assert '<!-- some: ' in text
    plot_reliability({}, tmp_path / 'b.svg')
    assert '<!-- some: ' not in (tmp_path / 'b.svg').read_text()
