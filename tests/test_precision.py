import pytest
import torch

from dsom_pyg.precision import default_precision, matmul


def test_precisions() -> None:
    a, b = torch.randn(3, 50), torch.randn(50, 4)
    assert torch.equal(matmul(a, b), a @ b)
    rough = matmul(a, b, 'bf16')
    assert rough.dtype == torch.float32
    expected = (a.bfloat16() @ b.bfloat16()).float()
    assert torch.equal(rough, expected)


@pytest.mark.parametrize('units', [True, False])
def test_default_follows_the_processor(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported'):
        monkeypatch.setattr(torch.cpu, name, lambda: units, raising=False)
    expected = 'bf16' if units else 'fp32'
    assert default_precision(torch.device('cpu')) == expected
    monkeypatch.setattr(
        torch.cuda, 'is_bf16_supported', lambda including_emulation: units
    )
    assert default_precision(torch.device('cuda')) == expected
