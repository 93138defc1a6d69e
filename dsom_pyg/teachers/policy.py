"""The policy: which teachers to ask, decided query by query (Eq. 5-10)."""

from collections.abc import Sequence
from functools import partial
from itertools import compress, product

import torch
from torch import Tensor, nn

from dsom_pyg.graph import check_sizes
from dsom_pyg.losses import (
    expected_reinforce,
    paper_advantage,
    reinforce,
)
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from dsom_pyg.teachers.answers import Answers
from dsom_pyg.teachers.combiner import Combiner, Weighing, based, mean_weights
from dsom_pyg.teachers.ensemble import TeacherEnsemble
from dsom_pyg.teachers.rewards import Advantage, CrossEntropyReward, Reward
from dsom_pyg.teachers.states import LogitState, QueryState, State

DECISIONS = ('sample', 'best', 'mean')
ESTIMATORS = ('exact', 'sampled')
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)


def subsets(num_teachers: int) -> Tensor:
    r"""Equal weights in every non-empty subset of teachers (Eq. 7),
    ``[2^M - 1, M]``; the first action is the mean of all.
    """
    if not 1 <= num_teachers <= 8:
        raise ValueError(
            f'num_teachers must be 1 to 8 (2^M - 1 subsets), '
            f'got {num_teachers}'
        )
    bits = torch.arange(2**num_teachers - 1, 0, -1)[:, None]
    members = bits.bitwise_right_shift(torch.arange(num_teachers)) & 1
    return members / members.sum(dim=1, keepdim=True)


def grid(num_teachers: int, levels: Sequence[float] = LEVELS) -> Tensor:
    r"""All weightings with L levels in which the largest one occurs, scaled
    to sum 1, ``[A, M]`` with :math:`A = L^M - (L - 1)^M`; the first action is
    the mean of all. The paper leaves this adaptive aggregation to future work.
    """
    top = max(levels)
    if not (top > 0 and min(levels) >= 0):
        raise ValueError(
            f'levels must not be negative, and one must be positive, got '
            f'{levels}'
        )
    rows = [row for row in product(levels, repeat=num_teachers) if top in row]
    rows.sort(key=lambda row: row != (top,) * num_teachers)
    table = torch.tensor(rows)
    return table / table.sum(dim=1, keepdim=True)


class Policy(Combiner):
    r"""A softmax over actions, trained by reinforcement.

    The policy looks at a state of the query (Eq. 5), an MLP with one hidden
    ReLU layer scores A actions (Eq. 6), each a weighting of the M teachers
    (Eq. 7), and what is decided gets a reward (Eq. 8). The loss is

    .. math::
        - \mathrm{E}_{a \sim \pi} \, \delta_a
        + \beta \, \mathrm{KL}(\pi \,\|\, \pi_0)

    where :math:`\pi_0`, from which the policy starts, prefers the first
    action by :obj:`prior` nats to each other. In the paper (Eq. 10)
    :math:`\beta` is 0.

    With a :obj:`base`, such as fitted weights, an action multiplies what the
    base gives the query, and the result is scaled to the sum that the base
    has. Choosing all teachers reproduces the base; the policy learns when to
    deviate.

    Args:
        state: What the policy looks at.
        actions: The weightings ``[A, M]``, non-negative, some weight in each
            row; see :func:`subsets` and :func:`grid`.
        reward: What it is rewarded for.
        decision: ``'mean'``: the weights are averaged over the policy.
            ``'best'``: those of the most probable action. ``'sample'``: one
            action a query is drawn while the policy learns, and the most
            probable one is taken afterwards, as in the paper.
        estimator: ``'exact'``: the expectation over all actions;
            ``'sampled'``: one action, as in the paper.
        base: Gives weights that the actions multiply; it is frozen here.
        mask_missing: Actions that need a teacher whose modality the head
            lacks get probability 0.
        prior: How far the first action leads at the start, in nats.
        kl: :math:`\beta`, which keeps a policy that sees few held-out triples
            from becoming overconfident.
        mlp_channels: Width of the hidden layer; the paper's is 1024.
        dropout: Of the hidden layer.
        lr: Learning rate of Adam.
    """

    actions: Tensor

    def __init__(
        self,
        state: State,
        actions: Tensor,
        reward: Reward,
        decision: str,
        estimator: str = 'exact',
        base: Combiner | None = None,
        mask_missing: bool = False,
        prior: float = 0.0,
        kl: float = 0.0,
        mlp_channels: int = 1024,
        dropout: float = 0.0,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ('decision', decision, DECISIONS),
            ('estimator', estimator, ESTIMATORS),
        ):
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {known}, got '{value}'"
                )
        some = actions.sum(dim=1) > 0
        if not ((actions >= 0).all() and some.all()):
            raise ValueError(
                'actions must be non-negative, with some weight in each row'
            )
        check_sizes(state=state, base=base)
        if base is not None and base.signed:
            raise ValueError(
                f'weights of {type(base).__name__} may be negative, so that '
                'no action can multiply them'
            )
        self.wide = state.wide or (base is not None and base.wide)
        self.state, self.base, self.reward = state, base, reward
        self.decision, self.estimator = decision, estimator
        self.mask_missing = mask_missing
        self.prior, self.kl = prior, kl
        self.mlp_channels, self.dropout, self.lr = mlp_channels, dropout, lr
        if base is not None:
            base.requires_grad_(False).eval()
        self.register_buffer(
            'actions', actions.to(torch.get_default_dtype()), persistent=False
        )
        sizes = [(state.out_channels, mlp_channels)]
        sizes.append((mlp_channels, len(actions)))
        # In the order that each had in 0.1: a seed means the same draws.
        step = -1 if state.drawn_last else 1
        first, last = [nn.Linear(*size) for size in sizes[::step]][::step]
        with torch.no_grad():
            last.bias[0] += prior
        self.mlp = nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), last)

    @property
    def num_entities(self) -> int | None:
        r"""E, if its state or its base is made for that many alone."""
        return self._told('num_entities')

    @property
    def num_relations(self) -> int | None:
        r"""R, if its state or its base is made for that many alone."""
        return self._told('num_relations')

    def _told(self, size: str) -> int | None:
        parts = (self.state, self.base)
        return next(
            filter(None, (getattr(x, size, None) for x in parts)), None
        )

    def train(self, mode: bool = True) -> 'Policy':
        super().train(mode)
        if self.base is not None:  # it has learned already
            self.base.eval()
        return self

    def strategies(self, modalities: list[str]) -> list[str]:
        r"""Whom each action asks, such as ``'structure+text'``."""
        rows = (self.actions > 0).tolist()
        return ['+'.join(compress(modalities, row)) for row in rows]

    def log_policy(self, answers: Answers) -> Tensor:
        r"""Eq. 6: log-probabilities of the actions, ``[B, A]``."""
        return self._masked(self.mlp(self.state(answers)), answers)

    def _masked(self, scores: Tensor, answers: Answers) -> Tensor:
        if self.mask_missing:
            used = (self.actions > 0).to(torch.get_default_dtype())
            possible = (~answers.available).to(
                torch.get_default_dtype()
            ) @ used.t() == 0
            # No teacher available: nothing to mask.
            possible |= ~possible.any(dim=1, keepdim=True)
            # Not -inf: 0 * -inf would be NaN in the exact gradient.
            scores = scores.masked_fill(~possible, -1e4)
        return scores.log_softmax(dim=1)

    def weights(self, answers: Answers) -> Tensor:
        return self._weights(self.log_policy(answers), answers)

    def read(self, answers: Answers, targets: Pairs) -> None:
        self.state(answers)
        self._base_of(answers)
        if not self._one_action or self._compares_nothing:
            self._rewards(answers, targets)

    @property
    def _one_action(self) -> bool:
        # The action that decides is the one that is rewarded.
        return self.decision == 'sample' and self.estimator == 'sampled'

    @property
    def _compares_nothing(self) -> bool:
        # Such as a rank: the baseline is the first action.
        return not hasattr(self.reward, 'advantage')

    def forward(
        self,
        answers: Answers,
        targets: Pairs | None = None,
        student: Scores | None = None,
    ) -> Weighing:
        log_policy = self.log_policy(answers)
        learning = self.training and log_policy.requires_grad
        if not learning or targets is None:
            weights = self._weights(log_policy.detach(), answers)
            return Weighing(weights, None, self._shares(weights, answers))
        action = None
        if self.decision == 'sample':
            policy = log_policy.detach().exp()
            action = torch.multinomial(policy, 1).squeeze(1)
            weights = self._based(self.actions[action], answers)
        else:
            weights = self._weights(log_policy.detach(), answers)
        # The rows of the pairs, once: gradients meet here.
        of_pairs = log_policy[targets.row]
        metrics = {}
        if self.kl:
            scores = torch.zeros_like(log_policy)
            scores[:, 0].fill_(self.prior)
            of_prior = self._masked(scores, answers)[targets.row]
            divergence = of_pairs.exp() * (of_pairs - of_prior)
            kl = divergence.sum(dim=1).mean()
            metrics['kl'] = kl.detach()
        if action is not None and self._one_action:
            everyone = mean_weights(answers, self.mask_missing)
            delta = self.reward(
                torch.ones_like(weights[:1]),
                answers,
                targets,
                student,
                weights,
                everyone,
            ).squeeze(1)
            if self._compares_nothing:
                baseline = self._rewards(answers, targets, student)
                delta = delta - baseline.squeeze(1)
            log_prob = log_policy.gather(1, action[:, None]).squeeze(1)
            loss = reinforce(log_prob[targets.row], delta)
            metrics['advantage'] = delta.mean()
        else:
            every = self._rewards(answers, targets, student)
            policy = of_pairs.detach().exp()
            metrics['reward'] = (policy * every).sum(dim=1).mean()
            loss = self._loss(of_pairs, policy, every)
        if self.kl:
            loss = loss + self.kl * kl
        metrics |= self._shares(weights, answers)
        return Weighing(weights, loss, metrics)

    def _rewards(
        self,
        answers: Answers,
        targets: Pairs,
        student: Scores | None = None,
    ) -> Tensor:
        # Of all actions, [K, A]; of the first one where another is drawn.
        base = self._base_of(answers)
        everyone = mean_weights(answers, self.mask_missing)
        rest = targets, student, base, everyone
        actions = self.actions[:1] if self._one_action else self.actions
        return answers.once(
            self, lambda: self.reward(actions, answers, *rest), True
        )

    def _loss(
        self, log_policy: Tensor, policy: Tensor, reward: Tensor
    ) -> Tensor:
        if self.estimator == 'exact':
            return expected_reinforce(log_policy, reward)
        # One action for each pair; the baseline is the first action.
        action = torch.multinomial(policy, 1)
        advantage = reward.gather(1, action) - reward[:, :1]
        return reinforce(log_policy.gather(1, action), advantage)

    def _weights(self, log_policy: Tensor, answers: Answers) -> Tensor:
        if self.decision == 'mean':
            chosen = log_policy.exp() @ self.actions
        else:
            chosen = self.actions[log_policy.argmax(dim=1)]
        return self._based(chosen, answers)

    def _based(self, chosen: Tensor, answers: Answers) -> Tensor:
        base = self._base_of(answers)
        return chosen if base is None else based(chosen, base)

    def _base_of(self, answers: Answers) -> Tensor | None:
        if self.base is None:
            return None
        base = answers.once(self.base, partial(self.base.weights, answers))
        # A base that leaves out everybody has no say.
        everyone = mean_weights(answers, self.mask_missing)
        return base.where(base.sum(dim=1, keepdim=True) > 0, everyone)

    def _shares(self, weights: Tensor, answers: Answers) -> dict[str, Tensor]:
        # How much of the say each teacher has, on average.
        names = [f'weight {m}' for m in answers.ensemble.modalities]
        return dict(zip(names, weights.mean(dim=0), strict=True))


def paper_policy(
    ensemble: TeacherEnsemble,
    mlp_channels: int = 1024,
    estimator: str = 'sampled',
    mask_missing: bool = False,
    advantage: Advantage = paper_advantage,
    lr: float = 1e-3,
) -> Policy:
    r"""The policy as the paper writes it (Eq. 5-10), for these teachers.

    It picks a non-empty subset of them. Its state is the teachers' logits, in
    the form that :class:`~dsom_pyg.teachers.QueryState` gives them; if some
    teacher is no dot product, such as TransE or one that counts, all
    :math:`M E` of them, each with :obj:`mlp_channels` weights. Its
    reward compares with the student. In the paper no subset is masked. For
    the arguments see :class:`Policy` and
    :class:`~dsom_pyg.teachers.CrossEntropyReward`.
    """
    if ensemble.bilinear is None:
        state: State = LogitState(len(ensemble), ensemble.num_entities)
    else:
        state = QueryState(ensemble)
    policy = Policy(
        state,
        subsets(len(ensemble)).flip(0),
        CrossEntropyReward(advantage),
        'sample',
        estimator,
        mask_missing=mask_missing,
        mlp_channels=mlp_channels,
        lr=lr,
    )
    first = policy.mlp[0]
    if isinstance(state, QueryState):
        assert isinstance(first, nn.Linear)
        state.fold(first, ensemble)
    return policy
