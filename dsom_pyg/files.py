"""Files that are whole or absent, and the tensors in them.

The only place that opens safetensors files. Nothing here, or in the format,
can run code.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows: no locks, and nothing is swept
    fcntl = None  # type: ignore[assignment]

FULL = {errno.ENOSPC, errno.EDQUOT}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
NO_FILE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}
HASH = 'sha256'
# What a process writes into until it is whole; see `sweep`.
BEGIN, END = '.dsom_pyg-', '.tmp'


class DamagedFile(ValueError):  # noqa: N818
    r"""A file is truncated or changed, or is no safetensors file."""


class NotWritten(OSError):  # noqa: N818
    r"""A file could not be written, and nothing was changed. The message says
    how to go on.
    """

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def whole_or_nothing(
    path: Path, previous: Path | None = None
) -> Iterator[Path]:
    r"""A temporary path on the same disk, moved to :obj:`path` at the end.
    If the block raises, :obj:`path` stays as it was and nothing else is left.
    A file that is there keeps its rights; a link makes room for the file, as
    others may lead to the same one. What a killed process has left in the
    folder is deleted, where the system has locks (POSIX).

    Args:
        path: The file.
        previous: Where the file that is there moves to at the end, if it is
            to be kept.

    Raises:
        NotWritten: The disk is full, the folder read-only, or no file can be
            there.
    """
    work = lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        work, lock = _workplace(path.parent)
        temporary = work / path.name
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        # safetensors makes files that nobody else may read.
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
        temporary.chmod(mode)
        if previous is not None:
            with suppress(FileNotFoundError):
                os.replace(path, previous)
        os.replace(temporary, path)
    except OSError as error:
        # The block may have failed at files of its own.
        if work is None or _is_within(error.filename, (work, path)):
            explain(error, path)
        raise
    finally:
        if lock is not None:
            lock.close()
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def output(path: Path) -> Iterator[Path]:
    r"""As :func:`whole_or_nothing`, for a file that somebody names: a link
    keeps its place, and what it leads to is written. What is no file, such as
    a pipe or a terminal, is written at once.
    """
    # What these lead to is open already.
    opened = str(path).startswith(('/dev/std', '/dev/fd/', '/proc/'))
    if opened or _is_special(path):
        yield path
        return
    with whole_or_nothing(Path(os.path.realpath(path))) as temporary:
        yield temporary


def _is_special(path: Path) -> bool:
    # A pipe, a terminal, or another device.
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_within(name: object, places: Iterable[Path]) -> bool:
    # Whether a fault is of one of some files, or of nobody knows which.
    if not isinstance(name, str | os.PathLike):
        return True
    there = Path(name)
    return any(there == one or one in there.parents for one in places)


def append(path: Path, line: str) -> None:
    r"""Add a line to a text file.

    Raises:
        NotWritten: The disk is full, or the file read-only.
    """
    try:
        with open(path, 'a', encoding='utf-8') as file:
            file.write(line + '\n')
    except OSError as error:
        explain(error, path)
        raise


def explain(error: OSError, path: Path) -> None:
    r"""Raise :class:`NotWritten` if that is what the error says."""
    why = os.strerror(error.errno or 0)
    if isinstance(error, NotWritten):  # it has been explained already
        return
    if error.errno in FULL:
        what = f"the disk is full ({why}), so '{path}' was not written"
        advice = 'make room and run the same again'
    elif error.errno in CLOSED:
        what = f"'{path}' may not be written ({why})"
        advice = 'choose a folder that you may write to'
    elif error.errno in NO_FILE:
        what = f"'{path}' is a folder, or lies below a file ({why})"
        advice = 'name a file'
    else:
        return
    raise NotWritten(
        error.errno, f'{what}; what was there before is whole; {advice}'
    ) from error


# Beside the file itself, a library that writes it may leave temporary files
# of its own. So each write has a folder of its own, with a lock in it that
# ends with the process: who gets the lock knows that the owner is dead.


def _workplace(folder: Path) -> tuple[Path, TextIO]:
    while True:
        work = Path(tempfile.mkdtemp(END, BEGIN, folder))
        # Another process may take the empty folder for a dead one's.
        with suppress(FileNotFoundError):
            lock = take_lock(work / 'lock')
            if lock is not None:
                return work, lock


def sweep(folder: Path) -> None:
    r"""Delete what killed processes have left in a folder, where the system
    has locks (POSIX).
    """
    if fcntl is None:
        return
    for work in folder.glob(f'{BEGIN}*{END}'):
        with suppress(OSError):
            if work.is_symlink():
                continue
            if not (work / 'lock').exists():
                work.rmdir()  # fails if anything is in there
                continue
            lock = take_lock(work / 'lock', needed=True)
            if lock is not None:
                shutil.rmtree(work, ignore_errors=True)
                lock.close()


def take_lock(path: Path, *, needed: bool = False) -> TextIO | None:
    r"""Open a file and lock it until it is closed or the process ends;
    :obj:`None` if somebody else holds it. On a disk without locks, none is
    taken, or :class:`OSError` raised if it is :obj:`needed`.
    """
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
        file = os.fdopen(os.open(path, flags, 0o666), 'r+')
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # some network disks have no locks
            if needed:
                file.close()
                raise
            return file
        # Who held it may have deleted it since it was opened.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def check_name(path: str | Path) -> None:
    r"""Raise :class:`ValueError` if a file of tensors could not be read again,
    as safetensors takes paths of UTF-8 alone.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f'the name of {str(path)!a} is not UTF-8, which safetensors '
            'needs; choose another folder'
        ) from error


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str] | None = None,
    previous: Path | None = None,
) -> None:
    r"""Write a safetensors file, with a header that :func:`load_tensors`
    gives back, and a hash of all its content. Missing folders are made,
    tensors of any device and layout are copied, and an earlier file stays
    until this one is whole; see :func:`whole_or_nothing`.
    """
    copies = _apart(tensors)
    header = dict(header or {})
    if HASH in header:
        raise ValueError(f'a header cannot have {HASH!r}: the hash is there')
    header[HASH] = _content(copies, header)
    with whole_or_nothing(Path(path), previous) as temporary:
        try:
            save_file(copies, temporary, header)
        except SafetensorError as error:
            # It has no errors of the system, but their numbers.
            found = re.search(r'(?:os error|code:) (\d+)', str(error))
            if found is None:
                raise
            raise OSError(int(found[1]), str(error)) from error


def output_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str] | None = None,
) -> None:
    r"""As :func:`save_tensors`, for a file that somebody names, see
    :func:`output`.

    Raises:
        NotWritten: It is a pipe or a device, which safetensors cannot write.
    """
    if _is_special(path):
        raise NotWritten(
            errno.EINVAL,
            f"'{path}' is a pipe or a device, which cannot hold safetensors; "
            'name a file',
        )
    with output(path) as temporary:
        save_tensors(temporary, tensors, header)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # The format knows no memory that two tensors share. Others stay as they
    # are: they may be large.
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        out[name] = value.clone() if place in seen else value
        seen.add(place)
    return out


def load_tensors(
    path: str | Path, *, hashed: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    r"""The tensors of a safetensors file, on the CPU, and its header. The
    content is compared with its hash, if there is one.

    Args:
        path: The file.
        hashed: There must be a hash.

    Raises:
        DamagedFile: It is truncated, changed, or of another format.
        OSError: It cannot be opened.
        ValueError: Its name is not UTF-8.
    """
    check_name(path)
    try:
        with safe_open(str(path), framework='pt') as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            header = dict(file.metadata() or {})
    except SafetensorError as error:
        raise DamagedFile(f'{path} is damaged: {error}') from error
    except RuntimeError as error:  # torch opens it again, by its name
        if os.path.exists(path):
            raise
        why = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, why, str(path)) from error
    stored = header.pop(HASH, None)
    if stored is None and hashed:
        raise DamagedFile(
            f'{path} has no hash of its content: another program or an '
            'earlier version of dsom_pyg wrote it, or it was changed'
        )
    if stored is not None and stored != _content(tensors, header):
        raise DamagedFile(
            f'{path} is damaged: its content is not what was written'
        )
    return tensors, header


def _content(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    words = json.dumps(sorted(header.items()))
    named = digest(sorted(tensors.items()))
    return hashlib.sha256(f'{words} {named}'.encode()).hexdigest()


def digest(named: Iterable[tuple[str, Tensor]]) -> str:
    r"""SHA-256 over tensors and their names."""
    out = hashlib.sha256()
    for name, value in named:
        out.update(f'{name} {value.dtype} {list(value.shape)}'.encode())
        flat = value.detach().cpu().contiguous().flatten()
        # Of one value or none, any stride counts as contiguous.
        flat = flat.as_strided(flat.shape, (1,))
        out.update(flat.view(torch.uint8).numpy().data)
    return out.hexdigest()


def hash_file(path: str | Path) -> str:
    r"""SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
