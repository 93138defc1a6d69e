"""MoSE-MI learns from validation, and is chosen by filtered ranks."""

from dataclasses import replace

import pytest
import torch

from dsom_pyg import KG, evaluate
from dsom_pyg.datasets import fake
from dsom_pyg.graph import Triples, add_reciprocals, concat, draw, with_split
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.stages import Teachers, fit_teachers
from dsom_pyg.training import Loop, Run
from experiments.mixing import Unrivalled, mixed
from experiments.table import MIXING, Mixed


def test_its_epoch_is_chosen_by_filtered_ranks() -> None:
    graph = KG(fake.FakeMMKG(30, num_triples=300, seed=1)[0])
    teachers = Teachers(
        channels=4, joint=False, loop=Loop(epochs=1, batch_size=50)
    )
    what = Mixed(teachers, loop=replace(MIXING, epochs=1))
    run = Run(graph=graph, folder=None, seed=0)
    model, result = mixed(run, what, fit_teachers(run, teachers))
    # As on a graph whose train has all that is known but the tenth.
    held = graph.triples('val')
    tenth = draw(held, 0.1, 0, 'nothing')
    rest = held.select(~tenth)
    data = with_split(graph.data, 'val', held.select(tenth))
    both = with_split(data, 'train', concat(graph.triples('train'), rest))
    right, wrong = (
        evaluate(model, each, 'val', ('train', 'val')).mrr()
        for each in (both, with_split(data, 'train', rest))
    )
    assert result.history[-1]['val_mrr'] == pytest.approx(right, abs=1e-6)
    assert wrong != pytest.approx(right, abs=1e-3)


def test_a_part_of_the_entities() -> None:
    train = Triples.of([(0, 0, 1), (0, 0, 5), (2, 0, 4)])
    train = add_reciprocals(train, 1)
    entities, known = EntityEmbedding(6, 4, scale=1.0), QueryIndex(train, 6, 1)
    model = ComplEx(entities, 1, scale=1.0)
    asked = torch.tensor([2, 1, 0]), torch.zeros(3, dtype=torch.long)
    scorer = Unrivalled(model, known)
    whole = scorer.score_tails(*asked)
    parts = slice(4), slice(4, None)
    scores = [scorer.score_tails(*asked, part) for part in parts]
    # Some processors round products of other widths otherwise.
    torch.testing.assert_close(torch.cat(scores, dim=1), whole)
    lowest = whole == torch.finfo(whole.dtype).min
    assert lowest.nonzero().tolist() == [[0, 4], [2, 1], [2, 5]]
    own = model.score_tails(*asked)
    torch.testing.assert_close(whole[~lowest], own[~lowest])
