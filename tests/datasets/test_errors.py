import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.errors import (
    DatasetError,
    error_at,
    printable,
    shorten,
    unknown_name,
)
from dsom_pyg.datasets.findings import Finding, Findings

ANYTHING = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANYTHING)
def test_printable_is_what_repr_escapes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    # The quotes and backslashes of a literal apart, it is what Python shows.
    plain = text.replace('\\', '').replace("'", '').replace('"', '')
    assert printable(plain) == repr(plain)[1:-1]


@pytest.mark.parametrize('code', ['\x1b[2J', '\x9b', '\n', '\r', '\u202e'])
def test_no_message_acts_on_a_terminal(code: str) -> None:
    name = f'a{code}b'
    path = Path('/data') / name
    findings = Findings()
    findings.add('odd', name, path, 3)
    told = [
        str(DatasetError(f"'{path}' is missing")),
        str(error_at(path, 3, f'expected 3 columns, got {name}')),
        shorten(name),
        unknown_name(name, [name + name], 'entity'),
        str(Finding('odd', name, name)),
        *str(findings).split('\n'),
    ]
    for each in told:
        assert each.isprintable()
    error = DatasetError(name)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_letters_of_all_languages_stay() -> None:
    text = 'Zürich 東京 Ωμέγα मुंबई القاهرة 😀 a\\b'
    assert printable(text) == text
