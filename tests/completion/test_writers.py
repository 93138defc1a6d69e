"""Files of proposals, read by other libraries."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyoxigraph as ox
import pytest
import rdflib
from rdflib.namespace import PROV, RDF, RDFS

import dsom_pyg
from dsom_pyg.completion import Completer, Vocabulary
from dsom_pyg.completion import writers as module
from dsom_pyg.completion.ntriples import BASE
from dsom_pyg.completion.results import Proposal
from dsom_pyg.datasets import MKGFolder
from dsom_pyg.graph import get_split

# What breaks readers: quotes, words for nothing, comments, other ends of
# lines, what looks like an escape.
AWKWARD = [
    *('"begins', 'it\'s "quoted" here', '"', "'", 'NA', 'null', '#7', 'a,b;c'),
    *('\\t no tab', 'x\u2028y\x85z', 'Ørsted <&>', '100%/ü?'),
]
COLUMNS = {
    'head': 0,
    'relation': 1,
    'tail': 2,
    'head_name': 0,
    'relation_name': 1,
    'tail_name': 2,
}


def renamed(
    model: Completer, keys: list[str], names: list[str] | None = None
) -> Completer:
    size = len(model.entities)
    rest = [f'e{at}' for at in range(len(keys), size)]
    words = [*(names or keys), *rest]
    vocabulary = Vocabulary(words, [*keys, *rest])
    return Completer(replace(model.parts, entities=vocabulary))


@pytest.fixture(scope='module')
def awkward(model: Completer) -> Completer:
    return renamed(model, AWKWARD, [f'{key} or so' for key in AWKWARD])


@pytest.fixture(scope='module')
def found(awkward: Completer) -> list[Proposal]:
    found = awkward.complete(k=4)
    assert len(found) > 30
    heads = {each.id[0] for each in found} | {each.id[2] for each in found}
    assert heads >= set(range(len(AWKWARD)))
    return found


def words_of(model: Completer, each: Proposal) -> list[str]:
    ends, links = model.entities, model.relations_known
    owners = ends, links, ends
    both = list(zip(owners, each.id, strict=True))
    keys = [owner.keys[at] for owner, at in both]
    names = [owner.names[at] for owner, at in both]
    assert names == [each.head, each.relation, each.tail]
    return [*keys, *names]


def check_table(
    frame: pd.DataFrame, model: Completer, found: list[Proposal]
) -> None:
    assert list(frame.columns) == [
        *('head', 'relation', 'tail', 'probability', 'score'),
        *('head_name', 'relation_name', 'tail_name'),
    ]
    words = frame[[c for c in frame.columns if c in COLUMNS]]
    assert words.to_numpy().tolist() == [words_of(model, x) for x in found]
    for column in ('probability', 'score'):
        values = frame[column].to_numpy().astype(np.float32)
        expected = [np.float32(getattr(each, column)) for each in found]
        assert values.tolist() == expected


def check_origin(origin: dict[str, str], model: Completer) -> None:
    assert origin['fingerprint'] == model.graph.fingerprint
    assert origin['version'] == dsom_pyg.__version__
    assert origin['dataset'] == 'LabeledGraph'
    assert pd.Timestamp(origin['date']).tz is not None
    age = pd.Timestamp.now('UTC') - pd.Timestamp(origin['date'])
    assert abs(age) < pd.Timedelta(minutes=10)


def test_a_table_for_pandas(
    awkward: Completer, found: list[Proposal], tmp_path: Path
) -> None:
    path = tmp_path / 'deep' / 'missing.tsv'
    awkward.write_proposals(path, found)
    frame = pd.read_csv(
        path, sep='\t', quoting=csv.QUOTE_NONE, keep_default_na=False
    )
    check_table(frame, awkward, found)
    about = json.loads(
        (path.parent / f'{path.name}-metadata.json').read_text()
    )
    (origin,) = about['notes']
    check_origin(origin, awkward)
    titles = [x['titles'] for x in about['tableSchema']['columns']]
    assert about['url'] == path.name
    assert titles == list(frame.columns)
    assert len(list(path.parent.iterdir())) == 2


def test_a_table_for_a_folder(
    awkward: Completer, found: list[Proposal], tmp_path: Path
) -> None:
    awkward.write_proposals(tmp_path / 'triples.tsv', found)
    dataset = MKGFolder(tmp_path, split=(1, 0, 0))
    (head, tail), rel = get_split(dataset[0], 'train')
    ends, links = dataset.entity_keys, dataset.relation_keys
    rows = zip(head.tolist(), rel.tolist(), tail.tolist(), strict=True)
    expected = {tuple(words_of(awkward, each)[:3]) for each in found}
    assert {(ends[h], links[r], ends[t]) for h, r, t in rows} == expected


def test_a_name_with_a_tab_does_not_break_a_line(
    model: Completer, tmp_path: Path
) -> None:
    named = renamed(model, ['a', 'b'], ['one\ttwo\nthree\rfour', 'b'])
    found = named.complete(entities=['a'])
    path = tmp_path / 'missing.tsv'
    named.write_proposals(path, found)
    frame = pd.read_csv(path, sep='\t')
    assert len(frame) == len(found)
    names = {*frame['head_name'], *frame['tail_name']}
    assert 'one two three four' in names


@pytest.mark.parametrize('mark', ['\t', '\n', '\r'])
def test_a_label_with_a_tab_is_refused(
    model: Completer, tmp_path: Path, mark: str
) -> None:
    named = renamed(model, [f'a{mark}b'])
    found = named.complete(entities=[0])
    path = tmp_path / 'missing.tsv'
    path.write_text('as it was')
    with pytest.raises(ValueError, match=r"cannot stand in \.tsv: 'a\\.b'"):
        named.write_proposals(path, found)
    assert path.read_text() == 'as it was'
    assert list(tmp_path.iterdir()) == [path]
    # As the message says.
    named.write_proposals(tmp_path / 'missing.parquet', found)
    frame = pd.read_parquet(tmp_path / 'missing.parquet')
    check_table(frame, named, found)


def test_keys_that_are_shared_stay_apart(
    model: Completer, tmp_path: Path
) -> None:
    named = renamed(model, ['Italy', 'France', 'Italy'])
    assert named.entities.labels[:3] == ['Italy #0', 'France', 'Italy #2']
    found = named.complete(k=4)
    named.write_proposals(tmp_path / 'missing.tsv', found)
    frame = pd.read_csv(tmp_path / 'missing.tsv', sep='\t')
    assert {'Italy #0', 'France', 'Italy #2'} <= {
        *frame['head'],
        *frame['tail'],
    }
    assert 'Italy' not in {*frame['head'], *frame['tail']}


def test_parquet(
    awkward: Completer,
    found: list[Proposal],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, 'HELD', 7)
    path = tmp_path / 'missing.parquet'
    awkward.write_proposals(path, iter(found))
    check_table(pd.read_parquet(path), awkward, found)
    parquet = pytest.importorskip('pyarrow.parquet')
    file = parquet.ParquetFile(path)
    assert file.num_row_groups == -(-len(found) // 7)
    check_origin(json.loads(file.schema_arrow.metadata[b'dsom_pyg']), awkward)


def test_ntriples(
    awkward: Completer, found: list[Proposal], tmp_path: Path
) -> None:
    path = tmp_path / 'missing.nt'
    awkward.write_proposals(path, found)
    lines = path.read_text(encoding='utf-8').split('\n')
    assert len(set(lines)) == len(lines)  # each name once
    graph = rdflib.Graph().parse(path, format='nt')
    names = {}
    for node, name in graph.subject_objects(RDFS.label):
        assert graph.value(node, RDFS.label) == name  # one each
        names[node] = str(name)
    base = rdflib.Namespace(BASE)
    statements = list(graph.subjects(RDF.type, RDF.Statement))
    got = {}
    for said in statements:
        triple = tuple(
            graph.value(said, part)
            for part in (RDF.subject, RDF.predicate, RDF.object)
        )
        assert triple in graph
        numbers = [
            np.float32(graph.value(said, term).toPython())
            for term in (base.probability, base.score)
        ]
        got[tuple(names[term] for term in triple)] = numbers
        run = graph.value(said, PROV.wasGeneratedBy)
    assert got == {
        (x.head, x.relation, x.tail): [
            np.float32(x.probability),
            np.float32(x.score),
        ]
        for x in found
    }
    assert len(statements) == len(found)
    (activity,) = graph.subjects(RDF.type, PROV.Activity)
    assert run == activity
    used = graph.value(run, PROV.used)
    software = graph.value(run, PROV.wasAssociatedWith)
    assert names[software] == f'dsom_pyg {dsom_pyg.__version__}, ComplEx'
    terms = rdflib.Namespace('http://purl.org/dc/terms/')
    check_origin(
        {
            'fingerprint': str(graph.value(used, terms.identifier)),
            'dataset': str(graph.value(used, terms.title)),
            'date': str(graph.value(run, PROV.endedAtTime)),
            'version': dsom_pyg.__version__,
        },
        awkward,
    )


def test_iris(model: Completer, tmp_path: Path) -> None:
    keys = [
        *('http://dbpedia.org/resource/Café\U00010348', 'urn:isbn:1'),
        'Alien:Part',
        *('http://a b', '_:b0', 'a/b#c d%', 'Ø', 'http://e.org/100%_x'),
        *('http://e.org/a#b#c', 'http://e.org/F[x]', 'http://e.org:a/'),
    ]
    named = renamed(model, keys)
    path = tmp_path / 'missing.nt'
    named.write_proposals(path, named.complete(k=4), 'http://mine.net/')
    graph = rdflib.Graph().parse(path, format='nt')
    own = {str(name): str(node) for node, name in graph[: RDFS.label :]}
    assert own['calls at'] == 'http://mine.net/relation/calls%20at'
    assert [own[key] for key in keys] == [
        'http://dbpedia.org/resource/Café\U00010348',
        'urn:isbn:1',
        'http://mine.net/entity/Alien%3APart',
        'http://mine.net/entity/http%3A%2F%2Fa%20b',
        'http://mine.net/entity/_%3Ab0',
        'http://mine.net/entity/a%2Fb%23c%20d%25',
        'http://mine.net/entity/%C3%98',
        'http://mine.net/entity/http%3A%2F%2Fe.org%2F100%25_x',
        'http://mine.net/entity/http%3A%2F%2Fe.org%2Fa%23b%23c',
        'http://mine.net/entity/http%3A%2F%2Fe.org%2FF%5Bx%5D',
        'http://mine.net/entity/http%3A%2F%2Fe.org%3Aa%2F',
    ]
    # A strict parser reads all of it.
    assert list(ox.parse(path=path, format=ox.RdfFormat.N_TRIPLES))
    for base in ('mine.net/', 'http://mine.net', 'http://a b/', ''):
        with pytest.raises(ValueError, match='base must be an absolute IRI'):
            named.write_proposals(path, [], base)


def test_two_files_can_be_put_together(
    model: Completer, found: list[Proposal], tmp_path: Path
) -> None:
    text = ''
    for number in range(2):
        path = tmp_path / f'{number}.nt'
        model.write_proposals(path, model.complete(limit=1))
        text += path.read_text()
    graph = rdflib.Graph().parse(data=text, format='nt')
    assert len(set(graph.subjects(RDF.type, PROV.Activity))) == 2
    assert len(set(graph.subjects(RDF.type, RDF.Statement))) == 2


@pytest.mark.parametrize('ending', ['tsv', 'nt', 'parquet'])
def test_whole_or_nothing(
    model: Completer, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f'missing.{ending}'
    every = model.complete(limit=3)
    model.write_proposals(path, every)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def failing() -> Iterator[Proposal]:
        yield from every
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.write_proposals(path, failing())
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize('ending', ['tsv', 'nt', 'parquet'])
def test_nothing_to_write(
    model: Completer, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f'missing.{ending.upper()}'
    model.write_proposals(path, [])
    if ending == 'nt':
        graph = rdflib.Graph().parse(path, format='nt')
        assert not list(graph.subjects(RDF.type, RDF.Statement))
    elif ending == 'tsv':
        assert not len(pd.read_csv(path, sep='\t'))
    else:
        frame = pd.read_parquet(path)
        assert not len(frame)
        assert 'head' in frame


def test_another_ending(model: Completer, tmp_path: Path) -> None:
    for name in ('missing.csv', 'missing'):
        with pytest.raises(ValueError, match=r'\.tsv .*\.nt .*\.parquet'):
            model.write_proposals(tmp_path / name, [])
    assert not list(tmp_path.iterdir())
