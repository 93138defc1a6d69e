"""The paper's tables: what they need, what is missing, what they show."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg import Recipe
from dsom_pyg.datasets import fake
from dsom_pyg.graph import SPLITS, merge_val
from dsom_pyg.kg import KG
from dsom_pyg.models import EntityEmbedding
from dsom_pyg.training import Adam
from dsom_pyg.training.state import RunFile, TrainState
from experiments import measure, record
from experiments.__main__ import main
from experiments.paper import published, show
from experiments.paper.catalogue import (
    PROFILES,
    Profile,
    home,
    rows,
)
from experiments.paper.comparators import CHOSEN, comparator
from experiments.paper.recipes import RECIPES
from experiments.paper.sources import source
from experiments.table import load

SMALL = PROFILES['small']


def write(
    results: Path,
    row: str,
    seed: int,
    mrr: float,
    dataset: str = 'WN9',
    took: float = 0.0,
    **more: Any,
) -> None:
    path = record.path_of(results, 'small', dataset, row, seed, 'test')
    path.parent.mkdir(parents=True, exist_ok=True)
    ranks = {'mrr': mrr, 'hits@1': 1.0, 'hits@3': 2.0, 'hits@10': 3.0}
    each = {**ranks, 'mr': 7.0, 'seconds': took}
    models = {name: each for name in ('model', 'student')}
    about = {'dataset': dataset, 'row': row, 'seed': seed}
    words = {'split': 'test', 'ties': 'realistic', 'filter': [*SPLITS]}
    found = {**about, 'protocol': words, 'models': models, **more}
    path.write_text(json.dumps(found))


def test_every_line_has_its_row() -> None:
    assert len(show.names()) == 10
    for name in show.names():
        table = show.table_of(name)
        for dataset in table.datasets:
            known = rows(SMALL, dataset)
            for line in table.lines:
                assert line.row in known
                assert known[line.row].name == line.row
                folder, row, _ = home(SMALL, dataset, line.row)
                if folder != 'small':
                    there = {
                        each.name
                        for found in load(folder)
                        if dataset in found.datasets
                        for each in found.rows
                    }
                    assert row in there
                    path = record.path_of(
                        record.RESULTS, folder, dataset, row, 0, 'test'
                    )
                    assert path.exists()


def test_every_line_tells_where_it_comes_from() -> None:
    told = '\n'.join(show.sources())
    for name in show.names():
        table = show.table_of(name)
        if isinstance(table, show.PaperTable):
            for line in table.lines:
                assert line.label.replace('**', '').split(': ')[0] in told
    assert '| MoSE-MI; w/ ML on val. | MoSE (Zhao et al., 2022) |' in told
    # A form of distillation is that of its authors with the paper's policy
    # alone.
    mine = source('DSoM, library, vanilla KD')
    assert mine == source('DSoM, library') == source('D = 64')
    assert source("the paper's policy, vanilla KD").work.startswith('Hinton')
    with pytest.raises(KeyError, match='another'):
        source('another')


def test_published_figures_are_possible() -> None:
    tables = published.MAIN, published.LARGE, published.ABLATION
    seen = 0
    for table in (*tables, published.SINGLE, published.WN9):
        for by_dataset in table.values():
            for mrr, *rest in by_dataset.values():
                hits = [x for x in rest[:3] if x == x]
                assert all(rank >= 1 for rank in rest[3:])
                assert hits == sorted(hits)
                if mrr == mrr:
                    assert hits[0] <= mrr <= hits[-1]
                seen += 1
    assert seen > 46


def test_what_is_missing_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 'plain ComplEx-N3', 1, 90.0, seconds=120.0)
    words = ['table7', '--dry-run', '--results', str(tmp_path)]
    main(words)
    said = capsys.readouterr().out.splitlines()
    assert 'WN9  plain ComplEx-N3  seed 0  2 min' in said
    assert not any('seed 1' in x for x in said if 'plain' in x)
    assert 'WN9  MoSE-AI  seed 0  ?' in said
    assert said[-1] == (
        '7 of 8 runs are missing: 4 min and 5 runs of unknown length'
    )
    # A run whose teachers were there does not tell how long one takes.
    more = {'seconds': 60.0, 'stages_before': ['teachers']}
    write(tmp_path, 'MoSE-AI', 5, 90.0, **more)
    # Nor does one that began before, whose model alone took longer.
    write(tmp_path, 'MoSE-AI', 6, 90.0, took=90.0, seconds=60.0)
    main([*words, '--only', 'MoSE-AI', '--seeds', '4'])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == '4 of 4 runs are missing: 4 runs of unknown length'
    main([*words, '--only', 'MoSE-AI', '--seed', '3'])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == 'WN9  MoSE-AI  seed 3  ?'
    assert said[1].startswith('1 of 1 runs')
    # On another graph, the nearest one, it takes as long as steps are long.
    write(tmp_path, 'MoSE-AI', 0, 30.0, 'MKG_Y', seconds=600.0)
    write(tmp_path, 'MoSE-AI', 0, 30.0, 'FB15k_237', seconds=6e5)
    main([*words, '--only', 'MoSE-AI'])
    said = capsys.readouterr().out.splitlines()
    minutes = 10 * 6555 * 11741 / (15000 * 21310)
    assert said[0] == f'WN9  MoSE-AI  seed 0  ~{minutes:.0f} min'
    assert said[1] == f'1 of 1 runs are missing: {minutes:.0f} min'
    write(tmp_path, 'MoSE-AI', 0, 90.0)
    main([*words, '--only', 'MoSE-AI'])
    assert capsys.readouterr().out == '0 of 1 runs are missing\n'


def test_what_is_shown(tmp_path: Path) -> None:
    for seed, mrr in ((0, 90.0), (1, 94.0)):
        write(tmp_path, 'DSoM, library', seed, mrr)
    [line] = [
        x
        for x in show.shown('table7', show.table_of('table7'), SMALL, tmp_path)
        if x.startswith('| **DSoM')
    ]
    # Mean and deviation; what the paper says; how far that is.
    assert '| 2 | 92.00 ±2.83 (92.13, -0.13) | 1.00 ±0.00 (90.52, -89.52)' in (
        line
    )
    # The paper does not tell Hits@3 here.
    assert '| 2.00 ±0.00 | 3.00 ±0.00 (95.56, -92.56) | 7 |' in line
    # The mean rank of Table 3 stands beside ours, and what is not measured.
    write(tmp_path, 'DSoM, library', 0, 40.0, dataset='FB15k_237')
    found = show.shown('table3', show.table_of('table3'), SMALL, tmp_path)
    [line] = [x for x in found if x.startswith('| **DSoM')]
    assert '| 1 | 40.00 | 1.00 (27.50, -26.50)' in line
    assert '| 7 (116, -109) |' in line
    assert found[found.index('### WN18') + 2] == (
        'Not measured yet: plain ComplEx-N3; ComplEx-N3 that predicts '
        "relations too; MoSE-AI; teachers of the library's recipe; **DSoM, "
        "the library's recipe**."
    )
    path = show.write_page(tmp_path)
    text = path.read_text()
    assert '## Table 7: WN9 (small, D = 256)' in text
    assert 'Table 1' not in text
    for link in re.findall(r'\]\(([^)]+)\)', text):
        if link.startswith('#'):
            assert f'\n## {link[1:].replace("-", " ").capitalize()}\n' in text
        else:
            assert (tmp_path / link).exists()


def test_the_committed_page_is_up_to_date() -> None:
    path = record.RESULTS / 'paper.md'
    assert path.read_text() == show.render(record.RESULTS)


class Tiny(fake.FakeMMKG):
    def __init__(self, root: object, text_encoder: object = None) -> None:
        super().__init__(30, num_triples=200, seed=1)

    entity_names = relation_names = ()


def test_a_table_is_measured_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The smoke profile of a whole table, on a graph made up here."""

    monkeypatch.setattr('dsom_pyg.datasets.WN9', Tiny)
    profile = Profile('smoke', 4, 1, ('WN9',), 1, 150)
    monkeypatch.setitem(PROFILES, 'smoke', profile)
    words = ['--profile', 'smoke', '--seeds', '1', '--text-model', 'none']
    monkeypatch.setattr('experiments.measure.SBERT', FakeEncoder)
    table = show.table_of('table7')
    assert isinstance(table, show.PaperTable)
    every = tuple(
        show.Line(name, name, 'model') for name in rows(profile, 'WN9')
    )
    monkeypatch.setattr(
        show, 'table_of', lambda _: replace_lines(table, every)
    )
    main(['table7', *words, '--results', str(tmp_path)])
    files = sorted(tmp_path.glob('smoke/WN9/*.json'))
    assert len(files) == len(rows(profile, 'WN9'))
    for path in files:
        found = record.read(path)
        assert found['table'] == 'smoke'
        assert found['seconds'] > 0
        assert found['peak_gb'] > 0
        assert {'command', 'commit', 'seed', 'machine'} <= found.keys()
        assert found['source'] == asdict(source(found['row']))
        for model in found['models'].values():
            assert model['mrr'] > 0
            assert {'sides', 'categories'} <= model.keys()
    stamps = [path.stat().st_mtime_ns for path in files]
    capsys.readouterr()
    main(['table7', *words, '--results', str(tmp_path)])
    assert [path.stat().st_mtime_ns for path in files] == stamps


class Lengths:
    """As an encoder of sentences, but for what the features say."""

    name, out_channels = 'lengths', 2

    def __init__(self, model: str) -> None:
        pass

    def __call__(self, items: Sequence[str]) -> Tensor:
        return torch.tensor([[len(x), x.count(' ')] for x in items]).float()


@pytest.mark.skipif(
    not Path(os.environ.get('DSOM_PYG_MIRROR') or '-').is_dir(),
    reason='no mirror: DSOM_PYG_MIRROR names no folder',
)
def test_smoke_takes_a_slice_of_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('experiments.measure.SBERT', Lengths)
    words = ['table7', '--profile', 'smoke', '--seeds', '1']
    words += ['--text-model', 'none', '--root', str(tmp_path / 'datasets')]
    for row in ('plain ComplEx-N3', 'DSoM, library'):
        words += ['--only', row]
    main([*words, '--results', str(tmp_path)])
    files = sorted(tmp_path.glob('smoke/WN9/*.json'))
    found = [record.read(path) for path in files]
    assert [each['row'] for each in found] == [
        'DSoM, library',
        'plain ComplEx-N3',
    ]
    graph = found[0]['graph']
    assert graph == found[1]['graph']
    assert graph['changes'] == [{'kind': 'first', 'count': 1500}]
    assert graph['features'] == {'text': 'lengths'}
    assert 0 < found[0]['models']['student']['mrr'] < 100
    assert 'smoke' not in (tmp_path / 'paper.md').read_text()


@pytest.mark.parametrize(
    ('row', 'stage'),
    [('DSoM, library', 'teachers'), ("DSoM, the paper's policy", 'student')],
)
def test_the_profile_of_the_paper_goes_on_where_it_stopped(
    row: str, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D = 2000 and 100 epochs, on a graph made up here."""
    monkeypatch.setattr('dsom_pyg.datasets.WN9', Tiny)
    monkeypatch.setattr('experiments.measure.SBERT', FakeEncoder)
    words = ['table7', '--profile', 'paper', '--only', row, '--seeds', '1']
    words += ['--text-model', 'none', '--results']
    assert PROFILES['paper'].channels == 2000
    main([*words, str(tmp_path / 'whole')])

    save, trained = RunFile.save, []

    def stop(self: RunFile, state: TrainState) -> None:
        save(self, state)
        if self.path.stem == stage:
            trained.append(len(state.history))
            if len(trained) == 40:
                raise KeyboardInterrupt

    monkeypatch.setattr(RunFile, 'save', stop)
    with pytest.raises(KeyboardInterrupt):
        main([*words, str(tmp_path / 'parts')])
    assert not [*tmp_path.glob('parts/large/WN9/*.json')]
    main([*words, str(tmp_path / 'parts')])
    # No epoch was trained again.
    assert trained == [*range(1, 101)]
    one, two = (
        record.read(next((tmp_path / name).glob('large/WN9/*.json')))
        for name in ('whole', 'parts')
    )
    for name, model in one['models'].items():
        for key in ('mrr', 'mr', 'hits@1', 'hits@10'):
            assert two['models'][name][key] == model[key]
    settings = one['settings']
    assert settings['student']['channels'] == 2000
    assert settings['teachers']['loop']['epochs'] == 100


class FakeEncoder:
    name = 'none'

    def __init__(self, model: str) -> None:
        pass


def replace_lines(
    table: show.PaperTable, lines: tuple[show.Line, ...]
) -> show.PaperTable:
    return show.PaperTable(table.title, table.text, table.datasets, lines)


def test_recipes_are_of_the_six() -> None:
    assert len(RECIPES) == 6
    for recipe in RECIPES.values():
        assert recipe(8).teachers.channels == 8


def test_a_figure(tmp_path: Path) -> None:
    """Points are means over seeds, in the order of the values."""
    figure = show.PaperFigure(
        'Figure 9',
        'Text.',
        ('WN9',),
        (
            show.Panel('tau', ((1, 'tau = 1'), (4, 'DSoM, library'))),
            show.Panel('epoch', ((0, 'tau = 1'),), term='advantage'),
            show.Panel('beta', ((1, 'beta = 4'),)),
        ),
    )
    assert show.draw('figure9', figure, 'WN9', SMALL, tmp_path) is None
    assert [line.row for line in figure.lines] == [
        'tau = 1',
        'DSoM, library',
        'beta = 4',
    ]
    for seed, mrr in ((0, 90.0), (1, 94.0)):
        write(tmp_path, 'tau = 1', seed, mrr)
    # One point is no curve.
    lines = show.shown('figure9', figure, SMALL, tmp_path)
    assert lines[-2] == (
        'Not measured yet: tau 4; advantage by epoch; beta 1.'
    )
    assert not any(line.startswith('|') for line in lines)
    assert show.draw('figure9', figure, 'WN9', SMALL, tmp_path) is None
    write(tmp_path, 'DSoM, library', 0, 80.0)
    path = record.path_of(tmp_path, 'small', 'WN9', 'tau = 1', 0, 'test')
    found = json.loads(path.read_text())
    found['models']['student']['history'] = [
        {'epoch': 1.0, 'advantage': -5.0},
        {'epoch': 2.0, 'advantage': -4.0},
    ]
    path.write_text(json.dumps(found))
    lines = show.shown('figure9', figure, SMALL, tmp_path)
    assert '| tau | 1 | 4 |' in lines
    assert '| MRR | 92.00 | 80.00 |' in lines
    assert '| epoch | 1 | 2 |' in lines
    assert '| advantage | -5.00 | -4.00 |' in lines
    assert lines[-2] == 'Not measured yet: beta 1.'
    assert '[Drawn](small/WN9/figure9.png)' not in lines
    drawn = show.draw('figure9', figure, 'WN9', SMALL, tmp_path)
    assert drawn is not None
    assert drawn.read_bytes()[:4] == b'\x89PNG'
    lines = show.shown('figure9', figure, SMALL, tmp_path)
    assert '[Drawn](small/WN9/figure9.png)' in lines


def test_figures_come_after_tables(tmp_path: Path) -> None:
    for row in ('gamma = 4', 'gamma = 8', 'MulDE'):
        write(tmp_path, row, 0, 40.0, dataset='DB15K')
    lines = show.render(tmp_path).splitlines()
    heads = [line for line in lines if line.startswith('## ')]
    assert [head.split(':')[0] for head in heads] == [
        '## Overview',
        '## Table 2',
        '## Figure 5',
        '## Where lines come from',
    ]


def test_files_of_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 'MoSE-AI', 0, 99.9, settings={'kind': 'another'})
    words = ['table7', '--results', str(tmp_path), '--only', 'MoSE-AI']
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 1
    assert 'holds a run with other settings: kind' in capsys.readouterr().err
    # Also of another dataset or seed, or by another protocol.
    for wrong in (
        {'dataset': 'DB15K'},
        {'seed': 3},
        {'protocol': {'split': 'val', 'ties': 'realistic', 'filter': []}},
    ):
        write(tmp_path, 'MoSE-AI', 0, 99.9, converted_from='x')
        path = tmp_path / 'small/WN9/mose-ai-seed0.json'
        path.write_text(json.dumps({**record.read(path), **wrong}))
        with pytest.raises(SystemExit):
            main(words)
        told = capsys.readouterr().err
        assert f'settings: {next(iter(wrong))}' in told
    wrong_rows = (['--only', 'MoSE'], ['--only', 'MoSE-AI', '--only', 'MoSE'])
    for more in (*wrong_rows, ['--dataset', 'DB15K']):
        with pytest.raises(SystemExit):
            main(['table7', '--dry-run', *more])
        assert 'its datasets are WN9' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        ('{"models": ', 'Expecting value'),
        ('[]', 'it is no JSON object'),
        ('{"models": {}}', 'it lacks dataset, row, seed, protocol'),
    ],
)
@pytest.mark.parametrize(
    'words', [['table7'], ['table7', '--dry-run', '--seed', '1'], ['page']]
)
def test_a_damaged_file_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    content: str,
    why: str,
) -> None:
    write(tmp_path, 'MoSE-AI', 0, 99.9)
    path = tmp_path / 'small/WN9/mose-ai-seed0.json'
    path.write_text(content)
    only = [] if words == ['page'] else ['--only', 'MoSE-AI']
    with pytest.raises(SystemExit) as caught:
        main([*words, *only, '--results', str(tmp_path)])
    assert caught.value.code == 1
    assert f'{path} is damaged: {why}' in capsys.readouterr().err


def test_seeds_of_other_rows_are_not_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, text in enumerate('aab'):
        graph = {'changes': [], 'features': {'text': text}}
        more = {'table': 'small', 'graph': graph, 'settings': {}}
        write(tmp_path, 'MoSE-AI', seed, 50.0, **more)
    with pytest.raises(record.OtherRunError, match=r'seed2.*features\.text d'):
        show.shown('table7', show.table_of('table7'), SMALL, tmp_path)
    with pytest.raises(SystemExit):
        main(['page', '--results', str(tmp_path)])
    assert 'features.text differ' in capsys.readouterr().err


def test_a_change_of_the_graph_is_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = rows(SMALL, 'WN9')['MoSE-AI']
    words = json.loads(json.dumps(measure.settings(row)))
    graph = {'changes': ['shuffled_texts'], 'features': {}}
    write(tmp_path, 'MoSE-AI', 0, 50.0, settings=words, graph=graph)
    with pytest.raises(SystemExit):
        main(['table7', '--only', 'MoSE-AI', '--results', str(tmp_path)])
    assert 'other settings: graph.changes' in capsys.readouterr().err


def test_drawn_choices_are_no_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 'MoSE-AI', 0, 50.0, seconds=90.0)
    (tmp_path / 'small/WN9/mose-ai-seed0.choices.json').write_text('{}')
    words = ['--only', 'MoSE-AI', '--seed', '1', '--results', str(tmp_path)]
    main(['table7', '--dry-run', *words])
    assert 'seed 1  2 min' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['table7', 'combiners'])
@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (['--seeds', '0'], 'must be 1 or more'),
        (['--seed', '-1'], 'must not be negative'),
        (['--seed', 'x'], 'invalid seed value'),
    ],
)
def test_seeds_that_are_none(
    name: str,
    words: list[str],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main([name, '--dry-run', *words])
    assert why in capsys.readouterr().err


def test_short_runs_take_few_triples_with_every_change() -> None:
    profile = Profile('smoke', 4, 1, ('WN9',), 1, 100)
    data = fake.FakeMMKG(30, num_triples=300, seed=1)[0]
    (edge,) = (x for x in data.edge_types if x[0] == 'text')
    had = data[edge].edge_index.size(1)
    for name, share in (
        ('DSoM, library', 1.0),
        ('40 % of texts missing', 0.6),
    ):
        row = rows(profile, 'WN9')[name]
        assert row.change is not None
        graph = row.change(data, 0)
        assert len(KG(graph).triples('train').edge_type) == 100
        left = graph[edge].edge_index.size(1)
        assert left == pytest.approx(share * had, abs=2)
    # And few epochs, of whomever.
    for row in rows(profile, 'WN9').values():
        if isinstance(row.what, Recipe):
            assert row.what.student.loop.epochs == 1, row.name


def test_d_of_the_profile_is_the_recipe_itself() -> None:
    for name, channels in (('small', 256), ('paper', 2000)):
        profile = PROFILES[name]
        here = home(profile, 'WN9', f'D = {channels}')
        assert here == home(profile, 'WN9', 'DSoM, library')
    assert home(PROFILES['paper'], 'WN9', 'D = 256').row == 'D = 256'


def test_products_have_no_margin() -> None:
    known = rows(SMALL, 'WN9')
    for name, margin in (('DistMult', 0.0), ('ComplEx', 0.0), ('TransE', 9.0)):
        words = known[name].what.model.keywords  # type: ignore[union-attr]
        assert words['objective'].margin == margin


def test_who_learns_from_validation_is_not_trained_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As DB15K has it, where others train on that split as well."""

    monkeypatch.setattr('dsom_pyg.datasets.DB15K', Tiny)
    monkeypatch.setattr('experiments.measure.SBERT', FakeEncoder)
    profile = Profile('smoke', 4, 1, ('DB15K',), 1)
    monkeypatch.setitem(PROFILES, 'smoke', profile)
    words = ['--profile', 'smoke', '--text-model', 'none', '--seeds', '1']
    words += ['--results', str(tmp_path), '--dataset', 'DB15K']
    for name in ('MoSE-AI', 'MoSE-MI', 'RC on validation'):
        main(['table4', *words, '--only', name])
    found = {
        path.stem: record.read(path)
        for path in tmp_path.glob('smoke/DB15K/*.json')
    }
    data = Tiny(None)[0]
    whole = merge_val(data)
    prints = {key: x['graph']['fingerprint'] for key, x in found.items()}
    assert prints == {
        'mose-ai-seed0': KG(whole).fingerprint,
        'mose-mi-seed0': KG(data).fingerprint,
        'rc-on-validation-seed0': KG(data).fingerprint,
    }
    mixed = found['mose-mi-seed0']
    assert 'tenth of validation' in mixed['protocol']['selection']
    assert mixed['models']['teachers']['best_epoch'] >= 1


def test_what_a_policy_chose(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Tiny(fake.FakeMMKG):
        def __init__(self, root: object, text_encoder: object = None) -> None:
            super().__init__(30, num_triples=200, seed=1)

    monkeypatch.setattr('dsom_pyg.datasets.DB15K', Tiny)
    monkeypatch.setattr('experiments.measure.SBERT', FakeEncoder)
    profile = Profile('smoke', 4, 1, ('DB15K',), 1)
    monkeypatch.setitem(PROFILES, 'smoke', profile)
    words = ['--profile', 'smoke', '--text-model', 'none']
    main(['figure3', *words, '--results', str(tmp_path)])
    told = capsys.readouterr().out
    source = Tiny('')
    graph = KG(source[0])
    asked = graph.index('test')
    most = int(asked.head.bincount(minlength=30).argmax())
    count = int((asked.head == most).sum())
    assert f'| {source.entity_names[most]} | {count} |' in told
    assert f'| all queries | {len(asked)} |' in told
    assert '| head | queries | structure |' in told
    # The weights of a row are shares.
    row = next(x for x in told.splitlines() if x.startswith('| all queries'))
    shares = [int(x) for x in row.strip('| ').split(' | ')[2:]]
    assert 98 <= sum(shares) <= 102
    assert len(shares) == len(graph.modalities) + 2
    folder = tmp_path / 'smoke' / 'DB15K'
    drawn = folder / 'policy-of-the-library-seed0.png'
    assert drawn.read_bytes()[:4] == b'\x89PNG'
    assert f'({drawn.relative_to(tmp_path).as_posix()})' in told


def test_comparators_have_what_is_chosen() -> None:
    """At D = 256 as it is; wider distances begin and move more slowly."""
    for name in ('TransE', 'RotatE', 'OTE', 'GC-OTE'):
        what = comparator(name, 512, 9, lr=0.004, margin=5.0, scale=0.08)
        assert what.loop.epochs == 9
        assert what.loop.optimizer == Adam(lr=0.002)
        assert what.entity_scale == 0.04
        model = what.model(EntityEmbedding(12, 20), 1)
        assert model.objective.margin == 5.0
    assert what.second is not None
    assert what.second_loop is not None
    assert what.second_loop.epochs == 3
    assert what.second_loop.optimizer == Adam(lr=0.0002)
    for name in ('DistMult', 'ComplEx'):
        what = comparator(name, 256, 9, lr=0.01, n3=0.3, scale=0.1)
        model = what.model(EntityEmbedding(12, 20), 1)
        assert model.objective.margin == 0.0
        assert model.n3 == 0.3
        assert what.entity_scale == 0.1
    what = comparator('TuckER', 512, 9, lr=0.01)
    assert what.channels == 100
    assert what.loop.optimizer == Adam(lr=0.01)


def test_comparators_have_learned() -> None:
    """One that is no better than chance tells nothing of its kind."""
    names = [record.slug(name) for name in CHOSEN]
    small = record.RESULTS / 'small'
    paths = [p for x in names for p in small.glob(f'*/{x}-seed*.json')]
    found = [record.read(path)['models']['model']['mrr'] for path in paths]
    assert len(found) > 10
    assert min(found) > 10


@pytest.mark.parametrize('name', ['DistMult', 'ComplEx', 'TuckER'])
def test_comparators_are_the_best_trials(name: str) -> None:
    """What is chosen is what the search found, to three digits."""
    path = record.RESULTS / 'searches' / 'MKG_Y' / f'{name}-256.json'
    found = record.read(path)
    assert found['protocol']['split'] == 'val'
    done = [x for x in found['trials'] if x['state'] == 'complete']
    best = max(done, key=lambda trial: trial['value'])
    rounded = {key: float(f'{x:.3g}') for key, x in best['params'].items()}
    assert CHOSEN[name] == rounded
