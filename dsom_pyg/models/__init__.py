"""Models of triples, and where their entity vectors come from."""

from dsom_pyg.models.base import Model
from dsom_pyg.models.bilinear import Bilinear, ComplEx, DistMult, concatenate
from dsom_pyg.models.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)

__all__ = [
    'Bilinear',
    'ComplEx',
    'DistMult',
    'EntityEmbedding',
    'EntityModule',
    'FeatureProjection',
    'JointEmbedding',
    'Model',
    'concatenate',
]
