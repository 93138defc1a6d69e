"""What a policy looks at, in few numbers whatever the number of entities."""

import math
from itertools import permutations

import torch
from torch import Tensor, nn

from dsom_pyg.nn.ensemble import TeacherBatch


class CompactState(nn.Module):
    r"""A state whose size does not grow with E.

    For each teacher: the entropy of its answer, how far its best logits
    lie from the best one (the second of these is the margin), how far the
    best lies from the mean, and the spread of all. For each ordered pair of
    teachers: what the second thinks of the favourites of the first, and how
    many favourites they share. Of the query: which modalities its head has,
    how often the head occurs in train, how many answers are known, and a
    learned vector of its relation. Nothing depends on the target.

    Answers that the teachers were trained on (``TeacherBatch.seen``) are left
    out: their logits say what was memorised, not how the rest will be
    answered.

    Args:
        num_teachers: M.
        num_relations: R.
        degree: How often each entity occurs in a training triple; a batch of
            teachers that saw less brings its own.
        k: How many of the best logits count. (default: :obj:`10`)
        relation_channels: Width of the vector of a relation.
            (default: :obj:`32`)

    Shapes:
        - **degree:** :math:`(E)`
        - **output:** :math:`(B, S)`, S = :attr:`out_channels`
    """

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
        super().__init__()
        self.k = min(k, degree.numel())
        self.relation_channels = relation_channels
        self.register_buffer('degree', degree.float(), persistent=False)
        pairs = num_teachers * (num_teachers - 1)
        self._width = num_teachers * (self.k + 3) + pairs * (self.k + 1) + 3
        # Moments of all numbers seen in training: scales differ by teacher.
        self.register_buffer('count', torch.zeros(()))
        self.register_buffer('mean', torch.zeros(self._width))
        self.register_buffer('square', torch.zeros(self._width))
        self.relation = nn.Embedding(2 * num_relations, relation_channels)
        nn.init.normal_(self.relation.weight, std=0.1)
        self.out_channels = self._width + num_teachers + relation_channels

    def forward(self, batch: TeacherBatch) -> Tensor:
        with torch.no_grad():
            numbers = torch.cat([*self._said(batch), self._known(batch)], 1)
            numbers = self._normalised(numbers)
        available = batch.available.float()
        return torch.cat([numbers, available, self.relation(batch.rel)], dim=1)

    def _normalised(self, numbers: Tensor) -> Tensor:
        if self.training and len(numbers):
            self.count += len(numbers)
            share = len(numbers) / self.count
            self.mean += share * (numbers.mean(dim=0) - self.mean)
            square = numbers.square().mean(dim=0)
            self.square += share * (square - self.square)
        var = (self.square - self.mean.square()).clamp(min=1e-6)
        return ((numbers - self.mean) * var.rsqrt()).clamp(-5.0, 5.0)

    def _said(self, batch: TeacherBatch) -> list[Tensor]:
        logits = [self._unseen(x, batch) for x in batch.each]
        parts, best = [], []
        for x in logits:
            top, where = x.topk(self.k, dim=1)
            mean, std = _moments(x)
            log_p = x.log_softmax(dim=1)
            # A seen answer has p = 0: 0 * -inf counts as 0.
            p_log_p = log_p.exp() * log_p.clamp(min=-1e4)
            entropy = -p_log_p.sum(dim=1) / math.log(x.size(1))
            first = top[:, 0].clamp(min=-1e4)
            entropy = entropy.nan_to_num()
            parts.append(torch.stack([entropy, first - mean, std], dim=1))
            margins = (top - first[:, None]).clamp(min=-100.0)
            parts.append(margins.nan_to_num())  # nothing left to answer
            best.append(where)
        # Somebody who does not know the head has no favourites.
        knows = batch.available.float()
        for a, b in permutations(range(len(logits)), 2):
            x = logits[b]
            opinion = x.gather(1, best[a]) - x.amax(dim=1, keepdim=True)
            opinion = opinion.nan_to_num()
            same = best[a][:, :, None] == best[b][:, None, :]
            both = (knows[:, a] * knows[:, b])[:, None]
            parts.append(both * opinion.clamp(min=-100.0))
            shared = same.flatten(1).sum(dim=1, keepdim=True) / self.k
            parts.append(both * shared)
        return parts

    def _known(self, batch: TeacherBatch) -> Tensor:
        count = torch.zeros_like(batch.head)
        if batch.seen is not None:
            count = batch.seen.count(len(batch))
        degree = batch.degree
        if degree is None:
            degree = self.degree[batch.head]
        return torch.stack(
            [degree.log1p(), count.log1p(), (count == 0).float()], dim=1
        )

    @staticmethod
    def _unseen(logits: Tensor, batch: TeacherBatch) -> Tensor:
        if batch.seen is None:
            return logits
        at = (batch.seen.row, batch.seen.tail)
        minus_inf = logits.new_full((), -torch.inf)
        return logits.index_put(at, minus_inf)


def _moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    # Mean and deviation of each row, over the entities that are left in.
    left = logits > -torch.inf
    count = left.sum(dim=1).clamp(min=1)
    logits = logits.masked_fill(~left, 0.0)
    mean = logits.sum(dim=1) / count
    centred = (logits - mean[:, None]).masked_fill(~left, 0.0)
    return mean, (centred.square().sum(dim=1) / count).sqrt()
