"""Matrix-product precision: parameters and losses stay float32."""

from pathlib import Path

import torch
from torch import Tensor

PRECISIONS = ('fp32', 'bf16')


def default_precision(device: torch.device) -> str:
    r"""The precision of matrix products that is expected to be the faster.

    It depends on what the processor is, not on a trial, so that a run that is
    repeated or goes on is the same run. CUDA GPUs since Ampere and CPUs with
    AMX have bfloat16 units. With AVX512-BF16 alone it depends on the maker:
    products took 1.7 times as long on an Intel Xeon. Without any of these
    bfloat16 is emulated, several times slower.
    """
    if device.type == 'cuda':
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return 'bf16' if native else 'fp32'
    # Private in torch; where they are gone, `bool` says no.
    has_amx = getattr(torch.cpu, '_is_amx_tile_supported', bool)
    has_avx512 = getattr(torch.cpu, '_is_avx512_bf16_supported', bool)
    native = has_amx() or (has_avx512() and not _is_intel())
    return 'bf16' if native else 'fp32'


def resolve_precision(
    precision: str | None, device: torch.device | str
) -> str:
    r"""The precision that was asked for, or the default of a device."""
    if precision not in (None, *PRECISIONS):
        raise ValueError(
            f"precision must be one of {PRECISIONS}, got '{precision}'"
        )
    return precision or default_precision(torch.device(device))


def _is_intel(info: Path = Path('/proc/cpuinfo')) -> bool:
    return info.exists() and 'GenuineIntel' in info.read_text()


def matmul(a: Tensor, b: Tensor, precision: str = 'fp32') -> Tensor:
    r"""The product :obj:`a @ b`, in the type of the operands.

    With ``'bf16'`` operands are rounded to bfloat16, sums are kept in
    float32, and the result is rounded to bfloat16 once (8 significant bits).

    Shapes:
        - **a:** :math:`(n, k)`, **b:** :math:`(k, m)`,
          **output:** :math:`(n, m)`
    """
    if resolve_precision(precision, a.device) == 'bf16':
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype)
    return a @ b
