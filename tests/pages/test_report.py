"""The report of a run: whole, escaped, and without a network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dsom_pyg import evaluate
from dsom_pyg.cli.main import app
from dsom_pyg.completion import Completer, Review
from dsom_pyg.pages.render import plot, thumbnail
from dsom_pyg.pages.report import report, write_report


class Tags(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.feed(page)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        self.tags.append(tag)
        names = ('src', 'href', 'action', 'xlink:href')
        self.places += [v or '' for k, v in attrs if k in names]


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_report_is_one_file(run: Path, tmp_path: Path) -> None:
    done = command('report', run, '--out', tmp_path / 'x.html')
    assert done.exit_code == 0, done.output
    assert 'written' in done.output
    page = (tmp_path / 'x.html').read_text(encoding='utf-8')
    found = Tags(page)
    # Nothing that runs, nothing that is loaded from anywhere.
    assert 'script' not in found.tags
    assert 'link' in found.tags
    assert all(place.startswith(('data:', '#')) for place in found.places), (
        found.places
    )
    assert 'http://' not in re.sub(r'http://www\.w3\.org/\S+', '', page)
    assert '<b>' not in page
    assert len(page) < 5_000_000
    # Names are there, whole or shortened.
    assert '&lt;script&gt;alert(1)&lt;/script&gt;' in page
    assert 'سفينة' in page
    for title in (
        'The graph',
        'Training',
        'How good it is',
        'What its probabilities are worth',
        'Whom the student was taught by',
        'Best and worst answers',
        'Suspects',
        'Review',
        'Settings',
    ):
        assert f'<h2>{title}</h2>' in page
    assert 'teachers: loss' in page
    assert 'student.channels' in page
    assert write_report(run) == run / 'report.html'
    before = (run / 'model.json').read_bytes()
    with pytest.raises(ValueError, match='is a part of the model'):
        write_report(run, run / 'model.json')
    assert (run / 'model.json').read_bytes() == before


def test_figures_are_those_of_the_model(run: Path, tmp_path: Path) -> None:
    model = Completer.load(run)
    page = report(model, run)
    ranking = model.evaluate(split='test')
    assert f'>{100 * ranking.mrr():.2f}<' in page
    for side in ranking.by_side().values():
        assert f'>{100 * side.mrr():.2f}<' in page
    first = model.suspects(1)[0]
    assert f'>{first.belief:.2f}<' in page
    # What people said stands there.
    folder = tmp_path / 'run'
    folder.mkdir()
    Review(folder / 'review.jsonl').decide('Arnel', 'r', 'b', 'accept', '')
    assert '<td>accept</td>' in report(model, folder)
    # Without a folder there are no curves.
    assert 'No learning curves were kept' in report(model)


def test_best_and_worst(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}

    def capture(_: str, **values: Any) -> str:
        shown.update(values)
        return ''

    monkeypatch.setattr('dsom_pyg.pages.report.render', capture)
    model = Completer.load(run)
    # Of train there are enough answers to tell.
    monkeypatch.setattr(
        model,
        'evaluate',
        lambda split: evaluate(model.parts.student, model.graph, 'train'),
    )
    report(model)
    best, worst = shown['best'], shown['worst']
    assert {row['rank'] for row in best} == {1}
    sure = [row['triple'].probability for row in best]
    assert sure == sorted(sure, reverse=True)
    tails = model.evaluate(split='x')
    tails = tails.select(tails.rel < model.graph.num_relations)
    ranks = sorted(tails.ranks().tolist(), reverse=True)
    assert [row['rank'] for row in worst] == ranks[: len(worst)]
    first = tails.ranks() == 1
    scored = model.score(
        zip(
            *(x[first].tolist() for x in (tails.head, tails.rel, tails.tail)),
            strict=True,
        )
    )
    assert sure[0] == max(each.probability for each in scored)
    # Who stands in the place of a right answer that is not the first.
    for row in worst:
        assert (row['instead'] != '') == (row['rank'] > 1)


def test_a_model_without_anything_beside(run: Path) -> None:
    model = Completer.load(run)
    model.parts.teachers = model.parts.weights = model.parts.suspicion = None
    model.parts.texts, model.parts.images = [], []
    model.parts.about = {}
    page = report(model)
    assert 'teachers of this model were not kept' in page
    assert '--folds 4' in page
    assert 'Nothing was noted' in page


def test_findings_are_told(run: Path) -> None:
    model = Completer.load(run)
    model.parts.about['findings'] = {
        'duplicate triple': {'count': 1234, 'examples': ['line 3 <i>']}
    }
    page = report(model)
    assert 'duplicate triple' in page
    assert '1,234' in page
    assert 'line 3 &lt;i&gt;' in page


def test_thumbnails(tmp_path: Path) -> None:
    from PIL import Image

    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no')
    good = tmp_path / 'good.png'
    Image.new('RGBA', (400, 30)).save(good)
    assert thumbnail([str(bad), str(tmp_path / 'none')]) is None
    assert thumbnail([]) is None
    found = thumbnail([str(bad), str(good)])
    assert found is not None
    assert found.startswith('data:image/jpeg;base64,')
    assert len(found) < 3000


def test_the_same_curves_are_the_same_bytes() -> None:
    curves = {'a': [(1.0, 2.0), (2.0, 3.0)], 'b': [(1.0, 1.0)]}
    assert plot(curves, 'x', 'y') == plot(curves, 'x', 'y')
    assert plot(curves, 'x', 'y').startswith('<svg')


def test_no_model_no_report(tmp_path: Path) -> None:
    done = command('report', tmp_path)
    assert done.exit_code == 1
    assert 'holds no model.json' in done.output


def test_without_matplotlib(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(ImportError, match=r'dsom_pyg\[plots\]'):
        report(Completer.load(run), run)
