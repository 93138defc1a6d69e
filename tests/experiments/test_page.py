"""The page of results."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

from experiments import layout, page, record
from experiments.page import Model

README = record.RESULTS / 'README.md'


def test_the_page_is_up_to_date() -> None:
    assert README.read_text(encoding='utf-8') == page.render(record.RESULTS), (
        'run: python -m experiments page'
    )
    assert len(README.read_text().splitlines()) <= 150


def test_links_lead_somewhere() -> None:
    for path in (README, *(record.RESULTS / 'notes').glob('*.md')):
        for target in re.findall(r'\]\(([^)]+)\)', path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)


def test_the_first_line_is_the_best_student_of_db15k() -> None:
    # From the files, not by the code that makes the page.
    found: dict[tuple[str, str], list[float]] = {}
    for path in record.RESULTS.glob('*/DB15K/*-seed*.json'):
        if path.name.endswith('.choices.json'):
            continue
        run = json.loads(path.read_text())
        student = run['models'].get('student')
        if student:
            key = run['table'], run['row']
            found.setdefault(key, []).append(student['mrr'])
    (table, row), values = max(found.items(), key=lambda item: mean(item[1]))
    lines = README.read_text().splitlines()
    first = next(line for line in lines if line.startswith('| **'))
    assert f'{mean(values):.2f}' in first
    assert f'python -m experiments {table} ' in first
    assert f'--only "{row}"' in first


def runs(folder: Path) -> page.Runs:
    def put(row: str, seed: int, split: str, **mrr: float) -> None:
        path = record.path_of(folder, 't', 'D', row, seed, split)
        models = {
            name: {'mrr': x, 'hits@1': 1.0, 'hits@3': 2.0, 'hits@10': 3.0}
            for name, x in mrr.items()
        }
        about = {'table': 't', 'dataset': 'D', 'row': row, 'seed': seed}
        protocol = {'split': split}
        record.write(path, {**about, 'protocol': protocol, 'models': models})

    put('mean', 0, 'test', teachers=10.0, student=9.0)
    put('mean', 1, 'test', teachers=12.0)
    put('policy', 0, 'test', teachers=11.0)
    put('policy', 1, 'test', teachers=14.0)
    put('policy', 2, 'test', teachers=17.0)
    put('policy', 0, 'val', teachers=50.0)
    return page.Runs(folder)


def test_seeds_of_a_row_are_alike(tmp_path: Path) -> None:
    def put(seed: int, lr: float, texts: str | None, **more: str) -> None:
        path = record.path_of(tmp_path, 't', 'D', 'row', seed, 'test')
        about = {'table': 't', 'dataset': 'D', 'row': 'row', 'seed': seed}
        protocol = {'protocol': {'split': 'test'}, 'models': {}}
        told = {'settings': {'lr': lr}, 'texts_sha256': texts}
        record.write(path, {**about, **protocol, **told, **more})

    put(0, 0.3, None, converted_from='another form')
    put(1, 0.1, 'abc')
    put(2, 0.1, None)
    page.Runs(tmp_path)
    put(3, 0.1, 'abc')
    page.Runs(tmp_path)
    put(1, 0.1, None)
    put(2, 0.1, 'abd')
    with pytest.raises(record.OtherRunError, match='texts differ'):
        page.Runs(tmp_path)
    put(2, 0.2, None)
    wrong = r'seed3\.json and .*seed2\.json .* settings\.lr differ'
    with pytest.raises(record.OtherRunError, match=wrong):
        page.Runs(tmp_path)


def test_means_and_differences(tmp_path: Path) -> None:
    found = runs(tmp_path)
    policy = Model('t', 'D', 'policy', 'teachers')
    other = Model('t', 'D', 'mean', 'teachers')
    # Deviations of a sample: 3, and sqrt(2).
    assert found.spread(policy) == '14.00 (3.00)'
    assert found.spread(other) == '11.00 (1.41)'
    assert found.spread(Model('t', 'D', 'mean')) == '9.00'
    assert found.spread(Model('t', 'D', 'policy')) == ''
    assert found.spread(Model('t', 'D', 'policy', 'teachers', 'val')) == (
        '50.00'
    )
    # Seeds 0 and 1 are in both.
    apart = page.differences(found.seeds(policy), found.seeds(other))
    assert apart == [1.0, 2.0]


def test_grid(tmp_path: Path) -> None:
    section = page.Grid(
        'Title',
        'Words.',
        (page.Column('D', 't', 'D'), page.Column('0', 't', 'D', seeds=(0,))),
        (page.Line('the mean', 'mean'), page.Line('policy', 'policy')),
    )
    assert page.grid(runs(tmp_path), section) == [
        '|  | D | 0 |',
        '| --- | --- | --- |',
        '| the mean | [11.00 (1.41) → 9.00](t/D/mean-seed0.json) '
        '| [10.00 → 9.00](t/D/mean-seed0.json) |',
        '| policy | [14.00 (3.00)](t/D/policy-seed0.json) '
        '| [11.00](t/D/policy-seed0.json) |',
    ]


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    claims = [
        page.Claim('the best', Model('t', 'D', 'none')),
        page.Claim('the next', Model('t', 'D', 'mean'), bold=True),
    ]
    (line,) = page.claims(runs(tmp_path), claims)[2:]
    assert [cell.strip() for cell in line.split('|')[1:-1]] == [
        '**the next**',
        'D',
        '**9.00**',
        '1',
        '`python -m experiments t --dataset D --only "mean" --seeds 1`',
        '[seed 0](t/D/mean-seed0.json)',
    ]
    assert page.render(tmp_path).startswith('# Results')


def test_every_claim_and_line_has_runs() -> None:
    found = page.Runs(record.RESULTS)
    for claim in layout.CLAIMS:
        assert found.seeds(claim.model), claim.text
    for section in layout.SECTIONS:
        if isinstance(section, page.Detail):
            for label, model in section.models.items():
                assert found.seeds(model), label
        elif isinstance(section, page.Grid):
            rows = page.grid(found, section)[2:]
            assert all(re.search(r'\d\.\d\d', row) for row in rows)
            columns = zip(*(row.split('|')[2:-1] for row in rows), strict=True)
            assert all(any(cell.strip() for cell in col) for col in columns)
