"""The command says what Python says, and what went wrong in a sentence."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import Result

from dsom_pyg import KG
from dsom_pyg.cli import console, main
from dsom_pyg.completion import Completer, Review
from dsom_pyg.completion.store import save_parts
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.files import load_tensors
from dsom_pyg.graph import SPLITS, TripleGraph, Triples
from dsom_pyg.training.progress import Record

Command = Callable[..., Result]


def train(command: Command, folder: Path, out: Path, *words: str) -> Result:
    config = folder / 'run.toml'
    return command('train', folder, '--out', out, '--config', config, *words)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {
        f'{path.relative_to(run)} {name}': tensor
        for path in sorted(run.rglob('*.safetensors'))
        for name, tensor in load_tensors(path)[0].items()
    }


def test_a_name_that_looks_like_an_option_can_be_asked(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / 'graph'
    root.mkdir()
    for name in ('train', 'valid', 'test'):
        text = (folder / f'{name}.tsv').read_text()
        (root / f'{name}.tsv').write_text(text.replace('MV ', '-'))
    words = '--config', folder / 'run.toml', '--text-encoder', 'none'
    out = tmp_path / 'out'
    done = command('train', root, '--out', out, *words)
    assert done.exit_code == 0, done.output
    (said,) = (x for x in done.output.splitlines() if 'ask it: ' in x)
    program, *asked = shlex.split(said.partition('ask it: ')[2])
    assert program == 'dsom-pyg'
    assert any(word.startswith('-A') for word in asked)
    done = command(*asked)
    assert done.exit_code == 0, done.output


def test_entities_are_added(
    command: Command, run_folder: Path, tmp_path: Path
) -> None:
    texts, triples = tmp_path / 'texts.tsv', tmp_path / 'triples.csv'
    texts.write_text('Elie Deep\ta harbour called Elie Deep\n')
    triples.write_text('head,relation,tail\nElie Deep,sea route to,Crail\n')
    out = tmp_path / 'out'
    words = ('--texts', texts, '--triples', triples, '--out', out)
    done = command('add', run_folder, *words)
    assert done.exit_code == 0, done.output
    assert '1 entities and 1 triples were added' in done.output
    ask = f"dsom-pyg answer {out} 'Elie Deep' 'calls at'"
    assert done.output.strip().endswith(ask)
    made = Completer.load(out)
    assert made.entities.names[-1] == 'Elie Deep'
    head, rel, tail = 'Elie Deep', 'sea route to', 'Crail'
    assert made.score([(head, rel, tail)])[0].known
    done = command('answer', out, head, rel, '--json')
    assert done.exit_code == 0
    assert '1 entities; figures are of before' in command('info', out).stdout
    assert 'of before' not in command('info', run_folder).stdout
    # Names of their own, in the table of texts, or in that of all names.
    texts.write_text('id,name,text\nx7,Elie,a harbour\nx8,Forth,a ship\n')
    texts = texts.rename(tmp_path / 'texts.csv')
    names = tmp_path / 'names.tsv'
    names.write_text('e1\tPort Bude\nx8\tFirth of Forth\n')
    words = ('--texts', texts, '--names', names, '--out', tmp_path / 'named')
    done = command('add', run_folder, *words)
    assert done.exit_code == 0, done.output
    made = Completer.load(tmp_path / 'named')
    assert made.entities.keys[-2:] == ['x7', 'x8']
    # There is an Elie already.
    assert made.entities.names[-2:] == ['Elie (x7)', 'Firth of Forth']
    # A key in another form of Unicode is the same.
    texts.write_text('id,text\nCafé,a harbour\n')
    names.write_text(unicodedata.normalize('NFD', 'Café') + '\tThe Café\n')
    words = ('--texts', texts, '--names', names, '--out', tmp_path / 'forms')
    done = command('add', run_folder, *words)
    assert done.exit_code == 0, done.output
    assert Completer.load(tmp_path / 'forms').entities.names[-1] == 'The Café'
    # Who has no text may have triples, in whatever order.
    texts.write_text('id,name,text\nx9,Zoe,\n')
    triples.write_text('x9\tCrail\tsea route to\n')
    (tmp_path / 'htr.tsv').write_text(triples.read_text())
    words = ('--triples', tmp_path / 'htr.tsv', '--columns', 'htr')
    words = ('--texts', texts, *words, '--out', tmp_path / 'without')
    done = command('add', run_folder, *words)
    assert done.exit_code == 0, done.output
    made = Completer.load(tmp_path / 'without')
    assert made.score([('Zoe', 'sea route to', 'Crail')])[0].known
    # Neither the model nor another one is overwritten.
    for folder in (run_folder, out):
        done = command('add', run_folder, '--texts', texts, '--out', folder)
        assert done.exit_code == 1
        assert 'choose another folder' in done.output
    done = command(
        *('add', run_folder, '--texts', texts, '--out', tmp_path / 'x'),
        *('--images', tmp_path / 'none'),
    )
    assert done.exit_code == 1
    assert 'there is no folder' in done.output
    done = command(
        *('add', run_folder, '--texts', texts, '--out', tmp_path / 'x'),
        *('--text-encoder', 'none'),
    )
    assert done.exit_code == 1
    assert 'name the encoder of the training' in done.output


def test_a_port_is_one(command: Command, run_folder: Path) -> None:
    for port in ('0', '99999'):
        done = command('serve', run_folder, '--port', port)
        assert done.exit_code == 2
        assert 'Invalid value' in done.output


def test_a_tracker_is_told(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    done = train(command, folder, tmp_path / 'x', '--tracker', 'neptune')
    assert done.exit_code == 1
    assert "'neptune'" in done.output
    assert not (tmp_path / 'x').exists()
    done = train(command, folder, tmp_path / 'y', '--tracker', 'tensorboard')
    assert done.exit_code == 0, done.output
    assert [*(tmp_path / 'y' / 'tensorboard').glob('events*')]


def assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_a_run_leaves(run_folder: Path) -> None:
    said = (run_folder / 'said.txt').read_text()
    assert 'KG(11 entities, 2 relations' in said
    assert "test.tsv:1: no training triple has entity 'Doune'" in said
    assert 'memory: about' in said
    assert 'teachers: epoch 1 of 2, loss' in said
    assert 'left' in said
    ask = f"dsom-pyg answer {run_folder} 'MV Auk' 'calls at'"
    assert said.splitlines()[-1].endswith(ask)
    log = (run_folder / 'log.txt').read_text().splitlines()
    assert [line[21:] for line in log] == said.splitlines()
    lines = (run_folder / 'metrics.jsonl').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    stages = ['teachers', 'fold-1-of-1', 'weights', 'policy', 'student']
    assert [(r['stage'], r['epoch']) for r in records] == [
        (stage, epoch) for stage in stages for epoch in (1, 2)
    ]
    assert all('loss' in r and 'seconds' in r for r in records)
    about = json.loads((run_folder / 'run.json').read_text())
    assert about['run']['student.channels'] == 4
    assert torch.__version__.startswith(about['versions']['torch'])
    model = Completer.load(run_folder)
    assert about['run']['graph'] == model.graph.fingerprint


def test_a_run_that_has_ended(
    command: Command, folder: Path, run_folder: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in run_folder.rglob('*.safet*')}
    # Where it is computed makes it no other run.
    done = train(command, folder, run_folder, '--set', 'precision=fp32')
    assert done.exit_code == 0
    assert 'this run has ended before' in done.output
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_another_run_in_the_folder(
    command: Command, folder: Path, run_folder: Path
) -> None:
    done = train(command, folder, run_folder, '--set', 'student.channels=8')
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f'error: {run_folder} holds another run; choose another folder:',
        'student.channels: 4 there, 8 here',
    ]
    words = ('--text-encoder', 'none', '--image-encoder', 'none')
    words = (*words, '--set', 'student.start=FreshTable')
    done = train(command, folder, run_folder, *words)
    assert 'features: ' in done.stderr


class Interrupted(console.Console):
    stage_at, epoch_at = 'teachers', 1

    def epoch(self, record: Record) -> None:
        super().epoch(record)
        if (self.stage, self.done) == (self.stage_at, self.epoch_at):
            raise KeyboardInterrupt


@pytest.mark.parametrize('stage', ['teachers', 'policy', 'student'])
def test_an_interrupted_run_goes_on(
    stage: str,
    command: Command,
    folder: Path,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / 'ships'
    monkeypatch.setattr(Interrupted, 'stage_at', stage)
    monkeypatch.setattr('dsom_pyg.cli.run.Console', Interrupted)
    done = train(command, folder, out)
    assert done.exit_code == 130
    assert done.stderr.strip() == (
        f'{stage}: training was interrupted; epoch 1 is saved in '
        f"'{out}/stages/{stage}.safetensors'; run the same again to go on"
    )
    monkeypatch.undo()
    # A kill may cut the last line off.
    with open(out / 'metrics.jsonl', 'r+') as file:
        file.truncate(len(file.read()) - 9)
    done = train(command, folder, out)
    assert done.exit_code == 0
    assert f'{stage}: goes on after epoch 1 of 2' in done.output
    if stage != 'teachers':
        assert 'teachers: was done already' in done.output
    assert_same(out, run_folder)
    ours, theirs = (
        [
            {**json.loads(line), 'seconds': 0}
            for line in (run / 'metrics.jsonl').read_text().splitlines()
        ]
        for run in (out, run_folder)
    )
    assert ours == theirs
    left = [p for p in out.rglob('*') if p.name.startswith('.')]
    assert not left
    assert not [*out.rglob('*previous*')]


def test_what_a_kill_leaves_goes(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'ships'
    shutil.copytree(run_folder, out)
    for where in (out, out / 'stages'):
        (where / '.dsom_pyg-x.tmp').mkdir()
        (where / '.dsom_pyg-x.tmp/lock').touch()
        (where / '.dsom_pyg-x.tmp/student.safetensors').touch()
    assert train(command, folder, out).exit_code == 0
    assert not [*out.rglob('.*')]


def test_more_epochs(command: Command, folder: Path, tmp_path: Path) -> None:
    quick = ('--set', 'policy=MeanOfTeachers', '--set')
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    train(command, folder, out, *quick, 'student.loop.epochs=1')
    more = train(command, folder, out, *quick, 'student.loop.epochs=3')
    assert more.exit_code == 0, more.output
    assert 'student: goes on after epoch 1 of 3' in more.output
    train(command, folder, whole, *quick, 'student.loop.epochs=3')
    assert_same(out, whole)


def test_a_stage_that_diverges(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    lr = 'teachers.loop.optimizer.lr=1000000'
    done = train(command, folder, out, '--set', lr)
    assert done.exit_code == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: teachers: 'loss' is")
    assert 'lower the learning rate' in said


def test_a_damaged_checkpoint(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'ships'
    shutil.copytree(run_folder, out)
    (out / 'model.json').unlink()
    path = out / 'stages/policy.safetensors'
    path.write_bytes(path.read_bytes()[:-1])
    done = train(command, folder, out)
    assert done.exit_code == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f'error: cannot go on: {path} is damaged: ')
    assert said.endswith('; delete it to start anew')
    path.unlink()
    assert train(command, folder, out).exit_code == 0
    assert_same(out, run_folder)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='a file of Linux')
@pytest.mark.parametrize('name', ['log.txt', 'metrics.jsonl'])
def test_a_full_disk(
    name: str,
    command: Command,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = open

    def full(path: Any, mode: str = 'r', **words: Any) -> Any:
        there = '/dev/full' if Path(path).name == name else path
        return opened(there, mode, **words)

    monkeypatch.setattr('dsom_pyg.files.open', full, raising=False)
    out = tmp_path / 'out'
    done = train(command, folder, out)
    assert done.exit_code == 1
    (said,) = done.stderr.splitlines()
    assert f"the disk is full (No space left on device), so '{out}" in said
    assert 'make room and run the same again' in said


@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (['--set', 'student.channls=8'], "did you mean 'channels'?"),
        (['--set', 'student'], "'student' is no setting; write key=value"),
        (['--recipe', 'big'], "no recipe is called 'big'; there are best, "),
        (['--recipe', 'best'], 'MKG_Y, WN18, WN9; name none, and'),
        (['--text-encoder', 'tfdf'], "did you mean 'tfidf'?"),
        (['--config', 'nowhere.toml'], 'nowhere.toml'),
        (['--device', 'gpu'], "there is no device 'gpu' here"),
        (['--set', 'progress=true'], "Recipe has no 'progress'; there are"),
        (['--set', f'seed={10**20}'], 'seed must lie between -2**62 and'),
        (['--set', 'features.audio=7'], 'features.audio must be a str, got 7'),
        (
            ['--recipe', 'small', '--set', 'policy.evidence.k=3'],
            "OneFold has no 'k'; there are",
        ),
    ],
)
def test_words_that_are_unknown(
    words: list[str], why: str, command: Command, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    done = command('train', folder, '--out', out, *words)
    assert done.exit_code == 1
    assert done.stderr.startswith('error: ')
    assert why in done.stderr
    assert not out.exists()


def test_what_is_refused_leaves_the_folder_as_it_was(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    done = train(command, folder, out, '--folds', '1000')
    assert 'folds must lie in 2..24, the training triples' in done.stderr
    done = train(command, folder, out, '--set', 'teachers.channels=0')
    assert 'must be positive' in done.stderr
    # Nothing was trained, so another run may have the folder.
    assert not (out / 'run.json').exists()
    done = train(command, folder, out)
    assert done.exit_code == 0, done.output
    before = (out / 'run.json').read_bytes()
    model = (out / 'model.json').read_bytes()
    done = train(command, folder, out, '--set', 'student.loop.epochs=1')
    assert 'belongs to another run' in done.stderr
    assert (out / 'run.json').read_bytes() == before
    assert (out / 'model.json').read_bytes() == model


def test_the_version(command: Command) -> None:
    done = command('--version')
    assert done.output == f'dsom_pyg {version("dsom_pyg")}\n'
    assert done.exit_code == 0
    done = command('--help')  # nothing in brackets is taken for markup
    # Nothing of the help is taken for markup.
    for name in ('train', 'answer', 'report', 'serve'):
        assert '(default: ' in command(name, '--help').output


def test_settings_of_the_recipe_that_the_size_chooses(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    # The default has no 'k', and that of a graph as small as this one has.
    quick = (folder / 'run.toml').read_text().replace('recipe = "small"', '')
    quick = quick.replace('{kind = "OneFold", ratio = 0.3}', '{k = 2}')
    config, out = tmp_path / 'run.toml', tmp_path / 'out'
    config.write_text(quick)
    done = command('train', folder, '--config', config, '--out', out)
    assert done.exit_code == 0, done.output
    told = command('info', out, '--settings').output
    assert 'policy.evidence.k = 2' in told


def test_words_of_a_file_are_words(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / 'run.toml'
    done = command('train', folder, '--out', tmp_path, '--set', 'device=foo')
    assert done.exit_code == 1
    assert "there is no device 'foo'" in done.stderr
    # An option goes before.
    quick = (folder / 'run.toml').read_text()
    config.write_text('device = "foo"\nmore_texts = false\n' + quick)
    out = tmp_path / 'out'
    words = ('train', folder, '--out', out, '--config', config)
    done = command(*words)
    assert "there is no device 'foo'" in done.stderr
    done = command(*words, '--device', 'cpu')
    assert done.exit_code == 0, done.output
    for line in ('text_encoder = 3', 'columns = true', 'more_texts = "yes"'):
        config.write_text(line + '\n', encoding='utf-8-sig')
        done = command('train', folder, '--config', config)
        assert f'{config}: {line.split()[0]} must be a ' in done.stderr


def test_no_such_source(command: Command) -> None:
    done = command('train', 'Contries')
    assert done.exit_code == 1
    assert "did you mean 'Countries'?" in done.stderr


def test_answers(command: Command, run_folder: Path) -> None:
    model = Completer.load(run_folder)
    done = command('answer', run_folder, 'Arnel', 'sea route to', '-k', '3')
    assert done.output == f'{model.answer("Arnel", "sea route to", k=3)}\n'
    words = ('?', 'calls at', 'Crail', '--known', '--any-kind', '--json')
    said = json.loads(command('answer', run_folder, *words).output)
    found = model.answer(None, 'calls at', 'Crail', known=True, among='all')
    assert said['rows'] == [asdict(row) for row in found]
    done = command('answer', run_folder, 'Arnell', 'calls at')
    assert done.exit_code == 1
    assert "did you mean 'Arnel'" in done.stderr
    done = command('answer', run_folder, '?', 'calls at')
    assert 'either the head or the tail' in done.stderr


def test_the_other_commands(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    model = Completer.load(run_folder)
    done = command('evaluate', run_folder, '--split', 'val', '--json')
    metrics = model.evaluate(split='val').metrics()
    assert json.loads(done.output) == {'split': 'val', **metrics}
    assert str(model.evaluate()) in command('evaluate', run_folder).output
    triple = ('MV Auk', 'calls at', 'Crail')
    done = command('explain', run_folder, *triple)
    assert done.output == f'{model.explain(*triple)}\n'
    words = ('--relation', 'calls at', '--show', '2')
    done = command('complete', run_folder, *words)
    found = model.complete('calls at')
    assert done.output.startswith(str(type(found)(found[:2])))
    assert f'{len(found)} proposals; --out FILE' in done.output
    done = command('complete', run_folder, *words[:-1], '0')
    assert done.output.startswith(f'{len(found)} proposals; ')
    done = command('info', run_folder)
    assert model.graph.fingerprint in done.output
    assert 'channels' not in done.output
    done = command('info', run_folder, '--settings')
    assert 'student.channels = 4' in done.output
    done = command('encode', folder)
    assert 'text: 6 rows of 128' in done.output
    assert "test.tsv:1: no training triple has entity 'Doune'" in done.output
    done = command('audit', folder, '--no-images')
    assert done.exit_code == 0
    assert 'ships' in done.output


def test_a_folder_in_another_order(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    for name in ('train', 'valid', 'test'):
        rows = (folder / f'{name}.tsv').read_text().splitlines()
        cells = [row.split('\t') for row in rows]
        lines = ['\t'.join((h, t, r)) for h, r, t in cells]
        (tmp_path / f'{name}.tsv').write_text('\n'.join(lines) + '\n')
    done = command('evaluate', run_folder, tmp_path, '--columns', 'htr')
    assert done.exit_code == 0, done.output
    assert done.stdout == command('evaluate', run_folder, folder).stdout
    done = command('evaluate', run_folder, tmp_path)
    assert done.exit_code == 1


def test_what_is_written_is_known_before_it_is_made(
    command: Command, run_folder: Path, tmp_path: Path
) -> None:
    # Before there is even a model.
    done = command('complete', tmp_path / 'x', '--out', tmp_path / 'a.xlsx')
    assert done.exit_code == 1
    assert 'must end in .tsv' in done.stderr
    review = tmp_path / 'review.jsonl'
    review.touch()
    words = 'export', run_folder, tmp_path / 'a.npz', '--review', review
    done = command(*words)
    assert done.exit_code == 1
    assert 'decisions change no embeddings' in done.stderr
    done = command('export', run_folder, tmp_path / 'a.parquet')
    assert done.exit_code == 0, done.output
    frame = pd.read_parquet(tmp_path / 'a.parquet')
    assert [*frame.columns] == ['head', 'relation', 'tail']
    done = command('export', run_folder, tmp_path / 'a.tsv')
    table = pd.read_csv(tmp_path / 'a.tsv', sep='\t', dtype=str)
    assert frame.to_numpy().tolist() == table.to_numpy().tolist()


def test_a_model_that_no_run_made_stays(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    Completer.load(run_folder).save(tmp_path)
    before = (tmp_path / 'model.json').read_bytes()
    words = 'train', folder, '--out', tmp_path, '--config', folder / 'run.toml'
    done = command(*words, '--set', 'seed=5')
    assert done.exit_code == 1
    assert 'holds a model that this run has not made' in done.stderr
    assert (tmp_path / 'model.json').read_bytes() == before


def test_json_while_training(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    words = ('--set', 'policy=MeanOfTeachers', '--json')
    done = train(command, folder, tmp_path / 'out', *words)
    lines = [json.loads(line) for line in done.output.splitlines()]
    epochs = [line for line in lines if 'epoch' in line]
    assert [(e['stage'], e['epoch']) for e in epochs] == [
        (stage, epoch) for stage in ('teachers', 'student') for epoch in (1, 2)
    ]
    assert all(e['seconds_left'] >= 0 for e in epochs)
    (bytes_,) = (line['bytes'] for line in lines if 'bytes' in line)
    assert bytes_ > 0
    splits = {
        line['split']: line['metrics'] for line in lines if 'split' in line
    }
    assert splits['test']['count'] == 6


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (MemoryError('x'), 'error: not enough memory; take fewer'),
        (RuntimeError("can't allocate memory: 9"), 'error: not enough memory'),
        (OSError(28, 'No space left'), 'error: [Errno 28] No space left'),
        (ValueError('a\x1b[2Jb\nc'), 'error: a\\x1b[2Jb\nc'),
        (KeyboardInterrupt(), '\ninterrupted; run the same again to go on'),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    error: BaseException,
    said: str,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*words: Any) -> None:
        raise error

    monkeypatch.setattr(main, '_load', fail)
    done = command('answer', 'x', 'y', 'z')
    assert done.exit_code == (130 if 'interr' in said else 1)
    assert done.stderr.startswith(said)


def test_an_error_of_ours_has_its_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: Any) -> None:
        raise RuntimeError('a mistake')

    monkeypatch.setattr(main, '_load', fail)
    assert isinstance(command('answer', 'x', 'y', 'z').exception, RuntimeError)


def test_a_warning_is_a_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*words: Any) -> None:
        warnings.warn('mind this', UserWarning, stacklevel=1)
        warnings.warn('a matter of programmers', RuntimeWarning, stacklevel=1)
        raise ValueError('the end')

    monkeypatch.setattr(main, '_load', warn)
    done = command('answer', 'x', 'y', 'z')
    assert done.stderr == 'warning: mind this\nerror: the end\n'


SLOW = """
import time
try:
    print('begun', flush=True)
    time.sleep(60)
except BaseException:
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
def test_an_interruption_while_something_is_imported(tmp_path: Path) -> None:
    (tmp_path / 'slow_module.py').write_text(SLOW)
    script = (
        'from dsom_pyg.cli.main import told\nwith told("slow_module"): pass'
    )
    root = Path(main.__file__).parents[2]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    process = subprocess.Popen(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONPATH': paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'begun\n'
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=50)
    assert process.returncode == 130
    assert said.strip() == 'interrupted; run the same again to go on'


@pytest.mark.skipif(os.name != 'posix', reason='pipes of POSIX')
@pytest.mark.parametrize(
    'words', [['info', 'RUN'], ['answer', 'RUN', 'Arnel', 'sea route to']]
)
def test_who_reads_has_enough(words: list[str], run_folder: Path) -> None:
    """As when a command is piped to `head`: no error is told."""
    read, write = os.pipe()
    os.close(read)
    root = Path(main.__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'dsom_pyg',
            *(str(run_folder) if word == 'RUN' else word for word in words),
        ],
        env={**os.environ, 'PYTHONPATH': str(root)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.stderr == ''
    assert done.returncode == 1


@pytest.mark.parametrize('encoding', ['latin-1', 'ascii', 'utf-8'])
def test_terminals_without_signs_for_a_name(
    encoding: str, run_folder: Path, tmp_path: Path
) -> None:
    model = Completer.load(run_folder)
    vocabulary = model.entities
    names = [f'{name} Łódź' for name in vocabulary.names]
    about = {**model.parts.about, 'dataset': 'a\x1b[2Jgraph'}
    entities = Vocabulary(names, vocabulary.keys)
    parts = replace(model.parts, entities=entities, about=about)
    save_parts(tmp_path, parts)
    root = Path(main.__file__).parents[2]

    def run(*words: str) -> str:
        done = subprocess.run(
            [
                sys.executable,
                '-c',
                'from dsom_pyg.cli.main import main; main()',
                *words,
            ],
            env={
                **os.environ,
                'PYTHONPATH': str(root),
                'PYTHONIOENCODING': encoding,
            },
            capture_output=True,
            check=True,
        )
        return done.stdout.decode(encoding)

    said = run('answer', str(tmp_path), 'Arnel', 'sea route to')
    assert ('Łódź' in said) == (encoding == 'utf-8')
    assert ('\\u0141' in said) == (encoding != 'utf-8')
    said = run('answer', str(tmp_path), 'Arnel', 'sea route to', '--json')
    assert json.loads(said)['rows'][0]['name'].endswith(' Łódź')
    assert 'of a\\x1b[2Jgraph' in run('info', str(tmp_path))


def test_decisions_that_say_nothing_are_not_counted(
    command: Command, run_folder: Path, tmp_path: Path
) -> None:
    said = tmp_path / 'said.jsonl'
    review = Review(said)
    review.decide('Arnel', 'sea route to', 'Crail', 'reject', '')
    review.decide('Arnel', 'sea route to', 'Doune', 'unsure', '')
    review.decide('Nobody', 'sea route to', 'Doune', 'accept', '')
    words = 'answer', run_folder, 'Arnel', 'sea route to', '--review', said
    done = command(*words)
    assert f'heeding 1 decisions of {said}' in done.stderr
    assert done.stderr.count('the decision is left out') == 1


def test_a_triple_is_open_again(
    command: Command, run_folder: Path, tmp_path: Path
) -> None:
    said, opened = (Review(tmp_path / name) for name in ('said', 'opened'))
    triple = 'Arnel', 'sea route to', 'Crail'
    said.decide(*triple, 'reject', '')
    opened.decide(*triple, 'unsure', '')
    Completer.load(run_folder).with_review(said).save(tmp_path / 'heeding')
    words = 'answer', tmp_path / 'heeding', *triple[:2], '--any-kind', '-k'
    assert 'Crail' not in command(*words, '20').stdout
    again = command(*words, '20', '--review', opened.path)
    assert 'Crail' in again.stdout


def test_notes_of_proposals_are_told(
    command: Command, run_folder: Path, tmp_path: Path
) -> None:
    whole = Completer.load(run_folder)
    empty = dict.fromkeys(SPLITS, Triples.of([]))
    splits = {**empty, 'train': whole.graph.triples('train')}
    sizes = whole.graph.num_entities, whole.graph.num_relations
    graph = KG(TripleGraph(*sizes, splits))
    Completer(replace(whole.parts, graph=graph)).save(tmp_path)
    words = 'complete', tmp_path, '--show', '1'
    assert 'Note: there was no validation' in command(*words).stdout
    (note,) = json.loads(command(*words, '--json').stdout)['notes']
    assert 'there was no validation' in note


def test_people_decide(
    command: Command, folder: Path, run_folder: Path, tmp_path: Path
) -> None:
    said = tmp_path / 'said.jsonl'
    review = Review(said)
    review.decide('Arnel', 'sea route to', 'Crail', 'reject', '')
    review.decide('Port Bude', 'sea route to', 'Doune', 'accept', '')
    words = 'answer', run_folder, 'Arnel', 'sea route to', '--any-kind', '-k'
    plain = command(*words, '20')
    assert 'Crail' in plain.output
    heeding = command(*words, '20', '--review', said)
    assert 'heeding 2 decisions' in heeding.output
    assert 'Crail' not in heeding.stdout
    missing = command(*words, '20', '--review', tmp_path / 'no.jsonl')
    assert missing.exit_code == 1
    assert "there is no file '" in missing.output
    # Those beside the model are heeded unasked.
    beside = run_folder / 'review.jsonl'
    beside.write_text(said.read_text())
    try:
        assert 'Crail' not in command(*words, '20').stdout
        words = 'complete', run_folder, '--show', '500', '--json'
        rows = json.loads(command(*words).stdout)['rows']
        found = {(row['head'], row['tail']) for row in rows}
        assert found
        assert ('Arnel', 'Crail') not in found
    finally:
        beside.unlink()
    none = command('suspects', run_folder)
    assert none.exit_code == 1
    assert '--folds 4' in none.output
    out = tmp_path / 'second'
    done = command(
        *('train', folder, '--out', out, '--config', folder / 'run.toml'),
        *('--review', said, '--folds', '2'),
    )
    assert done.exit_code == 0, done.output
    assert 'review: 1 accept, 1 reject, 0 unsure' in done.output
    # The sizes are those of the corrected graph.
    size = len(Completer.load(out).graph.triples('train').edge_type)
    assert f'triples: {size} train' in done.output
    found = command('suspects', out, '-k', '3', '--json')
    found = json.loads(found.stdout)
    assert len(found['rows']) == 3
    assert not found['notes']
    # What was decided goes along: it is no suspect of the next round.
    rows = json.loads(command('suspects', out, '-k', '99', '--json').stdout)
    pairs = {(row['head'], row['tail']) for row in rows['rows']}
    assert ('Port Bude', 'Doune') not in pairs
    triple = 'Arnel', 'sea route to', 'Port Bude'
    why = command('explain', run_folder, *triple, '--json')
    assert json.loads(why.stdout)['triple']['known']
    # JSON has no NaN.
    assert json.loads(why.stdout)['opinions'][0]['weight'] is None
    assert 'NaN' not in why.stdout
    other = tmp_path / 'other.jsonl'
    Review(other).decide(*triple, 'reject', '')
    why = command('explain', run_folder, *triple, '--review', other, '--json')
    assert not json.loads(why.stdout)['triple']['known']
    answers = command('answer', out, 'Arnel', 'sea route to', '--any-kind')
    assert 'Crail' not in answers.stdout
    known = command(
        *('answer', out, 'Port Bude', 'sea route to', '--known', '--json')
    )
    facts = [x for x in json.loads(known.stdout)['rows'] if x['known']]
    assert 'Doune' in [x['name'] for x in facts]
