import io
import os
import pickle
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dsom_pyg.encoders import UnreadableImage, images, open_image

FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'AVIF')


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def pixel(path: Path, x: int = 0, y: int = 0, **more: object) -> object:
    return open_image(path, **more).getpixel((x, y))  # type: ignore[arg-type]


@pytest.mark.parametrize('kind', FORMATS)
def test_formats_whatever_the_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'picture.txt'
    noise().save(path, kind)
    image = open_image(path)
    assert (image.mode, image.size) == ('RGB', (40, 30))
    with Image.open(path) as direct:
        expected = np.asarray(direct.convert('RGB'))
    assert np.array_equal(np.asarray(image), expected)
    assert open_image(str(path)).size == (40, 30)


def test_fractions_have_no_range(tmp_path: Path) -> None:
    path = tmp_path / 'heights.tif'
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(path)
    with pytest.raises(UnreadableImage, match='fractions of no known range'):
        open_image(path)


@pytest.mark.parametrize('kind', ['ICO', 'PPM', 'TGA'])
def test_other_formats_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'picture.jpg'
    noise().save(path, kind)
    with pytest.raises(UnreadableImage, match='no image of the formats PNG'):
        open_image(path)


def empty(path: Path) -> None:
    path.write_bytes(b'')


def text(path: Path) -> None:
    path.write_text('<html>404 not found</html>')


def header_only(path: Path) -> None:
    path.write_bytes(b'\x89PNG\r\n\x1a\n')


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name('gone.jpg'))


def device(path: Path) -> None:
    path.symlink_to('/dev/zero')


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 800_000_001)


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda path: None, 'no such file'),
        (empty, 'the file is empty'),
        (text, 'no image of the formats'),
        (header_only, 'no image of the formats'),
        (folder, 'not a file'),
        (pipe, 'not a file'),
        (broken_link, 'no such file'),
        (device, 'not a file'),
        (link_to_itself, 'Too many levels of symbolic links'),
        (sparse, '800,000,001 bytes, more than 800,000,000 are not read'),
    ],
)
def test_no_image(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / 'picture.jpg'
    make(path)
    with pytest.raises(UnreadableImage) as caught:
        open_image(path)
    assert str(caught.value).startswith(f'{path}: {reason}')
    assert isinstance(caught.value, OSError)
    assert caught.value.path == path
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason) == (path, caught.value.reason)


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('a\0.png', 'no file can have this name'),
        ('a\ud800.png', 'no file can have this name'),
        ('a' * 300 + '.png', 'File name too long'),
        ('a' * 300 + '/b.png', 'File name too long'),
    ],
)
def test_names_that_no_file_has(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(UnreadableImage) as caught:
        open_image(tmp_path / name)
    assert caught.value.reason == reason


def test_a_file_that_becomes_a_pipe_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.png'
    noise().save(path)
    opens = os.open

    def swap(name: str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        # Reading alone would wait for a writer.
        return opens(name, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'open', swap)
        with pytest.raises(UnreadableImage, match='not a file'):
            open_image(path)


def test_a_name_with_terminal_codes_is_shown_as_escapes(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnreadableImage) as caught:
        open_image(tmp_path / '\x1b[2J.png')
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('share', [0.3, 0.6, 0.9])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    whole = io.BytesIO()
    noise().save(whole, kind)
    data = whole.getvalue()
    path = tmp_path / 'picture.jpg'
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableImage, match=r'picture\.jpg: .+'):
        open_image(path)


def huge_png(path: Path, width: int, height: int) -> Path:
    """A header that promises many pixels, and hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + check

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(b'\0' * 100))
        + chunk(b'IEND', b'')
    )
    return path


# Above 89 million pixels Pillow warns, above twice that it raises.
@pytest.mark.parametrize('width', [8_000, 12_000, 20_000])
@pytest.mark.parametrize('strict', [False, True])
def test_too_many_pixels(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    strict: bool,
) -> None:
    def load(image: object) -> None:
        raise AssertionError('decoded')

    monkeypatch.setattr(PngImagePlugin.PngImageFile, 'load', load)
    path = huge_png(tmp_path / 'big.png', width, 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter('error' if strict else 'ignore')
        with pytest.raises(UnreadableImage, match=r'big\.png: .*pixels'):
            open_image(path)


def test_the_cap_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.png'
    noise(40, 20).save(path)
    monkeypatch.setattr(images, 'MAX_PIXELS', 800)
    assert open_image(path).size == (40, 20)
    monkeypatch.setattr(images, 'MAX_PIXELS', 799)
    with pytest.raises(UnreadableImage, match=r'40 x 20 pixels, more than'):
        open_image(path)


def test_a_line_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / 'line.png'
    noise(200, 1).save(path)
    assert open_image(path).size == (200, 1)
    noise(1, 201).save(path)
    with pytest.raises(UnreadableImage, match='one side is more than 200'):
        open_image(path)


def test_cmyk(tmp_path: Path) -> None:
    path = tmp_path / 'a.jpg'
    Image.new('CMYK', (8, 8), (0, 255, 255, 0)).save(path, quality=100)
    assert pixel(path) == pytest.approx((255, 0, 0), abs=3)


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    values = np.array([[0, 257, 300, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(path)
    with Image.open(path) as image:
        assert image.mode == 'I;16'
    got = np.asarray(open_image(path))
    assert got[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    assert (got == got[..., :1]).all()
    # The colour that stands for transparent is one of the 16-bit values.
    with Image.open(path) as image:
        image.save(path, transparency=300)
    got = np.asarray(open_image(path, (10, 20, 30)))
    assert got[0, 1:4].tolist() == [[1] * 3, [10, 20, 30], [128] * 3]


def test_grey_and_bilevel(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    Image.new('L', (4, 4), 77).save(path)
    assert pixel(path) == (77, 77, 77)
    Image.new('1', (4, 4), 1).save(path)
    assert pixel(path) == (255, 255, 255)


def test_alpha_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    Image.new('RGBA', (4, 4), (255, 0, 0, 0)).save(path)
    assert pixel(path) == (255, 255, 255)
    assert pixel(path, background=(1, 2, 3)) == (1, 2, 3)
    Image.new('RGBA', (4, 4), (200, 0, 100, 51)).save(path)
    # 0.2 * colour + 0.8 * background
    assert pixel(path, background=(100, 50, 0)) == (120, 40, 20)
    Image.new('LA', (4, 4), (200, 51)).save(path)
    assert pixel(path, background=(100, 50, 0)) == (120, 80, 40)


def test_transparent_colours(tmp_path: Path) -> None:
    palette = Image.new('P', (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    path = tmp_path / 'a.png'
    for mark in (1, b'\xff\x00'):  # one index, or an alpha for each
        palette.save(path, transparency=mark)
        assert pixel(path, 0) == (255, 0, 0)
        assert pixel(path, 1, background=(9, 9, 9)) == (9, 9, 9)
    palette.save(path)
    assert pixel(path, 1) == (0, 255, 0)
    colour = Image.new('RGB', (2, 1), (5, 6, 7))
    colour.putpixel((1, 0), (8, 8, 8))
    colour.save(path, transparency=(5, 6, 7))
    assert pixel(path, 0) == (255, 255, 255)
    assert pixel(path, 1) == (8, 8, 8)
    gif = tmp_path / 'a.gif'
    palette.save(gif, transparency=1)
    assert pixel(gif, 1, background=(9, 9, 9)) == (9, 9, 9)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    # Three corners of the upright picture have a colour of their own.
    upright = np.zeros((48, 32, 3), dtype=np.uint8)
    upright[:16, :16, 0] = upright[:16, 16:, 1] = upright[32:, :16, 2] = 255
    # How a camera stores it, by the definition of each orientation: where
    # row 0 and column 0 of the stored picture are seen.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[:, ::-1].transpose(1, 0, 2),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright[::-1].transpose(1, 0, 2),
    }[orientation]
    path = tmp_path / 'a'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(
        path, kind, exif=exif, quality=100
    )
    image = open_image(path)
    got = np.asarray(image).astype(int)
    assert got.shape == upright.shape
    assert np.abs(got - upright)[4:12, 4:12].max() < 40
    assert np.abs(got - upright)[4:12, 20:28].max() < 40
    assert np.abs(got - upright)[36:44, 4:12].max() < 40
    # Nobody turns it a second time.
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
@pytest.mark.parametrize(
    'exif', [b'II*\0\xff\xff\xff\xffgarbage', b'no TIFF header', b'II*\0']
)
def test_broken_exif_is_ignored(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / 'a.jpg'
    noise().save(path, exif=b'Exif\0\0' + exif)
    assert open_image(path).size == (40, 30)


def test_broken_exif_that_pillow_does_not_catch(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    notes = PngImagePlugin.PngInfo()
    notes.add_text('Raw profile type exif', '\nexif\n4\nno hex digits')
    noise().save(path, pnginfo=notes)
    with Image.open(path) as image, pytest.raises(ValueError, match='hex'):
        image.getexif()
    assert open_image(path).size == (40, 30)


@pytest.mark.parametrize('kind', ['GIF', 'WEBP', 'PNG'])
def test_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'a'
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    first, *rest = [Image.new('RGB', (16, 16), colour) for colour in colours]
    first.save(path, kind, save_all=True, append_images=rest, duration=50)
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert pixel(path) == pytest.approx((250, 0, 0), abs=8)


@pytest.mark.parametrize('kind', FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    # Nothing else may come out of whatever bytes.
    whole = io.BytesIO()
    noise(24, 18).save(whole, kind)
    path = tmp_path / 'a.jpg'
    rng = random.Random(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole.getvalue())
        for _ in range(rng.randint(1, 12)):
            data[rng.randrange(min(len(data), 200))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                assert open_image(path).mode == 'RGB'
        except UnreadableImage:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    'error',
    [
        ValueError('odd'),
        SyntaxError('odd'),
        struct.error('odd'),
        KeyError('odd'),
        EOFError(),
        MemoryError(),
        IndexError('odd'),
        ZeroDivisionError('odd'),
    ],
)
def test_whatever_a_decoder_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load(image: object) -> None:
        raise error

    path = tmp_path / 'a.png'
    noise().save(path)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, 'load', load)
    reason = 'odd' if error.args else type(error).__name__
    with pytest.raises(UnreadableImage, match=rf'a\.png: .*{reason}'):
        open_image(path)


def test_real_photographs(samples: list[Path]) -> None:
    for path in samples:
        image = open_image(path)
        assert image.mode == 'RGB'
        assert min(image.size) > 1
