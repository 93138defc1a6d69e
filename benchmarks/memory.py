"""Ranking WN18 under a memory limit, with the ranks it has without one.

python -m benchmarks.memory --root datasets/WN18 --limit-mib 64
"""

import argparse
import resource
import time

import torch

from dsom_pyg.datasets import WN18
from dsom_pyg.evaluation import evaluate, plan_memory
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from experiments import record


def peak() -> float:
    """Peak memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Rank with each limit, then without one, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--root', default='datasets/WN18')
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--limit-mib', type=int, nargs='+', default=[32, 256])
    args = parser.parse_args()
    graph = KG(WN18(args.root)[0])
    torch.manual_seed(0)
    size = graph.num_entities
    table = EntityEmbedding(size, args.channels, scale=1.0)
    model = ComplEx(table, graph.num_relations, scale=1.0)
    rows, ranks = [], []
    # Rising limits, so that each peak is its own.
    for limit in [*sorted(args.limit_mib), None]:
        limit_bytes = None if limit is None else limit * 2**20
        before, start = peak(), time.perf_counter()
        result = evaluate(model, graph, max_memory=limit_bytes)
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
    record.benchmark(
        'memory',
        {
            'dataset': f'WN18, {size} entities',
            'fingerprint': graph.fingerprint,
            'channels': args.channels,
            'model': 'random ComplEx, seed 0',
        },
        {'rows': rows, 'ranks equal to those without limit': same},
    )


if __name__ == '__main__':
    main()
