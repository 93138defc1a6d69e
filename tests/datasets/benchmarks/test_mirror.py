"""The real benchmark files, where a mirror of them is at hand."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg.datasets import DB15K, MKG_W, MKG_Y, WN9, WN18, FB15k_237
from dsom_pyg.encoders import ImageStatistics
from dsom_pyg.graph import (
    EDGE,
    SPLITS,
    Triples,
    add_reciprocals,
    concat,
    fingerprint,
    get_split,
    known_triples,
    num_relations,
    pool_features,
)
from dsom_pyg.query_index import QueryIndex

# Read at import: a fixture hides the variable from every test.
_PLACE = os.environ.get('DSOM_PYG_MIRROR', '')
MIRROR = Path(_PLACE) if _PLACE and Path(_PLACE).is_dir() else None
pytestmark = pytest.mark.skipif(
    MIRROR is None, reason='no mirror: DSOM_PYG_MIRROR names no folder'
)

# Entities, relations, train, val, test, distinct training queries with
# reciprocals, entities without a training triple, entities with a text and
# with a description.
GOLDEN: dict[Any, tuple[int, ...]] = {
    DB15K: (12842, 279, 75261, 3961, 9902, 72793, 57, 12842, 12303),
    MKG_W: (15000, 169, 34196, 4276, 4274, 36593, 491, 15000, 0),
    MKG_Y: (15000, 28, 21310, 2665, 2663, 22787, 612, 15000, 0),
    FB15k_237: (14541, 237, 272115, 17535, 20466, 149689, 36, 14515, 13666),
    WN18: (40943, 18, 141442, 5000, 5000, 171254, 0, 40943, 40943),
    WN9: (6555, 9, 11741, 1337, 1319, 15854, 0, 6555, 6555),
}
EINSTEIN = (
    'Albert Einstein: German-born physicist and founder of the theory of '
    'relativity'
)
# An entity, its text, and a fact.
KNOWN: list[tuple[Any, str, str, tuple[str, str, str]]] = [
    (
        DB15K,
        'Albert Einstein',
        EINSTEIN,
        ('Albert Einstein', 'award', 'Nobel Prize in Physics'),
    ),
    (
        MKG_W,
        'Rope (film)',
        'Rope (film)',
        ('Rope (film)', 'director', 'Alfred Hitchcock'),
    ),
    (
        MKG_W,
        'My Darling Clementine',
        'My Darling Clementine',
        ('My Darling Clementine', 'cast_member', 'Linda Darnell'),
    ),
    (
        MKG_Y,
        'Libreville',
        'Libreville',
        ('Gilles Mbang Ondo', 'wasBornIn', 'Libreville'),
    ),
    (
        FB15k_237,
        'Albert Einstein',
        EINSTEIN,
        ('Albert Einstein', '/people/person/religion', 'atheism'),
    ),
    (
        WN18,
        'elephant',
        'elephant, five-toed pachyderm',
        ('elephant', '_member_holonym', 'family elephantidae'),
    ),
    (
        WN9,
        'elephant',
        'elephant, five-toed pachyderm',
        ('elephant', '_hyponym', 'mammoth'),
    ),
]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('benchmarks')


@pytest.fixture(autouse=True)
def use_mirror(without_mirror: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DSOM_PYG_MIRROR', str(MIRROR))


def load(cls: Any, root: Path, **kwargs: Any) -> Any:
    return cls(root / cls.__name__, **kwargs)


def train_queries(data: Any) -> QueryIndex:
    train = get_split(data, 'train')
    return QueryIndex(add_reciprocals(train, num_relations(data)))


def untouched(dataset: Any) -> int:
    train = get_split(dataset[0], 'train').edge_index
    return int(dataset.num_entities) - len(torch.unique(train))


def rows(part: Triples) -> list[tuple[int, ...]]:
    table = torch.cat([part.edge_index, part.edge_type[None]]).t()
    return [tuple(row) for row in table.tolist()]


@pytest.mark.parametrize('cls', GOLDEN)
def test_golden_counts(cls: Any, root: Path) -> None:
    dataset = load(cls, root)
    data, size = dataset[0], dataset.num_entities
    coverage = dataset.coverage()
    assert GOLDEN[cls] == (
        size,
        dataset.num_relations,
        *(len(get_split(data, split).edge_type) for split in SPLITS),
        len(train_queries(data)),
        untouched(dataset),
        round(coverage['text'] * size),
        round(coverage['description'] * size),
    )


@pytest.mark.parametrize(
    ('cls', 'described'),
    [(DB15K, 12_839), (FB15k_237, 14_540), (MKG_W, 4_641)],
)
def test_further_texts(cls: Any, described: int, root: Path) -> None:
    dataset = load(cls, root, more_texts=True)
    coverage, size = dataset.coverage(), dataset.num_entities
    assert coverage['text'] == 1.0
    assert round(coverage['description'] * size) == described
    assert not any('\\"' in text for [text] in dataset.entity_texts)


@pytest.mark.parametrize('cls', GOLDEN)
def test_splits_are_disjoint_and_names_unique(cls: Any, root: Path) -> None:
    dataset = load(cls, root)
    parts = [get_split(dataset[0], split) for split in SPLITS]
    # The index counts a triple once.
    assert len(QueryIndex(concat(*parts)).tail) == sum(GOLDEN[cls][2:5])
    assert len(set(dataset.entity_names)) == dataset.num_entities
    assert len(set(dataset.relation_names)) == dataset.num_relations


def test_db15k_as_distributed(root: Path) -> None:
    with pytest.warns(UserWarning, match='leaks'):
        dataset = load(DB15K, root, split='distributed')
    data = dataset[0]
    train, val, test = (rows(get_split(data, split)) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (79222, 9904, 9902)
    assert 2 * len(train) == 158_444
    assert len(train_queries(data)) == 75_105
    assert untouched(dataset) == 57
    distinct = set(val)
    assert len(distinct) == 7_481
    assert len(distinct & set(train)) == 6_584
    assert len(distinct & set(test)) == 824
    assert len(distinct - set(train) - set(test)) == 73
    # The clean protocol moves facts, and the filter loses none of them.
    clean = load(DB15K, root)[0]
    assert clean[EDGE].filter_edge_type.numel() == 73
    assert set(rows(known_triples(clean))) == {*train, *val, *test}
    assert rows(get_split(clean, 'test')) == test
    taken = set(rows(get_split(clean, 'val')))
    assert taken | set(rows(get_split(clean, 'train'))) == set(train)


@pytest.mark.parametrize(('cls', 'count'), [(WN18, 4698), (WN9, 1186)])
def test_test_pairs_reversed_in_train(
    cls: Any, count: int, root: Path
) -> None:
    data = load(cls, root)[0]
    train = {(h, t) for h, t, _ in rows(get_split(data, 'train'))}
    test = rows(get_split(data, 'test'))
    assert sum((t, h) in train for h, t, _ in test) == count
    assert f'{count:,} of the {len(test):,}' in ' '.join(cls.__doc__.split())


@pytest.mark.parametrize(('cls', 'name', 'text', 'fact'), KNOWN)
def test_well_known_entities(
    cls: Any, name: str, text: str, fact: tuple[str, str, str], root: Path
) -> None:
    dataset = load(cls, root)
    names = dataset.entity_names
    assert dataset.entity_texts[names.index(name)] == [text]
    head, rel, tail = fact
    known = QueryIndex(known_triples(dataset[0]))
    query = torch.tensor([names.index(head)])
    rel_type = torch.tensor([dataset.relation_names.index(rel)])
    assert names.index(tail) in known.lookup(query, rel_type).tail


@pytest.fixture
def mirror_address() -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Quiet, directory=str(MIRROR))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


def test_mirror_over_http(
    root: Path,
    tmp_path: Path,
    mirror_address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('DSOM_PYG_MIRROR', mirror_address)
    served = MKG_Y(tmp_path)
    for name, source in MKG_Y.sources.items():
        assert (tmp_path / 'raw' / name).stat().st_size == source.size
    monkeypatch.setenv('DSOM_PYG_MIRROR', str(MIRROR))
    assert fingerprint(served[0]) == fingerprint(load(MKG_Y, root)[0])


_SAMPLES = Path(os.environ.get('DSOM_PYG_SAMPLES', '') or 'nowhere')


@pytest.mark.skipif(
    not _SAMPLES.is_dir(), reason='DSOM_PYG_SAMPLES names no folder'
)
@pytest.mark.parametrize(
    ('kind', 'folder'), [(FB15k_237, 'fb15k'), (WN18, 'wn18')]
)
def test_real_images_find_their_entities(
    kind: Any, folder: str, root: Path
) -> None:
    images = _SAMPLES / folder
    dataset = load(kind, root, image_encoder=ImageStatistics(), images=images)
    _, present = pool_features(dataset[0], 'image')
    files = [path for path in images.rglob('*') if path.is_file()]
    assert dataset[0]['image'].x.size(0) == len(files)
    owners = {path.parent for path in files}
    assert present.sum() == len(owners)
    assert len(dataset.findings) == 0
