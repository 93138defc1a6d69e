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


@pytest.mark.parametrize(
    ('units', 'gain', 'expected'),
    [
        (False, 9.0, 'fp32'),  # not even tried
        (True, 4.0, 'bf16'),
        (True, 1.1, 'fp32'),  # not worth the rounding
        (True, 0.6, 'fp32'),
    ],
)
def test_default_follows_the_processor(
    units: bool,
    gain: float,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported'):
        monkeypatch.setattr(torch.cpu, name, lambda: units, raising=False)
    monkeypatch.setattr(precision, '_cpu_gain', lambda: gain)
    assert default_precision(torch.device('cpu')) == expected


def test_what_a_processor_gains_is_measured_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A clock on which a product takes a second in fp32, half of it in bf16.
    now = 0.0

    def product(a: torch.Tensor, b: torch.Tensor, precision: str) -> None:
        nonlocal now
        now += {'fp32': 1.0, 'bf16': 0.5}[precision]

    monkeypatch.setattr(precision, 'matmul', product)
    monkeypatch.setattr(precision.time, 'perf_counter', lambda: now)
    precision._cpu_gain.cache_clear()
    assert precision._cpu_gain() == 2.0
    done = now
    assert precision._cpu_gain() == 2.0
    assert now == done
    precision._cpu_gain.cache_clear()


@pytest.mark.parametrize('units', [True, False])
def test_default_on_a_gpu(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, 'is_bf16_supported', lambda including_emulation: units
    )
    expected = 'bf16' if units else 'fp32'
    assert default_precision(torch.device('cuda')) == expected
