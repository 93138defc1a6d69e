"""What the training triples say by themselves: counts, nothing learned."""

import numpy as np
import torch
from torch import Tensor

from dsom_pyg.models.base import Model
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex, spread


class Observed(Model):
    r"""Base class of models that count the training triples and learn nothing.

    A subclass gives :meth:`shares`. A score is the logarithm of a share, plus
    :obj:`floor`; of several shares of a candidate the largest counts. Models
    that factorise a graph know such features badly, so both together may be
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
        raise ValueError(
            f'{type(self).__name__} counts and learns nothing; name it in '
            'Teachers(observed=...)'
        )

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
        rel = index.of_tails().rel
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
    three more that r does not link, so that few cases say little. Holds
    :math:`4 R^2` numbers.

    From FB15k-237 whatever such links tell was taken away: no pair of
    validation or test is linked in train. There they mislead a policy that
    learns from train.
    """

    few = 3
    ptr: Tensor
    rel: Tensor
    tail: Tensor
    share: Tensor

    def __init__(self, index: QueryIndex) -> None:
        super().__init__(index)
        head, rel = index.of_tails()
        pair = head * self.num_entities + index.tail
        both = _pairs_in_both(rel, pair, 2 * self.num_relations)
        alone = both.diagonal().clone()
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


# The names of teachers of this kind.
OBSERVED = {'frequency': TailFrequency, 'links': OtherLinks}


def _begins(ids: Tensor, size: int) -> Tensor:
    # Where those of each id begin and end, of ascending ones, [size + 1].
    return torch.searchsorted(ids, torch.arange(size + 1))


def _pairs_in_both(rel: Tensor, pair: Tensor, size: int) -> Tensor:
    # How many pairs of entities two relations have in common, [size, size].
    from scipy import sparse

    number = pair.unique(return_inverse=True)[1]
    ones = np.ones(len(rel), dtype=np.float32)
    places = rel.numpy(), number.numpy()
    has = sparse.csr_array((ones, places), shape=(size, len(pair)))
    return torch.from_numpy((has @ has.T).toarray())
