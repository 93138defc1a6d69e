"""Weights of the teachers, fitted on triples that they have not seen."""

import torch
from torch import Tensor, nn

from dsom_pyg.nn.combiners import (
    Combination,
    Combiner,
)
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble
from dsom_pyg.nn.outcome import combined_cross_entropy
from dsom_pyg.query_index import Pairs, Queries, QueryIndex


class WeightedCombiner(Combiner):
    r"""A weight for each teacher, or for each teacher and relation.

    The combined logits are :math:`\sum_m w_{m,r} F^m` with positive weights
    that need not sum to 1: a weight is the inverse temperature of its
    teacher as well, so the combination is calibrated. Weights are meant to
    be learned (by :class:`~dsom_pyg.training.PolicyTask`) from the
    cross-entropy of held-out triples.

    Relations with few such triples would fit noise. So the logarithm of
    :math:`w_{m,r}` is a global one plus an offset, and the offsets have a
    Gaussian prior: what is minimised is

    .. math::
        \frac{1}{K} \Big(\sum_k CE_k +
        \lambda \sum_{m,r} o_{m,r}^2\Big)

    over all K pairs, spread over the batches in which a relation occurs.

    Args:
        num_teachers: M.
        counts: Held-out (query, tail) pairs of each relation, reciprocals
            included; :obj:`None` for one weight a teacher, which is a
            calibrated mean. (default: :obj:`None`)
        shrinkage: :math:`\lambda`. (default: :obj:`10.0`)
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`False`)

    Shapes:
        - **counts:** :math:`(2R)`
    """

    counts: Tensor

    def __init__(
        self,
        num_teachers: int,
        counts: Tensor | None = None,
        shrinkage: float = 10.0,
        mask_missing: bool = False,
    ) -> None:
        super().__init__()
        self.shrinkage, self.mask_missing = shrinkage, mask_missing
        start = torch.full((num_teachers,), 1 / num_teachers).log()
        self.log_weight = nn.Parameter(start)
        self.offset = None
        if counts is not None:
            zeros = torch.zeros(counts.numel(), num_teachers)
            self.offset = nn.Parameter(zeros)
            counts = counts.clamp(min=1).float()
            self.register_buffer('counts', counts, persistent=False)

    def weights(self, batch: TeacherBatch) -> Tensor:
        log_weight = self.log_weight.expand(len(batch), -1)
        if self.offset is not None:
            log_weight = log_weight + self.offset[batch.rel]
        weights = log_weight.exp()
        if not self.mask_missing:
            return weights
        # Nobody available: better all than nothing.
        mask = batch.available | ~batch.available.any(dim=1, keepdim=True)
        return weights * mask

    def forward(
        self,
        batch: TeacherBatch,
        targets: Pairs | None = None,
        student_logits: Tensor | None = None,
    ) -> Combination:
        weights = self.weights(batch)
        loss = None
        metrics = {}
        if self.training and weights.requires_grad and targets is not None:
            ce = combined_cross_entropy(
                weights, batch.each, targets, batch.known
            ).mean()
            loss = ce + self._penalty(batch, targets)
            metrics = {'ce': ce.detach()}
        weights = weights.detach()
        logits = batch.combine(weights)
        return Combination(logits, weights, loss, metrics)

    def _penalty(self, batch: TeacherBatch, targets: Pairs) -> Tensor:
        if self.offset is None:
            return self.log_weight.new_zeros(())
        # Each pair carries its share of the prior of its relation.
        rel = batch.rel[targets.row]
        squares = self.offset.square().sum(dim=1) / self.counts
        return self.shrinkage * squares[rel].mean()


@torch.no_grad()
def ask(
    combiner: Combiner,
    ensemble: TeacherEnsemble,
    queries: Queries,
    seen: QueryIndex,
    batch_size: int = 500,
    precision: str = 'fp32',
) -> Tensor:
    r"""The weights that a combiner gives to queries, ``[Q, M]``.

    Args:
        combiner: What decides; it is put in evaluation mode.
        ensemble: Its teachers.
        queries: The queries.
        seen: Training tails of the teachers by query.
        batch_size: Queries at a time. (default: :obj:`500`)
        precision: Of the matrix products. (default: ``'fp32'``)
    """
    combiner.eval()
    parts = []
    for h, r in zip(
        queries.head.split(batch_size),
        queries.rel.split(batch_size),
        strict=True,
    ):
        batch = TeacherBatch(ensemble, h, r, precision, seen=seen.lookup(h, r))
        parts.append(combiner.weights(batch))
    return torch.cat(parts)


class QueryWeights(Combiner):
    r"""What another combiner decided, looked up.

    A combiner that no longer learns gives a query the same weights in every
    epoch; deciding once and for all saves reading the teachers' logits one
    by one in every step of a distillation.

    Args:
        head, rel: Distinct queries.
        weights: Of each query and teacher. Other queries get their mean.

    Shapes:
        - **head, rel:** :math:`(Q)`
        - **weights:** :math:`(Q, M)`
    """

    keys: Tensor
    table: Tensor

    def __init__(self, head: Tensor, rel: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.num_rels = int(rel.max()) + 1
        keys, order = (head * self.num_rels + rel).sort()
        rows = [weights[order], weights.mean(dim=0, keepdim=True)]
        self.register_buffer('keys', keys)
        self.register_buffer('table', torch.cat(rows))

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        combiner: Combiner,
        ensemble: TeacherEnsemble,
        seen: QueryIndex,
        unlabeled: Queries | None = None,
        batch_size: int = 500,
        precision: str = 'fp32',
    ) -> 'QueryWeights':
        r"""Ask a combiner once about all queries of a distillation.

        Args:
            combiner: What decides; it is put in evaluation mode.
            ensemble: Its teachers.
            seen: Their training tails by query: all of these queries are
                asked about.
            unlabeled: Further queries. (default: none)
            batch_size: Queries at a time. (default: :obj:`500`)
            precision: Of the matrix products. (default: ``'fp32'``)
        """
        head, rel = seen.head, seen.rel
        if unlabeled is not None:
            head = torch.cat([head, unlabeled.head])
            rel = torch.cat([rel, unlabeled.rel])
        queries = Queries(head, rel)
        asked = (combiner, ensemble, queries, seen, batch_size, precision)
        return cls(head, rel, ask(*asked))

    def weights(self, batch: TeacherBatch) -> Tensor:
        key = batch.head.long() * self.num_rels + batch.rel
        at = torch.searchsorted(self.keys, key)
        known = self.keys[at.clamp(max=self.keys.numel() - 1)] == key
        known &= batch.rel < self.num_rels
        # The last row of the table is the mean.
        return self.table[at.where(known, self.keys.numel())]
