"""What a combiner decided, asked once and looked up."""

import torch
from torch import Tensor

from dsom_pyg.query_index import Queries, QueryIndex
from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.teachers.combiner import Combiner
from dsom_pyg.teachers.ensemble import TeacherEnsemble


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
        context = Context(seen=seen.lookup(h, r))
        answers = Answers(ensemble, h, r, precision, context)
        parts.append(combiner.weights(answers))
    return torch.cat(parts)


class Lookup(Combiner):
    r"""What another combiner decided, looked up.

    A combiner that no longer learns gives a query the same weights in every
    epoch. Asking it once saves reading the teachers' logits one by one in
    every step of a distillation.

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
    ) -> 'Lookup':
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

    def weights(self, answers: Answers) -> Tensor:
        key = answers.head.long() * self.num_rels + answers.rel
        at = torch.searchsorted(self.keys, key)
        known = self.keys[at.clamp(max=self.keys.numel() - 1)] == key
        known &= answers.rel < self.num_rels
        # The last row of the table is the mean.
        return self.table[at.where(known, self.keys.numel())]
