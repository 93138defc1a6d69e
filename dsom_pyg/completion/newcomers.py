r"""Entities that were not there in training.

A teacher over features knows anything that has a text or an image: the row of
a newcomer is its feature times the matrix that the teacher has learned. The
student has no such matrix. It gets a row for each newcomer, fitted to what
these teachers say of it, and to the triples that are given; nothing else
changes.

A newcomer stands in two places. As a head, of the relations that entities of
like features have: the student's answers are to be those of the teachers. As
an answer, of questions that other heads ask: the student is to give it the
probability that they give. Reciprocals make the one place of a triple the
other, and both are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    normalize,
    softplus,
)

from dsom_pyg.completion.store import Maps
from dsom_pyg.graph import Triples
from dsom_pyg.losses import n3
from dsom_pyg.models import KGE
from dsom_pyg.models.entity import Computed
from dsom_pyg.query_index import Queries, QueryIndex

# Entities of like features that say which relations a newcomer has, and how
# many of these it is asked for at most.
NEAREST, ROLES = 10, 20
# Newcomers that are compared with all others at once.
AT_ONCE = 256


class Fit(NamedTuple):
    r"""How rows are fitted. What a newcomer gains as an answer, others lose:
    with more weight on :obj:`others` and :obj:`n3` they lose less.

    Args:
        steps: Of Adam, at least; its rate falls to 0.
        passes: Over the questions about newcomers, at least.
        lr: Learning rate.
        batch: Questions of each kind in a step.
        pool: Questions of others, at most, that newcomers may answer.
        tau: Temperature of the soft labels.
        answers: Weight of each question that newcomers may answer.
        others: Weight of the same questions as if no newcomer answered them.
        triples: Weight of each given triple.
        n3: Weight of the N3 regulariser.
    """

    steps: int = 150
    passes: int = 4
    lr: float = 0.05
    batch: int = 256
    pool: int = 4096
    tau: float = 2.0
    answers: float = 1.0
    others: float = 0.3
    triples: float = 1.0
    n3: float = 0.5


def rows_of(
    maps: Maps, features: Mapping[str, tuple[Tensor, Tensor]], size: int
) -> dict[str, Tensor]:
    r"""The rows of newcomers in the teachers over features, ``[n, 2D]`` each;
    zero where a newcomer has none of what a teacher knows.
    """
    out = {}
    for name, each in maps.items():
        width = next(iter(each.values())).size(1)
        rows = torch.zeros(size, width)
        for modality, weight in each.items():
            if modality in features:
                x, present = features[modality]
                rows[present] += x[present] @ weight
        out[name] = rows
    return out


def nearest(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], index: QueryIndex
) -> list[Tensor]:
    r"""The entities of train that are most like each newcomer, by the cosine
    of their rows; none for one without features.

    Args:
        old: Rows of the entities of train, by teacher; one or more.
        new: Rows of the newcomers.
        index: N(h, r) of train.
    """
    size, others = (len(next(iter(x.values()))) for x in (new, old))
    unit = {name: normalize(rows) for name, rows in old.items()}
    silent = torch.ones(others, dtype=torch.bool)
    silent[index.head] = False
    count = min(NEAREST, int((~silent).sum()))
    out: list[Tensor] = []
    for part in torch.arange(size).split(AT_ONCE):
        likeness = torch.zeros(len(part), others)
        known = torch.zeros(len(part), dtype=torch.bool)
        for name, rows in new.items():
            likeness += normalize(rows[part]) @ unit[name].t()
            known |= rows[part].any(dim=1)
        likeness[:, silent] = -torch.inf
        found = likeness.topk(count, dim=1).indices
        out += [x if k else x[:0] for x, k in zip(found, known, strict=True)]
    return out


def likely_questions(
    near: Sequence[Tensor], index: QueryIndex, given: Triples, first: int
) -> Queries:
    r"""The questions that can be asked of newcomers: those that are asked of
    the entities nearest to them, the most common ones; and those that given
    triples answer.

    Args:
        near: See :func:`nearest`.
        index: N(h, r) of train.
        given: Triples of newcomers as heads.
        first: The id of the first newcomer.
    """
    heads, rels = [given.head], [given.edge_type]
    for at, others in enumerate(near):
        # Queries are sorted by their heads.
        low = torch.searchsorted(index.head, others)
        high = torch.searchsorted(index.head, others, right=True)
        ranges = zip(low.tolist(), high.tolist(), strict=True)
        asked = torch.cat(
            [index.rel[:0], *(index.rel[a:b] for a, b in ranges)]
        )
        rel, count = asked.unique(return_counts=True)
        best = rel[count.argsort(descending=True, stable=True)][:ROLES]
        rels.append(best)
        heads.append(torch.full_like(best, first + at))
    both = torch.stack([torch.cat(heads), torch.cat(rels)])
    return Queries(*both.unique(dim=1))


@torch.no_grad()
def combined(
    teachers: Sequence[tuple[float, KGE]], head: Tensor, rel: Tensor
) -> Tensor:
    r"""Weighted sum of the logits of teachers, ``[B, E]``."""
    parts = [w * x.score_tails(head, rel) for w, x in teachers]
    return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]


def fit_rows(
    student: KGE,
    teachers: Sequence[tuple[float, KGE]],
    asked: Queries,
    answered: Queries,
    given: Triples,
    known: Tensor,
    how: Fit | None = None,
    seed: int = 0,
) -> Tensor:
    r"""Rows of newcomers in a student, ``[n, 2D]``.

    Args:
        student: Over E entities; frozen.
        teachers: Over E + n entities, with their weights; frozen. None where
            newcomers have no features.
        asked: Questions about newcomers, ids from E on.
        answered: Questions about others, for newcomers to answer.
        given: Triples of newcomers as heads.
        known: Which newcomers have features, bool ``[n]``; teachers say
            nothing of the others.
        how: Settings. (default: those tried on validation of MKG-W)
        seed: Of the batches.
    """
    how = how or Fit()
    table = student.entities().detach()
    size, num_new = len(table), len(known)
    draw = torch.Generator().manual_seed(seed)
    asked = Queries(*(x[known[asked.head - size]] for x in asked))
    steps = max(how.steps, how.passes * len(asked.head) // how.batch)
    rows = torch.empty(num_new, table.size(1)).normal_(0, 1e-3, generator=draw)
    rows = nn.Parameter(rows)
    optimizer = torch.optim.Adam([rows], lr=how.lr)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1.0 - step / steps
    )
    turned = (given.edge_type + student.num_relations) % (
        2 * student.num_relations
    )
    complex_rows = getattr(student, 'complex_rows', False)

    # Who has no features is no candidate of what teachers say.
    heard = torch.cat([torch.ones(size, dtype=torch.bool), known])

    def some(count: int) -> Tensor:
        if count <= how.batch:
            return torch.arange(count)
        return torch.randint(count, (how.batch,), generator=draw)

    def compared(query: Tensor, matrix: Tensor) -> Tensor:
        return student.scores_of(query, Computed(matrix), 'fp32').dense()

    def scores(head: Tensor, rel: Tensor) -> Tensor:
        query = student.query(rows[head - size], student.relation_rows(rel))
        return torch.cat([compared(query, x) for x in (table, rows)], dim=1)

    with torch.no_grad():
        pool = _Pool.of(student, table, teachers, answered, how, draw)
        # Of a triple among newcomers, each is a head in its turn.
        mine = given.tail < size
        others = student.query(
            table[given.tail[mine]], student.relation_rows(turned[mine])
        )
        rest = compared(others, table).logsumexp(dim=1)
        place = (given.head[mine] - size)[:, None]
    for _ in range(steps):
        loss = how.n3 * n3(rows, None, complex_rows) / num_new
        if teachers and len(asked.head):
            at = some(len(asked.head))
            head, rel = asked.head[at], asked.rel[at]
            soft = combined(teachers, head, rel)[:, heard] / how.tau
            own = (scores(head, rel)[:, heard] / how.tau).log_softmax(dim=1)
            soft = soft.softmax(dim=1)
            loss = loss - how.tau**2 * (soft * own).sum(dim=1).mean()
        if pool is not None:
            at = some(len(pool.rest))
            own = compared(pool.query[at], rows)
            # As if all of them were asked, of each newcomer.
            weight = len(answered.head) / len(at) / num_new
            cost = softplus(own - pool.rest[at][:, None]).sum()
            loss = loss + how.others * weight * cost
            if pool.target is not None:
                odds = own[:, known] / how.tau - pool.soft_rest[at][:, None]
                cost = binary_cross_entropy_with_logits(
                    odds, pool.target[at][:, known], reduction='sum'
                )
                loss = loss + how.answers * how.tau**2 * weight * cost
        if len(given.edge_type):
            part = given.select(some(len(given.edge_type)))
            own = scores(part.head, part.edge_type)
            weight = how.triples * len(given.edge_type) / num_new
            loss = loss + weight * cross_entropy(own, part.tail)
        if len(rest):
            at = some(len(rest))
            own = compared(others[at], rows).gather(1, place[at])[:, 0]
            odds = own - rest[at]
            weight = how.triples * len(rest) / num_new
            loss = loss + weight * softplus(-odds).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return rows.detach()


class _Pool(NamedTuple):
    # Questions that newcomers may answer: the student's query, what it gives
    # to all others in one number, and the same at the temperature of the soft
    # labels; and the probability of each newcomer, if there are teachers.
    query: Tensor
    rest: Tensor
    soft_rest: Tensor
    target: Tensor | None

    @classmethod
    def of(
        cls,
        student: KGE,
        table: Tensor,
        teachers: Sequence[tuple[float, KGE]],
        answered: Queries,
        how: Fit,
        draw: torch.Generator,
    ) -> _Pool | None:
        if not len(answered.head):
            return None
        order = torch.randperm(len(answered.head), generator=draw)[: how.pool]
        parts, targets = [], []
        for at in order.split(how.batch):
            head, rel = answered.head[at], answered.rel[at]
            query = student.query(table[head], student.relation_rows(rel))
            scores = student.scores_of(query, Computed(table), 'fp32').dense()
            soft = (scores / how.tau).logsumexp(dim=1)
            parts.append((query, scores.logsumexp(dim=1), soft))
            if teachers:
                logits = combined(teachers, head, rel) / how.tau
                others, new = logits.tensor_split([len(table)], dim=1)
                total = others.logsumexp(dim=1, keepdim=True)
                targets.append((new - total).sigmoid())
        query, rest, soft = (torch.cat(x) for x in zip(*parts, strict=True))
        target = torch.cat(targets) if targets else None
        return cls(query, rest, soft, target)
