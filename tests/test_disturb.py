"""Features that mislead: what the exclusion benchmarks are made of."""

import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg.graph import modalities, pool_features

ROOT = Path(__file__).parents[1]


@pytest.fixture
def disturb(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'disturb', raising=False)
    import disturb  # type: ignore[import-not-found]

    return disturb


def graph() -> HeteroData:
    # 50 entities, of which 40 have one text each, with a number of its own.
    data = HeteroData()
    data['entity'].num_nodes = 50
    data['text'].x = torch.arange(1.0, 41.0)[:, None].repeat(1, 3)
    edge = torch.stack([torch.arange(40), torch.arange(40)])
    data['text', 'describes', 'entity'].edge_index = edge
    return data


def test_shuffled_texts_are_those_of_others(disturb) -> None:  # type: ignore[no-untyped-def]
    data = graph()
    before, had = pool_features(data, 'text')
    disturb.shuffle_texts(data)
    after, has = pool_features(data, 'text')
    # Every text is somewhere still, as often as before, ...
    assert torch.equal(after[has].sort(0).values, before[had].sort(0).values)
    # ... and nearly nobody kept the own one: 1 is expected to.
    kept = (after[:, 0] == before[:, 0]) & had
    assert int(kept.sum()) <= 5


def test_noise_is_a_modality_of_unit_rows(disturb) -> None:  # type: ignore[no-untyped-def]
    data = graph()
    disturb.add_noise(data, 50)
    assert modalities(data) == ['text', 'noise']
    x, present = pool_features(data, 'noise')
    assert x.shape == (50, 3)
    assert bool(present.all())
    torch.testing.assert_close(x.norm(dim=1), torch.ones(50))
