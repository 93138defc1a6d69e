"""Learning rates that fall in the last part of a run."""

import pytest
import torch
from torch import nn

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.training import Loop, Task, fit

DATA = FakeMMKG(30, 4, 200)[0]


@pytest.mark.parametrize('cooldown', [0.0, 0.5, 1.0])
def test_learning_rates_cool_down(cooldown: float) -> None:
    class Falling(Task):
        # Every step of rate lr moves a weight by lr.
        def __init__(self) -> None:
            self.weight = nn.Linear(1, 1, bias=False)
            self.path: list[float] = []
            nn.init.zeros_(self.weight.weight)
            super().__init__('falling', [self.weight])

        def optimizers(self, loop: Loop) -> list[torch.optim.Optimizer]:
            return [torch.optim.SGD(self.weight.parameters(), 0.5)]

        def step(
            self, batch: QueryBatch, precision: str
        ) -> dict[str, torch.Tensor]:
            self.path.append(-self.weight.weight.item())
            return {'loss': self.weight.weight.sum()}

    task = Falling()
    fit(task, DATA, Loop(epochs=4, cooldown=cooldown, batch_size=20))
    task.path.append(-task.weight.weight.item())
    moves = torch.tensor(task.path).diff()
    # As many steps at rates that fall in equal amounts, to end above 0.
    last = round(cooldown * len(moves))
    falls = torch.arange(last, 0, -1) / max(last, 1)
    expected = torch.cat([torch.ones(len(moves) - last), falls]) * 0.5
    torch.testing.assert_close(moves, expected, atol=1e-5, rtol=0)
