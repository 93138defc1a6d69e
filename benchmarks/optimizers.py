"""What optimisers cost for a large table, and what they reach on a small one.

    python -m benchmarks.optimizers

Two measurements. One: the seconds of a step of each optimiser, alone, on a
dense table of ``--rows`` entities, and the memory of its state; beside it
what memory allows: the bytes that it has to read and write once, at the
bandwidth of a table that is scaled in place. Two: the best
filtered MRR on the validation split of ``--dataset`` of ComplEx-N3 under each
of its learning rates; the test split is not read. Nothing else should run
during the first one. Where bitsandbytes is installed, its Adam of 8
bits is a row as well.
"""

import argparse
import statistics
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsom_pyg import datasets
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.training import (
    Adagrad,
    Adam,
    Adam8bit,
    Loop,
    ModelTask,
    RowwiseAdagrad,
    fit,
)
from experiments import record

# Each with its rates: the default one and others around or above it.
OPTIMIZERS: tuple[tuple[Any, tuple[float, ...]], ...] = (
    (Adam(), (0.01, 0.02, 0.04)),
    (Adagrad(), (0.05, 0.1, 0.2)),
    (RowwiseAdagrad(), (0.1, 0.2, 0.4, 0.8)),
)
if find_spec('bitsandbytes') is not None:
    OPTIMIZERS += ((Adam8bit(), (0.01, 0.02, 0.04)),)


# Bytes of a parameter that a step reads and writes: itself twice, its gradient
# once (row by row twice: their mean square comes first), its state twice.
BYTES = {'Adam': 28, 'Adagrad': 20, 'RowwiseAdagrad': 16, 'Adam8bit': 16}


def bandwidth(rows: int, width: int, steps: int) -> float:
    """Bytes a second of a table that is scaled in place."""
    table = torch.randn(rows, width)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        table.mul_(1.0001)
        seconds.append(time.perf_counter() - start)
    return 8 * table.numel() / statistics.median(seconds[1:])


def cost(make: Any, rows: int, width: int, steps: int) -> dict[str, float]:
    """Median seconds of a step, and bytes of state for each parameter."""
    table = nn.Parameter(torch.randn(rows, width))
    optimizer, seconds = make([table]), []
    table.grad = torch.randn(rows, width)
    for _ in range(steps + 1):
        start = time.perf_counter()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    state = sum(
        value.numel() * value.element_size()
        for each in optimizer.state.values()
        for value in each.values()
        if isinstance(value, torch.Tensor)
    )
    return {
        'seconds': statistics.median(seconds[1:]),
        'state_bytes_per_parameter': state / table.numel(),
    }


def reached(make: Any, graph: KG, channels: int, epochs: int) -> float:
    """The best filtered MRR on validation."""
    torch.manual_seed(0)
    table = EntityEmbedding(graph.num_entities, channels)
    task = ModelTask(ComplEx(table, graph.num_relations))
    loop = Loop(epochs=epochs, batch_size=250, optimizer=make, eval_every=1)
    history = fit(task, graph, loop).history
    return max(epoch['val_mrr'] for epoch in history)


def main() -> None:
    """Measure each optimiser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument('--width', type=int, default=256)
    parser.add_argument('--steps', type=int, default=7)
    parser.add_argument('--dataset', default='Countries')
    parser.add_argument('--root', type=Path, default=None)
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=20)
    args = parser.parse_args()
    made: Any = getattr(datasets, args.dataset)
    graph = KG(made(args.root)[0])
    sizes = args.rows, args.width, args.steps
    rate = bandwidth(*sizes)
    rows: list[dict[str, Any]] = []
    for optimizer, _ in OPTIMIZERS:
        name = type(optimizer).__name__
        least = BYTES[name] * args.rows * args.width / rate
        row = {'optimizer': name, **cost(optimizer, *sizes)}
        rows.append({**row, 'least_seconds': least})
    print(rows, flush=True)
    for row, (optimizer, rates) in zip(rows, OPTIMIZERS, strict=True):
        for lr in rates:
            one = replace(optimizer, lr=lr)
            how = args.channels, args.epochs
            row[f'val_mrr at {lr}'] = reached(one, graph, *how)
        print(row, flush=True)
    settings = {
        **{k: v for k, v in vars(args).items() if k != 'root'},
        'seed': 0,
        'threads': torch.get_num_threads(),
        'data_fingerprint': graph.fingerprint,
        'protocol': 'validation, filtered by train and validation, '
        'realistic ties, best epoch',
    }
    measured = {'rows': rows, 'bytes_s': rate}
    record.benchmark('optimizers', settings, measured)


if __name__ == '__main__':
    main()
