"""What stands beside every figure."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg import Recipe, evaluate
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.stages import Teachers
from dsom_pyg.training import Adagrad
from experiments import record


def about(**changes: Any) -> dict[str, Any]:
    return {
        'table': 'a',
        'dataset': 'B',
        'row': 'c',
        'seed': 0,
        'graph': {'fingerprint': 'f', 'features': {}, 'changes': []},
        'protocol': {
            'split': 'test',
            'filter': ['train', 'val', 'test'],
            'ties': 'realistic',
            'selection': 'last epoch',
        },
        'settings': {'loop': {'epochs': 3, 'lr': (0.1, 0.2)}},
    } | changes


def test_where_a_run_lies() -> None:
    path = record.path_of(Path('r'), 't', 'D', "the paper's, D = 6", 2, 'test')
    assert path == Path('r/t/D/the-papers-d-6-seed2.json')
    path = record.path_of(Path('r'), 't', 'D', 'N3 0.05', 0, 'val')
    assert path == Path('r/t/D/validation/n3-0.05-seed0.json')


def test_a_file_in_the_place_of_another_run(tmp_path: Path) -> None:
    about = {'table': 't', 'dataset': 'D', 'row': 'mean', 'seed': 0}
    run = {**about, 'protocol': {'split': 'val'}, 'models': {}}
    path = record.path_of(tmp_path, 't', 'D', 'mean', 0, 'val')
    record.write(path, run)
    assert list(record.records(tmp_path)) == [(path, run)]
    # Its figures would be taken for those of the other table.
    other = record.path_of(tmp_path, 'u', 'D', 'mean', 0, 'val')
    record.write(other, run)
    with pytest.raises(record.DamagedError, match=r'u.*tells .*t/D'):
        list(record.records(tmp_path))


def test_skipped_or_refused(tmp_path: Path) -> None:
    path = tmp_path / 'deeper' / 'run.json'
    assert not record.exists(path, about())
    record.write(path, about())
    assert [each.name for each in path.parent.iterdir()] == ['run.json']
    assert record.exists(path, about())
    other = about(settings={'loop': {'epochs': 4, 'lr': (0.1, 0.2)}})
    words = r'settings\.loop\.epochs: 3 there, 4 here'
    with pytest.raises(record.OtherRunError, match=words) as error:
        record.exists(path, other)
    assert '.lr' not in str(error.value)
    with pytest.raises(record.OtherRunError, match='seed: 0 there, 1 here'):
        record.exists(path, about(seed=1))
    # An option that came later is off in runs that do not tell it.
    loop: dict[str, Any] = {'epochs': 3, 'lr': (0.1, 0.2), 'sampled': None}
    assert record.exists(path, about(settings={'loop': loop}))
    loop['sampled'] = 7
    with pytest.raises(record.OtherRunError, match='sampled: - there, 7 her'):
        record.exists(path, about(settings={'loop': loop}))


def test_converted_runs_tell_their_settings_in_other_words(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'run.json'
    old = about(settings={'hidden_channels': 256}, converted_from=[{}])
    record.write(path, old)
    assert record.exists(path, about())
    graph = {'fingerprint': 'another', 'features': {}, 'changes': []}
    with pytest.raises(record.OtherRunError, match='fingerprint: f there'):
        record.exists(path, about(graph=graph))


def test_settings_in_words() -> None:
    words = record.describe(Recipe(teachers=Teachers(channels=8)))
    assert json.loads(json.dumps(words)) == words
    assert words['kind'] == 'Recipe'
    teachers = words['teachers']
    assert teachers['channels'] == 8
    assert teachers['structure'] == {'kind': 'ComplEx', 'n3': 0.05}
    assert teachers['loop']['optimizer'] == {'kind': 'Adam', 'lr': 0.02}
    # Positional arguments have names as well.
    assert record.describe(partial(Adagrad, 0.5)) == {
        'kind': 'Adagrad',
        'lr': 0.5,
    }
    assert record.describe(torch.relu) == 'relu'
    with pytest.raises(TypeError, match='give it a repr'):
        record.describe(object())


def test_metrics_by_side_and_category() -> None:
    data = FakeMMKG(30, 4, 200)[0]
    torch.manual_seed(0)
    model = ComplEx(EntityEmbedding(30, 4, scale=1.0), 4, scale=1.0)
    ranking = evaluate(model, data)
    found = record.metrics(ranking)
    ranks = ranking.ranks()
    tails = ranks[ranking.rel < 4]
    assert found['sides']['tail']['mrr'] == pytest.approx(
        float(100 * (1 / tails).mean())
    )
    for parts in (found['sides'], found['categories']):
        count = sum(part['count'] for part in parts.values())
        assert count == found['count'] == len(ranks)
        total = sum(part['mr'] * part['count'] for part in parts.values())
        assert total / count == pytest.approx(found['mr'])


def test_command_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ['/usr/bin/python3', '-m', 'experiments', 'x', '--only', 'a b']
    monkeypatch.setattr(sys, 'orig_argv', words)
    assert record.command() == "python3 -m experiments x --only 'a b'"


def test_provenance() -> None:
    found = record.provenance()
    assert found['commit']
    assert found['machine']['precision'] in ('fp32', 'bf16')
    assert found['versions']['torch'] == torch.__version__
