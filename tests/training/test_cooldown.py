"""Learning rates that fall in the last part of a run."""

import pytest
import torch
from torch import nn

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.training import FitConfig, fit

DATA = FakeMMKG(30, 4, 200)[0]


@pytest.mark.parametrize('cooldown', [0.0, 0.5, 1.0])
def test_learning_rates_cool_down(cooldown: float) -> None:
    class Falling:
        # Every step of rate lr moves a weight by lr.
        name = 'falling'

        def __init__(self) -> None:
            self.model = nn.Linear(1, 1, bias=False)
            self.path: list[float] = []
            nn.init.zeros_(self.model.weight)

        def modules(self) -> list[nn.Module]:
            return [self.model]

        def frozen(self) -> list[nn.Module]:
            return []

        def settings(self) -> dict[str, object]:
            return {}

        def optimizers(self, config: FitConfig) -> list[torch.optim.Optimizer]:
            return [
                torch.optim.SGD(self.model.parameters(), config.resolved_lr())
            ]

        def step(self, batch, precision):  # type: ignore[no-untyped-def]
            self.path.append(-self.model.weight.item())
            return {'loss': self.model.weight.sum()}

    task = Falling()
    config = FitConfig(epochs=4, lr=0.5, cooldown=cooldown, batch_size=20)
    fit(task, DATA, config)  # type: ignore[arg-type]
    task.path.append(-task.model.weight.item())
    moves = torch.tensor(task.path).diff()
    # As many steps at rates that fall in equal amounts, to end above 0.
    last = round(cooldown * len(moves))
    falls = torch.arange(last, 0, -1) / max(last, 1)
    expected = torch.cat([torch.ones(len(moves) - last), falls]) * 0.5
    torch.testing.assert_close(moves, expected, atol=1e-5, rtol=0)


def test_cooldown_is_a_share() -> None:
    with pytest.raises(ValueError, match=r'in 0\.\.1, got 3'):
        FitConfig(cooldown=3)
