"""Graphs whose modalities mislead or are missing. The given graph stays."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch_geometric.data import HeteroData

from dsom_pyg.graph import (
    drop_modality,
    get_split,
    modalities,
    num_entities,
    with_split,
)
from experiments.entities import whitened_rows

# From the graph and the seed to another graph.
Change = Callable[[HeteroData, int], HeteroData]


def shuffled_texts(data: HeteroData, seed: int) -> HeteroData:
    r"""Every entity gets the texts of another one, by the same draw for every
    seed.
    """
    return _shuffled(data, 'text')


def shuffled_images(data: HeteroData, seed: int) -> HeteroData:
    r"""The same of images."""
    return _shuffled(data, 'image')


def _shuffled(data: HeteroData, name: str) -> HeteroData:
    data = copy.copy(data)
    (edge,) = (e for e in data.edge_types if e[0] == name)
    item, entity = data[edge].edge_index
    generator = torch.Generator().manual_seed(7)
    order = torch.randperm(int(entity.max()) + 1, generator=generator)
    data[edge].edge_index = torch.stack([item, order[entity]])
    return data


def whitened_texts(
    data: HeteroData, seed: int, power: float = 0.5
) -> HeteroData:
    r"""Features of texts whose columns are uncorrelated, see
    :func:`~experiments.entities.whitened_rows`.
    """
    data = copy.copy(data)
    data['text'].x = whitened_rows(data['text'].x, power)
    return data


def with_noise(data: HeteroData, seed: int) -> HeteroData:
    r"""A further modality of random unit vectors, as wide as the texts, by
    the same draw for every seed.
    """
    data = copy.copy(data)
    generator = torch.Generator().manual_seed(7)
    size = num_entities(data)
    x = torch.randn((size, data['text'].x.size(1)), generator=generator)
    data['noise'].x = x / x.norm(dim=1, keepdim=True)
    same = torch.arange(size).expand(2, -1)
    data['noise', 'of', 'entity'].edge_index = same
    return data


def missing_texts(data: HeteroData, seed: int, share: float) -> HeteroData:
    r"""Texts are taken from a share of the entities that have them, by the
    same draw for every seed.
    """
    return drop_modality(data, 'text', share)


def missing(data: HeteroData, seed: int, share: float) -> HeteroData:
    r"""Every modality is taken from a share of the entities that have it, by
    a draw of its own for every seed (Figure 4a of the paper).
    """
    for at, name in enumerate(modalities(data)):
        data = drop_modality(data, name, share, seed + 100 * at)
    return data


def only(data: HeteroData, seed: int, names: tuple[str, ...]) -> HeteroData:
    r"""All other modalities are left out."""
    data = copy.copy(data)
    for name in set(modalities(data)) - set(names):
        for edge in [e for e in data.edge_types if e[0] == name]:
            del data[edge]
        del data[name]
    return data


def first(data: HeteroData, seed: int, count: int) -> HeteroData:
    r"""The first triples of each split, for a run of minutes: of train at most
    so many, of validation and test a tenth of that.
    """
    for split, most in (('train', count), ('val', count // 10)):
        part = get_split(data, split)
        data = with_split(data, split, part.select(slice(0, most)))
    part = get_split(data, 'test')
    return with_split(data, 'test', part.select(slice(0, count // 10)))


def after(
    data: HeteroData, seed: int, changes: Sequence[Change]
) -> HeteroData:
    r"""One change after the other."""
    for change in changes:
        data = change(data, seed)
    return data
