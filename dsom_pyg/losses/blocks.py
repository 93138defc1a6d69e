"""Walking through wide matrices in blocks of rows."""

import torch
from torch import Tensor

# Elements of a block of rows that stays in a CPU's cache.
BLOCK = 2**20


def row_blocks(matrix: Tensor) -> list[slice]:
    r"""Slices of rows to walk through a wide matrix in cache-sized blocks.

    Losses over all entities are bound by memory on a CPU: every temporary
    of the full size costs a trip to main memory and fresh pages. A GPU gets
    a single block, so that nothing waits for the host.
    """
    num_rows, width = matrix.shape
    step = num_rows
    if matrix.device.type == 'cpu':
        step = max(1, BLOCK // max(1, width))
    return [
        slice(start, min(start + step, num_rows))
        for start in range(0, num_rows, max(1, step))
    ]


def logsumexp(logits: Tensor) -> Tensor:
    r"""Row-wise log-sum-exp of a wide matrix, block by block.

    Shapes:
        - **logits:** :math:`(B, E)`
        - **output:** :math:`(B)`
    """
    blocks = row_blocks(logits)
    parts = [logits[block].logsumexp(dim=1) for block in blocks]
    return torch.cat(parts) if parts else logits.new_empty(0)
