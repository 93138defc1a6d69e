"""From scores to probabilities, by temperatures fitted on validation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dsom_pyg.completion.asking import Candidates
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.evaluation import Scorer
from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.plots import new_figure
from dsom_pyg.query_index import QueryIndex

# Tried on a logarithmic scale; a parabola through the best gives the rest.
LOWEST, HIGHEST, TRIED = 0.2, 5.0, 25
# A relation with this many validation pairs counts as much as all others.
PRIOR_PAIRS = 50
# Scores of a matrix, at most.
LARGEST = 2**25
BINS = 15


class Confidences(NamedTuple):
    r"""What a model is sure of, for (query, target) pairs of a split; a query
    that nobody may answer has none.

    Shapes:
        - **top:** :math:`(K)`, the probability of the best candidate
        - **hit:** :math:`(K)`, bool, whether it is the target
    """

    top: Tensor
    hit: Tensor

    def error(self, bins: int = BINS) -> float:
        r"""Expected calibration error (`Guo et al.
        <https://arxiv.org/abs/1706.04599>`_, Eq. 3), in 0..1: the mean
        distance of confidence and accuracy over bins of equal width.
        """
        if not len(self.top):
            return float('nan')
        share, confidence, accuracy = self.bins(bins)
        return float((share * (confidence - accuracy).abs()).sum())

    def bins(self, bins: int = BINS) -> tuple[Tensor, Tensor, Tensor]:
        r"""Share of the pairs, mean confidence and accuracy of each bin."""
        at = (self.top * bins).long().clamp(max=bins - 1)
        count = torch.bincount(at, minlength=bins).double()
        some = count.clamp(min=1)
        confidence = torch.bincount(at, self.top.double(), bins) / some
        accuracy = torch.bincount(at, self.hit.double(), bins) / some
        return count / len(self.top), confidence, accuracy


@dataclass(frozen=True, eq=False)
class Calibration:
    r"""Temperatures of the softmax that makes scores probabilities.

    The probability of an answer is its share of the softmax over the
    candidates, known answers left out: how likely it is the answer, given
    that the question has one that is not known. Temperatures are fitted, and
    errors counted, over the candidates that people are shown: what the
    relation takes, see :class:`~dsom_pyg.completion.Ranges`. Where a known
    answer is asked for as well, its own is the share that it would have if it
    alone joined them.

    Args:
        temperature: Of each relation, reciprocals included, ``[2R]``.
        before, after: Expected calibration error on the split it was fitted
            on, with temperature 1 and with these.
        pairs: How many (query, target) pairs it was fitted on.
    """

    temperature: Tensor
    before: float = float('nan')
    after: float = float('nan')
    pairs: int = 0

    @classmethod
    def none(cls, num_relations: int) -> 'Calibration':
        r"""Temperature 1, for a graph without validation triples."""
        return cls(torch.ones(2 * num_relations))

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        scorer: Scorer,
        graph: KG,
        split: str = 'val',
        batch_size: int = 250,
        ranges: Ranges | None = None,
        never: QueryIndex | None = None,
    ) -> 'Calibration':
        r"""Choose the temperatures under which the probability of the best
        candidate tells best how often it is right, by log-loss (`Gupta and
        Ramdas <https://arxiv.org/abs/2107.08353>`_: what people read is that
        of the top label). The likelihood of all targets would sharpen more:
        it also pays for candidates that nobody would be shown.

        Each relation and side has its own, drawn to the shared one as if that
        had been seen in 50 further pairs.

        Args:
            scorer: The model.
            graph: What it was trained on.
            split: Whose pairs it is fitted on.
            batch_size: Queries asked at a time.
            ranges: What relations take. (default: by the train split)
            never: Answers that people have rejected, which nobody is shown.
        """
        size = 2 * graph.num_relations
        tried = torch.logspace(
            _log10(LOWEST), _log10(HIGHEST), TRIED, dtype=torch.float64
        )
        costs = torch.zeros(size, TRIED, dtype=torch.float64)
        count = torch.zeros(size, dtype=torch.float64)
        untouched: list[Tensor] = []
        hits: list[Tensor] = []
        ranges = ranges or _ranges(graph)
        asked = scorer, graph, split, batch_size, ranges, never
        for rel, at_target, rivals in _pairs(*asked):
            hit = at_target > rivals.amax(dim=1)
            untouched.append(_top(at_target, rivals, 1.0).cpu())
            hits.append(hit.cpu())
            tops = [_top(at_target, rivals, t) for t in tried.tolist()]
            log_loss = torch.stack(
                [-torch.where(hit, top, 1 - top).log() for top in tops], dim=1
            )
            costs.index_add_(0, rel.cpu(), log_loss.double().cpu())
            count += torch.bincount(rel.cpu(), minlength=size)
        if not count.sum():
            return cls.none(graph.num_relations)
        shared = costs.sum(dim=0) / count.sum()
        chosen = _lowest(tried, costs + PRIOR_PAIRS * shared)
        made = cls(chosen.float())
        return cls(
            made.temperature,
            Confidences(torch.cat(untouched), torch.cat(hits)).error(),
            made.confidences(*asked).error(),
            int(count.sum()),
        )

    @torch.no_grad()
    def confidences(
        self,
        scorer: Scorer,
        graph: KG,
        split: str = 'test',
        batch_size: int = 250,
        ranges: Ranges | None = None,
        never: QueryIndex | None = None,
    ) -> Confidences:
        r"""How sure the best candidates of a split are, and whether they are
        right. Pairs come by relation. Arguments are those of :meth:`fit`.
        """
        tops, hits = [], []
        ranges = ranges or _ranges(graph)
        asked = scorer, graph, split, batch_size, ranges, never
        for rel, at_target, rivals in _pairs(*asked):
            t = self.temperature.to(rivals.device)[rel]
            tops.append(_top(at_target, rivals, t).cpu())
            hits.append((at_target > rivals.amax(dim=1)).cpu())
        if not tops:
            return Confidences(torch.empty(0), torch.empty(0).bool())
        return Confidences(torch.cat(tops), torch.cat(hits))


def _top(at_target: Tensor, rivals: Tensor, t: Tensor | float) -> Tensor:
    # The probability of the best candidate, [K], away from 0 and 1.
    scores = torch.cat([at_target[:, None], rivals], dim=1)
    top = scores.amax(dim=1)
    if isinstance(t, Tensor):
        t = t[:, None]
    z = ((scores - top[:, None]) / t).exp().sum(dim=1)
    return (1 / z).clamp(1e-6, 1 - 1e-6)


def _log10(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float64).log10())


def _ranges(graph: KG) -> Ranges:
    sizes = graph.num_entities, graph.num_relations
    return Ranges(graph.index('train'), *sizes)


def _pairs(
    scorer: Scorer,
    graph: KG,
    split: str,
    batch_size: int,
    ranges: Ranges,
    never: QueryIndex | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    # Relation and target score of (query, target) pairs, and the scores of
    # their rivals, [K, E]; -inf for who is no candidate.
    asked = graph.index(split)
    # Test takes no part in what is fitted on validation.
    names = ('train', 'val') if split == 'val' else ('train', 'val', 'test')
    size, known = graph.num_entities, graph.index(*names)
    nothing = QueryIndex(Triples.of(()), size, graph.num_relations)
    fits = Candidates(nothing, size, ranges, never=never)
    # Some matrices of so many rows are there at once.
    batch_size = max(1, min(batch_size, LARGEST // size))
    # Queries of a relation come together: they share its range.
    for position in asked.rel.argsort(stable=True).split(batch_size):
        head, rel = asked.head[position], asked.rel[position]
        pairs, true = asked.rows(position), known.lookup(head, rel)
        scores = scorer.score_tails(head, rel)
        fits.bar(scores, head, rel)
        # That of a target which nobody would be shown is -inf.
        targets = scores[pairs.row, pairs.tail]
        scores[true.row, true.tail] = -torch.inf
        for part in torch.arange(len(pairs.row)).split(batch_size):
            row, own = pairs.row[part], targets[part]
            rivals = scores[row]
            some = own.maximum(rivals.amax(dim=1)) > -torch.inf
            yield rel[row[some]], own[some], rivals[some]


def _lowest(tried: Tensor, costs: Tensor) -> Tensor:
    # Where a parabola through the best temperature and its neighbours, on
    # the logarithmic scale, is lowest.
    at = costs.argmin(dim=1).clamp(1, len(tried) - 2)
    rows = torch.arange(len(costs))
    left, mid, right = (costs[rows, at + step] for step in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = torch.where(
        bend > 0, (left - right) / (2 * bend.clamp(min=1e-12)), 0.0
    ).clamp(-1, 1)
    step = tried.log()[1] - tried.log()[0]
    return (tried.log()[at] + shift * step).exp()


def plot_reliability(
    curves: dict[str, Confidences], path: str | Path, bins: int = BINS
) -> None:
    r"""Draw accuracy against confidence, one line for each name, in the
    format that the ending of the path says.

    Raises:
        ImportError: matplotlib is not installed (extra ``plots``).
    """
    figure = new_figure(5, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color='grey', linewidth=1)
    for name, found in curves.items():
        share, confidence, accuracy = found.bins(bins)
        some = share > 0
        label = f'{name}: {100 * found.error(bins):.1f} % off'
        axes.plot(confidence[some], accuracy[some], marker='o', label=label)
    axes.set(
        xlabel='probability of the best answer',
        ylabel='how often it is right',
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend()
    figure.savefig(path)
