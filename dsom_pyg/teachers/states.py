"""What a policy looks at: the state of Eq. 5, in three forms."""

import math
from itertools import permutations

import torch
from torch import Tensor, nn

from dsom_pyg.kg import KG
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.scores.chunks import (
    NEG_INF,
    Highest,
    InChunks,
    Moments,
    Sums,
    finite_or_0,
)
from dsom_pyg.scores.sources import KEEP
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.ensemble import TeacherEnsemble


class State(nn.Module):
    r"""Base class. A subclass gives :meth:`forward` and its width. One that is
    made for some E or R alone should tell them by :obj:`num_entities` and
    :obj:`num_relations`.

    Args:
        out_channels: S, how many numbers describe a query.
    """

    same_for_all_folds = True
    r"""Whether the numbers mean the same for teachers that were trained
    apart, so that a policy may learn from some and judge others.
    """

    drawn_last = False
    r"""Whether a policy draws its first layer after its last one."""

    wide = True
    r"""As of a :class:`~dsom_pyg.teachers.Combiner`."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels

    @classmethod
    def for_teachers(cls, ensemble: TeacherEnsemble, graph: KG) -> 'State':
        r"""A state of the right size for these teachers on this graph."""
        raise NotImplementedError

    def forward(self, answers: Answers) -> Tensor:
        r"""The state of each query, ``[B, S]``, whatever its target. What
        it costs to read the logits is paid once for a query, not in every
        epoch, if that goes through :meth:`Answers.once
        <dsom_pyg.teachers.Answers.once>`.
        """
        raise NotImplementedError


class LogitState(State):
    r"""The logits of all teachers as they are (Eq. 5): :math:`M E` numbers."""

    def __init__(self, num_teachers: int, num_entities: int) -> None:
        super().__init__(num_teachers * num_entities)

    @classmethod
    def for_teachers(cls, ensemble: TeacherEnsemble, graph: KG) -> State:
        return cls(len(ensemble), ensemble.num_entities)

    def forward(self, answers: Answers) -> Tensor:
        stacked = torch.stack(answers.each).transpose(0, 1)
        return stacked.flatten(start_dim=1)


class QueryState(State):
    r"""What the logits of Eq. 5 depend on, for teachers that are dot products.

    The logits of a teacher are :math:`F^m = B^m c^m` with a frozen basis
    :math:`B^m` and coordinates :math:`c^m` of the query (its query vector, or
    that projected onto the features). So a first layer :math:`W_m` over the
    logits is :math:`W_m F^m = (W_m B^m) c^m`, and can be stored as
    :math:`V_m = W_m B^m`. Where the basis has full column rank, both forms
    describe the same functions; after :meth:`fold` they start from the same
    distribution, and this one costs a small fraction. Only the path of the
    optimiser differs.

    Raises:
        ValueError: A teacher is no dot product, so it has no basis.
    """

    same_for_all_folds = False
    wide = False

    def __init__(self, ensemble: TeacherEnsemble) -> None:
        super().__init__(sum(basis.size(1) for basis in _bases(ensemble)))

    @classmethod
    def for_teachers(cls, ensemble: TeacherEnsemble, graph: KG) -> State:
        return cls(ensemble)

    @torch.no_grad()
    def forward(self, answers: Answers) -> Tensor:
        teachers = answers.ensemble.bilinear
        assert teachers is not None
        parts = [t.coordinates(answers.head, answers.rel) for t in teachers]
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def fold(self, first: nn.Linear, ensemble: TeacherEnsemble) -> None:
        r"""Draw a first layer as if it read the logits:
        :math:`V_m = W_m B^m`, W drawn as :class:`torch.nn.Linear` draws it.
        """
        bound = (ensemble.num_entities * len(ensemble)) ** -0.5
        blocks = []
        # Of many entities never all weights at once.
        step = max(1, KEEP // first.out_features)
        for basis in _bases(ensemble):
            products = []
            for part in basis.split(step):
                w = part.new_empty(first.out_features, len(part))
                products.append(w.uniform_(-bound, bound) @ part)
            blocks.append(torch.stack(products).sum(dim=0))
        first.weight.copy_(torch.cat(blocks, dim=1))
        nn.init.uniform_(first.bias, -bound, bound)


def _bases(ensemble: TeacherEnsemble) -> list[Tensor]:
    teachers = ensemble.bilinear
    if teachers is None:
        raise ValueError(
            'QueryState needs teachers whose scores are dot products '
            '(dsom_pyg.models.Bilinear); use LogitState or CompactState'
        )
    return [teacher.entities.basis() for teacher in teachers]


class CompactState(State):
    r"""A state whose size does not grow with E.

    For each teacher: the entropy of its answer, how far its best logits
    lie from the best one, how far that lies from the mean, and the spread of
    all. For each ordered pair of teachers: what the second thinks of the
    favourites of the first, and how many favourites they share. Of the
    query: which modalities its head has, how often the head occurs in train,
    how many answers are known, and a learned vector of its relation.

    Answers that the teachers were trained on (``Context.seen``) are left
    out: their logits say what was memorised, not how the rest will be
    answered.

    Args:
        num_teachers: M.
        num_relations: R.
        degree: How often each entity occurs in a training triple, ``[E]``.
            Answers of teachers that saw less bring their own.
        k: How many of the best logits count.
        relation_channels: Width of the vector of a relation.
    """

    drawn_last = True
    wide = False
    degree: Tensor
    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(
        self,
        num_teachers: int,
        num_relations: int,
        degree: Tensor,
        k: int = 10,
        relation_channels: int = 32,
    ) -> None:
        k = min(k, degree.numel())
        pairs = num_teachers * (num_teachers - 1)
        width = num_teachers * (k + 3) + pairs * (k + 1) + 3
        super().__init__(width + num_teachers + relation_channels)
        self.k, self.relation_channels = k, relation_channels
        self.register_buffer(
            'degree', degree.to(torch.get_default_dtype()), persistent=False
        )
        # Moments of all numbers seen in training: scales differ by teacher.
        self.register_buffer('count', torch.zeros(()))
        self.register_buffer('mean', torch.zeros(width))
        self.register_buffer('square', torch.zeros(width))
        self.relation = nn.Embedding(2 * num_relations, relation_channels)
        nn.init.normal_(self.relation.weight, std=0.1)

    @property
    def num_entities(self) -> int:
        r"""E."""
        return self.degree.numel()

    @property
    def num_relations(self) -> int:
        r"""R."""
        return self.relation.num_embeddings // 2

    @classmethod
    def for_teachers(cls, ensemble: TeacherEnsemble, graph: KG) -> State:
        return cls(len(ensemble), graph.num_relations, graph.degree)

    def forward(self, answers: Answers) -> Tensor:
        numbers = answers.once(self, lambda: self._numbers(answers))
        with torch.no_grad():
            numbers = self._normalised(numbers)
        available = answers.available.to(torch.get_default_dtype())
        relation = self.relation(answers.rel)
        return torch.cat([numbers, available, relation], dim=1)

    def _numbers(self, answers: Answers) -> Tensor:
        parts = [self._of_teachers(answers), self._of_query(answers)]
        return torch.cat(parts, dim=1)

    def _normalised(self, numbers: Tensor) -> Tensor:
        if self.training and len(numbers):
            self.count += len(numbers)
            share = len(numbers) / self.count
            self.mean += share * (numbers.mean(dim=0) - self.mean)
            square = numbers.square().mean(dim=0)
            self.square += share * (square - self.square)
        var = (self.square - self.mean.square()).clamp(min=1e-6)
        return ((numbers - self.mean) * var.rsqrt()).clamp(-5.0, 5.0)

    def _of_teachers(self, answers: Answers) -> Tensor:
        streams, seen = answers.streams, answers.context.seen
        each = [_Summary(scores, seen, self.k) for scores in streams]
        parts = []
        for one in each:
            parts.append(torch.stack([one.entropy, one.lead, one.spread], 1))
            parts.append(one.margins)
        # Somebody who does not know the head has no favourites.
        knows = answers.available.to(torch.get_default_dtype())
        opinions = [
            self._opinions(at, streams, each) for at in range(len(each))
        ]
        for a, b in permutations(range(len(each)), 2):
            both = (knows[:, a] * knows[:, b])[:, None]
            parts.append(both * opinions[b][a])
            same = each[a].best[:, :, None] == each[b].best[:, None, :]
            shared = same.flatten(1).sum(dim=1, keepdim=True) / self.k
            parts.append(both * shared)
        return torch.cat(parts, dim=1)

    def _opinions(
        self, at: int, streams: list[Scores], each: list['_Summary']
    ) -> list[Tensor]:
        # What a teacher thinks of the favourites of each, M times [B, k].
        tail = torch.stack([one.best for one in each], dim=1)
        row = torch.arange(len(tail), device=tail.device)
        row = row[:, None, None].expand_as(tail)
        pairs = Pairs(row.flatten(), tail.flatten())
        scores = streams[at].at(pairs).view(tail.shape)
        top = each[at].top[:, :1]
        # Of favourites that were seen nothing is left, as where all were seen.
        return [
            (found.masked_fill(one.top == -torch.inf, -torch.inf) - top)
            .nan_to_num()
            .clamp(min=-100.0)
            for found, one in zip(scores.unbind(dim=1), each, strict=True)
        ]

    def _of_query(self, answers: Answers) -> Tensor:
        count, seen = torch.zeros_like(answers.head), answers.context.seen
        if seen is not None:
            count = seen.count(len(answers))
        degree = answers.context.degree
        if degree is None:
            degree = self.degree[answers.head]
        known = [count.log1p(), (count == 0).to(torch.get_default_dtype())]
        return torch.stack([degree.log1p(), *known], dim=1)


class _Summary:
    # What a teacher says in all, [B] and [B, k], without the answers seen.
    def __init__(self, scores: Scores, seen: Pairs | None, k: int) -> None:
        source = scores.source
        pairs = None
        if seen is not None:
            pairs = InChunks(seen.row, seen.tail, source)
        sums, best = Sums(source), Highest(source, k)
        moments, room = Moments(source), source.room()
        for some, chunk in source.walk(change=pairs is not None):
            if pairs is not None:
                pairs.put(some, chunk, NEG_INF)
            sums.add(chunk, finite_or_0(chunk, room.take(chunk.shape)))
            best.add(some, chunk)
            moments.add(chunk)
        for part in (sums, best, moments):
            part.join()
        entropy = sums.log() - sums.mean()
        width = math.log(max(2, scores.shape[1]))
        self.entropy = entropy.masked_fill(sums.total == 0, 0.0) / width
        self.top, self.best = best.values, best.ids
        first = self.top[:, 0].clamp(min=-1e4)
        self.lead, self.spread = first - moments.mean, moments.deviation()
        # Seen answers stand where nothing else is left.
        self.margins = (self.top - first[:, None]).clamp(min=-100.0)
