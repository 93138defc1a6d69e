"""A policy over weightings of the teachers, rewarded by the rank itself."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from dsom_pyg.losses import expected_reinforce, reinforce
from dsom_pyg.nn.combiners import Combination, Combiner, mean_weights
from dsom_pyg.nn.ensemble import TeacherBatch
from dsom_pyg.nn.outcome import reciprocal_ranks
from dsom_pyg.nn.state import CompactState
from dsom_pyg.query_index import Pairs

LEVELS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)


class AdaptiveCombiner(Combiner):
    r"""Subsets and weights together: the policy picks a weighting.

    An action is one of A given weightings of the M teachers; a teacher with
    weight 0 is left out. Equal weights within every non-empty subset
    (:meth:`subsets`) are the actions of Eq. 7; a grid of weights
    (:meth:`grid`) is the adaptive aggregation that the paper leaves to
    future work. The policy reads a :class:`CompactState`, so that its size
    does not grow with the number of entities, and is an MLP with one hidden
    layer and a softmax over the actions.

    Subsets may be taken of teachers that have weights already: with a
    :obj:`base`, such as a fitted
    :class:`~dsom_pyg.nn.WeightedCombiner`, an action is multiplied by what
    the base gives the query, and the result scaled to the sum that the base
    has. The mean of all is then the base itself, and the policy learns where
    to depart from it; how sharp the combination is stays what the base was
    calibrated to.

    The reward :math:`\mathcal{R}_a` of an action is the filtered reciprocal
    rank of the target, times 100. It is to be taken on triples that the
    teachers were not trained on (:func:`~dsom_pyg.training.cross_fit`): then
    it is what is reported in the end, up to the luck of the draw. (Where a
    batch names no :obj:`known` answers, as in a distillation, the rank is not
    filtered.) The loss is

    .. math::
        - \sum_a \pi_a \mathcal{R}_a
        + \beta \, \mathrm{KL}(\pi \,\|\, \pi_0)

    where :math:`\pi_0`, from which the policy starts, prefers the first
    action by :obj:`prior` nats to each other. What is used in the end is the
    mean weighting, not the action that is best alone: without the second term
    the policy grows more certain than a few held-out triples warrant.

    Args:
        state: What the policy looks at.
        actions: The weightings.
        base: Gives weights that the actions multiply; it is frozen here.
            (default: :obj:`None`)
        prior: How far the first action leads at the start, in nats.
            (default: :obj:`2.0`)
        beta: :math:`\beta`, in points of reciprocal rank.
            (default: :obj:`3.0`)
        hidden_channels: Of the MLP. (default: :obj:`64`)
        dropout: Of the MLP. (default: :obj:`0.2`)
        estimator: ``'exact'``: the expectation over all actions;
            ``'sampled'``: one action a pair, against the reward of the
            first one as the baseline. (default: ``'exact'``)
        mask_missing: Actions that need a teacher whose modality the head
            lacks get probability 0. (default: :obj:`False`)
        hard: Use the most probable action instead of the mean weighting
            under the policy. (default: :obj:`False`)

    Shapes:
        - **actions:** :math:`(A, M)`, non-negative, some weight in each row
    """

    actions: Tensor

    def __init__(
        self,
        state: CompactState,
        actions: Tensor,
        base: Combiner | None = None,
        prior: float = 2.0,
        beta: float = 3.0,
        hidden_channels: int = 64,
        dropout: float = 0.2,
        estimator: str = 'exact',
        mask_missing: bool = False,
        hard: bool = False,
    ) -> None:
        super().__init__()
        if estimator not in ('sampled', 'exact'):
            raise ValueError(
                f"estimator must be 'sampled' or 'exact', got '{estimator}'"
            )
        if (actions < 0).any() or (actions.sum(dim=1) == 0).any():
            raise ValueError(
                'actions must be non-negative, with some weight in each row'
            )
        self.estimator, self.hard = estimator, hard
        self.prior, self.beta = prior, beta
        self.mask_missing = mask_missing
        self.state = state
        self.base = base
        if base is not None:
            base.requires_grad_(False).eval()
        self.register_buffer('actions', actions.float(), persistent=False)
        self.dropout, self.hidden_channels = dropout, hidden_channels
        last = nn.Linear(hidden_channels, len(actions))
        with torch.no_grad():
            last.bias[0] += prior
        self.mlp = nn.Sequential(
            nn.Linear(state.out_channels, hidden_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            last,
        )

    def train(self, mode: bool = True) -> 'AdaptiveCombiner':
        super().train(mode)
        if self.base is not None:  # it has learned already
            self.base.eval()
        return self

    @staticmethod
    def subsets(num_teachers: int) -> Tensor:
        r"""Equal weights in every non-empty subset, ``[2^M - 1, M]``; the
        first action is the mean of all.
        """
        bits = torch.arange(2**num_teachers - 1, 0, -1)[:, None]
        members = bits.bitwise_right_shift(torch.arange(num_teachers)) & 1
        return members / members.sum(dim=1, keepdim=True)

    @staticmethod
    def grid(num_teachers: int, levels: Sequence[float] = LEVELS) -> Tensor:
        r"""All weightings with the given levels whose largest level occurs,
        scaled to sum 1; the first action is the mean of all.

        Shapes:
            - **output:** :math:`(A, M)`,
              :math:`A = L^M - (L - 1)^M` for L levels
        """
        top = max(levels)
        rows = [
            row for row in product(levels, repeat=num_teachers) if top in row
        ]
        rows.sort(key=lambda row: row != (top,) * num_teachers)
        table = torch.tensor(rows)
        return table / table.sum(dim=1, keepdim=True)

    def log_policy(self, batch: TeacherBatch) -> Tensor:
        r"""Log-probabilities of the actions, ``[B, A]``."""
        return self._masked(self.mlp(self.state(batch)), batch)

    def log_prior(self, batch: TeacherBatch) -> Tensor:
        r"""The same of :math:`\pi_0`, ``[B, A]``."""
        scores = self.actions.new_zeros(len(batch), len(self.actions))
        scores[:, 0] = self.prior
        return self._masked(scores, batch)

    def _masked(self, scores: Tensor, batch: TeacherBatch) -> Tensor:
        if self.mask_missing:
            used = (self.actions > 0).float()
            possible = (~batch.available).float() @ used.t() == 0
            # No teacher available: nothing to mask.
            possible |= ~possible.any(dim=1, keepdim=True)
            # Not -inf: 0 * -inf would be NaN in the exact gradient.
            scores = scores.masked_fill(~possible, -1e4)
        return scores.log_softmax(dim=1)

    def weights(self, batch: TeacherBatch) -> Tensor:
        return self._decide(self.log_policy(batch), batch)

    def _decide(self, log_policy: Tensor, batch: TeacherBatch) -> Tensor:
        if self.hard:
            chosen = self.actions[log_policy.argmax(dim=1)]
        else:
            chosen = log_policy.exp() @ self.actions
        if self.base is None:
            return chosen
        base = self._base_weights(batch)
        chosen = chosen * base
        # A subset of teachers that the base leaves out: the base decides.
        chosen = chosen.where(chosen.sum(dim=1, keepdim=True) > 0, base)
        total = base.sum(dim=1, keepdim=True)
        return chosen * (total / chosen.sum(dim=1, keepdim=True))

    def _base_weights(self, batch: TeacherBatch) -> Tensor:
        assert self.base is not None
        base = self.base.weights(batch)
        # A base that leaves out everybody has no say.
        everyone = mean_weights(batch, self.mask_missing)
        return base.where(base.sum(dim=1, keepdim=True) > 0, everyone)

    def forward(
        self,
        batch: TeacherBatch,
        targets: Pairs | None = None,
        student_logits: Tensor | None = None,
    ) -> Combination:
        log_policy = self.log_policy(batch)
        loss: Tensor | None = None
        metrics: dict[str, Tensor] = {}
        if self.training and log_policy.requires_grad and targets is not None:
            loss, metrics = self._learn(log_policy, batch, targets)
        weights = self._decide(log_policy.detach(), batch)
        mean = weights.mean(dim=0)
        for name, weight in zip(batch.ensemble.modalities, mean, strict=True):
            metrics[f'weight {name}'] = weight
        return Combination(batch.combine(weights), weights, loss, metrics)

    def _learn(
        self, log_policy: Tensor, batch: TeacherBatch, targets: Pairs
    ) -> tuple[Tensor, dict[str, Tensor]]:
        base = None if self.base is None else self._base_weights(batch)
        reward = 100 * reciprocal_ranks(
            self.actions, batch.each, targets, batch.known, base
        )
        log_prior = self.log_prior(batch)[targets.row]
        log_policy = log_policy[targets.row]
        policy = log_policy.exp()
        kl = (policy * (log_policy - log_prior)).sum(dim=1).mean()
        policy = policy.detach()
        metrics = {
            'reward': (policy * reward).sum(dim=1).mean(),
            'kl': kl.detach(),
        }
        if self.estimator == 'exact':
            loss = expected_reinforce(log_policy, reward)
        else:
            action = torch.multinomial(policy, 1)
            advantage = reward.gather(1, action) - reward[:, :1]
            loss = reinforce(log_policy.gather(1, action), advantage)
        return loss + self.beta * kl, metrics
