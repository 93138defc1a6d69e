import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from dsom_pyg.datasets import Countries, countries
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.encoders import ImageStatistics
from dsom_pyg.graph import SPLITS, get_split, pool_features
from dsom_pyg.query_index import QueryIndex

FILES = {
    'entities.tsv': 'Norway\tcountry\nOslo\tcity\nSweden\tcountry\n',
    'relations.tsv': 'borders\ncapital\n',
    'train.tsv': 'Norway\tcapital\tOslo\nNorway\tborders\tSweden\n',
    'val.tsv': 'Sweden\tborders\tNorway\n',
    'test.tsv': '',
    'texts.tsv': 'Oslo\tby a fjord\nNorway\tin the north\nOslo\tlarge\n',
    'images.tsv': 'Norway\timages/NO.png\n',
}


class Recorder:
    name = 'recorder'
    out_channels = 1

    def __init__(self) -> None:
        self.items: list[object] = []

    def __call__(self, items: Sequence[object]) -> Tensor:
        self.items = list(items)
        return torch.arange(1.0, len(items) + 1)[:, None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / 'files'
    (path / 'images').mkdir(parents=True)
    for name, content in FILES.items():
        (path / name).write_text(content, encoding='utf-8')
    (path / 'images' / 'NO.png').write_bytes(b'png')
    monkeypatch.setattr(countries, 'data_folder', lambda: path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return path


def test_reads_its_files(folder: Path) -> None:
    images, texts = Recorder(), Recorder()
    dataset = Countries(image_encoder=images, text_encoder=texts)
    assert dataset.entity_names == ['Norway', 'Oslo', 'Sweden']
    assert dataset.entity_kinds == ['country', 'city', 'country']
    assert dataset.relation_names == ['borders', 'capital']
    assert dataset.entity_texts == [
        ['in the north'],
        ['by a fjord', 'large'],
        [],
    ]
    assert dataset.coverage() == {'image': 1 / 3, 'text': 2 / 3}
    assert images.items == [folder / 'images' / 'NO.png']
    data = dataset[0]
    assert get_split(data, 'train').edge_index.tolist() == [[0, 0], [1, 2]]
    assert get_split(data, 'train').edge_type.tolist() == [1, 0]
    assert get_split(data, 'val').edge_index.tolist() == [[2], [0]]
    assert pool_features(data, 'text')[0].tolist() == [[1.0], [2.5], [0.0]]


def test_processed_in_the_cache_of_the_user(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Countries(image_encoder=None, text_encoder=None)
    place = tmp_path / 'cache' / 'dsom_pyg' / 'Countries' / 'processed'
    assert len(list(place.iterdir())) == 1
    Countries(tmp_path / 'root', image_encoder=None, text_encoder=None)
    assert len(list((tmp_path / 'root' / 'processed').iterdir())) == 1
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    expected = tmp_path / 'home' / '.cache' / 'dsom_pyg'
    assert countries.cache_folder() == expected


@pytest.mark.parametrize('name', ['texts.tsv', 'images/NO.png'])
def test_changed_files_are_read_again(folder: Path, name: str) -> None:
    first = Countries(image_encoder=None, text_encoder=Recorder())
    assert len(list(Path(first.processed_dir).iterdir())) == 1
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b'fjord', b'river') + b'\n')
    if name == 'texts.tsv':
        path.write_bytes(path.read_bytes().rstrip() + b'\n')
        again = Countries(image_encoder=None, text_encoder=Recorder())
        assert again.entity_texts[1][0] == 'by a river'
    else:
        again = Countries(image_encoder=None, text_encoder=Recorder())
    assert len(list(Path(again.processed_dir).iterdir())) == 2


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        (
            'train.tsv',
            'Norway\tcapital\tOslo\nNorway\tcapitol\tOslo\n',
            r"train\.tsv:2: unknown relation 'capitol'; .* 'capital'",
        ),
        ('val.tsv', 'Norge\tborders\tSweden\n', r"val\.tsv:1: .* 'Norge'"),
        ('texts.tsv', 'Osla\tx\n', r"texts\.tsv:1: .* 'Osla'; .* 'Oslo'"),
        ('images.tsv', 'Oslo\n', r'images\.tsv:1: expected 2 columns'),
        ('entities.tsv', 'a\tb\na\tc\n', r"entities\.tsv:2: 'a' comes"),
        ('relations.tsv', 'x\nx\n', r"relations\.tsv:2: 'x' comes"),
    ],
)
def test_bad_files(
    folder: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (folder / name).write_text(content, encoding='utf-8')
    with pytest.raises(DatasetError, match=message):
        Countries(tmp_path / 'root', image_encoder=None, text_encoder=None)
    assert not list((tmp_path / 'root').rglob('*.safetensors'))


def test_installed_files_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / 'countries_probe'
    package.mkdir()
    (package / 'entities.tsv').touch()
    monkeypatch.setattr(countries, 'PACKAGE', 'countries_probe')
    checkout = Path(countries.__file__).parents[2] / 'datasets' / 'Countries'
    assert countries.data_folder() == checkout
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    assert countries.data_folder() == package


def test_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(countries, 'PACKAGE', 'countries_probe')
    here = tmp_path / 'site' / 'dsom_pyg' / 'datasets' / 'countries.py'
    monkeypatch.setattr(countries, '__file__', str(here))
    with pytest.raises(DatasetError, match=r'files .* are missing'):
        countries.data_folder()


def test_the_bundled_graph(tmp_path: Path) -> None:
    dataset = Countries(tmp_path, image_encoder=None, text_encoder=None)
    data = dataset[0]
    assert 1_500 <= dataset.num_entities <= 3_000
    parts = [get_split(data, split) for split in SPLITS]
    assert 5_000 <= sum(len(part.edge_type) for part in parts) <= 15_000
    train, val, test = parts
    assert torch.isin(val.edge_index, train.edge_index).all()
    assert torch.isin(test.edge_index, train.edge_index).all()
    # No triple comes twice, within a split or across splits.
    indexes = [QueryIndex(part) for part in parts]
    both = torch.cat([part.edge_index for part in parts], dim=1)
    rels = torch.cat([part.edge_type for part in parts])
    whole = QueryIndex(type(train)(both, rels))
    assert len(rels) == sum(len(index.tail) for index in indexes)
    assert len(rels) == len(whole.tail)
    names, kinds = dataset.entity_names, dataset.entity_kinds
    assert kinds[names.index('Norway')] == 'country'
    assert 'capital' in dataset.relation_names
    coverage = dataset.coverage()
    assert 0 < coverage['image'] < 1
    assert 0 < coverage['text'] < 1


def test_default_encoders(folder: Path) -> None:
    Image.new('RGB', (4, 4)).save(folder / 'images' / 'NO.png')
    dataset = Countries()
    data = dataset[0]
    assert data['text'].x.size(1) == 128
    assert data['image'].x.size(1) == ImageStatistics().out_channels
    for name in ('image', 'text'):
        _, present = pool_features(data, name)
        share = present.float().mean().item()
        assert share == pytest.approx(dataset.coverage()[name])


def test_an_encoder_has_no_name_of_its_own() -> None:
    with pytest.raises(TypeError, match=r"text_encoder .* got 'bert'"):
        Countries(text_encoder='bert')  # type: ignore[arg-type]
