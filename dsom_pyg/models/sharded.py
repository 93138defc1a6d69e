"""Entity modules of which each process holds some rows."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from dsom_pyg.models.bilinear import Bilinear
from dsom_pyg.models.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
    projected,
    side_by_side,
)
from dsom_pyg.models.one_hop import OneHop
from dsom_pyg.processes import Shard, agree, count
from dsom_pyg.scores.tables import Basis, EntityTable, once, rows_of


class ShardedEmbedding(EntityModule):
    r"""The rows of a free table that this process holds.

    Args:
        whole: The table.
        shard: The entities.
    """

    stepwise = True

    def __init__(self, whole: EntityEmbedding, shard: Shard) -> None:
        super().__init__(whole.num_entities, whole.hidden_channels)
        self.shard = shard
        rows = shard.part(whole.weight.detach())
        self.weight = nn.Parameter(rows, whole.weight.requires_grad)

    def forward(self) -> Tensor:
        whole: Tensor = _Whole.apply(self.weight, self.shard)
        return whole

    def once(self) -> EntityModule:
        return _Step(self)

    def rows(self, index: Tensor) -> Tensor:
        return EntityTable(self.weight, self.shard).rows(index)

    def coordinates(self, query: Tensor) -> Tensor:
        return query

    def basis(self) -> Tensor:
        return self()

    def tables(self) -> list[Basis]:
        return [EntityTable(self.weight, self.shard)]

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return side_by_side(query, self.tables())


class _Step(ShardedEmbedding):
    # The table of one step: its gradient is one matrix.
    def __init__(self, part: ShardedEmbedding) -> None:
        EntityModule.__init__(self, part.num_entities, part.hidden_channels)
        self.shard = part.shard
        self._table = EntityTable(part.weight, part.shard)

    def rows(self, index: Tensor) -> Tensor:
        return self._table.rows(index)

    def tables(self) -> list[Basis]:
        return [self._table]


class ShardedProjection(FeatureProjection):
    r"""The rows of frozen features that this process holds, and their
    projection, which all processes have.

    Args:
        whole: The projection.
        shard: The entities.
    """

    stepwise = True

    def __init__(self, whole: FeatureProjection, shard: Shard) -> None:
        sizes = whole.num_entities, whole.hidden_channels
        EntityModule.__init__(self, *sizes)
        self.shard, self.weight = shard, whole.weight
        self.register_buffer('x', shard.part(whole.x), persistent=False)
        self.register_buffer('present', whole.present, persistent=False)

    def forward(self) -> Tensor:
        return self.shard.whole(self.x.to(self.weight)) @ self.weight

    def rows(self, index: Tensor) -> Tensor:
        return rows_of(self.x, index, self.shard) @ self.weight

    def coordinates(self, query: Tensor) -> Tensor:
        return super().coordinates(query)

    def basis(self) -> Tensor:
        if not self._narrow:
            return self()
        return self.shard.whole(self.x.to(self.weight))

    def tables(self) -> list[Basis]:
        if self._narrow:
            return [EntityTable(self.x, self.shard)]
        weight: Tensor = _Shared.apply(self.weight, self.shard)
        return [EntityTable(projected(self.x, weight), self.shard)]

    def terms(self, query: Tensor) -> list[tuple[Tensor, Basis]]:
        return side_by_side(self.coordinates(query), self.tables())


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, rows: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard  # type: ignore[attr-defined]
        return shard.whole(rows)

    @staticmethod
    @once
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
        shard = ctx.shard  # type: ignore[attr-defined]
        return grad[shard.start : shard.stop], None


class _Shared(torch.autograd.Function):
    # What all have, where each uses it for entities of its own.
    @staticmethod
    def forward(ctx: object, weight: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard  # type: ignore[attr-defined]
        return weight.clone()

    @staticmethod
    @once
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
        shard = ctx.shard  # type: ignore[attr-defined]
        return shard.sum(grad.contiguous()), None


class Sharding:
    r"""What takes the place of the tables of some modules while processes
    share them.

    Those of :class:`~dsom_pyg.models.Bilinear` models are shared, if their
    entity module is one of this library. All else is whole in every process.

    Whole tables stay where they are, on the host as a rule, so that a device
    holds its part alone. In the end the modules are there as well.

    Args:
        modules: Whose tables are shared.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        modules = list(modules)
        self._homes = [(module, device_of(module)) for module in modules]
        self._places: list[tuple[nn.Module, str, nn.Module, nn.Module]] = []
        shards: dict[int, Shard] = {}
        parts: dict[nn.Module, EntityModule] = {}
        # Of tables that are one parameter, the rows are as well.
        rows: dict[nn.Parameter, nn.Parameter] = {}
        for owner, name, whole in _tables(modules):
            size = whole.num_entities
            if size not in shards:
                shards[size] = Shard(size)
            if whole not in parts:
                part = _part(whole, shards[size])
                if isinstance(part, ShardedEmbedding):
                    part.weight = rows.setdefault(whole.weight, part.weight)
                parts[whole] = part
            self._places.append((owner, name, whole, parts[whole]))
        for owner, name, _, shared in self._places:
            setattr(owner, name, shared)

    @torch.no_grad()
    def end(self, changed: bool) -> None:
        r"""Put the tables back, with what was learned if anything was."""
        try:
            for _, _, whole, part in self._places:
                if changed:
                    _take_back(whole, part)
        finally:
            for owner, name, whole, part in self._places:
                setattr(owner, name, whole.train(part.training))
            for module, home in self._homes:
                module.to(home)


def _take_back(whole: nn.Module, part: nn.Module) -> None:
    assert isinstance(part.weight, Tensor)
    if isinstance(part, ShardedEmbedding):
        rows = part.weight.detach()
        # The parameter itself stays, others may have it.
        whole.weight.data = part.shard.gathered(rows, device_of(whole))
    else:
        whole.weight = part.weight


def device_of(module: nn.Module) -> torch.device:
    r"""Where a module is; the host, if it holds nothing."""
    held = chain(module.parameters(), module.buffers())
    there = (tensor.device for tensor in held)
    return next(there, torch.device('cpu'))


def _part(
    whole: EntityEmbedding | FeatureProjection, shard: Shard
) -> EntityModule:
    out: EntityModule
    if isinstance(whole, EntityEmbedding):
        out = ShardedEmbedding(whole, shard)
    else:
        out = ShardedProjection(whole, shard)
    return out.train(whole.training)


def _tables(
    modules: Iterable[nn.Module],
) -> Iterator[tuple[nn.Module, str, EntityEmbedding | FeatureProjection]]:
    models = dict.fromkeys(
        model
        for module in modules
        for model in module.modules()
        if isinstance(model, Bilinear)
    )
    for model in models:
        owner: nn.Module = model
        name, entities = 'entities', model.entities
        if type(entities) is OneHop:
            owner, name, entities = entities, 'inner', entities.inner
        children = {name: entities}
        if type(entities) is JointEmbedding:
            owner = entities.parts
            children = dict(owner.named_children())  # type: ignore[arg-type]
        for name, child in children.items():
            whole: nn.Module = child
            if type(whole) in (EntityEmbedding, FeatureProjection):
                assert isinstance(whole, EntityEmbedding | FeatureProjection)
                yield owner, name, whole


@contextmanager
def sharded(
    modules: Iterable[nn.Module], changed: bool = True
) -> Iterator[None]:
    r"""Share the tables of modules among the processes; they are whole again
    behind it. Of one process nothing happens.

    Args:
        modules: Whose tables are shared.
        changed: Whether they learn meanwhile.
    """
    if count() == 1:
        yield
        return
    sharding = Sharding(modules)
    try:
        yield
    except BaseException:
        # Others may not come here, so nothing can be joined.
        sharding.end(changed=False)
        raise
    sharding.end(changed)


def agree_on_whole(modules: Iterable[nn.Module]) -> None:
    r"""Give all processes what the first one has learned, but for rows of
    which each has its own. Each makes the same steps; on GPUs, though, sums
    in another order may lead them apart bit by bit.
    """
    for module in modules:
        own = shards(module)
        # Detached, and not copied.
        state = module.state_dict()
        agree(x for name, x in state.items() if name not in own)


def shards(module: nn.Module) -> dict[str, Shard]:
    r"""The parameters of a module that are rows of this process alone, by
    name.
    """
    return {
        f'{name}.weight'.lstrip('.'): part.shard
        for name, part in module.named_modules()
        if isinstance(part, ShardedEmbedding)
    }
