"""Matrix-product precision: parameters and losses stay float32."""

from pathlib import Path

import torch
from torch import Tensor

PRECISIONS = ('fp32', 'bf16')


def default_precision(device: torch.device) -> str:
    r"""The precision of matrix products that is expected to be the faster.

    CUDA GPUs since Ampere have bfloat16 units; so have CPUs with AMX. Those
    with AVX512-BF16 alone depend on the maker: Intel's do as many bfloat16
    as float32 operations a cycle, and with the conversions products took 1.7
    times as long where this was tried (a Xeon). Without any such instruction
    bfloat16 is emulated, several times slower.

    Decided by what the processor is, not by a trial, so that a run that is
    repeated or goes on is the same run.
    """
    if device.type == 'cuda':
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return 'bf16' if native else 'fp32'
    if _has('_is_amx_tile_supported'):
        return 'bf16'
    if _has('_is_avx512_bf16_supported') and not _is_intel():
        return 'bf16'
    return 'fp32'


def resolve_precision(
    precision: str | None, device: torch.device | str
) -> str:
    r"""The precision that was asked for, or the default of a device."""
    if precision not in (None, *PRECISIONS):
        raise ValueError(
            f"precision must be one of {PRECISIONS}, got '{precision}'"
        )
    return precision or default_precision(torch.device(device))


def _has(probe: str) -> bool:
    # Private in torch, hence the defensive look-up.
    supported = getattr(torch.cpu, probe, None)
    return supported is not None and bool(supported())


def _is_intel(info: Path = Path('/proc/cpuinfo')) -> bool:
    return info.exists() and 'GenuineIntel' in info.read_text()


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
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {PRECISIONS}, got '{precision}'"
        )
    if precision == 'bf16':
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype)
    return a @ b
