from dsom_pyg.datasets.names import unique_names


def test_shared_names_get_their_key() -> None:
    names = unique_names(['x', 'y', 'x'], ['1', '2', '3'])
    assert names == ['x (1)', 'y', 'x (3)']
