"""Matrix-product precision: parameters and losses stay float32."""

import torch
from torch import Tensor

PRECISIONS = ('fp32', 'bf16')


def default_precision(device: torch.device) -> str:
    r"""The faster of ``'bf16'`` and ``'fp32'`` for matrix products.

    CUDA GPUs since Ampere have bfloat16 units; so have CPUs with AMX or
    AVX512-BF16 instructions. Elsewhere bfloat16 products are emulated,
    several times slower than float32 ones.
    """
    if device.type == 'cuda':
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return 'bf16' if native else 'fp32'
    # Private in torch, hence the defensive look-up.
    probes = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    for probe in probes:
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return 'bf16'
    return 'fp32'


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
