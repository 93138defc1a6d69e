"""Tables, measured on a tiny graph."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from dsom_pyg import KG, Recipe, datasets, evaluate
from dsom_pyg.choices import Choices
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples, get_split, set_split
from dsom_pyg.models import GCOTE, OTE, ComplEx, EntityEmbedding, Model
from dsom_pyg.policies import (
    AsInPaper,
    HeldOut,
    MeanOfTeachers,
    RewardedPolicy,
)
from dsom_pyg.stages import Student, Teachers, Unlabeled
from dsom_pyg.training import Loop, Run
from experiments import __main__, entities, measure, record, table
from experiments.changes import with_noise
from experiments.paper.comparators import with_contexts
from experiments.table import Row, SingleModel, Table

LOOP = Loop(epochs=1, batch_size=100)
TEACHERS = Teachers(channels=4, loop=LOOP)
STUDENT = Student(channels=4, loop=LOOP, unlabeled=Unlabeled(20))
MEAN = Recipe(teachers=TEACHERS, policy=MeanOfTeachers(), student=STUDENT)
HELD_OUT = HeldOut(learner=RewardedPolicy(base=None, epochs=2))
ROWS = (
    Row('plain', SingleModel(channels=4, loop=LOOP)),
    Row('single teachers', TEACHERS),
    Row('mean', MEAN),
    Row('policy', replace(MEAN, policy=HELD_OUT)),
    Row("the paper's policy", replace(MEAN, policy=AsInPaper())),
    Row('with noise', TEACHERS, change=with_noise),
    Row('a trial', SingleModel(channels=2, loop=LOOP), only_validation=True),
)


class Tiny:
    """A dataset with a fixed graph."""

    def __init__(self, data: HeteroData) -> None:
        source = FakeMMKG(30, 4, 200)
        self.data = data
        self.relation_names = source.relation_names
        self.entity_names = source.entity_names
        self.entity_texts = [[f'text {at}'] for at in range(30)]

    def __getitem__(self, at: int) -> HeteroData:
        return self.data


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    found = Tiny(FakeMMKG(30, 4, 200)[0])

    def kind(root: Path, text_encoder: Any) -> Tiny:
        return found

    class Stub:
        name = 'stub'

    monkeypatch.setattr(datasets, 'Tiny', kind, raising=False)
    monkeypatch.setattr(measure.Setting, 'encoder', Stub())
    monkeypatch.setattr(table, 'load', lambda name: (Table(('Tiny',), ROWS),))
    monkeypatch.setattr(table, 'names', lambda: ['tiny'])
    return found


def run(folder: Path, *words: str) -> dict[str, Any]:
    __main__.main(['tiny', '--results', str(folder), *words])
    return {
        path.stem: json.loads(path.read_text())
        for path in folder.rglob('*-seed*.json')
        if not path.name.endswith('.choices.json')
    }


def test_stages_that_rows_share_are_called_so() -> None:
    # Stages of whole recipes, as they are called.
    text = Path(__file__).parents[1] / 'training' / 'identities.json'
    stages = {name.partition('/')[2] for name in json.loads(text.read_text())}
    shared = {
        stage
        for stage in stages
        if any(Path(f'{stage}.safetensors').match(x) for x in measure.SHARED)
    }
    assert stages - shared == {'policy', 'student', 'weights'}


def test_one_file_a_run(tmp_path: Path) -> None:
    found = run(tmp_path)
    kinds = ['structure', 'image', 'text', 'joint']
    default = [*kinds, 'teachers', 'student']
    assert {name: list(each['models']) for name, each in found.items()} == {
        'plain-seed0': ['model'],
        'single-teachers-seed0': kinds,
        'mean-seed0': default,
        'policy-seed0': default,
        'the-papers-policy-seed0': default,
        'with-noise-seed0': ['structure', 'image', 'text', 'noise', 'joint'],
    }
    for each in found.values():
        assert each['protocol']['split'] == 'test'
        assert each['command']
        assert each['commit']
        assert each['graph']['features'] == {'text': 'stub'}
        texts = ', '.join(f'["text {at}"]' for at in range(30))
        digest = hashlib.sha256(f'[{texts}]'.encode()).hexdigest()
        assert each['texts_sha256'] == digest
    assert found['with-noise-seed0']['graph']['changes'] == ['with_noise']
    assert found['plain-seed0']['settings']['channels'] == 4
    assert found['mean-seed0']['settings']['policy']['kind'] == (
        'MeanOfTeachers'
    )
    # What was measured is the model that was trained.
    model = ComplEx(EntityEmbedding(30, 4), 4)
    files = tmp_path / 'models' / 'tiny' / 'Tiny'
    stage = files / 'plain-seed0' / 'model.safetensors'
    load_stage(stage, model)
    expected = evaluate(model, FakeMMKG(30, 4, 200)[0]).metrics()
    plain = found['plain-seed0']['models']['model']
    assert {key: plain[key] for key in expected} == pytest.approx(expected)
    # Teachers are trained once for all rows that have the same.
    inodes = {
        row: (files / f'{row}-seed0' / 'teachers.safetensors').stat().st_ino
        for row in ('single-teachers', 'mean', 'policy', 'with-noise')
    }
    assert inodes['single-teachers'] == inodes['mean'] == inodes['policy']
    assert inodes['with-noise'] != inodes['mean']


def test_snapshots_answer_by_the_mean_of_their_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = SingleModel(channels=4, loop=LOOP, snapshots=3)
    rows = (Row('snapshots', what),)
    monkeypatch.setattr(table, 'load', lambda name: (Table(('Tiny',), rows),))
    found = run(tmp_path)['snapshots-seed0']
    taken = []
    for name in ('model', 'model-2', 'model-3'):
        taken.append(ComplEx(EntityEmbedding(30, 4), 4))
        folder = tmp_path / 'models/tiny/Tiny/snapshots-seed0'
        load_stage(folder / f'{name}.safetensors', taken[-1])

    class Mean:
        def score_tails(self, *words: Any) -> torch.Tensor:
            each = [model.score_tails(*words) for model in taken]
            return torch.stack(each).mean(dim=0)

    expected = evaluate(Mean(), FakeMMKG(30, 4, 200)[0]).metrics()
    mean = found['models']['model']
    assert {key: mean[key] for key in expected} == pytest.approx(expected)
    # Each goes on where the one before it has ended, and is another one.
    first, second, _ = (model.entities().detach() for model in taken)
    fresh = ComplEx(EntityEmbedding(30, 4), 4).entities().detach()
    moved, away = ((x - first).norm() for x in (second, fresh))
    assert 0 < moved < away


def test_a_first_training_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = SingleModel(channels=4, model=partial(OTE, block=2), loop=LOOP)
    twice = replace(once, second=with_contexts)
    rows = Row('OTE', once), Row('GC-OTE', twice), Row('other', ROWS[0].what)
    monkeypatch.setattr(table, 'load', lambda name: (Table(('Tiny',), rows),))
    found = run(tmp_path)
    folder = tmp_path / 'models/tiny/Tiny'
    one, two, other = (
        (folder / f'{name}-seed0' / 'model.safetensors').stat().st_ino
        for name in ('ote', 'gc-ote', 'other')
    )
    assert one == two != other
    mrr = [
        found[f'{name}-seed0']['models']['model']['mrr']
        for name in ('ote', 'gc-ote')
    ]
    assert mrr[0] != mrr[1]
    # Files say what was trained for another row.
    told = {name: each['stages_before'] for name, each in found.items()}
    assert told == {
        'ote-seed0': [],
        'gc-ote-seed0': ['model'],
        'other-seed0': [],
    }


def test_teachers_are_shared_whoever_counts_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        Row('plain', TEACHERS),
        Row('counting', replace(TEACHERS, observed=('links',))),
    )
    monkeypatch.setattr(table, 'load', lambda name: (Table(('Tiny',), rows),))
    found = run(tmp_path)
    folder = tmp_path / 'models/tiny/Tiny'
    one, two = (
        (folder / f'{row.name}-seed0' / 'teachers.safetensors').stat().st_ino
        for row in rows
    )
    assert one == two
    models = found['counting-seed0']['models']
    alone = found['plain-seed0']['models']
    assert models.keys() - alone.keys() == {'links'}
    assert models['joint'] == alone['joint']


def test_another_precision_trains_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_of = (Row('plain', TEACHERS),), (Row('again', TEACHERS),)
    for precision, rows in zip(('fp32', 'bf16'), table_of, strict=True):
        monkeypatch.setattr(
            'dsom_pyg.precision.default_precision', lambda _, p=precision: p
        )
        tables = (Table(('Tiny',), rows),)
        monkeypatch.setattr(table, 'load', lambda name, t=tables: t)
        found = run(tmp_path)
    folder = tmp_path / 'models/tiny/Tiny'
    one, two = (
        (folder / f'{name}-seed0' / 'teachers.safetensors').stat().st_ino
        for name in ('plain', 'again')
    )
    assert one != two
    assert found['again-seed0']['stages_before'] == []


def load_stage(path: Path, model: ComplEx) -> None:
    from dsom_pyg.files import load_tensors

    tensors, _ = load_tensors(path)
    state = model.state_dict()
    for key in state:
        (there,) = (
            value
            for name, value in tensors.items()
            if name.endswith(key)
            and value.shape == state[key].shape
            and 'optimizer' not in name
            and 'best' not in name
        )
        state[key] = there
    model.load_state_dict(state)


def test_what_is_there_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ('--only', 'plain', '--only', 'mean')
    first = run(tmp_path, *words)
    with monkeypatch.context() as patch:
        patch.setattr(measure, 'train_dsom', None)
        patch.setattr(measure, 'single', None)
        assert run(tmp_path, *words) == first
    more = run(tmp_path, '--only', 'plain', '--seeds', '2')
    assert set(more) == {*first, 'plain-seed1'}
    one, two = (more[f'plain-seed{seed}'] for seed in (0, 1))
    assert one['models'] != two['models']
    assert one['settings'] == two['settings']
    # Other settings under the same name.
    rows = (replace(ROWS[0], what=SingleModel(channels=5, loop=LOOP)),)
    monkeypatch.setattr(table, 'load', lambda name: (Table(('Tiny',), rows),))
    with pytest.raises(SystemExit):
        run(tmp_path, '--only', 'plain')


def test_what_is_missing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, '--only', 'plain')
    names = ['plain', 'single teachers']
    words = [word for name in names for word in ('--only', name)]
    capsys.readouterr()
    dry = '--dry-run', *words
    assert {*run(tmp_path, *dry, '--seeds', '2')} == {'plain-seed0'}
    assert capsys.readouterr().out.splitlines() == [
        'Tiny  single teachers  seed 0',
        'Tiny  plain  seed 1',
        'Tiny  single teachers  seed 1',
        '3 of 4 runs are missing',
    ]
    run(tmp_path, *dry, '--select')  # that of test is another run
    assert '2 of 2 runs' in capsys.readouterr().out


def test_a_damaged_file_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, '--only', 'plain')
    path = tmp_path / 'tiny/Tiny/plain-seed0.json'
    path.write_text(path.read_text()[:400])
    for words in ([], ['--dry-run']):
        with pytest.raises(SystemExit):
            run(tmp_path, '--only', 'plain', *words)
        assert 'Move it away and measure it again' in capsys.readouterr().err


def test_nothing_is_trained_in_vain(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(measure, 'single', None)
    # A trial behind a row of test.
    with pytest.raises(SystemExit):
        run(tmp_path, '--only', 'plain', '--only', 'a trial')
    assert 'measure it with --select' in capsys.readouterr().err
    # A file where the folder of results would be.
    (tmp_path / 'tiny').write_text('')
    models = '--models', str(tmp_path / 'models')
    with pytest.raises(SystemExit):
        run(tmp_path, '--only', 'plain', *models)
    assert 'or lies below a file' in capsys.readouterr().err


def test_a_damaged_stage_does_not_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = '--only', 'single teachers'
    run(tmp_path, *words)
    stage = 'tiny/Tiny/single-teachers-seed0'
    (tmp_path / f'{stage}.json').unlink()
    path = tmp_path / 'models' / stage / 'teachers.safetensors'
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)  # and so the one that it shares its place with
    with pytest.raises(SystemExit):
        run(tmp_path, *words)
    said = capsys.readouterr()
    assert 'it is deleted' in said.out
    assert 'delete it to start anew' in said.err
    path.unlink()
    assert 'single-teachers-seed0' in run(tmp_path, *words)


def test_two_rows_that_end_at_once(tmp_path: Path) -> None:
    one, other = tmp_path / 'one', tmp_path / 'other'
    for folder in (one, other):
        folder.mkdir()
        (folder / 'teachers.safetensors').write_text(folder.name)
    measure.link(one, other)  # as if the other one had come in between
    assert (other / 'teachers.safetensors').read_text() == 'other'


def test_the_commit_is_that_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = record.COMMIT
    monkeypatch.setattr(record, 'commit', lambda: 'a later one')
    found = run(tmp_path, '--only', 'plain')
    assert found['plain-seed0']['commit'] == begun != 'a later one'


def test_trials_alone_are_not_passed_over_in_silence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials = (Table(('Tiny',), ROWS[-1:]),)
    monkeypatch.setattr(table, 'load', lambda name: trials)
    with pytest.raises(SystemExit):
        run(tmp_path)
    assert 'measure them with --select' in capsys.readouterr().err


def test_validation_reads_no_test_triple(tmp_path: Path, tiny: Tiny) -> None:
    words = ('--select', '--only', 'policy', '--only', 'a trial')
    first = run(tmp_path / 'a', *words)
    assert set(first) == {'policy-seed0', 'a-trial-seed0'}
    assert (tmp_path / 'a/tiny/Tiny/validation/policy-seed0.json').exists()
    protocol = first['policy-seed0']['protocol']
    assert protocol['split'] == 'val'
    assert protocol['filter'] == ['train', 'val']
    other = FakeMMKG(30, 4, 200)[0]
    test = get_split(other, 'test')
    changed = Triples(test.edge_index.flip(0), test.edge_type)
    set_split(other, 'test', changed)
    tiny.data = other
    second = run(tmp_path / 'b', *words)
    for name, each in first.items():
        for model, values in each['models'].items():
            again = second[name]['models'][model]
            for key in ('mrr', 'hits@1', 'mr', 'sides', 'categories'):
                assert values[key] == again[key]


def test_what_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (['--only', 'polcy'], "no row 'polcy'; there are:"),
        (['--only', 'x', '--dataset', 'Tiny'], "no row 'x' on Tiny; there"),
        (['--dataset', 'Large'], 'no dataset .Large.; it has: Tiny'),
        (['--only', 'a trial'], 'measure it with --select'),
    ):
        with pytest.raises(SystemExit) as error:
            run(tmp_path, *words)
        assert error.value.code == 1
        said = capsys.readouterr().err
        assert message.replace('.', "'") in said.replace('.', "'")


def test_what_a_policy_chose_is_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def plot(chosen: Choices, path: Path) -> None:
        path.write_bytes(b'')

    monkeypatch.setattr(measure, 'plot_choices', plot)
    run(tmp_path, '--only', 'policy')
    run(tmp_path, '--only', 'policy', '--draw')
    assert 'was not drawn; move it away' in capsys.readouterr().out
    (tmp_path / 'tiny/Tiny/policy-seed0.json').unlink()
    run(tmp_path, '--only', 'policy', '--draw', '--seeds', '2')
    run(tmp_path, '--only', 'policy', '--draw')
    assert 'was not drawn' not in capsys.readouterr().out
    folder = tmp_path / 'tiny' / 'Tiny'
    drawn = {each.name for each in folder.iterdir()}
    assert 'policy-seed0.png' in drawn
    assert 'policy-seed1.png' not in drawn
    chosen = json.loads((folder / 'policy-seed0.choices.json').read_text())
    (all_queries,) = chosen['tables']['all']
    assert sum(all_queries[2]) == pytest.approx(1.0, abs=1e-4)
    assert chosen['teachers'] == ['structure', 'image', 'text', 'joint']


def test_graph_is_that_of_the_dataset(tiny: Tiny) -> None:
    tables = (Table(('Tiny',), ROWS),)
    setting = measure.Setting(name='tiny', table=tables[0], dataset='Tiny')
    graph = setting.graph(ROWS[0], 0)
    assert graph.fingerprint == KG(tiny.data).fingerprint
    noisy = setting.graph(ROWS[5], 0)
    assert noisy.modalities == ['image', 'text', 'noise']
    assert torch.equal(
        noisy.triples('train').edge_index, graph.triples('train').edge_index
    )


def test_validation_of_db15k_goes_back_into_train(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is what is measured on."""
    monkeypatch.setattr(datasets, 'DB15K', datasets.Tiny)
    rows = Table(('DB15K', 'Tiny'), ROWS)
    train, val = (
        len(get_split(tiny.data, split).edge_type)
        for split in ('train', 'val')
    )
    for dataset, select, size in (
        ('DB15K', False, train + val),
        ('DB15K', True, train),
        ('Tiny', False, train),
    ):
        setting = measure.Setting(
            name='tiny', table=rows, dataset=dataset, select=select
        )
        graph = setting.graph(ROWS[0], 0)
        assert len(graph.triples('train').edge_type) == size


def test_a_row_may_look_at_further_texts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gets a dataset of its own, and its file says so."""
    asked = []

    def source(root: Path, text_encoder: Any, **words: Any) -> Tiny:
        asked.append(words)
        return Tiny(FakeMMKG(30, 4, 200, seed=len(asked))[0])

    monkeypatch.setattr(datasets, 'WN9', source)
    what = SingleModel(channels=4, loop=LOOP)
    rows = Row('plain', what), Row('more', what, more_texts=True)
    setting = measure.Setting(
        name='x',
        table=Table(('WN9',), rows),
        dataset='WN9',
        select=True,
        text_model='any',
        results=tmp_path,
        models=tmp_path,
    )
    files = [measure.measure(setting, row, 0) for row in (*rows, rows[0])]
    assert asked == [{}, {'more_texts': True}]
    plain, more, again = (json.loads(path.read_text()) for path in files)
    assert again == plain
    assert plain['graph']['features'] == {'text': 'stub'}
    assert more['graph']['features'] == {
        'text': 'stub',
        'texts': 'with further ones',
    }
    assert more['graph']['fingerprint'] != plain['graph']['fingerprint']


def test_a_row_may_have_an_encoder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is made once, and named beside the figures."""
    made = []

    class Own:
        name = 'own'

    def own() -> Any:
        made.append(Own())
        return made[-1]

    asked = []

    def source(root: Path, text_encoder: Any, **words: Any) -> Tiny:
        asked.append(text_encoder.name)
        return Tiny(FakeMMKG(30, 4, 200, seed=1)[0])

    monkeypatch.setattr(datasets, 'WN9', source)
    what = SingleModel(channels=4, loop=LOOP)
    texts = replace(what, entities=entities.texts)
    rows = (
        Row('plain', what),
        Row('own', what, encoder=own),
        Row('texts', texts, encoder=own),
    )
    setting = measure.Setting(
        name='x',
        table=Table(('WN9',), rows),
        dataset='WN9',
        select=True,
        results=tmp_path,
        models=tmp_path,
    )
    files = [measure.measure(setting, row, 0) for row in rows]
    assert (asked, len(made)) == (['stub', 'own'], 1)
    plain, with_own, of_texts = (json.loads(p.read_text()) for p in files)
    assert plain['graph']['features'] == {'text': 'stub'}
    assert with_own['graph']['features'] == {'text': 'own'}
    # A table of entities does not look at texts.
    mrr = [each['models']['model']['mrr'] for each in (plain, with_own)]
    assert mrr[0] == mrr[1] != of_texts['models']['model']['mrr']
    assert of_texts['settings']['entities'] == 'texts'


def test_a_model_is_trained_twice(tmp_path: Path) -> None:
    """GC-OTE begins as an OTE, and looks at training triples alone."""
    graph = KG(FakeMMKG(30, 4, 200, seed=1)[0])
    seen: list[dict[str, torch.Tensor]] = []

    def second(model: Model, graph: KG) -> Model:
        seen.append({k: x.clone() for k, x in model.state_dict().items()})
        return with_contexts(model, graph)

    what = SingleModel(
        channels=4,
        model=partial(OTE, block=2),
        loop=LOOP,
        second=second,
        second_loop=replace(LOOP, epochs=2),
    )
    run = Run(graph=graph, folder=tmp_path, seed=0, device='cpu')
    once, _ = measure.single(run, replace(what, second=None))
    twice, result = measure.single(run, what)
    assert isinstance(twice, GCOTE)
    train = graph.triples('train')
    seen_by = twice.edge_index[0], twice.edge_type, twice.edge_index[1]
    expected = train.head, train.edge_type, train.tail
    assert sorted(zip(*(x.tolist() for x in seen_by), strict=True)) == sorted(
        zip(*(x.tolist() for x in expected), strict=True)
    )
    assert len(result.history) == 2
    (start,) = seen
    for name, x in once.state_dict().items():
        assert torch.equal(start[name], x)
        assert not torch.equal(twice.state_dict()[name], x)
