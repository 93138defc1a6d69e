from pathlib import Path

import pytest
import torch

from dsom_pyg import precision
from dsom_pyg.precision import default_precision, matmul

# bfloat16 keeps 8 significant bits: from 256 to 512 only the even numbers,
# from 512 to 1024 only multiples of 4, and ties go to the even last bit.
ROUNDED = [
    (256.0, 256.0),
    (257.0, 256.0),  # between 256 and 258: the last bit of 256 is 0
    (258.0, 258.0),
    (259.0, 260.0),  # between 258 and 260: the last bit of 260 is 0
    (257.5, 258.0),
    (-259.0, -260.0),
    (513.0, 512.0),
    (1 + 2.0**-7, 1 + 2.0**-7),
    (1 + 2.0**-8, 1.0),
    (1 + 3 * 2.0**-8, 1 + 2.0**-6),
    # Near the largest float32: bfloat16 has the same exponents.
    (2.0**127 + 2.0**119, 2.0**127),
]


@pytest.mark.parametrize(('value', 'rounded'), ROUNDED)
def test_bf16_rounds_operands(value: float, rounded: float) -> None:
    one, x = torch.ones(1, 1), torch.tensor([[value]])
    for product in (matmul(x, one, 'bf16'), matmul(one, x, 'bf16')):
        assert product.dtype == torch.float32
        assert product.item() == rounded
    assert matmul(x, one).item() == x.item()


def test_bf16_sums_in_float32_and_rounds_once() -> None:
    # 256 + 513 ones = 769, which is rounded to 768. With sums in bfloat16,
    # 256 + 1 would stay 256 for ever.
    a, ones = torch.ones(1, 514), torch.ones(514, 1)
    a[0, 0] = 256
    assert matmul(a, ones, 'bf16').item() == 768
    assert matmul(a, ones).item() == 769
    # Column 0: 257 becomes 256 first, and 255 * 256 - 65280 = 0.
    # Column 1: 255 * 3 - 512 = 253. A product of its own would have been
    # rounded from 765 to 764.
    a = torch.tensor([[255.0, 1.0]])
    b = torch.tensor([[257.0, 3.0], [-65280.0, -512.0]])
    assert matmul(a, b, 'bf16').tolist() == [[0.0, 253.0]]
    assert matmul(a, b).tolist() == [[255.0, 253.0]]


def test_fp32_by_hand() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    b = torch.tensor([[257.0, 1.0], [0.0, 1.0], [1.0, 2.0**-23]])
    expected = [[260.0, 3 + 3 * 2.0**-23], [1034.0, 9 + 6 * 2.0**-23]]
    torch.testing.assert_close(
        matmul(a, b), torch.tensor(expected), rtol=2.0**-23, atol=0
    )


def test_operands_keep_their_type() -> None:
    a = torch.full((1, 1), 257.0).double()
    product = matmul(a, torch.ones(1, 1).double(), 'bf16')
    assert (product.dtype, product.item()) == (torch.float64, 256.0)


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="got 'fp16'"):
        matmul(torch.ones(1, 1), torch.ones(1, 1), 'fp16')


@pytest.mark.parametrize(
    ('amx', 'avx', 'maker', 'expected'),
    [
        (False, False, 'AuthenticAMD', 'fp32'),
        (False, True, 'AuthenticAMD', 'bf16'),
        (False, True, 'GenuineIntel', 'fp32'),
        (True, True, 'GenuineIntel', 'bf16'),
    ],
)
def test_default_follows_the_processor(
    amx: bool,
    avx: bool,
    maker: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = tmp_path / 'cpuinfo'
    info.write_text(f'processor\t: 0\nvendor_id\t: {maker}\n')
    is_intel = precision._is_intel
    monkeypatch.setattr(precision, '_is_intel', lambda: is_intel(info))
    for name, has in {
        '_is_amx_tile_supported': amx,
        '_is_avx512_bf16_supported': avx,
    }.items():
        monkeypatch.setattr(torch.cpu, name, lambda has=has: has, False)
    assert default_precision(torch.device('cpu')) == expected


def test_a_maker_that_cannot_be_told(tmp_path: Path) -> None:
    assert not precision._is_intel(tmp_path / 'cpuinfo')


@pytest.mark.parametrize('units', [True, False])
def test_default_on_a_gpu(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, 'is_bf16_supported', lambda including_emulation: units
    )
    expected = 'bf16' if units else 'fp32'
    assert default_precision(torch.device('cuda')) == expected
