from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.names import readable
from dsom_pyg.datasets.own import build
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.table import Entry, Place, Table, Triple
from dsom_pyg.graph import SPLITS, get_split

Named = tuple[str, str, str]


def table(triples: list[Named]) -> Table:
    return Table({'train': [Triple(*each) for each in triples]})


def test_draws_of_a_sparse_graph() -> None:
    # Each person is the head of one triple and the tail of another.
    triples = [(f'p{i}', 'works_at', 'c') for i in range(200)]
    triples += [('c', 'employs', f'p{i}') for i in range(200)]
    raw = build_graph(table(triples))
    parts = [get_split(raw.data, split) for split in SPLITS]
    assert [len(part.edge_type) for part in parts] == [320, 40, 40]
    assert parts[0].edge_index.unique().numel() == 201
    assert raw.findings.counts == {}


TRIPLES = st.lists(
    st.tuples(
        st.integers(0, 9).map(str),
        st.integers(0, 3).map('r{}'.format),
        st.integers(0, 9).map(str),
    ),
    min_size=1,
    max_size=60,
)
SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.4, 0.3, 0.3), (0.9, 0, 0.1)])


@given(TRIPLES, SHARES, st.integers(0, 3))
def test_drawn_splits_are_covered_by_train(
    triples: list[Named], shares: tuple[float, float, float], seed: int
) -> None:
    raw = build_graph(table(triples), shares, seed)
    parts = {split: get_split(raw.data, split) for split in SPLITS}
    told = Counter(
        (raw.entity_names[h], raw.relation_names[r], raw.entity_names[t])
        for part in parts.values()
        for h, t, r in zip(
            *part.edge_index.tolist(), part.edge_type.tolist(), strict=True
        )
    )
    # Each distinct triple is in one split.
    assert told == Counter(set(triples))
    train = parts['train']
    for part in (parts['val'], parts['test']):
        assert torch.isin(part.edge_index, train.edge_index).all()
        assert torch.isin(part.edge_type, train.edge_type).all()
    counts = raw.findings.counts
    assert counts.get('duplicate triple', 0) == len(triples) - len(told)
    for name, share in zip(('val', 'test'), shares[1:], strict=True):
        wanted = round(share * len(told))
        size = parts[name].edge_type.numel()
        assert size <= wanted + 1
        assert share or not size
        # Fewer than asked for are never drawn in silence.
        assert size >= wanted - 1 or counts['small split']


def test_equal_texts_are_kept_once() -> None:
    graph = table([('a', 'r', 'b'), ('b', 'r', 'a')])
    place = Place(Path('texts.tsv'), 3)
    graph.texts = [
        Entry(('a',), 'one'),
        # The first label that the graph has is meant.
        Entry(('x', 'b', 'a'), 'one'),
        Entry(('a',), 'one', place),
        Entry(('a',), 'two'),
        Entry(('x', 'r'), 'three', place),
    ]
    raw = build_graph(graph)
    assert raw.entity_texts == [['one', 'two'], ['one']]
    assert list(map(str, raw.findings)) == [
        "texts.tsv:3: dropped 'one' of 'a'",
        "texts.tsv:3: no triple has 'x'",
    ]
    assert raw.findings.counts == {
        'duplicate text': 1,
        'text of an unknown entity': 1,
    }


def test_labels_that_come_first() -> None:
    graph = table([('a', 'r', 'b')])
    graph.entities = ['c', 'b']
    graph.relations = {'s': 'See', 'r': ''}
    raw = build_graph(graph)
    assert raw.entity_names == ['c', 'b', 'a']
    assert raw.relation_names == ['See', 'r']
    # The table is not changed, and can be read again.
    assert build_graph(graph).findings.counts == graph.findings.counts == {}


class Text(str):
    """A text that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Text.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_many_texts_of_one_entity_are_not_compared_with_each_other() -> None:
    graph = table([('a', 'r', 'b')])
    texts = [Text(f'text {at % 900}') for at in range(1000)]
    graph.texts = [Entry(('a',), text) for text in texts]
    Text.compared = 0
    raw = build_graph(graph)
    assert Text.compared <= 2 * len(texts)
    assert raw.entity_texts == [[f'text {at}' for at in range(900)], []]
    assert raw.findings.counts == {'duplicate text': 100}


def test_without_a_folder_of_images_no_name_is_spelled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = table([(f'http://x.org/{at}', 'r', 'b') for at in range(9)])
    graph.images = [Entry(('b',), 'b.png')]
    seen: list[str] = []

    def counts(label: str) -> str:
        seen.append(label)
        return readable(label)

    monkeypatch.setattr(build, 'readable', counts)
    graph.image_folder = tmp_path / 'images'
    raw = build_graph(graph)
    # Once for the names of 10 entities and one relation.
    assert len(seen) == 11
    assert raw.entity_images[1] == [Path('b.png')]
    # Whatever stands in the place of the folder is looked at.
    graph.image_folder.symlink_to(tmp_path / 'nowhere')
    counts_of = build_graph(graph, (1.0, 0.0, 0.0)).findings.counts
    assert counts_of == {'images elsewhere': 1, 'no folder of images': 1}
    graph.image_folder.unlink()
    graph.image_folder.mkdir()
    (graph.image_folder / '3.png').touch()
    raw = build_graph(graph)
    at = raw.entity_names.index('3')
    assert raw.entity_images[at] == [graph.image_folder / '3.png']
