"""Datasets and encoders by the words of a command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dsom_pyg.cli import source
from dsom_pyg.cli.main import app
from dsom_pyg.cli.source import dataset_of, encoder_of, features_of
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.encoders import ImageStatistics, TfidfText


def test_light_encoders() -> None:
    assert encoder_of('text', 'none') is None
    assert isinstance(encoder_of('text', 'tfidf'), TfidfText)
    assert isinstance(encoder_of('image', 'statistics'), ImageStatistics)
    with pytest.raises(ValueError, match="tfidf takes no model, got 'x'"):
        encoder_of('text', 'tfidf:x')
    with pytest.raises(ValueError, match="'vitt'; did you mean 'vit'"):
        encoder_of('image', 'vitt')


def test_models_of_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*words: Any, **options: Any) -> Any:
        return words, options

    monkeypatch.setitem(source.ENCODERS['text'], 'sbert', make)
    said = {'device': 'cuda', 'progress': False}
    assert encoder_of('text', 'sbert', 'cuda') == ((), said)
    made: Any = encoder_of('text', 'sbert:some/model:2', 'cuda')
    assert made == (('some/model:2',), said)


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    def kinds(*words: Any) -> set[str]:
        return set(dataset_of(str(folder), tmp_path, *words)[0].node_types)

    # What there is gets an encoder that needs no network.
    assert kinds() == {'entity', 'text', 'image'}
    assert kinds('none') == {'entity', 'image'}
    path = tmp_path / 'sound.npy'
    np.save(path, np.ones((5, 3), dtype=np.float32))
    names = ['MV Auk', 'MV Brent', 'MV Dunlin', 'MV Eider', 'MV Gull']
    (tmp_path / 'sound.names.txt').write_text('\n'.join(names))
    files = features_of([f'sound={path}'])
    assert kinds('none', 'none', files) == {'entity', 'sound'}
    with pytest.raises(ValueError, match="'sound' names no features"):
        features_of(['sound'])
    with pytest.raises(ValueError, match=r"'DB15k' is neither .*'DB15K'\?"):
        dataset_of('DB15k', tmp_path)


def test_columns_are_told(tmp_path: Path) -> None:
    rows = [f'{at}\t{at * 7 % 30}\t{at % 3}\n' for at in range(30)]
    (tmp_path / 'triples.tsv').write_text(''.join(rows))
    dataset = dataset_of(str(tmp_path), Path('datasets'), columns='htr')
    assert dataset.num_relations == 3
    with pytest.raises(ValueError, match='told of a folder, not of Countries'):
        dataset_of('Countries', Path('datasets'), columns='htr')
    with pytest.raises(ValueError, match="got 'hh'"):
        dataset_of(str(tmp_path), Path('datasets'), columns='hh')


@pytest.mark.parametrize('word', ['images', 'texts', 'more_texts'])
def test_files_of_benchmarks(word: str, tmp_path: Path) -> None:
    (tmp_path / 'triples.tsv').write_text('a\tr\tb\n')
    given: dict[str, Any] = {word: word == 'more_texts' or 'texts.tsv'}
    for other in (str(tmp_path), 'Countries'):
        with pytest.raises(ValueError, match=f'{word} are files of a bench'):
            dataset_of(other, Path('datasets'), **given)
    if word == 'more_texts':
        with pytest.raises(DatasetError, match='no further texts of MKG_Y'):
            dataset_of('MKG_Y', tmp_path / 'none', **given)
        with pytest.raises(ValueError, match="true or false, got 'no'"):
            dataset_of('DB15K', tmp_path / 'none', more_texts='no')  # type: ignore[arg-type]
        return
    # Those of a benchmark are looked for before anything is downloaded.
    with pytest.raises(DatasetError, match=f"{word}='texts.tsv' is n"):
        dataset_of('DB15K', tmp_path / 'none', **given)


def test_more_texts_of_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line and from a file of settings, as one is asked."""
    asked: list[dict[str, Any]] = []

    def made(root: Path, **options: Any) -> None:
        asked.append(options)
        raise ValueError('seen')

    monkeypatch.setattr('dsom_pyg.datasets.DB15K', made)
    config = tmp_path / 'run.toml'
    config.write_text('more_texts = true\n')
    run = CliRunner().invoke
    for words, found in (
        (['encode', 'DB15K'], None),
        (['encode', 'DB15K', '--more-texts'], True),
        (['train', 'DB15K'], None),
        (['train', 'DB15K', '--more-texts'], True),
        (['train', 'DB15K', '--config', str(config)], True),
        (['train', 'DB15K', '--set', 'more_texts=false'], False),
    ):
        done = run(app, [*words, '--root', str(tmp_path)])
        assert 'seen' in done.stderr
        assert asked[-1].get('more_texts') is found
