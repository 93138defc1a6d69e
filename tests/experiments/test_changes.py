"""Graphs whose modalities mislead or are missing."""

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import modalities, pool_features
from experiments import changes


def graph() -> HeteroData:
    # 50 entities, of which 40 have one text each, with a number of its own.
    data = HeteroData()
    data['entity'].num_nodes = 50
    data['text'].x = torch.arange(1.0, 41.0)[:, None].repeat(1, 3)
    edge = torch.stack([torch.arange(40), torch.arange(40)])
    data['text', 'describes', 'entity'].edge_index = edge
    return data


def test_shuffled_texts_are_those_of_others() -> None:
    data = graph()
    before, had = pool_features(data, 'text')
    after, has = pool_features(changes.shuffled_texts(data, 0), 'text')
    # Every text is somewhere still, as often as before, ...
    assert torch.equal(after[has].sort(0).values, before[had].sort(0).values)
    # ... and nearly nobody kept the own one: 1 is expected to.
    kept = (after[:, 0] == before[:, 0]) & had
    assert int(kept.sum()) <= 5
    # The given graph stays.
    assert torch.equal(pool_features(data, 'text')[0], before)


def test_shuffled_images_leave_texts() -> None:
    data = graph()
    data['image'].x = torch.arange(1.0, 31.0)[:, None].repeat(1, 2)
    edge = torch.stack([torch.arange(30), torch.arange(30)])
    data['image', 'shows', 'entity'].edge_index = edge
    shuffled = changes.shuffled_images(data, 0)
    before, after = (pool_features(x, 'image')[0] for x in (data, shuffled))
    assert torch.equal(after.sort(0).values, before.sort(0).values)
    assert not torch.equal(after, before)
    texts = [pool_features(x, 'text')[0] for x in (data, shuffled)]
    assert torch.equal(*texts)


def test_noise_is_a_modality_of_unit_rows() -> None:
    data = graph()
    noisy = changes.with_noise(data, 0)
    assert modalities(noisy) == ['text', 'noise']
    assert modalities(data) == ['text']
    x, present = pool_features(noisy, 'noise')
    assert x.shape == (50, 3)
    assert bool(present.all())
    torch.testing.assert_close(x.norm(dim=1), torch.ones(50))


@pytest.mark.parametrize('names', [('text',), ('image',), ('image', 'text')])
def test_only_some_modalities(names: tuple[str, ...]) -> None:
    data = FakeMMKG(30, 4, 200)[0]
    assert modalities(changes.only(data, 0, names)) == list(names)
    assert len(modalities(data)) == 2


def test_missing_modalities() -> None:
    data = FakeMMKG(30, 4, 200)[0]
    less = {seed: changes.missing(data, seed, 0.5) for seed in (0, 1)}
    texts = changes.missing_texts(data, 0, 0.5)
    gone = []
    for name in modalities(data):
        had = pool_features(data, name)[1]
        left = {s: pool_features(x, name)[1] for s, x in less.items()}
        for has in left.values():
            assert int(has.sum()) == round(int(had.sum()) / 2)
            assert not bool((has & ~had).any())
        # Another seed, another draw.
        assert not torch.equal(left[0], left[1])
        gone.append(had & ~left[0])
        kept = torch.equal(pool_features(texts, name)[1], had)
        assert kept == (name != 'text')
    # And each modality has a draw of its own.
    assert not torch.equal(*gone)
