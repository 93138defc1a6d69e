"""Combiners: how the logits of M teachers become one row a query."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from dsom_pyg.losses import (
    expected_reinforce,
    paper_advantage,
    reinforce,
    reward,
    target_cross_entropy,
)
from dsom_pyg.nn.ensemble import TeacherBatch, TeacherEnsemble
from dsom_pyg.nn.outcome import combined_cross_entropy
from dsom_pyg.query_index import Pairs

Advantage = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass
class Combination:
    r"""What a combiner returns.

    Shapes:
        - **logits:** :math:`(B, E)`, combined, without gradient
        - **weights:** :math:`(B, M)`, of the teachers
        - **loss:** scalar that trains the combiner, or :obj:`None`
        - **metrics:** name to a detached scalar tensor
    """

    logits: Tensor
    weights: Tensor
    loss: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


def mean_weights(batch: TeacherBatch, mask_missing: bool) -> Tensor:
    r"""Equal weights ``[B, M]``, of all teachers or of the available ones."""
    mask = batch.available.float()
    if not mask_missing:
        mask = torch.ones_like(mask)
    # Nobody available: better all than nothing.
    mask = mask.masked_fill(mask.sum(dim=1, keepdim=True) == 0, 1.0)
    return mask / mask.sum(dim=1, keepdim=True)


class Combiner(nn.Module):
    r"""Base class. A subclass gives :meth:`weights`; one that learns also
    overrides :meth:`forward`.
    """

    def weights(self, batch: TeacherBatch) -> Tensor:
        r"""The weights used where no target is known, ``[B, M]``."""
        raise NotImplementedError

    def forward(
        self,
        batch: TeacherBatch,
        targets: Pairs | None = None,
        student_logits: Tensor | None = None,
    ) -> Combination:
        r"""Combine the teachers' logits.

        Args:
            batch: The teachers on a batch of queries.
            targets: Tails of the queries, given in training only.
            student_logits: Of the student, given in training only.

        Shapes:
            - **student_logits:** :math:`(B, E)`
        """
        weights = self.weights(batch)
        return Combination(batch.combine(weights), weights)


class MeanCombiner(Combiner):
    r"""The plain mean of all teachers.

    Args:
        mask_missing: Leave out teachers whose modality the head lacks.
            (default: :obj:`False`)
    """

    def __init__(self, mask_missing: bool = False) -> None:
        super().__init__()
        self.mask_missing = mask_missing

    def weights(self, batch: TeacherBatch) -> Tensor:
        return mean_weights(batch, self.mask_missing)


class ReinforcedCombiner(Combiner):
    r"""A policy that picks a non-empty subset of teachers (Eq. 5-10).

    In training mode an action is sampled for each query and the policy learns
    from its reward. In evaluation mode, or with frozen parameters
    (``requires_grad_(False)``), the most probable subset is taken.

    The policy is an MLP with one hidden ReLU layer over the state and a
    softmax over the :math:`2^M - 1` subsets. The state is that of Eq. 5, the
    teachers' logits, given in one of two forms:

    - ``'logits'``: the :math:`M E` numbers as they are.
    - ``'queries'``: what they depend on. The logits of a teacher are
      :math:`F^m = B^m c^m` with a frozen basis :math:`B^m` and coordinates
      :math:`c^m` of the query (its query vector, or that projected onto the
      features), so the first layer :math:`W_m F^m = (W_m B^m) c^m` can be
      stored as :math:`V_m = W_m B^m`. Where the basis has full column rank,
      both forms describe the same functions; built by
      :meth:`for_ensemble`, they start from the same distribution, and the
      second costs a small fraction. Only the path of the optimiser differs.

    Args:
        num_teachers: M.
        in_channels: Size of the state.
        hidden_channels: Of the MLP. (default: :obj:`1024`, as in the paper)
        state: ``'queries'`` or ``'logits'``. (default: ``'queries'``)
        estimator: ``'sampled'``: one action a query, as in the paper;
            ``'exact'``: the expectation over all actions.
            (default: ``'sampled'``)
        mask_missing: Subsets with a teacher whose modality the head lacks
            get probability 0. (default: :obj:`False`, as in the paper)
        advantage: From the cross-entropies of the action, of all teachers
            and of the student (each ``[..., K]``) to :math:`\delta`.
            (default: :func:`~dsom_pyg.losses.paper_advantage`)
    """

    subsets: Tensor

    def __init__(
        self,
        num_teachers: int,
        in_channels: int,
        hidden_channels: int = 1024,
        state: str = 'queries',
        estimator: str = 'sampled',
        mask_missing: bool = False,
        advantage: Advantage = paper_advantage,
    ) -> None:
        super().__init__()
        if not 1 <= num_teachers <= 8:
            raise ValueError(
                f'num_teachers must be 1 to 8 (2^M - 1 subsets), '
                f'got {num_teachers}'
            )
        if state not in ('queries', 'logits'):
            raise ValueError(
                f"state must be 'queries' or 'logits', got '{state}'"
            )
        if estimator not in ('sampled', 'exact'):
            raise ValueError(
                f"estimator must be 'sampled' or 'exact', got '{estimator}'"
            )
        self.state, self.estimator = state, estimator
        self.hidden_channels = hidden_channels
        self.mask_missing, self.advantage = mask_missing, advantage
        bits = torch.arange(1, 2**num_teachers)[:, None]
        subsets = bits.bitwise_right_shift(torch.arange(num_teachers)) & 1
        self.register_buffer('subsets', subsets.bool(), persistent=False)
        # On the host, so that naming an action never waits for a device.
        self._members = [
            [m for m in range(num_teachers) if action >> m & 1]
            for action in range(1, 2**num_teachers)
        ]
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden_channels),
            nn.ReLU(),
            nn.Linear(hidden_channels, len(subsets)),
        )

    @classmethod
    def for_ensemble(
        cls,
        ensemble: TeacherEnsemble,
        hidden_channels: int = 1024,
        state: str = 'queries',
        estimator: str = 'sampled',
        mask_missing: bool = False,
        advantage: Advantage = paper_advantage,
    ) -> 'ReinforcedCombiner':
        r"""A combiner of the right size for these (trained) teachers."""
        size = next(iter(ensemble)).num_entities * len(ensemble)
        width = sum(t.entities.basis().size(1) for t in ensemble)
        policy = cls(
            len(ensemble),
            width if state == 'queries' else size,
            hidden_channels,
            state,
            estimator,
            mask_missing,
            advantage,
        )
        if state == 'queries':
            policy._fold(ensemble, size)
        return policy

    @torch.no_grad()
    def _fold(self, ensemble: TeacherEnsemble, size: int) -> None:
        # V_m = W_m B^m with W drawn as nn.Linear draws it over M * E inputs.
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        bound = size**-0.5
        blocks = []
        for teacher in ensemble:
            matrix = teacher.entities.basis()
            shape = (first.out_features, matrix.size(0))
            w = torch.empty(shape, device=matrix.device)
            blocks.append(w.uniform_(-bound, bound) @ matrix)
        first.weight.copy_(torch.cat(blocks, dim=1))
        nn.init.uniform_(first.bias, -bound, bound)

    @torch.no_grad()
    def transfer(self, old: TeacherEnsemble, new: TeacherEnsemble) -> None:
        r"""Carry a ``'queries'`` policy from some teachers to others.

        The smallest W with :math:`W B_{old} = V` reads logits, which mean
        the same for any teachers over the same entities; folded into the new
        teachers it is :math:`V B_{old}^+ B_{new}`. Teachers over the same
        features share their basis, and nothing changes.
        """
        if self.state == 'logits':
            return
        first = self.mlp[0]
        assert isinstance(first, nn.Linear)
        bases = [t.entities.basis() for t in old]
        widths = [basis.size(1) for basis in bases]
        blocks = []
        for v, a, teacher in zip(
            first.weight.split(widths, dim=1), bases, new, strict=True
        ):
            b = teacher.entities.basis()
            if a.shape != b.shape or not torch.equal(a, b):
                # gelsd: a basis may have less than full rank.
                bridge = torch.linalg.lstsq(
                    a.cpu(), b.cpu(), driver='gelsd'
                ).solution
                v = v @ bridge.to(v.device)
            blocks.append(v)
        first.weight.copy_(torch.cat(blocks, dim=1))

    def strategies(self, modalities: list[str]) -> list[str]:
        r"""Readable names of the actions, such as ``'structure+text'``."""
        return [
            '+'.join(modalities[m] for m in members)
            for members in self._members
        ]

    def log_policy(self, batch: TeacherBatch) -> Tensor:
        r"""Eq. 6: log-probabilities of the subsets, ``[B, 2^M - 1]``."""
        if self.state == 'queries':
            state = batch.queries
        else:
            state = batch.logits.flatten(start_dim=1)
        scores: Tensor = self.mlp(state)
        if self.mask_missing:
            absent = (~batch.available).float() @ self.subsets.float().t()
            possible = absent == 0
            # No teacher available: nothing to mask.
            possible |= ~possible.any(dim=1, keepdim=True)
            scores = scores.masked_fill(~possible, -torch.inf)
        return scores.log_softmax(dim=1)

    def action_weights(self, action: Tensor) -> Tensor:
        r"""Eq. 7: equal weights for the members of the chosen subsets.

        Shapes:
            - **action:** :math:`(B)`
            - **output:** :math:`(B, M)`
        """
        chosen = self.subsets[action].float()
        return chosen / chosen.sum(dim=1, keepdim=True)

    def weights(self, batch: TeacherBatch) -> Tensor:
        r"""Weights of the most probable subset."""
        return self.action_weights(self.log_policy(batch).argmax(dim=1))

    def forward(
        self,
        batch: TeacherBatch,
        targets: Pairs | None = None,
        student_logits: Tensor | None = None,
    ) -> Combination:
        log_policy = self.log_policy(batch)
        learning = self.training and log_policy.requires_grad
        if not learning or targets is None:
            action = log_policy.argmax(dim=1)
            weights = self.action_weights(action)
            combined = batch.combine(weights)
            return Combination(
                combined, weights, None, self._shares(action, batch)
            )
        action = torch.multinomial(log_policy.detach().exp(), 1).squeeze(1)
        weights = self.action_weights(action)
        ce_student = None
        if student_logits is not None:
            ce_student = target_cross_entropy(student_logits, targets)
        # Both from the same function: where the action is the baseline,
        # delta must be exactly 0.
        ce_action = combined_cross_entropy(
            weights, batch.each, targets, batch.known
        )
        everyone = mean_weights(batch, self.mask_missing)
        ce_all = combined_cross_entropy(
            everyone, batch.each, targets, batch.known
        )
        delta = self.advantage(ce_action, ce_all, ce_student)
        if self.estimator == 'sampled':
            log_prob = log_policy.gather(1, action[:, None]).squeeze(1)
            loss = reinforce(log_prob[targets.row], delta)
        else:
            loss = self._exact_loss(
                log_policy, batch, targets, ce_all, ce_student
            )
        metrics = {'advantage': delta.mean(), **self._shares(action, batch)}
        if ce_student is not None:
            metrics['reward'] = reward(ce_action, ce_student).mean()
        combined = batch.combine(weights)
        return Combination(combined, weights, loss, metrics)

    def _shares(
        self, action: Tensor, batch: TeacherBatch
    ) -> dict[str, Tensor]:
        count = one_hot(action, len(self.subsets)).sum(dim=0)
        names = self.strategies(batch.ensemble.modalities)
        shares = count / max(1, action.numel())
        return {
            f'share {name}': share
            for name, share in zip(names, shares, strict=True)
        }

    def _cross_entropy(
        self, action: int, batch: TeacherBatch, targets: Pairs
    ) -> Tensor:
        weights = self.action_weights(torch.full_like(batch.head, action))
        return combined_cross_entropy(
            weights, batch.each, targets, batch.known
        )

    def _exact_loss(
        self,
        log_policy: Tensor,
        batch: TeacherBatch,
        targets: Pairs,
        ce_all: Tensor,
        ce_student: Tensor | None,
    ) -> Tensor:
        columns = []
        for position in range(len(self.subsets)):
            ce = self._cross_entropy(position, batch, targets)
            columns.append(self.advantage(ce, ce_all, ce_student))
        possible = log_policy > -torch.inf
        # 0 * -inf of a masked subset would be NaN in the gradient.
        log_policy = log_policy.masked_fill(~possible, -1e4)
        delta = torch.stack(columns, dim=1)
        return expected_reinforce(log_policy[targets.row], delta)
