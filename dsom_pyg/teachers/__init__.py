"""Teachers, and the policies that weigh what they say."""

from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.teachers.combiner import Combiner, Decision, Mean
from dsom_pyg.teachers.ensemble import TeacherEnsemble
from dsom_pyg.teachers.lookup import Lookup, ask
from dsom_pyg.teachers.policy import Policy, grid, paper_policy, subsets
from dsom_pyg.teachers.rewards import (
    CrossEntropyReward,
    RankReward,
    Reward,
    combined_cross_entropy,
    reciprocal_ranks,
)
from dsom_pyg.teachers.scorer import EnsembleScorer
from dsom_pyg.teachers.states import (
    CompactState,
    LogitState,
    QueryState,
    State,
)
from dsom_pyg.teachers.weighted import Weighted

__all__ = [
    'Answers',
    'Combiner',
    'CompactState',
    'Context',
    'CrossEntropyReward',
    'Decision',
    'EnsembleScorer',
    'LogitState',
    'Lookup',
    'Mean',
    'Policy',
    'QueryState',
    'RankReward',
    'Reward',
    'State',
    'TeacherEnsemble',
    'Weighted',
    'ask',
    'combined_cross_entropy',
    'grid',
    'paper_policy',
    'reciprocal_ranks',
    'subsets',
]
