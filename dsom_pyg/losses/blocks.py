"""Walking through wide matrices in blocks of rows."""

from torch import Tensor

# Elements of a block of rows that stays in a CPU's cache.
BLOCK = 2**20


def row_blocks(matrix: Tensor) -> list[slice]:
    r"""Slices of rows to walk through a wide matrix in cache-sized blocks.

    Losses over all entities are bound by memory on a CPU: every temporary
    of the full size costs a trip to main memory and fresh pages. A GPU gets
    a single block, so that nothing waits for the host.
    """
    rows, width = matrix.shape
    step = max(1, rows)
    if matrix.device.type == 'cpu':
        step = max(1, BLOCK // max(1, width))
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]
