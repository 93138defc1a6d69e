"""Filtered ranking and prediction: one path for every scorer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dsom_pyg.graph import check_queries, check_sizes
from dsom_pyg.kg import KG
from dsom_pyg.metrics import RankingResult, count_rivals
from dsom_pyg.models.sharded import device_of, sharded
from dsom_pyg.processes import Shard, count, place
from dsom_pyg.query_index import Pairs, QueryIndex
from dsom_pyg.scores.chunks import highest, in_order

# Queries at a time, where there are few entities: their scores then stay in
# the caches of a processor.
ROWS = 256
# Scores at a time, where there are many: 4 bytes each, in a few copies.
CELLS = 2**24
# Bytes that a ranking takes, and columns that are counted without error.
MEMORY, COLUMNS = 2**32, 2**24

if TYPE_CHECKING:
    from dsom_pyg.pyg import HeteroData


class Scorer(Protocol):
    r"""Anything that scores all entities as tails of queries: a model, or
    :class:`~dsom_pyg.teachers.EnsembleScorer`.

    It should tell for how many entities and relations it is, as both of these
    do, by the attributes ``num_entities`` and ``num_relations`` (R, without
    reciprocals). E shows in the width of scores as well. R does not: one that
    is silent about it and made for another R is not found out.
    """

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Scores ``[B, E]``, or those of a part of the entities, in a
        tensor that the caller may overwrite. Callers have looked at the ids.
        """


@torch.no_grad()
def evaluate(
    scorer: Scorer,
    data: HeteroData | KG,
    split: str = 'test',
    filter_splits: Sequence[str] = ('train', 'val', 'test'),
    batch_size: int = 500,
    max_memory: int | None = None,
    device: torch.device | str | None = None,
) -> RankingResult:
    r"""Filtered rank of every target among all entities, both sides.

    Each distinct query is scored once, in float32. Other true tails of a
    query are no rivals; the target's score is read from the same row as
    theirs.

    Args:
        scorer: What gives the scores.
        data: The graph.
        split: Whose triples are ranked.
        filter_splits: Whose triples are known to be true. All three include
            the further known triples that a dataset may bring. Those of
            :obj:`split` are among them in any case.
        batch_size: Queries at a time.
        max_memory: Bytes that score matrices may take. (default: 4 GiB)
            Fewer queries are taken at a time, and when that is not enough,
            the entities come in chunks; ranks are equal, except that entities
            with equal rows may fall apart in the last bit. A combination of
            teachers takes as much again for each of them. Of several
            processes that share the entities, each ranks among its own.
        device: Where to rank; the scorer is moved there, of several processes
            as long as this takes. (default: where the scorer is, or of
            several processes where this one works)

    Raises:
        FloatingPointError: A score is NaN or infinite.
        ValueError: The split has no triples, or the scorer is for other
            numbers of entities or relations than the graph.
    """
    graph = KG.of(data)
    if not hasattr(scorer, 'score_tails'):
        raise TypeError(
            f'need a scorer, a model or what has score_tails, got '
            f'{type(scorer).__name__}; of what train_dsom returns, ask the '
            'student or the teachers'
        )
    check_sizes(graph=graph, scorer=scorer)
    size = graph.num_entities
    if not graph.triples(split).edge_type.numel():
        raise ValueError(f"split '{split}' has no triples to rank")
    if isinstance(filter_splits, str):
        filter_splits = (filter_splits,)
    # The targets themselves are never rivals, whatever the filter holds.
    names = list(dict.fromkeys((*filter_splits, split)))
    device = _device_of(scorer) if device is None else device
    asked = graph.index(split).to(device)
    known = graph.index(*names).to(device)
    batch_size, chunk = plan_memory(size, batch_size, max_memory)
    *starts, last = range(0, size, chunk)
    # The last part is open: scores of more entities than there are show.
    chunks = [slice(at, at + chunk) for at in starts] + [slice(last, None)]
    positions = torch.arange(len(asked), device=device).split(batch_size)
    with _evaluating(scorer, device):
        parts = [
            _rank_batch(scorer, asked, known, position, chunks, size)
            for position in positions
        ]
    columns = zip(*parts, strict=True)
    head, rel, tail, above, equal = (torch.cat(c).cpu() for c in columns)
    protocol = {
        'split': split,
        'filter': '+'.join(names),
        'candidates': 'all entities',
        'sides': 'head and tail',
        'ties': 'realistic unless stated',
        'distinct_targets': len(head),
    }
    relations = graph.num_relations, graph.relation_categories.cpu()
    return RankingResult(head, rel, tail, above, equal, *relations, protocol)


def _device_of(scorer: Scorer) -> torch.device:
    if not isinstance(scorer, nn.Module):
        return torch.device('cpu')
    return place(device_of(scorer))


@contextmanager
def _evaluating(scorer: Scorer, device: torch.device | str) -> Iterator[None]:
    # Every module gets its own mode back: a wrapper made for evaluation is
    # in training mode, what it wraps may be frozen.
    if not isinstance(scorer, nn.Module):
        yield
        return
    with sharded([scorer], changed=False):
        modes = [(module, module.training) for module in scorer.modules()]
        scorer.to(device).eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


def plan_memory(
    num_entities: int, batch_size: int, max_memory: int | None
) -> tuple[int, int]:
    r"""Queries at a time and entities at a time that fit a memory limit.

    Three float32 matrices of that size are alive at once (scores, rows of
    targets, the comparison buffer), with some slack for a fourth.
    """
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    cells = (MEMORY if max_memory is None else max_memory) // 16
    if cells < 1:
        raise ValueError(f'max_memory of {max_memory} bytes is too small')
    if min(cells, COLUMNS) >= num_entities:
        return min(batch_size, cells // num_entities), num_entities
    cells = min(cells, COLUMNS)
    # Whole vector widths, so that the product rounds alike in every chunk.
    return 1, cells // 64 * 64 if cells >= 64 else cells


def queries_at_a_time(num_entities: int) -> int:
    r"""How many queries of E entities are answered at a time, so that any
    number of them takes bounded memory.
    """
    return max(1, min(ROWS, CELLS // num_entities))


def _rank_batch(
    scorer: Scorer,
    asked: QueryIndex,
    known: QueryIndex,
    position: Tensor,
    parts: list[slice],
    size: int,
) -> tuple[Tensor, ...]:
    head, rel = asked.head[position], asked.rel[position]
    pairs, true = asked.rows(position), known.lookup(head, rel)
    own = _own_scores(scorer, head, rel)
    if own is not None:
        rivals = _count_together(*own, pairs, true)
        return head[pairs.row], rel[pairs.row], pairs.tail, *rivals
    scores = target_scores = torch.empty(0)
    for part in parts:
        scores = _finite_scores(scorer, head, rel, part, size)
        if part.start == 0:
            target_scores = scores.new_empty(pairs.row.numel())
        inside = _inside(pairs, part)
        column = pairs.tail[inside] - part.start
        target_scores[inside] = scores[pairs.row[inside], column]
    above = equal = torch.zeros_like(pairs.tail)
    for part in parts:
        if len(parts) > 1:
            scores = _finite_scores(scorer, head, rel, part, size)
        inside = _inside(true, part)
        here = Pairs(true.row[inside], true.tail[inside] - part.start)
        rivals = count_rivals(scores, pairs, here, target_scores)
        above, equal = above + rivals[0], equal + rivals[1]
    return head[pairs.row], rel[pairs.row], pairs.tail, above, equal


def _own_scores(
    scorer: Scorer, head: Tensor, rel: Tensor
) -> tuple[Tensor, Shard] | None:
    # Models and their ensembles may be shared by processes, others are whole.
    if count() == 1 or not hasattr(scorer, 'own_scores'):
        return None
    own: tuple[Tensor, Shard] | None = scorer.own_scores(head, rel)
    return own


def _check_together(scores: Tensor, shard: Shard) -> None:
    finite = shard.sum(scores.isfinite().all().float()[None])
    if int(finite) < shard.count:
        raise FloatingPointError('the model gave a non-finite score')


# Above and equal to the targets, where each process counts among its own.
def _count_together(
    scores: Tensor, shard: Shard, pairs: Pairs, true: Pairs
) -> tuple[Tensor, Tensor]:
    _check_together(scores, shard)
    asked, tail = shard.local(pairs.tail)
    target = shard.sum(scores[pairs.row, tail].masked_fill(~asked, 0.0))
    known, tail = shard.local(true.tail)
    here = Pairs(true.row[known], tail[known])
    above, equal = count_rivals(scores, pairs, here, target)
    return shard.sum(above), shard.sum(equal)


def _inside(pairs: Pairs, part: slice) -> Tensor:
    inside = pairs.tail >= part.start
    return inside if part.stop is None else inside & (pairs.tail < part.stop)


def _finite_scores(
    scorer: Scorer, head: Tensor, rel: Tensor, part: slice, size: int
) -> Tensor:
    scores = scorer.score_tails(head, rel, part)
    scores = _checked(scores, head, len(range(*part.indices(size))))
    low, high = scores.aminmax()  # NaN wins both
    if not (low.isfinite() and high.isfinite()):
        row = int((~scores.isfinite()).nonzero()[0, 0])
        raise FloatingPointError(
            f'non-finite score for query (head {int(head[row])}, relation '
            f'{int(rel[row])}); a ranking with NaN would look perfect'
        )
    return scores


def _checked(scores: Tensor, head: Tensor, width: int) -> Tensor:
    # What a scorer gave, as a tensor that may be written to.
    shape = [head.numel(), width]
    if [*scores.shape] != shape:
        raise ValueError(
            f'the scorer gave scores of shape {[*scores.shape]} where '
            f'{shape} (queries, entities) are asked for; is it for another '
            'graph?'
        )
    if not scores.is_floating_point():
        raise ValueError(
            f'the scorer gave scores of {scores.dtype}; ranks need floating '
            'point numbers, such as scores.float()'
        )
    # Of an expanded tensor, many cells are one.
    steps = zip(scores.stride(), shape, strict=True)
    one = any(step == 0 and size > 1 for step, size in steps)
    return scores.clone() if one else scores


@torch.no_grad()
def predict_tails(
    scorer: Scorer,
    head_index: Tensor,
    rel_type: Tensor,
    k: int = 10,
    exclude: QueryIndex | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Scores and ids of the best :obj:`k` tails of each query, best first.
    Memory for scores does not grow with the number of queries.

    Both are :math:`(B, \min(k, E))`; a query with fewer candidates is padded
    with score -inf and tail -1. A head query :math:`(?, r, t)` is asked as
    :math:`(t, r + R, ?)`.

    Args:
        scorer: What is asked.
        head_index: Heads, ``[B]``.
        rel_type: Relations in :math:`0..2R - 1`, ``[B]``.
        k: How many; of equal scores those of the lowest ids come first.
        exclude: Known tails to leave out, so that only new answers remain;
            see :meth:`~dsom_pyg.kg.KG.index`. One that was made by hand must
            tell its sizes.

    Raises:
        FloatingPointError: A score is NaN or infinite.
        ValueError: An id is out of range, :obj:`k` is below 1, or
            :obj:`exclude` is for other numbers of entities or relations than
            the scorer.
    """
    if k < 1:
        raise ValueError(f'k must be positive, got {k}')
    if exclude is not None:
        if exclude.num_entities is None or exclude.num_relations is None:
            raise ValueError(
                'exclude does not tell for how many entities and relations '
                'it is; use KG(data).index(...), or QueryIndex(triples, '
                'num_entities, num_relations)'
            )
        check_sizes(scorer=scorer, exclude=exclude)
    entities, relations = (
        getattr(scorer, size, None) or getattr(exclude, size, None)
        for size in ('num_entities', 'num_relations')
    )
    check_queries(head_index, rel_type, entities, relations)
    device = _device_of(scorer)
    head_index, rel_type = head_index.to(device), rel_type.to(device)
    step = queries_at_a_time(entities or 1)
    batches = zip(head_index.split(step), rel_type.split(step), strict=True)
    with _evaluating(scorer, device):
        parts = [
            _best_tails(scorer, head, rel, k, exclude, entities)
            for head, rel in batches
        ]
    best, tails = (torch.cat(part) for part in zip(*parts, strict=True))
    return best, tails


def _best_tails(
    scorer: Scorer,
    head_index: Tensor,
    rel_type: Tensor,
    k: int,
    exclude: QueryIndex | None,
    entities: int | None,
) -> tuple[Tensor, Tensor]:
    own, shard = _own_scores(scorer, head_index, rel_type), None
    if own is not None:
        scores, shard = own
        _check_together(scores, shard)
    else:
        scores = scorer.score_tails(head_index, rel_type)
        scores = _checked(scores, head_index, entities or scores.size(-1))
        if not scores.isfinite().all():
            raise FloatingPointError('the model gave a non-finite score')
    if exclude is not None:
        known = exclude.to(scores.device).lookup(head_index, rel_type)
        row, tail = known.row, known.tail
        if shard is not None:
            mine, tail = shard.local(tail)
            row, tail = row[mine], tail[mine]
        scores[row, tail] = -torch.inf
    best, tails = highest(scores, k)
    if shard is not None:
        # The best of all are among the best of each process.
        missing = min(k, max(shard.widths)) - best.size(1)
        best = shard.beside(pad(best, (0, missing), value=-torch.inf))
        tails = shard.beside(pad(tails + shard.start, (0, missing)))
        k = min(k, shard.size)  # what is beyond are pads
        best, tails = (x[:, :k] for x in in_order(best, tails))
    return best, tails.masked_fill(best == -torch.inf, -1)
