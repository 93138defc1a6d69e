"""Teachers, and the policies that weigh what they say."""

from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.teachers.boosting import Boosted, boost
from dsom_pyg.teachers.combiner import Combiner, Mean, Weighing
from dsom_pyg.teachers.ensemble import TeacherEnsemble
from dsom_pyg.teachers.lookup import Lookup, ask
from dsom_pyg.teachers.meta import MetaLearner
from dsom_pyg.teachers.mulde import MulDE
from dsom_pyg.teachers.policy import Policy, grid, paper_policy, subsets
from dsom_pyg.teachers.rewards import (
    CrossEntropyReward,
    RankReward,
    Reward,
    combined_cross_entropy,
    reciprocal_ranks,
)
from dsom_pyg.teachers.scorer import EnsembleScorer
from dsom_pyg.teachers.selection import Best, MostConfident
from dsom_pyg.teachers.states import (
    CompactState,
    LogitState,
    QueryState,
    State,
)
from dsom_pyg.teachers.weighted import Weighted

__all__ = [
    'Answers',
    'Best',
    'Boosted',
    'Combiner',
    'CompactState',
    'Context',
    'CrossEntropyReward',
    'Weighing',
    'EnsembleScorer',
    'LogitState',
    'Lookup',
    'Mean',
    'MetaLearner',
    'MostConfident',
    'MulDE',
    'Policy',
    'QueryState',
    'RankReward',
    'Reward',
    'State',
    'TeacherEnsemble',
    'Weighted',
    'ask',
    'boost',
    'combined_cross_entropy',
    'grid',
    'paper_policy',
    'reciprocal_ranks',
    'subsets',
]
