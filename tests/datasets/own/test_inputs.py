"""What people have in their folders: each gives its graph, or a clear word.

The cases are made up after what users of graph libraries report. A number of
entities, relations and triples is what a person would read; a text is what
the refusal must say.
"""

import gzip
import warnings
from pathlib import Path

import pytest

from dsom_pyg.datasets import MKGFolder
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.graph import SPLITS, get_split

T = 'a\tr\tb\nb\tr\tc\nc\ts\ta\n'
READ = (3, 2, 3)
Files = dict[str, str | bytes]

SOUND: dict[str, tuple[Files, tuple[int, int, int], dict[str, int]]] = {
    'CRLF': ({'triples.tsv': T.replace('\n', '\r\n')}, READ, {}),
    'CR, as of old Macs': ({'triples.tsv': T.replace('\n', '\r')}, READ, {}),
    'no last end of line': ({'triples.txt': T.rstrip()}, READ, {}),
    'a mark of UTF-8': ({'triples.tsv': '\ufeff' + T}, READ, {}),
    'a trailing tab': (
        {'triples.tsv': T.replace('\n', '\t\n')},
        READ,
        {'time or qualifier': 3},
    ),
    'a trailing comma': (
        {'triples.csv': T.replace('\t', ',').replace('\n', ',\n')},
        READ,
        {'time or qualifier': 3},
    ),
    'a trailing full stop': (
        {'triples.tsv': T.replace('\n', '\t.\n')},
        READ,
        {'time or qualifier': 3},
    ),
    'sep= of Excel': (
        {'triples.csv': 'sep=;\n' + T.replace('\t', ';')},
        READ,
        {'comment': 1},
    ),
    'short words in JSON': (
        {'triples.jsonl': '{"subj": "a", "pred": "r", "obj": "b", "w": 1}\n'},
        (2, 1, 1),
        {'unused column': 1},
    ),
    'ids of a database': (
        {'triples.csv': 'source_id,target_id,edge_type,weight\n1,2,r,0.5\n'},
        (2, 1, 1),
        {'header': 1, 'unused column': 1},
    ),
    'an index of pandas': (
        {'triples.csv': ',source,relation,target\n0,a,r,b\n1,b,r,c\n'},
        (3, 1, 2),
        {'header': 1, 'unused column': 1},
    ),
    'a header twice': (
        {'triples.tsv': f'head\trelation\ttail\n{T}head\trelation\ttail\n'},
        READ,
        {'header': 2},
    ),
    'columns of a query': (
        {'triples.csv': 's,p,o\na,r,b\nb,r,c\nc,s,a\n'},
        READ,
        {'header': 1},
    ),
    'columns of DBpedia dumps': (
        {'triples.csv': 'subject,predicate,object,lang\na,r,b,en\nb,r,c,\n'},
        (3, 1, 2),
        {'header': 1, 'unused column': 1},
    ),
    'every triple twice': ({'triples.tsv': T + T}, READ, {}),
    'spaces around cells': (
        {'triples.tsv': T.replace('\t', ' \t ')},
        READ,
        {},
    ),
    'no-break spaces around': (
        {'triples.tsv': T.replace('\t', '\xa0\t')},
        READ,
        {},
    ),
    'an empty test': (
        {'train.tsv': T, 'valid.tsv': '', 'test.tsv': '\n'},
        READ,
        {},
    ),
    'WN18RR of ConvE': (
        {
            'train.txt': '00260881\t_hypernym\t00260622\n'
            '01332730\t_hypernym\t01322604\n'
            '06066555\t_member\t00645415\n',
        },
        (6, 2, 3),
        {},
    ),
    'Freebase keys': (
        {'train.txt': '/m/027rn\t/location/x\t/m/06cx9\n'},
        (2, 1, 1),
        {},
    ),
    'names that are code': (
        {'triples.tsv': "'; DROP\tr\t<b>\n<b>\tr\t=1+1\n"},
        (3, 1, 2),
        {},
    ),
    'names with marks of direction': (
        {'triples.tsv': 'a\u202eb\tr\tc\nc\tr\ta\u202eb\n'},
        (2, 1, 2),
        {},
    ),
    'the words of pandas for nothing': (
        {'triples.tsv': 'NA\tr\tnan\nnull\tr\tNone\n'},
        (4, 1, 2),
        {},
    ),
    'JSON lines of arrays': (
        {'triples.jsonl': '["a", "r", "b"]\n\n["b", "r", "c"]\n'},
        (3, 1, 2),
        {},
    ),
    'JSON with numbers as labels': (
        {'triples.json': '[[1, "r", 2.0], [2, "r", 3]]'},
        (3, 1, 2),
        {},
    ),
    'JSON on many lines': (
        {'triples.json': '[\n  ["a", "r", "b"],\n  ["b", "r", "c"]\n]\n'},
        (3, 1, 2),
        {},
    ),
    'N-Triples with CRLF': (
        {'triples.nt': '<x:a> <x:r> <x:b> .\r\n<x:b> <x:r> <x:c> .\r\n'},
        (3, 1, 2),
        {},
    ),
    'N-Triples with CR': (
        {'triples.nt': '<x:a> <x:r> <x:b> .\r<x:b> <x:r> <x:c> .\r'},
        (3, 1, 2),
        {},
    ),
    'a list of entities with names': (
        {'triples.tsv': T, 'entities.txt': '0\ta\n1\tb\n2\tc\n'},
        READ,
        {'unused file': 1},
    ),
    'archives of something else': (
        {'triples.tsv': T, 'old.csv.zip': b'PK', 'old.csv.gz': b'no'},
        READ,
        {'unused file': 2},
    ),
    'a triple in two graphs': (
        {
            'triples.nq': '<x:a> <x:r> <x:b> <x:g1> .\n'
            '<x:a> <x:r> <x:b> <x:g2> .\n'
        },
        (2, 1, 1),
        {'duplicate triple': 1},
    ),
    'a dump of another name': (
        {'ferries-2024.nt.gz': gzip.compress(b'<x:a> <x:r> <x:b> .\n')},
        (2, 1, 1),
        {},
    ),
    'features that nobody asked for': (
        {'triples.tsv': T, 'x.npy': b'', 'old.pkl': b'', 'notes.md': b''},
        READ,
        {'unused file': 2},
    ),
    'files of OpenEA beside': (
        {'triples.tsv': T, 'attr_triples_1': 'a\tx\t7\n', 'LICENSE': ''},
        READ,
        {'unused file': 1},
    ),
    'an empty list of tails': (
        {'triples.jsonl': '["a", "r", ["b"]]\n["a", "r", []]\n'},
        (2, 1, 1),
        {'empty list': 1},
    ),
    'texts that are missing in the long file': (
        {
            'train.tsv': T,
            'entity2text.txt': 'a\tAuk\nb\tBude\nc\tCrail\n',
            'entity2textlong.txt': 'a\tA ferry.\n',
        },
        READ,
        {'shorter text': 2},
    ),
    'Turtle without a base': (
        {'triples.ttl': '<a> <r> <b> .\n<b> <r> <c> .'},
        (3, 1, 2),
        {},
    ),
    'classes of an ontology': (
        {
            'triples.ttl': '@prefix : <x:> .\n'
            '@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .\n'
            '@prefix owl: <http://www.w3.org/2002/07/owl#> .\n'
            ':Ship a owl:Class . :Ferry rdfs:subClassOf :Ship .\n'
            ':Ferry owl:disjointWith :Tug .\n'
        },
        (2, 1, 1),
        {'declaration': 2},
    ),
    'pictures in another folder': (
        {'triples.tsv': T, 'Images/a.png': b'x'},
        READ,
        {'unused file': 1},
    ),
    'further files of OpenKE': (
        {
            'entity2id.txt': '2\na b\t0\nc\t1\n',
            'relation2id.txt': '1\nr\t0\n',
            'train2id.txt': '2\n0 1 0\n1 0 0\n',
            'type_constrain.txt': '1\n0 1 0\n',
            'n-n.txt': '1\n0 1 0\n',
        },
        (2, 1, 2),
        {'layout': 1, 'unused file': 2},
    ),
}
REFUSED: dict[str, tuple[Files, str]] = {
    'Latin-1': (
        {'triples.tsv': 'M\xfc\tr\tb'.encode('latin-1')},
        ':1: is not',
    ),
    'UTF-16 without a mark': (
        {'triples.tsv': T.encode('utf-16-le')},
        ':1: holds a NUL, as UTF-16 without a mark',
    ),
    'a pointer of Git LFS': (
        {'triples.tsv': 'version https://git-lfs.github.com/spec/v1\n'},
        'run `git lfs pull`',
    ),
    'a page that says 404': (
        {'triples.tsv': '<!DOCTYPE html>\n<p>Not found'},
        ':1: expected 3 columns',
    ),
    'spaces between names': (
        {'triples.txt': 'New York in USA\nOslo in Norway\n'},
        ':1: expected 3 columns .* got 1',
    ),
    'bars between cells': ({'triples.csv': 'a|r|b\n'}, 'expected 3 columns'),
    'two tabs between cells': (
        {'triples.tsv': T.replace('\t', '\t\t')},
        'expected 3 columns .* got 5',
    ),
    'weights behind triples': (
        {'triples.tsv': 'a\tr\tb\t0.5\nb\tr\tc\t0.7\n'},
        'expected 3 columns .* got 4',
    ),
    'two dumps': (
        {'a.nt': '<x:a> <x:r> <x:b> .', 'b.ttl': ''},
        "found only 'a.nt, b.ttl'",
    ),
    'a build file': ({'pom.xml': '<a/>'}, 'holds no triples'),
    'two levels too deep': (
        {'data/raw/triples.tsv': T},
        "did you mean '.*data/raw'",
    ),
    'spaces for tabs': (
        {'triples.txt': 'a b c\n'},
        'put tabs where spaces are',
    ),
    'null in JSON': (
        {'triples.jsonl': '["a", "r", null]\n'},
        'the tail is missing',
    ),
    'a table of another name': (
        {'facts.csv': 'a,r,b'},
        "if 'facts.csv' has the triples, rename it",
    ),
    'edges of Gephi': (
        {'triples.csv': 'Source,Target,Type,Id,Label\n1,2,Directed,0,r\n'},
        'expected 3 columns .* got 5.* a header',
    ),
    'a header alone': ({'triples.tsv': 'head\trelation\ttail\n'}, 'no train'),
    'nothing': ({'triples.tsv': ''}, 'no training triple'),
    'a test alone': ({'test.tsv': T}, "holds no triples.*'test.tsv'"),
    'a folder within': ({'data/train.tsv': T}, "did you mean '.*data'"),
    'an archive': ({'graph.zip': b'PK'}, "found only 'graph.zip'"),
    'the same file twice': (
        {'train.tsv': T, 'train.txt': T},
        "both 'train.tsv' and 'train.txt'; keep one",
    ),
    'packed and unpacked': (
        {'train.tsv': T, 'train.tsv.gz': b''},
        "both 'train.tsv' and 'train.tsv.gz'; keep one",
    ),
    'one file and splits': (
        {'train.tsv': T, 'triples.tsv': T},
        "both 'train.tsv' and 'triples.tsv'; keep one",
    ),
    'entities of Wikidata in JSON': (
        {'triples.jsonl': '{"id": "Q1", "labels": {"en": "a"}}'},
        ':1: holds no triple: .*keys head, relation, tail',
    ),
    'labels that are objects': (
        {'triples.jsonl': '{"s": {"id": 1}, "p": "r", "o": "b"}'},
        ':1: the head must be a string',
    ),
    'null in an array': (
        {'triples.json': '[["a", "r", "b"], [1, 2, 3],\n\n ["a", "r", null]]'},
        'json:3: the tail is missing',
    ),
    'an array within a line': (
        {'triples.json': ' [ \n["a,]", "r",\n"]"]\n,{"h":[1\n]}\n]\n'},
        'json:4: holds no triple',
    ),
    'a cut JSON file': ({'triples.json': '[["a", "r"'}, ':1: is not JSON'),
    'a cut OpenKE file': (
        {
            'entity2id.txt': '2\na\t0\nb\t1\n',
            'relation2id.txt': '1\nr\t0\n',
            'train2id.txt': '9\n0 1 0\n',
        },
        'train2id.txt:1: announces 9 rows, but 1 follow',
    ),
    'Turtle that breaks off': (
        {'triples.ttl': '<x:a> <x:r>\n'},
        'cannot be read as TURTLE',
    ),
    'a relative IRI in N-Triples': (
        {'triples.nt': '<a> <x:r> <x:b> .\n'},
        ':1: cannot be read as N-TRIPLES',
    ),
}


def put(root: Path, files: Files) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)


def read(root: Path) -> MKGFolder:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MKGFolder(root, text_encoder=None, image_encoder=None)


@pytest.mark.parametrize('name', SOUND)
def test_it_is_read(name: str, tmp_path: Path) -> None:
    files, sizes, told = SOUND[name]
    put(tmp_path, files)
    dataset = read(tmp_path)
    parts = [get_split(dataset[0], split) for split in SPLITS]
    count = sum(part.edge_type.numel() for part in parts)
    assert (dataset.num_entities, dataset.num_relations, count) == sizes
    counts = dict(dataset.findings.counts)
    counts.pop('small split', None)
    if name == 'every triple twice':
        told = {'duplicate triple': 3}
    assert counts == told


@pytest.mark.parametrize('name', REFUSED)
def test_it_is_refused(name: str, tmp_path: Path) -> None:
    files, message = REFUSED[name]
    put(tmp_path, files)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_a_graph_is_the_same_in_every_place(tmp_path: Path) -> None:
    keys = []
    for place in ('here', 'there'):
        put(tmp_path / place, {'triples.ttl': '<a> <r> <b> .'})
        keys.append(read(tmp_path / place).entity_keys)
    assert keys[0] == keys[1] == [f'file:///{x}' for x in 'ab']
