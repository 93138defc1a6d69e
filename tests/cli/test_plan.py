"""What is said of memory and time before and while a run goes on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dsom_pyg import KG, Recipe, recipes, train_dsom
from dsom_pyg.cli import console
from dsom_pyg.cli.console import Clock
from dsom_pyg.cli.plan import Stage, memory, stages_of
from dsom_pyg.completion.judging import beliefs
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.policies import (
    AsInPaper,
    FixedWeights,
    HeldOut,
    MeanOfTeachers,
    PolicyChoice,
    RewardedPolicy,
)
from dsom_pyg.stages import Student, Teachers, Unlabeled
from dsom_pyg.training import (
    Adam8bit,
    KFolds,
    Loop,
    OneFold,
    OnValidation,
    Progress,
    Sampled,
)
from dsom_pyg.training.progress import Record

GRAPH = KG(FakeMMKG(40, 3, 150)[0])
LOOP = Loop(epochs=2, batch_size=50)


def recipe_of(policy: PolicyChoice, committee: int = 1) -> Recipe:
    return Recipe(
        teachers=Teachers(channels=4, loop=LOOP, committee=committee),
        policy=policy,
        student=Student(
            channels=4, loop=replace(LOOP, epochs=3), unlabeled=None
        ),
    )


@pytest.mark.parametrize(
    'recipe',
    [
        recipe_of(MeanOfTeachers()),
        recipe_of(AsInPaper(mlp_channels=4)),
        recipe_of(HeldOut(learner=FixedWeights(epochs=1)), committee=2),
        recipe_of(
            HeldOut(
                learner=RewardedPolicy(base=FixedWeights(epochs=1), epochs=2),
                evidence=KFolds(2),
            )
        ),
        recipe_of(
            HeldOut(
                learner=RewardedPolicy(base=None, epochs=1),
                evidence=OneFold(0.2),
            )
        ),
    ],
)
def test_the_stages_are_those_that_come(recipe: Recipe) -> None:
    heard = Heard()
    plan = stages_of(recipe, GRAPH)
    results = train_dsom(GRAPH, replace(recipe, progress=heard)).results
    assert heard.steps == heard.batches
    # In their order; what asks no teacher takes no time.
    came = [x for x in heard.epochs if x in plan or x != 'decisions']
    assert came == list(plan)
    said = {name: s.epochs for name, s in plan.items() if name != 'decisions'}
    assert said == {n: x for n, x in heard.epochs.items() if n != 'decisions'}
    assert said == {n: len(r.history) for n, r in results.items()}


class Heard(Progress):
    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.steps = self.batches = 0

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        assert stage not in self.epochs
        self.epochs[stage] = epochs
        self.batches += epochs * batches

    def step(self) -> None:
        self.steps += 1


def test_judges_are_stages_as_well() -> None:
    recipe = recipe_of(MeanOfTeachers(), committee=2)
    heard = Heard()
    beliefs(GRAPH, replace(recipe, progress=heard), folds=2)
    before, plan = stages_of(recipe, GRAPH), stages_of(recipe, GRAPH, 2)
    said = {x: s.epochs for x, s in plan.items() if x not in before}
    asked = {f'judge-{at}-of-2/decisions': 1 for at in (1, 2)}
    assert {**said, **asked} == heard.epochs
    # Half of train each.
    judge = plan['judge-2-of-2/student']
    assert judge.cost == plan['student'].cost / 2
    assert plan['fold-1-of-2'].cost == plan['teachers'].cost / 2
    # The folds of the policy are those of the judges.
    folds = recipe_of(HeldOut(evidence=KFolds(2)))
    more = stages_of(folds, GRAPH, 2).keys() - stages_of(folds, GRAPH).keys()
    assert more == {'judge-1-of-2/student', 'judge-2-of-2/student'}


def test_costs() -> None:
    # Structure, image, text and joint; a step that learns costs three.
    folds = HeldOut(evidence=KFolds(4))
    plan = stages_of(replace(recipes.small(), policy=folds), GRAPH)
    assert plan['teachers'].cost == 12
    assert plan['fold-4-of-4'].cost == 9
    assert plan['policy'].cost == plan['weights'].cost == 4
    # The student learns, teachers are asked, and of as many queries again.
    assert plan['student'].cost == 14
    # The policy is asked once about each query, and unlabeled ones, and
    # does more than a pass.
    queries = len(GRAPH.index('train').head)
    more = recipes.small().student.unlabeled
    assert more is not None
    every = 2 * GRAPH.num_relations * GRAPH.num_entities
    assert every < more.queries  # so many are not there
    asked = every / queries
    assert plan['decisions'].cost == pytest.approx(4 * 2.5 * asked)
    plan = stages_of(recipe_of(MeanOfTeachers(), committee=3), GRAPH)
    assert plan['student'].cost == 3 + 12
    few = replace(recipes.small().student, unlabeled=Unlabeled(10))
    plan = stages_of(replace(recipes.small(), student=few), GRAPH)
    asked = (queries + 10) / queries
    assert plan['decisions'].cost == pytest.approx(4 * 2.5 * asked)


def test_memory_by_hand() -> None:
    recipe = replace(recipe_of(MeanOfTeachers()), precision='fp32')
    most, words = memory(recipe, GRAPH)
    table = 40 * 8 * 4
    widths = sum(x.size(1) for x, _ in GRAPH.features.values())
    features = 40 * widths * 4
    # Of the student and of four kinds of teachers.
    scores = (1 + 4) * 50 * 40 * 4
    # Adagrad: parameter, gradient, sum; the free tables are two.
    assert most == features + scores + 2 * table * 3 + 2 * table
    assert words.startswith('40 entities x 8 numbers x 4 bytes x 3 (with grad')
    # Moments of 8 bits: half a table, not one.
    loop = replace(recipe.teachers.loop, optimizer=Adam8bit())
    small = replace(recipe, teachers=replace(recipe.teachers, loop=loop))
    assert memory(small, GRAPH)[0] == most - table
    folds = HeldOut(evidence=KFolds(3))
    more = replace(recipe, policy=folds)
    assert memory(more, GRAPH)[0] == most + 3 * 2 * table
    # Nothing is trained for validation triples; judges have folds as well.
    plain = replace(recipe, policy=HeldOut(evidence=OnValidation()))
    assert memory(plain, GRAPH)[0] == most
    assert memory(plain, GRAPH, 2)[0] == most + 2 * 2 * table
    assert memory(more, GRAPH, 2)[0] == most + 3 * 2 * table
    # A matrix of scores of each teacher that counts, in a student's step.
    observed = ('frequency', 'links')
    counting = replace(recipe.teachers, observed=observed)
    also = replace(recipe, teachers=counting)
    assert memory(also, GRAPH)[0] == most + 2 * 50 * 40 * 4
    assert stages_of(also, GRAPH)['teachers'].cost == 12
    # With teachers in bf16 beside it, the student takes as much as they did.
    wide = replace(recipe.student, channels=8)
    other = replace(recipe, student=wide)
    most = memory(other, GRAPH)[0]
    bf16 = replace(other, precision='bf16')
    assert memory(bf16, GRAPH)[0] == most + table


def test_memory_of_scores_does_not_grow_with_the_graph() -> None:
    """Of a large one, a GiB of each model that learns is kept."""
    graph = KG(FakeMMKG(40, 3, 150)[0])
    graph.__dict__['num_entities'] = 4_594_485
    before = memory(replace(recipes.held_out(), precision='fp32'), graph)
    assert 'scores of a step 4.0 GiB' in before[1]
    sampled = Loop(batch_size=250, sampled=Sampled(10_000))
    recipe = Recipe(
        teachers=Teachers(loop=sampled), student=Student(loop=sampled)
    )
    # Ten thousand drawn entities, 500 queries, student and four teachers.
    assert 'scores of a step 95 MiB' in memory(recipe, graph)[1]


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [0.0]
    monkeypatch.setattr(console.time, 'perf_counter', lambda: now[0])
    clock = Clock({'first': Stage(4, 3.0), 'second': Stage(2, 6.0)})
    assert clock.left() == 'time left unknown yet'
    # One of four epochs was done by an earlier process: 9 + 12 are left.
    clock.begin('first', 4, 10, 1)
    for _ in range(10):
        now[0] += 0.5
        clock.step()
    assert clock.seconds_left() == pytest.approx(18 / 3 * 5)
    assert clock.left() == 'about 0:00:30 left'
    clock.end()  # it stops early
    assert clock.seconds_left() == pytest.approx(12 / 3 * 5)
    clock.begin('unknown', 5, 10, 0)
    now[0] += 99
    clock.step()
    clock.end()
    assert clock.seconds_left() == pytest.approx(20)
    clock.begin('second', 2, 1, 0)
    now[0] += 10
    clock.step()
    clock.step()
    # 15 passes took 15 seconds, and nothing is left.
    assert clock.seconds_left() == 0


def test_what_was_passed_over_takes_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now: list[float] = [0.0]
    monkeypatch.setattr(console.time, 'perf_counter', lambda: now[0])
    stages = {name: Stage(1, 5.0) for name in ('one', 'two', 'three', 'four')}
    clock = Clock(stages)
    clock.begin('one', 1, 1, 0)
    now[0] += 5
    clock.step()
    clock.end()
    assert clock.seconds_left() == pytest.approx(15)
    clock.begin('three', 1, 1, 0)
    assert clock.seconds_left() == pytest.approx(10)


def test_a_long_epoch_is_not_silent(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    now: list[float] = [0.0]
    monkeypatch.setattr(console.time, 'perf_counter', lambda: now[0])
    plan = {'decisions': Stage(1, 3.0), 'student': Stage(2, 3.0)}
    watch = console.Console(tmp_path / 'log.txt', False, plan)
    watch.begin('decisions', 1, 10, [])
    for _ in range(10):
        now[0] += 25
        watch.step()
    watch.end()
    watch.begin('student', 2, 2, [])
    now[0] += 50
    watch.step()
    watch.step()
    watch.epoch({'epoch': 1, 'loss': 2.5})
    now[0] += 50  # not so long since that line
    watch.step()
    now[0] += 50
    watch.step()
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if 'batch' in line]
    # After more than a minute, counted from the last line.
    ats = [f'decisions: batch {at} of 10' for at in (4, 7, 10)]
    assert [line.split(',')[0] for line in told] == [
        *ats,
        'student: batch 2 of 2',
    ]
    assert 'epoch 2 of 2, about' in told[-1]
    assert 'epoch 1 of 2, loss 2.5' in lines[-2]


def test_the_bar_of_a_terminal(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(console.sys.stderr, 'isatty', lambda: True)
    watch = console.Console(
        tmp_path / 'log.txt', False, {'teachers': Stage(2, 3.0)}
    )
    watch.begin('teachers', 2, 2, [])
    for _ in range(2):
        watch.step()
    watch.epoch({'epoch': 1, 'loss': 2.5, 'val_mrr': 0.5})
    watch.end()
    out, err = capsys.readouterr()
    assert out == ''
    assert 'teachers:  50%' in err
    log = (tmp_path / 'log.txt').read_text()
    assert 'teachers: epoch 1 of 2, loss 2.5, val MRR 50.00, about' in log
