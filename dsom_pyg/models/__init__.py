"""Models of triples, and where their entity vectors come from."""

from dsom_pyg.models.base import Model
from dsom_pyg.models.bilinear import Bilinear, concatenate
from dsom_pyg.models.complex import ComplEx
from dsom_pyg.models.distmult import DistMult
from dsom_pyg.models.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.models.gcote import GCOTE, OTE
from dsom_pyg.models.kge import KGE, Step
from dsom_pyg.models.objectives import (
    CrossEntropy,
    KvsAll,
    Margin,
    Negatives,
    Objective,
    SelfAdversarial,
)
from dsom_pyg.models.observed import Observed, OtherLinks, TailFrequency
from dsom_pyg.models.one_hop import OneHop
from dsom_pyg.models.rotate import RotatE
from dsom_pyg.models.transe import TransE
from dsom_pyg.models.tucker import TuckER

# Those that settings and kept models call by name: what they are made of are
# an entity module and options.
NAMED: tuple[type[KGE], ...] = (
    ComplEx,
    DistMult,
    OTE,
    RotatE,
    TransE,
    TuckER,
)

__all__ = [
    'Bilinear',
    'ComplEx',
    'CrossEntropy',
    'DistMult',
    'EntityEmbedding',
    'EntityModule',
    'FeatureProjection',
    'GCOTE',
    'JointEmbedding',
    'KGE',
    'KvsAll',
    'Margin',
    'Model',
    'Negatives',
    'OTE',
    'Objective',
    'Observed',
    'OneHop',
    'OtherLinks',
    'RotatE',
    'SelfAdversarial',
    'Step',
    'TailFrequency',
    'TransE',
    'TuckER',
    'concatenate',
]
