import errno
import fcntl
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from dsom_pyg.files import (
    DamagedFile,
    NotWritten,
    load_tensors,
    output,
    output_tensors,
    save_tensors,
    take_lock,
    whole_or_nothing,
)


def test_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'a.txt'
    with whole_or_nothing(path) as temporary:
        temporary.write_text('whole')
        assert temporary.parent.parent == path.parent
        assert not path.exists()
    assert path.read_text() == 'whole'
    assert os.listdir(path.parent) == ['a.txt']


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_text('old')

    def interrupted() -> None:
        with whole_or_nothing(path) as temporary:
            temporary.write_text('ha')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


@pytest.mark.parametrize('safe', [False, True])
def test_others_may_read_it(tmp_path: Path, safe: bool) -> None:
    plain, path = tmp_path / 'plain', tmp_path / 'a.txt'
    plain.touch()
    with whole_or_nothing(path) as temporary:
        if safe:
            save_file({'x': torch.ones(1)}, temporary)
        else:
            temporary.touch()
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (plain, path)}
    assert len(modes) == 1


def test_the_file_before_is_kept_if_it_is_wanted(tmp_path: Path) -> None:
    path, previous = tmp_path / 'a.txt', tmp_path / 'b.txt'
    for text in ('one', 'two', 'three'):
        with whole_or_nothing(path, previous) as temporary:
            temporary.write_text(text)
    assert (path.read_text(), previous.read_text()) == ('three', 'two')
    assert sorted(os.listdir(tmp_path)) == ['a.txt', 'b.txt']


def test_no_flipped_bit_is_overlooked(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    tensors = {
        'x': torch.rand(3),
        'none': torch.empty(0, 2),
        'y': torch.ones(()),
    }
    header = {'word': 'ü', 'other': ''}
    save_tensors(path, tensors, header)
    found, words = load_tensors(path, hashed=True)
    assert words == header
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    content, said = path.read_bytes(), []
    for at in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            found, words = load_tensors(path, hashed=True)
        except DamagedFile as error:
            said.append(str(error))
            continue
        # A space that means nothing.
        assert words == header
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    # The same bytes as numbers of another type.
    path.write_bytes(content.replace(b'"F32"', b'"I32"'))
    with pytest.raises(DamagedFile, match='not what was written'):
        load_tensors(path)
    # And in another shape.
    turned = {**tensors, 'x': torch.rand(2, 3)}
    save_tensors(path, turned, header)
    raw = path.read_bytes()
    assert b'[2,3]' in raw
    path.write_bytes(raw.replace(b'[2,3]', b'[3,2]'))
    with pytest.raises(DamagedFile, match='not what was written'):
        load_tensors(path)
    assert len(said) > 0.3 * len(content)
    assert all('a.safetensors' in line for line in said)


def test_tensors_may_share_memory(tmp_path: Path) -> None:
    x = torch.arange(12.0).view(3, 4)
    given = {'x': x, 'same': x, 'row': x[1], 'turned': x.t(), 'rest': x[1:]}
    save_tensors(tmp_path / 'a', given)
    found = load_tensors(tmp_path / 'a')[0]
    assert found.keys() == given.keys()
    assert all(found[name].equal(value) for name, value in given.items())


def test_files_of_others_have_no_hash(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_file({'x': torch.ones(1)}, path)
    assert load_tensors(path)[1] == {}
    with pytest.raises(DamagedFile, match='no hash of its content'):
        load_tensors(path, hashed=True)


def test_a_header_that_has_a_hash_already(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot have 'sha256'"):
        save_tensors(tmp_path / 'a', {'x': torch.ones(1)}, {'sha256': 'x'})


def in_a_child_that_is_killed(block: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            block()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    def die_at_a_write() -> None:
        with whole_or_nothing(tmp_path / 'a.txt') as temporary:
            # As safetensors does it.
            temporary.with_name('.tmpAbC').write_text('half')
            os.kill(os.getpid(), signal.SIGKILL)

    def die_before_it() -> None:
        (tmp_path / '.dsom_pyg-empty.tmp').mkdir()

    foreign = tmp_path / '.mine.tmp'
    foreign.touch()
    with whole_or_nothing(tmp_path / 'living.txt') as living:
        living.write_text('half')
        for die in (die_at_a_write, die_before_it):
            in_a_child_that_is_killed(die)
        assert len(os.listdir(tmp_path)) == 4
        with whole_or_nothing(tmp_path / 'b.txt') as temporary:
            temporary.write_text('whole')
        assert sorted(os.listdir(tmp_path)) == [
            living.parent.name,
            '.mine.tmp',
            'b.txt',
        ]
    assert (tmp_path / 'living.txt').read_text() == 'half'
    assert sorted(os.listdir(tmp_path)) == ['.mine.tmp', 'b.txt', 'living.txt']


def test_the_work_of_the_living_stays_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*words: object) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', none)
    with whole_or_nothing(tmp_path / 'living.txt') as living:
        living.write_text('half')
        with whole_or_nothing(tmp_path / 'b.txt') as temporary:
            temporary.write_text('whole')
        assert living.read_text() == 'half'
    assert sorted(os.listdir(tmp_path)) == ['b.txt', 'living.txt']


def test_links_are_not_swept(tmp_path: Path) -> None:
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / 'lock').touch()
    (elsewhere / 'precious').touch()
    folder = tmp_path / 'here'
    folder.mkdir()
    (folder / '.dsom_pyg-x.tmp').symlink_to(elsewhere)
    with whole_or_nothing(folder / 'a.txt') as temporary:
        temporary.touch()
    assert sorted(os.listdir(elsewhere)) == ['lock', 'precious']


def test_a_lock_ends_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / 'lock'
    held = take_lock(path)
    assert held is not None
    assert take_lock(path) is None
    # Who deletes it before it is closed leaves no second owner behind.
    path.unlink()
    other = take_lock(path)
    assert other is not None
    held.close()
    assert take_lock(path) is None
    other.close()
    in_a_child_that_is_killed(lambda: print(take_lock(path)))
    again = take_lock(path)
    assert again is not None
    again.close()


def test_a_lock_is_of_the_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, late = tmp_path / 'lock', fcntl.flock, [True]

    def flock(file: object, how: int) -> None:
        # Its owner deletes it between the opening and the locking.
        if late.pop():
            path.unlink()
        late.append(False)
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, 'flock', flock)
    held = take_lock(path)
    assert held is not None
    assert path.exists()
    assert take_lock(path) is None
    held.close()


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.ENOSPC, 'the disk is full .*make room and run the same again'),
        (errno.EDQUOT, 'the disk is full .*make room and run the same again'),
        (errno.EROFS, r'not be written \(Read-only.*choose a folder'),
        (errno.EACCES, r'not be written \(Permission.*choose a folder'),
    ],
)
@pytest.mark.parametrize(
    'where', ['os.replace', 'os.open', 'tempfile.mkdtemp']
)
def test_what_cannot_be_written_says_why_and_what_to_do(
    number: int,
    words: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / 'a.safetensors'
    save_tensors(path, {'x': torch.zeros(1)})

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, fail)
    with pytest.raises(NotWritten, match=words) as caught:
        save_tensors(path, {'x': torch.ones(1)})
    monkeypatch.undo()
    assert caught.value.errno == number
    assert "a.safetensors'" in str(caught.value)
    assert 'what was there before is whole' in str(caught.value)
    assert '\n' not in str(caught.value)
    assert torch.equal(load_tensors(path)[0]['x'], torch.zeros(1))
    # Nothing of it stays, at the latest when the next file is written.
    save_tensors(path, {'x': torch.ones(1)})
    assert os.listdir(tmp_path) == [path.name]


def test_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / 'folder.npz').mkdir()
    (tmp_path / 'file').touch()
    for place in ('folder.npz', 'file/a.npz'):
        path = tmp_path / place
        with (
            pytest.raises(NotWritten, match='name a file') as caught,
            whole_or_nothing(path) as temporary,
        ):
            temporary.touch()
        said = str(caught.value)
        assert said.startswith(f"'{path}' is a folder, or lies below a file")
        assert '.tmp' not in said


@pytest.mark.parametrize(
    'message',
    [
        'I/O error: No space left on device (os error 28)',
        'IoError(Os { code: 28, kind: StorageFull, message: "..." })',
    ],
)
def test_a_full_disk_as_safetensors_says_it(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SafetensorError(f'Error while serializing: {message}')

    monkeypatch.setattr('dsom_pyg.files.save_file', fail)
    with pytest.raises(NotWritten, match='the disk is full'):
        save_tensors(tmp_path / 'a.safetensors', {'x': torch.ones(1)})
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != 'posix', reason='rights of POSIX')
def test_rights_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / 'a', tmp_path / 'b'
    path.write_text('old')
    path.chmod(0o600)
    link.symlink_to(path)
    with output(link) as temporary:
        temporary.write_text('new')
    assert link.is_symlink()
    assert path.read_text() == 'new'
    assert path.stat().st_mode & 0o777 == 0o600
    # What others may look at through links of their own stays as it is.
    with whole_or_nothing(link) as temporary:
        temporary.write_text('mine')
    assert not link.is_symlink()
    assert link.read_text() == 'mine'
    assert path.read_text() == 'new'


@pytest.mark.skipif(os.name != 'posix', reason='pipes of POSIX')
def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with output(pipe) as path:
            path.write_text('all of it')
        assert os.read(reader, 100) == b'all of it'
    finally:
        os.close(reader)
    with pytest.raises(NotWritten, match='a pipe or a device'):
        output_tensors(pipe, {'x': torch.ones(1)})
    assert pipe.is_fifo()


def test_faults_of_other_files_are_not_blamed_on_this_one(
    tmp_path: Path,
) -> None:
    other = tmp_path / 'folder'
    other.mkdir()
    with (
        pytest.raises(IsADirectoryError, match='folder') as told,
        whole_or_nothing(tmp_path / 'a'),
    ):
        other.read_text()
    assert not isinstance(told.value, NotWritten)
    with (
        pytest.raises(NotWritten, match=r"'.*a' is a folder"),
        whole_or_nothing(tmp_path / 'a') as temporary,
    ):
        temporary.parent.write_text('')
