import copy
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transe import TransE

from dsom_pyg import KG, Recipe, models, stages, train_dsom
from dsom_pyg.completion import (
    Calibration,
    Completer,
    ModelFolderError,
    Review,
    making,
    store,
)
from dsom_pyg.completion.store import (
    Parts,
    check_kept,
    load_parts,
    read_manifest,
    save_parts,
)
from dsom_pyg.datasets import MKGFolder
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.files import load_tensors, save_tensors
from dsom_pyg.models import (
    KGE,
    Bilinear,
    EntityEmbedding,
    EntityModule,
    Model,
)
from dsom_pyg.policies import (
    AsInPaper,
    HeldOut,
    PolicyChoice,
    RewardedPolicy,
)
from dsom_pyg.stages import Student, Unlabeled
from dsom_pyg.teachers import Lookup
from dsom_pyg.teachers.answers import Answers, Context
from dsom_pyg.training import Run


@pytest.fixture
def folder(model: Completer, tmp_path: Path) -> Path:
    model.save(tmp_path)
    return tmp_path


def test_what_is_loaded_answers_alike(model: Completer, folder: Path) -> None:
    other = Completer.load(folder)
    assert other.graph.fingerprint == model.graph.fingerprint
    assert other.parts.about == model.parts.about
    for question in (('MV Auk', 'calls at'), ('Port Bude', 'sea route to')):
        assert other.answer(*question) == model.answer(*question)
    assert other.evaluate().metrics() == model.evaluate().metrics()
    for mine, its in zip(
        model.explain('MV Auk', 'calls at', 'Port Bude').opinions[1:],
        other.explain('MV Auk', 'calls at', 'Port Bude').opinions[1:],
        strict=True,
    ):
        assert mine == its
    assert other.parts.texts == model.parts.texts
    assert not any(p.requires_grad for p in other.parts.student.parameters())


def test_what_was_trained_already(
    dataset: OwnGraph, recipe: Recipe, model: Completer, tmp_path: Path
) -> None:
    graph = KG(dataset[0])
    made = Completer.of(dataset, graph, train_dsom(graph, recipe))
    made.save(tmp_path)
    kept = Completer.load(tmp_path).parts
    assert torch.equal(kept.student.entities(), model.parts.student.entities())
    # Whoever finds the folder knows how it was made.
    assert kept.about['run'] == model.parts.about['run']
    assert kept.about['run']['teachers.channels'] == 4
    assert kept.about['run']['graph'] == graph.fingerprint
    assert kept.about['metrics'] == model.parts.about['metrics']


@pytest.mark.parametrize(
    ('policy', 'asked'),
    [
        (HeldOut(learner=RewardedPolicy(base=None, epochs=2)), 0),
        (AsInPaper(mlp_channels=4), 1),  # it learned along with the student
    ],
)
def test_kept_weights_are_those_of_the_policy(
    policy: PolicyChoice,
    asked: int,
    dataset: OwnGraph,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = KG(dataset[0])
    more = None if asked else Unlabeled(9)
    words = replace(
        recipe,
        policy=policy,
        precision='fp32',
        student=replace(recipe.student, unlabeled=more),
    )
    trained = train_dsom(graph, words)
    again: list[int] = []

    def decided(run: Run, *words: Any) -> Lookup:
        assert run.progress is False
        again.append(1)
        return stages.decided(run, *words)

    monkeypatch.setattr(making, 'decided', decided)
    kept = Completer.of(dataset, graph, trained).parts.weights
    assert len(again) == asked
    assert kept is not None
    seen = graph.index('train')
    head, rel = seen.head, seen.rel
    if more is not None:  # those of queries without an answer as well
        extra = more.draw(Run(graph=graph, seed=recipe.seed))
        assert not seen.lookup(extra.head, extra.rel).tail.numel()
        head = torch.cat([head, extra.head])
        rel = torch.cat([rel, extra.rel])
    answers = Answers(
        trained.ensemble,
        head,
        rel,
        context=Context(seen=seen.lookup(head, rel)),
    )
    expected = trained.policy.weights(answers)
    assert expected.std(dim=0).max() > 1e-4  # not those of a mean
    torch.testing.assert_close(kept.weights(answers), expected)


LOADS = """
import sys
import torch
from dsom_pyg import Completer
before = torch.get_rng_state()
model = Completer.load(sys.argv[1])
model.answer(0, 0)
print(torch.equal(before, torch.get_rng_state()))
print('torch._dynamo' in sys.modules)
"""


def test_loading_draws_nothing(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', LOADS, folder],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    # Drawing on the meta device would import a compiler, for two seconds.
    assert done.stdout.split() == ['True', 'False']


def test_names_of_the_folder(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        'graph.safetensors',
        'model.json',
        'student.safetensors',
        'teachers.safetensors',
    ]
    # All of it can be read without this library, and says what it is.
    about = json.loads((folder / 'model.json').read_text())
    assert about['model'] == 'ComplEx'
    assert about['num_entities'] == 14


@pytest.mark.parametrize('name', ['graph', 'student', 'teachers'])
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    path = folder / f'{name}.safetensors'
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(raw)
    with pytest.raises(ModelFolderError, match=f'{name}.*is damaged, or of'):
        Completer.load(folder)


@pytest.mark.parametrize('name', ['graph', 'student', 'teachers'])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / f'{name}.safetensors').unlink()
    with pytest.raises(ModelFolderError, match=f'{name}.* is missing'):
        Completer.load(folder)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match='its training has not ended'):
        Completer.load(tmp_path)
    with pytest.raises(ModelFolderError, match='there is no such folder'):
        Completer.load(tmp_path / 'none')


def test_half_of_a_new_model_is_none(
    model: Completer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *words: object) -> None:
        raise OSError(28, 'the disk is full')

    monkeypatch.setattr('dsom_pyg.completion.store.save_tensors', full)
    with pytest.raises(OSError, match='the disk is full'):
        model.save(folder)
    with pytest.raises(ModelFolderError, match='its training has not ended'):
        Completer.load(folder)


@pytest.mark.parametrize(
    'change',
    [
        {'about': None},
        {'about': [1]},
        {'files': ['student.safetensors']},
        {'teachers': []},
        {'calibration': {}},
        {'num_entities': 'x'},
    ],
)
def test_parts_of_a_manifest_that_are_none(
    folder: Path, change: dict[str, object]
) -> None:
    path = folder / 'model.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelFolderError, match=r'model.json is damaged'):
        read_manifest(folder)


def test_what_was_not_measured_is_null(
    model: Completer, tmp_path: Path
) -> None:
    none = Calibration.none(model.graph.num_relations)
    save_parts(tmp_path, replace(model.parts, calibration=none))

    def wrong(word: str) -> None:
        raise ValueError(f'{word} is no JSON')

    text = (tmp_path / 'model.json').read_text()
    about = json.loads(text, parse_constant=wrong)
    assert about['calibration']['after'] is None
    assert math.isnan(load_parts(tmp_path).calibration.after)


@pytest.mark.parametrize(
    'text', ['', '{', '[]', '{"format": 1}', 'null', '[' * 100_000]
)
def test_a_damaged_manifest(folder: Path, text: str) -> None:
    (folder / 'model.json').write_text(text)
    with pytest.raises(ModelFolderError, match=r'model.json is damaged'):
        Completer.load(folder)


@pytest.mark.parametrize(
    ('key', 'value', 'why'),
    [
        ('format', 99, 'is of format 99, written by dsom_pyg'),
        ('model', 'os.system', 'does not fit together'),
        ('num_entities', 13, 'does not fit together'),
        ('num_relations', 4, 'does not fit together'),
        ('fingerprint', 'x', 'not those of its fingerprint'),
        ('teachers', {'other': 'ComplEx'}, 'does not fit together'),
    ],
)
def test_a_changed_manifest(
    folder: Path, key: str, value: object, why: str
) -> None:
    path = folder / 'model.json'
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, key: value}))
    with pytest.raises(ModelFolderError, match=why):
        Completer.load(folder)


def test_names_that_are_too_few(model: Completer, folder: Path) -> None:
    few = Parts(**vars(model.parts))
    few.entities = type(few.entities)(few.entities.names[:-1])
    save_parts(folder, few)
    with pytest.raises(ModelFolderError, match='not as many names as ids'):
        load_parts(folder)


def test_packed_bytes_that_lie(folder: Path) -> None:
    path = folder / 'graph.safetensors'
    tensors, _ = load_tensors(path)
    raw = bytearray(tensors['train'].numpy().tobytes())
    raw[:8] = (1 << 40).to_bytes(8, 'little')
    tensors['train'] = torch.frombuffer(raw, dtype=torch.uint8)
    save_tensors(path, tensors)
    about = json.loads((folder / 'model.json').read_text())
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about['files']['graph.safetensors'] = digest
    (folder / 'model.json').write_text(json.dumps(about))
    with pytest.raises(ModelFolderError, match='cannot come of'):
        Completer.load(folder)


def test_without_teachers(model: Completer, tmp_path: Path) -> None:
    parts = Parts(**vars(model.parts) | {'teachers': None, 'weights': None})
    save_parts(tmp_path, parts)
    assert not (tmp_path / 'teachers.safetensors').exists()
    other = Completer.load(tmp_path)
    found = other.explain('MV Auk', 'calls at', 'Port Bude')
    assert [each.teacher for each in found.opinions] == ['student']
    assert found.notes == ['the teachers of this model were not kept']


def test_teachers_of_one_hop_are_not_kept(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    near = replace(recipe, teachers=replace(recipe.teachers, one_hop=8))
    model = Completer.train(dataset, tmp_path, near)
    other = Completer.load(tmp_path)
    assert model.parts.teachers is None
    assert other.parts.teachers is None
    question = 'MV Auk', 'calls at'
    assert other.answer(*question) == model.answer(*question)


def test_teachers_that_count_do_so_again(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    named = 'frequency', 'links'
    counting = replace(recipe.teachers, observed=named)
    model = Completer.train(
        dataset, tmp_path, replace(recipe, teachers=counting)
    )
    other = Completer.load(tmp_path)
    teachers = other.parts.teachers
    assert teachers is not None
    assert tuple(teachers.modalities[-2:]) == named
    head, rel = torch.arange(8), torch.arange(8) % 2
    for name in named:
        assert model.parts.teachers is not None
        torch.testing.assert_close(
            teachers[name].score_tails(head, rel),
            model.parts.teachers[name].score_tails(head, rel),
        )
    triple = 'MV Auk', 'calls at', 'Port Bude'
    found = other.explain(*triple)
    assert str(found) == str(model.explain(*triple))
    assert ' nan ' not in str(found)  # the student taught nobody
    assert {'frequency', 'links'} < {each.teacher for each in found.opinions}
    # Nothing of them lies in the folder but their names.
    held = load_tensors(tmp_path / 'teachers.safetensors')[0]
    assert not [key for key in held if key.startswith('teacher/frequency')]
    # And what people have accepted, kept or not.
    review = Review(tmp_path / 'said.jsonl')
    [new] = other.complete('calls at', limit=1)
    review.decide(new.head, new.relation, new.tail, 'accept', '')
    heeding = other.with_review(review)
    heeding.save(tmp_path / 'heeding')
    again = Completer.load(tmp_path / 'heeding')
    [said, kept, before] = [
        x.parts.teachers['frequency'].score_tails(
            torch.tensor([new.id[0]]), torch.tensor([new.id[1]])
        )
        for x in (heeding, again, other)
        if x.parts.teachers is not None
    ]
    torch.testing.assert_close(said, kept)
    assert not torch.equal(said, before)
    # They count the triples of newcomers as well.
    more = other.add_entities(
        {'MV Pip': []}, triples=[('MV Pip', 'calls at', 'Port Bude')]
    )
    assert more.parts.teachers is not None
    every = torch.arange(2 * more.parts.graph.num_relations)
    asked = torch.zeros_like(every), every
    scores = more.parts.teachers['frequency'].score_tails(*asked)
    before = teachers['frequency'].score_tails(*asked)
    assert scores.size(1) == before.size(1) + 1
    # The newcomer calls, so one more is asked for, and is, where it calls.
    assert not torch.equal(scores[:, :-1], before)
    assert scores[:, -1].max() > scores[:, -1].min()


class Mine(Bilinear):
    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return head * rel


class Scaled(Mine):
    def __init__(
        self, entities: EntityModule, num_relations: int, by: float = 1.0
    ) -> None:
        super().__init__(entities, num_relations)
        self.by = by

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return self.by * super().query(head, rel)


def test_a_model_of_ones_own(model: Completer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    mine = Mine(EntityEmbedding(14, 2), 3)
    save_parts(tmp_path, replace(model.parts, student=mine))
    with pytest.raises(ModelFolderError, match=r"class 'Mine', .*s=\[Mine\]"):
        Completer.load(tmp_path)
    again = Completer.load(tmp_path, models=[Mine])
    assert type(again.parts.student) is Mine
    head, rel = torch.arange(6), torch.arange(6)
    scores = again.parts.student.score_tails(head, rel)
    assert torch.equal(scores, mine.score_tails(head, rel))


def test_a_model_that_its_tables_do_not_tell(
    model: Completer, dataset: OwnGraph, tmp_path: Path
) -> None:
    table = EntityEmbedding(14, 2)
    save_parts(tmp_path, replace(model.parts, student=Scaled(table, 3)))
    mine = Scaled(table, 3, by=2.0)
    with pytest.raises(ValueError, match=r'a Scaled cannot be kept: .*oth'):
        save_parts(tmp_path, replace(model.parts, student=mine))
    assert Completer.load(tmp_path, models=[Scaled])  # the one before


def test_what_cannot_be_kept_is_said_before_training(
    dataset: OwnGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*words: object) -> None:
        raise AssertionError('trained in vain')

    monkeypatch.setattr('dsom_pyg.completion.making.train_dsom', train)

    def no_product(entities: EntityModule, num_relations: int) -> Model:
        return TransE(entities.num_entities, num_relations)

    recipe = Recipe(student=Student(model=no_product))
    state = torch.random.get_rng_state()
    with pytest.raises(ValueError, match='a TransE cannot be kept as tables'):
        Completer.train(dataset, tmp_path, recipe)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'make',
    [
        partial(models.TransE, p=2, reciprocals=False),
        partial(models.RotatE),
        partial(models.DistMult, reciprocals=False),
        partial(models.OTE, block=2, as_coded=True),
        partial(models.TuckER, relation_channels=3, batch_norm=True),
    ],
    ids=lambda make: make.func.__name__,
)
def test_every_score_function_is_kept_and_asked(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path, make: partial[KGE]
) -> None:
    """As student and as teachers, whatever its options."""
    mine = replace(
        recipe,
        teachers=replace(recipe.teachers, structure=make, feature=make),
        student=replace(recipe.student, model=make),
    )
    model = Completer.train(dataset, tmp_path / 'run', mine)
    again = Completer.load(tmp_path / 'run')
    assert type(again.parts.student) is make.func
    assert again.parts.student.options() == model.parts.student.options()
    head, rel = torch.arange(6), torch.arange(6)
    scores = model.parts.student.score_tails(head, rel)
    assert torch.equal(again.parts.student.score_tails(head, rel), scores)
    one, other = (x.answer('MV Auk', 'calls at') for x in (model, again))
    assert [x.score for x in one] == [x.score for x in other]
    said = again.explain('Arnel', 'sea route to', 'Crail')
    assert {x.teacher for x in said.opinions} >= {'structure', 'text'}
    # A ship has no text, so that teacher has nothing to say of it.
    said = again.explain('MV Auk', 'calls at', 'Crail')
    assert 'text' not in {x.teacher for x in said.opinions}
    if make.func in (models.TransE, models.RotatE, models.OTE):
        with pytest.raises(ValueError, match='are none; export'):
            again.export(tmp_path / 'vectors.faiss')


def test_contexts_of_a_graph_are_not_kept(model: Completer) -> None:
    triples = model.parts.graph.triples('train')
    mine = models.GCOTE(EntityEmbedding(14, 2), 3, triples, block=2)
    with pytest.raises(ValueError, match='a GCOTE cannot be kept'):
        check_kept(mine)


class Near(Mine):
    shift = 5e-5

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        # What is made again is of a class, not of this one's attributes.
        return super().query(head, rel) + self.shift


def test_rounding_is_no_other_score() -> None:
    """Scores near 0 differ by little beside the largest, not beside theirs."""
    torch.manual_seed(0)
    model = Near(EntityEmbedding(14, 2, scale=1.0), 3, scale=1.0).train()
    model.shift = 1e-4
    check_kept(model)
    assert model.training
    model.shift = 1e-2
    with pytest.raises(ValueError, match='cannot be kept'):
        check_kept(model)


def test_teachers_that_nobody_asked_for_can_be_had_later(
    dataset: OwnGraph, recipe: Recipe, tmp_path: Path
) -> None:
    alone = Completer.train(dataset, tmp_path, recipe, teachers=False)
    assert alone.parts.teachers is None
    stages = {x: x.stat().st_mtime_ns for x in tmp_path.glob('stages/*')}
    again = Completer.train(dataset, tmp_path, recipe)
    assert again.parts.teachers is not None
    assert Completer.load(tmp_path).parts.teachers is not None
    # Nothing was trained for it, and they stay.
    kept = {x: x.stat().st_mtime_ns for x in tmp_path.glob('stages/*')}
    assert kept == stages
    last = Completer.train(dataset, tmp_path, recipe, teachers=False)
    assert last.parts.teachers is not None


@pytest.mark.skipif(os.name != 'posix', reason='names of files are bytes')
def test_names_of_folders_that_are_not_utf8(
    recipe: Recipe, tmp_path: Path
) -> None:
    root = tmp_path / os.fsdecode(b'gr\xe4ph')
    root.mkdir()
    lines = [f'{a}\tr\t{b}' for a in 'abcd' for b in 'efgh']
    (root / 'triples.tsv').write_text('\n'.join(lines) + '\n')
    dataset = MKGFolder(root, text_encoder=None, image_encoder=None)
    with pytest.raises(ValueError, match=r"udce4ph.*' is not UTF-8"):
        Completer.train(dataset, root / 'run', recipe)
    with pytest.raises(ValueError, match='is not UTF-8'):
        load_tensors(root / 'a.safetensors')
    run = tmp_path / 'run'
    made = Completer.train(dataset, run, recipe)
    loaded = Completer.load(run)
    assert loaded.parts.about == made.parts.about
    assert loaded.parts.about['dataset'] == 'gr\N{REPLACEMENT CHARACTER}ph'
    # Paths of images are those of the disk.
    path = os.fsdecode(b'/\xe4.png')
    parts = replace(made.parts, about={'path': path})
    save_parts(run, parts)
    assert load_parts(run).about['path'] == path


def test_the_seal_is_of_what_was_written(
    model: Completer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another process saves its model while this one does.
    save = store._save
    parts = model.parts
    other = copy.deepcopy(parts.student)
    other.relations.data.mul_(2)

    def beside(path: Path, tensors: Any) -> str:
        seal = save(path, tensors)
        if path.name == 'student.safetensors':
            temperature = {'temperature': parts.calibration.temperature}
            save(path, other.kept() | temperature)
        return seal

    monkeypatch.setattr(store, '_save', beside)
    save_parts(tmp_path, parts)
    with pytest.raises(ModelFolderError, match='or of another model'):
        load_parts(tmp_path)
