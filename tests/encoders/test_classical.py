from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dsom_pyg.encoders import ImageStatistics, TfidfText, UnreadableImage


def test_tfidf_brings_similar_texts_together() -> None:
    texts = [f'{w} lives by the sea' for w in ('anna', 'bert', 'carl')]
    texts += [f'{w} digs coal in mines' for w in ('dora', 'emil', 'fred')]
    encoder = TfidfText(out_channels=4)
    x = encoder(texts)
    assert x.shape == (6, 4)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(6))
    similar = x @ x.t()
    assert similar[0, 1] > similar[0, 3] + 0.5
    assert torch.equal(encoder(texts), x)


@pytest.mark.parametrize('texts', [['', ''], ['one'], ['a b', 'c d'], []])
def test_tfidf_with_hardly_any_words(texts: list[str]) -> None:
    x = TfidfText(out_channels=8)(texts)
    assert x.shape == (len(texts), 8)
    assert x.isfinite().all()


@pytest.mark.filterwarnings('error')
def test_tfidf_of_texts_that_are_all_alike() -> None:
    x = TfidfText(out_channels=8)(['a harbour of the north'] * 5)
    assert x.isfinite().all()
    assert torch.equal(x, x[:1].expand_as(x))


def paint(path: Path, colour: tuple[int, ...], mode: str = 'RGB') -> Path:
    Image.new(mode, (40, 20), colour).save(path)
    return path


def test_image_statistics(tmp_path: Path) -> None:
    red = paint(tmp_path / 'red.png', (255, 0, 0))
    dark = paint(tmp_path / 'dark.png', (200, 10, 10))
    blue = paint(tmp_path / 'blue.png', (0, 0, 255))
    stripes = np.zeros((32, 32, 3), dtype=np.uint8)
    stripes[:, ::8] = 255
    Image.fromarray(stripes).save(tmp_path / 'v.png')
    Image.fromarray(stripes.transpose(1, 0, 2)).save(tmp_path / 'h.png')
    encoder = ImageStatistics()
    x = encoder([red, dark, blue, tmp_path / 'v.png', tmp_path / 'h.png'])
    assert x.shape == (5, encoder.out_channels)
    assert x.isfinite().all()
    distance = torch.cdist(x, x)
    assert distance[0, 1] < distance[0, 2]
    # Only the directions of the edges tell stripes apart.
    assert x[3, -32:].dot(x[4, -32:]) < 0.5
    assert (x[0, -32:] == 0).all()
    assert x[0, 48] == 1  # full red: level 3 of red, 0 of the others
    assert torch.equal(encoder([blue, red]), x[[2, 0]])
    assert encoder([]).shape == (0, encoder.out_channels)


def test_transparent_is_grey(tmp_path: Path) -> None:
    clear = paint(tmp_path / 'clear.png', (255, 0, 0, 0), 'RGBA')
    grey = paint(tmp_path / 'grey.png', (128, 128, 128))
    x = ImageStatistics()([clear, grey])
    assert torch.equal(x[0], x[1])


@pytest.mark.parametrize('mode', ['L', 'P', 'CMYK', '1', 'I;16'])
def test_other_colour_modes(tmp_path: Path, mode: str) -> None:
    suffix = 'jpg' if mode == 'CMYK' else 'png'
    path = tmp_path / f'image.{suffix}'
    Image.new(mode, (9, 9)).save(path)
    assert ImageStatistics()([path]).isfinite().all()


def test_bad_images_are_named(tmp_path: Path) -> None:
    text = tmp_path / 'text.png'
    text.write_text('no image')
    with pytest.raises(UnreadableImage, match=r'text\.png'):
        ImageStatistics()([text])
    with pytest.raises(ValueError, match='multiple of 4'):
        ImageStatistics(size=30)


def test_names_and_what_they_depend_on() -> None:
    assert ImageStatistics().name == 'image-statistics2-s32'
    assert not getattr(ImageStatistics(), 'corpus_dependent', False)
    assert TfidfText().corpus_dependent is True
    for words in ({'min_count': 0}, {'out_channels': -2}):
        with pytest.raises(ValueError, match='must be positive'):
            TfidfText(**words)
    with pytest.warns(UserWarning, match='nothing that tells 3 texts apart'):
        x = TfidfText(4, min_count=3)(['ab', 'cd', 'ef'])
    assert not x.any()


def test_tfidf_of_a_language_without_spaces() -> None:
    texts = ['她住在海边', '他也住在海边', '矿工在山里挖煤', '他们在山里挖矿']
    x = TfidfText(out_channels=3)(texts)
    assert (x.norm(dim=1) > 0.99).all()
    similar = x @ x.t()
    assert similar[0, 1] > similar[0, 2]
    assert similar[2, 3] > similar[1, 2]
