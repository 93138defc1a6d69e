"""The policies of the declared tables, fitted on a tiny graph."""

from dataclasses import replace

import pytest
import torch

from dsom_pyg import KG, Recipe
from dsom_pyg.choices import choices
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import drop_modality
from dsom_pyg.policies import HeldOut, RewardedPolicy
from dsom_pyg.stages import Teachers, fit_teachers
from dsom_pyg.training import Loop, Run
from experiments import table

TEACHERS = Teachers(channels=8, loop=Loop(epochs=2, batch_size=100))
POLICIES = {
    row.name: row.what.policy
    for name in ('combiners', 'siblings')
    for each in table.load(name)
    for row in each.rows
    if isinstance(row.what, Recipe) and isinstance(row.what.policy, HeldOut)
}


def test_there_are_some() -> None:
    assert len(POLICIES) == 7


@pytest.mark.parametrize('name', POLICIES)
def test_all_of_them_learn_and_mask(name: str) -> None:
    policy = POLICIES[name]
    learner = replace(policy.learner, epochs=3)
    if isinstance(learner, RewardedPolicy) and learner.base is not None:
        learner = replace(learner, base=replace(learner.base, epochs=3))
    data = drop_modality(FakeMMKG(30, 4, 200)[0], 'text', 0.5)
    run = Run(graph=KG(data), progress=False)
    ensemble = fit_teachers(run, TEACHERS)
    combiner = replace(policy, learner=learner).prepare(
        run, TEACHERS, ensemble
    )
    chosen = choices(run.graph, ensemble, combiner.eval())
    text = ensemble.modalities.index('text')
    (_, _, has), (_, _, lacks) = chosen.tables['the head has text']
    # Nobody is asked who does not know the head.
    assert lacks[text] == pytest.approx(0)
    assert has[text] > 0
    # What was fitted is not the mean.
    (_, _, weights) = chosen.tables['side'][0]
    spread = torch.tensor(weights).std()
    assert spread > 1e-4
