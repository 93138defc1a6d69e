"""Ways to make one cross-entropy over all entities, with its gradients.

    python -m benchmarks.losses
    python -m benchmarks.losses --device cuda --queries 1000

Ours, in chunks; of whole logits by PyTorch; the same under torch.compile; by
the kernels of cut-cross-entropy and Liger where these are installed. They take
turns; the figure is the median of the rounds after a first one, in which what
is compiled is compiled (``first``). ``gb`` is the most memory of a GPU.
``products`` are the matrix products that all of them need.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dsom_pyg.losses import query_cross_entropy
from dsom_pyg.precision import resolve_precision
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import Scores
from experiments import record

ROUNDS = 5
Way = Callable[[], Tensor]


def ways_of(
    query: Tensor, rows: Tensor, tail: Tensor, precision: str
) -> dict[str, Way]:
    """What is compared, for queries ``[B, 2D]``, entities ``[E, 2D]`` and one
    target each.
    """
    dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
    pairs = Pairs(torch.arange(len(tail), device=tail.device), tail)

    def whole(query: Tensor, rows: Tensor) -> Tensor:
        logits = query.to(dtype) @ rows.to(dtype).T
        return functional.cross_entropy(logits.float(), tail)

    compiled = torch.compile(whole)
    ways: dict[str, Way] = {
        'ours': lambda: query_cross_entropy(
            Scores([(query, rows)], precision), pairs
        ),
        'whole': lambda: whole(query, rows),
        'compiled': lambda: compiled(query, rows),
    }
    for name, find in (('cut-cross-entropy', _cut), ('Liger', _liger)):
        if (theirs := find()) is not None:
            ways[name] = lambda call=theirs: call(  # type: ignore[misc]
                query.to(dtype), rows.to(dtype), tail
            )
    return ways


def _cut() -> Callable[..., Tensor] | None:
    try:
        from cut_cross_entropy import linear_cross_entropy
    except ImportError:
        return None
    # By default it leaves out blocks of the gradient whose entries are all
    # below a 4,096th: of a softmax over so many entities, nearly all.
    return partial(linear_cross_entropy, filter_eps=None)


def _liger() -> Callable[..., Tensor] | None:
    try:
        from liger_kernel.transformers.functional import (
            liger_fused_linear_cross_entropy,
        )
    except ImportError:
        return None
    return liger_fused_linear_cross_entropy  # type: ignore[no-any-return]


def losses(
    entities: int,
    channels: int,
    queries: int,
    device: torch.device,
    precision: str,
) -> dict[str, Any]:
    """Seconds, memory and value of each way; a way that fails says why."""
    gpu = device.type == 'cuda'
    dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
    query = torch.randn(queries, 2 * channels, device=device)
    rows = torch.randn(entities, 2 * channels, device=device)
    query.requires_grad_()
    rows.requires_grad_()
    tail = torch.randint(entities, (queries,), device=device)
    grad = torch.randn(queries, entities, device=device, dtype=dtype)

    def products() -> Tensor:
        a, b = query.detach().to(dtype), rows.detach().to(dtype)
        return (a @ b.T)[0, 0] + (grad @ b)[0, 0] + (grad.T @ a)[0, 0]

    ways = {
        'products': products,
        **ways_of(query, rows, tail, precision),
    }
    out: dict[str, Any] = {
        'entities': entities,
        'channels': channels,
        'queries': queries,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            if name in out and isinstance(out[name], str):
                continue
            query.grad = rows.grad = None
            if gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            try:
                loss = way()
                if loss.requires_grad:
                    loss.backward()
                value = float(loss.detach())
            # Too little memory, no compiler, a kernel that knows no CPU, or
            # wants other arguments.
            except Exception as error:
                out[name] = f'failed: {error!r:.200}'
                continue
            times[name].append(time.perf_counter() - start)
            peak = torch.cuda.max_memory_allocated() / 1e9 if gpu else None
            out[name] = {'value': value, 'gb': peak}
    for name, seconds in times.items():
        if isinstance(out[name], dict):
            first, *others = seconds
            out[name]['seconds'] = statistics.median(others)
            out[name]['first'] = first
    return out


def main() -> None:
    """Measure small and large graphs."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--queries', type=int, default=500)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(args.device)
    precision = resolve_precision(None, args.device)
    measured = {
        f'E = {entities}': losses(
            entities, channels, args.queries, device, precision
        )
        for entities, channels in ((12_842, 256), (200_000, 128))
    }
    settings = {'seed': 0, 'rounds': ROUNDS}
    record.benchmark('losses', settings, measured, args.device)


if __name__ == '__main__':
    main()
