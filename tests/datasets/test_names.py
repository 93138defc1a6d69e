from hypothesis import given
from hypothesis import strategies as st

from dsom_pyg.datasets.names import unique_names


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
