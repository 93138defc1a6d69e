"""Triples that a graph may lack, most probable first."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dsom_pyg.completion.asking import Candidates, best_tails
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.evaluation import Scorer
from dsom_pyg.kg import KG

# A relation with this many questions counts as much as all others together.
PRIOR_QUESTIONS = 50
# Questions that are asked at a time.
ASKED = 10_000

# Probability, score, and ids of head, relation and tail.
Found = tuple[float, float, int, int, int]


class Rates:
    r"""How many answers a question lacks on average, by relation and by
    whether it has known ones.

    Most questions lack none: the capital that is known is the only one. A
    softmax over candidates cannot know that, but validation tells: its triples
    are the answers that its questions lack in train.

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
        has = train.lookup(val.head, val.rel).count(len(val)) > 0
        pairs = torch.zeros(size, 2)
        pairs.index_put_(
            (val.rel, has.long()), val.ptr.diff().float(), accumulate=True
        )
        shared = pairs.sum(dim=0) / questions.sum(dim=0).clamp(min=1)
        self.lacking = (pairs + PRIOR_QUESTIONS * shared) / (
            questions + PRIOR_QUESTIONS
        )

    def of(self, rel: Tensor, answered: Tensor) -> Tensor:
        r"""The rate of questions ``[B]``; :obj:`answered` tells which have
        known answers.
        """
        return self.lacking[rel, answered.long()]


def propose(
    scorer: Scorer,
    graph: KG,
    questions: Iterator[tuple[Tensor, Tensor]],
    candidates: Candidates,
    temperature: Tensor,
    rates: Rates,
    k: int,
    min_probability: float,
) -> Iterator[Found]:
    r"""Answers that are likely and not known, question by question.

    The probability of a triple is the expected number of answers that its
    question lacks, times the share that this answer has of them.
    """
    known, size = candidates.known, graph.num_relations
    for end, rel in questions:
        answered = known.lookup(end, rel).count(len(end)) > 0
        rate = rates.of(rel, answered)
        asked = scorer, end, rel, k, candidates, temperature
        for at, best in best_tails(*asked):
            probability = (best.probability * rate[at, None]).clamp(max=1.0)
            good = (probability >= min_probability) & (best.tail >= 0)
            row, column = good.nonzero(as_tuple=True)
            values = (
                probability[row, column],
                best.score[row, column],
                end[at[row]],
                rel[at[row]],
                best.tail[row, column],
            )
            for p, score, h, r, t in zip(
                *(value.tolist() for value in values), strict=True
            ):
                if r >= size:
                    h, r, t = t, r - size, h
                yield p, score, h, r, t


def most_probable(found: Iterator[Found], limit: int) -> list[Found]:
    r"""The best of many, each triple once, the most probable first."""
    best: dict[tuple[int, ...], Found] = {}
    # Below this nothing is kept: twice as many as asked for are held, then
    # the better half of them stays.
    least = -1.0
    for each in found:
        triple = each[2:]
        # From both sides of a triple: the better one.
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


def questions_about(
    graph: KG, ranges: Ranges, relations: list[int], entities: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Questions (head, relation, ?) about relations, with every head that
    each takes. With some entities: about these, from both sides.
    """
    sides = relations
    if entities is not None:
        sides = [*relations, *(r + graph.num_relations for r in relations)]
    for rel in sides:
        heads = ranges.heads(rel)
        if entities is not None:
            heads = heads & entities
        for part in heads.nonzero()[:, 0].split(ASKED):
            yield part, torch.full_like(part, rel)
