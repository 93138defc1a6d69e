from pathlib import Path

import pandas as pd
import pytest
from fleet import ROWS
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets import MKGFolder, from_pandas
from dsom_pyg.datasets.own.literals import is_number, literal_relations
from dsom_pyg.datasets.own.table import Triple

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
    'text', ['', '-', 'Q7', '7 m', 'B-52', '747-400 Jumbo', '/m/07', '1-a']
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
    years = [(tail, 'century of', '20th') for _, _, tail in BUILT]
    assert relations(ROWS + BUILT + years) == {}
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
    with pytest.raises(ValueError, match=r"'leave', 'keep'.* 'drop'"):
        from_pandas(frame, literals='drop')
