"""Opening image files that nobody has checked."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# A list of formats and caps: a file's name proves nothing, and rarely used
# decoders have been attacked before.
IMAGE_FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'AVIF')
MAX_PIXELS = 50_000_000
# A line of pixels is no picture, and an encoder that scales its short side
# to 224 pixels would blow it up beyond all memory.
MAX_ASPECT = 200
# Four channels of 16 bits, and as much again for what is not pixels.
MAX_BYTES = 16 * MAX_PIXELS
# Raise it when the pixels of any image change: the names of encoders with
# weights hold it. That of ImageStatistics has a number of its own to raise.
IMAGE_VERSION = 1

WHITE = (255, 255, 255)

# Faults of the machine at this moment, or of rights, not of the file.
PASSING = {
    *(errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.ESTALE, errno.EPERM),
}

# What undoes each EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(OSError):  # noqa: N818
    r"""An image file that cannot be used, for the :obj:`reason` given."""

    def __init__(self, path: str | Path, reason: str) -> None:
        # No name of a file acts on a terminal.
        shown = str(path) if str(path).isprintable() else repr(str(path))
        super().__init__(f'{shown}: {reason}')
        self.path, self.reason = Path(path), reason

    # Exceptions are pickled on their way out of another process.
    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return type(self), (self.path, self.reason)


def open_image(
    path: str | Path, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    r"""Open an image file as 8-bit RGB, the right way up.

    The first frame of an animation is taken, transparent parts show the
    :obj:`background`, the EXIF orientation is applied, and 16-bit greyscale
    is scaled to 8 bits. Sizes are checked before any pixel is decoded.

    Args:
        path: A PNG, JPEG, WEBP, GIF, BMP, TIFF or AVIF file, whatever its
            name.
        background: Red, green and blue behind transparent parts.

    Raises:
        UnreadableImage: :func:`open_file` refuses the file, or it is
            truncated or no image of these formats, has more than 50 million
            pixels, or has one side more than 200 times as long as the other.
        OSError: The file could not be read just now, or may not be.
    """
    path = Path(path)
    try:
        with (
            open_file(path) as file,
            Image.open(file, formats=IMAGE_FORMATS) as image,
        ):
            _check_size(path, image.width, image.height)
            image.load()
            upright = UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image, background)
    except UnreadableImage:
        raise
    # Decoders raise whatever their format's code happens to raise on bytes
    # that nobody expected: SyntaxError, struct.error, KeyError, ...
    except Exception as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            raise
        raise UnreadableImage(path, _reason(error)) from error
    # Whoever reads the orientation later must not turn the image again.
    rgb.info.clear()
    return rgb if upright is None else rgb.transpose(upright)


def open_file(path: str | Path) -> BinaryIO:
    r"""Open a file that may be an image, to read its bytes.

    Pipes and devices are not opened: one would wait for ever, another has no
    end, and opening alone may do something.

    Raises:
        UnreadableImage: The file is missing, no regular file, empty (as all
            of ``/proc`` is), or larger than any image of 50 million pixels.
        OSError: The file could not be opened just now, or may not be.
    """
    path = Path(path)
    try:
        return open(path, 'rb', opener=_open_regular)
    except UnreadableImage:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableImage(path, 'no such file') from error
    except OSError as error:
        if error.errno in PASSING:
            raise
        raise UnreadableImage(path, _reason(error)) from error
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise UnreadableImage(path, 'no file can have this name') from error


def _open_regular(path: str, flags: int) -> int:
    _check_regular(path, os.stat(path))
    # Another file may have this name by now. Do not wait for the other end
    # of a pipe.
    file = os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))
    try:
        _check_regular(path, os.fstat(file))
    except UnreadableImage:
        os.close(file)
        raise
    return file


def _check_regular(path: str, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableImage(path, 'not a file')
    if not about.st_size:
        raise UnreadableImage(path, 'the file is empty')
    if about.st_size > MAX_BYTES:
        size = f'{about.st_size:,} bytes, more than {MAX_BYTES:,} are not read'
        raise UnreadableImage(path, size)


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        reason = f'more than {MAX_PIXELS} are not read'
    elif max(width, height) > MAX_ASPECT * min(width, height):
        reason = f'one side is more than {MAX_ASPECT} times the other'
    else:
        return
    raise UnreadableImage(path, f'{width} x {height} pixels, {reason}')


def _orientation(image: Image.Image) -> int:
    # Broken metadata is common and says nothing about the pixels.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _to_rgb(
    image: Image.Image, background: tuple[int, int, int]
) -> Image.Image:
    if image.mode == 'F':
        why = 'its pixels are fractions of no known range; save 8 bits'
        raise ValueError(why)
    if image.mode.startswith('I'):
        image = _to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert('RGB')
    rgba = image.convert('RGBA')
    canvas = Image.new('RGB', rgba.size, background)
    canvas.paste(rgba, mask=rgba.getchannel('A'))
    return canvas


def _to_8_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 instead of scaling.
    values = np.asarray(image)
    clear = image.info.get('transparency')
    seen = None if clear is None else values != clear
    # In place and in 32 bits: a small file may unfold to 50 million pixels.
    scaled = np.clip(values, 0, 65535).astype(np.uint32)
    scaled += 128
    scaled //= 257
    grey = Image.fromarray(scaled.astype(np.uint8))
    if seen is not None:
        grey.putalpha(Image.fromarray(seen.astype(np.uint8) * 255))
    return grey


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f'no image of the formats {", ".join(IMAGE_FORMATS)}'
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
