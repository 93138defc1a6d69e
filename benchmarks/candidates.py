"""The combiners that are compared."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg import nn
from dsom_pyg.graph import get_split, num_entities, num_relations
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


def candidates(
    data: HeteroData, held: list[Fold], recipe: RecipeConfig
) -> Iterator[tuple[str, Callable[[], nn.Combiner]]]:
    """The combiners that are fitted on held-out triples; 'policy' is the
    library's own.
    """
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
        policy = nn.AdaptiveCombiner(state, actions, base, **options)
        return learned(policy, recipe.policy_lr, recipe.policy_epochs)

    def weights() -> nn.WeightedCombiner:
        return fit_weights(data, held, recipe)

    subsets = nn.AdaptiveCombiner.subsets(count)
    grid = nn.AdaptiveCombiner.grid(count, (0.0, 0.3, 1.0))
    yield 'mean', nn.MeanCombiner
    yield (
        'fixed weights',
        lambda: learned(nn.WeightedCombiner(count), 0.05, 10),
    )
    yield 'weights by relation', weights
    yield 'policy', lambda: fit_policy(data, held, recipe)[0]
    yield (
        'policy, sampled',
        lambda: adaptive(subsets, weights(), estimator='sampled'),
    )
    yield 'policy, teachers unweighted', lambda: adaptive(subsets)
    yield 'policy over a grid of weights', lambda: adaptive(grid)
