"""Rewards and policy gradients of the teacher combination."""

import torch
from torch import Tensor


def reward(
    ce_action: Tensor, ce_reference: Tensor, penalty: float = -10.0
) -> Tensor:
    r"""Eq. 8: 1 where the action's cross-entropy is lower, else -10; all are
    ``[K]``.
    """
    better = ce_action < ce_reference
    return torch.where(better, 1.0, penalty).to(ce_action.dtype)


def paper_advantage(
    ce_action: Tensor, ce_all: Tensor, ce_student: Tensor | None
) -> Tensor:
    r""":math:`\delta = R - \hat R` of Eq. 8-10, ``[K]``: -11, 0 or 11.

    Action and baseline (all teachers) are each rewarded against the student.
    """
    if ce_student is None:
        raise ValueError(
            'the reward of Eq. 8 compares with a student; without one use '
            'mean_advantage'
        )
    return reward(ce_action, ce_student) - reward(ce_all, ce_student)


def mean_advantage(
    ce_action: Tensor, ce_all: Tensor, ce_student: Tensor | None
) -> Tensor:
    r"""Eq. 8 with the mean of all teachers in the student's place, ``[K]``.

    :math:`\delta` is 11 where the action beats the mean, -11 where the mean
    beats the action, 0 where they tie: usable on held-out triples, where no
    fair student exists.
    """
    return reward(ce_action, ce_all) - reward(ce_all, ce_action)


def gain_advantage(
    ce_action: Tensor, ce_all: Tensor, ce_student: Tensor | None
) -> Tensor:
    r"""How many nats the action gains over the mean of all teachers, ``[K]``.

    Not in the paper. Clamped to [-5, 5], so that single triples cannot
    outweigh a batch.
    """
    return (ce_all - ce_action).clamp(-5.0, 5.0)


def reinforce(log_prob: Tensor, advantage: Tensor) -> Tensor:
    r"""Eq. 10: :math:`- \mathrm{mean}(\delta \log \pi(a | s))` of sampled
    actions, both ``[K]``. The advantage :math:`\delta` gets no gradient.
    """
    return -(advantage.detach() * log_prob).mean()


def expected_reinforce(log_policy: Tensor, advantage: Tensor) -> Tensor:
    r"""The mean of Eq. 10 over all actions, both ``[K, A]``: its gradient is
    the expectation of that of :func:`reinforce`.
    """
    return -(log_policy.exp() * advantage.detach()).sum(dim=1).mean()
