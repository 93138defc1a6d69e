"""From a graph to a student in one call."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsom_pyg import Completer, DSoM, Recipe, recipes, stages, train_dsom
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.files import load_tensors, save_tensors
from dsom_pyg.graph import (
    Triples,
    drop_modality,
    get_split,
    make_data,
    set_split,
    with_split,
)
from dsom_pyg.kg import KG
from dsom_pyg.losses import mean_advantage
from dsom_pyg.models import (
    GCOTE,
    OTE,
    Bilinear,
    ComplEx,
    CrossEntropy,
    DistMult,
    EntityEmbedding,
    KvsAll,
    Margin,
    Model,
    Objective,
    OtherLinks,
    RotatE,
    TailFrequency,
    TransE,
    TuckER,
)
from dsom_pyg.models.entity import EntityModule
from dsom_pyg.policies import (
    AsInPaper,
    Boosting,
    ByRelation,
    FixedWeights,
    HeldOut,
    MeanOfTeachers,
    OneTeacher,
    PolicyChoice,
    RewardedPolicy,
    Senior,
)
from dsom_pyg.stages import (
    Student,
    Teachers,
    Unlabeled,
    WarmStart,
    fit_folds,
    fit_teachers,
    start_student,
)
from dsom_pyg.teachers import (
    Answers,
    CompactState,
    CrossEntropyReward,
    LogitState,
    Lookup,
    Policy,
    QueryState,
    RankReward,
    TeacherEnsemble,
    Weighted,
    grid,
    paper_policy,
    subsets,
)
from dsom_pyg.teachers.ensemble import ModelFactory
from dsom_pyg.training import (
    Adagrad,
    Adam,
    Distill,
    DistillTask,
    FitResult,
    Fold,
    KFolds,
    Loop,
    ModelTask,
    OneFold,
    OnValidation,
    Progress,
    Run,
    Sampled,
    Task,
)
from dsom_pyg.training.state import RunFile, TrainState

DATA = FakeMMKG(30, 4, 200)[0]
GRAPH = KG(DATA)
LOOP = Loop(epochs=2, batch_size=100)
LONGER = Loop(epochs=4, batch_size=50)
TENTH = OneFold(0.1)
HEAD, REL = torch.tensor([0, 5, 9]), torch.tensor([0, 1, 6])


def teachers_of(**options: object) -> Teachers:
    words = {'channels': 8, 'loop': LOOP, **options}
    return Teachers(**words)  # type: ignore[arg-type]


def student_of(**options: object) -> Student:
    words = {
        'channels': 8,
        'loop': LOOP,
        'unlabeled': Unlabeled(40),
        **options,
    }
    return Student(**words)  # type: ignore[arg-type]


def sampling_student(**options: object) -> Student:
    return student_of(loop=replace(LOOP, sampled=Sampled(30)), **options)


def without_rows(entities: EntityModule, num_relations: int) -> Model:
    return Model(entities.num_entities, num_relations)


def of_objective(objective: Objective) -> ModelFactory:
    return partial(ComplEx, objective=objective)


def held_out(
    evidence: OneFold | KFolds = TENTH,
    weights: int = 2,
    policy: int = 2,
) -> HeldOut:
    learner = RewardedPolicy(base=ByRelation(epochs=weights), epochs=policy)
    return HeldOut(learner=learner, evidence=evidence)


def recipe_of(**options: object) -> Recipe:
    words = {
        'teachers': teachers_of(),
        'policy': held_out(),
        'student': student_of(),
        'progress': False,
        **options,
    }
    return Recipe(**words)  # type: ignore[arg-type]


def run_of(folder: Path | None = None, **options: object) -> Run:
    return Run(graph=GRAPH, folder=folder, progress=False, **options)  # type: ignore[arg-type]


def assert_same(one: DSoM, two: DSoM) -> None:
    for name in ('student', 'policy', 'ensemble'):
        a = getattr(one, name).state_dict()
        b = getattr(two, name).state_dict()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)


def files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob('*')
        if path.is_file()
    }


# The complete recipes.


def short(recipe: Recipe) -> Recipe:
    # The same in all but how long it takes.
    policy = recipe.policy
    if isinstance(policy, HeldOut):
        learner = policy.learner
        assert isinstance(learner, RewardedPolicy)
        base = learner.base
        assert isinstance(base, ByRelation)
        learner = replace(learner, base=replace(base, epochs=2), epochs=2)
        policy = replace(policy, learner=learner)
    teachers, student = recipe.teachers, recipe.student
    if student.unlabeled is not None:
        student = replace(student, unlabeled=Unlabeled(40))
    few = {'epochs': 2, 'batch_size': 50}
    return replace(
        recipe,
        teachers=replace(teachers, loop=replace(teachers.loop, **few)),
        policy=policy,
        student=replace(student, loop=replace(student.loop, **few)),
        progress=False,
    )


def test_models_of_triples_do_not_see_what_is_held_out() -> None:
    rest = GRAPH.with_train(GRAPH.triples('train').select(torch.arange(50)))
    whole = GRAPH.triples('train')
    make = partial(GCOTE, block=2, triples=whole)
    ensemble = teachers_of(structure=make, joint=False).build(rest, 0)

    def pairs_of(model: Any) -> list[list[int]]:
        return sorted(model.edge_index.t().tolist())

    seen = rest.triples('train')
    assert pairs_of(ensemble['structure']) == pairs_of(seen)

    class Mine(GCOTE):
        def __init__(self, entities: EntityModule, num_rels: int) -> None:
            super().__init__(entities, num_rels, whole, block=2)

    ensemble = teachers_of(structure=Mine, joint=False).build(rest, 0)
    assert pairs_of(ensemble['structure']) == pairs_of(whole)
    # As teacher and as student of a whole recipe.
    make = partial(GCOTE, block=2)
    recipe = Recipe(
        teachers=teachers_of(structure=make, joint=False),
        policy=HeldOut(learner=FixedWeights(epochs=1), evidence=TENTH),
        student=student_of(model=make),
    )
    trained = train_dsom(GRAPH, recipe)
    for model in (trained.student, trained.ensemble['structure']):
        assert isinstance(model, GCOTE)
        assert pairs_of(model) == pairs_of(whole)
    with pytest.raises(ValueError, match='a GCOTE cannot be kept'):
        Completer.train(FakeMMKG(30, 4, 200), None, recipe)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    recipe = recipes.small(
        channels=np.int64(4),  # type: ignore[arg-type]
        epochs=np.int64(1),  # type: ignore[arg-type]
        eval_every=np.int64(0),  # type: ignore[arg-type]
        seed=np.int64(1),
    )
    assert repr(recipe) == repr(
        recipes.small(channels=4, epochs=1, eval_every=0, seed=1)
    )
    # Deeper within, they are told by their value.
    distill = Distill(gamma=np.int64(4), tau=2)
    student = replace(recipe.student, distill=distill)
    recipe = replace(recipe, student=student)
    train_dsom(FakeMMKG(20, 3, 60)[0], recipe, tmp_path)


def test_the_recipe_of_the_paper() -> None:
    recipe = short(recipes.paper(channels=8))
    trained = train_dsom(DATA, recipe)
    assert trained.ensemble.modalities == ['structure', 'image', 'text']
    # Its policy has no stage of its own: it learns along with the student.
    assert list(trained.results) == ['teachers', 'student']
    fresh = recipe.policy.prepare(run_of(), recipe.teachers, trained.ensemble)
    pairs = zip(fresh.parameters(), trained.policy.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)
    assert isinstance(trained.policy, Policy)
    assert trained.policy.decision == 'sample'
    assert trained.policy.estimator == 'sampled'
    result = trained.results['student']
    assert all(
        'rc' in epoch and 'advantage' in epoch for epoch in result.history
    )
    assert result.config['combiner'].startswith('Policy(')
    assert result.config['unlabeled_queries'] is None
    assert (result.config['tau'], result.config['gamma']) == (4.0, 2.0)
    for stage in trained.results.values():
        assert stage.config['optimizer'] == repr(Adagrad(lr=0.1))
        assert stage.config['cooldown'] == 0
    # The teachers are one for each modality, at one regulariser.
    assert {t.get_submodule('').n3 for t in trained.ensemble} == {0.01}  # type: ignore[union-attr]


def test_the_recipe_of_the_library() -> None:
    recipe = short(recipes.held_out(channels=8))
    trained = train_dsom(DATA, recipe)
    names = ['structure', 'image', 'text', 'joint']
    assert trained.ensemble.modalities == names
    assert [t.get_submodule('').n3 for t in trained.ensemble] == [  # type: ignore[union-attr]
        0.05,
        0.01,
        0.01,
        0.05,
    ]
    assert list(trained.results) == [
        'teachers',
        'fold-1-of-1',
        'weights',
        'policy',
        'student',
    ]
    # What was learned before the student does not learn along with it.
    result = trained.results['student']
    assert result.config['combiner'].startswith('Lookup(')
    assert not any('rc' in epoch for epoch in result.history)
    assert not trained.policy.learns
    assert isinstance(trained.policy, Policy)
    assert trained.policy.decision == 'mean'
    assert isinstance(trained.policy.base, Weighted)
    assert trained.policy.base.offset is not None
    assert result.config['unlabeled_queries'] is not None
    assert (result.config['tau'], result.config['gamma']) == (2, 4)
    assert result.config['optimizer'].startswith('Adam(')
    # It is the default.
    plain, named = Recipe(), recipes.held_out()
    for part in ('teachers', 'student'):
        assert getattr(plain, part) == getattr(named, part)
    learner = HeldOut().learner
    assert isinstance(learner, RewardedPolicy)
    assert repr(plain.policy) == repr(named.policy)


def test_the_recipe_of_a_committee() -> None:
    recipe = recipes.committee(2, channels=8, teacher_channels=4, seed=3)
    trained = train_dsom(DATA, short(recipe))
    assert list(trained.results) == [
        'teachers',
        'teachers-2',
        'fold-1-of-1',
        'member-2/fold-1-of-1',
        'weights',
        'policy',
        'student',
    ]
    seeds = [result.config['seed'] for result in trained.results.values()]
    assert seeds == [3, 1003, 3, 1003, 3, 3, 3]
    for teacher in trained.ensemble:
        assert isinstance(teacher, Bilinear)
        assert teacher.hidden_channels == 8
    assert sum(p.numel() for p in trained.student.parameters()) == 38 * 16
    assert '0.03' in trained.results['teachers'].config['teachers']['joint']


def test_a_warm_start() -> None:
    student = Student(
        channels=8,
        start=WarmStart(),
        loop=Loop(optimizer=Adagrad(0.1, 2e-6)),
    )
    recipe = replace(recipes.held_out(channels=8), student=student)
    trained = train_dsom(DATA, short(recipe))
    cold = train_dsom(DATA, short(recipes.held_out(channels=8)))
    # Its start is the joint teacher, nothing is trained for it.
    assert list(trained.results) == list(cold.results)
    first = trained.results['student'].history[0]
    assert first['ce'] < cold.results['student'].history[0]['ce']
    config = trained.results['student'].config
    assert config['optimizer'] == repr(Adagrad(0.1, 2e-6))
    assert 'JointEmbedding' in config['student']
    assert trained.results['teachers'].config['optimizer'].startswith('Adam')
    # What answers is a table like any other.
    assert isinstance(trained.student, ComplEx)
    assert isinstance(trained.student.entities, EntityEmbedding)
    assert not list(trained.student.buffers())


# The exchangeable part.

REWARDED = RewardedPolicy(base=None, epochs=2)
CHOICES: dict[str, tuple[PolicyChoice, list[str]]] = {
    'paper': (AsInPaper(mlp_channels=16), []),
    'paper, exact': (
        AsInPaper(
            mlp_channels=16,
            estimator='exact',
            mask_missing=True,
            advantage=mean_advantage,
        ),
        [],
    ),
    'mean': (MeanOfTeachers(), []),
    'masked mean': (MeanOfTeachers(mask_missing=True), []),
    'fixed': (HeldOut(learner=FixedWeights(epochs=2)), ['weights']),
    'by relation': (HeldOut(learner=ByRelation(epochs=2)), ['weights']),
    'unweighted': (HeldOut(learner=REWARDED), ['policy']),
    'grid': (
        HeldOut(
            learner=replace(
                REWARDED, actions=partial(grid, levels=(0.0, 0.5, 1.0))
            )
        ),
        ['policy'],
    ),
    'full logits': (
        HeldOut(
            learner=replace(
                REWARDED,
                state=LogitState,
                reward=CrossEntropyReward(mean_advantage),
                decision='best',
            ),
            evidence=KFolds(2),
            mask_missing=False,
        ),
        ['policy'],
    ),
    'fixed base, sampled': (
        HeldOut(
            learner=replace(
                REWARDED, base=FixedWeights(epochs=2), estimator='sampled'
            )
        ),
        ['weights', 'policy'],
    ),
}


@pytest.mark.parametrize('name', CHOICES)
def test_every_policy_teaches_a_student(name: str) -> None:
    choice, stages = CHOICES[name]
    trained = train_dsom(
        DATA, recipe_of(teachers=teachers_of(joint=False), policy=choice)
    )
    folds = [s for s in trained.results if s.startswith('fold')]
    count = 0 if not stages else 2 if name == 'full logits' else 1
    assert len(folds) == count
    expected = ['teachers', *folds, *stages, 'student']
    assert list(trained.results) == expected
    learns = isinstance(choice, AsInPaper)
    assert trained.policy.learns == learns
    assert ('rc' in trained.results['student'].history[0]) == learns
    # Every query has weights; what the policy says is what its teachers say.
    answers = Answers(trained.ensemble, HEAD, REL)
    trained.policy.eval()
    with torch.no_grad():
        weights = trained.policy.weights(answers)
    assert weights.shape == (3, 3)
    assert (weights >= 0).all()
    assert (weights.sum(dim=1) > 0).all()
    for scorer in (trained.student, trained.teachers):
        assert evaluate(scorer, DATA).ranks().max() <= 30


def test_policies_differ_in_what_they_weigh() -> None:
    # Two recipes that differ in the policy have the same teachers, and
    # students that were told something else.
    students, ensembles = [], []
    for policy in (MeanOfTeachers(), held_out(), AsInPaper(mlp_channels=16)):
        trained = train_dsom(DATA, recipe_of(policy=policy))
        students.append(trained.student(HEAD, REL, REL))
        ensembles.append(trained.ensemble(HEAD, REL))
    assert torch.equal(ensembles[0], ensembles[1])
    assert torch.equal(ensembles[0], ensembles[2])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(students[a], students[b])


def test_a_student_is_told_what_the_policy_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = []

    class Spy(DistillTask):
        def __init__(self, *words: object) -> None:
            super().__init__(*words)  # type: ignore[arg-type]
            tasks.append(self)

    monkeypatch.setattr('dsom_pyg.stages.DistillTask', Spy)
    trained = train_dsom(DATA, recipe_of(precision='fp32'))
    (task,) = tasks
    index, pool = GRAPH.index('train'), task.unlabeled
    assert pool is not None
    assert len(pool.head) == 40
    # Of training queries and of those without a known answer.
    for head, rel in ((index.head, index.rel), (pool.head, pool.rel)):
        answers = Answers(trained.ensemble, head, rel)
        told = trained.ensemble.combined(
            head, rel, task.combiner.weights(answers)
        )
        asked = trained.teachers.score_tails(head, rel)
        torch.testing.assert_close(told, asked, rtol=1e-4, atol=1e-5)


def test_which_seed_draws_what(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers, run = teachers_of(structure=ComplEx), run_of(seed=5)
    ensemble = teachers.build(GRAPH, 5)
    torch.manual_seed(5)
    drawn = TeacherEnsemble.from_features(
        GRAPH.features, 30, 4, 8, structure=ComplEx, joint=True
    )
    assert_drawn(ensemble, drawn)
    for seed in (5, 6):
        choice = AsInPaper(mlp_channels=16)
        policy = choice.prepare(run_of(seed=seed), teachers, ensemble)
        torch.manual_seed(seed + 2)
        assert_drawn(policy, paper_policy(ensemble, 16))
    # The rewarded one, before it learns.
    monkeypatch.setattr(Run, 'fit', lambda *words: None)
    folds = [Fold(ensemble, *part) for part in OneFold().parts(GRAPH, 6)]
    learner = RewardedPolicy(base=None)
    policy = learner.learn(run, teachers.loop, folds, True)
    torch.manual_seed(5)
    state = CompactState.for_teachers(ensemble, GRAPH)
    drawn = Policy(
        state, subsets(4), RankReward(), 'mean', prior=2.0, mlp_channels=64
    )
    assert_drawn(policy, drawn)


def test_teachers_of_one_modality_may_be_wider() -> None:
    teachers = replace(teachers_of(), feature_channels=12)
    recipe = Recipe(
        teachers=teachers,
        policy=MeanOfTeachers(),
        student=student_of(channels=8),
    )
    trained = train_dsom(GRAPH, recipe)
    widths = {
        name: trained.ensemble[name].hidden_channels  # type: ignore[union-attr]
        for name in trained.ensemble.modalities
    }
    assert widths == {'structure': 8, 'image': 12, 'text': 12, 'joint': 8}
    with pytest.raises(ValueError, match='observed must be a tuple of names'):
        replace(teachers, observed='links')
    for word in (0, 2.5):
        with pytest.raises(ValueError, match='feature_channels must be a pos'):
            replace(teachers, feature_channels=word)


def assert_drawn(one: torch.nn.Module, two: torch.nn.Module) -> None:
    a, b = one.state_dict(), two.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


# Files, and interruptions.


def test_stages_and_what_answers(tmp_path: Path) -> None:
    recipe = recipe_of(policy=held_out(KFolds(2)))
    trained = train_dsom(DATA, recipe, tmp_path)
    stages = [
        'teachers',
        'fold-1-of-2',
        'fold-2-of-2',
        'weights',
        'policy',
        'student',
    ]
    assert list(trained.results) == stages
    assert evaluate(trained.student, DATA).ranks().max() <= 30
    assert evaluate(trained.teachers, DATA).ranks().max() <= 30
    written = files(tmp_path)
    names = {*stages, 'decisions'}
    assert set(written) == {f'{name}.safetensors' for name in names}
    # Everything is there already: the same student, nothing trained.
    again = train_dsom(DATA, recipe, tmp_path)
    assert_same(trained, again)
    assert files(tmp_path) == written
    # A student of another policy is another run.
    (tmp_path / 'policy.safetensors').unlink()
    other = recipe_of(policy=held_out(KFolds(2), policy=4))
    with pytest.raises(ValueError, match=r'student\.safetensors'):
        train_dsom(DATA, other, tmp_path)
    # A policy over other weights as well.
    other = recipe_of(policy=held_out(KFolds(2), weights=4))
    with pytest.raises(ValueError, match=r'(?s)weights\.safetensors.*epochs'):
        train_dsom(DATA, other, tmp_path)
    (tmp_path / 'weights.safetensors').unlink()
    other = recipe_of(policy=held_out(KFolds(2), weights=4, policy=4))
    with pytest.raises(ValueError, match=r'(?s)policy\.safetensors.*frozen'):
        train_dsom(DATA, other, tmp_path)


def test_a_combiner_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    once = stages.decided

    def watched(*words: Any) -> Lookup:
        asked.append(1)
        return once(*words)

    monkeypatch.setattr(stages, 'decided', watched)
    recipe = recipe_of(policy=held_out(KFolds(2)), student=student_of())
    trained = train_dsom(DATA, recipe, tmp_path)
    path = tmp_path / 'decisions.safetensors'
    _, first = load_tensors(path)
    assert len(asked) == 1
    assert_same(trained, train_dsom(DATA, recipe, tmp_path))
    assert len(asked) == 1
    # Its file is what the student learns from.
    tensors, header = load_tensors(path)
    other = {**tensors, 'table': tensors['table'].flip(1)}
    save_tensors(path, other, header)
    (tmp_path / 'student.safetensors').unlink()
    taught = train_dsom(DATA, recipe, tmp_path).student.state_dict()
    assert len(asked) == 1
    before = trained.student.state_dict()
    assert not all(x.equal(before[key]) for key, x in taught.items())
    # Nobody takes what is damaged, or was said of other questions.
    for text in (b'nothing', b''):
        path.write_bytes(text)
        (tmp_path / 'student.safetensors').unlink()
        assert_same(trained, train_dsom(DATA, recipe, tmp_path))
        assert load_tensors(path)[1] == first
    assert len(asked) == 3
    (tmp_path / 'student.safetensors').unlink()
    more = replace(recipe.student, unlabeled=Unlabeled(7))
    train_dsom(DATA, replace(recipe, student=more), tmp_path)
    assert len(asked) == 4
    assert load_tensors(path)[1] != first


def killed_after_every_epoch(recipe: Recipe, folder: Path) -> tuple[DSoM, int]:
    # Each attempt comes one epoch further and is then killed.
    save, kills = RunFile.save, 0

    def stop(self: RunFile, state: TrainState) -> None:
        save(self, state)
        raise KeyboardInterrupt

    while True:
        torch.manual_seed(kills)  # another process, another random state
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFile, 'save', stop)
            try:
                return train_dsom(DATA, recipe, folder), kills
            except KeyboardInterrupt:
                kills += 1


@pytest.mark.parametrize('kept', [True, False])
def test_an_interruption_between_stages_says_what_is_saved(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, 'start_student', stop)
    recipe = recipe_of(policy=MeanOfTeachers())
    with pytest.raises(KeyboardInterrupt) as caught:
        train_dsom(DATA, recipe, tmp_path if kept else None)
    (said,) = caught.value.args
    assert 'those that ended: teachers; ' in said
    assert ('nothing is saved' in said) is not kept
    assert (f"saved in '{tmp_path}'" in said) is kept


def test_an_interruption_within_a_stage_says_so_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*words: Any) -> None:
        raise KeyboardInterrupt('student: epoch 3 is saved')

    monkeypatch.setattr(stages, 'start_student', stop)
    recipe = recipe_of(policy=MeanOfTeachers())
    with pytest.raises(KeyboardInterrupt, match=r'^student: epoch 3 is saved'):
        train_dsom(DATA, recipe)


BRIEF = Loop(epochs=2, batch_size=100, cooldown=0.5)
CHOSEN = replace(BRIEF, eval_every=1, patience=9)


@pytest.mark.parametrize(
    ('recipe', 'epochs'),
    [
        (
            recipe_of(
                teachers=teachers_of(loop=BRIEF),
                student=student_of(loop=CHOSEN),
            ),
            10,
        ),
        (
            recipe_of(
                teachers=teachers_of(loop=BRIEF, joint=False),
                policy=AsInPaper(mlp_channels=16),
                student=student_of(loop=BRIEF, unlabeled=None),
            ),
            4,
        ),
        (
            recipe_of(
                teachers=teachers_of(loop=BRIEF, channels=4, committee=2),
                policy=HeldOut(learner=FixedWeights(epochs=1)),
                student=student_of(channels=4, start=WarmStart(), loop=CHOSEN),
            ),
            13,
        ),
    ],
)
def test_a_run_that_is_killed_goes_on_bit_for_bit(
    recipe: Recipe, epochs: int, tmp_path: Path
) -> None:
    whole = train_dsom(DATA, recipe)
    again, kills = killed_after_every_epoch(recipe, tmp_path)
    assert kills == epochs
    assert_same(whole, again)
    for stage, result in whole.results.items():
        there = again.results[stage]
        assert there.best_epoch == result.best_epoch
        for a, b in zip(result.history, there.history, strict=True):
            assert {**a, 'seconds': 0} == {**b, 'seconds': 0}


def test_a_larger_committee_takes_up_a_smaller_one(tmp_path: Path) -> None:
    small = recipe_of(policy=MeanOfTeachers(), student=student_of())
    one = train_dsom(DATA, small, tmp_path)
    written = files(tmp_path)
    (tmp_path / 'student.safetensors').unlink()
    large = replace(small, teachers=teachers_of(committee=2))
    train_dsom(DATA, large, tmp_path)
    now = files(tmp_path)
    name = 'teachers.safetensors'
    assert now[name] == written[name]
    others = ('teachers-2', 'student', 'decisions')
    assert set(now) == {name, *(f'{other}.safetensors' for other in others)}
    assert list(one.results) == ['teachers', 'student']


def test_a_committee_that_cannot_be_joined_is_not_trained() -> None:
    teachers = replace(teachers_of(committee=2), structure=TuckER)
    diary = Diary()
    recipe = recipe_of(teachers=teachers, progress=diary)
    with pytest.raises(ValueError, match='coordinates of TuckER may depend'):
        train_dsom(DATA, recipe)
    assert not diary.stages


class Diary(Progress):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def begin(self, stage: str, *words: Any) -> None:
        self.stages.append(stage)


# Settings.


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (partial(Teachers, committee=0), 'a positive integer, got 0'),
        (partial(Teachers, committee=1.5), 'a positive integer, got 1.5'),
        (partial(Unlabeled, -1), 'queries must be positive, got -1'),
        (partial(FixedWeights, epochs=0), 'epochs must be positive, got 0'),
        (partial(ByRelation, epochs=0), 'epochs must be positive, got 0'),
        (partial(RewardedPolicy, epochs=0), 'epochs must be positive, got 0'),
        (partial(RewardedPolicy, decision='all'), "got 'all'"),
        (partial(RewardedPolicy, estimator='all'), "got 'all'"),
        (partial(AsInPaper, estimator='all'), "got 'all'"),
        (partial(AsInPaper, mlp_channels=-1), 'a positive integer, got -1'),
        (partial(AsInPaper, lr=math.nan), 'lr must be positive, got nan'),
        (partial(RewardedPolicy, dropout=1.5), r'in \[0, 1\), got 1.5'),
        (partial(RewardedPolicy, dropout=math.nan), r'\[0, 1\), got nan'),
        (partial(RewardedPolicy, kl=-3), 'kl must not be negative, got -3'),
        (
            partial(RewardedPolicy, reward=CrossEntropyReward()),
            'compares with a student',
        ),
        (partial(ByRelation, shrinkage=-3), 'shrinkage must not be negative'),
        (partial(FixedWeights, lr=0), 'lr must be positive, got 0'),
        (partial(Teachers, committee=2.0), 'a positive integer, got 2.0'),
        (partial(Teachers, one_hop=2.0), 'a positive integer, got 2.0'),
        (partial(Loop, epochs=2.0), 'epochs must be an integer, got 2.0'),
        (partial(AsInPaper, mlp_channels=8.0), 'positive integer, got 8.0'),
        (partial(RewardedPolicy, prior=math.nan), 'prior must be finite'),
        (partial(Senior, top=0), 'top must be a positive integer, got 0'),
        (partial(Senior, lr=-1), 'lr must be positive, got -1'),
        (partial(Senior, tau=0.0), 'tau must be positive, got 0.0'),
        (partial(Senior, soft=math.nan), 'soft is a weight'),
        (partial(CrossEntropy, math.nan), 'relations is a weight'),
        (partial(Recipe, seed=10**20), 'seed must lie between'),
    ],
)
def test_settings_are_checked_before_anything_is_trained(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


class Forgets:
    def prepare(self, *_: object) -> Any:
        return None


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (partial(Recipe, seed=True), 'seed must be a whole number, got True'),
        (partial(Recipe, seed=0.5), 'seed must be a whole number, got 0.5'),
        (partial(Recipe, policy=MeanOfTeachers), 'policy needs prepare'),
        (partial(Student, unlabeled=5), r'Unlabeled\(.*\) or None, got 5'),
        (partial(HeldOut, learner=ByRelation), 'learner needs learn'),
        (partial(HeldOut, learner=MeanOfTeachers()), 'learner needs learn'),
        (
            lambda: train_dsom(DATA, recipe_of(policy=Forgets())),
            'Forgets.prepare must return a Combiner, got None',
        ),
    ],
)
def test_what_is_no_setting_is_told(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize('warm', [False, True])
def test_the_callers_random_numbers_stay_their_own(warm: bool) -> None:
    trained = []
    student = student_of(start=WarmStart()) if warm else student_of()
    # Without a joint teacher a warm student is drawn and trained first.
    recipe = recipe_of(teachers=teachers_of(joint=False), student=student)
    for seed in (5, 6):
        torch.manual_seed(seed)
        expected = torch.rand(3)
        torch.manual_seed(seed)
        trained.append(train_dsom(DATA, recipe))
        assert torch.equal(torch.rand(3), expected)
    assert_same(*trained)
    other = train_dsom(DATA, replace(recipe, seed=1))
    a, b = trained[0].student, other.student
    assert not torch.equal(a(HEAD, REL, REL), b(HEAD, REL, REL))


@pytest.mark.parametrize(
    ('loop', 'size'),
    [
        (Loop(epochs=2, batch_size=5000, cooldown=1.0), 250),
        (Loop(epochs=2, batch_size=20, eval_every=2), 20),
    ],
)
def test_what_is_held_out_is_learned_from_in_small_batches(
    loop: Loop, size: int
) -> None:
    recipe = recipe_of(teachers=teachers_of(loop=loop))
    results = train_dsom(DATA, recipe).results
    for stage in ('weights', 'policy'):
        config = results[stage].config
        assert config['batch_size'] == size
        assert config['eval_every'] == 0
        assert config['cooldown'] == 0
    # A fold is trained as its teachers were, but for the evaluation.
    config = results['fold-1-of-1'].config
    assert config['batch_size'] == loop.batch_size
    assert (config['eval_every'], config['cooldown']) == (0, loop.cooldown)


@pytest.mark.parametrize('evidence', [TENTH, KFolds(3)])
def test_weights_and_policy_learn_from_what_folds_hold(
    evidence: OneFold | KFolds,
) -> None:
    run, teachers = run_of(), teachers_of(loop=Loop(epochs=1))
    folds = fit_folds(run, teachers, evidence)
    train = GRAPH.triples('train').edge_type.numel()
    held = torch.cat([fold.held.edge_type for fold in folds])
    whole = isinstance(evidence, KFolds)
    assert held.numel() == (train if whole else round(0.1 * train))
    learner = RewardedPolicy(base=ByRelation(epochs=2), epochs=3)
    policy = learner.learn(run, teachers.loop, folds, True)
    assert isinstance(policy, Policy)
    assert isinstance(policy.base, Weighted)
    counts = torch.bincount(torch.cat([held, held + 4]), minlength=8)
    assert torch.equal(policy.base.counts, counts.clamp(min=1).float())
    # Moments of what the policy saw: everything held out, both ways, thrice.
    queries = sum(len(fold.held_index) for fold in folds)
    assert policy.state.count == 3 * queries
    # Both are done: nothing learns any more.
    assert not policy.learns
    assert not policy.training
    start = torch.full((4,), 0.25).log()
    assert not torch.allclose(policy.base.log_weight, start)


# Committees.


def test_a_committee_is_the_mean_of_single_runs(tmp_path: Path) -> None:
    singles = [
        fit_teachers(run_of(seed=seed), teachers_of())(HEAD, REL)
        for seed in (0, 1000)
    ]
    assert not torch.allclose(*singles)
    run, teachers = run_of(tmp_path), teachers_of(committee=2)
    ensemble = fit_teachers(run, teachers)
    torch.testing.assert_close(ensemble(HEAD, REL), sum(singles) / 2)
    structure = ensemble['structure']
    assert isinstance(structure, Bilinear)
    assert structure.hidden_channels == 16
    assert list(run.results) == ['teachers', 'teachers-2']
    written = files(tmp_path)
    assert set(written) == {'teachers.safetensors', 'teachers-2.safetensors'}
    again = fit_teachers(run_of(tmp_path), teachers)
    assert files(tmp_path) == written
    assert torch.equal(again(HEAD, REL), ensemble(HEAD, REL))


@pytest.mark.parametrize('evidence', [TENTH, KFolds(2)])
def test_no_member_of_a_committee_saw_what_a_fold_holds(
    evidence: OneFold | KFolds, tmp_path: Path
) -> None:
    # One split for all members: that of the run's seed.
    parts = evidence.parts(GRAPH, 1)
    folds = fit_folds(run_of(tmp_path), teachers_of(committee=2), evidence)
    assert len(folds) == len(parts)
    for fold, (rest, held) in zip(folds, parts, strict=True):
        assert torch.equal(fold.held.edge_index, held.edge_index)
        logits = []
        for seed in (0, 1000):
            run = replace(run_of(seed=seed), graph=rest)
            logits.append(fit_teachers(run, teachers_of())(HEAD, REL))
        assert not torch.allclose(*logits)
        torch.testing.assert_close(
            fold.ensemble(HEAD, REL), sum(logits) / 2, rtol=1e-4, atol=1e-5
        )
        seen = fold.graph.triples('train').edge_index
        assert torch.equal(seen, rest.triples('train').edge_index)
    written = files(tmp_path)
    names = [f'fold-{at + 1}-of-{len(parts)}' for at in range(len(parts))]
    names += [f'member-2/{name}' for name in names]
    assert set(written) == {f'{name}.safetensors' for name in names}
    fit_folds(run_of(tmp_path), teachers_of(committee=2), evidence)
    assert files(tmp_path) == written


def test_folds_of_each_member_are_as_long_as_its_teachers() -> None:
    loop = Loop(
        epochs=6,
        batch_size=50,
        optimizer=Adagrad(lr=0.5),
        eval_every=1,
        patience=1,
    )
    trained = train_dsom(
        DATA,
        recipe_of(
            teachers=teachers_of(committee=3, loop=loop),
            policy=HeldOut(learner=FixedWeights(epochs=1)),
        ),
    )
    found = trained.results
    best = [
        found[stage].best_epoch
        for stage in ('teachers', 'teachers-2', 'teachers-3')
    ]
    folds = ('fold-1-of-1', 'member-2/fold-1-of-1', 'member-3/fold-1-of-1')
    assert [len(found[stage].history) for stage in folds] == best
    assert len(set(best)) > 1
    assert max(best) < 6
    joint = trained.ensemble['joint']
    assert isinstance(joint, Bilinear)
    assert joint.hidden_channels == 24
    assert sum(p.numel() for p in trained.student.parameters()) == 38 * 16


# What goes wrong is said, by the stage where it does.


@pytest.mark.parametrize('wrong', ['fold-1-of-1', 'student'])
def test_a_stage_that_diverges_is_named(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_stage = Run.fit

    def spoiled(
        self: Run,
        stage: str,
        task: Task,
        loop: Loop,
        graph: KG | None = None,
        **options: Any,
    ) -> FitResult:
        if stage == wrong:
            loop = replace(loop, optimizer=Adagrad(1e6))
        return fit_stage(self, stage, task, loop, graph, **options)

    monkeypatch.setattr(Run, 'fit', spoiled)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=f"^{wrong}: 'loss' is "):
            train_dsom(DATA, recipe_of(), tmp_path)
        assert not (tmp_path / f'{wrong}.safetensors').exists()


def test_a_damaged_stage_is_named(tmp_path: Path) -> None:
    expected = train_dsom(DATA, recipe_of(), tmp_path)
    path = tmp_path / 'teachers.safetensors'
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'teachers\.safetensors is damaged'):
        train_dsom(DATA, recipe_of(), tmp_path)
    path.unlink()
    assert_same(train_dsom(DATA, recipe_of(), tmp_path), expected)


# Starts.

WARM = student_of(start=WarmStart())


@pytest.mark.parametrize('channels', [4, 8])
def test_a_warm_student_of_a_committee(channels: int) -> None:
    run, teachers = run_of(), teachers_of(committee=2, channels=channels)
    ensemble = fit_teachers(run, teachers)
    student = start_student(run, WARM, teachers, ensemble)
    assert isinstance(student, Bilinear)
    assert student.hidden_channels == 8
    # Two of 4 make one of 8; two of 8 do not, and one is trained.
    assert ('start' in run.results) == (channels == 8)
    if channels == 4:
        joint = ensemble['joint'].score_tails(HEAD, REL)
        assert torch.equal(student.score_tails(HEAD, REL), joint)


def test_teachers_that_count_join_those_that_learned() -> None:
    named = ('links', 'frequency')
    plain, counting = (
        teachers_of(committee=2),
        teachers_of(committee=2, observed=named),
    )
    alone, beside = (fit_teachers(run_of(), t) for t in (plain, counting))
    assert beside.modalities == [*alone.modalities, *named]
    for name in alone.modalities:
        # The others are trained as without them, to the last bit.
        assert torch.equal(
            beside[name].score_tails(HEAD, REL),
            alone[name].score_tails(HEAD, REL),
        )
    for name, kind in (('links', OtherLinks), ('frequency', TailFrequency)):
        assert torch.equal(
            beside[name].score_tails(HEAD, REL),
            kind(GRAPH.index('train')).score_tails(HEAD, REL),
        )


def test_what_a_fold_holds_out_is_not_counted() -> None:
    teachers = teachers_of(observed=('frequency',))
    folds = fit_folds(run_of(), teachers, KFolds(2))
    for fold in folds:
        counted = TailFrequency(fold.seen_index).score_tails(HEAD, REL)
        assert torch.equal(
            fold.ensemble['frequency'].score_tails(HEAD, REL), counted
        )
        every = TailFrequency(GRAPH.index('train')).score_tails(HEAD, REL)
        assert not torch.equal(counted, every)


class Taken(KG):
    features = {'links': (torch.ones(30, 2), torch.ones(30).bool())}  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(DATA)


def test_a_student_of_teachers_that_count(tmp_path: Path) -> None:
    recipe = Recipe(
        teachers=teachers_of(observed=('frequency', 'links')),
        policy=HeldOut(learner=ByRelation(epochs=1)),
        student=student_of(),
    )
    trained = train_dsom(GRAPH, recipe, tmp_path)
    assert trained.ensemble.modalities[-2:] == ['frequency', 'links']
    # It goes on from its files.
    again = train_dsom(GRAPH, recipe, tmp_path)
    assert torch.equal(
        again.student.score_tails(HEAD, REL),
        trained.student.score_tails(HEAD, REL),
    )
    with pytest.raises(ValueError, match="is called 'degree'; there are"):
        teachers_of(observed=('degree',))
    with pytest.raises(ValueError, match="'links' is taken as the name"):
        recipe.teachers.build(Taken(), 0)


def test_a_warm_student_begins_as_the_joint_teacher() -> None:
    run, teachers = run_of(), teachers_of(channels=8)
    ensemble = teachers.build(GRAPH, 7)
    for p in ensemble.parameters():
        torch.nn.init.normal_(p)
    head, rel = torch.arange(30), torch.arange(30) % 8
    expected = ensemble['joint'].score_tails(head, rel)
    student = start_student(run, WARM, teachers, ensemble)
    assert not run.results
    assert torch.equal(student.score_tails(head, rel), expected)
    # A copy: the teacher stays as it is.
    with torch.no_grad():
        student.get_parameter('relations').zero_()
    assert torch.equal(ensemble['joint'].score_tails(head, rel), expected)
    # Its regulariser is its own.
    own = student_of(start=WarmStart(), model=partial(ComplEx, n3=0.5))
    begun = start_student(run, own, teachers, ensemble)
    assert isinstance(begun, ComplEx)
    assert begun.n3 == 0.5
    # Fresh, of the seed of the run.
    for seed in (0, 1):
        fresh = start_student(
            run_of(seed=seed), student_of(), teachers, ensemble
        )
        assert isinstance(fresh, ComplEx)
        assert isinstance(fresh.entities, EntityEmbedding)
        torch.manual_seed(seed + 1)
        drawn = ComplEx(EntityEmbedding(30, 8), 4)
        for a, b in zip(fresh.parameters(), drawn.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_student_of_another_model_than_its_teachers() -> None:
    # A joint ComplEx is no start of a DistMult.
    student = student_of(start=WarmStart(), model=DistMult)
    teachers = teachers_of(structure=DistMult, feature=ComplEx, channels=4)
    trained = train_dsom(DATA, recipe_of(teachers=teachers, student=student))
    assert isinstance(trained.student, DistMult)
    assert 'start' in trained.results
    assert isinstance(trained.ensemble['text'], ComplEx)


@pytest.mark.parametrize(
    ('structure', 'model'),
    [
        (RotatE, ComplEx),
        (partial(ComplEx, reciprocals=False), ComplEx),
        (TransE, ComplEx),
        (ComplEx, OTE),
        (ComplEx, TuckER),
        (ComplEx, TransE),
    ],
)
def test_a_warm_start_is_a_model_like_the_student(
    structure: ModelFactory,
    model: ModelFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teachers = teachers_of(structure=structure, channels=8)
    student = student_of(start=WarmStart(), model=model)
    run, trained = run_of(), []
    ensemble = fit_teachers(run, teachers)

    def fit(stage: str, task: ModelTask, *more: object) -> FitResult:
        trained.append(task.model)
        return Run.fit(run, stage, task, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(run, 'fit', fit)
    begun = start_student(run, student, teachers, ensemble)
    [source] = trained
    assert type(begun) is type(source) is type(model(source.entities, 4))
    for net in (begun, source):
        net.eval()
    torch.testing.assert_close(
        begun.score_tails(HEAD, REL), source.score_tails(HEAD, REL)
    )


def test_a_warm_start_without_features() -> None:
    graph = KG(make_data(30, 4, GRAPH.triples('train')))
    teachers, run = teachers_of(channels=8), Run(graph=graph, progress=False)
    ensemble = fit_teachers(run, teachers)
    begun = start_student(run, WARM, teachers, ensemble)
    assert 'start' not in run.results
    expected = ensemble['structure'].score_tails(HEAD, REL)
    assert torch.equal(begun.score_tails(HEAD, REL), expected)


@pytest.mark.parametrize('warm', [True, False])
def test_a_student_smaller_than_its_teachers(
    warm: bool, tmp_path: Path
) -> None:
    student = student_of(loop=LONGER)
    if warm:
        gentle = replace(LONGER, optimizer=Adagrad(0.1, 2e-6))
        student = student_of(loop=gentle, start=WarmStart())
    teachers = teachers_of(channels=12)
    recipe = recipe_of(teachers=teachers, student=student)
    trained = train_dsom(DATA, recipe, tmp_path)
    joint = trained.ensemble['joint']
    assert isinstance(joint, Bilinear)
    assert joint.hidden_channels == 12
    # Structure alone, of its own size, whatever it began as.
    shapes = [tuple(p.shape) for p in trained.student.parameters()]
    assert shapes == [(2 * 4, 16), (30, 16)]
    assert not list(trained.student.buffers())
    assert ('start' in trained.results) == warm
    assert (tmp_path / 'start.safetensors').exists() == warm
    # It learned something: chance gives a mean rank near 15 among 30.
    ranking = evaluate(trained.student, DATA, split='train')
    assert ranking.metrics()['mr'] < 10


def test_a_warm_student_is_chosen_on_validation() -> None:
    loop = replace(LOOP, eval_every=1, patience=9)
    student = student_of(start=WarmStart(), loop=loop)
    trained = train_dsom(DATA, recipe_of(student=student))
    history = trained.results['student'].history
    best = max(history, key=lambda epoch: epoch['val_mrr'])
    # The table scores as the student did with its features inside.
    ranking = evaluate(
        trained.student, DATA, split='val', filter_splits=('train', 'val')
    )
    assert ranking.mrr() == pytest.approx(best['val_mrr'], abs=1e-5)


# Graphs.


def test_test_triples_are_never_read() -> None:
    blind = DATA.clone()
    test = get_split(DATA, 'test')
    set_split(blind, 'test', test.select(torch.arange(0)))
    for policy in (held_out(), AsInPaper(mlp_channels=16)):
        recipe = recipe_of(policy=policy)
        assert_same(train_dsom(DATA, recipe), train_dsom(blind, recipe))


@pytest.mark.parametrize('rate', [0.5, 1.0])
def test_missing_modalities(rate: float) -> None:
    data = drop_modality(DATA, 'text', rate)
    trained = train_dsom(data, recipe_of(student=student_of(unlabeled=None)))
    head, rel = torch.arange(30), torch.zeros(30, dtype=torch.long)
    answers = Answers(trained.ensemble, head, rel)
    assert not answers.available.all()
    weights = trained.policy.weights(answers)
    assert (weights[~answers.available] == 0).all()
    assert evaluate(trained.student, data).ranks().isfinite().all()


def test_a_graph_without_modalities() -> None:
    data = DATA.clone()
    for name in ('image', 'text'):
        (edge,) = (e for e in data.edge_types if e[0] == name)
        del data[name], data[edge]
    trained = train_dsom(data, recipe_of(student=student_of(loop=LONGER)))
    assert trained.ensemble.modalities == ['structure']
    ranking = evaluate(trained.student, data, split='train')
    assert ranking.metrics()['mr'] < 10
    warm = student_of(start=WarmStart(), loop=LONGER)
    trained = train_dsom(
        data, recipe_of(student=warm, policy=MeanOfTeachers())
    )
    ranking = evaluate(trained.student, data, split='train')
    assert ranking.metrics()['mr'] < 10


# What it is all for.


def graph_with_a_liar() -> KG:
    # Entities are of six kinds, and relation r leads from kind k to kind
    # k + r + 1. Few triples are known. Texts say the kind; images say that of
    # another entity.
    draw = torch.Generator().manual_seed(0)
    size, kinds = 60, 6
    kind = torch.arange(size) % kinds
    true = torch.tensor(
        [
            (head, rel, tail)
            for head in range(size)
            for rel in range(3)
            for tail in range(size)
            if (kind[head] + rel + 1 - kind[tail]) % kinds == 0
        ]
    )
    true = true[torch.randperm(len(true), generator=draw)]
    train, test = (
        Triples(part[:, [0, 2]].t().contiguous(), part[:, 1].contiguous())
        for part in true.split([90, len(true) - 90])
    )
    data = make_data(size, 3, train, None, test)
    told = 2 * torch.nn.functional.one_hot(kind, kinds).float()
    noise = torch.randn(size, 16, generator=draw) / 2
    x = torch.cat([told, noise], dim=1)
    shuffled = torch.randperm(size, generator=draw)
    for name, order in (('text', torch.arange(size)), ('image', shuffled)):
        data[name].x = x[order]
        ends = torch.arange(size).repeat(2, 1)
        data[name, 'of', 'entity'].edge_index = ends
    return KG(data)


def test_a_student_does_not_believe_a_liar() -> None:
    graph = graph_with_a_liar()
    recipe = recipes.held_out(channels=16, progress=False)
    few = {'batch_size': 50, 'epochs': 8}
    recipe = replace(
        recipe,
        teachers=replace(
            recipe.teachers, loop=replace(recipe.teachers.loop, **few)
        ),
        policy=HeldOut(evidence=OneFold(0.2)),
        student=replace(
            recipe.student,
            loop=replace(recipe.student.loop, **few),
            unlabeled=Unlabeled(1000),
        ),
    )
    found = {}
    for policy in (recipe.policy, MeanOfTeachers()):
        trained = train_dsom(graph, replace(recipe, policy=policy))
        found[type(policy)] = trained
    ours, mean = found[HeldOut], found[MeanOfTeachers]
    ranks = [evaluate(one.student, graph).mrr() for one in (ours, mean)]
    # It was 0.97 and 0.54.
    assert ranks[0] > 0.8
    assert ranks[0] > ranks[1] + 0.2
    ranks = [evaluate(one.teachers, graph).mrr() for one in (ours, mean)]
    assert ranks[0] > ranks[1] + 0.02
    head, rel = torch.arange(60), torch.zeros(60, dtype=torch.long)
    weights = ours.policy.weights(Answers(ours.ensemble, head, rel))
    names = ours.ensemble.modalities
    honest, liar = (
        weights[:, names.index(name)].mean() for name in ('text', 'image')
    )
    assert honest > 1.5 * liar


def test_what_cannot_work_is_refused_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    with pytest.raises(TypeError, match=r"need a recipe, .* got 'tiny'"):
        train_dsom(DATA, 'tiny', tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no device 'gpu' here"):
        train_dsom(DATA, Recipe(device='gpu'), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match=r'HeldOut\(learner=...\)'):
        Recipe(policy=ByRelation())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='QueryState means something else'):
        RewardedPolicy(state=QueryState)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'policy': OneTeacher(name='imgae')}, "no teacher 'imgae'; there ar"),
        ({'policy': Boosting()}, 'no validation triples to learn'),
        ({'policy': HeldOut(evidence=OnValidation())}, 'no validation trip'),
        ({'policy': HeldOut(evidence=KFolds(1000))}, 'needs 1000'),
        ({'policy': held_out()}, 'must be 1 to 8'),
        ({'policy': AsInPaper()}, 'must be 1 to 8'),
        (
            {'student': student_of(distill=Distill(decoupled='target'))},
            "take Loop\\(batch_by='triples'\\)",
        ),
        (
            {'teachers': teachers_of(committee=2, structure=TransE)},
            'no bilinear models',
        ),
        (
            {'student': student_of(loop=replace(LOOP, eval_every=1))},
            'eval_every needs validation triples',
        ),
        (
            {'student': sampling_student(), 'policy': AsInPaper()},
            'learns along with the student needs all',
        ),
        (
            {'student': sampling_student(), 'policy': Senior()},
            'learns along with the student needs all',
        ),
        (
            {'student': sampling_student(model=of_objective(KvsAll()))},
            'KvsAll draws no candidates',
        ),
        (
            {'student': sampling_student(model=of_objective(Margin()))},
            'Margin draws no candidates',
        ),
        (
            {
                'student': student_of(
                    model=of_objective(KvsAll()),
                    loop=replace(LOOP, rarity=0.5),
                )
            },
            'KvsAll weighs queries',
        ),
        (
            {'student': student_of(start=WarmStart(), model=without_rows)},
            'no table can take their place',
        ),
        (
            # It begins as a model of its own, by the loop of the teachers.
            {
                'teachers': teachers_of(
                    loop=replace(LOOP, sampled=Sampled(30))
                ),
                'student': student_of(
                    start=WarmStart(),
                    model=partial(DistMult, objective=Margin()),
                ),
            },
            'Margin draws no candidates',
        ),
        (
            {'student': student_of(model=partial(ComplEx, n3=-1.0))},
            'n3 must not be negative',
        ),
    ],
)
def test_what_a_graph_cannot_give_is_told_before_anything_is_trained(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    data = with_split(DATA, 'val', Triples.of([]))
    if '8' in message:
        for at in range(8):
            data[f'm{at}'].x = data['text'].x
            edge = data['text', 'describes', 'entity'].edge_index
            data[f'm{at}', 'of', 'entity'].edge_index = edge
    else:
        options = {'policy': MeanOfTeachers(), **options}
    with pytest.raises(ValueError, match=message):
        train_dsom(data, recipe_of(**options), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_graph_of_train_alone(tmp_path: Path) -> None:
    data = make_data(30, 4, get_split(DATA, 'train'))
    store = data['entity', 'relation', 'entity']
    for name in ('val', 'test'):
        del store[f'{name}_edge_index'], store[f'{name}_edge_type']
    # Narrow ids are ids as well.
    store.edge_index, store.edge_type = (
        store.edge_index.int(),
        store.edge_type.int(),
    )
    trained = train_dsom(data, recipe_of(), tmp_path)
    with pytest.raises(ValueError, match=r'split .test. has no triples'):
        evaluate(trained.student, data)
    wide = train_dsom(make_data(30, 4, get_split(DATA, 'train')), recipe_of())
    assert_same(trained, wide)


def test_a_graph_of_one_entity() -> None:
    loop = Triples(torch.zeros(2, 4).long(), torch.arange(4))
    trained = train_dsom(make_data(1, 4, loop, loop), recipe_of())
    assert evaluate(trained.student, make_data(1, 4, loop, loop, loop)).mrr()


def test_how_a_student_begins_tells_runs_apart(tmp_path: Path) -> None:
    data = make_data(30, 4, *map(GRAPH.triples, ('train', 'val', 'test')))
    train_dsom(data, recipe_of(), tmp_path)
    warm = recipe_of(student=student_of(start=WarmStart()))
    with pytest.raises(ValueError, match='begins as: None there, WarmStart'):
        train_dsom(data, warm, tmp_path)


def test_a_warm_student_may_lose_what_it_knows() -> None:
    # Its loss rises: that is no divergence.
    loop = replace(LOOP, optimizer=Adam(lr=2.0))
    recipe = recipe_of(
        policy=MeanOfTeachers(),
        teachers=teachers_of(loop=replace(LONGER, epochs=20)),
        student=student_of(
            start=WarmStart(),
            loop=loop,
            model=partial(ComplEx, n3=0.05),
            distill=Distill(gamma=0.0),
        ),
    )
    trained = train_dsom(DATA, recipe)
    last = trained.results['student'].history[-1]
    assert last['loss'] > 2 * trained.results['teachers'].history[-1]['joint']
