"""Images of entities in a folder of one's own."""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import spellings

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp')
# What file managers and archivers leave behind.
JUNK = ('thumbs.db', 'desktop.ini', '__macosx')

Claims = dict[str, list[int]]


class ImageFile(NamedTuple):
    r"""An image file as its folder lists it.

    Args:
        name: Path below the folder, with slashes.
        size: In bytes.
        changed: Time of the last change, in nanoseconds.
    """

    name: str
    size: int
    changed: int


def find_images(
    root: Path, aliases: Sequence[Sequence[str]]
) -> tuple[list[list[Path]], Findings]:
    r"""The images of each entity, from ``<alias>/*`` and ``<alias>.<ext>``.

    A file belongs to the entity that has its folder, or its own name
    without the suffix, among the
    :func:`~dsom_pyg.datasets.names.spellings` of an alias. An alias as
    it is goes before one spelled otherwise; what then still fits several
    entities goes to the first of them, with a finding. Links that lead out
    of the folder are not followed.

    Args:
        root: The folder; one that does not exist holds no images.
        aliases: What files may call each entity: its name, its id.

    Returns:
        The files of each entity in the order of their names, and what was
        noticed.
    """
    findings = Findings()
    exact, near = _claims(aliases)
    images: list[list[Path]] = [[] for _ in aliases]
    for name, _, _ in list_images(root, findings):
        owners = _owners(name, exact) or _owners(name, near)
        if not owners:
            findings.add(
                'image of no entity',
                'neither its name nor its folder is that of an entity',
                root / name,
            )
            continue
        if len(owners) > 1:
            called = [shorten(aliases[each][0]) for each in owners[:2]]
            findings.add(
                'image of several entities',
                f'fits {called[0]} and {called[1]}; the first one gets it',
                root / name,
            )
        images[owners[0]].append(root / name)
    return images, findings


def list_images(
    root: Path, findings: Findings | None = None
) -> list[ImageFile]:
    r"""All image files below a folder, sorted by name.

    Args:
        root: The folder; one that does not exist holds no images.
        findings: Gets a line for all that is passed over, save hidden files.
            (default: :obj:`None`)
    """
    if not root.is_dir():
        return []
    findings = Findings() if findings is None else findings
    files = []
    for name, entry in _walk(root, findings):
        suffix = os.path.splitext(name)[1].lower()
        if suffix in SUFFIXES and entry.is_file():
            about = entry.stat()
            files.append(ImageFile(name, about.st_size, about.st_mtime_ns))
        else:
            why = 'its suffix is not that of an image'
            findings.add('not an image', why, root / name)
    return sorted(files)


def _walk(
    root: Path, findings: Findings
) -> Iterator[tuple[str, 'os.DirEntry[str]']]:
    real_root = os.path.realpath(root)
    # Names of folders below the root, and whether a link led there.
    todo = [('', False)]
    while todo:
        folder, linked = todo.pop()
        with os.scandir(root / folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        for entry in inside:
            if entry.name.startswith('.') or entry.name.lower() in JUNK:
                continue
            name = f'{folder}/{entry.name}' if folder else entry.name
            link = entry.is_symlink()
            if link and not _follow(entry, real_root, linked, findings):
                continue
            if entry.is_dir():
                todo.append((name, linked or link))
            else:
                yield name, entry


def _follow(
    entry: 'os.DirEntry[str]',
    real_root: str,
    linked: bool,
    findings: Findings,
) -> bool:
    real = os.path.realpath(entry.path)
    if os.path.commonpath([real, real_root]) != real_root:
        findings.add(
            'image outside the folder',
            'is a link that leads out of the folder; copy the file instead',
            entry.path,
        )
        return False
    # A link in a linked folder, or up to a folder around it, could go round
    # in circles.
    around = os.path.realpath(os.path.dirname(entry.path)) + os.sep
    circle = around.startswith(real + os.sep) or (linked and entry.is_dir())
    if circle or not os.path.exists(real):
        why = 'may lead in a circle' if circle else 'leads nowhere'
        findings.add('link not followed', f'is a link that {why}', entry.path)
        return False
    return True


def _claims(aliases: Sequence[Sequence[str]]) -> tuple[Claims, Claims]:
    # Who is called so exactly, and who by another spelling.
    exact: Claims = {}
    near: Claims = {}
    for index, names in enumerate(aliases):
        for alias in names:
            first, *others = spellings(alias)
            for table, words in ((exact, [first]), (near, others)):
                for word in words:
                    owners = table.setdefault(word, [])
                    if index not in owners[-1:]:
                        owners.append(index)
    return exact, near


def _owners(name: str, claims: Mapping[str, list[int]]) -> list[int]:
    # Some file systems hand out decomposed letters.
    name = unicodedata.normalize('NFC', name)
    own, folder = os.path.splitext(name)[0], os.path.dirname(name)
    found = claims.get(own, [])
    if folder and folder in claims:
        found = sorted({*found, *claims[folder]})
    return found
