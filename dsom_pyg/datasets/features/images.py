"""The image files of a folder, and the entities they belong to."""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import NameIndex

SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.gif', '.bmp'),
    *('.tif', '.tiff', '.avif'),
)
# How files without such a suffix begin, if they are images.
MAGIC = re.compile(
    rb'\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|BM....\0\0\0\0'
    rb'|II\*\0|MM\0\*|....ftypavi[fs]',
    re.DOTALL,
)
# What to do about what is not read.
ADVICE = {
    '.svg': 'is a drawing; save it as PNG, with rsvg-convert or cairosvg',
    '.svgz': 'is a drawing; save it as PNG, with rsvg-convert or cairosvg',
    '.heic': 'is an HEIC image; save it as JPEG',
    '.heif': 'is an HEIF image; save it as JPEG',
    '.jxl': 'is a JPEG XL image; save it as PNG',
    '.jp2': 'is a JPEG 2000 image; save it as PNG',
    '.psd': 'is a Photoshop file; save it as PNG',
    '.pdf': 'is a document; save its pictures as PNG',
    '.ico': 'is an icon; save it as PNG',
    '.zip': 'is an archive; unpack it',
    '.tar': 'is an archive; unpack it',
    '.gz': 'is compressed; unpack it',
}
# What file managers and archivers leave behind.
JUNK = ('thumbs.db', 'desktop.ini', '__macosx')


class ImageFile(NamedTuple):
    r"""An image file as its folder lists it."""

    name: str  # path below the folder, with slashes
    size: int  # in bytes
    changed: int  # time of the last change, in nanoseconds


def find_images(
    root: Path, aliases: Sequence[Sequence[str]]
) -> tuple[list[list[Path]], Findings]:
    r"""The images of each entity, from ``<alias>/*`` and ``<alias>.<ext>``.

    The name of a file without its suffix, or else its folder, names the
    entity by its :obj:`aliases`, see
    :class:`~dsom_pyg.datasets.names.NameIndex`. If several entities fit, the
    first one gets the file, and a finding reports it. The files of an entity
    are in the order of their names.
    """
    findings = Findings()
    index = NameIndex(aliases)
    images: list[list[Path]] = [[] for _ in aliases]
    for name, _, _ in list_images(root, findings):
        stem, suffix = os.path.splitext(name)
        whole = stem if suffix.lower() in SUFFIXES else name
        words = [whole, os.path.dirname(name)]
        owners = index.owners(*filter(None, words))
        if not owners:
            why = 'neither its name nor its folder is that of an entity'
            findings.add('image of no entity', why, root / name)
            continue
        if len(owners) > 1:
            called = [shorten(aliases[each][0]) for each in owners[:2]]
            why = f'fits {called[0]} and {called[1]}; the first one gets it'
            findings.add('image of several entities', why, root / name)
        images[owners[0]].append(root / name)
    return images, findings


def list_images(
    root: Path, findings: Findings | None = None
) -> list[ImageFile]:
    r"""All image files below a folder, sorted by name; none without one. A
    file with another suffix, or none, is one if it begins like one.

    The folder may be a link, as it is where the images lie on another disk:
    it is followed, and a finding says where it leads. Links below it are not
    followed. Every file that is skipped becomes a finding, except hidden
    ones; so does what stands in the place of the folder and is none.
    """
    findings = Findings() if findings is None else findings
    if root.is_symlink():
        where = f'the folder is a link to {os.path.realpath(root)}'
        findings.add('images elsewhere', where, root)
    if not root.is_dir():
        if os.path.lexists(root):
            findings.add('no folder of images', 'is no folder', root)
        return []
    found = []
    for folder, folders, files in os.walk(root, onerror=_raise):
        folders[:] = sorted(filter(_visible, folders))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(filter(_visible, [*folders, *files])):
            path = os.path.join(folder, name)
            about = os.lstat(path)
            suffix = os.path.splitext(name)[1].lower()
            if stat.S_ISDIR(about.st_mode):
                continue
            if stat.S_ISLNK(about.st_mode):
                why = 'is a link; put the file itself there'
                findings.add('link not followed', why, path)
            elif stat.S_ISREG(about.st_mode) and (
                suffix in SUFFIXES
                or (suffix not in ADVICE and _begins_like_one(path))
            ):
                full = name if below == '.' else f'{below}/{name}'
                found.append(ImageFile(full, about.st_size, about.st_mtime_ns))
            else:
                plain = 'is no image by its suffix, nor by how it begins'
                why = ADVICE.get(suffix, plain)
                findings.add('not an image', why, path)
    return sorted(found)


def _begins_like_one(path: str) -> bool:
    try:
        with open(path, 'rb') as file:
            return bool(MAGIC.match(file.read(16)))
    except OSError:  # such as no permission
        return False


def _visible(name: str) -> bool:
    return not name.startswith('.') and name.lower() not in JUNK


def _raise(error: OSError) -> None:
    raise error
