"""Rewards of weighted teachers against brute force and `evaluate`."""

import math

import pytest
import torch
from fake_answers import (
    GRAPH,
    KNOWN,
    TARGETS,
    answers,
    by_teacher,
    ensemble,
)
from torch import Tensor

from dsom_pyg.evaluation import evaluate
from dsom_pyg.losses import (
    gain_advantage,
    mean_advantage,
    paper_advantage,
)
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import sources
from dsom_pyg.teachers import (
    Answers,
    Combiner,
    CrossEntropyReward,
    EnsembleScorer,
    RankReward,
    combined_cross_entropy,
    reciprocal_ranks,
    rewards,
    subsets,
)
from dsom_pyg.teachers.combiner import mean_weights


class Fixed(Combiner):
    """The same weights for every query."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.fixed = torch.tensor(weights)

    def weights(self, answers: Answers) -> Tensor:
        return self.fixed.expand(len(answers), -1)


def rivals_by_hand(row: int, tail: int) -> list[int]:
    known = KNOWN.tail[KNOWN.row == row].tolist()
    return [e for e in range(20) if e != tail and e not in known]


@pytest.mark.parametrize('form', ['whole', 'kept', 'made again'])
@pytest.mark.parametrize('size', [3, 7, 20])
def test_filtered_cross_entropy_and_rank_by_hand(
    size: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Entities, and pairs, of one chunk or of several.
    monkeypatch.setattr(sources, 'CHUNK_CPU', 4 * size)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(rewards, 'WEIGHED', 2 * size)
    if form == 'made again':
        monkeypatch.setattr(sources, 'KEEP', 0)
        monkeypatch.setattr(sources, 'KEEP_LEARNING', 0)
    said = answers(ensemble())
    each = said.each if form == 'whole' else said.streams
    weights = torch.rand(4, 3, requires_grad=True)
    ce = combined_cross_entropy(weights, each, TARGETS, KNOWN)
    actions = torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.1, 2.0]])
    rr = reciprocal_ranks(actions, each, TARGETS, KNOWN)
    base = torch.rand(4, 3)
    based = reciprocal_ranks(actions, each, TARGETS, KNOWN, base)
    logits = by_teacher(said)
    combined = torch.einsum('bm,bme->be', weights, logits)
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
                each = (action * scale)[:, None] * logits[row]
                weighed = each.sum(dim=0)
                lead = weighed[rivals_by_hand(row, tail)] - weighed[tail]
                # Entities without the used modalities tie.
                rank = 1 + (lead > 0).sum() + (lead == 0).sum() / 2
                assert found[k, a].item() == pytest.approx(1 / rank.item())
    [found] = torch.autograd.grad(ce.sum(), weights)
    others = torch.ones_like(combined)
    others[KNOWN.row, KNOWN.tail] = 0.0
    loss = torch.zeros(())
    for row, tail in zip(TARGETS.row, TARGETS.tail, strict=True):
        score = combined[row]
        among = score[others[row] > 0]
        both = torch.cat([among, score[tail][None]])
        loss = loss + both.logsumexp(dim=0) - score[tail]
    [expected] = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(found, expected)


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
    teachers = ensemble()
    weights = [0.6, 0.1, 0.3]
    scorer = EnsembleScorer(teachers, Fixed(weights))
    expected = evaluate(scorer, GRAPH, split='test').mrr()
    index, known = GRAPH.index('test'), GRAPH.index('train', 'val', 'test')
    targets = index.rows(torch.arange(len(index)))
    said = Answers(teachers, index.head, index.rel)
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


def cross_entropy_by_hand(
    logits: Tensor, weights: Tensor, row: int, tail: int
) -> float:
    scores = (weights[:, None] * logits[row]).sum(dim=0).tolist()
    rivals = rivals_by_hand(row, tail)
    total = sum(math.exp(scores[e]) for e in [*rivals, tail])
    return math.log(total) - scores[tail]


def used_weights(action: Tensor, base: Tensor | None) -> Tensor:
    """What a policy makes of an action and the weights below it."""
    if base is None:
        return action
    chosen = action * base
    if chosen.sum() == 0:
        return base
    return chosen * (base.sum() / chosen.sum())


@pytest.mark.parametrize('based', [False, True])
@pytest.mark.parametrize('mask_missing', [False, True])
@pytest.mark.parametrize(
    'advantage', [paper_advantage, mean_advantage, gain_advantage]
)
def test_cross_entropy_reward_by_hand(
    based: bool,
    mask_missing: bool,
    advantage: rewards.Advantage,
) -> None:
    said = answers(ensemble(), known=KNOWN)
    logits = by_teacher(said)
    # A student between the teachers, so that rewards differ.
    student = logits.mean(dim=1) + 0.3 * torch.randn(4, 20)
    base = None
    if based:
        base = torch.tensor([[0.9, 0.4, 0.5], [0.6, 0.0, 0.3]] * 2)
    kind = CrossEntropyReward(advantage)
    mean = mean_weights(said, mask_missing)
    every = kind(subsets(3), said, TARGETS, student, base, mean)
    pairs = list(zip(TARGETS.row.tolist(), TARGETS.tail.tolist(), strict=True))
    for k, (row, tail) in enumerate(pairs):
        everyone = torch.ones(3)
        if mask_missing:
            everyone = said.available[row].float()
        ce_all = cross_entropy_by_hand(
            logits, everyone / everyone.sum(), row, tail
        )
        ce_student = -student[row].log_softmax(dim=0)[tail].item()
        for a, action in enumerate(subsets(3)):
            weights = used_weights(action, None if base is None else base[row])
            ce = cross_entropy_by_hand(logits, weights, row, tail)
            if advantage is paper_advantage:
                expected = (1 if ce < ce_student else -10) - (
                    1 if ce_all < ce_student else -10
                )
            elif advantage is mean_advantage:
                expected = 11 * ((ce < ce_all - 1e-5) - (ce > ce_all + 1e-5))
            else:
                expected = max(-5.0, min(5.0, ce_all - ce))
            assert every[k, a].item() == pytest.approx(expected, abs=1e-4)
    assert len(every.unique()) > 1
    # One action for each query, as its weights: the same.
    taken = torch.tensor([3, 0, 6, 2])
    weights = torch.stack(
        [
            used_weights(subsets(3)[a], None if base is None else base[row])
            for row, a in enumerate(taken)
        ]
    )
    alone = torch.ones(1, 3)
    delta = kind(alone, said, TARGETS, student, weights, mean)[:, 0]
    for k, (row, _) in enumerate(pairs):
        assert delta[k].item() == pytest.approx(
            every[k, taken[row]].item(), abs=1e-4
        )


def test_rank_reward_by_hand() -> None:
    said = answers(ensemble(), known=KNOWN)
    logits = by_teacher(said)

    def percent(weights: Tensor, row: int, tail: int) -> float:
        scores = (weights[:, None] * logits[row]).sum(dim=0)
        lead = scores[rivals_by_hand(row, tail)] - scores[tail]
        return 100 / (1 + float((lead > 0).sum() + (lead == 0).sum() / 2))

    weights = torch.rand(4, 3)
    kind = RankReward()
    mean = mean_weights(said, False)
    every = kind(subsets(3), said, TARGETS, None, None, mean)
    reward = kind(torch.ones(1, 3), said, TARGETS, None, weights, mean)[:, 0]
    for k in range(5):
        row, tail = int(TARGETS.row[k]), int(TARGETS.tail[k])
        taken = percent(weights[row], row, tail)
        assert reward[k].item() == pytest.approx(taken, rel=1e-4)
        for a, action in enumerate(subsets(3)):
            assert every[k, a].item() == pytest.approx(
                percent(action, row, tail), rel=1e-4
            )
    assert len(every.unique()) > 3
