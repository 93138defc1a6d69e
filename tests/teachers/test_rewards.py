"""Outcomes of weighted teachers against brute force and `evaluate`."""

import math

import pytest
import torch
from dsom_pyg.nn import (
    CombinedTeachers,
    Combiner,
    TeacherBatch,
    combined_cross_entropy,
    outcome,
    reciprocal_ranks,
)
from dsom_pyg.nn.ensemble import TeacherEnsemble
from test_combiners import DATA, TARGETS, batch, ensemble
from torch import Tensor

from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import (
    add_reciprocals,
    get_split,
    known_triples,
    num_relations,
)
from dsom_pyg.losses import blocks
from dsom_pyg.query_index import Pairs, QueryIndex

KNOWN = Pairs(
    torch.tensor([0, 0, 0, 1, 2, 3, 3]), torch.tensor([1, 4, 7, 2, 0, 9, 3])
)


class Fixed(Combiner):
    """The same weights for every query."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.fixed = torch.tensor(weights)

    def weights(self, batch: TeacherBatch) -> Tensor:
        return self.fixed.expand(len(batch), -1)


def rivals_by_hand(row: int, tail: int) -> list[int]:
    known = KNOWN.tail[KNOWN.row == row].tolist()
    return [e for e in range(20) if e != tail and e not in known]


@pytest.mark.parametrize('block', [20, 47, 2**20])
def test_filtered_cross_entropy_and_rank_by_hand(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows, and pairs, of one block or of several.
    monkeypatch.setattr(blocks, 'BLOCK', block)
    monkeypatch.setattr(outcome, 'WEIGHED', block)
    said = batch(ensemble())
    weights = torch.rand(4, 3, requires_grad=True)
    ce = combined_cross_entropy(weights, said.each, TARGETS, KNOWN)
    actions = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.1, 2.0]])
    rr = reciprocal_ranks(actions, said.each, TARGETS, KNOWN)
    base = torch.rand(4, 3)
    based = reciprocal_ranks(actions, said.each, TARGETS, KNOWN, base)
    combined = torch.einsum('bm,bme->be', weights, said.logits)
    for k in range(5):
        row, tail = int(TARGETS.row[k]), int(TARGETS.tail[k])
        scores = combined[row].tolist()
        others = [scores[e] for e in rivals_by_hand(row, tail)]
        total = sum(math.exp(s) for s in [*others, scores[tail]])
        assert ce[k].item() == pytest.approx(
            math.log(total) - scores[tail], abs=1e-4
        )
        for a, action in enumerate(actions):
            for found, scale in ((rr, torch.ones(3)), (based, base[row])):
                each = (action * scale)[:, None] * said.logits[row]
                weighed = each.sum(dim=0)
                lead = weighed[rivals_by_hand(row, tail)] - weighed[tail]
                # Entities without the used modalities tie.
                rank = 1 + (lead > 0).sum() + (lead == 0).sum() / 2
                assert found[k, a].item() == pytest.approx(1 / rank.item())
    ce.sum().backward()
    assert weights.grad is not None
    assert weights.grad.isfinite().all()


def test_ties_count_half_and_unfiltered_rivals_are_all_others() -> None:
    logits = [torch.tensor([[1.0, 1.0, 0.0, 2.0]])]
    targets = Pairs(torch.tensor([0]), torch.tensor([0]))
    weights = torch.ones(1, 1)
    # One above, one equal: rank 1 + 1 + 1/2.
    assert reciprocal_ranks(weights, logits, targets).item() == pytest.approx(
        1 / 2.5
    )
    known = Pairs(torch.tensor([0, 0]), torch.tensor([0, 3]))
    assert reciprocal_ranks(
        weights, logits, targets, known
    ).item() == pytest.approx(1 / 1.5)


def test_mean_reciprocal_rank_is_that_of_evaluate() -> None:
    teachers: TeacherEnsemble = ensemble()
    weights = [0.6, 0.1, 0.3]
    scorer = CombinedTeachers(teachers, Fixed(weights))
    expected = evaluate(scorer, DATA, split='test').mrr()
    num_rels = num_relations(DATA)
    index = QueryIndex(add_reciprocals(get_split(DATA, 'test'), num_rels))
    known = QueryIndex(add_reciprocals(known_triples(DATA), num_rels))
    targets = index.rows(torch.arange(len(index)))
    said = TeacherBatch(teachers, index.head, index.rel)
    rr = reciprocal_ranks(
        torch.tensor([weights]),
        said.each,
        targets,
        known.lookup(index.head, index.rel),
    )
    assert rr.mean().item() == pytest.approx(expected, rel=1e-4)


def test_a_score_that_is_no_number_is_no_first_rank() -> None:
    logits = [torch.tensor([[1.0, float('nan'), 0.0]])]
    targets = Pairs(torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(FloatingPointError, match='non-finite'):
        reciprocal_ranks(torch.ones(1, 1), logits, targets)
    with pytest.raises(FloatingPointError, match='non-finite'):
        combined_cross_entropy(torch.ones(1, 1), logits, targets)
