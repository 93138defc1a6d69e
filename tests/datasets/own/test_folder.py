import json
import math
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features.files import save_features
from dsom_pyg.datasets.own import delimited, folder
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.graph import SPLITS, get_split, pool_features

Named = tuple[str, str, str]

RING = ''.join(f'n{i}\tr{i % 2}\tn{(i + 1) % 10}\n' for i in range(10))
CHORDS = ''.join(
    f'n{i}\tr{(i + k) % 2}\tn{(i + k) % 10}\n'
    for i in range(10)
    for k in (2, 3, 4, 5)
)


class Names:
    """Encodes an item by its length, and remembers the items."""

    name = 'names'
    out_channels = 1
    corpus_dependent = True

    def __init__(self) -> None:
        self.items: list[str] = []

    def __call__(self, items: Sequence[Any]) -> Tensor:
        self.items = [str(item) for item in items]
        return torch.tensor([[float(len(item))] for item in self.items])


class Fails(Names):
    def __call__(self, items: Sequence[Any]) -> Tensor:
        raise KeyboardInterrupt


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding='utf-8')
    return root


def named(dataset: MKGFolder, split: str) -> list[Named]:
    part = get_split(dataset[0], split)
    names, rels = dataset.entity_names, dataset.relation_names
    return [
        (names[h], rels[r], names[t])
        for h, t, r in zip(
            *part.edge_index.tolist(), part.edge_type.tolist(), strict=True
        )
    ]


def rows(text: str) -> list[Named]:
    cells = [line.split('\t') for line in text.splitlines()]
    return [(head, rel, tail) for head, rel, tail in cells]


TOLD = [
    {'source': 's', 'head': h, 'relation': r, 'tail': t, 'Split': split}
    for h, r, t, split in (
        *(('a', 'r', 'b', 'train'), ('b', 'r', 'c', 'Valid')),
        *(('c', 'q', 'a', 'test'), ('c', 'r', 'a', 'train')),
    )
]
LEFT = {
    'train': [('a', 'r', 'b'), ('c', 'r', 'a')],
    'val': [('b', 'r', 'c')],
    'test': [('c', 'q', 'a')],
}


def write_table(path: Path, table: list[dict[str, str]]) -> None:
    if path.suffix == '.json':
        path.write_text(json.dumps(table))
    elif path.suffix == '.jsonl':
        path.write_text('\n'.join(map(json.dumps, table)))
    elif path.suffix in ('.parquet', '.xlsx'):
        pandas = pytest.importorskip('pandas')
        pytest.importorskip(
            'openpyxl' if path.suffix == '.xlsx' else 'pyarrow'
        )
        frame = pandas.DataFrame(table)
        if path.suffix == '.xlsx':
            frame.to_excel(path, index=False)
        else:
            frame.to_parquet(path)
    else:
        mark = ',' if path.suffix == '.csv' else '\t'
        rows = [mark.join(table[0]), *(mark.join(x.values()) for x in table)]
        path.write_text('\n'.join(rows))


@pytest.mark.parametrize(
    'suffix', ['csv', 'tsv', 'txt', 'xlsx', 'json', 'jsonl', 'parquet']
)
def test_a_column_of_splits_is_heeded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f'triples.{suffix}'
    write_table(path, TOLD)
    dataset = MKGFolder(tmp_path)
    assert {x: named(dataset, x) for x in SPLITS} == LEFT
    (found,) = dataset.findings.examples['unused column']
    assert found.message == "not used: 'source'"
    assert found.line == 1
    # One that is empty is given as well.
    alike = [{**row, 'Split': 'train'} for row in TOLD]
    write_table(path, alike)
    dataset = MKGFolder(tmp_path)
    assert [len(named(dataset, x)) for x in SPLITS] == [4, 0, 0]
    # A file of a split has those of the split, and says so.
    path.rename(tmp_path / f'train.{suffix}')
    write_table(tmp_path / f'train.{suffix}', TOLD)
    dataset = MKGFolder(tmp_path)
    assert sum(len(named(dataset, x)) for x in SPLITS) == 4
    assert 'Split' in ' '.join(
        map(str, dataset.findings.examples['unused column'])
    )


@pytest.mark.parametrize('suffix', ['csv', 'tsv', 'jsonl'])
def test_a_split_has_several_words(suffix: str, tmp_path: Path) -> None:
    words = 'train', 'valid', 'VAL', 'dev', 'validation', 'test'
    table = [
        {'head': 'a', 'relation': 'r', 'tail': f't{at}', 'split': word}
        for at, word in enumerate(words)
    ]
    write_table(tmp_path / f'triples.{suffix}', table)
    dataset = MKGFolder(tmp_path)
    assert [len(named(dataset, x)) for x in SPLITS] == [1, 4, 1]


@pytest.mark.parametrize(
    ('suffix', 'line'), [('csv', 4), ('tsv', 4), ('jsonl', 3), ('parquet', 3)]
)
def test_a_split_that_nobody_knows_is_refused(
    suffix: str, line: int, tmp_path: Path
) -> None:
    path = tmp_path / f'triples.{suffix}'
    write_table(path, [*TOLD[:2], {**TOLD[2], 'Split': 'tests'}])
    why = f'{suffix}:{line}: unknown split .?tests'
    with pytest.raises(DatasetError, match=why):
        MKGFolder(tmp_path)


@pytest.mark.parametrize('blank', ['', None, math.nan, 'no key'])
@pytest.mark.parametrize('suffix', ['tsv', 'csv', 'jsonl', 'parquet'])
def test_some_rows_without_a_split(
    suffix: str, blank: Any, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [{**row, 'Split': blank} for row in TOLD]
    if suffix in ('tsv', 'csv') and blank != '':
        pytest.skip('such files have text alone')
    if blank == 'no key':
        rows = [{k: x for k, x in row.items() if k != 'Split'} for row in rows]
    path = tmp_path / f'triples.{suffix}'
    write_table(path, [*TOLD[:3], rows[3]])
    line = 5 if suffix in ('tsv', 'csv') else 4
    why = f'{suffix}:{line}: no split is told; others have one'
    with pytest.raises(DatasetError, match=why):
        MKGFolder(tmp_path)
    # Where nothing is told of any, splits are drawn.
    write_table(path, rows)
    dataset = MKGFolder(tmp_path, split=(0.5, 0.25, 0.25))
    assert sum(len(named(dataset, split)) for split in SPLITS) == 4
    assert len(named(dataset, 'train')) < 4


def test_a_column_of_splits_is_read_as_quickly_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        raise AssertionError('read row by row')

    monkeypatch.setattr(delimited, '_rows', slow)
    write_table(tmp_path / 'triples.tsv', TOLD)
    dataset = MKGFolder(tmp_path)
    assert {x: named(dataset, x) for x in SPLITS} == LEFT


def test_a_relation_that_is_called_split(tmp_path: Path) -> None:
    # Beside head and tail the only other column is the relation.
    text = 'head\tsplit\ttail\n'
    (tmp_path / 'triples.tsv').write_text(text + RING)
    dataset = MKGFolder(tmp_path, split=(1, 0, 0))
    assert sorted(named(dataset, 'train')) == sorted(rows(RING))


def test_another_reader_reads_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'triples.tsv').write_text(RING)
    first = MKGFolder(tmp_path).processed_file_names
    assert MKGFolder(tmp_path).processed_file_names == first
    monkeypatch.setattr(folder, 'READER', folder.READER + 1)
    assert MKGFolder(tmp_path).processed_file_names != first


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('descriptions.tsv', ''),
        ('descriptions.tsv', 'entity\ttext\n'),
        ('names.tsv', '\n'),
        ('names.tsv', 'entity\tname\n'),
    ],
)
def test_files_without_entries_are_told(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / 'triples.tsv').write_text(RING + CHORDS)
    (tmp_path / name).write_text(text)
    dataset = MKGFolder(tmp_path)
    assert dataset.findings.counts['empty file'] == 1
    (found,) = dataset.findings.examples['empty file']
    assert str(found.file).endswith(name)


def test_a_whole_folder(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            'train.csv': 'head,relation,tail\n/m/1,in,/m/2\n/m/3,in,/m/2\n',
            'Valid.tsv': '/m/3\tin\t/m/1\n',
            'test.txt': '/m/2\tin\t/m/3\n',
            'names.tsv': '/m/1\tParis\n/m/2\tFrance\n/m/3\tParis\n/m/9\tX\n',
            'descriptions.jsonl': '{"id": "/m/1", "text": ["a city", "old"]}\n'
            '{"id": "/m/7", "text": "nobody"}\n',
            'images/m.1/b.png': '',
            'images/m.1/a.jpg': '',
            'images/France.png': '',
            'images/Spain.png': '',
        },
    )
    images, texts = Names(), Names()
    dataset = MKGFolder(root, image_encoder=images, text_encoder=texts)
    assert dataset.entity_keys == ['/m/1', '/m/2', '/m/3']
    assert dataset.entity_names == ['Paris (/m/1)', 'France', 'Paris (/m/3)']
    assert dataset.relation_names == dataset.relation_keys == ['in']
    assert dataset.entity_texts == [['a city', 'old'], [], []]
    assert named(dataset, 'train') == [
        ('Paris (/m/1)', 'in', 'France'),
        ('Paris (/m/3)', 'in', 'France'),
    ]
    assert named(dataset, 'val') == [('Paris (/m/3)', 'in', 'Paris (/m/1)')]
    assert named(dataset, 'test') == [('France', 'in', 'Paris (/m/3)')]
    assert dataset.entity_images == [
        [root / 'images/m.1/a.jpg', root / 'images/m.1/b.png'],
        [root / 'images/France.png'],
        [],
    ]
    assert images.items == [str(p) for g in dataset.entity_images for p in g]
    assert texts.items == ['a city', 'old']
    assert pool_features(dataset[0], 'text')[1].tolist() == [
        True,
        False,
        False,
    ]
    assert dataset.coverage() == {'image': 2 / 3, 'text': 1 / 3}
    assert dataset.findings.counts == {
        'header': 1,
        'name of an unknown entity': 1,
        'text of an unknown entity': 1,
        'image of no entity': 1,
    }
    again = MKGFolder(root, image_encoder=Names(), text_encoder=Names())
    assert again.entity_images == dataset.entity_images
    assert again.findings.counts == dataset.findings.counts


def test_triples_are_all_it_needs(tmp_path: Path) -> None:
    dataset = MKGFolder(write(tmp_path, {'triples.tsv': RING + CHORDS}))
    sizes = [len(named(dataset, split)) for split in SPLITS]
    assert sizes == [40, 5, 5]
    everything = [each for split in SPLITS for each in named(dataset, split)]
    assert sorted(everything) == sorted(rows(RING + CHORDS))
    assert dataset.coverage() == {'image': 0, 'text': 0}
    assert dataset.findings.counts == {}


def test_origins_name_the_line_of_every_triple(tmp_path: Path) -> None:
    content = 'head\trelation\ttail\n' + RING + '\n' + RING + CHORDS
    root = write(tmp_path, {'triples.tsv': content})
    dataset = MKGFolder(root)
    origins = dataset.read().origins
    lines = content.splitlines()
    seen = []
    for split in SPLITS:
        assert origins[split].file == root / 'triples.tsv'
        places = origins[split].lines.tolist()
        told = [tuple(lines[place - 1].split('\t')) for place in places]
        assert told == named(dataset, split)
        seen += places
    assert len(set(seen)) == 50
    assert max(seen) > 30


def test_draws_repeat_by_seed(tmp_path: Path) -> None:
    root = write(tmp_path, {'triples.tsv': RING + CHORDS})
    first = named(MKGFolder(root, seed=3), 'test')
    assert named(MKGFolder(root, seed=3, force_reload=True), 'test') == first
    assert named(MKGFolder(root, seed=4), 'test') != first
    half = MKGFolder(root, split=(0.5, 0.3, 0.2), seed=3)
    assert [len(named(half, split)) for split in SPLITS] == [25, 15, 10]
    none = MKGFolder(root, split=(0.9, 0, 0.1), seed=3)
    assert [len(named(none, split)) for split in SPLITS] == [45, 0, 5]
    # The test split does not depend on that of validation.
    assert named(none, 'test') == first
    assert len(list((root / 'processed').iterdir())) == 4


@pytest.mark.parametrize('missing', ['val', 'test'])
def test_a_missing_split_is_drawn_and_the_given_one_kept(
    tmp_path: Path, missing: str
) -> None:
    given = {'val': 'test', 'test': 'val'}[missing]
    kept = 'n0\tr0\tn9\nn3\tr1\tn3\n'
    root = write(tmp_path, {'train.tsv': RING + CHORDS, f'{given}.tsv': kept})
    dataset = MKGFolder(root)
    assert named(dataset, given) == rows(kept)
    # A ninth of what is not given: 0.1 / (0.8 + 0.1).
    assert len(named(dataset, missing)) == round(50 / 9)
    assert dataset.findings.counts == {'self loop': 1}


@pytest.mark.parametrize(
    'split', [(1, 1, 1), (0, 0.5, 0.5), (1.1, -0.1, 0), (0.5, 0.5)]
)
def test_senseless_shares(tmp_path: Path, split: Any) -> None:
    root = write(tmp_path, {'triples.tsv': RING})
    with pytest.raises(ValueError, match='shares of train, val and test'):
        MKGFolder(root, split=split)


def test_duplicates_and_self_loops_are_told_with_their_lines(
    tmp_path: Path,
) -> None:
    content = 'a\tr\tb\na\tr\ta\na\tr\tb\nb\tr\ta\n a \tr\tb\n'
    root = write(tmp_path, {'train.tsv': content, 'test.tsv': 'b\tr\ta\n'})
    with pytest.warns(UserWarning, match='test triple also in train: 1 times'):
        dataset = MKGFolder(root, split=(0.9, 0, 0.1))
    assert named(dataset, 'train') == [
        ('a', 'r', 'b'),
        ('a', 'r', 'a'),
        ('b', 'r', 'a'),
    ]
    # Given splits are kept as they are.
    assert named(dataset, 'test') == [('b', 'r', 'a')]
    findings = dataset.findings
    assert findings.counts == {
        'duplicate triple': 2,
        'self loop': 1,
        'test triple also in train': 1,
    }
    places = {(each.kind, each.line) for each in findings}
    assert places == {
        ('duplicate triple', 3),
        ('duplicate triple', 5),
        ('self loop', 2),
        ('test triple also in train', 1),
    }
    text = str(findings)
    train = root / 'train.tsv'
    assert (
        f"{train}:5: dropped 'a' | 'r' | 'b', which stands in line 1" in text
    )
    assert 'stands in train.tsv:4 too' in text


def test_what_val_and_test_have_and_train_lacks(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            'train.tsv': 'a\tr\tb\n',
            'val.tsv': 'a\tr\tb\na\tr\tc\nc\tr\ta\n',
            'test.tsv': 'a\ts\tc\na\tr\tc\n',
        },
    )
    with pytest.warns(UserWarning, match='also in'):
        dataset = MKGFolder(root)
    assert dataset.findings.counts == {
        'val triple also in train': 1,
        'val triple also in test': 1,
        'entity of val not in train': 1,
        'entity of test not in train': 1,
        'relation of test not in train': 1,
    }
    lines = {each.kind: each.line for each in dataset.findings}
    assert lines['entity of val not in train'] == 2
    assert lines['val triple also in test'] == 2


def test_clean_splits_warn_of_nothing(tmp_path: Path) -> None:
    root = write(tmp_path, {'triples.tsv': RING + CHORDS})
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        MKGFolder(root)


@pytest.mark.parametrize('first', ['NFC', 'NFD'])
def test_unicode_twins_are_one_entity(tmp_path: Path, first: str) -> None:
    second = {'NFC': 'NFD', 'NFD': 'NFC'}[first]
    one, two = (unicodedata.normalize(f, 'Málaga') for f in (first, second))
    content = f'{one}\tin\tb\n{one}\tin\tc\n{two}\tin\td\n{two}\tin\te\n'
    root = write(
        tmp_path, {'train.tsv': content, 'texts.tsv': f'{two}\ta city\n'}
    )
    dataset = MKGFolder(root, split=(1, 0, 0))
    name = unicodedata.normalize('NFC', 'Málaga')
    assert dataset.entity_names == [name, 'b', 'c', 'd', 'e']
    assert dataset.entity_texts[0] == ['a city']
    assert dataset.findings.counts == {'Unicode twins': 1}
    assert [each.line for each in dataset.findings] == [3]


def test_names_that_differ_by_case_stay_apart(tmp_path: Path) -> None:
    content = 'Java\tis\tjava\nJAVA\tIs\tb\nstraße\tis\tSTRASSE\n'
    root = write(tmp_path, {'train.tsv': content})
    dataset = MKGFolder(root, split=(1, 0, 0))
    assert dataset.num_entities == 6
    assert dataset.findings.counts == {'case twins': 3}
    text = str(dataset.findings)
    assert "'Java', 'java', 'JAVA'" in text
    assert 'relation names that differ by case only are kept apart' in text


def test_names_that_look_the_same_stay_apart(tmp_path: Path) -> None:
    twins = ['New York', 'New\xa0York', 'New  York', 'Ｎew York']
    twins += ['New\u200b York', '\ufeffNew York', 'New\u2003York']
    content = ''.join(f'{each}\tis\tx{at}\n' for at, each in enumerate(twins))
    # The first of a file would be its byte order mark.
    root = write(tmp_path, {'train.tsv': content + 'x1\ti\u00ads\tx2\n'})
    dataset = MKGFolder(root, split=(1, 0, 0))
    assert dataset.num_entities == 2 * len(twins)
    assert dataset.findings.counts == {'spelling twins': 2}
    first, second = dataset.findings
    assert first.message == (
        'entity names that differ by spaces or look-alike signs only are '
        "kept apart: 'New York', 'New\\xa0York', 'New  York', 'Ｎew York', "
        "'New\\u200b York'"
    )
    assert second.message.endswith(r"'is', 'i\xads'")


def test_readable_names(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            'train.tsv': 'http://x/a_b%C3%A9\thttp://x#r\thttp://y/a_b%C3%A9\n'
            'Q1\tP1\tAC/DC\n',
            'names.csv': 'id,name\nQ1,One\nQ1,Uno\nP1,first\n',
            'texts.jsonl': '{"id": "AC/DC", "name": "The Band", "text": "x"}'
            '\n{"id": "Q1", "title": "Eins", "text": "y"}\n',
        },
    )
    dataset = MKGFolder(root, split=(1, 0, 0))
    assert dataset.entity_names == [
        'a bé (http://x/a_b%C3%A9)',
        'a bé (http://y/a_b%C3%A9)',
        'One',
        'The Band',
    ]
    assert dataset.relation_names == ['r', 'first']
    assert dataset.relation_keys == ['http://x#r', 'P1']
    assert dataset.findings.counts == {'header': 1, 'second name': 2}


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            'train.tsv': 'a\ufffd\tr\tb\n',
            'texts.jsonl': r"""
                {"id": "a\ud800", "text": ["\udc00", "c\ud800"]}
                {"id": "b", "name": "\udfff", "text": "\ud83d\ude00"}
            """,
        },
    )
    dataset = MKGFolder(root)
    assert dataset.entity_names == ['a\ufffd', '\ufffd']
    assert dataset.entity_texts == [['\ufffd', 'c\ufffd'], ['\U0001f600']]


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({'texts.tsv': 'a\tb\n'}, "no triples: put .* found only 'texts.tsv'"),
        ({'val.tsv': 'a\tr\tb\n'}, "no triples: .*found only 'val.tsv'"),
        ({'triples.md': ''}, 'no triples'),
        ({'train.tsv': '', 'train.csv': ''}, "both 'train.csv' and 'train.ts"),
        ({'triples.tsv': '', 'test.csv': ''}, "both 'test.csv' and 'tripl"),
        ({'triples.tsv': '', 'val.csv': ''}, "both 'triples.tsv' and 'val"),
        ({'val.tsv': '', 'valid.tsv': ''}, "both 'val.tsv' and 'valid.tsv'"),
        ({'triples.tsv': ''}, "no training triple in 'triples.tsv'"),
        ({'train.tsv': 'head\trelation\ttail\n'}, 'no training triple'),
        ({'train.tsv': 'a\tr\tb\n', 'val.tsv': 'a\tr\n'}, 'val.tsv:1: exp'),
        ({'train.tsv': 'a\tr\tb\n', 'names.tsv': 'a\n'}, 'names.tsv:1: exp'),
    ],
)
def test_folders_that_cannot_be_read(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path, files)
    with pytest.raises(DatasetError, match=message):
        MKGFolder(tmp_path)
    assert not (tmp_path / 'processed').exists()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder '.*none'"):
        MKGFolder(tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_every_change_of_a_file_is_seen(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            'triples.tsv': RING,
            'texts.tsv': 'n0\tone\n',
            'names.tsv': 'n0\tzero\n',
            'images/n1.png': 'pixels',
        },
    )
    kept = {MKGFolder(root).processed_file_names[0]}
    assert kept == {MKGFolder(root).processed_file_names[0]}
    # Same size, same time: only the content tells.
    stamp = (root / 'texts.tsv').stat().st_mtime_ns
    write(root, {'texts.tsv': 'n0\ttwo\n'})
    os.utime(root / 'texts.tsv', ns=(stamp, stamp))
    assert MKGFolder(root).entity_texts[0] == ['two']
    kept.add(MKGFolder(root).processed_file_names[0])
    for name, content in (
        ('names.tsv', 'n0\tnull\n'),
        ('triples.tsv', RING + 'n0\tr0\tn5\n'),
        ('images/n1.png', 'more pixels'),
        ('images/n2.png', ''),
    ):
        write(root, {name: content})
        kept.add(MKGFolder(root).processed_file_names[0])
    assert len(kept) == 6
    os.utime(root / 'images' / 'n1.png', ns=(5, 5))
    assert MKGFolder(root).processed_file_names[0] not in kept
    assert MKGFolder(root).entity_images[2] == [root / 'images' / 'n2.png']


def test_an_interrupted_run_leaves_nothing_half_written(
    tmp_path: Path,
) -> None:
    root = write(tmp_path, {'triples.tsv': RING, 'texts.tsv': 'n0\tone\n'})
    before = sorted(root.rglob('*'))
    with pytest.raises(KeyboardInterrupt):
        MKGFolder(root, text_encoder=Fails())
    files = [path for path in root.rglob('*') if path.is_file()]
    assert sorted(files) == before
    assert MKGFolder(root, text_encoder=Names()).num_entities == 10


def test_features_stand_in_for_an_encoder(tmp_path: Path) -> None:
    root = write(tmp_path, {'triples.tsv': RING, 'names.tsv': 'n3\tthree\n'})
    file = tmp_path / 'sound.safetensors'
    # By label, or by readable name.
    save_features(file, torch.ones(2, 3), ['n1', 'three'])
    dataset = MKGFolder(root, features={'sound': file})
    _, present = pool_features(dataset[0], 'sound')
    assert present.nonzero().flatten().tolist() == [1, 3]


def test_the_findings_are_json(tmp_path: Path) -> None:
    root = write(tmp_path, {'triples.tsv': RING + RING})
    dataset = MKGFolder(root)
    text = json.dumps(dataset.findings.to_json())
    assert re.search('duplicate triple.*10', text)


def test_an_id_goes_before_the_name_of_another(tmp_path: Path) -> None:
    root = write(
        tmp_path / 'g',
        {
            'triples.tsv': '1\tr\t2\n2\tr\t3\n3\tr\t1\n',
            'names.tsv': '1\tAnimal Farm\n2\tCatch\n3\t2\n',
        },
    )
    file = tmp_path / 'x.safetensors'
    save_features(file, torch.tensor([[1.0], [2.0], [3.0]]), ['1', '2', '3'])
    dataset = MKGFolder(root, split=(1.0, 0.0, 0.0), features={'a': file})
    x, present = pool_features(dataset[0], 'a')
    assert present.all()
    assert x[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert 'feature of several entities' in dataset.findings.counts


def test_files_that_play_no_part_are_named(tmp_path: Path) -> None:
    root = write(
        tmp_path / 'g',
        {
            'train.tsv': 'a\tr\tb\nb\tr\tc\n',
            'dev.tsv': 'a\tr\tc\n',
            'description.tsv': 'a\tthe first letter\n',
            'extra.tsv': 'x\ty\tz\n',
        },
    )
    (root / 'image').mkdir()
    dataset = MKGFolder(root, split=(1.0, 0.0, 0.0))
    assert named(dataset, 'val') == [('a', 'r', 'c')]
    assert dataset.entity_texts[0] == ['the first letter']
    told = dataset.findings.examples['unused file']
    assert [each.message for each in told] == [
        "'extra.tsv' plays no part",
        "'image' plays no part; call it 'images'",
    ]


def test_ntriples_with_names_and_texts(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    comment = '<http://www.w3.org/2000/01/rdf-schema#comment>'
    root = write(
        tmp_path,
        {
            'train.nt': '<http://x/A> <http://x/r> _:b .\n'
            f'<http://x/A> {label} "Ay"@en .\n'
            f'<http://x/r> {label} "relates to" .\n'
            f'<http://x/A> {comment} "the first" .\n',
            'test.nt': '_:b <http://x/r> <http://x/A> .\n',
            'images/A.png': '',
        },
    )
    dataset = MKGFolder(root, split=(0.9, 0, 0.1))
    assert dataset.entity_keys == ['http://x/A', '_:b']
    assert dataset.entity_names == ['Ay', '_:b']
    assert dataset.relation_names == ['relates to']
    assert dataset.entity_texts == [['the first'], []]
    assert dataset.entity_images[0] == [root / 'images' / 'A.png']
    assert named(dataset, 'test') == [('_:b', 'relates to', 'Ay')]


def test_files_of_features_are_used_by_name(tmp_path: Path) -> None:
    (tmp_path / 'triples.tsv').write_text('a\tr\tb\nb\tr\ta\n')
    np.save(tmp_path / 'x.npy', np.ones((2, 3), 'f4'))
    (tmp_path / 'x.names.txt').write_text('b\na\n')
    options: dict[str, Any] = {'split': (1.0, 0.0, 0.0)}
    told = MKGFolder(tmp_path, **options).findings
    assert told.counts['unused file'] == 2
    # The advice works as it is.
    assert f"features={{'x': '{tmp_path / 'x.npy'}'}}" in str(told)
    given = {'image': tmp_path / 'x.npy'}
    used = MKGFolder(tmp_path, features=given, **options)
    assert 'unused file' not in used.findings.counts


def test_texts_of_nobody_are_told(tmp_path: Path) -> None:
    (tmp_path / 'triples.tsv').write_text(RING)
    (tmp_path / 'texts.tsv').write_text('N1\tone\nN2\ttwo\n')
    why = 'no entity has any text, .*; 2 are of entities that no triple has'
    with pytest.raises(DatasetError, match=why):
        MKGFolder(tmp_path, text_encoder=Names(), split=(1, 0, 0))
    (tmp_path / 'texts.tsv').unlink()
    with pytest.raises(DatasetError, match='encode; pass text_encoder=None'):
        MKGFolder(tmp_path, text_encoder=Names(), split=(1, 0, 0))
