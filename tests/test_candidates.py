"""The combiners that the benchmark compares."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import drop_modality
from dsom_pyg.nn import Combiner, MeanCombiner
from dsom_pyg.plots import choices
from dsom_pyg.training import (
    FitConfig,
    RecipeConfig,
    build_teachers,
    fit_folds,
)

ROOT = Path(__file__).parents[1]
DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'candidates', raising=False)
    import candidates  # type: ignore[import-not-found]

    return candidates


@pytest.mark.parametrize('device', DEVICES)
def test_all_of_them_learn_and_decide(module: object, device: str) -> None:
    loop = FitConfig(
        epochs=3,
        batch_size=50,
        precision='fp32',
        device=device,
        progress=False,
    )
    recipe = RecipeConfig(
        hidden_channels=8, teachers=loop, student=loop, policy_epochs=3
    )
    data = drop_modality(FakeMMKG(30, 4, 200)[0], 'text', 0.5)
    ensemble = build_teachers(data, recipe)
    folds = fit_folds(data, recipe, 3)
    pairs: Iterable[tuple[str, Callable[[], Combiner]]]
    pairs = module.candidates(data, folds, recipe)  # type: ignore[attr-defined]
    text = ensemble.modalities.index('text')
    names, overall = [], []
    for name, make in pairs:
        there = choices(data, ensemble.to(device), make().to(device).eval())
        (_, _, with_text), (_, _, without) = there.tables['the head has text']
        # Nobody is asked who does not know the head.
        assert without[text] == pytest.approx(0), name
        assert with_text[text] > 0, name
        names.append(name)
        overall.append(there.tables['all'][0][2])
    assert tuple(names) == module.NAMES  # type: ignore[attr-defined]
    # What was fitted is not the mean.
    plain = choices(data, ensemble, MeanCombiner(mask_missing=True))
    mean = torch.tensor(plain.tables['all'][0][2])
    torch.testing.assert_close(torch.tensor(overall[0]), mean)
    for name, weights in zip(names[1:], overall[1:], strict=True):
        assert (torch.tensor(weights) - mean).abs().max() > 1e-4, name
