"""What a combiner decided, asked once and looked up."""

from collections.abc import Callable

import torch
from torch import Tensor

from dsom_pyg.graph import check_queries, check_sizes
from dsom_pyg.query_index import Queries, QueryIndex
from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.teachers.combiner import Combiner
from dsom_pyg.teachers.ensemble import TeacherEnsemble

# Bytes that the logits of all teachers may take, and as much again for what
# a combiner makes of them.
MEMORY = 2**30


def queries_at_once(
    ensemble: TeacherEnsemble, wide: bool, most: int = 500
) -> int:
    r"""How many queries to put to teachers at a time.

    Args:
        ensemble: The teachers.
        wide: All logits are looked at side by side: fewer queries, where
            those of all teachers would take more than a GiB.
        most: At most so many.
    """
    if not wide:
        return most
    row = 4 * ensemble.num_entities * len(ensemble)
    return max(1, min(most, MEMORY // row))


@torch.no_grad()
def ask(
    combiner: Combiner,
    ensemble: TeacherEnsemble,
    queries: Queries,
    seen: QueryIndex,
    batch_size: int = 500,
    precision: str = 'fp32',
    step: Callable[[], None] | None = None,
) -> Tensor:
    r"""The weights that a combiner gives to queries, ``[Q, M]``.

    Args:
        combiner: What decides; it is put in evaluation mode.
        ensemble: Its teachers.
        queries: What is asked.
        seen: Training tails of the teachers by query.
        batch_size: Queries at a time, at most, see :func:`queries_at_once`.
        precision: Of the matrix products.
        step: Called after each batch.
    """
    check_sizes(teachers=ensemble, combiner=combiner, seen=seen)
    sizes = ensemble.num_entities, ensemble.num_relations
    check_queries(queries.head, queries.rel, *sizes)
    combiner.eval()
    parts = []
    both = torch.stack([queries.head, queries.rel])
    size = queries_at_once(ensemble, combiner.wide, batch_size)
    for head, rel in both.split(size, dim=1):
        context = Context(seen=seen.lookup(head, rel))
        answers = Answers(ensemble, head, rel, precision, context)
        parts.append(combiner.weights(answers))
        if step is not None:
            step()
    return torch.cat(parts)


class Lookup(Combiner):
    r"""What another combiner decided, looked up.

    A combiner that no longer learns gives a query the same weights in every
    epoch. Asking it once saves reading the teachers' logits one by one in
    every step of a distillation.

    Args:
        head, rel: Distinct queries, ``[Q]``.
        weights: Of each query and teacher, ``[Q, M]``. Other queries get
            their mean.

    Raises:
        ValueError: There is no query, one comes twice, an id is out of range,
            or there are not as many weights.
    """

    wide = False
    keys: Tensor
    table: Tensor

    def __init__(self, head: Tensor, rel: Tensor, weights: Tensor) -> None:
        super().__init__()
        check_queries(head, rel, None, None)
        if not len(head) or len(weights) != len(head):
            raise ValueError(
                f'need weights of one query or more, got {len(weights)} for '
                f'{len(head)} queries'
            )
        self.num_rels = int(rel.max()) + 1
        # Keys of narrower integers would overflow.
        keys, order = (head.long() * self.num_rels + rel).sort()
        if bool((keys[1:] == keys[:-1]).any()):
            raise ValueError('a query has several weights')
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
        step: Callable[[], None] | None = None,
    ) -> 'Lookup':
        r"""Ask a combiner once about all queries of a distillation: those of
        :obj:`seen` and the unlabeled ones. For the arguments see :func:`ask`.
        """
        head, rel = seen.head, seen.rel
        if unlabeled is not None:
            head = torch.cat([head, unlabeled.head])
            rel = torch.cat([rel, unlabeled.rel])
        asked = (combiner, ensemble, Queries(head, rel), seen)
        return cls(head, rel, ask(*asked, batch_size, precision, step))

    # No attribute: those tell runs apart.
    @property
    def signed(self) -> bool:  # type: ignore[override]
        r"""Whether some weights are negative."""
        return bool((self.table < 0).any())

    def weights(self, answers: Answers) -> Tensor:
        key = answers.head.long() * self.num_rels + answers.rel
        at = torch.searchsorted(self.keys, key)
        known = self.keys[at.clamp(max=self.keys.numel() - 1)] == key
        known &= answers.rel < self.num_rels
        # The last row of the table is the mean.
        return self.table[at.where(known, self.keys.numel())]
