"""Ranking WN18 under a memory limit, with the ranks it has without one.

python benchmarks/memory.py --root datasets/WN18 --limit-mib 64
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from protocol import machine

from dsom_pyg.datasets import WN18
from dsom_pyg.evaluation import evaluate, plan_memory
from dsom_pyg.graph import fingerprint, num_entities, num_relations
from dsom_pyg.nn import ComplEx, EntityEmbedding


def peak() -> float:
    """Peak memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Rank with each limit, then without one, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', default='datasets/WN18')
    parser.add_argument('--hidden-channels', type=int, default=64)
    parser.add_argument('--limit-mib', type=int, nargs='+', default=[32, 256])
    parser.add_argument(
        '--out', type=Path, default=Path('results/memory.json')
    )
    args = parser.parse_args()
    data = WN18(args.root)[0]
    torch.manual_seed(0)
    size = num_entities(data)
    table = EntityEmbedding(size, args.hidden_channels, scale=1.0)
    model = ComplEx(table, num_relations(data), scale=1.0)
    rows, ranks = [], []
    # Rising limits, so that each peak is its own.
    for limit in [*sorted(args.limit_mib), None]:
        limit_bytes = None if limit is None else limit * 2**20
        before, start = peak(), time.perf_counter()
        result = evaluate(model, data, max_memory=limit_bytes)
        rows.append(
            {
                'limit_mib': limit,
                'queries and entities at a time': plan_memory(
                    size, 500, limit_bytes
                ),
                'peak_mib_above_start': peak() - before,
                'seconds': time.perf_counter() - start,
            }
        )
        ranks.append(result.ranks())
        print(rows[-1], flush=True)
    same = [bool(torch.equal(each, ranks[-1])) for each in ranks]
    report = {
        'command': 'python benchmarks/memory.py --root datasets/WN18',
        'dataset': f'WN18, {size} entities',
        'fingerprint': fingerprint(data),
        'hidden_channels': args.hidden_channels,
        'model': 'random ComplEx, seed 0',
        'machine': machine(),
        'rows': rows,
        'ranks equal to those without limit': same,
    }
    print('ranks equal:', same)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
