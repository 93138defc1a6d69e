import errno
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dsom_pyg.datasets.errors import DatasetError
from dsom_pyg.datasets.features import cache
from dsom_pyg.datasets.features.encode import encode_items
from dsom_pyg.encoders import Precomputed, UnreadableImage
from dsom_pyg.files import load_tensors


class Bytes:
    """A feature that tells what the item holds, and a record of the calls."""

    def __init__(self, name: str = 'bytes', corpus: bool = False) -> None:
        self.name, self.out_channels = name, 2
        self.corpus_dependent = corpus
        self.seen: list[list[Any]] = []

    def __call__(self, items: Sequence[Any]) -> Tensor:
        self.seen.append(list(items))
        rows = []
        for item in items:
            if isinstance(item, Path):
                with Image.open(item) as image:
                    content = image.tobytes()
            else:
                content = item.encode()
            rows.append([float(len(content)), float(sum(content))])
        return torch.tensor(rows)

    @property
    def encoded(self) -> list[Any]:
        return [item for call in self.seen for item in call]


def image(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)
    return path


def test_only_new_content_is_encoded(tmp_path: Path) -> None:
    images = [image(tmp_path / f'{i}.png', i) for i in range(30)]
    cache = tmp_path / 'cache'
    first = Bytes()
    before = encode_items(first, images, cache, chunk=7)
    assert [len(call) for call in first.seen] == [7, 7, 7, 7, 2]
    assert before.x[:, 1].tolist() == [16 * i for i in range(30)]
    for i in range(10):
        image(images[i], 100 + i)
    second = Bytes()
    after = encode_items(second, images, cache)
    assert second.encoded == images[:10]
    assert after.x[:10, 1].tolist() == [16 * (100 + i) for i in range(10)]
    assert torch.equal(after.x[10:], before.x[10:])
    # Neither order nor place matters, only what an item holds.
    moved = [path.rename(tmp_path / f'm{path.name}') for path in images[::-1]]
    third = Bytes()
    assert torch.equal(encode_items(third, moved, cache).x.flip(0), after.x)
    assert third.seen == []


def test_an_interrupted_encoding_goes_on(tmp_path: Path) -> None:
    texts = [f'text {i}' for i in range(10)]

    class Dies(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            if len(self.seen) == 2:
                raise KeyboardInterrupt
            return super().__call__(items)

    with pytest.raises(KeyboardInterrupt):
        encode_items(Dies(), texts, tmp_path, chunk=3)
    again = Bytes()
    x = encode_items(again, texts, tmp_path, chunk=3).x
    assert again.encoded == texts[6:]
    assert torch.equal(x, Bytes()(texts))
    # The next one that needs the pieces merges them.
    last = Bytes()
    assert torch.equal(encode_items(last, texts, tmp_path).x, x)
    assert last.encoded == []
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 1


def test_another_encoder_shares_nothing(tmp_path: Path) -> None:
    encode_items(Bytes('one'), ['a'], tmp_path)
    for other in (Bytes('two'), Bytes('one ')):
        encode_items(other, ['a'], tmp_path)
        assert other.encoded == ['a']
    wide = Bytes('one')
    wide.out_channels = 3
    with pytest.raises(DatasetError, match='shape'):
        encode_items(wide, ['a'], tmp_path)


def test_refresh_encodes_again_and_replaces(tmp_path: Path) -> None:
    class Double(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            return 2 * super().__call__(items)

    old = encode_items(Bytes(), ['ab', 'c'], tmp_path).x
    new = encode_items(Double(), ['ab', 'c'], tmp_path, refresh=True).x
    assert torch.equal(new, 2 * old)
    for _ in range(2):
        later = Bytes()
        x = encode_items(later, ['ab', 'c'], tmp_path).x
        assert later.encoded == []
        assert torch.equal(x, new)


def test_equal_contents_once_and_texts_are_no_files(tmp_path: Path) -> None:
    encoder = Bytes()
    x = encode_items(encoder, ['a', 'b', 'a'], tmp_path).x
    assert encoder.encoded == ['a', 'b']
    assert torch.equal(x[0], x[2])
    path = image(tmp_path / 'a.png', 7)
    content = path.read_bytes().decode('latin-1')
    encode_items(encoder, [content], tmp_path / 'cache')
    encode_items(encoder, [path], tmp_path / 'cache')
    assert encoder.encoded[2:] == [content, path]


def test_a_damaged_file_is_encoded_again(tmp_path: Path) -> None:
    encode_items(Bytes(), ['a', 'b'], tmp_path)
    (file,) = tmp_path.rglob('*.safetensors')
    file.write_bytes(file.read_bytes()[:-3])
    encoder = Bytes()
    assert torch.equal(
        encode_items(encoder, ['a', 'b'], tmp_path).x, Bytes()(['a', 'b'])
    )
    assert encoder.encoded == ['a', 'b']
    assert not file.exists()


def test_all_at_once_where_items_depend_on_each_other(tmp_path: Path) -> None:
    encoder = Bytes(corpus=True)
    encode_items(encoder, ['a', 'b', 'a'], tmp_path, chunk=1)
    assert encoder.seen == [['a', 'b', 'a']]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('corpus', [False, True])
def test_unreadable_images_are_left_out(tmp_path: Path, corpus: bool) -> None:
    good = image(tmp_path / 'good.png', 3)
    text = tmp_path / 'text.jpg'
    text.write_text('no image')
    cut = image(tmp_path / 'cut.png', 9)
    cut.write_bytes(cut.read_bytes()[:40])
    empty = tmp_path / 'empty.png'
    empty.touch()
    gone = tmp_path / 'gone.png'
    items = [text, good, cut, empty, gone, good]
    out = encode_items(Bytes(corpus=corpus), items, tmp_path / 'cache')
    assert out.position.tolist() == [1, 5]
    assert out.x.tolist() == [[16, 48], [16, 48]]
    assert sorted(out.failures) == [0, 2, 3, 4]
    assert out.failures[3] == 'the file is empty'
    assert 'no such file' in out.failures[4].lower()


def test_bad_images_here_and_there(tmp_path: Path) -> None:
    items = [image(tmp_path / f'{i}.png', i) for i in range(12)]
    for i in (1, 2, 8):
        items[i].write_text(f'no image {i}')
    encoder = Bytes()
    out = encode_items(encoder, items, chunk=3)
    assert sorted(out.failures) == [1, 2, 8]
    assert out.x[:, 1].tolist() == [16 * i for i in out.position.tolist()]
    # All bad ones of a chunk are found at once.
    assert [len(call) for call in encoder.seen] == [3, 1, 3, 3, 2, 3]


@pytest.mark.parametrize('seed', range(6))
def test_each_item_has_the_features_of_its_content(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeated, broken, cached or new, in any order; files of any size."""
    draw = np.random.default_rng(seed)
    monkeypatch.setattr(cache, 'MANY', int(draw.integers(2, 9)))
    known = [image(tmp_path / f'{i}.png', i) for i in range(20)]
    for i in draw.integers(0, 20, 3):
        known[i].write_text(f'no image {i % 2}')
    for chunk in (2, 3, 30):
        items = [known[i] for i in draw.integers(0, 20, 25)]
        out = encode_items(Bytes(), items, tmp_path / 'cache', chunk=chunk)
        broken = {
            at
            for at, item in enumerate(items)
            if item.read_bytes().startswith(b'no')
        }
        assert out.failures.keys() == broken
        assert out.position.tolist() == sorted({*range(25)} - broken)
        assert out.x[:, 1].tolist() == [
            16.0 * int(items[at].stem) for at in out.position.tolist()
        ]


def test_features_are_float32_whatever_the_default(tmp_path: Path) -> None:
    class Double(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            return super().__call__(items).double()

    torch.set_default_dtype(torch.float64)
    try:
        for _ in range(2):
            x = encode_items(Double(), ['a', 'b'], tmp_path).x
            assert x.dtype == torch.float32
            assert x[:, 1].tolist() == [97.0, 98.0]
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize('vanishes', [False, True])
def test_a_file_that_changes_meanwhile(tmp_path: Path, vanishes: bool) -> None:
    """Its features would be those of the bytes that nobody asks for."""
    paths = [image(tmp_path / f'{at}.png', at) for at in range(3)]
    folder = tmp_path / 'features'
    before = paths[1].read_bytes()

    class Slow(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            if vanishes:
                x = super().__call__(items)
                paths[1].unlink()
                return x
            paths[1].write_bytes(paths[2].read_bytes())
            return super().__call__(items)

    with pytest.raises(DatasetError, match=r"1\.png' changed while"):
        encode_items(Slow(), paths, folder)
    paths[1].write_bytes(before)
    encoder = Bytes()
    there = encode_items(encoder, paths, folder).x
    assert torch.equal(there, encode_items(Bytes(), paths).x)


@pytest.mark.parametrize('whole', [False, True])
def test_an_image_that_only_its_encoder_refuses(
    tmp_path: Path, whole: bool
) -> None:
    class Picky(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            for item in items:
                if item.stem in '14':
                    raise UnreadableImage(item, 'not my taste')
            return super().__call__(items)

    items = [image(tmp_path / f'{i}.png', i) for i in range(6)]
    out = encode_items(Picky(corpus=whole), items, tmp_path / 'cache')
    assert out.position.tolist() == [0, 2, 3, 5]
    assert out.failures == {1: 'not my taste', 4: 'not my taste'}


def test_a_passing_fault_is_no_missing_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [image(tmp_path / f'{i}.png', i) for i in range(3)]

    def busy(*words: object, **options: object) -> None:
        raise OSError(errno.EMFILE, 'Too many open files')

    with monkeypatch.context() as patch:
        patch.setattr(Image, 'open', busy)
        with pytest.raises(OSError, match='Too many open files'):
            encode_items(Bytes(), items, tmp_path / 'cache')
    out = encode_items(Bytes(), items, tmp_path / 'cache')
    assert out.failures == {}


def test_an_error_that_is_no_image_stays(tmp_path: Path) -> None:
    class Broken(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError, match='out of memory'):
        encode_items(Broken(), [image(tmp_path / 'a.png', 1)], tmp_path)


def test_nothing_to_encode(tmp_path: Path) -> None:
    out = encode_items(Bytes(), [], tmp_path)
    assert out.x.shape == (0, 2)
    assert out.position.tolist() == []
    assert out.failures == {}


def test_a_file_that_may_not_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_items(Bytes(), ['a', 'b'], tmp_path)
    (theirs,) = tmp_path.rglob('*.safetensors')

    def of_others(path: Path) -> Any:
        # What safetensors says of a file without permission.
        if path == theirs:
            raise FileNotFoundError(path)
        return load_tensors(path)

    with monkeypatch.context() as patch:
        patch.setattr(cache, 'load_tensors', of_others)
        mine = Bytes()
        encode_items(mine, ['a', 'c'], tmp_path)
        assert mine.encoded == ['a', 'c']
    assert theirs.exists()
    again = Bytes()
    encode_items(again, ['a', 'b', 'c'], tmp_path)
    assert again.encoded == []


def test_float64_beyond_float32_is_refused() -> None:
    class Huge(Bytes):
        def __call__(self, items: Sequence[Any]) -> Tensor:
            return torch.full((len(items), 2), 1e300, dtype=torch.float64)

    with pytest.raises(DatasetError, match='non-finite'):
        encode_items(Huge(), ['a'])


def test_a_missing_feature_is_no_unreadable_image(tmp_path: Path) -> None:
    names = [tmp_path / f'{x}.png' for x in 'abc']
    known = {str(names[0]): [1.0], str(names[1]): [2.0]}
    given = Precomputed({k: torch.tensor(v) for k, v in known.items()})
    with pytest.raises(KeyError, match=r'c\.png'):
        encode_items(given, names)


def test_a_path_that_leads_nowhere_is_missing(tmp_path: Path) -> None:
    good = image(tmp_path / 'a.png', 1)
    paths = [good, good / 'b.png', tmp_path, tmp_path / 'c.png']
    found = encode_items(Bytes(), paths)
    assert found.position.tolist() == [0]
    assert sorted(found.failures) == [1, 2, 3]


@pytest.mark.usefixtures('only_files')
def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    good = image(tmp_path / 'a.png', 1)
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'zero.png').symlink_to('/dev/zero')
    (tmp_path / 'self.png').symlink_to(tmp_path / 'self.png')
    (tmp_path / 'empty.png').touch()
    names = ['pipe', 'zero', 'self', 'empty', 'nul\0', 'half\ud800', 'x' * 300]
    paths = [tmp_path / f'{name}.png' for name in names]
    found = encode_items(Bytes(), [*paths, good], tmp_path / 'cache')
    assert found.position.tolist() == [7]
    assert found.failures == {
        0: 'not a file',
        1: 'not a file',
        2: 'Too many levels of symbolic links',
        3: 'the file is empty',
        4: 'no file can have this name',
        5: 'no file can have this name',
        6: 'File name too long',
    }


def test_the_key_of_a_large_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = image(tmp_path / 'a.png', 1)
    with path.open('ab') as file:
        file.write(bytes(range(256)) * 12_000)
    cached = tmp_path / 'cache'
    encode_items(Bytes(), [path], cached)
    (file_of_keys,) = cached.rglob('*.safetensors')
    tensors, _ = load_tensors(file_of_keys)
    wanted = hashlib.sha256(b'f' + path.read_bytes()).digest()
    assert bytes(tensors['key'][0].tolist()) == wanted


def test_a_cache_that_may_not_be_written_is_read(
    tmp_path: Path, refusing: Callable[[Path, int], Any]
) -> None:
    texts = [f'text {i}' for i in range(6)]
    encode_items(Bytes(), texts, tmp_path, chunk=2)
    pieces = sorted(tmp_path.rglob('*.safetensors'))
    assert len(pieces) == 3
    damaged, fresh, more = pieces[0], Bytes(), Bytes()
    kept = pieces[0].read_bytes()
    with refusing(tmp_path, errno.EROFS), warnings.catch_warnings():
        warnings.simplefilter('error')
        x = encode_items(fresh, texts, tmp_path).x
        assert fresh.encoded == []
        assert torch.equal(x, Bytes()(texts))
    damaged.write_bytes(kept[:-3])
    with refusing(tmp_path, errno.EROFS):
        # Once, however many chunks there are.
        with pytest.warns(UserWarning, match='features are not') as told:
            x = encode_items(more, texts, tmp_path, chunk=1).x
        assert len(told) == 1
        assert sorted(more.encoded) == sorted(set(more.encoded))
        assert len(more.encoded) == 2
        assert torch.equal(x, Bytes()(texts))
    assert sorted(tmp_path.rglob('*.safetensors')) == pieces


def test_a_pipe_in_the_cache_is_passed_over(tmp_path: Path) -> None:
    encode_items(Bytes(), ['a'], tmp_path)
    (folder,) = tmp_path.iterdir()
    os.mkfifo(folder / 'b.safetensors')
    encoder = Bytes()
    encode_items(encoder, ['a'], tmp_path)
    assert encoder.encoded == []
