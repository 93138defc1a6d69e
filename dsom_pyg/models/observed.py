"""What the training triples say by themselves: counts, nothing learned."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.models.base import Model
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex, spread


class Observed(Model):
    r"""Base class of models that count the training triples and learn nothing.

    A subclass gives :meth:`shares`. A score is the logarithm of a share, plus
    :obj:`floor`; of several shares of a candidate the largest counts. Models
    that factorise a graph know such features badly, so both together are
    better than either (`Toutanova and Chen, 2015
    <https://aclanthology.org/W15-4007>`_, who call them observed and latent).

    Scores of a batch are one matrix ``[B, E]``.

    Args:
        index: N(h, r) of the training triples, reciprocals included.

    Raises:
        ValueError: The index does not tell E and R.
    """

    floor = 1e-2

    def __init__(self, index: QueryIndex) -> None:
        entities, relations = index.num_entities, index.num_relations
        if entities is None or relations is None:
            raise ValueError('need an index that tells E and R, as KG.index')
        super().__init__(entities, relations)

    def reset_parameters(self) -> None:
        pass

    def shares(self, head: Tensor, rel: Tensor) -> tuple[Pairs, Tensor]:
        r"""Candidates of queries ``[B]`` and, for each of these K pairs, a
        share in [0, 1], ``[K]``.
        """
        raise NotImplementedError

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        pairs, share = self.shares(head_index, rel_type)
        shape = head_index.numel(), self.num_entities
        out = share.new_zeros(shape)
        place = pairs.row * self.num_entities + pairs.tail
        out.view(-1).scatter_reduce_(0, place, share, 'amax')
        return out[:, entities].add_(self.floor).log_()

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        return {}

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.num_entities} entities)'


class TailFrequency(Observed):
    r"""How often an entity is the answer, whoever the head is: of the queries
    :math:`(\cdot, r)` of train, the share that t answers.
    """

    floor = 1e-4
    ptr: Tensor
    tail: Tensor
    share: Tensor

    def __init__(self, index: QueryIndex) -> None:
        super().__init__(index)
        _, rel = _triples(index)
        size, both = self.num_entities, 2 * self.num_relations
        key, count = torch.unique(rel * size + index.tail, return_counts=True)
        asked = torch.bincount(index.rel, minlength=both)
        self.register_buffer('ptr', _begins(key // size, both), False)
        self.register_buffer('tail', key % size, False)
        self.register_buffer('share', count / asked[key // size], False)

    def shares(self, head: Tensor, rel: Tensor) -> tuple[Pairs, Tensor]:
        start = self.ptr[rel]
        row, at = spread(start, self.ptr[rel + 1] - start)
        return Pairs(row, self.tail[at]), self.share[at]


class OtherLinks(Observed):
    r"""Who is linked to the head by other relations: of the pairs of entities
    that r' links, the share that r links as well, for each r' that links h
    to t in train; the reciprocal of r is another one. Pairs are counted with
    three more that r does not link, so that few cases say little.
    """

    few = 3
    ptr: Tensor
    rel: Tensor
    tail: Tensor
    share: Tensor

    def __init__(self, index: QueryIndex) -> None:
        super().__init__(index)
        head, rel = _triples(index)
        pair = head * self.num_entities + index.tail
        number = pair.unique(return_inverse=True)[1]
        has = _counts(rel, number, 2 * self.num_relations, len(pair))
        both = torch.from_numpy((has @ has.T).toarray())
        alone = both.diag()
        share = both.fill_diagonal_(0) / (alone + self.few)[:, None]
        begins = _begins(head, self.num_entities)
        self.register_buffer('ptr', begins, False)
        self.register_buffer('rel', rel, False)
        self.register_buffer('tail', index.tail, False)
        self.register_buffer('share', share, False)

    def shares(self, head: Tensor, rel: Tensor) -> tuple[Pairs, Tensor]:
        start = self.ptr[head]
        row, at = spread(start, self.ptr[head + 1] - start)
        share = self.share[self.rel[at], rel[row]]
        some = share > 0
        return Pairs(row[some], self.tail[at[some]]), share[some]


class SharedTraits(Observed):
    r"""What entities with a trait of the head answer. A trait of h is the
    relation and the other end of a triple of h: of the entities that share it
    and have answers to r, the share that has t among them. They are counted
    with two more that have others.

    Args:
        index: N(h, r) of the training triples, reciprocals included.
        most: Of an entity in more triples so many are drawn, once, to be
            traits that tell something.
        answers: Of each trait and relation so many answers count, the most
            frequent ones; all were given by two entities or more.
    """

    few = 2
    ptr: Tensor
    trait: Tensor
    key: Tensor
    tail: Tensor
    share: Tensor

    def __init__(
        self, index: QueryIndex, most: int = 64, answers: int = 64
    ) -> None:
        super().__init__(index)
        if most < 1 or answers < 1:
            raise ValueError(
                f'most and answers must be positive, got {most}, {answers}'
            )
        self.most, self.answers = most, answers
        head, rel = _triples(index)
        both = 2 * self.num_relations
        traits, trait = torch.unique(
            rel * self.num_entities + index.tail, return_inverse=True
        )
        some = _drawn(head, most)
        sizes = self.num_entities, len(traits)
        telling = _counts(head[some], trait[some], *sizes)
        given = _counts(head, trait, *sizes)
        asked = _counts(index.head, index.rel, self.num_entities, both)
        # Who has one trait and another, and who has one and is asked for r.
        one, answer, count = _together(telling, given)
        kept = (count >= 2) & (one != answer)
        one, answer, count = one[kept], traits[answer[kept]], count[kept]
        key = one * both + answer // self.num_entities
        has, of, among = _together(telling, asked)
        place = torch.searchsorted(has * both + of, key)
        share = count / (among[place] + self.few)
        order = share.argsort(descending=True)
        order = order[key[order].argsort(stable=True)]
        key, share = key[order], share[order]
        tail = answer[order] % self.num_entities
        first = _place(key) < answers
        begins = _begins(head[some], self.num_entities)
        self.register_buffer('ptr', begins, False)
        self.register_buffer('trait', trait[some], False)
        self.register_buffer('key', key[first], False)
        self.register_buffer('tail', tail[first], False)
        self.register_buffer('share', share[first].float(), False)

    def shares(self, head: Tensor, rel: Tensor) -> tuple[Pairs, Tensor]:
        start = self.ptr[head]
        row, at = spread(start, self.ptr[head + 1] - start)
        key = self.trait[at] * (2 * self.num_relations) + rel[row]
        start = torch.searchsorted(self.key, key)
        stop = torch.searchsorted(self.key, key, right=True)
        which, at = spread(start, stop - start)
        return Pairs(row[which], self.tail[at]), self.share[at]


# The names of teachers of this kind.
OBSERVED = {
    'frequency': TailFrequency,
    'links': OtherLinks,
    'traits': SharedTraits,
}


def _triples(index: QueryIndex) -> tuple[Tensor, Tensor]:
    # Heads and relations of all tails, in their order.
    count = index.ptr.diff()
    head, rel = (x.repeat_interleave(count) for x in (index.head, index.rel))
    return head, rel


def _begins(ids: Tensor, size: int) -> Tensor:
    # Where those of each id begin and end, of ascending ones, [size + 1].
    return torch.searchsorted(ids, torch.arange(size + 1))


def _place(ids: Tensor) -> Tensor:
    # Of ascending ids, how many of the same come before.
    _, count = ids.unique_consecutive(return_counts=True)
    begin = count.cumsum(0) - count
    return torch.arange(ids.numel()) - begin.repeat_interleave(count)


def _drawn(ids: Tensor, most: int) -> Tensor:
    # Places of at most so many of each of some ascending ids, ascending.
    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(ids.numel(), generator=drawn)
    order = order[ids[order].argsort(stable=True)]
    return order[_place(ids) < most].sort().values


def _counts(row: Tensor, column: Tensor, rows: int, columns: int) -> Any:
    from scipy import sparse

    # How often each row and column come together, a sparse matrix.
    ones = np.ones(len(row), dtype=np.float32)
    places = row.numpy(), column.numpy()
    return sparse.csr_array((ones, places), shape=(rows, columns))


def _together(one: Any, other: Any) -> tuple[Tensor, Tensor, Tensor]:
    # A column of each of two matrices, ascending, and how many rows have both.
    both = (one.T @ other).tocsr()
    both.sort_indices()
    both = both.tocoo()
    row, column, count = (
        torch.from_numpy(x.copy()) for x in (both.row, both.col, both.data)
    )
    return row.long(), column.long(), count
