import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dsom_pyg.datasets import DB15K, MKG_W, MKG_Y, WN9, WN18, FB15k_237
from dsom_pyg.datasets.benchmarks.base import (
    SOURCES,
    Benchmark,
    sources_of,
)
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.graph import EDGE, get_split, known_triples, pool_features

DBPEDIA = 'http://dbpedia.org/resource/'
TRAIN = [(h, t) for h in range(5) for t in range(5) if h != t]


def counted(rows: list[str]) -> str:
    return '\n'.join([str(len(rows)), *rows]) + '\n'


def id_files(entities: list[str], relations: list[str]) -> dict[str, str]:
    return {
        'entity2id.txt': counted([f'{e} {i}' for i, e in enumerate(entities)]),
        'relation2id.txt': counted(
            [f'{r} {i}' for i, r in enumerate(relations)]
        ),
        'train2id.txt': counted(['0 1 0', '1 0 1']),
        'valid2id.txt': counted(['0 2 0']),
        'test2id.txt': counted(['2 0 1']),
    }


def db15k_files() -> dict[str, str]:
    names = ['Moscow,_Idaho', 'AC/DC', 'Caf%C3%A9', 'Oslo', 'Ålesund']
    uris = [f'<{DBPEDIA}{name}>' for name in names]
    relations = ['<http://x.org/ontology/type>', '<http://w3.org/rdf#type>']
    facts = {'/m/1': {'description': 'town'}, '/m/2': {'description': None}}
    return {
        **id_files(uris, relations),
        'train2id.txt': counted([f'{h} {t} 0' for h, t in TRAIN]),
        # Twice in train, once in test, and twice the same in neither.
        'valid2id.txt': counted(['0 1 0', '1 0 0', '0 1 1', '4 3 1', '4 3 1']),
        'test2id.txt': counted(['0 1 1', '1 2 1']),
        'entity2fb.txt': ''.join(
            f'{uri} /m/{i + 1} {i}\n' for i, uri in enumerate(uris)
        ),
        'entity2wikidata.json': json.dumps(facts),
        'DB15K_ImageIndex.txt': f'{uris[0]}\tDBIMG1\n{uris[3]}\tDBIMG2\n',
    }


def small(
    base: type[Benchmark], publish: Callable[..., Any], files: dict[str, str]
) -> Any:
    """A benchmark class over a few rows instead of the published files."""
    return type(base.__name__, (base,), {'sources': publish(files)})


class Size:
    name = 'size'
    out_channels = 1

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        sizes = [
            len(item) if isinstance(item, str) else item.stat().st_size
            for item in items
        ]
        return torch.tensor(sizes)[:, None].float()


def triples(data: Any, split: str) -> list[list[int]]:
    part = get_split(data, split)
    return torch.cat([part.edge_index, part.edge_type[None]]).t().tolist()


def test_db15k_clean(publish: Callable[..., Any], tmp_path: Path) -> None:
    cls = small(DB15K, publish, db15k_files())
    data = cls(tmp_path)[0]
    train, val = triples(data, 'train'), triples(data, 'val')
    assert len(val) == 1
    assert sorted(train + val) == sorted([h, t, 0] for h, t in TRAIN)
    assert triples(data, 'test') == [[0, 1, 1], [1, 2, 1]]
    store = data[EDGE]
    assert store.filter_edge_index.tolist() == [[4], [3]]
    assert store.filter_edge_type.tolist() == [1]
    assert known_triples(data).edge_type.numel() == len(TRAIN) + 2 + 1
    assert triples(cls(tmp_path, force_reload=True)[0], 'val') == val


def test_db15k_distributed_warns_with_figures(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(DB15K, publish, db15k_files())
    with pytest.warns(UserWarning, match='leaks') as caught:
        data = cls(tmp_path, split='distributed')[0]
    for figure in ('9,904', '7,481', '6,584', '824', '73'):
        assert figure in str(caught[0].message)
    assert caught[0].filename == __file__
    assert triples(data, 'train') == [[h, t, 0] for h, t in TRAIN]
    assert len(triples(data, 'val')) == 5
    assert 'filter_edge_index' not in data[EDGE]
    # The split is part of the file's key.
    assert len(triples(cls(tmp_path)[0], 'val')) == 1


def test_encoders_are_given_by_name(tmp_path: Path) -> None:
    for cls in (DB15K, MKG_W):
        with pytest.raises(TypeError, match='positional argument'):
            cls(tmp_path, Size())  # type: ignore[call-arg]


def test_db15k_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'dirty'"):
        DB15K(tmp_path, split='dirty')  # type: ignore[arg-type]


def test_db15k_names_and_texts(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    dataset = small(DB15K, publish, db15k_files())(tmp_path)
    names = ['Moscow, Idaho', 'AC/DC', 'Café', 'Oslo', 'Ålesund']
    assert dataset.entity_names == names
    assert dataset.entity_texts == [
        ['Moscow, Idaho: town'],
        *([name] for name in names[1:]),
    ]
    assert dataset.coverage() == {
        'image': 0.0,
        'text': 1.0,
        'description': 0.2,
    }
    assert dataset.relation_names == [
        'type (http://x.org/ontology/type)',
        'type (http://w3.org/rdf#type)',
    ]


def test_images_from_a_folder(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(DB15K, publish, db15k_files())
    with pytest.raises(DatasetError, match=r'DBIMG1.*image_encoder=None'):
        cls(tmp_path, image_encoder=Size())
    for size, name in enumerate(
        ('DBIMG2/b.JPG', 'DBIMG2/a.png', 'DBIMG1/x.txt', 'y.png'), 1
    ):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'.' * size)
    dataset = cls(tmp_path, image_encoder=Size())
    assert dataset.coverage()['image'] == 0.2
    pooled, present = pool_features(dataset[0], 'image')
    assert present.tolist() == [False, False, False, True, False]
    assert pooled[3].item() == 1.5
    # Without an encoder they are still counted.
    assert cls(tmp_path).coverage()['image'] == 0.2
    # One more image is another graph.
    (tmp_path / 'images' / 'DBIMG1' / 'x.png').write_bytes(b'.')
    assert cls(tmp_path, image_encoder=Size()).coverage()['image'] == 0.4
    counts = dataset.findings.counts
    assert counts == {'image of no entity': 1, 'not an image': 1}


def test_images_by_name_id_or_index(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(DB15K, publish, db15k_files())
    folder = tmp_path / 'photos'
    for size, name in enumerate(
        (
            'DBIMG1.png',
            'AC_DC/a.jpg',
            'Café.webp',
            'Oslo/1.gif',
            'Ålesund.png',
        ),
        start=1,
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'.' * size)
    dataset = cls(tmp_path / 'root', image_encoder=Size(), images=folder)
    x, present = pool_features(dataset[0], 'image')
    assert present.all()
    assert x.flatten().tolist() == [1, 2, 3, 4, 5]
    # Without an encoder the folder is still reported on.
    without = cls(tmp_path / 'root', images=folder)
    assert without.coverage()['image'] == 1
    assert without[0].node_types == ['entity']


@pytest.mark.parametrize(
    'names',
    [
        ['Moscow, Idaho', 'AC/DC', 'Oslo'],
        ['DBIMG1', 'AC/DC', 'DBIMG2'],
        [f'{DBPEDIA}Moscow,_Idaho', f'<{DBPEDIA}AC/DC>', 'Oslo'],
    ],
)
def test_images_as_a_feature_file(
    publish: Callable[..., Any], tmp_path: Path, names: list[str]
) -> None:
    cls = small(DB15K, publish, db15k_files())
    path = tmp_path / 'vit.npz'
    np.savez(path, x=np.arange(6.0).reshape(3, 2) + 1, names=names)
    data = cls(tmp_path, images=path)[0]
    x, present = pool_features(data, 'image')
    assert present.tolist() == [True, True, False, True, False]
    assert x[present].tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(ValueError, match="'image' has an encoder and a"):
        cls(tmp_path, images=path, image_encoder=Size())
    with pytest.raises(ValueError, match='give one of them'):
        cls(tmp_path, images=path, features={'image': path})
    with pytest.raises(DatasetError, match='neither a folder nor a file'):
        cls(tmp_path, images=tmp_path / 'nothing')


@pytest.mark.parametrize('name', ['n02738741', '02738741', 'n02738741.jpg'])
def test_wordnet_images_are_called_as_in_imagenet(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / 'photos' / name / ('' if '.' in name else 'a.jpg')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'.')
    called = WN18.__new__(WN18).aliases(['02738741', '07745466'])
    found, findings = find_images(tmp_path / 'photos', called)
    assert found == [[path], []]
    assert len(findings) == 0


def test_origins_point_at_the_lines(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(DB15K, publish, db15k_files())
    with pytest.warns(UserWarning, match='leaks'):
        raw = cls(tmp_path, split='distributed').read()
    assert raw.origins.keys() == {'train', 'val', 'test'}
    for split, (file, lines) in raw.origins.items():
        rows = file.read_text().split('\n')
        for line, triple in zip(lines, triples(raw.data, split), strict=True):
            head, tail, rel = rows[line - 1].split()
            assert triple == [int(head), int(tail), int(rel)]
    assert cls(tmp_path).read().origins == {}


def test_mkg_w(publish: Callable[..., Any], tmp_path: Path) -> None:
    keys = [f'http://www.wikidata.org/entity/Q{i}' for i in (7, 8, 9)]
    titles = ['As_You_Like_It_(1936_film)', 'AC/DC', 'Chișinău']
    files = {
        **id_files(keys, ['http://w.org/P161', 'http://w.org/P58']),
        'relation_names.txt': '1 screenwriter 1\n0 cast_member 0\n',
        'ent_links.txt': ''.join(
            f'{DBPEDIA}{title}\t{key}\n'
            for title, key in zip(titles[::-1], keys[::-1], strict=True)
        ),
    }
    dataset = small(MKG_W, publish, files)(tmp_path / 'a')
    names = ['As You Like It (1936 film)', 'AC/DC', 'Chișinău']
    assert dataset.entity_names == names
    assert dataset.entity_texts == [[name] for name in names]
    assert dataset.relation_names == ['cast_member', 'screenwriter']
    assert dataset.coverage()['description'] == 0.0
    files['ent_links.txt'] = files['ent_links.txt'].split('\n', 1)[1]
    with pytest.raises(DatasetError, match=r"no title of 1 .*entity/Q9'"):
        small(MKG_W, publish, files)(tmp_path / 'b')


def test_mkg_y(publish: Callable[..., Any], tmp_path: Path) -> None:
    keys = ['Libreville', 'Lupin_III_(film)', 'A']
    files = id_files(keys, ['wasBornIn', 'playsFor'])
    dataset = small(MKG_Y, publish, files)(tmp_path, text_encoder=Size())
    assert dataset.entity_names == ['Libreville', 'Lupin III (film)', 'A']
    assert dataset.entity_texts[1] == ['Lupin III (film)']
    assert dataset.relation_names == ['wasBornIn', 'playsFor']
    assert dataset[0]['text'].x.flatten().tolist() == [10, 16, 1]
    assert triples(dataset[0], 'train') == [[0, 1, 0], [1, 0, 1]]
    assert triples(dataset[0], 'val') == [[0, 2, 0]]
    assert triples(dataset[0], 'test') == [[2, 0, 1]]


def test_fb15k_237(publish: Callable[..., Any], tmp_path: Path) -> None:
    facts = {
        '/m/a': {'label': 'Oslo', 'description': 'city'},
        '/m/b': {'label': 'Oslo', 'description': None},
    }
    files = {
        **id_files(['/m/a', '/m/b', '/m/c'], ['/l/contains', '/p/contains']),
        'entity2wikidata.json': json.dumps(facts),
        'FB15K_ImageIndex.txt': '/m/b\tFBIMG1\n',
    }
    image = tmp_path / 'images' / 'FBIMG1' / 'a.png'
    image.parent.mkdir(parents=True)
    image.write_bytes(b'.')
    dataset = small(FB15k_237, publish, files)(
        tmp_path, image_encoder=Size(), text_encoder=Size()
    )
    assert dataset.entity_names == ['Oslo (/m/a)', 'Oslo (/m/b)', '/m/c']
    assert dataset.entity_texts == [['Oslo: city'], ['Oslo'], []]
    assert dataset.relation_names == ['/l/contains', '/p/contains']
    assert dataset.coverage() == {
        'image': 1 / 3,
        'text': 2 / 3,
        'description': 1 / 3,
    }
    _, present = pool_features(dataset[0], 'text')
    assert present.tolist() == [True, True, False]
    _, present = pool_features(dataset[0], 'image')
    assert present.tolist() == [False, True, False]


FREEBASE = (
    '/m/1\tMoscow -- Moscow is a \\"city\\" in Idaho.\n'
    '/m/2\tAC/DC -- AC/DC are\\na band. \n'
    '/m/3\tThe Café\n'
    '/m/4\tOslo -- A city -- in Norway.\n'
    '/m/5\tÅlesund -- A town.\n'
)


def more(
    base: type[Benchmark],
    publish: Callable[..., Any],
    files: dict[str, str],
    texts: dict[str, Any],
) -> Any:
    both = publish({**files, **texts})
    parts = {
        'sources': {name: both[name] for name in files},
        'texts_beside': {name: both[name] for name in texts},
    }
    return type(base.__name__, (base,), parts)


def test_sentences_of_db15k(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    texts = {'fb-entity2text-new.txt': FREEBASE}
    cls = more(DB15K, publish, db15k_files(), texts)
    short = cls(tmp_path)
    assert not (tmp_path / 'raw' / 'fb-entity2text-new.txt').exists()
    dataset = cls(tmp_path, more_texts=True)
    assert dataset.entity_names == short.entity_names
    assert dataset.entity_texts == [
        ['Moscow, Idaho: town. Moscow is a "city" in Idaho.'],
        ['AC/DC. AC/DC are a band.'],
        ['Café'],
        ['Oslo. A city -- in Norway.'],
        ['Ålesund. A town.'],
    ]
    assert dataset.coverage()['description'] == 0.8
    # Which texts were read is part of the key of the file.
    assert cls(tmp_path).entity_texts == short.entity_texts


def test_sentences_of_fb15k_237(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    facts = {'/m/1': {'label': 'Moscow', 'description': 'town.'}}
    files = {
        **id_files(['/m/1', '/m/3', '/m/5'], ['/l/contains', '/p/contains']),
        'entity2wikidata.json': json.dumps(facts),
        'FB15K_ImageIndex.txt': '/m/1\tFBIMG1\n',
    }
    texts = {'fb-entity2text-new.txt': FREEBASE}
    cls = more(FB15k_237, publish, files, texts)
    dataset = cls(tmp_path, more_texts=True)
    assert dataset.entity_names == ['Moscow', 'The Café', 'Ålesund']
    assert dataset.entity_texts == [
        ['Moscow: town. Moscow is a "city" in Idaho.'],
        ['The Café'],
        ['Ålesund: A town.'],
    ]


def test_descriptions_of_mkg_w(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    keys = [f'http://www.wikidata.org/entity/Q{i}' for i in range(7, 12)]
    files = {
        **id_files(keys, ['http://w.org/P161', 'http://w.org/P58']),
        'relation_names.txt': '1 screenwriter 1\n0 cast_member 0\n',
        'ent_links.txt': ''.join(
            f'{DBPEDIA}{name}\t{key}\n'
            for name, key in zip('ABCDE', keys, strict=True)
        ),
    }
    table = (
        'node1\tlabel\tnode2\tid\n'
        "Q7\tdescription\t'second'@en\tx\n"
        "Q8\tdescription\t'\\'an\\' album'@en\tx\n"
    )
    texts = {
        'entity_wikidata_descriptions_en.txt': 'Q7\tfirst\n',
        'descriptions.en.tsv.gz': gzip.compress(table.encode()),
        'entity2definition.txt': 'Q7\tthird\nQ8\tthird\nQ9\ta town\n',
        'entity2wikidata.json': json.dumps(
            {
                '/m/1': {'wikidata_id': 'Q9', 'description': 'fourth'},
                '/m/2': {'wikidata_id': 'Q11', 'description': 'a fourth'},
            }
        ),
    }
    cls = more(MKG_W, publish, files, texts)
    dataset = cls(tmp_path, more_texts=True)
    assert dataset.entity_texts == [
        ['A: first'],
        ["B: 'an' album"],
        ['C: a town'],
        ['D'],
        ['E: a fourth'],
    ]
    assert dataset.coverage()['description'] == 0.8


def test_no_further_texts_are_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r'texts of WN9 are known.*texts='):
        WN9(tmp_path, more_texts=True)


def test_wn18(publish: Callable[..., Any], tmp_path: Path) -> None:
    files = {
        **id_files(['001', '002', '003'], ['_hypernym', '_hyponym']),
        'entity2text.txt': '002\tox, a beast, big\n001\tox\n',
    }
    dataset = small(WN18, publish, files)(tmp_path)
    assert dataset.entity_names == ['ox (001)', 'ox (002)', '003']
    assert dataset.entity_texts == [['ox'], ['ox, a beast, big'], []]
    assert dataset.coverage()['text'] == 2 / 3


def test_wn9(publish: Callable[..., Any], tmp_path: Path) -> None:
    files = {
        'train': 'n2\t_b\tn1\n',
        'valid': 'n1\t_a\tn2\n',
        'test': 'n0\t_b\tn2\n',
        'ent_dscp.txt': '1\tox, a beast\n2\telk, a deer\n0\tant, small\n',
    }
    dataset = small(WN9, publish, files)(tmp_path / 'a')
    assert dataset.entity_names == ['ant', 'ox', 'elk']
    assert dataset.entity_texts[2] == ['elk, a deer']
    assert dataset.relation_names == ['_a', '_b']
    assert triples(dataset[0], 'train') == [[2, 1, 1]]
    assert triples(dataset[0], 'val') == [[1, 2, 0]]
    assert triples(dataset[0], 'test') == [[0, 2, 1]]
    files['valid'] += 'n1\t_a\n'
    with pytest.raises(DatasetError, match=r'valid:2: expected 3 columns'):
        small(WN9, publish, files)(tmp_path / 'b')


@pytest.mark.parametrize(
    ('name', 'rows', 'message'),
    [
        ('train2id.txt', ['0 1 0', '0 3 0'], r':3: tail id 3 is outside'),
        ('valid2id.txt', ['0 1 2'], r':2: relation id 2 is outside'),
        ('test2id.txt', ['0 1'], r':2: expected 3 columns'),
        ('entity2id.txt', ['a 0', 'b x'], r':3: id must be an integer'),
    ],
)
def test_bad_rows_leave_no_processed_file(
    publish: Callable[..., Any],
    tmp_path: Path,
    name: str,
    rows: list[str],
    message: str,
) -> None:
    good = id_files(['a', 'b', 'c'], ['r', 's'])
    bad = small(MKG_Y, publish, {**good, name: counted(rows)})
    with pytest.raises(DatasetError, match=name + message):
        bad(tmp_path)
    assert not list((tmp_path / 'processed').glob('*'))
    # The corrected file has another hash and replaces the bad one.
    assert small(MKG_Y, publish, good)(tmp_path).num_entities == 3


def test_wrong_download_stops_it(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(MKG_Y, publish, id_files(['a', 'b', 'c'], ['r', 's']))
    held = tmp_path / 'mirror' / 'data.example' / 'x' / 'test2id.txt'
    held.write_text('1\n0 0 0\n')
    with pytest.raises(DatasetError, match=r'expected SHA-256 .*test2id|test'):
        cls(tmp_path / 'root')
    names = [path.name for path in (tmp_path / 'root').rglob('*')]
    assert 'test2id.txt' not in names
    assert not any('.safetensors' in name for name in names)


def test_raw_files_are_not_needed_twice(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    cls = small(MKG_Y, publish, id_files(['a', 'b', 'c'], ['r', 's']))
    root = tmp_path / 'root'
    cls(root)
    for path in (root / 'raw').iterdir():
        path.unlink()
    (tmp_path / 'mirror').rename(tmp_path / 'gone')
    assert cls(root).num_entities == 3


@pytest.mark.parametrize('cls', [DB15K, MKG_W, MKG_Y, FB15k_237, WN18, WN9])
def test_sources_are_pinned(cls: type[Benchmark]) -> None:
    for url, sha256, size in cls.sources.values():
        assert url.startswith('https://raw.githubusercontent.com/')
        assert len(bytes.fromhex(sha256)) == 32
        assert size > 0
        # A commit, not a branch that moves.
        assert len(bytes.fromhex(url.split('/')[5])) == 20


def test_every_source_has_its_benchmark() -> None:
    known = {cls.__name__ for cls in Benchmark.__subclasses__()}
    rows = SOURCES.read_text().splitlines()
    named = {row.split('\t')[0] for row in rows}
    assert {name.removesuffix(' texts') for name in named} <= known
    assert len(rows) == 43
    with pytest.raises(DatasetError, match='lists no file of DB14K'):
        sources_of('DB14K')


def test_other_sources_are_another_graph(
    publish: Callable[..., Any], tmp_path: Path
) -> None:
    files = id_files(['a', 'b', 'c'], ['r', 's'])
    small(MKG_Y, publish, files)(tmp_path)
    files['test2id.txt'] = counted(['1 2 0'])
    data = small(MKG_Y, publish, files)(tmp_path)[0]
    assert triples(data, 'test') == [[1, 2, 0]]
