"""The best answers to many questions, in bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.evaluation import Scorer, queries_at_a_time
from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.scores.chunks import highest


class BestTails(NamedTuple):
    r"""The best candidates of questions, best first.

    Shapes:
        - **tail:** :math:`(B, k)`, -1 where there are fewer candidates
        - **score:** :math:`(B, k)`
        - **probability:** :math:`(B, k)`, see
          :class:`~dsom_pyg.completion.Calibration`
        - **known:** :math:`(B, k)`, bool
    """

    tail: Tensor
    score: Tensor
    probability: Tensor
    known: Tensor


class Candidates:
    r"""Which entities may answer a question.

    Args:
        known: The known answers.
        num_entities: E.
        ranges: What each relation takes, without the head itself, unless the
            relation is known to link some entity to itself; :obj:`None` for
            any entity.
        among: These alone, bool ``[E]``; :obj:`None` for all.
        new: Leave known answers out.
        never: Answers that nobody is to be given again.
    """

    def __init__(
        self,
        known: QueryIndex,
        num_entities: int,
        ranges: Ranges | None = None,
        among: Tensor | None = None,
        new: bool = True,
        never: QueryIndex | None = None,
    ) -> None:
        self.known, self.num_entities = known, num_entities
        self.ranges, self.among, self.new = ranges, among, new
        self.never = never

    def bar(self, scores: Tensor, head: Tensor, rel: Tensor) -> Pairs:
        r"""Set the scores ``[B, E]`` of all others to -inf.

        Args:
            scores: Overwritten.
            head: Of the questions, ``[B]``.
            rel: Their relations, ``[B]``; equal ones side by side.

        Returns:
            The known answers.
        """
        true = self.known.lookup(head, rel)
        known = scores[true.row, true.tail]
        if self.ranges is not None:
            each, count = rel.unique_consecutive(return_counts=True)
            parts = scores.split(count.tolist())
            for r, part in zip(each.tolist(), parts, strict=True):
                part.masked_fill_(~self.ranges[r], -torch.inf)
            alone = (~self.ranges.reflexive[rel]).nonzero()[:, 0]
            scores[alone, head[alone]] = -torch.inf
        # What is known fits, whatever its kind.
        scores[true.row, true.tail] = -torch.inf if self.new else known
        if self.never is not None:
            false = self.never.lookup(head, rel)
            scores[false.row, false.tail] = -torch.inf
        if self.among is not None:
            scores.masked_fill_(~self.among, -torch.inf)
        return true


@torch.no_grad()
def best_tails(
    scorer: Scorer,
    head: Tensor,
    rel: Tensor,
    k: int,
    candidates: Candidates,
    temperature: Tensor,
    shown: Tensor | None = None,
) -> Iterator[tuple[Tensor, BestTails]]:
    r"""Positions of some questions, and their best candidates, a part of the
    questions at a time.

    Args:
        scorer: What is asked.
        head: Of the questions, ``[B]``.
        rel: Their relations in :math:`0..2R - 1`, ``[B]``.
        k: How many candidates.
        candidates: Who may answer.
        temperature: Of the softmax, for each relation, ``[2R]``.
        shown: Give the best of these alone, bool ``[E]``; the others stay
            their rivals.

    Raises:
        FloatingPointError: A score is NaN or infinite.
    """
    size = candidates.num_entities
    # Questions of a relation come together: they share their range.
    order = torch.argsort(rel, stable=True)
    step = queries_at_a_time(size)
    for part in order.split(step) if len(order) else ():
        h, r = head[part], rel[part]
        scores = scorer.score_tails(h, r)
        true = candidates.bar(scores, h, r)
        given = scores
        if shown is not None:
            given = scores.masked_fill(~shown, -torch.inf)
        score, tail = highest(given, k)
        there = score > -torch.inf
        known = torch.zeros_like(there)
        if not candidates.new:
            codes = torch.arange(len(part))[:, None] * size + tail
            known = torch.isin(codes, true.row * size + true.tail) & there
            # They are no rivals, of one another or of the new ones.
            scores[true.row, true.tail] = -torch.inf
        t = temperature[r][:, None]
        log_z = scores.div_(t).logsumexp(dim=1, keepdim=True)
        wrong = [x.isnan() | (x == torch.inf) for x in (score, log_z)]
        if any(bool(x.any()) for x in wrong):
            raise FloatingPointError('the model gave a non-finite score')
        # Where nobody else may answer, what is known is alone.
        above = torch.where(there, score / t - log_z, -torch.inf)
        probability = torch.where(known, above.sigmoid(), above.exp())
        yield part, BestTails(tail.where(there, -1), score, probability, known)
