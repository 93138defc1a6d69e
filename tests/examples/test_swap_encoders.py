"""Encoders swapped by name, as a reader would."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'examples' / 'swap_encoders.py'


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    def run(*words: str) -> list[str]:
        monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
        monkeypatch.setattr(sys, 'argv', ['swap_encoders.py', *words])
        runpy.run_path(str(SCRIPT), run_name='__main__')
        return capsys.readouterr().out.splitlines()

    return run


def test_without_downloads(run) -> None:
    lines = run('--epochs', '1')
    starts = ('text  letter-triples-256', 'text  tfidf-', 'image image-stat')
    shapes = (r'\[\d{4}, 256\]', r'\[\d{4}, 128\]', r'\[\d{3}, 144\]')
    assert len(lines) == 3
    for line, start, shape in zip(lines, starts, shapes, strict=True):
        assert line.startswith(start)
        mrr = re.search(rf'{shape} +MRR (\d+\.\d\d)', line)
        assert mrr
        assert float(mrr[1]) > 0.5  # features are worth something


def test_by_name_and_folder(run, tmp_path: Path) -> None:
    transformers = pytest.importorskip('transformers')
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
    )
    folder = tmp_path / 'my-vit'
    transformers.ViTModel(config).save_pretrained(folder)
    size = {'height': 32, 'width': 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    words = ('--image-encoder', 'vit', '--image-model', str(folder))
    (line,) = run(*words, '--epochs', '1')
    assert re.match(r'image vit-my-vit-cls-\S+ +\[\d+, 16\] +MRR', line)


def test_unknown_name(run) -> None:
    with pytest.raises(SystemExit):
        run('--text-encoder', 'elmo')
