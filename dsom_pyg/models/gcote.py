"""OTE and GC-OTE: relations turn blocks of coordinates."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsom_pyg.graph import Triples, check_triples
from dsom_pyg.models.entity import EntityModule
from dsom_pyg.models.kge import KGE
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.scatter import softmax


class OTE(KGE):
    r"""Orthogonal transform embedding (`Tang et al.
    <https://arxiv.org/abs/1911.04910>`_, 2020): :math:`-\sum_g \lVert f_r(h)_g
    - t_g \rVert_2` over blocks g of :obj:`block` coordinates.

    A relation has an orthogonal matrix Q, and a scale :math:`e^c` a
    coordinate: :math:`f_r(x) = x \, \mathrm{diag}(e^c) \, Q`. The reciprocal
    of a relation is its inverse.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        block: Coordinates of a block; it divides :math:`2D`.
        as_coded: The inverse is :math:`x \, \mathrm{diag}(e^{-c}) \, Q^T`, as
            in the code of the authors, which inverts only where all scales of
            a block are equal.
        scale: Standard deviation of the initial c.
        objective: See :class:`~dsom_pyg.models.KGE`.
    """

    # How many vectors of a pair are compared.
    _compared = 1

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        block: int = 4,
        as_coded: bool = False,
        scale: float = 0.0,
        objective: Objective = CROSS_ENTROPY,
    ) -> None:
        width = 2 * entities.hidden_channels
        if block < 1 or width % block:
            raise ValueError(
                f'block must divide the {width} coordinates, got {block}'
            )
        super().__init__(
            entities,
            num_relations,
            scale=scale,
            objective=objective,
            reciprocals=False,
            relation_channels=width * (block + 1),
        )
        self.block, self.as_coded = block, as_coded
        self.reset_relations()

    def options(self) -> dict[str, Any]:
        return {'block': self.block, 'as_coded': self.as_coded}

    @property
    def width(self) -> int:
        r"""Coordinates of an entity, :math:`2D`."""
        return 2 * self.hidden_channels

    @torch.no_grad()
    def reset_relations(self) -> None:
        r"""Draw the matrices and the logarithms of scales."""
        if not self.relations.is_meta:
            nn.init.uniform_(self.relations)
            self.relations[:, -self.width :].normal_(std=self.scale)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.reset_relations()

    def inverse(self, rel: Tensor) -> Tensor:
        raise NotImplementedError  # relation_rows knows it

    def relation_rows(self, rel_type: Tensor) -> Tensor:
        r"""What maps ``x`` to :math:`((x \cdot a) M) \cdot b`: M, a and b of
        each relation, ``[B, 2D (block + 2)]``.
        """
        raw = self.relations[rel_type % self.num_relations]
        log = raw[:, -self.width :]
        matrix = orthonormal(self._blocks(raw[:, : -self.width]))
        turned = rel_type >= self.num_relations
        one = torch.zeros_like(log)
        back = (-log, one) if self.as_coded else (one, -log)
        there = turned[:, None]
        before = torch.where(there, back[0], log).exp()
        after = torch.where(there, back[1], one).exp()
        matrix = torch.where(
            turned[:, None, None, None], matrix.transpose(-1, -2), matrix
        )
        return torch.cat([matrix.flatten(1), before, after], dim=1)

    def _blocks(self, flat: Tensor) -> Tensor:
        # Matrices [..., G, block, block].
        return flat.unflatten(-1, (-1, self.block, self.block))

    def map(self, x: Tensor, rel: Tensor) -> Tensor:
        r"""Where relations ``[B, k]`` take vectors ``[B, 2D]``."""
        size = self.width * self.block
        before, after = rel[..., size:].split(self.width, dim=-1)
        matrix = self._blocks(rel[..., :size])
        parts = (x * before).unflatten(-1, (-1, 1, self.block))
        return (parts @ matrix).flatten(-3) * after

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return self.map(head, rel)

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        return -self.distance(query - rows)

    def compare_all(self, query: Tensor, rows: Tensor) -> Tensor:
        there = _from(self._by_block(query))
        return -_distances(there, _to(self._by_block(rows)))

    def pair_width(self) -> int:
        # A root and a square for each block. On a CPU products with few
        # entities are slow, so it gets more of them at once.
        blocks = self.width // self.block
        if self.relations.device.type == 'cpu':
            return max(1, blocks // 16)
        return 2 * blocks * self._compared

    def distance(self, difference: Tensor) -> Tensor:
        r"""The sum of the lengths of the blocks of vectors ``[..., 2D]``."""
        blocks = difference.unflatten(-1, (-1, self.block))
        return torch.linalg.vector_norm(blocks, dim=-1).sum(dim=-1)

    def _by_block(self, x: Tensor) -> Tensor:
        # Vectors [N, 2D] as [G, N, block].
        return x.unflatten(-1, (-1, self.block)).transpose(0, 1)


class GCOTE(OTE):
    r"""OTE with graph contexts (`Tang et al.
    <https://arxiv.org/abs/1911.04910>`_, 2020, Eq. 11 to 14): the mean of four
    distances, of head and tail from each other, and of each from what the
    training triples of the other one say.

    The context :math:`c(e)` on one side is a sum over the triples of e there
    of the other entity, mapped to where e should be; weights are a softmax
    over the triples of :math:`\langle e, \cdot \rangle / \sqrt{2D}`. A learned
    vector stands for an entity without triples. In training the triples of the
    batch are left out.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        triples: Training triples, without reciprocals.
        block, as_coded, scale, objective: See :class:`OTE`.
    """

    given_triples = True
    _compared = 4
    edge_index: Tensor
    edge_type: Tensor

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        triples: Triples,
        block: int = 4,
        as_coded: bool = False,
        scale: float = 0.0,
        objective: Objective = CROSS_ENTROPY,
    ) -> None:
        words = entities, num_relations, block, as_coded, scale, objective
        super().__init__(*words)
        if entities.by_query:
            raise ValueError(
                f'GCOTE has contexts of its own; {type(entities).__name__} '
                'would bring others, take its inner module'
            )
        check_triples(
            triples, self.num_entities, num_relations, 'the context of GCOTE'
        )
        # By relation, since each moves all of its triples at once. Codes of
        # narrower integers would overflow.
        rel, order = triples.edge_type.long().sort(stable=True)
        ends = triples.edge_index.long()[:, order]
        self.register_buffer('edge_index', ends, False)
        self.register_buffer('edge_type', rel, False)
        # For tails, and for heads.
        self.blank = nn.Parameter(torch.zeros(2, self.width))

    @classmethod
    def of(cls, model: OTE, triples: Triples) -> 'GCOTE':
        r"""The second stage of training: it begins as a trained OTE."""
        out = cls(
            model.entities,
            model.num_relations,
            triples,
            model.block,
            model.as_coded,
            model.scale,
            model.objective,
        )
        out.relations = model.relations
        return out

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.blank)

    def encoded(self, batch: QueryBatch | None = None) -> EntityModule:
        r"""Rows ``[E, 6D]``: the entity, its contexts as a tail and as a
        head.
        """
        keep = self._kept(batch)
        made = _Contexts(self, self.edge_index[:, keep], self.edge_type[keep])
        # With negatives a step needs few entities, else all.
        few = batch is not None and hasattr(self.objective, 'negatives')
        return made if few else made.once()

    def _kept(self, batch: QueryBatch | None) -> Tensor:
        rel, size = self.edge_type, self.num_relations
        if batch is None:
            return torch.ones_like(rel, dtype=torch.bool)
        row, other = batch.targets.row, batch.targets.tail
        first, asked = batch.head[row], batch.rel[row]
        turned = asked >= size
        head = torch.where(turned, other, first)
        tail = torch.where(turned, first, other)
        code = (head * size + asked % size) * self.num_entities + tail
        mine = (self.edge_index[0] * size + rel) * self.num_entities
        return torch.isin(mine + self.edge_index[1], code, invert=True)

    def relation_rows(self, rel_type: Tensor) -> Tensor:
        r"""Relations as :class:`OTE` has them, their inverses, and 1, or -1
        for those of reciprocals: the head of these is the tail of triples.
        """
        size = self.num_relations
        turned = (rel_type + size) % (2 * size)
        there = super().relation_rows(rel_type)
        side = torch.where(rel_type < size, 1.0, -1.0).to(there)[:, None]
        return torch.cat([there, super().relation_rows(turned), side], dim=1)

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        r"""The head, its context, where the relation takes it, the inverse,
        and the side.
        """
        x, as_tail, as_head = head.split(self.width, dim=-1)
        there, back, side = self.split(rel)
        context = torch.where(side > 0, as_head, as_tail)
        mapped = self.map(x, there)
        return torch.cat([x, context, mapped, back, side], dim=-1)

    def split(self, rel: Tensor) -> list[Tensor]:
        r"""Rows of relations in parts: relation, inverse, and side."""
        size = (rel.size(-1) - 1) // 2
        return list(rel.split([size, size, 1], dim=-1))

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        if query.shape[:-1] == rows.shape[:-1]:
            return self._compare(query, rows.unsqueeze(-2)).squeeze(-1)
        return self._compare(query.squeeze(-2), rows)

    def _compare(self, query: Tensor, rows: Tensor) -> Tensor:
        # One more axis, that of the entities.
        head, context, mapped, back, side = (
            x.unsqueeze(-2) for x in self._parts(query)
        )
        tail, as_tail, as_head = rows.split(self.width, dim=-1)
        other = torch.where(side > 0, as_tail, as_head)
        turned = self._map_many(tail, back)
        each = (turned - head, turned - context, mapped - tail, mapped - other)
        total = self.distance(each[0])
        for difference in each[1:]:
            total = total + self.distance(difference)
        return -total / 4

    def _parts(self, query: Tensor) -> tuple[Tensor, ...]:
        # What `query` has joined.
        width = self.width
        size = query.size(-1) - 3 * width - 1
        return query.split([width, width, width, size, 1], dim=-1)

    def compare_all(self, query: Tensor, rows: Tensor) -> Tensor:
        head, context, mapped, back, side = self._parts(query)
        tail, as_tail, as_head = map(
            self._by_block, rows.split(self.width, dim=-1)
        )
        turn = self.linear(back)
        there, here = _from(self._by_block(mapped)), (side > 0).to(query)
        # Each entity has its context on either side, of which one counts.
        beside = torch.cat([there * here, there * (1 - here)], dim=-1)
        total = _distances(there, _to(tail))
        total = total + _distances(
            beside, torch.cat([_to(as_tail), _to(as_head)], dim=-1)
        )
        mapped_back = _to_mapped(tail)
        for x in (head, context):
            there = _from_mapped(self._by_block(x), turn)
            total = total + _distances(there, mapped_back)
        return -total / 4

    def linear(self, rel: Tensor) -> Tensor:
        r"""The maps of relations ``[B, k]`` as matrices ``[G, B, block,
        block]``.
        """
        size = self.width * self.block
        before, after = rel[:, size:].split(self.width, dim=-1)
        matrix = self._blocks(rel[:, :size]).transpose(0, 1)
        before, after = self._by_block(before), self._by_block(after)
        return before[..., :, None] * matrix * after[..., None, :]

    def _map_many(self, x: Tensor, rel: Tensor) -> Tensor:
        # As `map`, of many vectors for each relation: one product a block.
        size = self.width * self.block
        before, after = rel[..., size:].split(self.width, dim=-1)
        matrix = self._blocks(rel[..., 0, :size])
        parts = (x * before).unflatten(-1, (-1, self.block))
        out = torch.einsum('...ngi,...gij->...ngj', parts, matrix)
        return out.flatten(-2) * after


class _Contexts(EntityModule):
    # Entities with their contexts by some triples, in one step: those that
    # are asked for, or all.
    def __init__(
        self, model: GCOTE, edge_index: Tensor, edge_type: Tensor
    ) -> None:
        super().__init__(model.num_entities, 3 * model.hidden_channels)
        self._x, self._blank = model.entities(), model.blank
        self._edges, self._types = edge_index, edge_type
        every = torch.arange(model.num_relations, device=edge_type.device)
        there, back, _ = model.split(model.relation_rows(every))
        # What brings a head to its tail, and a tail to its head.
        self._turns = model.linear(there), model.linear(back)

    def forward(self) -> Tensor:
        return self._of(torch.arange(len(self._x), device=self._x.device))

    def rows(self, index: Tensor) -> Tensor:
        some, at = index.unique(return_inverse=True)
        return self._of(some).index_select(0, at)

    def _of(self, some: Tensor) -> Tensor:
        x, (head, tail) = self._x.index_select(0, some), self._edges
        as_tail = self._context(some, x, tail, head, 0)
        as_head = self._context(some, x, head, tail, 1)
        return torch.cat([x, as_tail, as_head], dim=1)

    def _context(
        self, some: Tensor, x: Tensor, end: Tensor, other: Tensor, side: int
    ) -> Tensor:
        place = end.new_full((self.num_entities,), -1)
        place[some] = torch.arange(len(some), device=some.device)
        index = place[end]
        mine = index >= 0
        index, rel = index[mine], self._types[mine]
        message = self._moved(other[mine], rel, self._turns[side])
        # Of each entity one more message comes from nobody.
        blank, its = self._blank[side], x.index_select(0, index)
        score = (
            torch.cat([torch.linalg.vecdot(its, message), x @ blank])
            / x.size(1) ** 0.5
        )
        every = torch.arange(len(x), device=x.device)
        weight = softmax(score, torch.cat([index, every]), num_nodes=len(x))
        said, nobody = weight[:, None].split([len(index), len(x)])
        return torch.index_add(nobody * blank, 0, index, message * said)

    def _moved(self, other: Tensor, rel: Tensor, turns: Tensor) -> Tensor:
        # Where each relation takes its part of the vectors; types are in
        # order. A matrix for each triple would take more memory than all else.
        counts = torch.bincount(rel, minlength=turns.size(1)).tolist()
        blocks = self._x.index_select(0, other)
        blocks = blocks.unflatten(-1, (-1, turns.size(-1))).split(counts)
        parts = [
            torch.einsum('ngi,gij->ngj', of_one, turn)
            for of_one, turn in zip(blocks, turns.unbind(1), strict=True)
        ]
        return torch.cat(parts).flatten(1)


def orthonormal(rows: Tensor) -> Tensor:
    r"""Gram-Schmidt on the rows of matrices ``[..., n, n]``."""
    out: list[Tensor] = []
    for row in rows.unbind(-2):
        # Twice: what one pass leaves of nearly parallel rows is not small.
        for done in (*out, *out):
            row = row - (row * done).sum(dim=-1, keepdim=True) * done
        out.append(F.normalize(row, dim=-1))
    return torch.stack(out, dim=-2)


# The square of the length of a difference is a product: that of
# (-2x, |x|^2, 1) and (y, 1, |y|^2). So those of all queries and entities come
# at once, and nothing is held that has a number for each pair and coordinate.
# What rounding leaves is some 1e-7 of the squares of both in fp32.
def _from(x: Tensor) -> Tensor:
    square = x.square().sum(dim=-1, keepdim=True)
    return torch.cat([-2 * x, square, torch.ones_like(square)], dim=-1)


def _to(x: Tensor) -> Tensor:
    square = x.square().sum(dim=-1, keepdim=True)
    return torch.cat([x, torch.ones_like(square), square], dim=-1)


# Likewise |x - y L|^2, whose products are with those of the coordinates of y.
def _from_mapped(x: Tensor, turn: Tensor) -> Tensor:
    row, column = _upper(turn)
    inner = turn @ turn.transpose(-1, -2)
    pairs = inner[..., row, column] * (2 - (row == column).to(x))
    mixed = (turn @ x[..., None])[..., 0]
    square = x.square().sum(dim=-1, keepdim=True)
    return torch.cat([pairs, -2 * mixed, square], dim=-1)


def _to_mapped(y: Tensor) -> Tensor:
    row, column = _upper(y)
    pairs = y[..., row] * y[..., column]
    return torch.cat([pairs, y, torch.ones_like(y[..., :1])], dim=-1)


def _upper(x: Tensor) -> tuple[Tensor, ...]:
    # Places in a symmetric matrix, each number once.
    size = x.size(-1)
    return torch.triu_indices(size, size, device=x.device).unbind()


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Sums [B, C] over the blocks of the roots of products.
    square = torch.bmm(x, y.transpose(1, 2))
    # Below that is what rounding leaves; a root of 0 has no gradient.
    least = 100 * torch.finfo(square.dtype).eps ** 2
    return square.clamp(min=least).sqrt().sum(dim=0)
