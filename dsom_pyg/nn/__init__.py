"""Modules: entity matrices, score functions, teachers, combiners."""

from dsom_pyg.nn.adaptive import AdaptiveCombiner
from dsom_pyg.nn.combined import CombinedTeachers
from dsom_pyg.nn.combiners import (
    Combination,
    Combiner,
    MeanCombiner,
    ReinforcedCombiner,
)
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble, combine
from dsom_pyg.nn.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.nn.outcome import (
    combined_cross_entropy,
    reciprocal_ranks,
)
from dsom_pyg.nn.score import ComplEx, DistMult, ScoreFunction
from dsom_pyg.nn.state import CompactState
from dsom_pyg.nn.weighting import QueryWeights, WeightedCombiner

__all__ = [
    'AdaptiveCombiner',
    'Combination',
    'CombinedTeachers',
    'Combiner',
    'ComplEx',
    'CompactState',
    'DistMult',
    'EntityEmbedding',
    'EntityModule',
    'FeatureProjection',
    'JointEmbedding',
    'MeanCombiner',
    'QueryWeights',
    'ReinforcedCombiner',
    'ScoreFunction',
    'TeacherBatch',
    'TeacherEnsemble',
    'WeightedCombiner',
    'combine',
    'combined_cross_entropy',
    'reciprocal_ranks',
]
