import errno
import os
import pickle
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.transforms import (
    BaseTransform,
    Compose,
    NormalizeFeatures,
)

from dsom_pyg.datasets import MultimodalDataset, save_features
from dsom_pyg.datasets.base import RawGraph
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.graph import check_modality
from dsom_pyg.encoders import open_image
from dsom_pyg.graph import (
    Triples,
    fingerprint,
    get_split,
    make_data,
    modalities,
    pool_features,
)
from dsom_pyg.kg import KG
from dsom_pyg.teachers import TeacherEnsemble
from dsom_pyg.training import Loop, TeachersTask, fit

Refusing = Callable[[Path, int], AbstractContextManager[None]]


class Lengths:
    """Encodes an item as its length, and counts its calls."""

    def __init__(self, name: str = 'lengths', factor: float = 1.0) -> None:
        self.name = name
        self.out_channels = 2
        self.factor = factor
        self.calls = 0

    def __call__(self, items: Sequence[Any]) -> Tensor:
        self.calls += 1
        rows = [[len(str(item)), 1.0] for item in items]
        return self.factor * torch.tensor(rows, dtype=torch.float64)


class Returns:
    def __init__(self, make: Callable[[int], Any]) -> None:
        self.name = 'returns'
        self.out_channels = 2
        self.make = make

    def __call__(self, items: Sequence[Any]) -> Any:
        return self.make(len(items))


class Toy(MultimodalDataset):
    reads = 0

    def read(self) -> RawGraph:
        type(self).reads += 1
        image = (self.folder or Path()) / 'b.png'
        if self.folder:
            image.write_bytes(b'an image')
        train = Triples(torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 0]))
        test = Triples(torch.tensor([[0], [2]]), torch.tensor([0]))
        return RawGraph(
            make_data(3, 1, train, None, test),
            ['α', 'b', 'c'],
            ['r'],
            [['four', 'sixsix'], [], ['a']],
            [[], [image], []],
            described=[True, False, False],
            extra={'kinds': [1, 2, 3]},
        )


class Still(Toy):
    """Reads, and writes nothing itself."""

    def read(self) -> RawGraph:
        folder, self.folder = self.folder, None
        try:
            raw = super().read()
        finally:
            self.folder = folder
        raw.entity_images = [[], [], []]
        return raw


def files(root: Path) -> list[str]:
    """The processed files, and whatever does not belong there."""
    found = (path for path in root.rglob('*') if path.is_file())
    return sorted(
        path.name
        for path in found
        if 'features' not in path.parts and path.name != 'b.png'
    )


@pytest.fixture(autouse=True)
def count_reads() -> None:
    Toy.reads = 0


@pytest.mark.parametrize('reload', [False, True])
def test_what_it_holds(tmp_path: Path, reload: bool) -> None:
    if reload:
        Toy(tmp_path, image_encoder=Lengths(), text_encoder=Lengths())
    dataset = Toy(tmp_path, image_encoder=Lengths(), text_encoder=Lengths())
    assert Toy.reads == 1
    assert dataset.entity_names == ['α', 'b', 'c']
    assert dataset.relation_names == ['r']
    assert dataset.entity_texts == [['four', 'sixsix'], [], ['a']]
    assert (dataset.num_entities, dataset.num_relations) == (3, 1)
    assert dataset.coverage() == {
        'image': 1 / 3,
        'text': 2 / 3,
        'description': 1 / 3,
    }
    data = dataset[0]
    assert data['entity'].num_nodes == 3
    assert get_split(data, 'train').edge_index.tolist() == [[0, 1], [1, 2]]
    assert get_split(data, 'val').edge_index.shape == (2, 0)
    assert get_split(data, 'test').edge_index.tolist() == [[0], [2]]
    assert modalities(data) == ['image', 'text']
    assert data['text'].x.tolist() == [[4, 1], [6, 1], [1, 1]]
    assert data['text'].x.dtype == torch.float32
    edge_index = data['text', 'describes', 'entity'].edge_index
    assert edge_index.tolist() == [[0, 1, 2], [0, 0, 2]]
    edge_index = data['image', 'depicts', 'entity'].edge_index
    assert edge_index.tolist() == [[0], [1]]
    assert len(dataset.findings) == 0
    pooled, present = pool_features(data, 'text')
    assert pooled.tolist() == [[5, 1], [0, 0], [1, 1]]
    assert present.tolist() == [True, False, True]


def test_without_encoders_there_are_no_features(tmp_path: Path) -> None:
    data = Toy(tmp_path)[0]
    assert modalities(data) == []
    assert data.node_types == ['entity']


def test_stored_once_and_read_back(tmp_path: Path) -> None:
    encoder = Lengths()
    first = Toy(tmp_path, text_encoder=encoder)
    again = Toy(str(tmp_path), text_encoder=encoder)
    assert (Toy.reads, encoder.calls) == (1, 1)
    assert fingerprint(first[0]) == fingerprint(again[0])
    Toy(tmp_path, text_encoder=encoder, force_reload=True)
    assert (Toy.reads, encoder.calls) == (2, 2)
    assert len(files(tmp_path)) == 1


def test_another_encoder_has_another_file(tmp_path: Path) -> None:
    one = Toy(tmp_path, text_encoder=Lengths('one/a'))
    two = Toy(tmp_path, text_encoder=Lengths('two', factor=2.0))
    assert not torch.equal(one[0]['text'].x, two[0]['text'].x)
    assert len(files(tmp_path)) == 2
    assert any('text_one_a' in name for name in files(tmp_path))
    # The same name at another modality, or at another width, is another one.
    Toy(tmp_path, image_encoder=Lengths('two'))
    wide = Lengths('two')
    wide.out_channels = 3
    with pytest.raises(DatasetError, match='shape'):
        Toy(tmp_path, text_encoder=wide)
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda n: torch.zeros(n - 1, 2), r'\[3, 2\] for 3 items.* \[2, 2\]'),
        (lambda n: torch.zeros(n, 3), r'\[3, 2\] .* got .*\[3, 3\]'),
        (lambda n: torch.zeros(n), r'\[3, 2\] .* got .*\[3\]'),
        (lambda n: [[0.0, 0.0]] * n, 'got list'),
        (lambda n: torch.zeros(n, 2, dtype=torch.long), 'int64'),
        (
            lambda n: torch.tensor([[0, 0], [0, torch.nan], [0, 0]]),
            "non-finite feature for 'sixsix'",
        ),
        (lambda n: torch.full((n, 2), torch.inf), "non-finite .* 'four'"),
    ],
)
def test_bad_encoder_output(
    tmp_path: Path, make: Callable[[int], Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=f"'returns'.*{message}"):
        Toy(tmp_path, text_encoder=Returns(make))
    assert files(tmp_path) == []


def test_nothing_to_encode(tmp_path: Path) -> None:
    class Bare(Toy):
        def read(self) -> RawGraph:
            raw = super().read()
            raw.entity_images = [[], [], []]
            return raw

    with pytest.raises(DatasetError, match='pass image_encoder=None'):
        Bare(tmp_path, image_encoder=Lengths())


class Opens(Lengths):
    """An encoder that needs real images."""

    def __call__(self, items: Sequence[Any]) -> Tensor:
        for item in items:
            open_image(item)
        return super().__call__(items)


@pytest.mark.parametrize('reload', [False, True])
def test_an_unreadable_image_is_a_missing_one(
    tmp_path: Path, reload: bool
) -> None:
    class Photos(Toy):
        def read(self) -> RawGraph:
            raw = super().read()
            good = Path(self.root) / 'good.png'
            Image.new('RGB', (4, 4)).save(good)
            bad = raw.entity_images[1][0]
            raw.entity_images = [[bad], [bad, good], []]
            return raw

    with pytest.warns(UserWarning, match='2 of 3 images cannot be read'):
        dataset = Photos(tmp_path, image_encoder=Opens())
    if reload:
        dataset = Photos(tmp_path, image_encoder=Opens())
    edge_index = dataset[0]['image', 'depicts', 'entity'].edge_index
    assert edge_index.tolist() == [[0], [1]]
    assert dataset.coverage()['image'] == 1 / 3
    assert dataset.findings.counts == {'unreadable image': 2}
    for finding in dataset.findings:
        assert finding.file == str(tmp_path / 'b.png')

    class Broken(Toy):
        pass

    # Not one of them: a modality that every entity lacks.
    with pytest.warns(UserWarning, match='1 of 1 images cannot be read'):
        dataset = Broken(tmp_path, image_encoder=Opens())
    data = dataset[0]
    x, present = pool_features(data, 'image')
    assert x.shape == (3, 2)
    assert not present.any()
    teachers = TeacherEnsemble.from_features({'image': (x, present)}, 3, 1, 4)
    fit(TeachersTask(teachers), data, Loop(epochs=1), progress=False)
    assert (
        teachers['image']
        .score_tails(torch.arange(3), torch.zeros(3, dtype=torch.long))
        .isfinite()
        .all()
    )


def test_features_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'audio.safetensors'
    save_features(path, torch.tensor([[1.0, 2], [3, 4]]), ['c', 'α'])
    dataset = Toy(tmp_path, features={'audio': path})
    data = dataset[0]
    assert modalities(data) == ['audio']
    x, present = pool_features(data, 'audio')
    assert x.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert present.tolist() == [True, False, True]
    assert dataset.coverage()['audio'] == 2 / 3
    # Other features at the same path make another graph.
    save_features(path, torch.tensor([[5.0]]), ['b'])
    x, _ = pool_features(Toy(tmp_path, features={'audio': path})[0], 'audio')
    assert x.tolist() == [[0], [5], [0]]
    with pytest.raises(ValueError, match="'text' has an encoder and a"):
        Toy(tmp_path, text_encoder=Lengths(), features={'text': path})


def test_names_beside_a_feature_file_count(tmp_path: Path) -> None:
    path = tmp_path / 'audio.npy'
    np.save(path, np.eye(3))
    names = tmp_path / 'audio.names.txt'
    for order in (['α', 'b', 'c'], ['c', 'b', 'α']):
        names.write_text('\n'.join(order))
        data = Toy(tmp_path, features={'audio': path})[0]
        x, _ = pool_features(data, 'audio')
        assert x[0].argmax() == order.index('α')


def test_texts_are_not_in_the_header_whose_size_is_limited(
    tmp_path: Path,
) -> None:
    class Long(Toy):
        def read(self) -> RawGraph:
            raw = super().read()
            raw.entity_texts = [['x' * 10_000], ['ü\ud83d' * 500], ['y']]
            return raw

    Long(tmp_path)
    (path,) = (tmp_path / 'processed').iterdir()
    # A safetensors file begins with the size of its header, at most 100 MB.
    assert int.from_bytes(path.read_bytes()[:8], 'little') < 3_000
    texts = [['x' * 10_000], ['ü\ud83d' * 500], ['y']]
    assert Long(tmp_path).entity_texts == texts
    assert Toy.reads + Long.reads == 1


def test_names_must_fit_the_graph(tmp_path: Path) -> None:
    class Short(Toy):
        def read(self) -> RawGraph:
            raw = super().read()
            raw.entity_texts.pop()
            return raw

    with pytest.raises(DatasetError, match='entity_texts has 2 entries'):
        Short(tmp_path)
    assert files(tmp_path) == []


def test_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, name: str, header: object) -> None:
        Path(name).write_bytes(b'half')
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr('dsom_pyg.files.save_file', full)
        with pytest.raises(OSError, match='disk full'):
            Toy(tmp_path)
    assert files(tmp_path) == []
    Toy(tmp_path)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize('keep', [0, 100, -10])
def test_damaged_file_says_what_to_do(tmp_path: Path, keep: int) -> None:
    Toy(tmp_path)
    (path,) = (tmp_path / 'processed').iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match='force_reload=True'):
        Toy(tmp_path)
    assert Toy(tmp_path, force_reload=True).num_entities == 3


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ('a pickle was read',)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    folder = tmp_path / 'processed'
    folder.mkdir()
    for name in ('pre_transform.pt', 'pre_filter.pt', 'data.pt'):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert Toy(tmp_path).num_entities == 3
    assert Toy(tmp_path).num_entities == 3


class Abbreviated(int):
    def __repr__(self) -> str:
        return '[0, 1, ..., 99]'


@dataclass
class AddNumber:
    start: Any = 0

    def __call__(self, data: HeteroData) -> HeteroData:
        data['entity'].number = torch.arange(3) + self.start
        data['entity'].label = 'numbered'
        data.note = 7
        return data


def test_pre_transform_is_stored_apart(tmp_path: Path) -> None:
    Toy(tmp_path)
    for start in (0, 5, 0):
        data = Toy(tmp_path, pre_transform=AddNumber(start))[0]
        assert data['entity'].number[0] == start
        assert data['entity'].label == 'numbered'
        assert data.note == 7
    assert 'number' not in Toy(tmp_path)[0]['entity']
    assert Toy.reads == 3


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        # The transforms of PyG say nothing but their names.
        (NormalizeFeatures(), NormalizeFeatures(attrs=['y'])),
        (Compose([NormalizeFeatures()]), Compose([NormalizeFeatures(['y'])])),
        # Rounded, or abbreviated, both would be the same.
        (
            AddNumber(torch.tensor([0.00116, 1, 1])),
            AddNumber(torch.tensor([0.00124, 1, 1])),
        ),
        (
            AddNumber(torch.zeros(2000, 1)),
            AddNumber(torch.zeros(2000, 1).index_fill(0, torch.tensor(9), 1)),
        ),
    ],
)
def test_steps_of_other_settings_are_stored_apart(
    one: Any, other: Any, tmp_path: Path
) -> None:
    for step in (one, other, one):
        stored = Toy(tmp_path, text_encoder=Lengths(), pre_transform=step)[0]
        right = Toy(None, text_encoder=Lengths(), pre_transform=step)[0]
        assert torch.equal(stored['text'].x, right['text'].x)
        a, b = (x['entity'].get('number') for x in (stored, right))
        assert a is b is None or torch.equal(a, b)
    # Twice each without a folder, once each with it.
    assert Toy.reads == 5


def test_pre_transform_must_be_storable(tmp_path: Path) -> None:
    class AddList(BaseTransform):
        def forward(self, data: HeteroData) -> HeteroData:
            data['entity'].names = ['a', 'b', 'c']
            return data

    with pytest.raises(DatasetError, match=r"'names' of entity.* list"):
        Toy(tmp_path, pre_transform=AddList())
    assert files(tmp_path) == []


def test_transform_at_access(tmp_path: Path) -> None:
    dataset = Toy(tmp_path, transform=AddNumber())
    assert 'number' in dataset[0]['entity']
    assert 'number' not in Toy(tmp_path)[0]['entity']


def test_without_root_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = Toy(None, text_encoder=Lengths(), pre_transform=AddNumber())
    assert dataset[0]['entity'].label == 'numbered'
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'step',
    [
        lambda data: data,
        partial(AddNumber.__call__, AddNumber(0)),
        Compose([AddNumber(0), lambda data: data]),
        # Abbreviated, as another one would be.
        AddNumber(Abbreviated(3)),
    ],
)
def test_a_step_without_a_repr_is_refused(tmp_path: Path, step: Any) -> None:
    with pytest.raises(TypeError, match='__repr__ that tells its settings'):
        Toy(tmp_path, pre_transform=step)
    assert Toy.reads == 0
    # Nothing is stored, so nothing can be mistaken for it.
    assert Toy(None, pre_transform=step)[0]['entity'].num_nodes == 3


@pytest.mark.parametrize('encoder', ['bert', Lengths, 5])
def test_no_encoder(encoder: Any) -> None:
    with pytest.raises(TypeError, match='text_encoder must be callable'):
        Toy(None, text_encoder=encoder)


@pytest.mark.parametrize(
    'name',
    [
        *('entity', 'relation', 'describes', 'depicts', 'description'),
        *('structure', 'joint', 'keys', 'items', 'to', 'train'),
        *('', 'a.b', 'a\x1b[2J', 5),
    ],
)
def test_names_that_are_taken(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match=r'give the modality another name'):
        Toy(None, features={name: tmp_path / 'x.npy'})
    assert Toy.reads == 0


def test_what_teachers_refuse_is_refused_at_the_door() -> None:
    x = torch.ones(3, 2), torch.ones(3).bool()
    names = [*dir(nn.ModuleDict()), 'structure', 'joint', '', '.', 'a.b']
    for name in names:
        with pytest.raises(ValueError, match='rename the modality'):
            TeacherEnsemble.from_features({name: x}, 3, 1, 2, joint=True)
        with pytest.raises(ValueError, match='another name'):
            check_modality(name)


def test_every_other_name_reaches_its_teacher(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    save_features(path, torch.eye(3), ['α', 'b', 'c'])
    names = ['audio', 'audio 2', 'a/b', 'Text', 'rev_relation']
    names += ['x', 'edge_index', 'num_nodes', 'Ω', 'test', 'a-b', '_', 'mean']
    options: dict[str, Any] = {
        'image_encoder': Lengths(),
        'text_encoder': Lengths(),
        'features': dict.fromkeys(names, path),
    }
    for _ in range(2):  # as built, and as stored
        view = KG(Toy(tmp_path, **options)[0])
        assert view.modalities == ['image', 'text', *names]
        for name in names:
            x, present = view.features[name]
            assert torch.equal(x, torch.eye(3))
            assert present.all()
        ensemble = TeacherEnsemble.from_features(
            view.features, 3, 1, 2, joint=True
        )
        wanted = {'structure', 'joint', 'image', 'text', *names}
        assert set(ensemble.modalities) == wanted
    assert Toy.reads == 1


class Never(Lengths):
    def __call__(self, items: Any) -> Tensor:
        raise AssertionError


class Sounds(Toy):
    """A graph that brings stores of its own."""

    def read(self) -> RawGraph:
        raw = super().read()
        raw.data['sound'].x = torch.ones(1, 2)
        ends = torch.zeros(2, 1).long()
        raw.data['sound', 'heard', 'entity'].edge_index = ends
        raw.data.note, raw.data.matrix = 7, torch.ones(2)
        return raw


@pytest.mark.parametrize('name', ['sound', 'heard', 'note', 'matrix'])
def test_names_that_the_graph_brings(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'x.safetensors'
    save_features(path, torch.ones(1, 2), ['α'])
    with pytest.raises(ValueError, match=f'uses the name {name!r} already'):
        Sounds(None, text_encoder=Never(), features={name: path})
    # The others have room beside them.
    data = Sounds(None, features={'audio': path})[0]
    assert modalities(data) == ['sound', 'audio']
    assert data['sound'].x.shape == (1, 2)


def test_an_encoder_of_what_the_graph_brings() -> None:
    class Drawn(Toy):
        def read(self) -> RawGraph:
            raw = super().read()
            raw.data['text'].x = torch.ones(1, 2)
            return raw

    with pytest.raises(ValueError, match="uses the name 'text' already"):
        Drawn(None, text_encoder=Never())


def test_features_of_no_entity_are_told(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    save_features(path, torch.zeros(2, 2), ['α', 'b'])
    told = "no teacher sees the features of 'audio': no entity has any"
    with pytest.warns(UserWarning, match=told):
        dataset = Toy(tmp_path, features={'audio': path})
    assert dataset.coverage()['audio'] == 0
    assert dataset.findings.counts['unseen features'] == 1
    assert told in str(dataset.findings)


@pytest.mark.usefixtures('only_files')
def test_pipes_in_the_place_of_files(tmp_path: Path) -> None:
    Still(tmp_path)
    (path,) = (tmp_path / 'processed').iterdir()
    path.unlink()
    os.mkfifo(path)
    assert Still(tmp_path).num_entities == 3
    assert path.is_file()
    os.mkfifo(tmp_path / 'x.npy')
    with pytest.raises(DatasetError, match='is missing'):
        Still(tmp_path, features={'audio': tmp_path / 'x.npy'})


@dataclass
class WithoutFeatures:
    def __call__(self, data: HeteroData) -> HeteroData:
        del data['text'].x
        return data


def test_features_that_a_step_takes_away_are_told() -> None:
    with pytest.warns(UserWarning, match="'text': pre_transform took them"):
        dataset = Toy(
            None, text_encoder=Lengths(), pre_transform=WithoutFeatures()
        )
    assert dataset.findings.counts == {'unseen features': 1}


def paths_and_times(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob('*')}


@pytest.mark.parametrize('number', [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_may_not_be_written(
    tmp_path: Path, refusing: Refusing, number: int
) -> None:
    encoder = Lengths()
    with refusing(tmp_path, number):
        with pytest.warns(UserWarning, match='may not be') as told:
            bare = Still(tmp_path)
        (only,) = told
        assert f"'{tmp_path / 'processed'}' may not be" in str(only.message)
        assert os.strerror(number) in str(only.message)
        assert bare.num_entities == 3
        with pytest.warns(UserWarning, match='may not be') as told:
            dataset = Still(tmp_path, text_encoder=encoder)
        assert [
            word
            for each in told
            for word in ('features are', 'the graph is')
            if word in str(each.message)
        ] == ['features are', 'the graph is']
        assert dataset[0]['text'].x.tolist() == [[4, 1], [6, 1], [1, 1]]
        assert list(tmp_path.iterdir()) == []
    # What was stored before is used.
    Still(tmp_path, text_encoder=encoder)
    before = paths_and_times(tmp_path)
    with refusing(tmp_path, number):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            Still(tmp_path, text_encoder=encoder)
        with pytest.warns(UserWarning, match='the graph is not stored'):
            Still(tmp_path, text_encoder=encoder, pre_transform=AddNumber())
        assert encoder.calls == 2
        # Not what is stored, if everything is to be made again.
        double = Lengths(factor=2)
        with pytest.warns(UserWarning, match='may not be written'):
            again = Still(tmp_path, text_encoder=double, force_reload=True)
        assert again[0]['text'].x.tolist() == [[8, 2], [12, 2], [2, 2]]
    assert paths_and_times(tmp_path) == before


def test_a_full_disk_is_no_folder_that_may_not_be_written(
    tmp_path: Path, refusing: Refusing
) -> None:
    for options in ({}, {'text_encoder': Lengths()}):
        with (
            refusing(tmp_path, errno.ENOSPC),
            pytest.raises(OSError, match='No space left'),
        ):
            Still(tmp_path, **options)  # type: ignore[arg-type]


def test_feature_files_are_read_before_anything_is_encoded(
    tmp_path: Path,
) -> None:
    with pytest.raises(DatasetError, match='is missing'):
        Toy(None, text_encoder=Never(), features={'a': tmp_path / 'x.npy'})


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b'caf\xe9')
    try:
        root.mkdir()
    except OSError:
        pytest.skip('this file system has UTF-8 names only')
    for count in (1, 2):
        with pytest.warns(UserWarning, match='not UTF-8.*each time'):
            assert len(Toy(root, text_encoder=Lengths())[0]['text'].x)
        assert Toy.reads == count
