"""Modules: entity matrices, score functions, teachers, combiners."""

from dsom_pyg.nn.combined import CombinedTeachers
from dsom_pyg.nn.combiners import (
    Combination,
    Combiner,
    MeanCombiner,
    ReinforcedCombiner,
    combine,
)
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble
from dsom_pyg.nn.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
)
from dsom_pyg.nn.score import ComplEx, DistMult, ScoreFunction
from dsom_pyg.nn.weighting import WeightedCombiner

__all__ = [
    'Combination',
    'CombinedTeachers',
    'Combiner',
    'ComplEx',
    'DistMult',
    'EntityEmbedding',
    'EntityModule',
    'FeatureProjection',
    'MeanCombiner',
    'ReinforcedCombiner',
    'ScoreFunction',
    'TeacherBatch',
    'TeacherEnsemble',
    'combine',
    'WeightedCombiner',
]
