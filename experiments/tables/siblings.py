"""What makes the policy good: its weights, its estimator, or its state?"""

from functools import partial

from dsom_pyg import Recipe
from dsom_pyg.losses import mean_advantage
from dsom_pyg.policies import HeldOut, RewardedPolicy
from dsom_pyg.stages import Teachers
from dsom_pyg.teachers import CrossEntropyReward, LogitState, grid
from experiments.table import Row, Table

SAMPLED = RewardedPolicy(estimator='sampled')
UNWEIGHTED = RewardedPolicy(base=None)
GRID = RewardedPolicy(base=None, actions=partial(grid, levels=(0.0, 0.3, 1.0)))
# The paper's policy and reward, but for held-out triples and, as no student
# is fair there, with the mean of the teachers in its place. Width, rate and
# epochs are from trials on validation of MKG-Y.
FULL_LOGITS = RewardedPolicy(
    base=None,
    state=LogitState,
    reward=CrossEntropyReward(mean_advantage),
    decision='best',
    prior=0.0,
    kl=0.0,
    mlp_channels=64,
    dropout=0.0,
    epochs=4,
    lr=1e-3,
)

TABLES = (
    Table(
        ('DB15K', 'MKG_W', 'MKG_Y'),
        (
            Row('single teachers', Teachers()),
            Row('policy', Recipe()),
            *(
                Row(name, Recipe(policy=HeldOut(learner=learner)))
                for name, learner in (
                    ('policy, sampled', SAMPLED),
                    ('policy, teachers unweighted', UNWEIGHTED),
                    ('policy over a grid of weights', GRID),
                    ('policy from full logits', FULL_LOGITS),
                )
            ),
        ),
    ),
)
