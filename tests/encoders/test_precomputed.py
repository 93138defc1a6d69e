from pathlib import Path

import numpy as np
import pytest
import torch

from dsom_pyg.encoders import Precomputed

X = torch.arange(12.0).reshape(4, 3)


def test_texts() -> None:
    encoder = Precomputed(X, ['a', 'b', 'c', 'a/b'], 'mine')
    assert encoder.out_channels == 3
    assert torch.equal(encoder(['c', 'a', 'c']), X[[2, 0, 2]])
    assert torch.equal(encoder(['a/b']), X[3:])
    assert encoder([]).shape == (0, 3)
    encoder(['a']).add_(1)  # a copy
    assert torch.equal(encoder(['a']), X[:1])
    # A text is no path.
    with pytest.raises(KeyError, match="'z/a' and of 1 more"):
        encoder(['a', 'z/a', 'A'])


def test_images_by_path_name_or_stem() -> None:
    keys = ['/data/q1/a.jpg', 'q2/a.jpg', 'b.png', 'c']
    encoder = Precomputed(X, keys)
    items = [
        Path('/data/q1/a.jpg'),
        Path('/data/q2/a.jpg'),
        Path('/data/q9/b.png'),
        Path('/data/q9/c.webp'),
    ]
    assert torch.equal(encoder(items), X)
    assert torch.equal(encoder([Path('q2/a.jpg')]), X[1:2])
    for name in ('a.jpg', '/data/q3/a.jpg', 'b.jpg', '/', '.'):
        with pytest.raises(KeyError, match='has no feature of'):
            encoder([Path(name)])
    # The longest match counts.
    both = Precomputed(X[:2], ['a', 'q2/a'])
    assert torch.equal(both([Path('x/q2/a.jpg')]), X[1:2])


def test_a_key_that_fits_two_images() -> None:
    encoder = Precomputed(X[:1], ['1'])
    one = Path('q1/1.jpg')
    assert torch.equal(encoder([one, one]), X[[0, 0]])
    with pytest.raises(ValueError, match=r"'q1/1\.jpg' and 'q2/1\.jpg'"):
        encoder([one, Path('q2/1.jpg')])


def test_mappings_and_arrays() -> None:
    rows = {'a': X[0].half(), 'b': X[1].half()}
    encoder = Precomputed(rows)
    assert encoder(['b']).dtype == torch.float32
    assert torch.equal(encoder(['b', 'a']), X[[1, 0]])
    array = Precomputed(np.asarray(X), ['a', 'b', 'c', 'd'])  # type: ignore[arg-type]
    assert torch.equal(array(['d']), X[3:])


def test_name_follows_features_and_keys() -> None:
    keys = ['a', 'b', 'c', 'd']
    names = [
        Precomputed(X, keys).name,
        Precomputed(X, keys, 'mine').name,
        Precomputed(X + 1, keys).name,
        Precomputed(X, keys[::-1]).name,
        Precomputed(X[:3], keys[:3]).name,
    ]
    assert len(set(names)) == 5
    assert Precomputed(X.clone(), tuple(keys)).name == names[0]
    assert names[1].startswith('precomputed-mine-')
    # A file is found by its name: equal contents may differ.
    assert Precomputed.corpus_dependent


@pytest.mark.parametrize(
    ('features', 'keys', 'message'),
    [
        (X, None, 'needs the keys'),
        (X, ['a'], '1 keys need a matrix'),
        (X[0], ['a', 'b', 'c'], '3 keys need a matrix'),
        (X[:, :0], ['a', 'b', 'c', 'd'], r'\[4, 0\] have no columns'),
        ({}, None, 'have no columns'),
        ({'a': X[0]}, ['a'], 'brings its keys'),
        (X, ['a', 'b', 'c', 'a'], 'a key occurs twice'),
        (X.log().log(), ['a', 'b', 'c', 'd'], "of 'a' is not finite"),
    ],
)
def test_what_does_not_fit(
    features: object, keys: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Precomputed(features, keys)  # type: ignore[arg-type]


def test_vectors_that_do_not_go_together() -> None:
    rows = {'a': torch.ones(3), 'b': torch.ones(2)}
    with pytest.raises(ValueError, match=r"of 'b' is \[2\], that of 'a'"):
        Precomputed(rows)
    with pytest.raises(ValueError, match='got complex ones'):
        Precomputed(torch.ones(1, 2, dtype=torch.complex64), ['a'])
