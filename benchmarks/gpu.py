"""What one GPU does: small graphs, one of Wikidata5M's size, and growth.

    python -m benchmarks.gpu                       # within 9 minutes
    python -m benchmarks.gpu --device cpu --small  # whether it runs

Graphs are drawn (seed 0), tails and relations by Zipf's law: one of the size
of DB15K, one of that of Wikidata5M, and others of 1 to 8 million entities.
Students learn from two frozen teachers, structure and features of 384
numbers: from their mean; with the paper's policy, which learns along; and
with as many queries without an answer in each batch, as the default recipe
has them once its policy has decided. ``small``: seconds of whole epochs (the
median of three after a first one), of a ranking, and of PyKEEN's LCWA loop on
the same graph, if PyKEEN is there.
``large`` and ``growth``: the median of ``--steps`` steps after a first one;
``epoch`` is that times the batches of an epoch, so no epoch was run.
``losses`` are those of :mod:`benchmarks.losses`.
``products`` are seconds of the matrix products that no exact step can do
without, at the measured rate of large products; ``passes`` are those that the
optimiser needs to read and write parameters, gradients and its state once, at
the measured bandwidth. Each part is written as soon as it is there; what the
time left does not allow, and what failed, is named.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from benchmarks.losses import losses
from benchmarks.scale import zipf
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.precision import resolve_precision
from dsom_pyg.query_index import Queries
from dsom_pyg.teachers import Combiner, Mean, TeacherEnsemble, paper_policy
from dsom_pyg.training import (
    Adam,
    DistillTask,
    Loop,
    ModelTask,
    QueryLoader,
    RowwiseAdagrad,
    Task,
)
from experiments import record

FEATURES, ROUNDS, UNLABELED = 384, 3, 250_000
STUDENTS = 'student', 'student, policy', 'student, unlabeled'
# Entities, relations, training triples, test triples.
DB15K = 12_842, 279, 79_222, 9_902
WIKIDATA5M = 4_594_485, 822, 20_614_279, 5_133
GROWTH = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
# Triples for each entity, as in Wikidata5M.
DEGREE = 4.5
Sizes = tuple[int, int, int, int]


class Bench:
    """What is measured where, and until when.

    Args:
        device: Where.
        steps: Of large graphs.
        limit: Seconds after which nothing new begins.
    """

    def __init__(self, device: str, steps: int, limit: float) -> None:
        self.device, self.steps = torch.device(device), steps
        self.end = time.perf_counter() + limit
        self.precision = resolve_precision(None, device)
        self.measured: dict[str, Any] = {}
        self.failed: list[str] = []
        self.settings = {'steps': steps, 'seed': 0, 'limit_s': limit}

    def wait(self) -> None:
        """Until the device has done all."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], Any], rounds: int) -> float:
        """The median of some rounds after a first one."""
        times = []
        for _ in range(rounds + 1):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    def peak(self) -> float | None:
        """GB of the GPU since the last call."""
        if self.device.type != 'cuda':
            return None
        most = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
        return most

    def compare(self, sizes: str) -> None:
        """An epoch of PyKEEN, in epochs of the teacher, if both are there."""
        both = (
            self.measured.get(f'small, {name}, {sizes}')
            for name in ('PyKEEN', 'teacher')
        )
        times = [x.get('epoch_s') for x in both if isinstance(x, dict)]
        if len(times) == 2 and None not in times:
            ratio = {'PyKEEN LCWA / teacher': times[0] / times[1]}
            self.part(f'small, ratio, {sizes}', lambda: ratio)

    def part(self, name: str, call: Callable[[], dict[str, Any]]) -> None:
        """Measure a part if there is time, and write what is known."""
        if time.perf_counter() > self.end:
            self.measured[name] = 'not measured: no time was left'
        else:
            try:
                self.peak()
                self.measured[name] = {**call(), 'peak_gb': self.peak()}
            # One part that fails must not cost the time of all others.
            except Exception as error:
                if not isinstance(error, torch.cuda.OutOfMemoryError):
                    self.failed.append(name)
                self.measured[name] = f'{type(error).__name__}: {error}'
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        device = self.device.type
        record.benchmark('gpu', self.settings, self.measured, device)


def machine(bench: Bench, side: int) -> dict[str, float]:
    """The rate of large products, and the bandwidth of memory."""
    dtype = torch.bfloat16 if bench.precision == 'bf16' else torch.float32
    a, b = (torch.randn(side, side, device=bench.device) for _ in range(2))
    a, b = a.to(dtype), b.to(dtype)
    seconds = bench.seconds(lambda: a @ b, 5)
    copy = torch.empty(side * side, device=bench.device)
    moved = bench.seconds(lambda: copy.copy_(a.flatten()), 5)
    size = copy.numel() * (4 + a.element_size())
    return {'flops': 2 * side**3 / seconds, 'bytes_s': size / moved}


def graph_of(sizes: Sizes) -> KG:
    """A drawn graph."""
    entities, relations, *counts = sizes
    parts = [
        Triples(
            torch.stack([torch.randint(entities, (n,)), zipf(entities, n)]),
            zipf(relations, n),
        )
        for n in (counts[0], 0, counts[1])
    ]
    return KG(make_data(entities, relations, *parts))


def task_of(
    kind: str, entities: int, relations: int, channels: int, device: Any
) -> tuple[Task, ComplEx]:
    """What is trained, and the model whose parameters learn."""
    with torch.device(device):
        model = ComplEx(EntityEmbedding(entities, channels), relations)
        if kind == 'teacher':
            return ModelTask(model), model
        known = torch.ones(entities, dtype=torch.bool)
        features = {'text': (torch.randn(entities, FEATURES), known)}
        teachers = TeacherEnsemble.from_features(
            features, entities, relations, channels
        ).requires_grad_(False)
        combiner: Combiner = Mean()
        if 'policy' in kind:
            combiner = paper_policy(teachers)
        pool = None
        if 'unlabeled' in kind:
            pool = Queries(
                torch.randint(entities, (UNLABELED,)),
                torch.randint(2 * relations, (UNLABELED,)),
            )
    task = DistillTask(model, teachers, combiner, unlabeled=pool)
    return task, model


def limits(
    bench: Bench, kind: str, entities: int, channels: int, size: int
) -> dict[str, float]:
    """Seconds of a step that no way of computing it can do without."""
    said = bench.measured['machine']
    width = 2 * channels
    products = 3 * width + (kind != 'teacher') * (width + FEATURES)
    size *= 2 if 'unlabeled' in kind else 1
    passes = 7 if isinstance(_optimizer(entities), Adam) else 4
    return {
        'products': 2 * size * entities * products / said['flops'],
        'passes': passes * 4 * entities * width / said['bytes_s'],
    }


def _optimizer(entities: int) -> Adam | RowwiseAdagrad:
    # Of millions of rows, the moments of Adam would take twice the table.
    return Adam() if entities < 500_000 else RowwiseAdagrad()


def training(
    bench: Bench, graph: KG, kind: str, channels: int, size: int, whole: bool
) -> dict[str, Any]:
    """Seconds of an epoch, or of steps."""
    entities, relations = graph.num_entities, graph.num_relations
    task, _ = task_of(kind, entities, relations, channels, bench.device)
    loop = Loop(batch_size=size, optimizer=_optimizer(entities))
    loader = QueryLoader(graph.index('train').to(bench.device), size)
    optimizers = task.optimizers(loop)
    for module in task.trained:
        module.train()
    limit = limits(bench, kind, entities, channels, size)
    told = {'batch_size': size, 'channels': channels, 'kind': kind}
    if whole:

        def epoch() -> None:
            for batch in loader:
                task.update(batch, bench.precision, optimizers)

        seconds = bench.seconds(epoch, ROUNDS)
        share = limit['products'] * len(loader) / seconds
        return {**told, 'epoch_s': seconds, 'share_of_products': share}
    batches = iter(loader)

    def step() -> None:
        task.update(next(batches), bench.precision, optimizers)

    seconds = bench.seconds(step, bench.steps)
    return {
        **told,
        'step_s': seconds,
        'epoch_from_steps_s': seconds * len(loader),
        'limits_s': limit,
        'share_of_products': limit['products'] / seconds,
    }


def ranking(bench: Bench, graph: KG, channels: int) -> dict[str, Any]:
    """Seconds of a filtered ranking of test."""
    sizes = graph.num_entities, graph.num_relations, channels
    _, model = task_of('teacher', *sizes, bench.device)
    graph.index('train', 'val', 'test')
    call = lambda: evaluate(model, graph, device=bench.device)  # noqa: E731
    return {'seconds': bench.seconds(call, 1), 'channels': channels}


def pykeen(
    bench: Bench, graph: KG, channels: int, size: int
) -> dict[str, Any]:
    """Seconds of an epoch of PyKEEN's LCWA loop."""
    try:
        from pykeen.losses import CrossEntropyLoss
        from pykeen.models import ComplEx as Theirs
        from pykeen.training import LCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory
    except ImportError:
        return {'missing': 'PyKEEN is not installed'}
    part = graph.triples('train')
    factory = CoreTriplesFactory(
        torch.stack([part.head, part.edge_type, part.tail], dim=1),
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        create_inverse_triples=True,
    )
    model = Theirs(
        triples_factory=factory,
        embedding_dim=channels,
        loss=CrossEntropyLoss(),
        random_seed=0,
    ).to(bench.device)
    loop = LCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer='adam',
        optimizer_kwargs={'lr': 0.02},
    )
    done = 0

    def epoch() -> None:
        nonlocal done
        done += 1
        loop.train(
            factory,
            num_epochs=done,
            continue_training=done > 1,
            batch_size=size,
            use_tqdm=False,
            use_tqdm_batch=False,
        )

    return {'epoch_s': bench.seconds(epoch, 1), 'channels': channels}


def main() -> None:
    """Measure all parts."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--limit', type=float, default=480)
    parser.add_argument('--small', action='store_true', help='tiny graphs')
    args = parser.parse_args()
    torch.manual_seed(0)
    bench = Bench(args.device, args.steps, args.limit)
    shrink = 2000 if args.small else 1
    widths = (16, 32) if args.small else (256, 2000)
    bench.settings['small'] = args.small

    def shrunk(sizes: Sizes) -> Sizes:
        e, r, *counts = sizes
        few = [max(n // shrink, 20) for n in counts]
        return max(e // shrink, 50), r, few[0], few[1]

    bench.part('machine', lambda: machine(bench, 512 if args.small else 8192))
    graph = graph_of(shrunk(DB15K))
    for channels in widths:
        for kind in ('teacher', *STUDENTS):
            bench.part(
                f'small, {kind}, D = {channels}',
                lambda k=kind, c=channels: training(  # type: ignore[misc]
                    bench, graph, k, c, 500, True
                ),
            )
        bench.part(
            f'small, ranking, D = {channels}',
            lambda c=channels: ranking(bench, graph, c),  # type: ignore[misc]
        )
    for entities in (max(DB15K[0] // shrink, 50), GROWTH[0] // shrink):
        bench.part(
            f'losses, E = {entities}',
            lambda e=entities: losses(  # type: ignore[misc]
                e, widths[0], 1000, bench.device, bench.precision
            ),
        )

    @cache
    def large() -> KG:
        return graph_of(shrunk(WIKIDATA5M))

    for kind in ('teacher', 'student'):
        bench.part(
            f'large, {kind}, D = {widths[0]}',
            lambda k=kind: training(  # type: ignore[misc]
                bench, large(), k, widths[0], 1000, False
            ),
        )
    bench.part(
        f'large, ranking, D = {widths[0]}',
        lambda: ranking(bench, large(), widths[0]),
    )
    for channels in widths:
        bench.part(
            f'small, PyKEEN, D = {channels}',
            lambda c=channels: pykeen(  # type: ignore[misc]
                bench, graph, c, 500
            ),
        )
        bench.compare(f'D = {channels}')
    for entities in GROWTH:
        sizes = entities, 822, int(DEGREE * entities), 100
        bench.part(
            f'growth, E = {entities}',
            lambda s=sizes: training(  # type: ignore[misc]
                bench, graph_of(shrunk(s)), 'teacher', widths[0], 1000, False
            ),
        )
    if bench.failed:
        raise SystemExit(f'failed: {"; ".join(bench.failed)}')


if __name__ == '__main__':
    main()
