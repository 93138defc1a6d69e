import numpy as np
import pytest
import torch

from dsom_pyg.completion import UnknownNameError, Vocabulary, vocabulary

NAMES = Vocabulary(['Norway', 'Sweden', 'Q7'], ['Q20', 'Q34', 'Q7 x'])


def test_a_word_to_ask_by() -> None:
    # The name of the second is the key of the first.
    words = Vocabulary(['X (k1)', 'X', 'Y', 'Y'], ['X', 'k2', 'y1', 'y2'])
    assert [words.word(at) for at in range(4)] == ['X (k1)', 'k2', 'y1', 'y2']
    for at in range(4):
        assert words.id(words.word(at)) == at


def test_names_keys_and_ids() -> None:
    assert [NAMES.id(word) for word in ('Sweden', 'Q20', 2)] == [1, 0, 2]
    assert NAMES.ids(['Q34', 'Norway', 'Q34']).tolist() == [1, 0, 1]
    assert NAMES.ids(torch.tensor([2, 0])).tolist() == [2, 0]
    assert NAMES.ids([]).tolist() == []
    assert NAMES.ids('Sweden').tolist() == [1]
    assert len(NAMES) == 3


def test_numbers_as_names() -> None:
    digits = Vocabulary(['2', '0', '7'])
    assert digits.ids(['7', '2', 2, np.int64(1), '0']).tolist() == [
        2,
        0,
        2,
        1,
        1,
    ]
    with pytest.raises(UnknownNameError, match='there is no entity 7;'):
        digits.id(7)
    with pytest.raises(UnknownNameError, match="unknown entity '1'"):
        digits.id('1')
    with pytest.raises(TypeError, match='a name or an id, got True'):
        digits.ids([1, True])


def test_other_spellings() -> None:
    spelled = Vocabulary(['New Zealand', 'Åland'])
    assert spelled.id('New_Zealand') == 0
    assert spelled.id('A\u030aland') == 1


def test_a_spelling_of_two() -> None:
    spelled = Vocabulary(['/m/x', 'm/x', 'm x'])
    assert spelled.id('m x') == 2
    with pytest.raises(UnknownNameError, match=r"'m.x' may be '/m/x' or 'm/x"):
        spelled.id('m.x')


def test_blanks_around_a_word_are_those_of_a_table() -> None:
    words = Vocabulary(['Oslo', ' Lima'], ['k1', 'k2'])
    assert words.id(' Oslo\n') == words.id('Oslo') == 0
    assert words.id(' Lima') == 1
    with pytest.raises(UnknownNameError, match='unknown entity'):
        words.id('  ')


def test_a_name_of_several_is_asked_back() -> None:
    words = Vocabulary(['Bob (e2)', 'bob', 'Bob (e4)'], ['e2', 'e3', 'e4'])
    with pytest.raises(UnknownNameError, match=r"'Bob \(e2\)', 'Bob \(e4\)'"):
        words.id('Bob')
    assert words.id('bob') == 1


def test_a_key_goes_before_the_name_of_another() -> None:
    both = Vocabulary(['one', 'two'], ['two', 'three'])
    assert both.id('two') == 0


def test_a_label_is_one_of_its_own() -> None:
    keys = ['a', 'b', 'a', 'a #2', 'a']
    shared = Vocabulary(['x', 'y', 'z', 'v', 'a #4'], keys)
    assert len({*shared.labels}) == 5
    assert shared.labels[1] == 'b'
    assert shared.labels[0].startswith('a')
    assert [shared.id(label) for label in shared.labels] == [0, 1, 2, 3, 4]
    assert shared.id('a #4') == 4
    assert shared.id('a #2') == 3
    with pytest.raises(UnknownNameError, match="'a' may be 'x' or 'z' or 'a "):
        shared.id('a')
    with pytest.raises(UnknownNameError, match="'y' may be 'a #0' or 'a #1'"):
        Vocabulary(['y', 'y'], ['a', 'a']).id('y')


def test_letter_by_letter_before_other_forms_of_unicode() -> None:
    twins = Vocabulary(['é', 'e\u0301', 'ö'])
    assert twins.ids(['é', 'e\u0301', 'o\u0308']).tolist() == [0, 1, 2]
    same = Vocabulary(['a', 'e\u0301'], ['é', 'b'])
    assert same.ids(['é', 'e\u0301']).tolist() == [0, 1]


@pytest.mark.parametrize('word', [3, -1])
def test_no_such_id(word: int) -> None:
    with pytest.raises(UnknownNameError, match=f'no entity {word}; .*0 to 2'):
        NAMES.id(word)


@pytest.mark.parametrize('word', [True, 1.0, None, b'\x01', bytearray(1)])
def test_no_name(word: object) -> None:
    with pytest.raises(TypeError, match='name or an id'):
        NAMES.id(word)  # type: ignore[arg-type]
    # Bytes are no list of ids.
    with pytest.raises(TypeError, match='name or an id'):
        NAMES.ids(word)  # type: ignore[arg-type]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'norwey'; did .* 'Norway'"):
        NAMES.id('norwey')
    with pytest.raises(UnknownNameError, match=r"unknown entity 'xyz'$"):
        NAMES.id('xyz')


def test_an_unknown_name_suggests_longer_ones_first() -> None:
    places = Vocabulary(['Kosovo', 'Port of Oslo', 'Oslo (Norway)'])
    near = r"did you mean 'Oslo \(Norway\)', 'Port of Oslo', 'Kosovo'\?"
    with pytest.raises(UnknownNameError, match=near):
        places.id('oslo')


def test_of_many_names_those_that_begin_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vocabulary, 'COMPARED', 2)
    with pytest.raises(UnknownNameError, match=r"did you mean 'Norway'"):
        NAMES.id('Norwey')
    with pytest.raises(UnknownNameError, match=r"unknown entity 'Xorway'$"):
        NAMES.id('Xorway')


def test_names_and_keys_of_different_length() -> None:
    with pytest.raises(ValueError, match='2 names of relation and 1 keys'):
        Vocabulary(['a', 'b'], ['a'], 'relation')
