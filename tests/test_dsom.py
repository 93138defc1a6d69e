"""From a graph to a student in one call."""

import importlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import (
    drop_modality,
    get_split,
    num_relations,
    set_split,
)
from dsom_pyg.nn import (
    EntityEmbedding,
    MeanCombiner,
    TeacherBatch,
    WeightedCombiner,
)
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    ModelTask,
    RecipeConfig,
    TeachersTask,
    build_teachers,
    cross_fit,
    fit,
    fit_folds,
    fit_policy,
    fit_teachers,
    policy_loop,
    start_student,
    teacher_n3,
    train_dsom,
)
from dsom_pyg.training.optimizers import embedding_optimizer

# The name is also that of a function of the package.
fit_module = importlib.import_module('dsom_pyg.training.fit')

DATA = FakeMMKG(30, 4, 200)[0]
LOOP = FitConfig(epochs=4, batch_size=50, progress=False)


def config(**options: object) -> RecipeConfig:
    words = {
        'hidden_channels': 8,
        'teachers': LOOP,
        'student': LOOP,
        'policy_epochs': 3,
        'unlabeled': 40,
        'warm_start': True,
        **options,
    }
    return RecipeConfig(**words)  # type: ignore[arg-type]


def test_stages_and_what_answers(tmp_path: Path) -> None:
    trained = train_dsom(DATA, config(folds=2), tmp_path)
    assert trained.ensemble.modalities == [
        'structure',
        'image',
        'text',
        'joint',
    ]
    assert list(trained.results) == ['teachers', 'policy', 'student']
    assert evaluate(trained.student, DATA).ranks().max() <= 30
    assert evaluate(trained.combined(DATA), DATA).ranks().max() <= 30
    names = {path.name for path in tmp_path.glob('*.safetensors')}
    assert names == {
        'teachers.safetensors',
        'fold-1-of-2.safetensors',
        'fold-2-of-2.safetensors',
        'weights.safetensors',
        'policy.safetensors',
        'student.safetensors',
    }
    # Everything is there already: the same student, nothing trained.
    stamps = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    again = train_dsom(DATA, config(folds=2), tmp_path)
    for a, b in zip(
        trained.student.parameters(), again.student.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert stamps == [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    # A student of another policy is another run.
    (tmp_path / 'policy.safetensors').unlink()
    with pytest.raises(ValueError, match=r'student\.safetensors'):
        train_dsom(DATA, config(folds=2, policy_epochs=9), tmp_path)
    # A policy over other weights as well.
    with pytest.raises(ValueError, match=r'(?s)weights\.safetensors.*epochs'):
        train_dsom(DATA, config(folds=2, weight_epochs=9), tmp_path)
    (tmp_path / 'weights.safetensors').unlink()
    with pytest.raises(ValueError, match=r'(?s)policy\.safetensors.*frozen'):
        train_dsom(DATA, config(folds=2, weight_epochs=9), tmp_path)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'committee': 0}, 'committee must be a positive integer, got 0'),
        ({'folds': 0}, 'folds must be a positive integer, got 0'),
        ({'weight_epochs': 0}, 'weight_epochs must be a positive integer'),
        ({'policy_epochs': 0}, 'policy_epochs must be a positive integer'),
        ({'ratio': 0.0}, 'ratio must lie in'),
        ({'unlabeled': 0.5}, r'distill\.unlabeled\); got 0\.5'),
        ({'unlabeled': -1}, 'got -1'),
        ({'folds': 1.5}, 'folds must be a positive integer, got 1.5'),
    ],
)
def test_settings_are_checked_before_anything_is_trained(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(**options)


@pytest.mark.parametrize('warm', [False, True])
def test_the_callers_random_numbers_stay_their_own(warm: bool) -> None:
    trained = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        expected = torch.rand(3)
        torch.manual_seed(seed)
        # Without a joint teacher a warm student is drawn and trained first.
        trained.append(train_dsom(DATA, config(joint=False, warm_start=warm)))
        assert torch.equal(torch.rand(3), expected)
    first, second = (t.student.state_dict() for t in trained)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_what_is_held_out_is_learned_from_in_small_batches() -> None:
    large = RecipeConfig(teachers=FitConfig(batch_size=5000, cooldown=1.0))
    assert policy_loop(large, 7).batch_size == 250
    small = RecipeConfig(teachers=FitConfig(batch_size=20, eval_every=2))
    loop = policy_loop(small, 7)
    assert (loop.batch_size, loop.eval_every, loop.epochs) == (20, 0, 7)


@pytest.mark.parametrize('k', [1, 3])
def test_weights_and_policy_learn_from_what_folds_hold(k: int) -> None:
    settings = config(folds=k, ratio=0.1)
    folds = fit_folds(DATA, settings, epochs=1)
    train = get_split(DATA, 'train').edge_type.numel()
    held = torch.cat([fold.held.edge_type for fold in folds])
    assert held.numel() == (train if k > 1 else round(0.1 * train))
    policy, _ = fit_policy(DATA, folds, settings)
    assert isinstance(policy.base, WeightedCombiner)
    size = num_relations(DATA)
    counts = torch.bincount(torch.cat([held, held + size]), minlength=2 * size)
    assert torch.equal(policy.base.counts, counts.clamp(min=1).float())
    # Moments of what the policy saw: everything held out, both ways, thrice.
    queries = sum(len(fold.held_index()) for fold in folds)
    assert policy.state.count == 3 * queries


HEAD, REL = torch.tensor([0, 5, 9]), torch.tensor([0, 1, 6])


def files(folder: Path) -> dict[Path, int]:
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob('*.safetensors')
    }


def test_a_committee_is_the_mean_of_single_runs(tmp_path: Path) -> None:
    settings = config(committee=2)
    first, second = (one.teachers.seed for one in settings.members())
    assert first == LOOP.seed
    assert second != first
    singles = []
    for seed in (first, second):
        one = config(teachers=replace(LOOP, seed=seed))
        singles.append(fit_teachers(DATA, one)[0](HEAD, REL))
    assert not torch.allclose(*singles)
    ensemble, results = fit_teachers(DATA, settings, tmp_path)
    torch.testing.assert_close(ensemble(HEAD, REL), sum(singles) / 2)
    assert ensemble['structure'].hidden_channels == 16
    assert len(results) == 2
    written = files(tmp_path)
    names = {Path('teachers.safetensors'), Path('teachers-2.safetensors')}
    assert set(written) == names
    again, _ = fit_teachers(DATA, settings, tmp_path)
    assert files(tmp_path) == written
    assert torch.equal(again(HEAD, REL), ensemble(HEAD, REL))


@pytest.mark.parametrize('k', [1, 2])
def test_no_member_of_a_committee_saw_what_a_fold_holds(
    k: int, tmp_path: Path
) -> None:
    settings = config(committee=2, folds=k, ratio=0.1)
    expected = []
    for member, epochs in zip(settings.members(), (3, 2), strict=True):
        alone = cross_fit(
            DATA,
            partial(build_teachers, DATA, member),
            replace(member.teachers, epochs=epochs),
            k,
            0.1,
            teacher_n3(build_teachers(DATA, member), member),
            seed=LOOP.seed + 1,  # one split for all members
        )
        expected.append(alone)
    folds = fit_folds(DATA, settings, (3, 2), tmp_path)
    assert len(folds) == k
    for fold, one, other in zip(folds, *expected, strict=True):
        assert torch.equal(one.held.edge_index, other.held.edge_index)
        assert torch.equal(fold.held.edge_index, one.held.edge_index)
        assert torch.equal(fold.seen.edge_index, one.seen.edge_index)
        logits = [f.ensemble(HEAD, REL) for f in (one, other)]
        assert not torch.allclose(*logits)
        torch.testing.assert_close(
            fold.ensemble(HEAD, REL), sum(logits) / 2, rtol=1e-4, atol=1e-5
        )
    names = [f'fold-{at + 1}-of-{k}.safetensors' for at in range(k)]
    written = files(tmp_path)
    further = {Path('member-2') / name for name in names}
    assert set(written) == {*map(Path, names), *further}
    fit_folds(DATA, settings, (3, 2), tmp_path)
    assert files(tmp_path) == written


def test_a_student_of_a_committee(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    recipe = importlib.import_module('dsom_pyg.training.recipe')

    def spy(data, settings, epochs, folder):  # type: ignore[no-untyped-def]
        asked.append(epochs)
        return fit_folds(data, settings, epochs, folder)

    monkeypatch.setattr(recipe, 'fit_folds', spy)
    settings = config(
        committee=3, teachers=replace(LOOP, eval_every=1, patience=2)
    )
    trained = train_dsom(DATA, settings, tmp_path)
    assert trained.student.hidden_channels == 8
    assert trained.ensemble['joint'].hidden_channels == 24
    # Each member's folds are trained as long as its teachers were.
    stages = ('teachers', 'teachers-2', 'teachers-3')
    best = [trained.results[stage].best_epoch for stage in stages]
    assert asked == [best]
    written = files(tmp_path)
    assert Path('student.safetensors') in written
    again = train_dsom(DATA, settings, tmp_path)
    assert files(tmp_path) == written
    for a, b in zip(
        again.student.parameters(), trained.student.parameters(), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize('channels', [4, 8])
def test_a_warm_student_of_a_committee(channels: int) -> None:
    settings = config(committee=2, teacher_channels=channels)
    ensemble, _ = fit_teachers(DATA, settings)
    student, begun = start_student(DATA, ensemble, settings)
    assert student.hidden_channels == 8
    # Two of 4 make one of 8; two of 8 do not, and one is trained.
    assert (begun is None) == (channels == 4)
    if channels == 4:
        joint = ensemble['joint'].score_tails(HEAD, REL)
        assert torch.equal(student.score_tails(HEAD, REL), joint)


def test_test_triples_are_never_read() -> None:
    blind = DATA.clone()
    test = get_split(DATA, 'test')
    set_split(blind, 'test', test.select(torch.arange(0)))
    students = [train_dsom(d, config()).student for d in (DATA, blind)]
    for a, b in zip(*(s.parameters() for s in students), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('rate', [0.5, 1.0])
def test_missing_modalities(rate: float) -> None:
    data = drop_modality(DATA, 'text', rate)
    trained = train_dsom(data, config(unlabeled=0))
    head, rel = torch.arange(30), torch.zeros(30, dtype=torch.long)
    batch = TeacherBatch(trained.ensemble, head, rel)
    weights = trained.policy.weights(batch)
    assert (weights[~batch.available] == 0).all()
    assert evaluate(trained.student, data).ranks().isfinite().all()


def test_a_warm_student_begins_as_the_joint_teacher() -> None:
    warm = config()
    ensemble = build_teachers(DATA, warm)
    head, rel = torch.arange(30), torch.arange(30) % 8
    student, begun = start_student(DATA, ensemble, warm)
    assert begun is None
    expected = ensemble['joint'].score_tails(head, rel)
    assert torch.equal(student.score_tails(head, rel), expected)
    # A copy: the teacher stays as it is.
    with torch.no_grad():
        student.relations.zero_()
    assert torch.equal(ensemble['joint'].score_tails(head, rel), expected)
    # Adagrad takes small steps from there, as asked for or as usual.
    assert warm.objective(student).initial_accumulator == 2e-6
    asked = config(warm_accumulator=0.0)
    assert asked.objective(student).initial_accumulator == 0
    cold = config(warm_start=False)
    fresh, begun = start_student(DATA, ensemble, cold)
    assert isinstance(fresh.entities, EntityEmbedding)
    assert begun is None
    assert cold.objective(fresh) == cold.distill


@pytest.mark.parametrize('warm', [True, False])
def test_a_student_smaller_than_its_teachers(
    warm: bool, tmp_path: Path
) -> None:
    settings = config(teacher_channels=12, warm_start=warm)
    trained = train_dsom(DATA, settings, tmp_path)
    assert trained.ensemble['joint'].hidden_channels == 12
    # Structure alone, of its own size, whatever it began as.
    shapes = [tuple(p.shape) for p in trained.student.parameters()]
    assert shapes == [(2 * 4, 16), (30, 16)]
    assert not list(trained.student.buffers())
    used = trained.results['student'].config['initial_accumulator']
    assert used == (2e-6 if warm else 0)
    assert ('start' in trained.results) == warm
    assert (tmp_path / 'start.safetensors').exists() == warm
    # It learned something: chance gives a mean rank near 15 among 30.
    ranking = evaluate(trained.student, DATA, split='train')
    assert ranking.metrics()['mr'] < 10


def test_accumulator_is_where_adagrad_begins() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.ones(4))
    gradient = torch.tensor([1e-4, -1e-4, 1e-2, 0.0])
    for start in (0.0, 1e-6):
        weight.data.fill_(1.0)
        weight.grad = gradient.clone()
        embedding_optimizer([weight], FitConfig(), start).step()
        step = 0.1 * gradient / ((gradient.square() + start).sqrt() + 1e-10)
        torch.testing.assert_close(weight.data, 1.0 - step)


def test_a_loop_names_its_optimiser() -> None:
    adam = FitConfig(optimizer='adam', lr=0.01)
    ensemble = build_teachers(DATA, config())
    student, _ = start_student(DATA, ensemble, config(warm_start=False))
    combiner = WeightedCombiner(len(ensemble))
    objective = DistillConfig(combiner_lr=5e-3)
    distill = DistillTask(student, ensemble, combiner, objective)
    for task in (ModelTask(student), TeachersTask(ensemble), distill):
        first = task.optimizers(adam)[0]
        assert type(first) is torch.optim.Adam
        assert first.defaults['lr'] == 0.01
        assert type(task.optimizers(LOOP)[0]) is torch.optim.Adagrad
    # The combiner has a rate of its own.
    _, other = distill.optimizers(adam)
    assert other.defaults['lr'] == 5e-3
    # A rate that is not given is that of the optimiser.
    for name, lr in (('adagrad', 0.1), ('adam', 0.02)):
        (only,) = ModelTask(student).optimizers(FitConfig(optimizer=name))
        assert only.defaults['lr'] == lr
    # Its first step is that of the rate, whatever the gradient.
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([1e-6, -1e-2, 1.0])
    embedding_optimizer([weight], adam).step()
    expected = 1.0 - 0.01 * weight.grad.sign()
    torch.testing.assert_close(weight.data, expected)


def test_accumulators_are_those_of_adagrad() -> None:
    adam = replace(LOOP, optimizer='adam', lr=0.01)
    ensemble = build_teachers(DATA, config())
    student, _ = start_student(DATA, ensemble, config())
    objective = DistillConfig(initial_accumulator=1e-6)
    task = DistillTask(student, ensemble, MeanCombiner(), objective)
    with pytest.raises(ValueError, match='initial_accumulator is that of'):
        fit(task, DATA, adam)
    with pytest.raises(ValueError, match="got 'sgd'"):
        FitConfig(optimizer='sgd')
    # The recipe says so before it trains the teachers.
    with pytest.raises(ValueError, match=r'distill\.initial_accumulator'):
        RecipeConfig(distill=objective)
    RecipeConfig(distill=objective, warm_start=True)
    # The recipe gives none to a warm student that has another optimiser.
    trained = train_dsom(DATA, config(student=adam))
    used = trained.results['student'].config
    assert used['optimizer'] == 'adam'
    assert not used['initial_accumulator']


def test_loops_of_the_recipe() -> None:
    given = RecipeConfig()
    assert given.student_loop() == given.teachers
    loop = given.teachers
    assert (loop.optimizer, loop.lr, loop.cooldown) == ('adam', 0.02, 1.0)
    assert loop.batch_size == 250
    # A trained start is not thrown away by Adam's first steps.
    warm = RecipeConfig(warm_start=True).student_loop()
    assert (warm.optimizer, warm.lr) == ('adagrad', 0.1)
    # Where, how precisely and with which seed: like the teachers.
    where = {
        'device': 'meta',
        'seed': 5,
        'precision': 'bf16',
        'progress': False,
    }
    for each in (False, True):
        recipe = RecipeConfig(teachers=FitConfig(**where), warm_start=each)
        plain = RecipeConfig(warm_start=each).student_loop()
        assert recipe.student_loop() == replace(plain, **where)
    own = FitConfig(epochs=3)
    assert RecipeConfig(student=own, warm_start=True).student_loop() is own


def test_whole_numbers_may_be_floats() -> None:
    given = RecipeConfig(unlabeled=1e2, policy_epochs=2.0)  # type: ignore[arg-type]
    assert (type(given.unlabeled), given.unlabeled) == (int, 100)
    assert (type(given.policy_epochs), given.policy_epochs) == (int, 2)


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        (FitConfig, {'batch_size': 0}, 'batch_size must be positive, got 0'),
        (FitConfig, {'batch_by': 'query'}, "got 'query'"),
        (DistillConfig, {'form': 'average'}, "got 'average'"),
        (DistillConfig, {'tau': 0.0}, 'tau must be positive, got 0.0'),
    ],
)
def test_loops_and_objectives_are_checked(
    kind: type, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_a_graph_without_modalities() -> None:
    data = DATA.clone()
    for name in ('image', 'text'):
        (edge,) = (e for e in data.edge_types if e[0] == name)
        del data[name], data[edge]
    trained = train_dsom(data, config(folds=2))
    assert trained.ensemble.modalities == ['structure']
    assert list(trained.results) == ['teachers', 'policy', 'student']
    assert trained.results['student'].config['initial_accumulator'] == 0
    ranking = evaluate(trained.student, data, split='train')
    assert ranking.metrics()['mr'] < 10


def test_a_warm_student_chosen_on_validation_and_resumed(
    tmp_path: Path,
) -> None:
    loop = replace(LOOP, eval_every=1, patience=9)
    settings = config(teacher_channels=4, student=loop, teachers=loop)
    whole = train_dsom(DATA, settings, tmp_path / 'whole')
    history = whole.results['student'].history
    best = max(history, key=lambda epoch: epoch['val_mrr'])
    # The table scores as the student did with its features inside.
    ranking = evaluate(
        whole.student, DATA, split='val', filter_splits=('train', 'val')
    )
    assert ranking.mrr() == pytest.approx(best['val_mrr'], abs=1e-5)

    save = fit_module._Run.save
    for stage, epoch in (('start of the student', 2), ('student', 3)):

        def killed(
            run: fit_module._Run,
            stopped: bool,
            at: tuple[str, int] = (stage, epoch),
        ) -> None:
            save(run, stopped)
            if (run.task.name, len(run.result.history)) == at:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit_module._Run, 'save', killed)
            with pytest.raises(KeyboardInterrupt):
                train_dsom(DATA, settings, tmp_path / 'killed')
    again = train_dsom(DATA, settings, tmp_path / 'killed')
    for a, b in zip(
        whole.student.parameters(), again.student.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_regulariser_of_each_teacher() -> None:
    settings = config(n3=0.5, feature_n3=0.25)
    found = teacher_n3(build_teachers(DATA, settings), settings)
    assert found == {
        'structure': 0.5,
        'image': 0.25,
        'text': 0.25,
        'joint': 0.5,
    }


def test_a_distillation_starts_its_optimiser_as_told() -> None:
    settings = config()
    ensemble = build_teachers(DATA, settings)
    student, _ = start_student(DATA, ensemble, settings)
    objective = settings.objective(student)
    task = DistillTask(student, ensemble, MeanCombiner(), objective)
    (optimizer,) = task.optimizers(FitConfig())
    sums = [optimizer.state[p]['sum'] for p in student.parameters()]
    assert all((s == 2e-6).all() for s in sums)
    assert len(sums) == 4  # relations, free rows, two projections
