"""How features enter a model: what the rows of its entities are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsom_pyg import KG
from dsom_pyg.models.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.models.one_hop import OneHop


def texts(graph: KG, channels: int) -> EntityModule:
    r"""One linear map, as the teacher of texts has it."""
    return FeatureProjection(*graph.features['text'], channels)


def table_and_texts(graph: KG, channels: int) -> EntityModule:
    r"""A free table and one linear map, as the joint teacher has it."""
    return JointEmbedding(graph.features, channels)


def near_texts(graph: KG, channels: int) -> EntityModule:
    r"""One linear map, and a head sees the texts of its neighbors."""
    return OneHop(texts(graph, channels), graph.index('train'))


def near_table_and_texts(graph: KG, channels: int) -> EntityModule:
    r"""A table and one linear map, and a head sees its neighbors' rows."""
    rows = table_and_texts(graph, channels)
    return OneHop(rows, graph.index('train'))


def rare_alone(graph: KG, channels: int, most: int = 5) -> EntityModule:
    r"""A free table and one linear map, of the texts of rare entities.

    Args:
        graph: Of the features.
        channels: D.
        most: Triples of an entity that is still rare.
    """
    ends = graph.triples('train').edge_index.flatten()
    rare = torch.bincount(ends, minlength=graph.num_entities) <= most
    x, present = graph.features['text']
    present = present & rare
    features = {'text': (x * present[:, None], present)}
    return JointEmbedding(features, channels)


class SideBySide(EntityModule):
    r"""Half of the coordinates are a free table, the others projected
    features: each relation weighs the two by vectors of their own.

    Args:
        x: Features, ``[E, d]``.
        present: Which entities have them, bool ``[E]``.
        hidden_channels: D, even.
    """

    def __init__(
        self, x: Tensor, present: Tensor, hidden_channels: int
    ) -> None:
        super().__init__(x.size(0), hidden_channels)
        half = hidden_channels // 2
        self.free = EntityEmbedding(x.size(0), half)
        self.projected = FeatureProjection(x, present, hidden_channels - half)

    def reset_parameters(self) -> None:
        self.free.reset_parameters()
        self.projected.reset_parameters()

    def forward(self) -> Tensor:
        # Real parts come first.
        parts = [
            part().chunk(2, dim=1) for part in (self.free, self.projected)
        ]
        real, imaginary = zip(*parts, strict=True)
        return torch.cat([*real, *imaginary], dim=1)


def side_by_side(graph: KG, channels: int) -> EntityModule:
    r"""A table and texts that do not share coordinates."""
    return SideBySide(*graph.features['text'], channels)


def unit_variance(graph: KG, channels: int) -> EntityModule:
    r"""One linear map of features that are centred and scaled, each column by
    itself.
    """
    x, present = graph.features['text']
    x = (x - x[present].mean(dim=0)) * present[:, None]
    return FeatureProjection(
        scaled(x / x[present].std(0).clamp(min=1e-6)), present, channels
    )


def whitened(graph: KG, channels: int, power: float = 1.0) -> EntityModule:
    r"""One linear map of features whose columns are uncorrelated.

    Args:
        graph: Of the features.
        channels: D.
        power: 1 gives all columns the same variance, 0 leaves it.
    """
    x, present = graph.features['text']
    rows = torch.zeros_like(x)
    rows[present] = whitened_rows(x[present], power)
    return FeatureProjection(rows, present, channels)


def whitened_rows(x: Tensor, power: float) -> Tensor:
    r"""Rows ``[N, d]`` whose columns are uncorrelated: principal components,
    divided by a power of their deviations. Their mean length is 1.

    Args:
        x: The rows.
        power: 1 gives all columns the same variance, 0 leaves it.
    """
    x = x - x.mean(dim=0)
    _, deviations, axes = torch.linalg.svd(x, full_matrices=False)
    return scaled(x @ axes.t() / deviations.clamp(min=1e-6) ** power)


def scaled(x: Tensor) -> Tensor:
    r"""As long as rows of encoders are: 1 in the mean."""
    norms = x.norm(dim=1)
    return (x / norms[norms > 0].mean()).contiguous()


class MLP(EntityModule):
    r"""Frozen features through a network with one hidden layer.

    Args:
        x: Features, ``[E, d]``.
        present: Which entities have them, bool ``[E]``.
        hidden_channels: D.
        width: Of the hidden layer.
        dropout: Of its values.
    """

    x: Tensor
    present: Tensor

    def __init__(
        self,
        x: Tensor,
        present: Tensor,
        hidden_channels: int,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__(x.size(0), hidden_channels)
        self.register_buffer('x', x, persistent=False)
        self.register_buffer('present', present, persistent=False)
        self.enter = nn.Linear(x.size(1), width)
        self.leave = nn.Linear(width, 2 * hidden_channels, bias=False)
        self.dropout = dropout

    @property
    def available(self) -> Tensor | None:
        return self.present

    def reset_parameters(self) -> None:
        self.enter.reset_parameters()
        self.leave.reset_parameters()

    def forward(self) -> Tensor:
        hidden = F.gelu(self.enter(self.x))
        hidden = F.dropout(hidden, self.dropout, self.training)
        out: Tensor = self.leave(hidden) * self.present[:, None]
        return out


def network(
    graph: KG, channels: int, width: int = 512, dropout: float = 0.3
) -> EntityModule:
    r"""A network with one hidden layer in place of a linear map."""
    return MLP(*graph.features['text'], channels, width, dropout)
