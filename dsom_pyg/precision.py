"""Matrix-product precision: parameters and losses stay float32."""

import time
from functools import cache

import torch
from torch import Tensor

PRECISIONS = ('fp32', 'bf16')


def default_precision(device: torch.device) -> str:
    r"""The faster of ``'bf16'`` and ``'fp32'`` for matrix products.

    CUDA GPUs since Ampere have bfloat16 units. A CPU without instructions for
    bfloat16 emulates them, several times slower than float32. One that has
    them may still be faster either way: those of AMX are, AVX512-BF16 alone
    is on some processors and is not on others. There both are tried, once a
    process, and bfloat16 has to win clearly, as it rounds.
    """
    if device.type == 'cuda':
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return 'bf16' if native else 'fp32'
    # Private in torch, hence the defensive look-up.
    probes = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    for probe in probes:
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return 'bf16' if _cpu_gain() > 1.25 else 'fp32'
    return 'fp32'


@cache
def _cpu_gain() -> float:
    # How many times as fast bfloat16 products are here, conversions included.
    # The best of some tries: whatever else the machine does only slows it.
    a, b = torch.ones(256, 512), torch.ones(512, 4096)
    best = dict.fromkeys(PRECISIONS, float('inf'))
    for _ in range(6):
        for precision in PRECISIONS:
            start = time.perf_counter()
            matmul(a, b, precision)
            seconds = time.perf_counter() - start
            best[precision] = min(best[precision], seconds)
    return best['fp32'] / best['bf16']


def matmul(a: Tensor, b: Tensor, precision: str = 'fp32') -> Tensor:
    r"""The product :obj:`a @ b` in the given precision, as float32.

    Args:
        a: Left factor.
        b: Right factor.
        precision: ``'fp32'``, or ``'bf16'``: operands are rounded to
            bfloat16, sums are kept in float32, and the result is rounded
            to bfloat16 once (8 significant bits) before it is returned in
            the operands' type.

    Shapes:
        - **a:** :math:`(n, k)`
        - **b:** :math:`(k, m)`
        - **output:** :math:`(n, m)`
    """
    if precision == 'bf16':
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype)
    return a @ b
