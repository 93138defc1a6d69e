"""The graph as tensors: splits, reciprocal relations, features.

Letters used in shapes: T triples, E entities, R relations, d feature
channels.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dsom_pyg.scatter import scatter

__all__ = [
    'EDGE',
    'SPLITS',
    'TripleGraph',
    'Triples',
    'add_reciprocals',
    'drop_modality',
    'fingerprint',
    'get_split',
    'hold_out',
    'k_folds',
    'known_triples',
    'make_data',
    'merge_val',
    'modalities',
    'num_entities',
    'num_relations',
    'pool_features',
    'set_split',
    'triple_graph',
    'with_split',
]

if TYPE_CHECKING:
    # It takes seconds to import, and who only asks a model needs none.
    from dsom_pyg.pyg import HeteroData

EDGE = ('entity', 'relation', 'entity')
SPLITS = ('train', 'val', 'test')
LARGEST = 2**63 - 1
# Matrices of more bytes than these are never copied.
MAPPED = 2**30
# The edge type that ties a feature node to its entity, by modality. Any other
# modality is linked by ``(modality, *, 'entity')``.
RELATION_OF_MODALITY = {'image': 'depicts', 'text': 'describes'}


class Triples(NamedTuple):
    r"""A set of triples.

    Shapes:
        - **edge_index:** :math:`(2, T)`, heads and tails
        - **edge_type:** :math:`(T)`
    """

    edge_index: Tensor
    edge_type: Tensor

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Triples:
        r"""From ids of head, relation and tail, in this order."""
        table = torch.tensor([*rows], dtype=torch.long)
        if table.numel() and table.shape[1:] != (3,):
            raise ValueError(
                'need rows of head, relation and tail, got a table of shape '
                f'{[*table.shape]}'
            )
        table = table.reshape(-1, 3).t()
        return cls(table[[0, 2]].contiguous(), table[1].contiguous())

    @property
    def head(self) -> Tensor:
        return self.edge_index[0]

    @property
    def tail(self) -> Tensor:
        return self.edge_index[1]

    def __repr__(self) -> str:
        return f'Triples({self.edge_type.numel()})'

    def to(self, device: torch.device | str) -> Triples:
        return Triples(self.edge_index.to(device), self.edge_type.to(device))

    def select(self, index: Tensor) -> Triples:
        r"""The triples at :obj:`index` (a mask or positions)."""
        if isinstance(index, Tensor) and index.dtype == torch.bool:
            # torch is twice as fast by positions
            index = index.nonzero()[:, 0]
        return Triples(self.edge_index[:, index], self.edge_type[index])


def _nothing_like(part: Triples) -> Triples:
    # On the same device; what it is was not looked at yet.
    return Triples.of(()).to(getattr(part.edge_index, 'device', 'cpu'))


def concat(*parts: Triples) -> Triples:
    r"""Several sets of triples one after the other."""
    return Triples(
        torch.cat([part.edge_index for part in parts], dim=1),
        torch.cat([part.edge_type for part in parts]),
    )


def make_data(
    num_entities: int,
    num_relations: int,
    train: Triples,
    val: Triples | None = None,
    test: Triples | None = None,
) -> HeteroData:
    r"""A :class:`HeteroData` of triples, without modalities.

    Raises:
        ValueError: An id is out of range, or shapes do not fit.
    """
    from dsom_pyg.pyg import HeteroData

    data = HeteroData()
    data['entity'].num_nodes = num_entities
    data[EDGE].num_relations = num_relations
    empty = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    for name, part in zip(SPLITS, (train, val, test), strict=True):
        set_split(data, name, empty if part is None else part)
    return data


def check_ids(**columns: tuple[Tensor, int | None]) -> None:
    r"""Raise :class:`ValueError` unless tensors hold ids.

    Negative ids would count from the end, and 0.7 would be read as 0. A GPU is
    waited for once: this is for the door of a function, not for a training
    step.

    Args:
        **columns: For each name the ids ``[N]``, of one length, and how many
            such ids there are, :obj:`None` where that is not known.
    """
    for name, (ids, _) in columns.items():
        kind = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        if kind not in (torch.int64, torch.int32):
            raise ValueError(
                f'{name} must be a tensor of int64 or int32, got {kind}'
            )
        if ids.dim() != 1:
            raise ValueError(
                f'{name} must have one dimension, got shape {list(ids.shape)}'
            )
    lengths = {name: ids.numel() for name, (ids, _) in columns.items()}
    if len({*lengths.values()}) > 1:
        told = ', '.join(f'{size} {name}' for name, size in lengths.items())
        raise ValueError(f'need as many of each, got {told}')
    if not any(lengths.values()):
        return
    ends = [torch.stack(ids.aminmax()).long() for ids, _ in columns.values()]
    bounds = torch.stack([end.to(ends[0].device) for end in ends]).tolist()
    for (name, (ids, size)), (low, high) in zip(
        columns.items(), bounds, strict=True
    ):
        if low >= 0 and (size is None or high < size):
            continue
        bad = ids < 0 if size is None else (ids < 0) | (ids >= size)
        at = int(bad.nonzero()[0, 0])
        limit = 'negative' if size is None else f'outside 0..{size - 1}'
        raise ValueError(f'{name}: {int(ids[at])} at position {at} is {limit}')


def check_queries(
    head_index: Tensor,
    rel_type: Tensor,
    num_entities: int | None,
    num_relations: int | None,
) -> None:
    r"""Raise :class:`ValueError` unless these are queries ``[B]`` of E
    entities and R relations, reciprocals included; see :func:`check_ids`.
    """
    both = None if num_relations is None else 2 * num_relations
    check_ids(head_index=(head_index, num_entities), rel_type=(rel_type, both))


def check_triples(
    part: Triples,
    num_entities: int | None,
    num_relations: int | None,
    name: str,
) -> None:
    r"""Raise :class:`ValueError` unless these are triples of E entities and R
    relations; see :func:`check_ids`.
    """
    edge_index, edge_type = part
    head, tail = _ends(edge_index, name)
    check_ids(
        **{
            f'heads of {name}': (head, num_entities),
            f'relations of {name}': (edge_type, num_relations),
            f'tails of {name}': (tail, num_entities),
        }
    )


# The two rows of an edge index.
def _ends(edge_index: Tensor, name: str) -> tuple[Tensor, Tensor]:
    shape: object = type(edge_index).__name__
    if isinstance(edge_index, Tensor):
        shape = list(edge_index.shape)
        if len(shape) == 2 and shape[0] == 2:
            return edge_index[0], edge_index[1]
    raise ValueError(
        f'edge_index of {name} must have shape [2, N], got {shape}'
    )


@dataclass(frozen=True, eq=False)
class TripleGraph:
    r"""A graph without features: its sizes, and its triples.

    Args:
        num_entities: E.
        num_relations: R.
        splits: ``'train'``, ``'val'``, ``'test'``, and under ``'filter'``
            further known triples, if there are such.

    Raises:
        ValueError: An id is out of range, or shapes do not fit.
    """

    num_entities: int
    num_relations: int
    splits: Mapping[str, Triples]

    def __post_init__(self) -> None:
        sizes = self.num_entities, self.num_relations
        for name, part in self.splits.items():
            check_triples(part, *sizes, f"split '{name}'")

    def split(self, name: str) -> Triples:
        r"""The triples of ``'train'``, ``'val'`` or ``'test'``; there may be
        none but in train.
        """
        _check_split(name)
        if name == 'train':
            return self.splits[name]
        found = self.splits.get(name)
        return found or _nothing_like(self.splits['train'])

    def known(self) -> Triples:
        r"""All true triples."""
        names = [name for name in (*SPLITS, 'filter') if name in self.splits]
        return concat(*(self.splits[name] for name in names))

    def fingerprint(self) -> str:
        r"""SHA-256 over sizes, the triples of all splits and those kept for
        filtering, order included.
        """
        digest = hashlib.sha256()
        digest.update(f'{self.num_entities} {self.num_relations}'.encode())
        parts = {name: self.split(name) for name in SPLITS}
        parts['known'] = self.known()
        for name, part in parts.items():
            for tensor in part:
                digest.update(f'{name} {tensor.numel()}'.encode())
                # Of narrower ids it is the same graph.
                digest.update(tensor.long().cpu().numpy().tobytes())
        return digest.hexdigest()

    def to_data(self) -> HeteroData:
        r"""The graph as :class:`HeteroData`."""
        parts = dict(self.splits)
        extra = parts.pop('filter', None)
        data = make_data(self.num_entities, self.num_relations, **parts)
        if extra is not None:
            store = data[EDGE]
            store.filter_edge_index, store.filter_edge_type = extra
        return data


def triple_graph(data: HeteroData) -> TripleGraph:
    r"""The triples of a graph, those kept for filtering as well.

    Raises:
        ValueError: An id is out of range, shapes do not fit, or the graph
            does not tell how many relations it has.
    """
    relations = num_relations(data)  # first: to ask for edges makes them
    store = data[EDGE]
    splits: dict[str, Triples] = {}
    for split in (*SPLITS, 'filter'):  # validation and test may be missing
        prefix = '' if split == 'train' else f'{split}_'
        index, kind = f'{prefix}edge_index', f'{prefix}edge_type'
        if index in store and kind in store:
            splits[split] = Triples(store[index], store[kind])
        elif index in store or kind in store:
            there, gone = (index, kind) if index in store else (kind, index)
            raise ValueError(f'the graph has {there} and no {gone} in {EDGE}')
        elif split == 'train':
            raise ValueError(
                f'the graph has no edge_index in its edges {EDGE}, so nothing '
                'to learn from; make one by dsom_pyg.graph.make_data, or set '
                'edge_index and edge_type'
            )
        elif split != 'filter':
            splits[split] = _nothing_like(splits['train'])
    return TripleGraph(num_entities(data), relations, splits)


def check_sizes(**parts: object) -> None:
    r"""Raise :class:`ValueError` unless parts are made for the same numbers
    of entities and of relations. Each says so by :obj:`num_entities` and
    :obj:`num_relations`; what says nothing (or :obj:`None`) is not compared.

    Args:
        **parts: A graph, models, indices and the like, by name.
    """
    for size in ('num_entities', 'num_relations'):
        each = {
            name: getattr(part, size, None) for name, part in parts.items()
        }
        told = {name: n for name, n in each.items() if n is not None}
        if len({*told.values()}) > 1:
            both = ', '.join(f'{name}: {n}' for name, n in told.items())
            raise ValueError(
                f'{size} differ ({both}); what is made for one graph cannot '
                'be used with another'
            )


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}', use one of {SPLITS}")


def get_split(data: HeteroData, split: str) -> Triples:
    r"""The triples of ``'train'``, ``'val'`` or ``'test'``; of the latter two
    none, where the graph does not have them.
    """
    _check_split(split)
    prefix = '' if split == 'train' else f'{split}_'
    store = data[EDGE]
    if split != 'train' and f'{prefix}edge_index' not in store:
        return _nothing_like(Triples(store['edge_index'], store['edge_type']))
    return Triples(store[f'{prefix}edge_index'], store[f'{prefix}edge_type'])


def set_split(data: HeteroData, split: str, part: Triples) -> None:
    r"""Store :obj:`part` as ``'train'``, ``'val'`` or ``'test'``.

    Raises:
        ValueError: An id is out of range, or shapes do not fit.
    """
    _check_split(split)
    sizes = num_entities(data), num_relations(data)
    check_triples(part, *sizes, f"split '{split}'")
    prefix = '' if split == 'train' else f'{split}_'
    data[EDGE][f'{prefix}edge_index'] = part.edge_index.long()
    data[EDGE][f'{prefix}edge_type'] = part.edge_type.long()


def with_split(data: HeteroData, split: str, part: Triples) -> HeteroData:
    r"""A shallow copy of :obj:`data` with another split."""
    copied = copy.copy(data)
    set_split(copied, split, part)
    return copied


def known_triples(data: HeteroData) -> Triples:
    r"""All true triples: train, val, test, and those that a dataset keeps for
    filtering in ``filter_edge_index`` and ``filter_edge_type``.
    """
    return triple_graph(data).known()


def num_entities(data: HeteroData) -> int:
    r"""E.

    Raises:
        ValueError: The graph does not tell it.
    """
    found = data['entity'].num_nodes if 'entity' in data.node_types else None
    if found is None:
        raise ValueError(
            "the graph has no num_nodes in its nodes 'entity'; make one by "
            'dsom_pyg.graph.make_data, or set it'
        )
    return int(found)


def num_relations(data: HeteroData) -> int:
    r"""R, without reciprocals.

    Raises:
        ValueError: The graph does not tell it; make one by :func:`make_data`.
    """
    if EDGE not in data.edge_types or 'num_relations' not in data[EDGE]:
        raise ValueError(
            f'the graph has no num_relations in its edges {EDGE}; make one by '
            'dsom_pyg.graph.make_data, or set it'
        )
    return int(data[EDGE].num_relations)


def add_reciprocals(triples: Triples, num_relations: int) -> Triples:
    r"""Add :math:`(t, r + R, h)` for every :math:`(h, r, t)`: 2T triples.

    Raises:
        ValueError: A relation is not in :math:`0..R - 1`.
    """
    check_triples(triples, None, num_relations, 'the triples')
    return Triples(
        torch.cat([triples.edge_index, triples.edge_index.flip(0)], dim=1),
        torch.cat([triples.edge_type, triples.edge_type + num_relations]),
    )


def hold_out(
    data: HeteroData, ratio: float, seed: int = 0, keep: str = 'roles'
) -> tuple[HeteroData, Triples]:
    r"""Take a random part of train away.

    Args:
        data: The graph; not changed.
        ratio: Share of the distinct training triples, in (0, 1).
        seed: Of the draw.
        keep: What stays in train, so that the part can be a little smaller
            than asked. ``'roles'``: one triple of every relation, and of
            every entity one as head and one as tail, if it has such.
            ``'entities'``: one of an entity in whichever role; more can be
            taken from sparse graphs. ``'nothing'``: nothing for sure; the
            part is like train, where the others lack rare entities.

    Returns:
        A shallow copy with the smaller train split, and the triples taken.
    """
    if not 0 < ratio < 1:
        raise ValueError(f'ratio must lie in (0, 1), got {ratio}')
    if keep not in ('roles', 'entities', 'nothing'):
        raise ValueError(
            f"keep must be 'roles', 'entities' or 'nothing', got '{keep}'"
        )
    train = get_split(data, 'train')
    mask = draw(train.to('cpu'), ratio, seed, keep)
    mask = mask.to(train.edge_type.device)
    smaller = with_split(data, 'train', train.select(~mask))
    return smaller, train.select(mask)


def draw(
    train: Triples, ratio: float, seed: int, keep: str, distinct: bool = False
) -> Tensor:
    r"""Which triples :func:`hold_out` takes away, bool ``[T]``.

    Args:
        train: The triples.
        ratio: Share of the distinct ones.
        seed: Of the draw.
        keep: What stays.
        distinct: There are no duplicates.
    """
    order = _shuffled(train.edge_type.numel(), seed)
    first = None if distinct else first_twin(train)
    if first is not None:
        # Duplicates of a triple go where the first one goes.
        order = order[first[order] == order]
    # Walking through `order`, the first triple of every entity and of every
    # relation is kept: what remains may be removed.
    count = order.numel()
    step = torch.full_like(train.edge_type, count, dtype=torch.long)
    step[order] = torch.arange(count)
    kept = torch.zeros_like(step, dtype=torch.bool)
    for columns in {
        'roles': [[train.head], [train.tail], [train.edge_type]],
        'entities': [[train.head, train.tail], [train.edge_type]],
        'nothing': [],
    }[keep]:
        size = max((int(ids.max()) + 1 for ids in columns if count), default=0)
        earliest = torch.full((size,), count)
        for ids in columns:
            earliest.scatter_reduce_(0, ids, step, 'amin')
        kept[order[earliest[earliest < count]]] = True
    free = order[~kept[order]]
    taken = torch.zeros_like(kept)
    taken[free[: max(1, round(ratio * count))]] = True
    return taken if first is None else taken[first]


def _shuffled(size: int, seed: int) -> Tensor:
    # On the host: the same order on every device.
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(size, generator=generator)


def triple_keys(triples: Triples) -> Tensor:
    r"""An integer for each triple, ``[T]``: equal ones for equal triples."""
    head, tail, rel = triples.head.long(), triples.tail, triples.edge_type
    sizes = [int(x.max()) + 1 if x.numel() else 0 for x in (head, tail, rel)]
    if sizes[0] * sizes[1] > LARGEST:
        _, head = head.unique(return_inverse=True)
        _, tail = tail.unique(return_inverse=True)
        sizes[:2] = [int(x.max()) + 1 for x in (head, tail)]
    pair = head * sizes[1] + tail
    if sizes[0] * sizes[1] * sizes[2] > LARGEST:
        # Numbers of distinct pairs take less room.
        _, pair = pair.unique(return_inverse=True)
    return pair * sizes[2] + rel


def within(part: Triples, others: Triples) -> Tensor:
    r"""Which of some triples are among others, bool ``[T]``."""
    keys = triple_keys(concat(part, others))
    own, other = keys.split([len(part.edge_type), len(others.edge_type)])
    return torch.isin(own, other)


def first_of(keys: Tensor) -> Tensor:
    r"""The place of the first one that is equal, ``[T]``."""
    key, order = keys.sort(stable=True)
    begins = torch.ones_like(key, dtype=torch.bool)
    begins[1:] = key[1:] != key[:-1]
    first = torch.empty_like(order)
    first[order] = order[begins][begins.cumsum(0) - 1]
    return first


def first_twin(triples: Triples) -> Tensor:
    r"""The place of the first triple that is equal, ``[T]``."""
    return first_of(triple_keys(triples))


def k_folds(
    data: HeteroData, k: int, seed: int = 0
) -> list[tuple[HeteroData, Triples]]:
    r"""Split train into k random parts: for each a shallow copy of the graph
    without it, and the part.

    Every training triple, with its duplicates, is in exactly one part, even
    if an entity has no other: teachers of the rest know it by its features
    alone, as they know some entities of the whole graph.

    Raises:
        ValueError: There are fewer than k distinct training triples, or
            k < 2.
    """
    train = get_split(data, 'train')
    twin = first_twin(train).cpu()
    distinct, at = twin.unique(return_inverse=True)
    count = len(distinct)
    if not 2 <= k <= count:
        raise ValueError(
            f'k must be 2 to {count} (distinct training triples), got {k}'
        )
    part = (_shuffled(count, seed) % k)[at]
    part = part.to(train.edge_type.device)
    return [
        (with_split(data, 'train', train.select(~mine)), train.select(mine))
        for mine in (part == at for at in range(k))
    ]


def merge_val(data: HeteroData) -> HeteroData:
    r"""A shallow copy whose train split holds train and validation: the last
    step of a clean protocol is to refit on everything but test.
    """
    train, val = get_split(data, 'train'), get_split(data, 'val')
    merged = with_split(data, 'train', concat(train, val))
    nothing = torch.zeros_like(val.edge_type, dtype=torch.bool)
    return with_split(merged, 'val', val.select(nothing))


# The edge type of a modality, and its items and their entities.
def _features(
    data: HeteroData, modality: str
) -> tuple[tuple[str, str, str], Tensor, Tensor]:
    if modality not in data.node_types or 'x' not in data[modality]:
        have = [name for name in data.node_types if name != 'entity']
        raise ValueError(
            f"the graph has no features of modality '{modality}' "
            f'(it has {have}); give the dataset an encoder'
        )
    ends = (modality, 'entity')
    edges = [edge for edge in data.edge_types if edge[::2] == ends]
    x = data[modality].x
    flat = isinstance(x, Tensor) and x.layout == torch.strided
    if not flat or x.dim() != 2 or not x.size(1) or x.is_complex():
        what = f'{x.layout}, {x.dtype}' if isinstance(x, Tensor) else type(x)
        raise ValueError(
            f"the features of modality '{modality}' must be a dense real "
            f'matrix [n, d], got {what}, {[*getattr(x, "shape", ())]}'
        )
    if len(edges) != 1:
        raise ValueError(
            f"need exactly one edge type from '{modality}' to 'entity', "
            f'got {edges}'
        )
    name = f"modality '{modality}'"
    item, entity = _ends(data[edges[0]].edge_index, name)
    check_ids(
        **{
            f'items of {name}': (item, len(x)),
            f'entities of {name}': (entity, num_entities(data)),
        }
    )
    return edges[0], item, entity


def aligned(x: Tensor) -> Tensor:
    r"""A matrix as it is, if it is large; it may be mapped from a file then.
    A smaller one is copied to where torch would put it, unless it is there:
    elsewhere the last bits of products may be others.
    """
    if x.device.type != 'cpu' or x.nbytes > MAPPED or x.data_ptr() % 64 == 0:
        return x
    return x.clone()


def finite_rows(x: Tensor) -> Tensor:
    r"""Which rows of features ``[n, d]`` hold finite values alone, bool
    ``[n]``; nothing of their size is made.
    """
    # NaN is the least and the largest of any row.
    return x.amin(dim=1).isfinite() & x.amax(dim=1).isfinite()


def pool_features(data: HeteroData, modality: str) -> tuple[Tensor, Tensor]:
    r"""Mean feature of each entity over its items of a modality: a node type
    that has ``x`` and one edge type from it to ``'entity'``.

    Shapes:
        - **x:** :math:`(E, d)`, zero where the modality is absent
        - **present:** :math:`(E)`, bool

    Raises:
        ValueError: The modality or its edges are missing, an id is out of
            range, or a feature is not finite.
    """
    _, item, entity = _features(data, modality)
    # Sums of half precision may overflow.
    x = data[modality].x.to(torch.get_default_dtype())
    finite = finite_rows(x)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(
            f"row {row} of the features of modality '{modality}' has a "
            f'non-finite value'
        )
    size = num_entities(data)
    each = torch.arange(size, device=entity.device)
    if len(x) == size and item.equal(each) and entity.equal(each):
        return aligned(x), torch.ones_like(each, dtype=torch.bool)
    pooled = scatter(x[item], entity, dim_size=size, reduce='mean')
    count = scatter(torch.ones_like(entity), entity, dim_size=size)
    return pooled, count > 0


def modalities(data: HeteroData) -> list[str]:
    r"""The modalities with features, in the order of their node types.
    Features of the entities themselves are told by a warning: nobody reads
    them.
    """
    if 'entity' in data.node_types and 'x' in data['entity']:
        warnings.warn(
            "the features data['entity'].x are not used; give each modality "
            "nodes and edges of its own, such as data['text'].x and "
            "data['text', 'describes', 'entity'].edge_index",
            UserWarning,
            stacklevel=3,  # who has made the KG
        )
    names = [name for name in data.node_types if name != 'entity']
    return [name for name in names if 'x' in data[name]]


def drop_modality(
    data: HeteroData, modality: str, rate: float, seed: int = 0
) -> HeteroData:
    r"""A shallow copy in which a random share of the entities that have a
    modality lack it, for runs with missing modalities (Zhao et al., Figure
    4a). With one seed, those that lose it at a lower rate also lose it at a
    higher one.

    Raises:
        ValueError: The modality is missing, or the rate is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f'rate must lie in [0, 1], got {rate}')
    edge, item, entity = _features(data, modality)
    owners = entity.unique()
    order = _shuffled(owners.numel(), seed)
    lost = owners[order[: round(rate * owners.numel())].to(owners.device)]
    keep = ~torch.isin(entity, lost)
    smaller = copy.copy(data)
    used, position = item[keep].unique(return_inverse=True)
    _pick(smaller[modality], used, len(data[modality].x))
    if 'num_nodes' in smaller[modality]:
        smaller[modality].num_nodes = len(used)
    _pick(smaller[edge], keep, len(item))
    smaller[edge].edge_index = torch.stack([position, entity[keep]])
    return smaller


def _pick(store: Any, index: Tensor, count: int) -> None:
    # What a store holds of each of so many, of some of them alone.
    for name, value in list(store.items()):
        if isinstance(value, Tensor) and value.shape[:1] == (count,):
            store[name] = value[index]


def fingerprint(data: HeteroData) -> str:
    r"""See :meth:`TripleGraph.fingerprint`; features are not part of it."""
    return triple_graph(data).fingerprint()
