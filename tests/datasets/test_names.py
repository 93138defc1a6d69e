from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.names import NameIndex, unique_names


def test_shared_names_get_their_key() -> None:
    names = unique_names(['x', 'y', 'x'], ['1', '2', '3'])
    assert names == ['x (1)', 'y', 'x (3)']


@given(
    st.dictionaries(
        st.text('a ()', max_size=6), st.text('a ()', max_size=4), max_size=9
    )
)
def test_names_become_unique(names: dict[str, str]) -> None:
    out = unique_names(list(names.values()), list(names))
    assert len(set(out)) == len(names)
    for before, after in zip(names.values(), out, strict=True):
        assert after.startswith(before)
    if len(set(names.values())) == len(names):
        assert out == list(names.values())


def test_an_exact_name_goes_before_another_spelling() -> None:
    index = NameIndex([['a b', 'x'], ['a_b'], ['a.b', 'a_b']])
    assert index.exact('a_b') == [1, 2]
    assert index.owners('a_b') == [1, 2]
    assert index.exact('a%20b') == []
    assert index.owners('a%20b') == [0]
    assert index.owners('nobody') == []


def test_an_earlier_alias_and_an_earlier_word_go_first() -> None:
    index = NameIndex([['Q1', 'Oslo'], ['Oslo', 'Q1'], []])
    assert index.owners('Oslo') == [1, 0]
    assert index.owners('Q1') == [0, 1]
    assert index.owners('nobody', 'Oslo', 'Q1') == [1, 0]
    # Each entity is named once, however often it fits.
    assert NameIndex([['x', 'x'], ['y']]).owners('x', 'y', 'x') == [0, 1]


def test_unicode_forms_are_one_name() -> None:
    for alias, word in (
        ('Co\u0302te', 'C\u00f4te'),
        ('C\u00f4te', 'Co\u0302te'),
    ):
        assert NameIndex([['x'], [alias]]).exact(word) == [1]


def test_case_and_a_count_at_the_end_matter_last() -> None:
    index = NameIndex([['Japan'], ['japan (country)'], ['Q2'], ['Q2_1']])
    assert index.owners('japan') == [0]
    assert index.owners('JAPAN_(COUNTRY)') == [1]
    assert index.owners('Q2_0') == [2]
    assert index.owners('Q2 (3)') == [2]
    # A name goes before a count.
    assert index.owners('Q2_1') == [3]
    # A year is no count.
    assert index.owners('Q2_1990') == []


def test_a_name_of_several_is_not_that_of_who_is_called_nearly_so() -> None:
    keys, said = (
        ['k1', 'k2', 'k3', 'k4'],
        ['The Sea', 'the sea', 'The Sea', ''],
    )
    names = unique_names(said, keys)
    assert names == ['The Sea (k1)', 'the sea', 'The Sea (k3)', '']
    index = NameIndex(list(zip(keys, names, strict=True)))
    for word in ('The Sea', 'THE SEA', 'The_Sea', 'The%20Sea', 'The Sea_1'):
        assert index.owners(word) == []
    # Who is called so letter by letter may be spelt in other ways as well.
    for word in ('the sea', 'the_sea', 'the%20sea', 'the+sea', 'the sea_1'):
        assert index.owners(word) == [1]
    # Some systems give decomposed letters.
    keys, said = ['k1', 'k2', 'k3'], ['\u00c9vian', '\u00c9vian', '\u00e9vian']
    named = unique_names(said, keys)
    other = NameIndex(list(zip(keys, named, strict=True)))
    assert other.owners('E\u0301vian') == other.owners('\u00c9vian') == []
    assert other.owners('e\u0301vian') == [2]
    assert index.owners('the sea (K3)') == index.owners('k3') == [2]
    # What nobody has told apart fits both.
    index = NameIndex([['k1', 'Sea'], ['k2', 'Sea'], ['k3', 'sea side']])
    assert index.owners('SEA') == [0, 1]
    # A single one may be called so, and then it is by other spellings, too.
    index = NameIndex([['k1', 'Sea (k1)'], ['k2', 'sea']])
    assert index.owners('SEA') == [1]
