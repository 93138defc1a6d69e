"""The combiners that are compared."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg import nn
from dsom_pyg.graph import get_split, num_entities, num_relations
from dsom_pyg.losses import mean_advantage
from dsom_pyg.training import (
    Fold,
    PolicyTask,
    RecipeConfig,
    fit,
    fit_policy,
    fit_weights,
    held_out_data,
    policy_loop,
)

# Of 'policy'; their students are trained if they are asked for.
SIBLINGS = (
    'policy, sampled',
    'policy, teachers unweighted',
    'policy over a grid of weights',
    'policy from full logits',
)
NAMES = ('mean', 'fixed weights', 'weights by relation', 'policy', *SIBLINGS)

# Of the policy from full logits, from trials on validation of MKG-Y.
LOGITS_HIDDEN, LOGITS_LR, LOGITS_EPOCHS = 64, 1e-3, 4


def candidates(
    data: HeteroData, held: list[Fold], recipe: RecipeConfig
) -> Iterator[tuple[str, Callable[[], nn.Combiner]]]:
    """The mean and what is fitted on held-out triples, by their names;
    'policy' is the library's own.
    """
    mask = recipe.mask_missing
    count, size = len(held[0].ensemble), num_relations(data)
    train = get_split(data, 'train')
    degree = torch.bincount(
        train.edge_index.flatten(), minlength=num_entities(data)
    )

    def learned(combiner: nn.Combiner, lr: float, epochs: int) -> nn.Combiner:
        loop = policy_loop(recipe, epochs)
        fit(PolicyTask(held, combiner, lr), held_out_data(data, held), loop)
        return combiner.requires_grad_(False).eval()

    def adaptive(
        actions: Tensor, base: nn.Combiner | None = None, **options: Any
    ) -> nn.Combiner:
        torch.manual_seed(recipe.teachers.seed)
        state = nn.CompactState(count, size, degree)
        policy = nn.AdaptiveCombiner(
            state, actions, base, mask_missing=mask, **options
        )
        return learned(policy, recipe.policy_lr, recipe.policy_epochs)

    def weights() -> nn.WeightedCombiner:
        return fit_weights(data, held, recipe)

    def from_logits() -> nn.Combiner:
        # The paper's policy and reward, but for held-out triples and, as no
        # student is fair there, with the mean in its place.
        torch.manual_seed(recipe.teachers.seed)
        policy = nn.ReinforcedCombiner.for_ensemble(
            held[0].ensemble,
            LOGITS_HIDDEN,
            state='logits',
            estimator='exact',
            mask_missing=mask,
            advantage=mean_advantage,
        )
        return learned(policy, LOGITS_LR, LOGITS_EPOCHS)

    subsets = nn.AdaptiveCombiner.subsets(count)
    grid = nn.AdaptiveCombiner.grid(count, (0.0, 0.3, 1.0))
    makers = (
        lambda: nn.MeanCombiner(mask),
        lambda: learned(
            nn.WeightedCombiner(count, mask_missing=mask), 0.05, 10
        ),
        weights,
        lambda: fit_policy(data, held, recipe)[0],
        lambda: adaptive(subsets, weights(), estimator='sampled'),
        lambda: adaptive(subsets),
        lambda: adaptive(grid),
        from_logits,
    )
    yield from zip(NAMES, makers, strict=True)
