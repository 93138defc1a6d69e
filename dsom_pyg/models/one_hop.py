"""Heads that know the triples they are in."""

import torch
from torch import Tensor, nn

from dsom_pyg.models.entity import EntityModule, draw_normal
from dsom_pyg.query_index import QueryIndex, spread
from dsom_pyg.scores.tables import Basis

# How much of a neighbor a message brings at first.
SHARE = 0.1


class OneHop(EntityModule):
    r"""Rows of another module, where a head also gets messages from its
    one-hop neighbors.

    Asked for the tails of :math:`(h, r)`, the row of the head is

    .. math:: x_h + \frac{1}{\sqrt n} \sum_{(h, r', j),\; r' \ne r}
        c_{r'} \circ x_j

    over n triples that the head is in, from either side, with a complex
    product and a trained row :math:`c_{r'}` of each relation and each
    reciprocal. Triples by r itself are left out, and do not count in n: they
    are the answers that a query is trained on, and at test time the one that
    is looked for is not among them. An answer that another relation, or the
    reciprocal of r, brings beside the head is seen, in training and at test
    time alike, if that triple is one of train. Loops are left out as well.
    Candidates keep the rows that they have.

    So a teacher of texts that has nothing of a head itself may know what its
    neighbors are about. Relations alone, without any table of entities, tell
    messages apart (as in `R-GCN <https://arxiv.org/abs/1703.06103>`_ and
    `CompGCN <https://arxiv.org/abs/1911.03082>`_, of one layer).

    Args:
        inner: Gives the rows.
        index: N(h, r) of the training triples, reciprocals included.
        most: Of an entity in more triples so many are drawn, once.
        dropout: How often, in training, :math:`x_h` is left out, so that the
            messages have to do without it.

    Raises:
        ValueError: The index does not tell R, or is of another E.
    """

    by_coordinate = True
    by_query = True
    ptr: Tensor
    rel: Tensor
    tail: Tensor
    known: Tensor | None

    def __init__(
        self,
        inner: EntityModule,
        index: QueryIndex,
        most: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(inner.num_entities, inner.hidden_channels)
        if index.num_relations is None:
            raise ValueError('need an index that tells R, as KG.index does')
        if index.num_entities != inner.num_entities:
            raise ValueError(
                f'the index is of {index.num_entities} entities, the rows '
                f'are of {inner.num_entities}'
            )
        if most < 1:
            raise ValueError(f'most must be positive, got {most}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must lie in [0, 1), got {dropout}')
        self.inner, self.most, self.dropout = inner, most, dropout
        edges = _edges(index, inner.num_entities, most)
        for name, ids in zip(('ptr', 'rel', 'tail'), edges, strict=True):
            self.register_buffer(name, ids, persistent=False)
        self.register_buffer('known', self._known(), persistent=False)
        shape = 2 * index.num_relations, 2 * inner.hidden_channels
        self.weight = nn.Parameter(torch.empty(shape))
        self._draw()

    def _known(self) -> Tensor | None:
        own = self.inner.available
        if own is None:
            return None
        head = torch.arange(self.num_entities).repeat_interleave(
            self.ptr.diff()
        )
        out = own.clone()
        out[head[own[self.tail]]] = True
        return out

    def _draw(self) -> None:
        draw_normal(self.weight, 1e-3)
        if not self.weight.is_meta:
            with torch.no_grad():
                self.weight.chunk(2, dim=1)[0].add_(SHARE)

    @property
    def available(self) -> Tensor | None:
        r"""Entities of which, or of a neighbor of which, something is known,
        bool ``[E]``; None for all.
        """
        return self.known

    def reset_parameters(self) -> None:
        self.inner.reset_parameters()
        self._draw()

    def ends(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self._ends(self.inner, head, rel, tail)

    def _ends(
        self, inner: EntityModule, head: Tensor, rel: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor]:
        start, stop = self.ptr[head], self.ptr[head + 1]
        row, at = spread(start, stop - start)
        other = self.rel[at] != rel[row]
        row, at = row[other], at[other]
        # One gather for all.
        index = torch.cat([head, tail, self.tail[at]])
        sizes = head.numel(), tail.numel(), at.numel()
        heads, tails, near = inner.rows(index).split(sizes)
        messages = self._messages(near, row, at, heads)
        if self.training and self.dropout:
            kept = torch.rand_like(heads[:, :1]) >= self.dropout
            heads = heads * kept
        return heads + messages, tails

    def _messages(
        self, near: Tensor, row: Tensor, at: Tensor, like: Tensor
    ) -> Tensor:
        real, imag = near.chunk(2, dim=1)
        c, s = self.weight[self.rel[at]].chunk(2, dim=1)
        turned = torch.cat([c * real - s * imag, c * imag + s * real], dim=1)
        count = torch.bincount(row, minlength=like.size(0)).clamp(min=1)
        total = torch.zeros_like(like).index_add_(0, row, turned)
        return total / count.to(total).sqrt()[:, None]

    def once(self) -> EntityModule:
        return _Step(self)

    def forward(self) -> Tensor:
        return self.inner()

    def rows(self, index: Tensor) -> Tensor:
        return self.inner.rows(index)

    def coordinates(self, query: Tensor) -> Tensor:
        return self.inner.coordinates(query)

    def basis(self) -> Tensor:
        return self.inner.basis()

    def tables(self) -> list[Basis]:
        return self.inner.tables()

    def table(self) -> Basis:
        return self.inner.table()

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return self.inner.terms(query)


class _Step(OneHop):
    # One step: what the inner module makes of all entities is made once.
    def __init__(self, whole: OneHop) -> None:
        EntityModule.__init__(self, whole.num_entities, whole.hidden_channels)
        self._whole = [whole]  # no child: it is there already
        self.inner = whole.inner.once()

    def ends(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self._whole[0]._ends(self.inner, head, rel, tail)

    def once(self) -> EntityModule:
        return self


def _edges(
    index: QueryIndex, num_entities: int, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    # The triples of each entity, at most so many: where those of entity e
    # begin and end, [E + 1], and their relations and other ends.
    head, rel = index.of_tails()
    # A loop is its own answer from the other side.
    other = head != index.tail
    head, rel, tail = head[other], rel[other], index.tail[other]
    degree = torch.bincount(head, minlength=num_entities)
    if int(degree.max()) > most:
        # The first ones of an order that is drawn.
        drawn = torch.Generator().manual_seed(0)
        order = torch.randperm(head.numel(), generator=drawn)
        order = order[head[order].argsort(stable=True)]
        begin = degree.cumsum(0) - degree
        place = torch.arange(order.numel()) - begin[head[order]]
        kept = order[place < most].sort().values
        head, rel, tail = head[kept], rel[kept], tail[kept]
        degree = degree.clamp(max=most)
    return torch.cat([degree.new_zeros(1), degree.cumsum(0)]), rel, tail
