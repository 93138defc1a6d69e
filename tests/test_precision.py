from pathlib import Path

import pytest
import torch

from dsom_pyg import precision
from dsom_pyg.precision import default_precision, matmul


def test_precisions() -> None:
    a, b = torch.randn(3, 50), torch.randn(50, 4)
    assert torch.equal(matmul(a, b), a @ b)
    rough = matmul(a, b, 'bf16')
    assert rough.dtype == torch.float32
    expected = (a.bfloat16() @ b.bfloat16()).float()
    assert torch.equal(rough, expected)
    with pytest.raises(ValueError, match="got 'fp16'"):
        matmul(a, b, 'fp16')


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
