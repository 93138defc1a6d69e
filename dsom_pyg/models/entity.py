"""Entity modules: where the entity vectors of a model come from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dsom_pyg.graph import aligned
from dsom_pyg.scores.tables import Basis, EntityTable, once, rows_at, width

# Feature values below this, and this much smaller than the largest, are 0.
DEAD, DEAD_SHARE = 1e-20, 1e-12
# Rows of features that are looked at, or go to a device, at once, and the
# share of a device that features may take.
ROWS, SHARE = 2**16, 1 / 8


def draw_normal(weight: Tensor, std: float) -> None:
    r"""Draw a parameter, unless it is on the meta device: there is nothing to
    draw, and torch would import its compiler for it, which takes seconds.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


class EntityModule(nn.Module):
    r"""Base class: a module whose output is the entity matrix.

    A subclass gives :meth:`forward`. Where there is a cheaper way than
    through the whole matrix, it may override :meth:`rows`, and
    :meth:`coordinates` with :meth:`basis`, and :meth:`once` then.

    Args:
        num_entities: E.
        hidden_channels: D; rows are :math:`2D` wide.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ('rows', 'coordinates', 'basis', 'tables', 'terms'):
            inherited = name not in vars(cls)
            shortcut = getattr(cls, name) is not getattr(EntityModule, name)
            if 'forward' in vars(cls) and inherited and shortcut:
                raise TypeError(
                    f'{cls.__name__} overrides forward but not {name}, which '
                    'would go on without it; override both, or derive it '
                    'from EntityModule'
                )

    def __init__(self, num_entities: int, hidden_channels: int) -> None:
        super().__init__()
        if num_entities < 1 or hidden_channels < 1:
            raise ValueError(
                'num_entities and hidden_channels must be positive, got '
                f'{num_entities} and {hidden_channels}'
            )
        self.num_entities = num_entities
        self.hidden_channels = hidden_channels

    by_coordinate = False
    r"""Whether every parameter is rows of :math:`2D` coordinates that do not
    depend on each other. A class says it of itself, not of its subclasses.
    """

    stepwise = False
    r"""Whether :meth:`once` computes no matrix. A class says it of itself."""

    by_query = False
    r"""Whether the row of a head depends on what it is asked for, so that no
    table holds all that is known of it.
    """

    @property
    def available(self) -> Tensor | None:
        r"""Which entities have the modality, bool ``[E]``; None for all."""
        return None

    def forward(self) -> Tensor:
        r"""The entity matrix, ``[E, 2D]``."""
        raise NotImplementedError

    def once(self) -> 'EntityModule':
        r"""This module for one training step: the matrix is computed once, so
        that a network has the same dropout mask for heads and for tails.
        """
        return Computed(self())

    def rows(self, index: Tensor) -> Tensor:
        r"""Rows ``[N, 2D]`` of the matrix."""
        return self()[index]

    def ends(
        self, head: Tensor, rel: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""Rows of the heads of queries and of other entities, in one gather.

        Args:
            head: Heads, ``[B]``.
            rel: What they are asked for, ``[B]``.
            tail: The other entities, ``[N]``.
        """
        rows = self.rows(torch.cat([head, tail]))
        heads, tails = rows.split([head.numel(), tail.numel()])
        return heads, tails

    def heads(self, head: Tensor, rel: Tensor) -> Tensor:
        r"""Rows ``[B, 2D]`` of the heads of queries ``[B]``."""
        if not self.by_query:
            return self.rows(head)
        return self.ends(head, rel, head[:0])[0]

    def coordinates(self, query: Tensor) -> Tensor:
        r"""What of query vectors ``[B, 2D]`` the scores depend on, ``[B, k]``:
        they are ``coordinates(query) @ basis().t()``.
        """
        return query

    def basis(self) -> Tensor:
        r"""The matrix that coordinates are multiplied with, ``[E, k]``."""
        return self()

    def tables(self) -> list[Basis]:
        r"""Matrices that are the basis, side by side, or the rows of them
        that this process holds.
        """
        return [self.basis()]

    def table(self) -> Basis:
        r"""The matrix, as those take it who score all entities."""
        return self()

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        r"""Coordinates and bases whose products sum to the scores.

        More than one where parts of the basis are frozen: a product with
        all of it would cost the gradient of these, too, and a copy. Side by
        side they must be :meth:`coordinates` and :meth:`basis`.
        """
        return side_by_side(self.coordinates(query), self.tables())

    @torch.no_grad()
    def as_table(self) -> 'EntityEmbedding':
        r"""A copy of the rows as a free table, with all entities available.

        Raises:
            ValueError: Rows of heads depend on what is asked.
        """
        if self.by_query:
            raise ValueError(
                f'rows of {type(self).__name__} depend on the query, so no '
                'table can take their place'
            )
        rows = self().detach().clone()
        with torch.device('meta'):  # nothing is drawn
            table = EntityEmbedding(self.num_entities, self.hidden_channels)
        table.weight = nn.Parameter(rows)
        return table.train(self.training)

    def reset_parameters(self) -> None:
        r"""Draw all parameters anew."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_entities}, '
            f'hidden_channels={self.hidden_channels})'
        )


def side_by_side(
    coordinates: Tensor, tables: Sequence[Basis]
) -> list[tuple[Tensor, Basis]]:
    r"""Coordinates ``[B, k]``, each with the table that it belongs to."""
    parts = coordinates.split([width(table) for table in tables], dim=1)
    return list(zip(parts, tables, strict=True))


class Computed(EntityModule):
    r"""A matrix ``[E, 2D]`` that has been computed."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix.size(0), matrix.size(1) // 2)
        self._matrix = matrix

    def forward(self) -> Tensor:
        return self._matrix

    def once(self) -> EntityModule:
        return self


class _StepTable(Computed):
    # The rows of a free table in one step; see EntityTable.
    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self._table = EntityTable(weight)

    def rows(self, index: Tensor) -> Tensor:
        return self._table.rows(index)

    def table(self) -> Basis:
        return self._table

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return [(query, self._table)]


class EntityEmbedding(EntityModule):
    r"""A free table, one trainable row an entity (structure modality), drawn
    with standard deviation :obj:`scale`.
    """

    by_coordinate = True

    def __init__(
        self, num_entities: int, hidden_channels: int, scale: float = 1e-3
    ) -> None:
        super().__init__(num_entities, hidden_channels)
        self.scale = scale
        shape = num_entities, 2 * hidden_channels
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        draw_normal(self.weight, self.scale)

    def forward(self) -> Tensor:
        return self.weight

    def once(self) -> EntityModule:
        # A subclass may do more than read the table.
        known = type(self) is EntityEmbedding
        return _StepTable(self.weight) if known else super().once()


def fits(size: int, device: torch.device) -> bool:
    r"""Whether that many bytes of features go to a device as a whole."""
    if device.type != 'cuda':
        return True
    return size <= SHARE * torch.cuda.mem_get_info(device)[1]


def _without_dead(x: Tensor, present: Tensor) -> Tensor:
    # Some encoders have dead channels with values near 1e-37, whose products
    # underflow: that says nothing, and is several times slower. Nothing of
    # the size of the features is made unless there are such.
    if x.is_meta:
        return x
    x = aligned(x)
    low, high = x.amin(dim=1), x.amax(dim=1)
    some = torch.maximum(-low, high)
    dead = (DEAD_SHARE * some.masked_fill(~present, 0.0).amax()).clamp(
        max=DEAD
    )
    absent = (some != 0) & ~present
    if absent.any() or any(_has_dead(part, dead) for part in x.split(ROWS)):
        x = x.masked_fill(~present[:, None], 0.0)
        x = x.masked_fill(x.abs() < dead, 0.0)
    return x


def _has_dead(x: Tensor, dead: Tensor) -> bool:
    return bool(((x != 0) & (x.abs() < dead)).any())


def projected(x: Tensor, weight: Tensor) -> Tensor:
    r"""Frozen features ``[E, d]`` times a matrix ``[d, k]``, on the device of
    the latter. Where the features are elsewhere they come in chunks, and once
    more for the gradient: no more than one chunk is there at a time.
    """
    if x.device == weight.device:
        return x @ weight
    out: Tensor = _Projected.apply(weight, x)
    return out


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor) -> Tensor:
        ctx.x = x
        out = weight.new_empty(x.size(0), weight.size(1))
        for at, part in enumerate(x.split(ROWS)):
            torch.mm(part.to(weight), weight, out=out[at * ROWS :][:ROWS])
        return out

    @staticmethod
    @once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out = grad.new_zeros(ctx.x.size(1), grad.size(1))
        for part, own in zip(ctx.x.split(ROWS), grad.split(ROWS), strict=True):
            out.addmm_(part.to(grad).t(), own)
        return out, None


class FeatureProjection(EntityModule):
    r"""Frozen features times a trainable matrix, without bias (Eq. 3).

    An entity without the modality has a zero row, hence score 0 as a tail
    and constant logits as a head. The features are buffers that do not enter
    the state dict: they belong to the dataset. They are not copied unless
    they need a change, so they may be mapped from a file. On a GPU of which
    they would take more than an eighth they stay on the host, and come in
    chunks.

    Args:
        x: Features, ``[E, d]``. Values below 1e-20 that are also 1e-12 times
            smaller than the largest one count as 0.
        present: Which entities have the modality, bool ``[E]``.
        hidden_channels: D.
    """

    by_coordinate = True
    x: Tensor
    present: Tensor

    def __init__(
        self, x: Tensor, present: Tensor, hidden_channels: int
    ) -> None:
        if x.dim() != 2 or present.shape != x.shape[:1]:
            raise ValueError(
                'need x of shape [E, d] and present of shape [E], got '
                f'{list(x.shape)} and {list(present.shape)}'
            )
        super().__init__(x.size(0), hidden_channels)
        x = _without_dead(x.to(torch.get_default_dtype()), present)
        self.register_buffer('x', x, persistent=False)
        self.register_buffer('present', present.clone(), persistent=False)
        self.weight = nn.Parameter(torch.empty(x.size(1), 2 * hidden_channels))
        self.reset_parameters()

    @property
    def available(self) -> Tensor | None:
        return self.present

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> 'FeatureProjection':
        # Where all buffers go, but for features that would fill a device.
        x, self._buffers['x'] = self.x, None
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers['x'] = x
        like = fn(x[:0])
        size = x.numel() * like.element_size()
        if like.device == x.device or fits(size, like.device):
            self._buffers['x'] = fn(x)
        else:
            self._buffers['x'] = x.to(like.dtype)
        return self

    def forward(self) -> Tensor:
        return projected(self.x, self.weight)

    def once(self) -> EntityModule:
        return self

    def rows(self, index: Tensor) -> Tensor:
        return rows_at(self.x, index) @ self.weight

    # q (X W)^T = (q W^T) X^T: products with the frozen X need no gradient
    # of it, and X is often narrower than 2D, so that this way costs about a
    # third. Only for very wide features it does not pay.
    @property
    def _narrow(self) -> bool:
        return self.weight.size(0) <= 2 * self.weight.size(1)

    def coordinates(self, query: Tensor) -> Tensor:
        return query @ self.weight.t() if self._narrow else query

    def basis(self) -> Tensor:
        return self.x if self._narrow else self()


class JointEmbedding(EntityModule):
    r"""A free table plus projected features: one teacher that knows the
    structure and the features at once.

    Args:
        features: For each modality its pooled features and which entities
            have them, as :func:`~dsom_pyg.graph.pool_features` gives them.
        hidden_channels: D.
        scale: Standard deviation of the initial free values.
    """

    by_coordinate = True

    def __init__(
        self,
        features: Mapping[str, tuple[Tensor, Tensor]],
        hidden_channels: int,
        scale: float = 1e-3,
    ) -> None:
        if not features:
            raise ValueError('need the features of at least one modality')
        sizes = {name: x.size(0) for name, (x, _) in features.items()}
        size = next(iter(sizes.values()))
        if len({*sizes.values()}) > 1:
            raise ValueError(f'features are of different E: {sizes}')
        super().__init__(size, hidden_channels)
        self.parts = nn.ModuleList()
        self.parts.append(EntityEmbedding(size, hidden_channels, scale))
        for x, present in features.values():
            part = FeatureProjection(x, present, hidden_channels)
            self.parts.append(part)

    def _each(self) -> Iterator[EntityModule]:
        for part in self.parts:
            assert isinstance(part, EntityModule)
            yield part

    def reset_parameters(self) -> None:
        for part in self._each():
            part.reset_parameters()

    def forward(self) -> Tensor:
        return torch.stack([part() for part in self._each()]).sum(dim=0)

    def once(self) -> EntityModule:
        known = (EntityEmbedding, FeatureProjection)
        alone = all(
            type(part) in known or vars(type(part)).get('stepwise')
            for part in self._each()
        )
        return _StepSum(self) if alone else super().once()

    def rows(self, index: Tensor) -> Tensor:
        rows = [part.rows(index) for part in self._each()]
        return torch.stack(rows).sum(dim=0)

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return [term for part in self._each() for term in part.terms(query)]

    def coordinates(self, query: Tensor) -> Tensor:
        parts = [part.coordinates(query) for part in self._each()]
        return torch.cat(parts, dim=-1)

    def basis(self) -> Tensor:
        bases = [part.basis() for part in self._each()]
        return torch.cat([basis.to(bases[0].device) for basis in bases], -1)

    def tables(self) -> list[Basis]:
        return [table for part in self._each() for table in part.tables()]


class _StepSum(EntityModule):
    # The parts of a joint embedding in one step.
    def __init__(self, joint: JointEmbedding) -> None:
        super().__init__(joint.num_entities, joint.hidden_channels)
        self._joint = [joint]  # no child: it is there already
        self._parts = [part.once() for part in joint._each()]

    def forward(self) -> Tensor:
        return self._joint[0]()

    def rows(self, index: Tensor) -> Tensor:
        rows = [part.rows(index) for part in self._parts]
        return torch.stack(rows).sum(dim=0)

    def coordinates(self, query: Tensor) -> Tensor:
        return self._joint[0].coordinates(query)

    def basis(self) -> Tensor:
        return self._joint[0].basis()

    def tables(self) -> list[Basis]:
        return self._joint[0].tables()

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return [term for part in self._parts for term in part.terms(query)]
