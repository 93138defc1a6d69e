"""What a value is, in words that tell it from all others."""

import random
import subprocess
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial, wraps
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch_geometric.data import Data

from dsom_pyg.models import ComplEx
from dsom_pyg.training import Adam
from dsom_pyg.words import in_words


@dataclass
class Weights:
    values: Any = (0.5, 0.5)
    others: Any = field(default_factory=list)


class Slotted:
    __slots__ = ('size',)

    def __init__(self, size: int) -> None:
        self.size = size


class Plain:
    def __init__(self, **named: object) -> None:
        vars(self).update(named)

    def size(self) -> int:
        return len(vars(self))


class Listed(list[Any]):
    def __init__(self, items: list[Any], size: int) -> None:
        super().__init__(items)
        self.size = size


class Hidden:
    __slots__ = ('__dict__', '__size')

    def __init__(self, size: int) -> None:
        self.__size = size

    def size(self) -> int:
        return self.__size


class Scale(torch.nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self._by = by


def wrapped(times: int) -> Callable[[float], float]:
    @wraps(abs)
    def many(x: float) -> float:
        return abs(x) * times

    return many


def linear(seed: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(2, 2))


def calls(what: Any) -> Callable[[], Any]:
    return lambda: what()


def masked(*mask: int) -> Any:
    return np.ma.MaskedArray([1, 2], mask=list(mask))


def maker(n3: float) -> Callable[..., float]:
    def make(x: float, y: float = 1.0) -> float:
        return n3 * x + y

    return make


def defaults(n3: float) -> Callable[..., float]:
    return lambda x, n3=n3: n3 * x


ONE, MANY = torch.tensor([0.00116, 1.0]), torch.zeros(2000)


@pytest.mark.parametrize(
    ('one', 'same', 'other'),
    [
        (maker(0.1), maker(0.1), maker(0.2)),
        (defaults(1), defaults(1), defaults(2)),
        (lambda x: x + 1, lambda x: x + 1, lambda x: x + 2),
        (lambda x: [y in {1, 2} for y in x],) * 2
        + (lambda x: [y in {1, 3} for y in x],),
        (partial(maker(1), 2), partial(maker(1), 2), partial(maker(3), 2)),
        (ONE, ONE.clone(), torch.tensor([0.00124, 1.0])),
        (Weights(ONE), Weights(ONE.clone()), Weights(ONE + 1e-6)),
        (Weights([MANY]), Weights([MANY.clone()]), Weights([MANY + 1])),
        (Weights(MANY.numpy()), Weights(MANY.numpy()), Weights(MANY + 1)),
        (np.arange(3), np.arange(3), np.arange(3.0)),
        ([Slotted(1)], [Slotted(1)], [Slotted(2)]),
        ({'a': Plain(b=1)}, {'a': Plain(b=1)}, {'a': Plain(b=2)}),
        ({Plain(b=1)}, {Plain(b=1)}, {Plain(b=2)}),
        ((Plain(b=maker(1)),), (Plain(b=maker(1)),), (Plain(b=maker(2)),)),
        (Plain(n=1).size, Plain(n=1).size, Plain(n=2).size),
        tuple(calls(Plain(n=n).size) for n in (1, 1, 2)),
        (calls(linear(0)), calls(linear(0)), calls(linear(1))),
        (linear(0), linear(0), linear(1)),
        (deque([ONE]), deque([ONE]), deque([MANY])),
        ([linear(0)], [linear(0)], [linear(1)]),
        ({'m': linear(0)}, {'m': linear(0)}, {'m': linear(1)}),
        (Weights(linear(0)), Weights(linear(0)), Weights(linear(1))),
        (Scale(2.0), Scale(2.0), Scale(3.0)),
        tuple(Plain(training=x) for x in (True, True, False)),
        tuple(OrderedDict(a=linear(at)) for at in (0, 0, 1)),
        tuple(sparse.csr_matrix([[at, 1]]) for at in (2, 2, 3)),
        tuple(Data(x=torch.full((2,), at)) for at in (0, 0, 1)),
        tuple(random.Random(at) for at in (0, 0, 1)),
        tuple(BytesIO(x) for x in (b'a', b'a', b'b')),
        tuple({'a': at}.get for at in (0, 0, 1)),
        tuple(wrapped(at) for at in (0, 0, 1)),
        tuple(lru_cache(maker(at)) for at in (0.0, 0.0, 1.0)),
        tuple(torch.Generator().manual_seed(at) for at in (0, 0, 1)),
        (bytearray(b'a'), bytearray(b'a'), bytearray(b'b')),
        (array('d', [1.0]), array('d', [1.0]), array('d', [2.0])),
        ('tensor(1)', 'tensor(1)', 'tensor(2)'),
        tuple(MappingProxyType({1: x}) for x in (ONE, ONE.clone(), MANY)),
        (Listed([ONE], 1), Listed([ONE], 1), Listed([ONE], 2)),
        (Hidden(1), Hidden(1), Hidden(2)),
        (np.array(['a', 'b']), np.array(['a', 'b']), np.array(['a', 'c'])),
        tuple(np.array([x], object) for x in 'aab'),
        (np.array([1], '>i8'), np.array([1], '>i8'), np.array([2], '>i8')),
        (masked(0, 1), masked(0, 1), masked(0, 0)),
        tuple(x * torch.eye(2).to_sparse() for x in (1, 1, 2)),
    ],
)
def test_values_are_told_apart(one: Any, same: Any, other: Any) -> None:
    assert in_words(one) == in_words(same) != in_words(other)
    assert ' at 0x' not in in_words(one)


def test_what_has_a_name_or_a_repr_of_its_own_is_called_so() -> None:
    assert in_words(torch.nn.functional.relu) == 'relu'
    assert in_words(ComplEx) == 'ComplEx'
    assert in_words(Adam(0.1)) == repr(Adam(0.1))
    assert in_words(Weights()) == repr(Weights())
    assert in_words(partial(ComplEx, n3=0.1)) == 'ComplEx(n3=0.1)'


def test_what_can_be_said_is_said_as_before() -> None:
    """By these words runs of before are known."""
    for value in (
        [1, (2.5,), {'a': None}, 'b', b'c', (), [], {}, 1e-9],
        Weights((1, 2), [Adam(0.1)]),
        range(3),
        Path('a'),
        {1},
        frozenset({'a'}),
        frozenset(),
        set(),
    ):
        words = 'range(0, 3, 1)' if isinstance(value, range) else repr(value)
        assert in_words(value) == words
    assert in_words(np.float64(0.5)) == '0.5'
    assert in_words(Adam(np.float64(0.5))) == repr(Adam(0.5))


def test_how_a_module_is_used_is_no_part_of_it() -> None:
    before, module = in_words(linear(0)), linear(0)
    module.eval().register_forward_hook(print)
    assert in_words(module) == before


def test_many_objects_that_know_each_other() -> None:
    twice = [Plain(x=1)] * 2
    assert in_words(twice) == '[Plain(x=1), Plain #0]'
    crowd = [Plain(at=at) for at in range(30)]
    for each in crowd:
        each.others = [*crowd]  # type: ignore[attr-defined]
    assert len(in_words(crowd[0].size)) < 1000
    chain: Any = None
    for _ in range(10_000):
        chain = Plain(before=chain)
    assert ' at 0x' in in_words(chain)


def test_what_holds_itself() -> None:
    loop = Plain()
    loop.own = [loop]  # type: ignore[attr-defined]
    assert in_words(loop) == 'Plain(own=[^2])'


def test_what_tells_nothing_is_told_by_its_address() -> None:
    one, other = (x for x in 'ab'), (x for x in 'ab')
    assert in_words(Plain(x=one)) != in_words(Plain(x=other))


def test_the_words_are_those_of_other_processes() -> None:
    code = """
import dataclasses, torch
import numpy as np
from dsom_pyg.words import in_words

@dataclasses.dataclass
class Mine:
    kinds: frozenset = frozenset({'a', 'b', 'c'})

def maker(of):
    return lambda x, kinds={'a', 'b', 'c'}: x in of

for each in (
    lambda x: x in {'a', 'b', 'c'} and x.upper(), {'a', 'b', 'c'}, Mine(),
    maker({'a', 'b', 'c'}), [{(1, 'a'), (2, 'b')}],
    torch.Generator().manual_seed(1), np.array([1, 2], 'g'),
    torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.5)),
):
    print(in_words(each))
"""
    found = {
        subprocess.run(
            [sys.executable, '-c', code],
            env={'PYTHONPATH': ':'.join(sys.path), 'PYTHONHASHSEED': seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ('1', '2')
    }
    assert len(found) == 1
