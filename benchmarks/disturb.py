"""Features that mislead, in place."""

import torch
from torch_geometric.data import HeteroData


def shuffle_texts(data: HeteroData) -> None:
    """Give every entity the texts of another one."""
    (edge,) = (e for e in data.edge_types if e[0] == 'text')
    item, entity = data[edge].edge_index
    generator = torch.Generator().manual_seed(7)
    order = torch.randperm(int(entity.max()) + 1, generator=generator)
    data[edge].edge_index = torch.stack([item, order[entity]])


def add_noise(data: HeteroData, num_entities: int) -> None:
    """A modality of pure noise, of unit norm, as wide as the texts."""
    generator = torch.Generator().manual_seed(7)
    shape = (num_entities, data['text'].x.size(1))
    x = torch.randn(shape, generator=generator)
    data['noise'].x = x / x.norm(dim=1, keepdim=True)
    same = torch.arange(num_entities).expand(2, -1)
    data['noise', 'of', 'entity'].edge_index = same
