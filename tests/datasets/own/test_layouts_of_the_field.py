"""One graph in the layouts that people have: each gives the same graph."""

import bz2
import csv
import gzip
import json
import lzma
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fleet import ENTITIES, RELATIONS, ROWS, SPLITS, Row

from dsom_pyg.datasets import MKGFolder
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.graph import get_split
from dsom_pyg.kg import KG

# Ids of another order than that of the first occurrence.
E_IDS = {
    name: at for at, name in enumerate(sorted(ENTITIES, key=lambda x: x[::-1]))
}
R_IDS = {name: at for at, name in enumerate(RELATIONS)}
NAMED = {'train': 'train', 'valid': 'val', 'test': 'test'}


def write(path: Path, lines: Iterable[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def tabs(rows: Iterable[Sequence[object]]) -> list[str]:
    return ['\t'.join(map(str, row)) for row in rows]


def by_id(split: str, order: str = 'hrt') -> list[tuple[int, ...]]:
    out = []
    for h, r, t in SPLITS[split]:
        ids = {'h': E_IDS[h], 'r': R_IDS[r], 't': E_IDS[t]}
        out.append(tuple(ids[letter] for letter in order))
    return out


def openke(root: Path) -> None:
    for name, ids in (('entity', E_IDS), ('relation', R_IDS)):
        lines = [str(len(ids)), *tabs(ids.items())]
        write(root / f'{name}2id.txt', lines)
    for split in SPLITS:
        rows = by_id(split, 'htr')
        lines = [' '.join(map(str, row)) for row in rows]
        write(root / f'{split}2id.txt', [str(len(rows)), *lines])


def rotate(root: Path) -> None:
    for name, ids in (('entities', E_IDS), ('relations', R_IDS)):
        write(root / f'{name}.dict', tabs((at, x) for x, at in ids.items()))
    for split, rows in SPLITS.items():
        write(root / f'{split}.txt', tabs(rows))


def dgl_ke(root: Path) -> None:
    for name, ids in (('entities', E_IDS), ('relations', R_IDS)):
        write(root / f'{name}.tsv', tabs((at, x) for x, at in ids.items()))
    for split in SPLITS:
        write(root / f'{split}.tsv', tabs(by_id(split)))


def libkge(root: Path) -> None:
    for name, ids in (('entity', E_IDS), ('relation', R_IDS)):
        lines = tabs((at, x) for x, at in ids.items())
        write(root / f'{name}_ids.del', lines)
    for split in SPLITS:
        write(root / f'{split}.del', tabs(by_id(split)))
    write(root / 'entity_strings.del', tabs((x, x.upper()) for x in ENTITIES))


def pykeen(root: Path) -> None:
    triples = pytest.importorskip('pykeen.triples')
    kept = triples.TriplesFactory.from_labeled_triples(
        np.array(ROWS), entity_to_id=E_IDS, relation_to_id=R_IDS
    )
    kept.to_path_binary(root)


def test_numbers_are_ids_or_labels_in_all_files(tmp_path: Path) -> None:
    # Labels are numbers, and one more than the ids that triples have. Files
    # without id 0 do not tell.
    write(tmp_path / 'entities.tsv', tabs((at, at + 1) for at in range(30)))
    write(tmp_path / 'relations.tsv', ['0\tlikes'])
    train = [(at, 0, (at + 1) % 30) for at in range(30)]
    write(tmp_path / 'train.tsv', tabs(train))
    write(tmp_path / 'valid.tsv', tabs([(3, 0, 9), (4, 0, 8)]))
    write(tmp_path / 'test.tsv', tabs([(5, 0, 1)]))
    dataset = read(tmp_path)
    part = KG(dataset[0]).triples('val')
    assert part.edge_index.tolist() == [[3, 4], [9, 8]]
    assert 'labels or ids' not in dataset.findings.counts
    # Where all fits both, labels are meant, and that is said.
    for name in ('train', 'valid', 'test'):
        write(tmp_path / f'{name}.tsv', tabs([(3, 0, 9), (4, 0, 8)]))
    dataset = read(tmp_path)
    part = KG(dataset[0]).triples('train')
    assert part.edge_index.tolist() == [[2, 3], [8, 7]]
    assert dataset.findings.counts['labels or ids'] == 1


LAYOUTS: list[tuple[Callable[[Path], None], str]] = [
    (openke, 'an OpenKE folder'),
    (rotate, 'a RotatE folder'),
    (dgl_ke, 'a DGL-KE folder'),
    (libkge, 'a LibKGE folder'),
    (pykeen, 'a PyKEEN export'),
]


def read(root: Path, **options: Any) -> MKGFolder:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MKGFolder(
            root, text_encoder=None, image_encoder=None, **options
        )


def triples(dataset: MKGFolder, split: str) -> list[Row]:
    part = get_split(dataset[0], split)
    names, rels = dataset.entity_keys, dataset.relation_keys
    ends = part.edge_index.t().tolist()
    return [
        (names[h], rels[r], names[t])
        for (h, t), r in zip(ends, part.edge_type.tolist(), strict=True)
    ]


def everything(dataset: MKGFolder) -> list[Row]:
    return [row for x in NAMED.values() for row in triples(dataset, x)]


@pytest.mark.parametrize(
    ('make', 'name'), LAYOUTS, ids=[make.__name__ for make, _ in LAYOUTS]
)
def test_layouts_with_ids(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    make(tmp_path)
    dataset = read(tmp_path)
    # The order is theirs, so that matrices of features fit.
    assert dataset.entity_keys == list(E_IDS)
    assert dataset.relation_keys == list(R_IDS)
    if make is pykeen:
        assert sorted(everything(dataset)) == sorted(ROWS)
    else:
        for theirs, ours in NAMED.items():
            assert triples(dataset, ours) == SPLITS[theirs]
    (told,) = dataset.findings.examples['layout']
    assert told.message == f'read as {name}: ids and their order kept'
    headers = dataset.findings.counts['header']
    assert headers == (3 if make is pykeen else 0)
    if make is libkge:
        assert dataset.entity_names == [x.upper() for x in E_IDS]
    assert 'unused file' not in dataset.findings.counts


def test_ids_behind_a_label_in_two_forms_of_unicode_are_not_kept(
    tmp_path: Path,
) -> None:
    names = ['a', 'caf\u00e9', 'cafe\u0301', 'b']
    write(tmp_path / 'entities.dict', tabs(enumerate(names)))
    write(tmp_path / 'relations.dict', ['0\tr'])
    write(tmp_path / 'train.txt', tabs([('a', 'r', 'b'), ('b', 'r', 'a')]))
    dataset = read(tmp_path, split=(1, 0, 0))
    assert dataset.entity_keys == ['a', 'caf\u00e9', 'b']
    (told,) = dataset.findings.examples['layout']
    assert told.message == (
        'read as a RotatE folder: ids and their order kept, but of entities '
        'up to the first of 1 whose label came before in another Unicode form'
    )
    assert dataset.findings.counts['Unicode twins'] == 1


@pytest.mark.parametrize('labels', ['plain', 'numbers'])
def test_labels_that_are_numbers_are_no_ids(
    labels: str, tmp_path: Path
) -> None:
    # 'b' of id 0 and so on, or labels that look like ids of each other.
    names = ['b', 'c', 'a'] if labels == 'plain' else ['1', '2', '0']
    write(tmp_path / 'entities.dict', tabs(enumerate(names)))
    write(tmp_path / 'relations.dict', ['0\tr'])
    rows = [(names[0], 'r', names[1]), (names[2], 'r', names[0])]
    write(tmp_path / 'train.txt', tabs(rows))
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert triples(dataset, 'train') == rows


@pytest.mark.parametrize(
    ('file', 'lines', 'message'),
    [
        ('train.del', ['0\t0'], r'train.del:1: expected 3 columns .*got 2'),
        ('train.del', ['0\t0\t99'], r"train.del:1: unknown tail '99'"),
        ('train.del', ['0\t0\tx'], r"train.del:1: unknown tail 'x'"),
        ('entity_ids.del', ['0\ta', '2\tb'], 'once each of 0 to 1'),
        ('entity_ids.del', ['0\ta', '0\tb'], 'once each of 0 to 1'),
        ('entity_ids.del', ['0\ta', '1\ta'], "label 'a' comes a second time"),
    ],
)
def test_ids_that_do_not_fit(
    file: str, lines: list[str], message: str, tmp_path: Path
) -> None:
    libkge(tmp_path)
    write(tmp_path / file, lines)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_kg_bert(tmp_path: Path) -> None:
    key = {name: f'/m/{at:02x}' for at, name in enumerate(ENTITIES)}
    rel = {name: f'/{name.replace(" ", "_")}' for name in RELATIONS}
    for split, rows in SPLITS.items():
        coded = [(key[h], rel[r], key[t]) for h, r, t in rows]
        write(tmp_path / f'{split.replace("valid", "dev")}.tsv', tabs(coded))
    write(tmp_path / 'entities.txt', key.values())
    write(tmp_path / 'relations.txt', rel.values())
    write(tmp_path / 'relation2text.txt', tabs((rel[x], x) for x in rel))
    texts = [(key[x], f'{x} is something at sea.') for x in key]
    write(tmp_path / 'entity2text.txt', tabs((key[x], x) for x in key))
    write(tmp_path / 'entity2textlong.txt', tabs(texts))
    dataset = read(tmp_path)
    assert dataset.entity_names == ENTITIES
    assert dataset.relation_names == RELATIONS
    assert dataset.entity_keys == list(key.values())
    assert all(len(each) == 1 for each in dataset.entity_texts)
    assert dataset.entity_texts[0] == ['Ferry Auk is something at sea.']
    assert not dataset.findings.counts
    # Without the long texts, the short ones are both.
    (tmp_path / 'entity2textlong.txt').unlink()
    dataset = read(tmp_path)
    assert dataset.entity_names == ENTITIES
    assert dataset.entity_texts[0] == ['Ferry Auk']


PLAIN = ''.join(f'{line}\n' for line in tabs(ROWS)).encode()


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('triples.tsv.gz', gzip.compress(PLAIN)),
        ('Triples.TSV.GZ', gzip.compress(PLAIN)),
        ('triples.txt.bz2', bz2.compress(PLAIN)),
        ('triples.tsv.xz', lzma.compress(PLAIN)),
        ('triples.txt', PLAIN.decode().encode('utf-16')),
        ('triples.tsv', b'# exported 2024\tby fleet\n#\n' + PLAIN),
        ('triples.tsv', b'# exported\n#head\trelation\ttail\n' + PLAIN),
        ('triples.csv', PLAIN.replace(b'\t', b',')),
        ('triples.csv', b'# by "fleet\n' + PLAIN.replace(b'\t', b';')),
        ('triples.jsonl.gz', None),
        ('triples.ndjson', None),
        ('triples.json', None),
    ],
)
def test_ways_to_keep_a_file(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    objects = [dict(zip('hrt', row, strict=True)) for row in ROWS]
    if content is None and name.endswith('.json'):
        content = json.dumps(objects).encode()
    elif content is None:
        content = '\n'.join(map(json.dumps, objects)).encode()
        content = gzip.compress(content) if name.endswith('gz') else content
    (tmp_path / name).write_bytes(content)
    dataset = read(tmp_path)
    assert sorted(everything(dataset)) == sorted(ROWS)
    comments = content.count(b'# ') if content.startswith(b'# ') else 0
    assert dataset.findings.counts['comment'] >= comments


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('triples.tsv.gz', PLAIN, 'cannot be unpacked: Not a gzipped file'),
        ('triples.tsv.gz', gzip.compress(PLAIN)[:-9], 'cannot be unpacked'),
        ('triples.tsv.bz2', PLAIN, 'cannot be unpacked: Invalid data'),
        ('triples.tsv.bz2', bz2.compress(PLAIN)[:-9], 'cannot be unpacked'),
        ('triples.tsv.xz', PLAIN, 'cannot be unpacked'),
        ('triples.tsv.zst', PLAIN, 'compressed as .zst is; unpack it first'),
        ('triples.tsv', PLAIN.decode().encode('utf-16')[:-1], 'not UTF-16'),
    ],
)
def test_files_that_cannot_be_opened(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"head": "a", "relation": "r"}', ':2: holds no triple: .*keys head'),
        ('["a", "r"]', ':2: holds no triple'),
        ('7', ':2: holds no triple'),
        (
            '{"head": "a", "relation": "r", "tail": ""}',
            ':2: the tail is empty',
        ),
        (
            '{"head": "a", "relation": "r", "tail": null}',
            'the tail is missing',
        ),
        ('{"head": {}, "relation": "r", "tail": "b"}', 'the head must be'),
        ('{"head": true, "relation": "r", "tail": "b"}', 'the head must be'),
        ('{"head": "a"', ':2: is not JSON'),
    ],
)
def test_json_that_is_no_triple(
    line: str, message: str, tmp_path: Path
) -> None:
    write(tmp_path / 'triples.jsonl', ['["a", "r", "b"]', line])
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_a_list_in_a_cell(tmp_path: Path) -> None:
    write(tmp_path / 'triples.jsonl', ['{"h": "a", "r": "r", "t": ["b", 7]}'])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert everything(dataset) == [('a', 'r', 'b'), ('a', 'r', '7')]
    assert dataset.findings.counts == {'list in a cell': 1}


def test_labels_like_lists(tmp_path: Path) -> None:
    # As pandas writes a column of lists into a table.
    rows = [('a', 'has', "['b', 'c']"), ('a', 'has', '[7]'), ('a', 'is', 'x')]
    write(tmp_path / 'triples.tsv', tabs(rows))
    with pytest.warns(UserWarning, match='1 entities are called as lists'):
        dataset = MKGFolder(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.findings.counts['labels like lists'] == 1


def test_texts_in_a_json_file(tmp_path: Path) -> None:
    write(tmp_path / 'triples.tsv', tabs(ROWS))
    texts = {name: [name.lower(), 'more'] for name in ENTITIES}
    (tmp_path / 'texts.json').write_text(json.dumps(texts))
    dataset = read(tmp_path)
    at = dataset.entity_keys.index('mail')
    assert dataset.entity_texts[at] == ['mail', 'more']


def test_a_row_like_a_comment(tmp_path: Path) -> None:
    write(tmp_path / 'triples.tsv', ['#1\tr\tb', *tabs(ROWS)])
    dataset = read(tmp_path)
    assert ('#1', 'r', 'b') in everything(dataset)
    assert dataset.findings.counts['row like a comment'] == 1


@pytest.mark.parametrize('name', ['triples.csv', 'triples.tsv'])
def test_a_comment_with_as_many_cells(name: str, tmp_path: Path) -> None:
    mark = ',' if name.endswith('.csv') else '\t'
    rows = [('# exported by me', 'on monday', 'with care'), (), ('# more',)]
    rows += [('head', 'relation', 'tail'), *ROWS]
    write(tmp_path / name, [mark.join(row) for row in rows])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert everything(dataset) == [*ROWS]
    assert dataset.findings.counts['comment'] == 2


def test_facts_of_yago_have_ids(tmp_path: Path) -> None:
    rows = [(f'<{h}>', f'<{r}>', f'<{t}>') for h, r, t in ROWS]
    # Not each has one.
    lines = [(f'<id_{at}_x>' * (at > 0), *x) for at, x in enumerate(rows)]
    write(tmp_path / 'triples.tsv', tabs(lines))
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert everything(dataset) == rows
    assert dataset.findings.counts == {'unused column': 1}
    # What is no id of a fact is the head.
    lines[0] = ('<Auk>', *rows[0])
    write(tmp_path / 'triples.tsv', tabs(lines))
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert everything(dataset)[0] == ('<Auk>', rows[0][0], rows[0][1])


def test_yago(tmp_path: Path) -> None:
    def bracketed(word: str) -> str:
        return f'<{word.replace(" ", "_")}>'

    rows = [[bracketed(word) for word in row] for row in ROWS]
    for row in rows[::6]:
        row += ['<occursSince>', '"1962-##-##"']
    write(tmp_path / 'triples.txt', tabs(rows))
    dataset = read(tmp_path)
    assert set(dataset.relation_names) == set(RELATIONS)
    assert set(dataset.entity_names) == set(ENTITIES)
    assert len(everything(dataset)) == len(ROWS)
    assert dataset.findings.counts['time or qualifier'] == len(rows[::6])


@pytest.mark.parametrize(
    'times',
    [
        [f'2014-01-{at % 28 + 1:02}' for at in range(len(ROWS))],
        [str(24 * at) for at in range(len(ROWS))],
        [f'{24 * at}\t0' for at in range(len(ROWS))],
        ['2014-01-01\t2015-01-01'] * len(ROWS),
    ],
)
def test_temporal_quadruples(times: list[str], tmp_path: Path) -> None:
    rows = [(*row, time) for row, time in zip(ROWS, times, strict=True)]
    write(tmp_path / 'triples.txt', tabs(rows))
    dataset = read(tmp_path)
    assert sorted(everything(dataset)) == sorted(ROWS)
    assert dataset.findings.counts['time or qualifier'] == len(ROWS)


@pytest.mark.parametrize(
    'rows',
    [
        [(*row, 1 if at % 2 else -1) for at, row in enumerate(ROWS)],
        [(*row, at % 2) for at, row in enumerate(ROWS)],
        [(at, *row) for at, row in enumerate(ROWS)],
        [(at, h, r, 1990 + at) for at, (h, r, _) in enumerate(ROWS)],
        [(*row, 'more') for row in ROWS],
    ],
    ids=['signs', 'labels', 'index', 'index and years', 'words'],
)
def test_a_fourth_column_that_is_no_time(
    rows: list[Sequence[object]], tmp_path: Path
) -> None:
    write(tmp_path / 'triples.txt', tabs(rows))
    with pytest.raises(DatasetError, match=':1: expected 3 columns'):
        read(tmp_path)


def test_ntriples_by_another_name(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')

    def iri(word: str) -> str:
        return f'<http://example.org/{word.replace(" ", "_")}>'

    lines = [f'{" ".join(map(iri, row))} .' for row in ROWS]
    write(tmp_path / 'triples.txt', lines)
    dataset = read(tmp_path)
    assert set(dataset.entity_names) == set(ENTITIES)
    assert set(dataset.relation_names) == set(RELATIONS)
    assert len(everything(dataset)) == len(ROWS)


def test_ntriples_of_mmkb(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    test_ntriples_by_another_name(tmp_path)
    iri = {x: f'http://example.org/{x.replace(" ", "_")}' for x in ENTITIES}
    kind = '<http://www.w3.org/2001/XMLSchema#double>'
    write(
        tmp_path / 'NumericLiterals.txt',
        (
            f'<{each}> <http://example.org/l> "3.5"^^{kind} .'
            for each in iri.values()
        ),
    )
    write(
        tmp_path / 'SameAsLink.txt',
        (f'/m/{at:04} <SameAs> <{x}> .' for at, x in enumerate(iri.values())),
    )
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'm.0002.jpg').write_bytes(b'')
    dataset = read(tmp_path)
    assert set(dataset.entity_names) == set(ENTITIES)
    assert set(dataset.relation_names) == set(RELATIONS)
    assert dataset.findings.counts['literal'] == len(ENTITIES)
    owners = [
        name
        for name, paths in zip(
            dataset.entity_names, dataset.entity_images, strict=True
        )
        if paths
    ]
    assert owners == [ENTITIES[2]]


def test_wikidata_truthy(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    base, xsd = 'http://www.wikidata.org', 'http://www.w3.org/2001/XMLSchema#'
    label = '<http://www.w3.org/2000/01/rdf-schema#label>'
    about = '<http://schema.org/description>'
    items = {x: f'<{base}/entity/Q{at}>' for at, x in enumerate(ENTITIES)}
    direct = {
        x: f'<{base}/prop/direct/P{at}>' for at, x in enumerate(RELATIONS, 900)
    }
    lines = [f'{items[h]} {direct[r]} {items[t]} .' for h, r, t in ROWS]
    # Properties have their names at another IRI.
    lines += [
        f'<{base}/entity/P{at}> {label} "{x}"@en .'
        for at, x in enumerate(RELATIONS, 900)
    ]
    for at, (name, item) in enumerate(items.items()):
        lines += [
            f'{item} {label} "{name} (de)"@de .',
            f'{item} {label} "{name}"@en-gb .',
            f'{item} {about} "no. {at}"@en .',
            f'{item} <{base}/prop/direct/P571> '
            f'"19{at:02}-01-01T00:00:00Z"^^<{xsd}dateTime> .',
            f'{item} <{base}/prop/direct/P2043> "+{at}.5"^^<{xsd}decimal> .',
            f'{item} <{base}/prop/direct/P18> '
            f'<http://commons.wikimedia.org/wiki/N%20{at}.jpg> .',
        ]
    write(tmp_path / 'triples.nt', lines)
    dataset = read(tmp_path)
    assert set(dataset.entity_names) == set(ENTITIES)
    assert set(dataset.relation_names) == set(RELATIONS)
    assert len(everything(dataset)) == len(ROWS)
    texts = dict(zip(dataset.entity_names, dataset.entity_texts, strict=True))
    assert texts == {x: [f'no. {at}'] for at, x in enumerate(ENTITIES)}
    assert dataset.findings.counts == {
        'image address': len(ENTITIES),
        'other language': len(ENTITIES),
        'literal': 2 * len(ENTITIES),
        'values': 1,
    }
    made = read(tmp_path, literals='features')
    assert made[0]['number'].x.size() == (len(ENTITIES), 4)
    assert 'literal' not in made.findings.counts


def test_columns_that_are_told(tmp_path: Path) -> None:
    for split in SPLITS:
        write(tmp_path / f'{split}.txt', tabs(by_id(split, 'htr')))
    with pytest.warns(UserWarning, match="pass columns='htr'"):
        swapped = MKGFolder(tmp_path)
    (told,) = swapped.findings.examples['columns may be swapped']
    assert "columns='htr'" in told.message
    dataset = read(tmp_path, columns='htr')
    assert dataset.num_entities == len(ENTITIES)
    assert dataset.num_relations == len(RELATIONS)
    assert 'columns may be swapped' not in dataset.findings.counts
    names = {str(at): name for name, at in E_IDS.items()}
    rels = {str(at): name for name, at in R_IDS.items()}
    coded = triples(dataset, 'test')
    assert [(names[h], rels[r], names[t]) for h, r, t in coded] == SPLITS[
        'test'
    ]
    with pytest.raises(ValueError, match="got 'hrr'"):
        read(tmp_path, columns='hrr')


def test_ids_between_spaces(tmp_path: Path) -> None:
    for split in SPLITS:
        rows = by_id(split, 'htr')
        write(tmp_path / f'{split}.txt', (' '.join(map(str, x)) for x in rows))
    dataset = read(tmp_path, columns='htr')
    assert dataset.num_entities == len(ENTITIES)
    assert dataset.num_relations == len(RELATIONS)
    assert 'columns may be swapped' in read(tmp_path).findings.counts


def test_a_header_goes_before_columns(tmp_path: Path) -> None:
    with open(tmp_path / 'triples.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerows([('head', 'relation', 'tail'), *ROWS])
    assert sorted(everything(read(tmp_path, columns='thr'))) == sorted(ROWS)


KEYS = {name: str(at) for at, name in enumerate(ENTITIES)}


def quoted(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with open(path, 'w', newline='', encoding='utf-8') as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


def neo4j_admin(root: Path) -> None:
    rows = [(KEYS[h], 1990, KEYS[t], r.upper()) for h, r, t in ROWS]
    header = ':START_ID(Thing)', 'since:int', ':END_ID(Thing)', ':TYPE'
    quoted(root / 'edges.csv', [header, *rows])
    header = 'key:ID(Thing)', 'name', 'description:string', ':LABEL'
    things = [(key, name, f'A {name}.', 'Thing') for name, key in KEYS.items()]
    quoted(root / 'things.csv', [header, *things])


def apoc_csv(root: Path) -> None:
    header = '_id', '_labels', 'description', 'name', '_start', '_end', '_type'
    rows: list[Sequence[object]] = [header]
    for name, key in KEYS.items():
        rows.append((key, ':Thing', f'A {name}.', name, '', '', ''))
    for h, r, t in ROWS:
        rows.append(('', '', '', '', KEYS[h], KEYS[t], r.upper()))
    quoted(root / 'all.csv', rows)


def apoc_json(root: Path) -> None:
    items: list[dict[str, Any]] = []
    for name, key in KEYS.items():
        properties = {'name': name, 'description': f'A {name}.', 'at': [1, 2]}
        node = {'type': 'node', 'id': key, 'labels': ['Thing']}
        items.append({**node, 'properties': properties})
    for at, (h, r, t) in enumerate(ROWS):
        ends = {'start': {'id': KEYS[h]}, 'end': {'id': KEYS[t]}}
        about = {'type': 'relationship', 'id': str(at), 'label': r.upper()}
        items.append(about | ends)
    write(root / 'all.json', map(json.dumps, items))


@pytest.mark.parametrize('make', [neo4j_admin, apoc_csv, apoc_json])
def test_neo4j(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    dataset = read(tmp_path)
    assert dataset.entity_names == ENTITIES
    assert dataset.entity_texts[0] == ['A Ferry Auk.']
    assert dataset.entity_types == [['Thing']] * len(ENTITIES)
    names = dict(zip(dataset.entity_keys, dataset.entity_names, strict=True))
    named = [
        (names[h], r.lower(), names[t]) for h, r, t in everything(dataset)
    ]
    assert sorted(named) == sorted(ROWS)
    (told,) = dataset.findings.examples['layout']
    assert 'export of Neo4j' in told.message
    assert 'unused file' not in dataset.findings.counts


def packed(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(f'{line}\n' for line in lines)
    path.write_bytes(gzip.compress(text.encode()))


def ogb(root: Path, splits: bool = True) -> None:
    # As ogbl-wikikg2: edges are those of train.
    kept = SPLITS['train'] if splits else ROWS
    ids = [(E_IDS[h], R_IDS[r], E_IDS[t]) for h, r, t in kept]
    packed(root / 'raw' / 'edge.csv.gz', (f'{h},{t}' for h, _, t in ids))
    packed(root / 'raw' / 'edge_reltype.csv.gz', (str(r) for _, r, _ in ids))
    packed(root / 'raw' / 'num-node-list.csv.gz', [str(len(ENTITIES))])
    for name, header, labels in (
        ('nodeidx2entityid', 'node idx,entity id', E_IDS),
        ('reltype2relid', 'reltype,rel id', R_IDS),
    ):
        lines = [f'{at},{label}' for label, at in labels.items()]
        packed(root / 'mapping' / f'{name}.csv.gz', [header, *lines])
    for split in SPLITS if splits else ():
        columns = np.array(by_id(split)).T
        said = dict(zip(('head', 'relation', 'tail'), columns, strict=True))
        said['head_neg'] = columns[:2]
        path = root / 'split' / 'time' / f'{split}.pt'
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(said, path)


def ogb_whole(root: Path) -> None:
    ogb(root, splits=False)


def test_headers_of_neo4j_apart(tmp_path: Path) -> None:
    # As large imports have them, in parts.
    header = ':START_ID(Thing)', 'since:int', ':END_ID(Thing)', ':TYPE'
    quoted(tmp_path / 'edges-header.csv', [header])
    rows = [(KEYS[h], 1990, KEYS[t], r.upper()) for h, r, t in ROWS]
    quoted(tmp_path / 'edges-part1.csv', rows[:9])
    quoted(tmp_path / 'edges-part2.csv', rows[9:])
    quoted(tmp_path / 'things_header.csv', [('key:ID(Thing)', 'name')])
    quoted(tmp_path / 'things.csv', [(k, name) for name, k in KEYS.items()])
    quoted(tmp_path / 'wrecks-header.csv', [('key:ID(Thing)', 'name')])
    dataset = read(tmp_path)
    assert dataset.entity_names == ENTITIES
    names = dict(zip(dataset.entity_keys, dataset.entity_names, strict=True))
    named = [
        (names[h], r.lower(), names[t]) for h, r, t in everything(dataset)
    ]
    assert sorted(named) == sorted(ROWS)
    assert dataset.findings.counts['no rows'] == 1
    assert 'unused file' not in dataset.findings.counts
    quoted(tmp_path / 'edges-part2.csv', [(1, 2, 3, 4, 5)])
    with pytest.raises(
        DatasetError, match=r'part2\.csv:1: expected 4 columns'
    ):
        read(tmp_path)


@pytest.mark.parametrize('apart', [False, True])
@pytest.mark.parametrize(
    ('header', 'rows'),
    [
        ('personId:ID', ['1', '2', '3']),
        ('personId:ID,age:int', ['1,42', '2,42', '3,17']),
        ('personId:ID,age:int,born:date', ['1,42,', '2,42,', '3,17,']),
    ],
)
def test_nodes_of_neo4j_without_names(
    header: str, rows: list[str], apart: bool, tmp_path: Path
) -> None:
    """What they are called is their id."""
    write(tmp_path / 'edges.csv', [':START_ID,:END_ID,:TYPE', '1,2,KNOWS'])
    if apart:
        write(tmp_path / 'people-header.csv', [header])
        write(tmp_path / 'people.csv', rows)
    else:
        write(tmp_path / 'people.csv', [header, *rows])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.entity_names == dataset.entity_keys == ['1', '2', '3']


def test_lists_of_neo4j(tmp_path: Path) -> None:
    write(tmp_path / 'edges.csv', [':START_ID,:END_ID,:TYPE', '1,2,KNOWS'])
    nodes = ['id:ID,name:string[],text:string[]', '1,Ann;Anna,a;b', '2,Bob,']
    write(tmp_path / 'people.csv', nodes)
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.entity_names == ['Ann', 'Bob']
    assert dataset.entity_texts == [['a', 'b'], []]
    assert dataset.findings.counts['second name'] == 1


def test_many_nodes_of_neo4j_come_first(tmp_path: Path) -> None:
    node = {'type': 'node', 'labels': ['P'], 'properties': {'age': 42}}
    ends = {'start': {'id': '0'}, 'end': {'id': '1'}, 'label': 'KNOWS'}
    items: list[dict[str, Any]] = [{**node, 'id': str(x)} for x in range(1500)]
    items.append({'type': 'relationship', 'id': '0', **ends})
    write(tmp_path / 'all.json', map(json.dumps, items))
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert everything(dataset) == [('0', 'KNOWS', '1')]
    assert len(dataset.entity_names) == 1500


def test_names_of_relations_are_of_relations_alone(tmp_path: Path) -> None:
    rows = [('oslo', 'capital', 'norway'), ('oslo', 'is', 'capital')]
    write(tmp_path / 'train.tsv', tabs([*rows, ('capital', 'is', 'city')]))
    write(tmp_path / 'relation2text.txt', ['capital\tis the capital of'])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert dataset.entity_names == ['oslo', 'norway', 'capital', 'city']
    assert dataset.relation_names == ['is the capital of', 'is']
    # Where entities are called by numbers as well.
    root = tmp_path / 'libkge'
    root.mkdir()
    write(root / 'entity_ids.del', tabs((x, x) for x in range(3)))
    write(root / 'relation_ids.del', ['0\tlikes'])
    write(root / 'train.del', ['0\t0\t1', '1\t0\t2'])
    write(root / 'relation_strings.del', ['0\tlikes somebody'])
    write(root / 'entity_strings.del', ['0\t', '1\tYps'])
    dataset = read(root, split=(1.0, 0.0, 0.0))
    assert dataset.relation_names == ['likes somebody']
    assert dataset.entity_names == ['0', 'Yps', '2']
    assert dataset.findings.counts['empty value'] == 1


def test_an_iri_is_one_thing(tmp_path: Path) -> None:
    pytest.importorskip('pyoxigraph')
    head = '@prefix : <http://x.example/> . @prefix rdfs: '
    head += '<http://www.w3.org/2000/01/rdf-schema#> .'
    said = ':P36 rdfs:label "capital of" . :usedIn :in :atlas .'
    used = ':oslo :P36 :norway . :P36 :usedIn :atlas .'
    write(tmp_path / 'graph.ttl', [head, said, used])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert 'capital of' in dataset.entity_names
    assert 'capital of' in dataset.relation_names


def test_listed_numbers_are_entities(tmp_path: Path) -> None:
    years = [str(year) for year in range(2000, 2006)]
    rows = [(f'p{at}', 'born', year) for at, year in enumerate(years)]
    lived = [(f'p{at}', 'lived in', 'oslo') for at in range(6)]
    write(tmp_path / 'triples.tsv', tabs([*rows, *lived]))
    whole = {'split': (1.0, 0.0, 0.0)}
    assert everything(read(tmp_path, **whole)) == lived
    people = [x for x, _, _ in rows]
    write(tmp_path / 'entities.txt', [*years, *people, 'oslo'])
    assert everything(read(tmp_path, **whole)) == [*rows, *lived]
    # Who asks for features has them.
    dataset = read(tmp_path, literals='features', **whole)
    assert everything(dataset) == lived
    assert len(dataset[0]['number'].x) == 6


def test_words_for_an_entity_hold_for_texts(tmp_path: Path) -> None:
    mmkb(tmp_path)
    name = ENTITIES[3]
    iri = f'http://example.org/{name.replace(" ", "_")}'
    write(tmp_path / 'descriptions.tsv', [f'{iri}\ta word of it'])
    dataset = read(tmp_path)
    at = dataset.entity_keys.index('/m/3')
    assert dataset.entity_texts[at] == ['a word of it']
    assert 'text of an unknown entity' not in dataset.findings.counts


def test_a_part_of_the_entities_is_no_order(tmp_path: Path) -> None:
    write(tmp_path / 'triples.tsv', ['a\tr\tb', 'b\tr\tc'])
    np.save(tmp_path / 'image.npy', np.eye(3, dtype=np.float32))
    words = {'features': {'image': tmp_path / 'image.npy'}}
    whole = {'split': (1.0, 0.0, 0.0), **words}
    write(tmp_path / 'entities.txt', ['a', 'b', 'c'])
    assert read(tmp_path, **whole)[0]['image'].x.shape == (3, 3)
    write(tmp_path / 'entities.txt', ['a'])
    (tmp_path / 'elsewhere').mkdir()
    path = (tmp_path / 'image.npy').rename(tmp_path / 'elsewhere' / 'a.npy')
    with pytest.raises(DatasetError, match='the ids of this graph are made'):
        read(tmp_path, split=(1.0, 0.0, 0.0), features={'image': path})
    # Nor one with a label in two forms.
    write(tmp_path / 'triples.tsv', ['caf\u00e9\tr\tb', 'b\tr\tc'])
    twins = ['cafe\u0301', 'caf\u00e9', 'b', 'c']
    write(tmp_path / 'entities.txt', twins)
    with pytest.raises(DatasetError, match='the ids of this graph are made'):
        read(tmp_path, split=(1.0, 0.0, 0.0), features={'image': path})


@pytest.mark.parametrize('make', [openke, rotate, libkge, ogb_whole])
def test_texts_beside_a_layout(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path)
    write(tmp_path / 'descriptions.tsv', [f'{ENTITIES[0]}\tA text.'])
    write(tmp_path / 'names.tsv', [f'{ENTITIES[1]}\tAnother name'])
    dataset = read(tmp_path)
    texts = dict(zip(dataset.entity_keys, dataset.entity_texts, strict=True))
    assert {key: each for key, each in texts.items() if each} == {
        ENTITIES[0]: ['A text.']
    }
    if make is not libkge:  # which has names of its own
        assert 'Another name' in dataset.entity_names
    assert 'unused file' not in dataset.findings.counts
    # Another text is another graph.
    write(tmp_path / 'descriptions.tsv', [f'{ENTITIES[0]}\tNew.'])
    assert ['New.'] in read(tmp_path).entity_texts


def test_files_of_neo4j_may_have_any_name(tmp_path: Path) -> None:
    # Both names would be those of a file of names beside another layout.
    neo4j_admin(tmp_path)
    quoted(tmp_path / 'names.csv', [('id:ID(Port)', 'name'), (0, 'Arnel')])
    quoted(tmp_path / 'name.csv', [('id:ID(Ship)', 'name'), (0, 'Auk')])
    assert {'Arnel', 'Auk'} <= set(read(tmp_path).entity_names)


def test_types_of_neo4j(tmp_path: Path) -> None:
    neo4j_admin(tmp_path)
    rows = [('id:ID(Thing)', ':LABEL'), ('x', 'Ship;Wreck'), ('y', '')]
    quoted(tmp_path / 'more.csv', rows)
    dataset = read(tmp_path)
    types = dict(zip(dataset.entity_keys, dataset.entity_types, strict=True))
    assert types['Thing/x'] == ['Ship', 'Wreck']
    assert types['Thing/y'] == []


def mmkb(root: Path) -> None:
    # Freebase keys; the other files call entities by names of pictures, and
    # by IRIs.
    keys = {name: f'/m/{at:x}' for at, name in enumerate(ENTITIES)}
    relations = {name: f'/x/{name.replace(" ", "_")}' for name in RELATIONS}
    lines = [f'{keys[h]} {relations[r]} {keys[t]} .' for h, r, t in ROWS]
    write(root / 'F15K_EntityTriples.txt', lines)
    numbers = tabs((keys[x], '</x/size>', i / 2) for i, x in enumerate(keys))
    write(root / 'F15K_NumericalTriples.txt', numbers)
    iri = 'http://example.org/{}'.format
    same = [
        f'{key} <SameAs> <{iri(name.replace(" ", "_"))}> .'
        for name, key in keys.items()
    ]
    write(root / 'F15K_SameAsLink.txt', same)
    index = tabs((key, f'FIMG{key[3:]:0>5}') for key in keys.values())
    write(root / 'F15K_ImageIndex.txt', index)


def test_literals_between_tabs(tmp_path: Path) -> None:
    # As YAGO has them.
    rows = [(f'<{h}>', f'<{r}>', f'<{t}>', '.') for h, r, t in ROWS]
    rows += [
        ('<Doune>', 'rdfs:label', '"Doune"@en', '.'),
        ('<Doune>', '<founded>', '"1850"^^xsd:gYear', '.'),
    ]
    write(tmp_path / 'triples.tsv', tabs(rows))
    dataset = read(tmp_path)
    assert set(dataset.entity_names) == set(ENTITIES)
    assert set(dataset.relation_names) == set(RELATIONS)
    assert dataset.findings.counts['literal'] == 2
    [told] = dataset.findings.examples['values']
    assert "literals='features'" in told.message
    made = read(tmp_path, literals='features')
    assert made[0]['number'].x.size(0) == 1
    kept = read(tmp_path, literals='keep')
    assert {'1850', 'Doune (Doune)'} & set(kept.entity_names)


def test_mmkb(tmp_path: Path) -> None:
    mmkb(tmp_path)
    (tmp_path / 'images' / 'FIMG00001').mkdir(parents=True)
    (tmp_path / 'images' / 'FIMG00001' / '7.jpg').write_bytes(b'')
    (tmp_path / 'images' / 'Ferry_Gull.jpg').write_bytes(b'')
    dataset = read(tmp_path)
    keys = {f'/m/{at:x}': name for at, name in enumerate(ENTITIES)}
    rows = [
        (keys[h], r[3:].replace('_', ' '), keys[t])
        for h, r, t in everything(dataset)
    ]
    assert sorted(rows) == sorted(ROWS)
    assert dataset.findings.counts['literal'] == len(ENTITIES)
    assert 'unused file' not in dataset.findings.counts
    # A folder of MMKB may hold those of its neighbor, too.
    write(tmp_path / 'D15K_ImageIndex.txt', ['/m/4\tDIMG7'])
    (tmp_path / 'images' / 'DIMG7.jpg').write_bytes(b'')
    dataset = read(tmp_path)
    found = {
        keys[key]: [path.name for path in each]
        for key, each in zip(
            dataset.entity_keys, dataset.entity_images, strict=True
        )
        if each
    }
    assert found == {
        ENTITIES[1]: ['7.jpg'],
        'Ferry Gull': ['Ferry_Gull.jpg'],
        ENTITIES[4]: ['DIMG7.jpg'],
    }
    # A file of features may call entities by any of these words.
    made = read(tmp_path, literals='features')
    x = made[0]['number'].x
    assert x.size() == (len(ENTITIES), 2)
    assert made.findings.counts['literal'] == 0


@pytest.mark.parametrize(
    ('file', 'line', 'message'),
    [
        ('F15K_EntityTriples.txt', '/m/1 /x/a', ':60: expected 3 words'),
        ('F15K_SameAsLink.txt', '/m/1 <SameAs> .', ':16: expected 3 words'),
        ('F15K_ImageIndex.txt', '/m/1 a b', ':16: expected 2 words'),
    ],
)
def test_what_mmkb_would_not_write(
    file: str, line: str, message: str, tmp_path: Path
) -> None:
    mmkb(tmp_path)
    with open(tmp_path / file, 'a') as out:
        out.write(line + '\n')
    with pytest.raises(DatasetError, match=file + message):
        read(tmp_path)


def test_words_of_unknown_entities_are_told(tmp_path: Path) -> None:
    mmkb(tmp_path)
    for name, line in (
        ('SameAsLink', '/m/zz <SameAs> <http://example.org/z> .'),
        ('NumericalTriples', '/m/zz\t/x/size\t7'),
    ):
        with open(tmp_path / f'F15K_{name}.txt', 'a') as out:
            out.write(line + '\n')
    counts = read(tmp_path, literals='features').findings.counts
    assert counts['alias of an unknown entity'] == 1
    assert counts['number of an unknown entity'] == 1


@pytest.mark.parametrize('splits', [True, False])
def test_ogb(splits: bool, tmp_path: Path) -> None:
    ogb(tmp_path, splits)
    dataset = read(tmp_path)
    assert dataset.entity_keys == list(E_IDS)
    assert dataset.relation_keys == RELATIONS
    assert sorted(everything(dataset)) == sorted(ROWS)
    if splits:
        for name, split in NAMED.items():
            assert triples(dataset, split) == SPLITS[name]
    (told,) = dataset.findings.examples['layout']
    assert 'Open Graph Benchmark' in told.message


def test_types_of_ogb(tmp_path: Path) -> None:
    # As ogbl-biokg: ids within each type.
    raw = tmp_path / 'raw'
    for name, edges, kind in (
        ('ship___calls___port', ['0,0', '1,0'], 0),
        ('port___near___port', ['0,1'], 1),
    ):
        folder = raw / 'relations' / name
        packed(folder / 'edge.csv.gz', edges)
        packed(folder / 'edge_reltype.csv.gz', [str(kind)] * len(edges))
    mapping = tmp_path / 'mapping'
    packed(mapping / 'ship_entidx2entid.csv.gz', ['idx,id', '0,Auk', '1,Gull'])
    packed(
        mapping / 'port_entidx2entid.csv.gz', ['i,n', '0,Auk', '1,"B ""b"""']
    )
    packed(mapping / 'relidx2relname.csv.gz', ['i,n', '0,calls', '1,near'])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert sorted(everything(dataset)) == [
        ('port/Auk', 'near', 'port/B "b"'),
        ('ship/Auk', 'calls', 'port/Auk'),
        ('ship/Gull', 'calls', 'port/Auk'),
    ]
    types = dict(zip(dataset.entity_keys, dataset.entity_types, strict=True))
    assert types['ship/Auk'] == ['ship']
    assert types['port/Auk'] == ['port']
    said = {
        **{'head_type': ['ship'], 'tail_type': ['port']},
        **{x: torch.tensor([1]) for x in ('head', 'tail')},
        'relation': torch.tensor([0]),
    }
    for split in SPLITS:
        path = tmp_path / 'split' / 'random' / f'{split}.pt'
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(said, path)
    with pytest.warns(UserWarning, match='triple also in'):
        dataset = MKGFolder(tmp_path)
    assert triples(dataset, 'test') == [('ship/Gull', 'calls', 'port/B "b"')]


@pytest.mark.parametrize(
    ('file', 'lines', 'message'),
    [
        ('raw/edge.csv.gz', ['0,1', '0'], ':2: expected 2 numbers a line'),
        ('raw/edge.csv.gz', ['0,1'], 'has 1 edges, but 59 types of edges'),
        ('raw/edge_reltype.csv.gz', ['4'] * 59, 'there is no relation 4'),
        ('raw/edge.csv.gz', ['0,99'] * 59, ':1: there is no entity 99'),
        ('mapping/reltype2relid.csv.gz', ['0,a', '2,b'], ':2: expected 1 and'),
    ],
)
def test_what_ogb_would_not_write(
    file: str, lines: list[str], message: str, tmp_path: Path
) -> None:
    ogb(tmp_path, splits=False)
    packed(tmp_path / file, lines)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        ({'head': [0]}, 'must hold head, relation, tail'),
        ({'head': [0.5], 'relation': [0], 'tail': [0]}, 'be whole numbers'),
        ({'head': [0], 'relation': [0, 0], 'tail': [0]}, 'have sizes'),
        ({'head': [-1], 'relation': [0], 'tail': [0]}, 'no entity -1'),
    ],
)
def test_splits_that_ogb_would_not_write(
    said: dict[str, list[float]], message: str, tmp_path: Path
) -> None:
    ogb(tmp_path)
    arrays = {key: torch.tensor(each) for key, each in said.items()}
    torch.save(arrays, tmp_path / 'split' / 'time' / 'valid.pt')
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_groups_of_neo4j(tmp_path: Path) -> None:
    header = ':START_ID(Ship)', ':END_ID(Port)', ':TYPE'
    quoted(tmp_path / 'calls.csv', [header, (0, 0, 'CALLS'), (1, 0, 'CALLS')])
    ships = [('id:ID(Ship)', 'name'), (0, 'Auk'), (1, 'Gull')]
    quoted(tmp_path / 'ships.csv', ships)
    quoted(tmp_path / 'ports.csv', [('id:ID(Port)', 'name'), (0, 'Arnel')])
    dataset = read(tmp_path, split=(1.0, 0.0, 0.0))
    rows = everything(dataset)
    assert rows == [(f'Ship/{at}', 'CALLS', 'Port/0') for at in (0, 1)]
    assert sorted(dataset.entity_names) == ['Arnel', 'Auk', 'Gull']


@pytest.mark.parametrize(
    ('file', 'rows', 'message'),
    [
        ('e.csv', [(':START_ID', ':END_ID'), (0, 1)], 'has no column :TYPE'),
        (
            'e.csv',
            [(':START_ID', ':END_ID', ':TYPE'), (0, '', 'R')],
            ':2: the tail is empty',
        ),
        ('n.csv', [('k:ID', 'name'), ('', 'a')], ':2: the id of the node is'),
    ],
)
def test_what_neo4j_would_not_write(
    file: str, rows: list[Sequence[object]], message: str, tmp_path: Path
) -> None:
    neo4j_admin(tmp_path)
    quoted(tmp_path / file, rows)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"type": "path"}', ":1: is no node or .*its type is 'path'"),
        ('{"type": "node"}', ":1: is no node or .*'id'"),
        ('[]', ':1: is no node or relationship'),
        ('{"type": "node", "id": {}}', ':1: is no node .*id must be a string'),
        ('{"type": "node", "id": 1, "properties": "x"}', ':1: is no node or'),
    ],
)
def test_what_apoc_would_not_write(
    line: str, message: str, tmp_path: Path
) -> None:
    apoc_json(tmp_path)
    path = tmp_path / 'all.json'
    path.write_text(f'{line}\n{path.read_text()}')
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for row in [('Head', 'Relation', 'Tail'), *ROWS]:
        book.active.append(row)
    book.active.cell(row=99, column=6).value = None  # cleared
    book.create_sheet('notes').append(['n'])
    book.save(tmp_path / 'triples.xlsx')
    dataset = read(tmp_path)
    assert sorted(everything(dataset)) == sorted(ROWS)
    assert dataset.findings.counts == {'header': 1, 'further sheet': 1}
    book.active.append(('a', 'r'))
    book.save(tmp_path / 'triples.xlsx')
    with pytest.raises(DatasetError, match=r'xlsx:\d+: the tail is empty'):
        read(tmp_path)
    book.active.insert_cols(1)
    book.active['A1'] = 'number'
    book.active['B1'] = 'what'
    book.save(tmp_path / 'triples.xlsx')
    with pytest.raises(DatasetError, match=r'xlsx:1: expected 3 columns, got'):
        read(tmp_path)
    (tmp_path / 'triples.xlsx').write_bytes(PLAIN)
    with pytest.raises(DatasetError, match='is no workbook'):
        read(tmp_path)


def test_parquet(tmp_path: Path) -> None:
    pd = pytest.importorskip('pandas')
    frame = pd.DataFrame(ROWS, columns=['subject', 'predicate', 'object'])
    frame['since'] = 1990
    frame.to_parquet(tmp_path / 'triples.parquet')
    texts = [(name, [name.lower(), 'more']) for name in ENTITIES]
    texts = pd.DataFrame(texts, columns=['entity', 'text'])
    texts.to_parquet(tmp_path / 'texts.parquet')
    dataset = read(tmp_path)
    assert sorted(everything(dataset)) == sorted(ROWS)
    at = dataset.entity_keys.index('mail')
    assert dataset.entity_texts[at] == ['mail', 'more']
    frame.loc[2, 'object'] = None
    frame.to_parquet(tmp_path / 'triples.parquet')
    with pytest.raises(DatasetError, match=r'parquet:3: the tail is missing'):
        read(tmp_path)
    frame.columns = ['a', 'b', 'c', 'd']
    frame.to_parquet(tmp_path / 'triples.parquet')
    with pytest.raises(DatasetError, match=r'holds no triple: .*keys head'):
        read(tmp_path)
    (tmp_path / 'triples.parquet').write_bytes(PLAIN)
    with pytest.raises(DatasetError, match='is no Parquet'):
        read(tmp_path)


@pytest.mark.parametrize(
    ('module', 'name', 'extra'),
    [
        ('openpyxl', 'triples.xlsx', 'excel'),
        ('pyoxigraph', 'triples.ttl', 'rdf'),
    ],
)
def test_extras_that_are_missing(
    module: str,
    name: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf'pip install "dsom_pyg\[{extra}\]'
    ):
        read(tmp_path)


def test_lists_of_labels_are_no_lists_of_ids(tmp_path: Path) -> None:
    write(tmp_path / 'train.tsv', tabs(ROWS))
    write(tmp_path / 'entities.tsv', tabs((x, x.upper()) for x in ENTITIES))
    write(tmp_path / 'relations.tsv', tabs((x, x.upper()) for x in RELATIONS))
    dataset = read(tmp_path)
    assert sorted(everything(dataset)) == sorted(ROWS)
    assert dataset.findings.counts == {'unused file': 2}


def wikidata5m(root: Path, setting: str = 'transductive') -> None:
    for split, rows in SPLITS.items():
        write(root / f'wikidata5m_{setting}_{split}.txt', tabs(rows))
    names = [(x, f'{x} (name)', x.upper(), 'also') for x in ENTITIES]
    write(root / 'wikidata5m_entity.txt', tabs(names))
    write(
        root / 'wikidata5m_relation.txt',
        tabs((x, x.replace('_', ' ')) for x in RELATIONS),
    )
    texts = [(x, f'{x} is\ta building') for x in ENTITIES]
    write(root / 'wikidata5m_text.txt', tabs([*texts, ('Q0', 'nobody')]))


@pytest.mark.parametrize('setting', ['transductive', 'inductive'])
def test_wikidata5m(setting: str, tmp_path: Path) -> None:
    wikidata5m(tmp_path, setting)
    dataset = read(tmp_path)
    assert {x: triples(dataset, y) for x, y in NAMED.items()} == SPLITS
    keys = dataset.entity_keys
    assert dataset.entity_names == [f'{key} (name)' for key in keys]
    assert dataset.relation_names == [
        key.replace('_', ' ') for key in dataset.relation_keys
    ]
    assert dataset.entity_texts == [[f'{key} is\ta building'] for key in keys]
    counts = dataset.findings.counts
    assert counts['layout'] == counts['text of an unknown entity'] == 1
    [told] = dataset.findings.examples['further name']
    assert (
        told.message == f'not used: {2 * len(ENTITIES)} names behind the '
        'first ones'
    )
    # Without its triples it is another layout, or none.
    (tmp_path / f'wikidata5m_{setting}_train.txt').unlink()
    with pytest.raises(DatasetError, match='holds no triples'):
        read(tmp_path)


def test_both_settings_of_wikidata5m(tmp_path: Path) -> None:
    wikidata5m(tmp_path)
    (tmp_path / 'wikidata5m_inductive_train.txt').write_text('a\tr\tb\n')
    dataset = read(tmp_path)
    assert triples(dataset, 'train') == SPLITS['train']
    [told] = dataset.findings.examples['unused file']
    assert 'wikidata5m_inductive_train.txt' in told.message


def test_an_entry_of_wikidata5m_without_text(tmp_path: Path) -> None:
    wikidata5m(tmp_path)
    (tmp_path / 'wikidata5m_text.txt').write_text('Q1\tone\n\nQ2\n')
    why = r'wikidata5m_text\.txt:3: expected an id, a tab and texts'
    with pytest.raises(DatasetError, match=why):
        read(tmp_path)


@pytest.mark.parametrize('compressed', [False, True])
def test_a_first_row_that_may_be_a_header(
    tmp_path: Path, compressed: bool
) -> None:
    rows = [f'e{at}\tr{at % 2}\te{(at * 7) % 24}' for at in range(1, 24)]
    header = 'Head Entity\tRelation Type\tTail Entity'
    name = 'triples.tsv.gz' if compressed else 'triples.tsv'
    text = '\n'.join([header, *rows]) + '\n'
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if compressed else data)
    (told,) = read(tmp_path).findings.examples['first row alone']
    assert (Path(told.file or '').name, told.line) == (name, 1)
    assert "'Relation Type'" in told.message
    # One of its labels is used elsewhere.
    for row in (
        'e1\tRelation Type\te2',
        'e9\tr0\tHead Entity',
        'Tail Entity\tr0\te9',
    ):
        text = '\n'.join([header, *rows, row]) + '\n'
        data = text.encode()
        data = gzip.compress(data) if compressed else data
        (tmp_path / name).write_bytes(data)
        assert 'first row alone' not in read(tmp_path).findings.counts
