"""A search on validation: resumable, told in a file, blind to test."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest

from dsom_pyg import Recipe
from dsom_pyg.datasets import fake
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Loop
from experiments import entities, record, search
from experiments.__main__ import main
from experiments.paper.catalogue import PROFILES, Profile
from experiments.paper.comparators import CHOSEN
from experiments.paper.recipes import RECIPES

LOOP = Loop(epochs=4, batch_size=50, eval_every=1)


class Tiny(fake.FakeMMKG):
    def __init__(self, root: object, text_encoder: object = None) -> None:
        super().__init__(30, num_triples=200, seed=1)


class FakeEncoder:
    name = 'none'

    def __init__(self, model: str) -> None:
        pass


def small(channels: int) -> Recipe:
    return Recipe(
        teachers=Teachers(channels=channels, loop=LOOP),
        policy=MeanOfTeachers(),
        student=Student(channels=channels, loop=LOOP, unlabeled=None),
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that are ranked."""
    monkeypatch.setattr('dsom_pyg.datasets.WN9', Tiny)
    monkeypatch.setattr('experiments.measure.SBERT', FakeEncoder)
    monkeypatch.setitem(RECIPES, 'WN9', small)
    splits: list[str] = []
    once = search.evaluate

    def evaluate(
        scorer: Any, graph: Any, split: str = 'val', *a: Any, **k: Any
    ) -> Any:
        splits.append(split)
        return once(scorer, graph, split, *a, **k)

    for place in ('experiments.search', 'dsom_pyg.training.fit'):
        module = __import__(place, fromlist=['evaluate'])
        monkeypatch.setattr(module, 'evaluate', evaluate)
    return splits


def words(what: str, trials: int, folder: Path) -> list[str]:
    out = ['search', 'WN9', what, '--trials', str(trials), '--channels', '4']
    return [*out, '--results', str(folder), '--text-model', 'none']


def test_a_search_goes_on(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def space(trial: optuna.Trial, base: Recipe) -> Any:
        n3 = trial.suggest_float('n3', 0.01, 0.1, log=True)
        found = search.structure(trial, base)
        return replace(found, model=partial(ComplEx, n3=n3), loop=LOOP)

    monkeypatch.setitem(search.SPACES, 'structure', space)
    main(words('structure', 2, tmp_path))
    path = tmp_path / 'searches' / 'WN9' / 'structure-4.json'
    found = record.read(path)
    assert found['protocol']['split'] == 'val'
    assert found['protocol']['filter'] == ['train', 'val']
    assert found['command']
    assert [x['number'] for x in found['trials']] == [0, 1]
    for trial in found['trials']:
        # Told at each quarter; the last one is its value.
        assert [*trial['reported']] == ['25', '50', '75', '100']
        assert trial['value'] == trial['reported']['100'] > 0
    main(words('structure', 3, tmp_path))
    again = record.read(path)['trials']
    assert again[:2] == found['trials']
    assert len(again) == 3
    main(words('structure', 3, tmp_path))
    assert record.read(path)['trials'] == again
    # On another machine there is the file alone.
    shutil.rmtree(tmp_path / 'models')
    main(words('structure', 4, tmp_path))
    later = record.read(path)['trials']
    assert len(later) == 4
    # What goes on draws something new.
    assert len({x['params']['n3'] for x in later}) == 4
    for one, other in zip(again, later, strict=False):
        for key in ('state', 'value', 'params', 'reported', 'distributions'):
            assert one[key] == other[key]
    assert set(asked) == {'val'}


def test_a_poor_trial_is_given_up() -> None:
    study = optuna.create_study(
        direction='maximize',
        pruner=optuna.pruners.MedianPruner(1, search.WARM_UP),
    )

    def train(trial: optuna.Trial) -> float:
        told = search.Reports(trial, epochs=4)
        for epoch in range(1, 5):
            told.epoch({'epoch': float(epoch)})
            told.epoch({'epoch': float(epoch), 'val_mrr': -trial.number})
        return -float(trial.number)

    study.optimize(train, n_trials=2)
    good, poor = study.trials
    assert [*good.intermediate_values] == [25, 50, 75, 100]
    # Not before half of the training.
    assert poor.state == optuna.trial.TrialState.PRUNED
    assert [*poor.intermediate_values] == [25, 50]


def test_students_share_their_teachers(
    asked: list[str], tmp_path: Path
) -> None:
    main(words('student', 2, tmp_path))
    found = record.read(tmp_path / 'searches' / 'WN9' / 'student-4.json')
    assert len(found['trials']) == 2
    first = found['trials'][0]['params']
    assert first == search.BEGIN['student']
    assert {'tau squared', 'lr', 'quarter of the epochs'} < set(first)
    folder = tmp_path / 'models' / 'searches' / 'WN9'
    files = sorted(folder.glob('*/teachers.safetensors'))
    assert len(files) == 2
    assert files[0].stat().st_ino == files[1].stat().st_ino
    assert set(asked) == {'val'}


def test_a_search_begins_with_what_the_recipes_have() -> None:
    base = RECIPES['DB15K'](256)
    trial = optuna.trial.FixedTrial(
        {**search.BEGIN['student'], 'relations': 0.0}
    )
    given, own = search.student(trial, base).student, base.student
    assert (given.loop, given.distill) == (own.loop, own.distill)
    assert given.unlabeled == own.unlabeled
    trial = optuna.trial.FixedTrial(search.BEGIN['texts'])
    teacher = search.texts(trial, base)
    assert teacher.loop == replace(base.teachers.loop, eval_every=3)
    assert teacher.channels == 256
    trial = optuna.trial.FixedTrial(
        {**search.BEGIN['texts'], 'features': 'whitened', 'times as wide': 2}
    )
    teacher = search.texts(trial, base)
    assert teacher.channels == 512
    assert teacher.entities is entities.whitened


def test_a_search_of_the_teacher_of_texts(
    asked: list[str], tmp_path: Path
) -> None:
    main(words('texts', 3, tmp_path))
    found = record.read(tmp_path / 'searches' / 'WN9' / 'texts-4.json')
    assert [x['state'] for x in found['trials']] == ['complete'] * 3
    assert found['trials'][0]['params'] == search.BEGIN['texts']
    assert set(asked) == {'val'}


@pytest.mark.parametrize('name', ['TransE', 'DistMult', 'TuckER'])
def test_a_search_of_a_comparator(
    name: str,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PROFILES, 'small', Profile('small', 4, distances=4))
    main(words(name, 2, tmp_path))
    path = tmp_path / 'searches' / 'WN9' / f'{name}-4.json'
    found = record.read(path)
    first, second = found['trials']
    assert first['params'] == CHOSEN[name]
    assert second['params'].keys() == first['params'].keys()
    assert second['params'] != first['params']
    assert [*first['reported']] == ['25', '50', '75', '100']
    # Nothing of a recipe is in it.
    said = found['settings']
    assert said['loop']['epochs'] == 4
    assert said['model']['kind'] == name
    assert set(asked) == {'val'}


@pytest.mark.parametrize('killed', [False, True])
def test_an_interrupted_trial_is_taken_up_again(killed: bool) -> None:
    study = optuna.create_study()
    asked: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> float:
        asked.append({'a': trial.suggest_float('a', 0.0, 1.0)})
        if len(asked) in (1, 3):
            raise KeyboardInterrupt
        return 0.0

    search.resume(study, {'a': 0.25})
    if killed:
        # What a process leaves that was killed: a trial that nobody ends.
        asked.append({'a': study.ask().suggest_float('a', 0.0, 1.0)})
    else:
        with pytest.raises(KeyboardInterrupt):
            study.optimize(objective, n_trials=1)
    search.resume(study, {'a': 0.5})
    search.resume(study, {'a': 0.5})
    study.optimize(objective, n_trials=1)
    assert asked == [{'a': 0.25}] * 2
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective, n_trials=1)
    search.resume(study, {})
    study.optimize(objective, n_trials=1)
    assert asked[3] == asked[2] != asked[0]
    # Nothing is left over: what follows is drawn anew.
    search.resume(study, {})
    study.optimize(objective, n_trials=1)
    assert asked[4] not in asked[:4]


def test_a_trial_that_diverges_is_told_and_left(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def space(trial: optuna.Trial, base: Recipe) -> Any:
        found = search.structure(trial, base)
        if trial.number == 1:
            raise FloatingPointError('it diverged')
        return replace(found, loop=LOOP)

    monkeypatch.setitem(search.SPACES, 'structure', space)
    path = tmp_path / 'searches' / 'WN9' / 'structure-4.json'
    states = ['complete', 'fail', 'complete']
    for count in (2, 3, 3):
        main(words('structure', count, tmp_path))
        trials = record.read(path)['trials']
        assert [x['state'] for x in trials] == states[:count]
    assert trials[1]['value'] is None
    # It is not tried again.
    assert trials[2]['params'] != trials[1]['params']


@pytest.mark.parametrize('kept', ['file', 'database'])
def test_a_search_of_something_else_is_not_gone_on_with(
    kept: str,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        search, 'value_of', lambda *_: 1.0
    )  # what it says does not matter
    main(words('structure', 1, tmp_path))
    if kept == 'file':
        shutil.rmtree(tmp_path / 'models')
    else:
        (tmp_path / 'searches/WN9/structure-4.json').unlink()
    monkeypatch.setattr(FakeEncoder, 'name', 'another')
    with pytest.raises(SystemExit):
        main(words('structure', 2, tmp_path))
    said = capsys.readouterr().err
    assert 'a search of something else: graph.features.text differ' in said
    monkeypatch.setattr(FakeEncoder, 'name', 'none')
    main(words('structure', 2, tmp_path))
