import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pykeen.evaluation.ranks import Ranks
from torch import Tensor, nn

from dsom_pyg import evaluation
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate, plan_memory, predict_tails
from dsom_pyg.graph import (
    EDGE,
    Triples,
    add_reciprocals,
    get_split,
    known_triples,
    make_data,
)
from dsom_pyg.kg import KG
from dsom_pyg.metrics import (
    CATEGORIES,
    TIES,
    RankingResult,
    count_rivals,
    relation_categories,
)
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.teachers import EnsembleScorer, Mean, TeacherEnsemble


class Table(nn.Module):
    """Scores from a table, so that ties can be planned."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table  # [E, 2R, E]

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        return self.table[head_index, rel_type][:, entities].clone()


def tied_table(entities: int, relations: int, seed: int = 0) -> Table:
    generator = torch.Generator().manual_seed(seed)
    shape = (entities, 2 * relations, entities)
    return Table(torch.randint(5, shape, generator=generator).float())


def naive_ranks(
    table: Tensor, data: object, ties: str
) -> dict[tuple[int, int, int], float]:
    relations = int(data[EDGE].num_relations)  # type: ignore[index]
    entities = table.size(0)
    known = set()
    for h, r, t in rows(known_triples(data)):  # type: ignore[arg-type]
        known |= {(h, r, t), (t, r + relations, h)}
    test = get_split(data, 'test')  # type: ignore[arg-type]
    out = {}
    for h, r, t in rows(add_reciprocals(test, relations)):
        score = table[h, r, t].item()
        best = worst = 1
        for e in range(entities):
            if e == t or (h, r, e) in known:
                continue
            best += table[h, r, e].item() > score
            worst += table[h, r, e].item() >= score
        rank = {'optimistic': best, 'pessimistic': worst}
        out[h, r, t] = rank.get(ties, (best + worst) / 2)
    return out


def rows(part: Triples) -> list[tuple[int, int, int]]:
    columns = (part.head, part.edge_type, part.tail)
    return list(zip(*(c.tolist() for c in columns), strict=True))


@pytest.mark.parametrize('ties', TIES)
@pytest.mark.parametrize('memory', [None, 16 * 45, 16 * 7, 16])
def test_ranks_are_those_of_a_naive_loop(
    ties: str, memory: int | None
) -> None:
    data = FakeMMKG(20, 4, 120)[0]
    scorer = tied_table(20, 4)
    result = evaluate(scorer, data, batch_size=5, max_memory=memory)
    expected = naive_ranks(scorer.table, data, ties)
    mine = dict(
        zip(
            zip(
                result.head.tolist(),
                result.rel.tolist(),
                result.tail.tolist(),
                strict=True,
            ),
            result.ranks(ties).tolist(),
            strict=True,
        )
    )
    assert mine == expected
    ranks = torch.tensor(list(expected.values()), dtype=torch.float64)
    assert result.mr(ties) == pytest.approx(ranks.mean().item())
    assert result.mrr(ties) == pytest.approx((1 / ranks).mean().item())
    for k in (1, 3, 10):
        share = (ranks <= k).double().mean().item()
        assert result.hits(k, ties) == pytest.approx(share)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.integers(0, 11),
)
@settings(max_examples=200, deadline=None)
def test_ranks_agree_with_pykeen(values: list[int], position: int) -> None:
    target = position % len(values)
    scores = torch.tensor([values]).float()
    theirs = Ranks.from_scores(
        true_score=scores[:, target, None], all_scores=scores
    )
    pair = Pairs(torch.tensor([0]), torch.tensor([target]))
    above, equal = count_rivals(
        scores.clone(), pair, pair, scores[:, target].clone()
    )
    zero = torch.tensor([0])
    result = RankingResult(zero, zero, zero, above, equal, 1, zero)
    assert result.ranks('optimistic').item() == theirs.optimistic.item()
    assert result.ranks('pessimistic').item() == theirs.pessimistic.item()
    assert result.ranks('realistic').item() == theirs.realistic.item()


def test_three_way_tie_by_hand() -> None:
    # Scores (1, 1, 1, 0), target 0: ranks 1 and 3, realistic 2.
    zero = torch.tensor([0])
    pair = Pairs(zero, zero)
    above, equal = count_rivals(
        torch.tensor([[1.0, 1.0, 1.0, 0.0]]), pair, pair, torch.tensor([1.0])
    )
    result = RankingResult(zero, zero, zero, above, equal, 1, zero)
    assert [result.ranks(t).item() for t in TIES] == [2, 1, 3]
    with pytest.raises(ValueError, match='ties must be one of'):
        result.ranks('random')


def test_constant_model_ranks_by_chance() -> None:
    data = FakeMMKG()[0]
    scorer = Table(torch.zeros(20, 8, 20))
    result = evaluate(scorer, data)
    candidates = result.equal + 1
    assert torch.equal(result.ranks(), (candidates + 1).double() / 2)
    assert (result.ranks('optimistic') == 1).all()


def test_two_evaluations_give_the_same_ranks() -> None:
    data = FakeMMKG()[0]
    model = ComplEx(EntityEmbedding(20, 4), 4)
    first, second = evaluate(model, data), evaluate(model, data)
    assert torch.equal(first.above, second.above)
    assert torch.equal(first.equal, second.equal)


def test_batch_size_does_not_change_ranks() -> None:
    data = FakeMMKG(40, 4, 150)[0]
    torch.manual_seed(0)
    model = ComplEx(EntityEmbedding(40, 4, scale=1.0), 4).double()
    expected = evaluate(model, data).ranks()
    for size in (1, 7, 10_000):
        mine = evaluate(model, data, batch_size=size).ranks()
        assert torch.equal(mine, expected)
    for memory in (160, 1600, 10_000):
        mine = evaluate(model, data, max_memory=memory).ranks()
        assert torch.equal(mine, expected)


def test_chunks_keep_ties_of_equal_entities() -> None:
    data = FakeMMKG(400, 4, 600)[0]
    torch.manual_seed(0)
    table = EntityEmbedding(400, 25, scale=1.0)
    with torch.no_grad():
        table.weight[200:] = table.weight[:200]
    model = ComplEx(table, 4, scale=1.0)
    expected = evaluate(model, data)
    assert (expected.equal > 0).any()
    for entities in (64, 128, 320):
        mine = evaluate(model, data, max_memory=16 * entities)
        assert torch.equal(mine.above, expected.above)
        assert torch.equal(mine.equal, expected.equal)


def test_queries_with_many_targets_stay_in_memory() -> None:
    # One query, 30 targets: the matrices have one row all the same.
    shapes = []
    real = torch.empty_like

    def spy(x: Tensor, **words: object) -> Tensor:
        shapes.append(x.shape)
        return real(x, **words)  # type: ignore[arg-type]

    pairs = Pairs(torch.zeros(30).long(), torch.arange(30))
    scores = torch.randn(1, 40)
    expected = [(scores[0, 30:] > s).sum().item() for s in scores[0, :30]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, 'empty_like', spy)
        above, _ = count_rivals(
            scores.clone(), pairs, pairs, scores[0, :30].clone()
        )
    assert above.tolist() == expected
    assert {shape[0] for shape in shapes} == {1}


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_non_finite_scores_raise(bad: float) -> None:
    data = FakeMMKG()[0]
    scorer = tied_table(20, 4)
    h, r, _ = rows(get_split(data, 'test'))[0]
    scorer.table[h, r, 11] = bad
    with pytest.raises(FloatingPointError, match=f'head {h}, relation {r}'):
        evaluate(scorer, data)


def test_filter_holds_validation_triples() -> None:
    train = Triples(torch.tensor([[0], [1]]), torch.tensor([0]))
    val = Triples(torch.tensor([[0], [2]]), torch.tensor([0]))
    test = Triples(torch.tensor([[0], [3]]), torch.tensor([0]))
    data = make_data(5, 1, train, val, test)
    table = torch.zeros(5, 2, 5)
    table[0, 0] = torch.tensor([0.0, 9.0, 8.0, 7.0, 1.0])
    result = evaluate(Table(table), data)
    tail = result.by_side()['tail']
    assert tail.ranks().tolist() == [1.0]
    raw = evaluate(Table(table), data, filter_splits=('train',))
    assert raw.by_side()['tail'].ranks().tolist() == [2.0]
    # The targets filter each other in any case, and the protocol says so.
    assert raw.protocol['filter'] == 'train+test'
    one = evaluate(Table(table), data, filter_splits='train')
    none = evaluate(Table(table), data, filter_splits=())
    assert one.protocol == raw.protocol
    assert none.protocol['filter'] == 'test'
    assert none.by_side()['tail'].ranks().tolist() == [3.0]


def test_breakdowns_cover_everything_once() -> None:
    data = FakeMMKG(30, 4, 200)[0]
    result = evaluate(tied_table(30, 4), data)
    for parts in (
        result.by_side(),
        result.by_relation(),
        result.by_category(),
    ):
        assert sum(len(part) for part in parts.values()) == len(result)
    assert (result.by_side()['head'].rel >= 4).all()
    assert (result.by_relation()[2].rel % 4 == 2).all()
    train = QueryIndex(add_reciprocals(get_split(data, 'train'), 4))
    category = relation_categories(train, 4)
    for name, part in result.by_category().items():
        assert {CATEGORIES[category[r % 4]] for r in part.rel} == {name}


def test_empty_split() -> None:
    train = Triples(torch.tensor([[0], [1]]), torch.tensor([0]))
    data = make_data(2, 1, train)
    with pytest.raises(ValueError, match="split 'test' has no triples"):
        evaluate(Table(torch.zeros(2, 2, 2)), data)


def test_every_module_keeps_its_mode() -> None:
    model = ComplEx(EntityEmbedding(20, 4), 4).eval()
    frozen = TeacherEnsemble({'structure': model}).eval()
    scorer = EnsembleScorer(frozen, Mean())
    assert scorer.training
    evaluate(scorer, FakeMMKG()[0])
    assert scorer.training
    assert not frozen.training
    assert not model.training
    model.relations.data.fill_(math.nan)
    with pytest.raises(FloatingPointError):
        evaluate(scorer, FakeMMKG()[0])
    assert not model.training


@pytest.mark.parametrize(
    ('memory', 'plan'),
    [
        (None, (500, 1000)),
        (16 * 1000 * 7, (7, 1000)),
        (16 * 1000, (1, 1000)),
        (16 * 400, (1, 384)),
        (16 * 50, (1, 50)),
    ],
)
def test_memory_plan(memory: int | None, plan: tuple[int, int]) -> None:
    assert plan_memory(1000, 500, memory) == plan


def test_too_little_memory() -> None:
    with pytest.raises(ValueError, match='too small'):
        plan_memory(1000, 500, 8)
    with pytest.raises(ValueError, match='batch_size must be positive'):
        plan_memory(1000, 0, None)


def test_prediction_and_evaluation_agree() -> None:
    data = FakeMMKG()[0]
    torch.manual_seed(1)
    model = ComplEx(EntityEmbedding(20, 4, scale=1.0), 4)
    result = evaluate(model, data, filter_splits=('train', 'val', 'test'))
    known = known_triples(data)
    for i in range(len(result)):
        head, rel = result.head[i : i + 1], result.rel[i : i + 1]
        true = rows(add_reciprocals(known, 4))
        others = [x for x in true if x[2] != int(result.tail[i])]
        h, r, t = torch.tensor(others).t()
        exclude = QueryIndex(Triples(torch.stack([h, t]), r), 20, 4)
        _, tails = predict_tails(model, head, rel, k=20, exclude=exclude)
        position = tails[0].tolist().index(int(result.tail[i]))
        assert position + 1 == result.ranks()[i].item()


def test_predictions_of_many_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FakeMMKG()[0]
    torch.manual_seed(1)
    model = ComplEx(EntityEmbedding(20, 4, scale=1.0), 4)
    known = KG(data).index('train')
    head = torch.arange(20).repeat(8)
    rel = torch.arange(8).repeat_interleave(20)
    scores, tails = predict_tails(model, head, rel, 20, known)
    sizes = []
    whole = model.score_tails

    def counted(head_index: Tensor, rel_type: Tensor) -> Tensor:
        sizes.append(len(head_index))
        return whole(head_index, rel_type)

    monkeypatch.setattr(model, 'score_tails', counted)
    monkeypatch.setattr(evaluation, 'CELLS', 20 * 7)
    fewer = predict_tails(model, head, rel, 20, known)
    assert sizes == [7] * 22 + [6]
    assert torch.equal(fewer[1], tails)
    torch.testing.assert_close(fewer[0], scores)
    for k in (0, -1):
        with pytest.raises(ValueError, match=f'k must be positive, got {k}'):
            predict_tails(model, head, rel, k)
    scores, tails = predict_tails(model, head[:0], rel[:0], 3)
    assert scores.shape == tails.shape == (0, 3)


def test_of_equal_scores_the_lowest_ids_are_predicted() -> None:
    torch.manual_seed(0)
    table = torch.randint(3, (4, 2, 30)).float()
    head, rel = torch.arange(4), torch.zeros(4).long()
    for k in (1, 4, 12, 30):
        best, tails = predict_tails(Table(table), head, rel, k)
        for row, values in enumerate(table[:, 0].tolist()):
            order = sorted(range(30), key=lambda at: (-values[at], at))[:k]
            assert tails[row].tolist() == order
            assert best[row].tolist() == [values[at] for at in order]


def test_predict_leaves_known_tails_out_and_pads() -> None:
    table = torch.zeros(3, 2, 3)
    table[0, 0] = torch.tensor([1.0, 3.0, 2.0])
    known = Triples(torch.tensor([[0], [1]]), torch.tensor([0]))
    scores, tails = predict_tails(
        Table(table),
        torch.tensor([0]),
        torch.tensor([0]),
        k=5,
        exclude=QueryIndex(add_reciprocals(known, 1), 3, 1),
    )
    assert tails.tolist() == [[2, 0, -1]]
    assert scores[0, :2].tolist() == [2.0, 1.0]


def test_counts_of_many_columns_are_exact() -> None:
    # A sum of ones in float32 stops at 2^24.
    assert plan_memory(2**24, 500, None) == (16, 2**24)
    assert plan_memory(2**25, 500, None) == (1, 2**24)
    assert plan_memory(12_842, 500, None) == (500, 12_842)


class Popular(nn.Module):
    """The same scores for all queries, as one row that is expanded."""

    def __init__(self, score: Tensor, copied: bool) -> None:
        super().__init__()
        self.score, self.copied = score, copied

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        scores = self.score[entities].expand(len(head_index), -1)
        return scores.clone() if self.copied else scores


def test_scores_that_share_their_memory_are_those_of_a_copy() -> None:
    data = FakeMMKG(50, 3, 300)[0]
    score = torch.bincount(get_split(data, 'train').tail, minlength=50).float()
    kept = score.clone()
    one, other = (evaluate(Popular(score, x), data) for x in (True, False))
    assert torch.equal(one.ranks(), other.ranks())
    known = KG(data).index('train')
    query = known.head[:5], known.rel[:5]
    found = [
        predict_tails(Popular(score, x), *query, exclude=known)
        for x in (True, False)
    ]
    assert torch.equal(found[0][1], found[1][1])
    assert torch.equal(score, kept)


def test_scores_that_are_no_floating_point_numbers() -> None:
    data = FakeMMKG(30, 3, 100)[0]
    counts = Popular(torch.arange(30), True)
    with pytest.raises(ValueError, match='int64; ranks need floating point'):
        evaluate(counts, data)
    query = torch.tensor([0]), torch.tensor([0])
    with pytest.raises(ValueError, match='int64; ranks need floating point'):
        predict_tails(counts, *query)


def test_relations_are_those_of_a_loop() -> None:
    data = FakeMMKG(40, 6, 400)[0]
    found = evaluate(tied_table(40, 6), data)
    each = found.by_relation()
    assert [*each] == sorted({int(r) % 6 for r in found.rel})
    for r, part in each.items():
        mine = found.select(found.rel % 6 == r)
        assert torch.equal(part.ranks(), mine.ranks())
        assert torch.equal(part.head, mine.head)


def test_a_result_is_shown_in_a_line() -> None:
    found = evaluate(tied_table(20, 4), FakeMMKG()[0])
    assert repr(found) == f'RankingResult({found})'
    assert '\n' not in repr(found)


def test_what_scores_nothing_is_no_scorer() -> None:
    why = 'need a scorer, .* got dict; .* the student or the teachers'
    with pytest.raises(TypeError, match=why):
        evaluate({}, FakeMMKG()[0])  # type: ignore[arg-type]
