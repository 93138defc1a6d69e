import json
import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg import Recipe, recipes
from dsom_pyg.models import ComplEx, DistMult
from dsom_pyg.policies import AsInPaper, ByRelation, HeldOut, MeanOfTeachers
from dsom_pyg.settings import (
    RECIPES,
    UnknownSettingError,
    describe,
    read_settings,
    read_words,
    with_settings,
)
from dsom_pyg.stages import Student, Teachers, Unlabeled
from dsom_pyg.training import Adam, KFolds, Loop, OneFold


def test_settings_by_dotted_name() -> None:
    made = with_settings(
        Recipe(),
        {
            'seed': 3,
            'teachers.channels': 64,
            'student.loop.epochs': 5,
            'student.loop.optimizer.lr': 1,
            'student.unlabeled.queries': 100,
            'policy.evidence.ratio': 0.1,
        },
    )
    loop = replace(Student().loop, epochs=5, optimizer=Adam(1.0))
    # Rewards are compared by what they say of themselves.
    assert repr(made) == repr(
        Recipe(
            seed=3,
            teachers=Teachers(channels=64),
            student=Student(loop=loop, unlabeled=Unlabeled(100)),
            policy=HeldOut(evidence=OneFold(0.1)),
        )
    )


def test_parts_by_name() -> None:
    made = with_settings(
        recipes.small(),
        {
            'policy': 'HeldOut',
            'policy.evidence': 'KFolds',
            'policy.evidence.k': 7,
            'policy.learner': 'ByRelation',
            'policy.learner.epochs': 2,
            'student.unlabeled': None,
        },
    )
    learner = ByRelation(epochs=2)
    assert made.policy == HeldOut(learner=learner, evidence=KFolds(7))
    assert made.student.unlabeled is None
    paper = with_settings(Recipe(), {'policy': 'AsInPaper'})
    assert paper.policy == AsInPaper()
    recipe = Recipe()
    assert with_settings(recipe, {}) is recipe


def test_words_that_name_no_part() -> None:
    made = with_settings(Recipe(), {'precision': 'bf16', 'device': 'cuda'})
    assert (made.precision, made.device) == ('bf16', 'cuda')
    assert with_settings(made, {'precision': None}).precision is None


def test_settings_of_models() -> None:
    made = with_settings(
        Recipe(), {'student.model.n3': 0.03, 'teachers.feature': 'DistMult'}
    )
    assert made.student.model.func is ComplEx  # type: ignore[attr-defined]
    assert made.student.model.keywords == {'n3': 0.03}  # type: ignore[attr-defined]
    assert made.teachers.feature.func is DistMult  # type: ignore[attr-defined]
    with pytest.raises(UnknownSettingError, match="ComplEx has no 'n2'"):
        with_settings(Recipe(), {'student.model.n2': 1})


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize('other', RECIPES)
def test_what_is_described_can_be_set(name: str, other: str) -> None:
    made = RECIPES[name]()
    said = describe(made)
    assert said == json.loads(json.dumps(said))
    again = with_settings(RECIPES[other](), said)
    assert describe(again) == said
    assert repr(again.policy) == repr(made.policy)
    assert again.teachers.loop == made.teachers.loop
    assert again.student.start == made.student.start
    assert 'progress' not in said


def test_several_names() -> None:
    recipe = Recipe()
    assert describe(recipe)['teachers.observed'] is None
    for value in (
        'frequency,links',
        'frequency, links',
        ['frequency', 'links'],
    ):
        made = with_settings(recipe, {'teachers.observed': value})
        assert made.teachers.observed == ('frequency', 'links')
        again = with_settings(recipe, describe(made))
        assert again.teachers.observed == made.teachers.observed
    one = with_settings(recipe, read_words(['teachers.observed=links']))
    assert one.teachers.observed == ('links',)
    none = with_settings(one, read_words(['teachers.observed=none']))
    assert none.teachers.observed is None
    nobody = replace(recipe, teachers=Teachers(observed=()))
    again = with_settings(recipe, describe(nobody))
    assert again.teachers.observed == ()
    with pytest.raises(ValueError, match="nothing observed is called 'link'"):
        with_settings(recipe, {'teachers.observed': 'link'})


def test_a_part_of_ones_own_is_described() -> None:
    @dataclass
    class Mine:
        share: float = 0.5

        def prepare(self, *words: Any) -> Any: ...

    said = describe(Recipe(policy=Mine()))
    assert said['policy'] == repr(Mine())
    assert said['policy.share'] == 0.5


def test_a_part_without_words_of_its_own_is_described_alike() -> None:
    # Their addresses would differ from process to process.
    class Mine:
        def __init__(self, share: float) -> None:
            self.share = share

        def prepare(self, *words: Any) -> Any: ...

    def model(*words: Any) -> Any: ...

    student = Student(model=partial(model, 5))
    said = describe(Recipe(policy=Mine(0.5), student=student))
    name = 'test_a_part_without_words_of_its_own_is_described_alike.<locals>.'
    assert said['policy'] == f'{name}Mine(share=0.5)'
    # Functions within functions may do something else each time.
    found = re.fullmatch(r'(.*) [0-9a-f]{12}\(0=5\)', said['student.model'])
    assert found
    assert found[1] == f'{name}model'


def test_parts_that_hold_several_are_described() -> None:
    @dataclass
    class Mine:
        weights: tuple[Any, ...] = (0.5, 0.5)
        parts: list[Any] = field(default_factory=list)

        def prepare(self, *words: Any) -> Any: ...

    said = describe(Recipe(policy=Mine()))
    assert said['policy.weights'] == '(0.5, 0.5)'

    def told(weights: torch.Tensor) -> dict[str, Any]:
        return describe(Recipe(policy=Mine((weights,), [object()])))

    assert told(torch.ones(2000)) == told(torch.ones(2000))
    assert told(torch.ones(2000)) != told(torch.arange(2000))


def test_nothing_by_either_way(tmp_path: Path) -> None:
    path = tmp_path / 'a.toml'
    path.write_text('student.unlabeled = "none"\ndevice = "none"\n')
    for found in (read_settings(path), read_words(['student.unlabeled=None'])):
        found.pop('device', None)
        assert with_settings(Recipe(), found).student.unlabeled is None
    # Of what cannot be without it is a word.
    said = with_settings(Recipe(), {'device': 'none'})
    assert said.device == 'none'
    with pytest.raises(ValueError, match='no part that fits'):
        with_settings(Recipe(), {'student.distill': 'none'})


def test_words() -> None:
    words = ['a=1', 'b.c = 0.5', 'd=none', 'e=True', 'f=KFolds', 'g=1e-3']
    assert read_words(words) == {
        'a': 1,
        'b.c': 0.5,
        'd': 'none',
        'e': True,
        'f': 'KFolds',
        'g': 1e-3,
    }
    with pytest.raises(ValueError, match="'epochs' is no setting; write key"):
        read_words(['epochs'])


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'run.toml'
    path.write_text(
        'seed = 1\npolicy = "MeanOfTeachers"\n[student.loop]\nepochs = 3\n'
    )
    settings = read_settings(path)
    assert settings == {
        'seed': 1,
        'policy': 'MeanOfTeachers',
        'student.loop.epochs': 3,
    }
    made = with_settings(Recipe(), settings)
    assert made.policy == MeanOfTeachers()
    path.write_text('[policy.evidence]\nk = 7\nkind = "KFolds"\n')
    settings = read_settings(path)
    assert list(settings.items()) == [
        ('policy.evidence', 'KFolds'),
        ('policy.evidence.k', 7),
    ]
    path.write_text('seed = ')
    with pytest.raises(ValueError, match=r'run.toml is no TOML'):
        read_settings(path)


@pytest.mark.parametrize(
    ('settings', 'why'),
    [
        (
            {'student.loop.epoch': 5},
            "Loop has no 'epoch'; did you mean 'epochs'",
        ),
        ({'sead': 5}, "no setting 'sead': Recipe has no 'sead'; did you"),
        ({'xyz': 5}, 'there are teachers, policy, student, seed'),
        ({'seed.x': 5}, "int has no 'x'"),
        (
            {'policy': 'AsInPapers'},
            "policy: no part .*did you mean 'AsInPaper'",
        ),
    ],
)
def test_unknown_settings(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(UnknownSettingError, match=why):
        with_settings(Recipe(), settings)


@pytest.mark.parametrize(
    ('settings', 'why'),
    [
        (
            {'student.loop.epochs': 0},
            'student.loop.epochs: epochs must be pos',
        ),
        ({'student.loop.epochs': 'x'}, "must be a int, got 'x'"),
        ({'seed': 1.5}, 'seed must be a int, got 1.5'),
        ({'seed': True}, 'seed must be a int, got True'),
        ({'teachers.joint': 1}, 'teachers.joint must be a bool, got 1'),
        # What does not fit is found out now, not in the training.
        ({'teachers.one_hop': 2.5}, 'teachers.one_hop must be a int'),
        ({'teachers.one_hop': True}, 'must be a int, got True'),
        ({'teachers.loop.sampled': 5}, 'must be a Sampled, got 5'),
        ({'teachers.observed': 3}, 'must be a list of names, got 3'),
        ({'teachers.structure': None}, 'must be a ComplEx or DistMult or'),
        ({'teachers.loop.eval_every': -1}, 'eval_every must not be negative'),
        ({'student.start': None}, 'must be a FreshTable or WarmStart, got N'),
        ({'student.distill': None}, 'student.distill must be a Distill'),
        ({'policy.evidence': None}, 'must be a KFolds or OneFold or OnVal'),
        ({'student.loop': 'Adam'}, "no part that fits .*'Adam'; there are L"),
        ({'teachers': 'Student'}, "'Student'; there are Teachers$"),
        (
            {'teachers.structure.objective': 'Adam'},
            'there are CrossEntropy, KvsAll, Margin, SelfAdversarial$',
        ),
        (
            {'teachers.loop.optimizer': 'SGD'},
            'there are Adagrad, Adam, Adam8bit, RowwiseAdagrad$',
        ),
        ({'policy.learner.actions': 'Adam'}, 'there are grid, subsets$'),
        (
            {'policy.learner.reward': 'Adam'},
            'there are RankReward$',
        ),
        ({'student.loop': 5}, 'student.loop is a Loop: .*student.loop.epochs'),
    ],
)
def test_bad_values(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        with_settings(Recipe(), settings)


def test_settings_reach_every_part() -> None:
    made = with_settings(Recipe(), {'teachers.loop.batch_size': 7})
    assert made.teachers.loop == replace(Teachers().loop, batch_size=7)
    assert isinstance(made.teachers.loop, Loop)
