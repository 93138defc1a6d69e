import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dsom_pyg.encoders.batching import (
    encode_images,
    encode_texts,
    in_threads,
    in_turn,
)

PATHS = [Path(str(number)) for number in range(23)]
CPU = torch.device('cpu')


def number(path: Path) -> Tensor:
    # The first ones take longest, so threads overtake each other.
    time.sleep(0.02 if int(path.name) % 5 == 0 else 0)
    return torch.full((2,), float(path.name))


def test_features_are_float32_whatever_the_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        texts = encode_texts(
            ['a', 'bb'], lambda x: torch.ones(len(x), 2), 2, 1
        )
        images = encode_images(PATHS[:3], number, lambda x: x, 2, 2, CPU)
    finally:
        torch.set_default_dtype(torch.float32)
    assert texts.dtype == images.dtype == torch.float32
    assert images[:, 0].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize('prepared', [in_turn, in_threads])
@pytest.mark.parametrize('size', [1, 4, 23, 50])
def test_order_is_kept(size: int, prepared: Any) -> None:
    batches = list(prepared(PATHS, number, size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (22 // size)
    assert torch.cat(batches)[:, 0].tolist() == list(range(23))


@pytest.mark.parametrize(
    ('prepared', 'ahead'), [(in_turn, 0), (in_threads, 1)]
)
def test_few_images_are_held_at_a_time(prepared: Any, ahead: int) -> None:
    lock, started = threading.Lock(), 0

    def prepare(path: Path) -> Tensor:
        nonlocal started
        with lock:
            started += 1
        return number(path)

    taken = 0
    for batch in prepared(PATHS, prepare, 4):
        taken += len(batch)
        time.sleep(0.05)  # the model runs
        assert started <= taken + 4 * ahead
        if ahead and taken < 16:  # and the next batch is there meanwhile
            assert started > taken


def test_threads_are_used_beside_an_accelerator() -> None:
    threads = set()

    def prepare(path: Path) -> Tensor:
        threads.add(threading.current_thread())
        return number(path)

    list(in_threads(PATHS, prepare, 8))
    assert threads
    assert threading.main_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)
    threads.clear()
    encode_images(PATHS, prepare, lambda x: x, 2, 8, CPU)
    assert threads == {threading.main_thread()}


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def prepare(path: Path) -> Tensor:
        if path.name == '3':
            raise OSError('bad 3')
        return number(path)

    with pytest.raises(OSError, match='bad 3'):
        list(in_threads(PATHS, prepare, 4))


def test_an_error_stops_the_rest() -> None:
    seen = []

    def prepare(path: Path) -> Tensor:
        seen.append(path)
        if path.name == '3':
            raise OSError('bad 3')
        return number(path)

    with pytest.raises(OSError, match='bad 3'):
        encode_images(PATHS, prepare, lambda x: x, 2, 4, CPU)
    assert len(seen) <= 4


def test_texts_of_like_length_share_a_batch() -> None:
    texts = ['a' * size for size in (3, 9, 1, 8, 2, 9, 0)]
    batches = []

    def encode(part: list[str]) -> Tensor:
        batches.append([len(text) for text in part])
        return torch.tensor([[float(len(text))] for text in part]).double()

    x = encode_texts(texts, encode, 1, 3)
    assert batches == [[9, 9, 8], [3, 2, 1], [0]]
    assert x.dtype == torch.float32
    assert x[:, 0].tolist() == [3, 9, 1, 8, 2, 9, 0]


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    encode_images(PATHS, number, lambda x: x, 2, 8, CPU)
    encode_texts(['a'], lambda part: torch.zeros(1, 1), 1, 1)
    assert not capsys.readouterr().err
    encode_images(PATHS, number, lambda x: x, 2, 8, CPU, progress=True)
    encode_texts(['a'], lambda part: torch.zeros(1, 1), 1, 1, progress=True)
    bars = capsys.readouterr().err
    assert '23/23' in bars
    assert '1/1' in bars
