"""A step of training at any number of entities: seconds, memory, products.

    python -m benchmarks.scale

Graphs are drawn (seed 0): entities and relations by Zipf's law, three tails a
query. Each line is a process of its own, in all threads of the machine: a
step of a structure teacher, and a step of a student with two teachers
(structure, and frozen features of 128 numbers) whose mean it imitates. With
``--kind sampled`` it is a teacher whose losses are over 10,000 drawn entities.
``seconds`` is the median of ``--steps`` steps after two first ones.
``products`` are the seconds of the matrix products that no exact step can do
without (scores, gradient of queries, gradient of entities; scores of each
teacher), in chunks as large as those of the step, and right behind each step.
Their shares are those of such pairs: the median and the best. ``peak_gb`` is
what a step takes at most above parameters, features and the state of the
optimiser. Nothing else should run meanwhile. With ``--chunk`` chunks have at
most so many scores; of several numbers each line is measured with all.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.graph import Triples
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.precision import matmul, resolve_precision
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex
from dsom_pyg.scores import Scores, sources
from dsom_pyg.teachers import Mean, TeacherEnsemble
from dsom_pyg.training import Adam, DistillTask, ModelTask, Sampled, Task
from dsom_pyg.training.sampled import Draw
from experiments import record

RELATIONS, FEATURES, TAILS = 800, 128, 3
KINDS = ('teacher', 'student', 'sampled')
# Entities and D.
LINES = ((12_842, 256), (200_000, 128), (1_000_000, 128), (5_000_000, 64))
STATUS = Path('/proc/self/status')


def memory(key: str) -> float:
    """Memory of this process in GB: VmRSS now, VmHWM at most."""
    line = next(x for x in STATUS.read_text().splitlines() if key in x)
    return int(line.split()[1]) * 1024 / 1e9


def zipf(size: int, count: int) -> Tensor:
    """Ids of which the n-th is drawn in proportion to 1 / n."""
    share = torch.rand(count, dtype=torch.double)
    return (size**share - 1).long().clamp(max=size - 1)


def batch_of(entities: int, size: int, draw: Draw | None) -> QueryBatch:
    """Queries with three tails each."""
    row = torch.arange(size).repeat_interleave(TAILS)
    pairs = Pairs(row, zipf(entities, TAILS * size))
    rel = zipf(2 * RELATIONS, size)
    some = None if draw is None else draw(pairs.tail)
    return QueryBatch(zipf(entities, size), rel, pairs, pairs, candidates=some)


def draw_of(kind: str, entities: int) -> Draw | None:
    """Draws entities, if losses are not over all of them."""
    if kind != 'sampled':
        return None
    head, tail = zipf(entities, entities), zipf(entities, entities)
    index = QueryIndex(
        Triples(torch.stack([head, tail]), zipf(RELATIONS, entities))
    )
    generator = torch.Generator().manual_seed(0)
    return Draw(Sampled(), index, entities, generator)


def task_of(kind: str, entities: int, channels: int) -> tuple[Task, Any]:
    """What is trained, and the model whose parameters learn."""
    model = ComplEx(EntityEmbedding(entities, channels), RELATIONS)
    if kind != 'student':
        return ModelTask(model), model
    known = torch.ones(entities, dtype=torch.bool)
    features = {'text': (torch.randn(entities, FEATURES), known)}
    sizes = entities, RELATIONS, channels
    teachers = TeacherEnsemble.from_features(features, *sizes)
    return DistillTask(model, teachers.requires_grad_(False), Mean()), model


def needed_products(
    query: Tensor, basis: Tensor, others: list[Tensor], precision: str
) -> float:
    """Seconds of the products that no exact step can do without: three of a
    basis that learns, one of each other one.
    """
    slices = Scores([(query, basis)]).source.slices()
    grad = torch.randn(len(query), slices[0].stop)
    asked = [torch.randn(len(query), rows.size(1)) for rows in others]
    start = time.perf_counter()
    for some in slices:
        part, known = basis[some], grad[:, : some.stop - some.start]
        matmul(query, part.t(), precision)
        matmul(known, part, precision)
        matmul(known.t(), query, precision)
        for coordinates, rows in zip(asked, others, strict=True):
            matmul(coordinates, rows[some].t(), precision)
    return time.perf_counter() - start


def measure(
    kind: str, entities: int, channels: int, size: int, steps: int
) -> dict[str, Any]:
    """One line, in this process."""
    torch.manual_seed(0)
    precision = resolve_precision(None, 'cpu')
    task, model = task_of(kind, entities, channels)
    optimizer = Adam()(model.parameters())
    draw = draw_of(kind, entities)

    def step() -> float:
        start = time.perf_counter()
        batch = batch_of(entities, size, draw)
        task.update(batch, precision, [optimizer])
        return time.perf_counter() - start

    # Adam has two numbers for each parameter, from its first step on.
    state = 2 * sum(p.nbytes for p in model.parameters()) / 1e9
    before = memory('VmRSS') + state
    Path('/proc/self/clear_refs').write_text('5')
    for _ in range(2):
        step()
    peak = memory('VmHWM') - before
    # What a machine does changes from minute to minute: each step is compared
    # with products right behind it.
    others = []
    if isinstance(task, DistillTask):
        others = [t.entities.basis().detach() for t in task.ensemble]
    query, basis = torch.randn(size, 2 * channels), model.entities().detach()
    if draw is not None:
        basis = basis[draw(zipf(entities, TAILS * size)).ids]
    pairs = [
        (step(), needed_products(query, basis, others, precision))
        for _ in range(steps)
    ]
    seconds, needed = zip(*pairs, strict=True)
    return {
        'kind': kind,
        'entities': entities,
        'channels': channels,
        'batch_size': size,
        'chunk': sources.CHUNK_CPU,
        'precision': precision,
        'seconds': statistics.median(seconds),
        'products': statistics.median(needed),
        'share_of_products': statistics.median(n / s for s, n in pairs),
        'best_share': max(n / s for s, n in pairs),
        'peak_gb': peak,
        'before_gb': before,
    }


def main() -> None:
    """Measure every line in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--batch-size', type=int, default=250)
    parser.add_argument('--entities', type=int, nargs='+')
    parser.add_argument('--kind', choices=KINDS, help='this one alone')
    parser.add_argument('--chunk', type=int, nargs='+')
    parser.add_argument('--one', nargs=3, help='kind, entities, channels')
    args = parser.parse_args()
    if args.one:
        kind, entities, channels = args.one
        sizes = int(entities), int(channels), args.batch_size, args.steps
        if args.chunk:
            sources.CHUNK_CPU = args.chunk[0]
        print(json.dumps(measure(kind, *sizes)))
        return
    rows = []
    kinds = KINDS[:2] if args.kind is None else (args.kind,)
    for entities, channels in LINES:
        if args.entities and entities not in args.entities:
            continue
        lines = itertools.product(kinds, args.chunk or [sources.CHUNK_CPU])
        for kind, chunk in lines:
            words = [kind, str(entities), str(channels)]
            words += ['--steps', str(args.steps)]
            words += ['--batch-size', str(args.batch_size)]
            words += ['--chunk', str(chunk)]
            done = subprocess.run(
                [sys.executable, '-m', 'benchmarks.scale', '--one', *words],
                check=True,
                capture_output=True,
                text=True,
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    # One that keeps what is freed spares the system's handing out of pages,
    # for more memory.
    allocator = os.environ.get('GLIBC_TUNABLES', 'default')
    settings = {
        'batch_size': args.batch_size,
        'steps': args.steps,
        'seed': 0,
        'allocator': allocator,
    }
    name = 'scale' if allocator == 'default' else 'scale-allocator'
    name += f'-{args.kind}' if args.kind else ''
    name += '-chunks' if args.chunk else ''
    name += '-part' if args.entities else ''  # the whole one stays
    record.benchmark(name, settings, {'rows': rows})


if __name__ == '__main__':
    main()
