"""Triples that a graph may lack, most probable first."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from dsom_pyg.completion.asking import Candidates, best_tails
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.evaluation import Scorer
from dsom_pyg.graph import Triples, within
from dsom_pyg.kg import KG
from dsom_pyg.query_index import QueryIndex

# A relation with this many questions counts as much as all others together.
PRIOR_QUESTIONS = 50
# Questions that are asked at a time.
ASKED = 10_000
# Probabilities are this far from 0 and 1 at least.
LEAST = 1e-6
# How far decisions may carry the odds from what validation tells: standard
# deviations of the prior of slope and shift.
DRIFT = 0.5, 2.0
# People accept what they recognise. Who never rejects has chosen what to look
# at, and says nothing of how often proposals come true: for each rejection so
# many acceptances count at most.
FOR_A_REJECTION = 4

# Probability, score, and ids of head, relation and tail.
Found = tuple[float, float, int, int, int]


class Rates:
    r"""How many answers a question lacks on average, by relation and by
    whether it has known ones.

    Most questions lack none: the capital that is known is the only one. A
    softmax over candidates cannot know that, but validation tells: its triples
    are the answers that its questions lack in train. Where there is no
    validation, each question is taken to lack one: what is claimed of an
    answer is its share.

    Args:
        graph: The graph.
        ranges: Which entities each relation takes.

    Attributes:
        lacking: ``[2R, 2]``, for questions without and with known answers.
    """

    def __init__(self, graph: KG, ranges: Ranges) -> None:
        size = 2 * graph.num_relations
        train, val = graph.index('train'), graph.index('val')
        asked = torch.tensor(
            [int(ranges.heads(rel).sum()) for rel in range(size)]
        )
        answered = torch.bincount(train.rel, minlength=size)
        questions = torch.stack([asked - answered, answered], dim=1).clamp(0)
        known = train.lookup(val.head, val.rel)
        rows = val.rows(torch.arange(len(val)))
        has = known.count(len(val)) > 0
        # What train has as well is not lacking.
        both = graph.num_entities
        new = ~torch.isin(
            rows.row * both + rows.tail, known.row * both + known.tail
        )
        lacks = torch.bincount(rows.row[new], minlength=len(val)).float()
        pairs = torch.zeros(size, 2)
        pairs.index_put_((val.rel, has.long()), lacks, accumulate=True)
        # A kind of which validation has none lacks less than one in all: with
        # 0, what is claimed of it would be in no order.
        found = pairs.sum(dim=0).clamp(min=0.5)
        shared = found / questions.sum(dim=0).clamp(min=1)
        self.lacking = (pairs + PRIOR_QUESTIONS * shared) / (
            questions + PRIOR_QUESTIONS
        )
        if not len(val):
            self.lacking = torch.ones(size, 2)

    def of(self, rel: Tensor, answered: Tensor) -> Tensor:
        r"""The rate of questions ``[B]``; :obj:`answered` tells which have
        known answers.
        """
        return self.lacking[rel, answered.long()]


class Odds(NamedTuple):
    r"""From what a model claims of proposals to how often they come true:
    :math:`\mathrm{logit}\, p' = a \, \mathrm{logit}\, p + b` (Platt).

    A rate says how many answers questions of a kind lack on average. The
    questions of which the model is sure lack more than others.
    """

    slope: float = 1.0
    shift: float = 0.0

    def of(self, probability: Tensor) -> Tensor:
        r"""Probabilities of the same shape, in the same order."""
        return (self.slope * _logit(probability) + self.shift).sigmoid()

    def instead_of(self, other: 'Odds', probability: float) -> float:
        r"""What a probability by other odds is by these ones."""
        z = (_logit(torch.tensor(probability).double()) - other.shift) / (
            other.slope
        )
        return float((self.slope * z + self.shift).sigmoid())

    @classmethod
    def fit(
        cls,
        scorer: Scorer,
        graph: KG,
        ranges: Ranges,
        temperature: Tensor,
        k: int = 10,
        questions: int = 20_000,
        never: QueryIndex | None = None,
    ) -> 'Odds':
        r"""Fit them to what is proposed of train alone, and to what of that
        validation has; of so many questions, evenly spread over all. Answers
        that people have rejected (:obj:`never`) are not proposed.

        What validation does not have may be in test, which is not read here.
        It is taken to have as many of the proposals of each probability as
        validation has, for each of its triples: :math:`\rho` times as many.
        What is fitted is p', how often a proposal that test does not have is
        in validation, and so :math:`p' / (1 + \rho p')` of all.
        """
        part = graph.triples('val')
        if not len(part.edge_type):
            return cls()
        found = claims(
            propose(
                scorer,
                _some_of(graph, ranges, questions),
                Candidates(
                    graph.index('train'),
                    graph.num_entities,
                    ranges,
                    never=never,
                ),
                temperature,
                Rates(graph, ranges),
                cls(),
                k,
                min_probability=0.0,
            )
        )
        if not found:
            return cls()
        p = torch.tensor([*found.values()])
        hit = within(Triples.of(found), part)
        if not hit.any() or hit.all():
            return cls()
        rho = len(graph.triples('test').edge_type) / len(part.edge_type)
        made = cls(*_fitted(_logit(p.double()), hit, rho))
        return made if made.slope > 0 else cls()

    def heeding(self, claimed: Tensor, true: Tensor) -> 'Odds':
        r"""What people say of proposals tells more than validation can: that
        holds a part of what is known, and nobody knows how much is missing.
        The most probable odds by decisions, with a normal prior around these
        ones. Acceptances weigh less where they are more than four for each
        rejection, and nothing without one.

        Args:
            claimed: What the model claims of the triples that were decided
                on, ``[T]``.
            true: Which of them were accepted, bool ``[T]``.
        """
        from scipy.optimize import minimize

        x, width = _logit(claimed.double()), torch.tensor(DRIFT).double()
        accepted = int(true.sum())
        fair = FOR_A_REJECTION * (len(true) - accepted) / max(accepted, 1)
        weight = torch.where(true, min(1.0, fair), 1.0)

        def loss(drift: Any) -> float:
            by = torch.from_numpy(drift)
            z = (self.slope + by[0]) * x + self.shift + by[1]
            # -log p of what is true, -log(1 - p) of the rest
            wrong = (weight * softplus(torch.where(true, -z, z))).sum()
            return float(wrong + (by / width).square().sum() / 2)

        # What is more probable stays so.
        bounds = [(-self.slope / 2, None), (None, None)]
        slope, shift = minimize(loss, [0.0, 0.0], bounds=bounds).x
        return Odds(self.slope + float(slope), self.shift + float(shift))


def _fitted(x: Tensor, hit: Tensor, rho: float) -> tuple[float, float]:
    # Slope and shift of the odds q under which the hits, which come true with
    # probability q / (1 + rho q), are most probable.
    from scipy.optimize import minimize

    def loss(given: Any) -> tuple[float, Any]:
        by = torch.from_numpy(given).requires_grad_()
        z = by[0] * x + by[1]
        among = logsigmoid(z) + math.log(rho) if rho else z - torch.inf
        misses = torch.logaddexp(logsigmoid(-z), among)
        total = torch.logaddexp(logsigmoid(z), misses)
        log_p = torch.where(hit, logsigmoid(z), misses) - total
        # So little that it counts only where hits and misses lie apart.
        cost = (by[0] ** 2 / 2e6 - log_p.sum()) / len(x)
        cost.backward()
        assert by.grad is not None
        return float(cost.detach()), by.grad.numpy()

    how = {'jac': True, 'method': 'BFGS', 'options': {'gtol': 1e-7}}
    found = minimize(loss, [1.0, 0.0], **how)
    return float(found.x[0]), float(found.x[1])


def _logit(probability: Tensor) -> Tensor:
    return probability.clamp(LEAST, 1 - LEAST).logit()


def claims(found: Iterable[Found]) -> dict[tuple[int, int, int], float]:
    r"""The probability of proposals by head, relation and tail. A question
    may be asked twice; what is proposed counts once.
    """
    return {(h, r, t): probability for probability, _, h, r, t in found}


def _some_of(
    graph: KG, ranges: Ranges, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    relations = range(graph.num_relations)
    total = sum(int(ranges.heads(rel).sum()) for rel in relations)
    step, passed = max(1, -(-total // count)), 0
    for rel in relations:
        heads = ranges.heads(rel).nonzero()[:, 0]
        some = heads[-passed % step :: step]
        passed += len(heads)
        if len(some):
            yield some, torch.full_like(some, rel)


def propose(
    scorer: Scorer,
    questions: Iterable[tuple[Tensor, Tensor]],
    candidates: Candidates,
    temperature: Tensor,
    rates: Rates,
    odds: Odds,
    k: int,
    min_probability: float,
    shown: Tensor | None = None,
) -> Iterator[Found]:
    r"""Answers that are likely and not known, question by question.

    What is claimed of a triple is the expected number of answers that its
    question lacks, times the share that this answer has of them; the odds
    make it a probability.
    """
    known = candidates.known
    for end, rel in questions:
        answered = known.lookup(end, rel).count(len(end)) > 0
        rate = rates.of(rel, answered)
        asked = scorer, end, rel, k, candidates, temperature, shown
        for at, best in best_tails(*asked):
            claimed = (best.probability * rate[at, None]).clamp(max=1.0)
            probability = odds.of(claimed)
            good = (probability >= min_probability) & (best.tail >= 0)
            row, column = good.nonzero(as_tuple=True)
            values = (
                probability[row, column],
                best.score[row, column],
                end[at[row]],
                rel[at[row]],
                best.tail[row, column],
            )
            yield from zip(*(x.tolist() for x in values), strict=True)


def most_probable(found: Iterator[Found], limit: int) -> list[Found]:
    r"""The best of many, each triple once, the most probable first."""
    if limit < 1:
        raise ValueError(f'limit must be positive, got {limit}')
    best: dict[tuple[int, ...], Found] = {}
    # Below this nothing is kept: twice as many as asked for are held, then
    # the better half of them stays.
    least = -1.0
    for each in found:
        triple = each[2:]
        # A question may be asked twice.
        if each[0] <= least or best.get(triple, (-1.0,))[0] >= each[0]:
            continue
        best[triple] = each
        if len(best) >= 2 * limit:
            best = {found[2:]: found for found in _top(best, limit)}
            least = min(found[0] for found in best.values())
    return _top(best, limit)


def _top(best: dict[tuple[int, ...], Found], limit: int) -> list[Found]:
    # The sort is stable: of equal ones the first.
    return sorted(best.values(), key=lambda each: -each[0])[:limit]


def questions_of(
    ranges: Ranges, relations: Sequence[int], heads: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Questions (head, relation, ?) about relations, with every head that
    each takes, or some of these.

    Args:
        ranges: What relations take.
        relations: About these, in :math:`0..R - 1`.
        heads: Of these alone, bool ``[E]``.
    """
    for rel in relations:
        asked = ranges.heads(rel)
        yield from _questions(asked if heads is None else asked & heads, rel)


def questions_for(
    tails: Tensor,
    relations: Sequence[int],
    scorer: Scorer,
    candidates: Candidates,
    temperature: Tensor,
    k: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Questions (head, relation, ?) of other entities, which some may answer.
    These are found by asking for the heads; how probable an answer is, is
    told by rates and odds of questions for tails.

    Args:
        tails: The ones that may answer, bool ``[E]``.
        relations: About these, in :math:`0..R - 1`.
        scorer: What is asked.
        candidates: Who may answer, with ranges.
        temperature: Of the softmax, for each relation, ``[2R]``.
        k: How many heads for each tail.
    """
    ranges = candidates.ranges
    assert ranges is not None
    for rel in relations:
        back = rel + ranges.num_relations
        ends = (ranges.heads(back) & tails).nonzero()[:, 0]
        asked = ends, torch.full_like(ends, back), k, candidates, temperature
        heads = torch.zeros_like(tails)
        for _, best in best_tails(scorer, *asked):
            heads[best.tail[best.tail >= 0]] = True
        yield from _questions(heads & ranges.heads(rel) & ~tails, rel)


def _questions(heads: Tensor, rel: int) -> Iterator[tuple[Tensor, Tensor]]:
    for part in heads.nonzero()[:, 0].split(ASKED):
        yield part, torch.full_like(part, rel)
