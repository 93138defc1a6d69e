"""Which entities a relation takes."""

import pytest
import torch

from dsom_pyg.completion import Completer, Ranges, ranges


def test_few_are_kept(
    model: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = model.graph
    sizes = graph.num_entities, graph.num_relations
    every = Ranges(graph.index('train'), *sizes)
    some = Ranges(graph.index('train'), *sizes)
    # Room for three of them.
    monkeypatch.setattr(ranges, 'KEPT', 3 * graph.num_entities)
    counted = []
    work_out = some._of
    monkeypatch.setattr(
        some, '_of', lambda rel: counted.append(rel) or work_out(rel)
    )
    for rel in (0, 1, 2, 0, 3, 0, 1):
        assert torch.equal(some[rel], every._of(rel))
    # The one that was asked for longest ago went when the fourth came.
    assert counted == [0, 1, 2, 3, 1]
