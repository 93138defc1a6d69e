r"""Losses as pure functions of scores over all entities.

Letters: B queries, E entities, M teachers, A actions (subsets of teachers),
K (query, tail) pairs, D complex dimension. Everything is computed from
log-softmax values in the floating type of the inputs, never from
probabilities that can underflow.
"""

from dsom_pyg.losses.distillation import (
    Decoupled,
    decoupled_kd,
    decoupled_parts,
    kd,
    neighbor_decoupled_kd,
)
from dsom_pyg.losses.reinforce import (
    expected_reinforce,
    gain_advantage,
    mean_advantage,
    paper_advantage,
    reinforce,
    reward,
)
from dsom_pyg.losses.supervised import (
    bernoulli_weights,
    margin_loss,
    multi_label_bce,
    n3,
    query_cross_entropy,
    self_adversarial,
    target_cross_entropy,
)

__all__ = [
    'Decoupled',
    'bernoulli_weights',
    'decoupled_kd',
    'decoupled_parts',
    'expected_reinforce',
    'gain_advantage',
    'kd',
    'margin_loss',
    'mean_advantage',
    'multi_label_bce',
    'n3',
    'neighbor_decoupled_kd',
    'paper_advantage',
    'query_cross_entropy',
    'reinforce',
    'reward',
    'self_adversarial',
    'target_cross_entropy',
]
