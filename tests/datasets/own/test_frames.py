import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from dsom_pyg.audit import audit
from dsom_pyg.datasets import Countries, FakeMMKG, MultimodalDataset
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.own.base import LabeledGraph
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.datasets.own.frames import (
    from_networkx,
    from_pandas,
    to_networkx,
)
from dsom_pyg.datasets.own.table import Entry, Table, Triple
from dsom_pyg.encoders import ImageStatistics
from dsom_pyg.graph import EDGE, SPLITS, get_split, pool_features

Named = tuple[str, str, str]


class Lengths:
    name = 'lengths'
    out_channels = 1
    corpus_dependent = True

    def __call__(self, items: Sequence[Any]) -> Tensor:
        return torch.tensor([[float(len(str(item)))] for item in items])


def named(dataset: MultimodalDataset, split: str) -> list[Named]:
    part = get_split(dataset[0], split)
    names, rels = dataset.entity_names, dataset.relation_names
    return [
        (names[h], rels[r], names[t])
        for h, t, r in zip(
            *part.edge_index.tolist(), part.edge_type.tolist(), strict=True
        )
    ]


def ids(dataset: MultimodalDataset, split: str) -> set[tuple[int, ...]]:
    part = get_split(dataset[0], split)
    table = torch.cat([part.edge_index, part.edge_type[None]]).t().tolist()
    return {tuple(row) for row in table}


def frame(rows: list[tuple[Any, ...]], columns: list[str]) -> Any:
    return pytest.importorskip('pandas').DataFrame(rows, columns=columns)


def test_a_frame(tmp_path: Path) -> None:
    image = tmp_path / 'a.png'
    dataset = from_pandas(
        frame(
            [(5, 'x', 'in', 'b '), (6, 'b', 'in', 'c'), (7, 'x', 'in', 'b')],
            ['weight', 'Subject', 'predicate', 'object'],
        ),
        texts={'x': ['one', 'two'], 'c': 'three', 'b': None, 'z': 'four'},
        images={'b': image, 'c': [image, 'c.png']},
        names={'c': 'Cc'},
        text_encoder=Lengths(),
        split=(1, 0, 0),
    )
    assert dataset.entity_names == ['x', 'b', 'Cc']
    assert dataset.entity_keys == ['x', 'b', 'c']
    assert named(dataset, 'train') == [('x', 'in', 'b'), ('b', 'in', 'Cc')]
    assert dataset.entity_texts == [['one', 'two'], [], ['three']]
    here = Path.cwd()
    assert dataset.entity_images == [[], [image], [image, here / 'c.png']]
    assert pool_features(dataset[0], 'text')[0].tolist() == [[3], [0], [5]]
    assert dataset.findings.counts == {
        'unused column': 1,
        'duplicate triple': 1,
        'text of an unknown entity': 1,
    }


def test_the_first_three_columns_and_a_split() -> None:
    rows = [
        ('a', 'r', 1, 'train'),
        (1, 'r', 'a', 'TEST'),
        ('a', 'r', 'a', 'valid'),
    ]
    dataset = from_pandas(frame(rows, ['A', 'B', 'C', 'split']))
    assert [named(dataset, split) for split in SPLITS] == [
        [('a', 'r', '1')],
        [('a', 'r', 'a')],
        [('1', 'r', 'a')],
    ]
    # What has a split column is not drawn from.
    dataset = from_pandas(frame(rows[:1], ['A', 'B', 'C', 'Split']))
    assert [len(named(dataset, split)) for split in SPLITS] == [1, 0, 0]


def test_texts_as_series_and_frame() -> None:
    pandas = pytest.importorskip('pandas')
    triples = frame([('a', 'r', 'b'), ('b', 'r', 'a')], ['h', 'r', 't'])
    series = pandas.Series(['one', 'two', None], index=['a', 'a', 'b'])
    table = frame([('b', 'x.png'), ('a', None)], ['entity', 'image'])
    dataset = from_pandas(triples, series, table, split=(1, 0, 0))
    assert dataset.entity_texts == [['one', 'two'], []]
    assert dataset.entity_images == [[], [Path.cwd() / 'x.png']]


@pytest.mark.parametrize(
    ('columns', 'row'),
    [
        (['text', 'entity'], ('one', 'a')),
        (['Description', 'size', 'ID', 'name'], ('one', 5, 'a', None)),
        (['id', 'title', 'abstract'], ('Q1', 'a', 'one')),
        # Two columns are taken by their places.
        (['who', 'what'], ('a', 'one')),
        ([0, 1], ('a', 'one')),
    ],
)
def test_the_words_of_a_frame_of_texts(
    columns: list[str], row: tuple[Any, ...]
) -> None:
    triples = frame([('a', 'r', 'b'), ('b', 'r', 'a')], ['h', 'r', 't'])
    dataset = from_pandas(triples, frame([row], columns), split=(1, 0, 0))
    assert dataset.entity_texts == [['one'], []]


def test_the_words_of_frames_of_images_and_names() -> None:
    triples = frame([('a', 'r', 'b'), ('b', 'r', 'a')], ['h', 'r', 't'])
    dataset = from_pandas(
        triples,
        images=frame([('a.png', 'a')], ['image', 'entity']),
        names=frame([('Ay', 'a')], ['name', 'id']),
        split=(1, 0, 0),
    )
    assert dataset.entity_images[0] == [Path.cwd() / 'a.png']
    assert dataset.entity_names == ['Ay', 'b']
    with pytest.raises(
        DatasetError, match=r'row 0 of text: the label .* is missing'
    ):
        from_pandas(triples, frame([('x', None)], ['text', 'entity']))


def test_integers_that_became_floats() -> None:
    numpy = pytest.importorskip('numpy')
    rows = [(1, 7.0, 2.0), (numpy.float32(2), 7, 1), (1, 7, 0.5)]
    # Another column of objects keeps each cell as it is.
    table = frame(rows, ['head', 'relation', 'tail']).astype(object)
    table['relation'] = [7.0, 7, '7']
    dataset = from_pandas(table, {1.0: 'one'}, split=(1, 0, 0))
    assert dataset.entity_keys == ['1', '2', '0.5']
    assert dataset.relation_keys == ['7']
    assert dataset.entity_texts[0] == ['one']
    infinite = frame([(float('inf'), 'r', True)], ['h', 'r', 't'])
    assert from_pandas(infinite).entity_keys == ['inf', 'True']


def test_lone_surrogates_are_replaced() -> None:
    # pandas with pyarrow makes no column of strings of them.
    table = frame([('', '', 'b')], ['h', 'r', 't']).astype(object)
    table.loc[0] = ['a\ud800', 'r\ud800', 'b']
    dataset = from_pandas(
        table,
        {'b': 'one\udfff', 'a\ud800': ['two']},
        names={'b': '\ud800'},
    )
    assert dataset.entity_keys == ['a\ufffd', 'b']
    assert dataset.entity_names == ['a\ufffd', '\ufffd']
    assert dataset.relation_keys == ['r\ufffd']
    assert dataset.entity_texts == [['two'], ['one\ufffd']]
    graph = nx.MultiDiGraph(relations={'r\ud800': 'R\ud800'})
    graph.add_edge('a', 'b', 'r\ud800')
    # The name of a file may hold bytes that are no text.
    graph.nodes['a'].update(text='\ud800', image='/x/caf\udce9.jpg')
    again = from_networkx(graph)
    assert again.relation_keys == ['r\ufffd']
    assert again.relation_names == ['R\ufffd']
    assert again.entity_texts[0] == ['\ufffd']
    assert again.entity_images[0] == [Path('/x/caf\udce9.jpg')]


def test_images_elsewhere_than_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / 'root'
    (tmp_path / 'pictures').mkdir()
    for name in ('pictures/a.png', 'pictures/b.png', 'c.png'):
        Image.new('RGB', (2, 2)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    wanted = [[tmp_path / 'pictures/a.png', tmp_path / 'c.png'], []]
    for place in (root, None):
        table = Table(
            {'train': [Triple('a', 'r', 'x')]},
            images=[Entry(('a',), 'pictures/a.png'), Entry(('a',), 'c.png')],
        )
        dataset = LabeledGraph(table, place)
        assert dataset.entity_images == wanted
        again = from_networkx(to_networkx(dataset), root=place)
        assert again.entity_images == wanted
        table.images = []
        table.image_folder = Path('pictures')
        dataset = LabeledGraph(table, place)
        assert dataset.entity_images == [[tmp_path / 'pictures/a.png'], []]


@pytest.mark.usefixtures('only_files')
def test_images_that_are_no_files(tmp_path: Path) -> None:
    good = tmp_path / 'a.png'
    Image.new('RGB', (2, 2)).save(good)
    pipe = tmp_path / 'pipe.png'
    os.mkfifo(pipe)
    bad = [str(pipe), '/dev/zero', 'nul\0.png', 'x' * 300, '/proc/self/maps']
    rows = [('a', 'r', 'b'), ('b', 'r', 'a')]
    graph = nx.MultiDiGraph()
    graph.add_edges_from([(h, t, {'relation': r}) for h, r, t in rows])
    graph.nodes['a']['image'], graph.nodes['b']['images'] = str(good), bad
    triples = frame(rows, ['h', 'r', 't'])
    options: dict[str, Any] = {'image_encoder': ImageStatistics()}
    for place in (tmp_path / 'root', None):
        for make in (
            lambda **more: from_networkx(graph, **more),
            lambda **more: from_pandas(
                triples, images={'a': good, 'b': bad}, **more
            ),
        ):
            # Without an encoder nobody opens them.
            assert len(make(root=place).entity_images[1]) == 5
            with pytest.warns(UserWarning, match='5 of 6 images cannot be'):
                dataset = make(root=place, **options)
            assert dataset.findings.counts['unreadable image'] == 5
            assert dataset.coverage()['image'] == 0.5
            assert dataset[0]['image'].x.shape == (1, 144)
            report = audit(dataset)
            assert report['images'] == {'image files': 6, 'unreadable': 5}


def test_a_new_image_in_the_folder_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / 'images'
    folder.mkdir()
    table = Table({'train': [Triple('a', 'r', 'b')]}, image_folder=folder)
    root = tmp_path / 'root'
    assert LabeledGraph(table, root).entity_images == [[], []]
    image = folder / 'b.png'
    for size in (2, 3):
        Image.new('RGB', (size, size)).save(image)
        assert LabeledGraph(table, root).entity_images == [[], [image]]
    assert len(list((root / 'processed').iterdir())) == 3


@pytest.mark.parametrize('cell', [{'b', 'c'}, {'id': 'b'}, b'b'])
def test_what_has_no_name_of_its_own(cell: Any) -> None:
    pandas = pytest.importorskip('pandas')
    rows = [('a', 'r', 'b'), ('a', 'r', cell)]
    frame = pandas.DataFrame(rows, columns=['head', 'relation', 'tail'])
    with pytest.raises(DatasetError, match=r'row 1.*a string or a number'):
        from_pandas(frame)


@pytest.mark.parametrize('cell', [None, float('nan'), '', '  ', 'NA'])
def test_a_missing_cell_names_its_row(cell: Any) -> None:
    pandas = pytest.importorskip('pandas')
    if cell == 'NA':
        cell = pandas.NA
    rows = [('a', 'r', 'b'), ('a', cell, 'b')]
    table = frame(rows, ['head', 'relation', 'tail'])
    table.index = ['first', 'second']
    want = r"row 1 of the frame \(index 'second'\), column 'relation',"
    with pytest.raises(DatasetError, match=want):
        from_pandas(table)


@pytest.mark.parametrize(
    ('rows', 'columns', 'options', 'message'),
    [
        (
            [('a', 'b')],
            ['head', 'tail'],
            {},
            "among the columns .'head', 'tail'",
        ),
        ([], ['head', 'relation', 'tail'], {}, 'no training triple'),
        (
            [('a', 'r', 'b', 'training')],
            ['head', 'relation', 'tail', 'split'],
            {},
            "row 0 .*unknown split 'training'",
        ),
        (
            [('a', 'r', 'b')],
            ['h', 'r', 't'],
            {'texts': {'a': {'en': 'x'}}},
            "text of 'a' must be a string",
        ),
        (
            [('a', 'r', 'b')],
            ['h', 'r', 't'],
            {'texts': {'a': ['x', True]}},
            "text of 'a' must be a string",
        ),
    ],
)
def test_frames_that_make_no_graph(
    rows: list[Any],
    columns: list[str],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(DatasetError, match=message):
        from_pandas(frame(rows, columns), **options)


def test_a_root_stores_and_tells_contents_apart(tmp_path: Path) -> None:
    triples = frame([('a', 'r', 'b')], ['h', 'r', 't'])
    options: dict[str, Any] = {'root': tmp_path, 'text_encoder': Lengths()}
    for text in ('one', 'two', 'one'):
        dataset = from_pandas(triples, {'a': text}, **options)
        assert dataset.entity_texts[0] == [text]
    assert len(list((tmp_path / 'processed').iterdir())) == 2
    assert dataset.entity_images == [[], []]
    image = tmp_path / 'a.png'
    for content in (None, b'1', b'22'):
        if content:
            image.write_bytes(content)
        from_pandas(triples, images={'a': image}, root=tmp_path)
    assert len(list((tmp_path / 'processed').iterdir())) == 5


def test_a_networkx_graph() -> None:
    graph = nx.MultiDiGraph()
    graph.add_node('alone', text='nobody knows')
    graph.add_edge('a', 'b', 'r')
    graph.add_edge('a', 'b', 's')
    graph.add_edge('b', 3, relation='r')
    graph.nodes['a'].update(text=['x', 'y'], description='z', image='a.png')
    graph.nodes[3].update(images=['1.png', Path('2.png')], name='three')
    dataset = from_networkx(graph, split=(1, 0, 0))
    assert dataset.entity_keys == ['alone', 'a', 'b', '3']
    assert dataset.entity_names == ['alone', 'a', 'b', 'three']
    assert named(dataset, 'train') == [
        ('a', 'r', 'b'),
        ('a', 's', 'b'),
        ('b', 'r', 'three'),
    ]
    assert dataset.entity_texts == [['nobody knows'], ['x', 'y', 'z'], [], []]
    here = Path.cwd()
    assert dataset.entity_images[3] == [here / '1.png', here / '2.png']
    plain = nx.DiGraph()
    plain.add_edge('a', 'b', relation='r')
    assert named(from_networkx(plain), 'train') == [('a', 'r', 'b')]


def test_keys_that_are_numbers_of_edges_are_no_relations(
    tmp_path: Path,
) -> None:
    data = '<data key="d0">likes</data>'
    path = tmp_path / 'graph.graphml'
    path.write_text(
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        '<key id="d0" for="edge" attr.name="label" attr.type="string"/>'
        '<graph edgedefault="directed"><node id="a"/><node id="b"/>'
        f'<edge id="e0" source="a" target="b">{data}</edge>'
        f'<edge id="e1" source="a" target="b">{data}</edge></graph></graphml>'
    )
    graph = nx.read_graphml(path)
    with pytest.raises(DatasetError, match="keys, 'e0', 'e1' and so on"):
        from_networkx(graph)
    for *_, attributes in graph.edges(data=True):
        attributes['relation'] = attributes['label']
    dataset = from_networkx(graph, split=(1, 0, 0))
    assert dataset.relation_names == ['likes']
    # Numbers may be relations, where more than one edge has them.
    graph = nx.MultiDiGraph([('a', 'b', 'P1'), ('a', 'b', 'P2')])
    graph.add_edge('b', 'a', 'P1')
    dataset = from_networkx(graph, split=(1, 0, 0))
    assert dataset.relation_names == ['P1', 'P2']


def test_networkx_graphs_that_are_none() -> None:
    graph = nx.MultiDiGraph()
    graph.add_edge('a', 'b')
    with pytest.raises(DatasetError, match="from 'a' to 'b' has no relation"):
        from_networkx(graph)
    graph['a']['b'][0]['relation'] = 0
    assert from_networkx(graph).relation_names == ['0']
    with pytest.raises(ValueError, match='directed'):
        from_networkx(nx.MultiGraph())
    graph['a']['b'][0]['relation'] = ['r', 's']
    with pytest.raises(DatasetError, match=r"'a' to 'b' must be a string"):
        from_networkx(graph)
    graph = nx.MultiDiGraph()
    graph.add_edge(1, '1', 'r')
    with pytest.raises(DatasetError, match='same name'):
        from_networkx(graph)
    graph = nx.MultiDiGraph()
    graph.add_edge('a', 'b', 'r', split='train')
    graph.add_edge('a', 'c', 'r')
    with pytest.raises(DatasetError, match=r"'split' of .* 'c' is missing"):
        from_networkx(graph)


def same(one: MultimodalDataset, two: MultimodalDataset) -> None:
    assert one.entity_names == two.entity_names
    assert one.relation_names == two.relation_names
    assert one.entity_texts == two.entity_texts
    for split in SPLITS:
        assert ids(one, split) == ids(two, split)


def test_round_trip_of_the_fake_graph() -> None:
    dataset = FakeMMKG()
    graph = to_networkx(dataset)
    assert isinstance(graph, nx.MultiDiGraph)
    assert graph.number_of_nodes() == 20
    told = Counter(split for *_, split in graph.edges(data='split'))
    assert told == {
        split: len(get_split(dataset[0], split).edge_type) for split in SPLITS
    }
    assert graph.nodes['entity 0']['text'] == 'the text of entity 0'
    assert 'text' not in graph.nodes['entity 2']
    same(dataset, from_networkx(graph))


def test_round_trip_of_countries(tmp_path: Path) -> None:
    dataset = Countries(tmp_path, image_encoder=None, text_encoder=None)
    same(dataset, from_networkx(to_networkx(dataset)))


def test_round_trip_of_a_folder(tmp_path: Path) -> None:
    files = {
        # An entity and a relation share a label; one triple is in two splits.
        'train.tsv': 'r\tr\tb\nb\ts\tr\nb\tr\tb\n',
        'val.tsv': '',
        'test.tsv': 'r\tr\tb\nr\ts\tc\n',
        'names.tsv': 'b\tBee\ns\tSee\n',
        'texts.tsv': 'c\tone\nc\ttwo\n',
        'images/Bee.png': '',
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.warns(UserWarning, match='also in train'):
        dataset = MKGFolder(tmp_path)
    graph = to_networkx(dataset)
    assert graph.nodes['b']['name'] == 'Bee'
    assert graph.graph['relations'] == '{"r": "r", "s": "See"}'
    with pytest.warns(UserWarning, match='also in train'):
        again = from_networkx(graph)
    same(dataset, again)
    assert again.entity_keys == dataset.entity_keys == ['r', 'b', 'c']
    assert again.entity_images == dataset.entity_images
    assert again.entity_images[1] == [tmp_path / 'images' / 'Bee.png']
    assert EDGE in again[0].edge_types


# What XML can hold.
TEXT = st.text(
    st.characters(exclude_categories=['Cc', 'Cs', 'Cn']), max_size=3
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from('abcdé'),
            st.sampled_from('arz'),
            st.sampled_from('abcde '),
            st.sampled_from(SPLITS),
        ),
        min_size=1,
        max_size=20,
    ),
    st.dictionaries(st.sampled_from('abc'), st.lists(TEXT)),
)
def test_round_trip_of_anything(
    rows: list[tuple[str, str, str, str]], texts: dict[str, list[str]]
) -> None:
    rows = [row for row in rows if row[2] != ' ']
    if not any(row[3] == 'train' for row in rows):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('warnings.warn', lambda *_, **__: None)
        table = frame(rows, ['head', 'relation', 'tail', 'split'])
        dataset = from_pandas(table, texts)
        same(dataset, from_networkx(to_networkx(dataset)))
    for split in SPLITS:
        wanted = {row[:3] for row in rows if row[3] == split}
        assert set(named(dataset, split)) == wanted


@pytest.mark.parametrize(
    ('columns', 'cells'),
    [
        ('head tail kind split', 'a b likes train'),
        ('split x y z', 'train a likes b'),
        ('object verb subject split', 'b likes a train'),
        ('since Target RELATION Source', '1990 b likes a'),
        # Three columns are taken by their places.
        ('x relation y', 'a likes b'),
        ('head x y', 'a likes b'),
    ],
)
def test_columns_of_a_frame(columns: str, cells: str) -> None:
    row = tuple(cells.split())
    dataset = from_pandas(frame([row], columns.split()))
    assert named(dataset, 'train') == [('a', 'likes', 'b')]


@pytest.mark.parametrize(
    'columns',
    [
        'subject object verb score',
        'x y relation',
        'x relation y score',
        'start_id end_id type since',
        'x head relation',
        'a tail b',
    ],
)
def test_columns_that_cannot_be_told(columns: str) -> None:
    names = columns.split()
    with pytest.raises(DatasetError, match=f'columns .*{names[0]}.*call them'):
        from_pandas(frame([tuple('abcd'[: len(names)])], names))


def test_lists_of_a_frame_may_be_arrays() -> None:
    texts = frame([('a', None)], ['entity', 'text'])
    texts['text'] = [np.array(['one', None, 'two'], object)]
    triples = frame([('a', 'r', 'b')], ['h', 'r', 't'])
    dataset = from_pandas(triples, texts)
    assert dataset.entity_texts[0] == ['one', 'two']


def test_equal_names_are_not_made_one_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = FakeMMKG(30, 4, 200)
    monkeypatch.setitem(dataset._meta, 'entity_names', ['a'] * 30)
    with pytest.raises(DatasetError, match='the same name'):
        to_networkx(dataset)


def test_questions_by_label_or_name() -> None:
    iri = 'http://example.org/Oslo_Fjord'
    rows = [('Norway', 'has', iri), ('Oslo Fjord', 'is in', 'Norway')]
    table = frame(rows, ['head', 'relation', 'tail'])
    dataset = from_pandas(table, split=(1.0, 0.0, 0.0))
    ids = {key: at for at, key in enumerate(dataset.entity_keys)}
    assert dataset.find('Norway', 'is in') == (ids['Norway'], 1)
    assert dataset.find(iri, 'has') == (ids[iri], 0)
    # A label goes before the name of another entity.
    assert dataset.find('Oslo Fjord', 'has')[0] == ids['Oslo Fjord']
    with pytest.raises(ValueError, match=r"entity 'Norwa'.*mean 'Norway'"):
        dataset.find('Norwa', 'has')
    with pytest.raises(ValueError, match="relation 'in'"):
        dataset.find('Norway', 'in')


@pytest.mark.parametrize(
    'columns',
    [
        ['subj', 'pred', 'obj', 'source'],
        ['from', 'relation', 'to', 'source'],
        ['h', 'r', 't', 'source'],
        ['head_id', 'relation', 'tail_id', 'source'],
        ['subject_id', 'predicate', 'object_id', 'target'],
        ['Source', 'r', 'Target', 'head of state'],
    ],
)
def test_words_that_belong_together(columns: list[str]) -> None:
    """Where a triple comes from, and what it is for, are no ends of it."""
    rows = [('ann', 'k', 'bob', 'wiki'), ('bob', 'k', 'cy', 'web')]
    dataset = from_pandas(frame(rows, columns), split=(1, 0, 0))
    assert named(dataset, 'train') == [row[:3] for row in rows]
    assert dataset.findings.counts == {'unused column': 1}


def test_what_is_no_frame() -> None:
    rows = [('a', 'r', 'b')]
    with pytest.raises(TypeError, match=r'a pandas\.DataFrame, got list'):
        from_pandas(rows)
    good = frame(rows, ['h', 'r', 't'])
    with pytest.raises(TypeError, match=r'texts must be a mapping.* got list'):
        from_pandas(good, texts=['one'])
    # A column that has been named is that one alone.
    named_so = frame([('a', 'r', 'b')], ['head', 'split', 'tail'])
    dataset = from_pandas(named_so, relation='split', split=(1, 0, 0))
    assert named(dataset, 'train') == [('a', 'r', 'b')]


def test_columns_that_are_named() -> None:
    rows = [('x', 'b', 'likes', 'a'), ('y', 'a', 'hates', 'b')]
    triples = frame(rows, ['source', 'head', 'verb', 'who'])
    told = {'head': 'who', 'relation': 'verb', 'tail': 'head'}
    dataset = from_pandas(triples, **told)
    assert named(dataset, 'train') == [
        ('a', 'likes', 'b'),
        ('b', 'hates', 'a'),
    ]
    with pytest.raises(DatasetError, match="no column 'what'; it has"):
        from_pandas(triples, **{**told, 'relation': 'what'})
    double = frame([('a', 'r', 'b', 'c')], ['who', 'verb', 'head', 'who'])
    with pytest.raises(DatasetError, match="several column 'who'"):
        from_pandas(double, **told)


def test_lists_in_the_cells_of_triples() -> None:
    rows: list[tuple[Any, ...]] = [
        ('a', 'r', ['b', 'c']),
        ('b', 'r', np.array(['a', 'c'], object)),
        (('b', 'c'), 's', 'a'),
        ('c', 'r', ['a']),
    ]
    dataset = from_pandas(frame(rows, ['head', 'relation', 'tail']))
    found = [row for split in SPLITS for row in named(dataset, split)]
    assert sorted(found) == [
        *[('a', 'r', 'b'), ('a', 'r', 'c'), ('b', 'r', 'a'), ('b', 'r', 'c')],
        *[('b', 's', 'a'), ('c', 'r', 'a'), ('c', 's', 'a')],
    ]
    assert dataset.findings.counts['list in a cell'] == 3
    for cell in ([], [''], [None]):
        empty = frame([('a', 'r', cell)], ['head', 'relation', 'tail'])
        with pytest.raises(DatasetError, match=r"row 0 .* column 'tail'"):
            from_pandas(empty)


@pytest.mark.parametrize('kind', ['graphml', 'gml', 'gexf'])
def test_files_of_networkx(kind: str, tmp_path: Path) -> None:
    dataset = Countries(tmp_path, image_encoder=None, text_encoder=None)
    graph = to_networkx(dataset)
    path = tmp_path / f'countries.{kind}'
    getattr(nx, f'write_{kind}')(graph, path)
    again = getattr(nx, f'read_{kind}')(path)
    assert set(again) == set(graph)
    assert again.nodes['Norway']['text'] == graph.nodes['Norway']['text']
    rows, found = (
        sorted((h, x['relation'], t) for h, t, x in each.edges(data=True))
        for each in (graph, again)
    )
    assert rows == found
    if kind != 'gexf':  # which keeps no attribute of a graph
        read = from_networkx(again)
        assert read.relation_names == dataset.relation_names
        assert set(read.entity_names) == set(dataset.entity_names)


def test_many_texts_of_a_node() -> None:
    triples = frame([('a', 'r\x01', 'b\x01')], ['h', 'r', 't'])
    texts = {'a': ['one', 'two\0', 'three']}
    dataset = from_pandas(triples, texts)
    graph = to_networkx(dataset)
    # XML holds none of these.
    assert graph.nodes['a']['text_2'] == 'two\ufffd'
    assert '\x01' not in ''.join(nx.generate_graphml(graph))
    rows = [('a', 'r\x01', 'b'), ('a', 'r\x02', 'b')]
    twins = from_pandas(frame(rows, ['h', 'r', 't']), split=(1, 0, 0))
    with pytest.raises(DatasetError, match='two relations have the same'):
        to_networkx(twins)
    again = from_networkx(graph)
    assert again.entity_texts[0] == ['one', 'two\ufffd', 'three']
    graph.graph['relations'] = '["r"'
    with pytest.raises(DatasetError, match="'relations' of the graph must"):
        from_networkx(graph)
