from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from fleet import ROWS
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg import Recipe, train_dsom
from dsom_pyg.datasets import MKGFolder, from_pandas
from dsom_pyg.datasets.own.literals import (
    NUMBER,
    is_number,
    literal_relations,
    value_of,
)
from dsom_pyg.datasets.own.table import Triple
from dsom_pyg.graph import pool_features
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import FreshTable, Student, Teachers
from dsom_pyg.training import Loop

BUILT = [(row[0], 'built', str(1950 + at)) for at, row in enumerate(ROWS)]
COLUMNS = ['head', 'relation', 'tail']


@pytest.mark.parametrize(
    'text',
    [
        *('7', '-7', '+7.5', '7,5', '.5', '1e5', '1E-7', '1.234.567'),
        *('1962', '1962-05', '1962-05-01', '1962-##-##', '1.5.1962'),
        *('1962-05-01T10:00:00Z', '2024-05-01T10:00:00.5+02:00', '01/05/62'),
    ],
)
def test_numbers(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '-',
        'Q7',
        '7 m',
        '1/2',
        '1-2-3-4',
        'B-52',
        '747-400 Jumbo',
        '/m/07',
        '1-a',
    ],
)
def test_no_numbers(text: str) -> None:
    assert not is_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.dates())
def test_what_python_writes_is_a_number(x: float, day: object) -> None:
    assert is_number(str(x))
    assert is_number(str(day))


def relations(rows: list[tuple[str, str, str]]) -> dict[str, int]:
    return literal_relations([Triple(*row) for row in rows])


def test_relations_of_numbers() -> None:
    assert relations(ROWS + BUILT) == {'built': len(BUILT)}
    assert relations(ROWS) == {}
    # Nine of ten must be numbers.
    some = [(h, r, 'unknown') for h, r, _ in BUILT]
    nine = [(f'x{at}', 'built', str(at)) for at in range(9)]
    assert relations([*ROWS, *nine, some[0]]) == {'built': 10}
    assert relations([*ROWS, *nine, *some[:2]]) == {}


def test_codes_are_entities() -> None:
    flags = [(row[0], 'large', str(at % 2)) for at, row in enumerate(ROWS)]
    assert relations(ROWS + flags) == {}


def test_numbers_that_are_heads_are_entities() -> None:
    # Fewer than half of all heads.
    built = BUILT[:6]
    years = [(tail, 'in', '20th century') for _, _, tail in built]
    assert relations(ROWS + built) == {'built': 6}
    assert relations(ROWS + built + years) == {}
    names = sorted({x for h, _, t in ROWS for x in (h, t)})
    numbered = [
        (str(names.index(h)), r, str(names.index(t))) for h, r, t in ROWS
    ]
    assert relations(numbered) == {}
    assert relations(numbered + [('7', 'built', '1962')] * 9) == {}


def test_they_are_left_out_and_told(tmp_path: Path) -> None:
    rows = ROWS + BUILT
    (tmp_path / 'triples.tsv').write_text(
        ''.join('\t'.join(row) + '\n' for row in rows)
    )
    dataset = MKGFolder(tmp_path)
    assert dataset.relation_keys == list(dict.fromkeys(row[1] for row in ROWS))
    assert dataset.num_entities == len({x for h, _, t in ROWS for x in (h, t)})
    counts = dataset.findings.counts
    assert counts['literal'] == len(BUILT)
    first = dataset.findings.examples['literal'][0]
    assert str(first).endswith(
        f"triples.tsv:{len(ROWS) + 1}: not used: '1950' of 'built'"
    )
    (told,) = dataset.findings.examples['numbers among the tails']
    assert f"{len(BUILT)} tails of 1 relations ('built')" in told.message
    assert "literals='keep'" in told.message
    kept = MKGFolder(tmp_path, literals='keep')
    assert 'built' in kept.relation_keys
    assert 'literal' not in kept.findings.counts
    # Not the file of before.
    assert 'built' not in MKGFolder(tmp_path).relation_keys


def test_in_a_frame() -> None:
    frame = pd.DataFrame(ROWS + BUILT, columns=COLUMNS)
    assert 'built' not in from_pandas(frame).relation_keys
    assert 'built' in from_pandas(frame, literals='keep').relation_keys
    with pytest.raises(ValueError, match=r"'leave', 'keep', .* 'drop'"):
        from_pandas(frame, literals='drop')


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        *[('7', 7), ('-7', -7), ('7.5', 7.5), ('.5', 0.5), ('1e3', 1000)],
        *[('0,125', 0.125), ('-0,5', -0.5), ('1,5e3', 1500)],
        *[('1234,567', 1234.567), ('-1,234', -1234)],
        *[('7,5', 7.5), ('1,234', 1234), ('1,234,567', 1234567)],
        *[('1.234,5', 1234.5), ('1,234.5', 1234.5), ('1.234.567', 1234567)],
        *[('1962-01-01', 1962), ('1962-07', 1962.5), ('1962-##-##', 1962)],
        *[('1962-07-01T10:00:00Z', 1962.5), ('-0044-01-01', -44)],
        ('0007.5T10:00', 7.5),
        *[('24.12.1962', 1962), ('1962', 1962), ('1/2/62', 1962)],
        *[('1.2.07', 2007), ('1962.07.01', 1962.5), ('1962/07', 1962.5)],
    ],
)
def test_values(text: str, value: float) -> None:
    assert value_of(text) == pytest.approx(value, abs=1e-9)


@given(
    st.from_regex(NUMBER, fullmatch=True, alphabet='0123456789-+.,:#TZeE/ ')
)
def test_every_number_has_a_value(text: str) -> None:
    assert isinstance(value_of(text), float)


def test_what_is_too_large_is_told() -> None:
    links = [(x, 'r', y) for x, y in pairwise('abcdef')]
    sizes = [(x, 'size', f'{at}.5') for at, x in enumerate('abcdef')]
    frame = pd.DataFrame([*links, *sizes, ('a', 'size', '1e400')])
    frame.columns = pd.Index(COLUMNS)
    dataset = from_pandas(frame, literals='features', split=(1, 0, 0))
    x, _ = pool_features(dataset[0], 'number')
    assert x.isfinite().all()
    assert x.any()
    assert "not used: '1e400' of 'size'" in str(dataset.findings)


def test_numbers_as_a_modality(tmp_path: Path) -> None:
    size = [('a', 1), ('b', 2), ('c', 3), ('d', 4), ('e', 5), ('a', 3)]
    links = [
        ('a', 'r', 'b'),
        ('b', 'r', 'c'),
        ('c', 'r', 'd'),
        ('d', 'r', 'e'),
    ]
    rows = [*links, *[(h, 'size', str(x)) for h, x in size]]
    rows += [(h, 'built', f'{1900 + x}') for h, x in size[:5]]
    rows += [('stranger', 'built', '1990')]
    (tmp_path / 'train.tsv').write_text(
        ''.join('\t'.join(row) + '\n' for row in rows)
    )
    (tmp_path / 'test.tsv').write_text('e\tbuilt\t1800\na\tr\te\n')
    dataset = MKGFolder(tmp_path, split=(1, 0, 0), literals='features')
    x, present = pool_features(dataset[0], 'number')
    assert present.all()
    # By hand: a has (1 + 3) / 2, and the others are 2, 3, 4, 5.
    sizes = torch.tensor([2.0, 2, 3, 4, 5])
    years = torch.tensor([1901.0, 1902, 1903, 1904, 1905])
    for column, values in enumerate((sizes, years)):
        wanted = (values - values.mean()) / values.std(correction=0)
        torch.testing.assert_close(x[:, column], wanted)
    assert x[:, 2:].tolist() == [[1, 1]] * 5
    assert dataset.relation_keys == ['r']
    # What test says of e is no feature.
    (told,) = dataset.findings.examples['literal']
    assert told.message == "not used: '1800' of 'built'"
    assert dataset.coverage()['number'] == 1
    loop = Loop(epochs=1, eval_every=0)
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=loop),
        policy=MeanOfTeachers(),
        student=Student(channels=4, loop=loop, start=FreshTable()),
    )
    trained = train_dsom(dataset[0], recipe)
    assert trained.ensemble.modalities == ['structure', 'number', 'joint']
