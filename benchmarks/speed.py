"""Seconds an epoch and ranking time on DB15K, as ratios in one run.

    python -m benchmarks.speed --root datasets/DB15K --text-model MODEL

Measures, one after the other on the same machine: the rate of large matrix
products; a structure teacher's epoch here, in a plain fp32 loop over triples
of the same mathematics, and in PyKEEN's LCWA loop; an epoch of the student
with the mean and with the policy; and the filtered ranking of all test
queries here and in PyKEEN's evaluator. Epochs are extrapolated from
``--steps`` steps (median); nothing else should run meanwhile.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pykeen.evaluation import RankBasedEvaluator
from pykeen.losses import CrossEntropyLoss
from pykeen.models import ComplEx as PyKEENComplEx
from pykeen.training import LCWATrainingLoop
from pykeen.triples import CoreTriplesFactory
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from dsom_pyg.datasets import DB15K
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import (
    add_reciprocals,
    get_split,
    merge_val,
    num_entities,
    num_relations,
)
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.precision import resolve_precision
from dsom_pyg.teachers import Mean, TeacherEnsemble, paper_policy
from dsom_pyg.training import DistillTask, Loop, ModelTask, QueryLoader, Task
from experiments import record

LOOP = Loop()


def median_seconds(step: Callable[[], Any], steps: int) -> float:
    """Median time of a call, after one to warm up."""
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def product_rate(steps: int, channels: int, entities: int) -> dict[str, float]:
    """GFLOP/s of matrix products of the size that scoring needs."""
    rates = {}
    for name, dtype in (('fp32', torch.float32), ('bf16', torch.bfloat16)):
        a = torch.randn(500, 2 * channels).to(dtype)
        b = torch.randn(entities, 2 * channels).to(dtype)
        g = torch.randn(500, entities).to(dtype)
        flops = 2 * 500 * entities * 2 * channels
        products: tuple[Callable[[], Any], ...] = (
            lambda a=a, b=b: a @ b.t(),
            lambda g=g, b=b: g @ b,
            lambda g=g, a=a: g.t() @ a,
        )
        seconds = sum(median_seconds(product, steps) for product in products)
        rates[name] = 3 * flops / seconds / 1e9
    return rates


def our_epoch(task: Task, graph: KG, steps: int) -> float:
    """Seconds of an epoch of a task."""
    precision = resolve_precision(None, 'cpu')
    loader = QueryLoader(graph.index('train'), LOOP.batch_size)
    batches = iter(loader)
    optimizers = task.optimizers(LOOP)

    def step() -> None:
        task.update(next(batches), precision, optimizers)

    return median_seconds(step, steps) * len(loader)


def plain_epoch(data: HeteroData, channels: int, steps: int) -> float:
    """The same mathematics, triple by triple, as autograd writes it."""
    train = add_reciprocals(get_split(data, 'train'), num_relations(data))
    scale = 1e-3
    width = 2 * channels
    entities = torch.randn(num_entities(data), width).mul_(scale)
    relations = torch.randn(2 * num_relations(data), width).mul_(scale)
    parameters = [entities.requires_grad_(), relations.requires_grad_()]
    optimizer = torch.optim.Adagrad(parameters, lr=0.1)
    order = iter(torch.randperm(train.edge_type.numel()).split(500))

    def step() -> None:
        part = train.select(next(order))
        h, r = entities[part.head], relations[part.edge_type]
        t = entities[part.tail]
        h_re, h_im = h.chunk(2, dim=1)
        r_re, r_im = r.chunk(2, dim=1)
        query = torch.cat(
            [h_re * r_re - h_im * r_im, h_re * r_im + h_im * r_re], dim=1
        )
        loss = F.cross_entropy(query @ entities.t(), part.tail)
        for rows in (h, r, t):
            re, im = rows.chunk(2, dim=1)
            cubes = (re.square() + im.square()).pow(1.5).sum()
            loss = loss + 0.01 * cubes / len(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return median_seconds(step, steps) * -(-train.edge_type.numel() // 500)


def factory(data: HeteroData, split: str) -> CoreTriplesFactory:
    """A split in PyKEEN's form."""
    part = get_split(data, split)
    columns = torch.stack([part.head, part.edge_type, part.tail], dim=1)
    return CoreTriplesFactory(
        columns,
        num_entities=num_entities(data),
        num_relations=num_relations(data),
        create_inverse_triples=split == 'train',
    )


def pykeen_model(data: HeteroData, channels: int) -> PyKEENComplEx:
    """ComplEx of the same size, with inverse relations."""
    return PyKEENComplEx(
        triples_factory=factory(data, 'train'),
        embedding_dim=channels,
        loss=CrossEntropyLoss(),
        random_seed=0,
    )


def pykeen_epoch(data: HeteroData, channels: int, share: float) -> float:
    """An epoch of PyKEEN's LCWA loop, extrapolated from a part of train."""
    train = factory(data, 'train')
    model = pykeen_model(data, channels)
    count = round(share * train.num_triples)
    chosen = torch.randperm(train.num_triples)[:count]
    part = CoreTriplesFactory(
        train.mapped_triples[chosen],
        num_entities=train.num_entities,
        num_relations=num_relations(data),
        create_inverse_triples=True,
    )
    loop = LCWATrainingLoop(
        model=model,
        triples_factory=part,
        optimizer=torch.optim.Adagrad(model.parameters(), lr=0.1),
    )
    start = time.perf_counter()
    loop.train(
        part,
        num_epochs=1,
        batch_size=500,
        use_tqdm=False,
        use_tqdm_batch=False,
    )
    return (time.perf_counter() - start) / share


def pykeen_ranking(data: HeteroData, channels: int, batch: int) -> float:
    """PyKEEN's filtered evaluation of test."""
    model = pykeen_model(data, channels)
    start = time.perf_counter()
    RankBasedEvaluator(filtered=True).evaluate(
        model,
        factory(data, 'test').mapped_triples,
        batch_size=batch,
        additional_filter_triples=[
            factory(data, 'train').mapped_triples,
            factory(data, 'val').mapped_triples,
        ],
        use_tqdm=False,
    )
    return time.perf_counter() - start


def measure(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All times."""
    encoder = SBERT(args.text_model)
    data = merge_val(DB15K(args.root, text_encoder=encoder)[0])
    graph, d = KG(data), args.channels
    sizes = graph.num_entities, graph.num_relations
    teachers = TeacherEnsemble.from_features(graph.features, *sizes, d)
    seconds: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        seconds[name] = value
        print(f'{name:44s}{value:8.2f} s', flush=True)

    model = ComplEx(EntityEmbedding(sizes[0], d), sizes[1])
    structure = ModelTask(teachers['structure'])
    # What the ratios compare takes turns, so that a machine that is slow for
    # a while is slow for all.
    turns = [
        (
            product_rate(args.steps, d, sizes[0]),
            our_epoch(structure, graph, args.steps),
            plain_epoch(data, d, args.steps),
        )
        for _ in range(3)
    ]
    rates = {
        name: statistics.median(turn[0][name] for turn in turns)
        for name in turns[0][0]
    }
    median = statistics.median
    note('epoch, structure teacher', median(turn[1] for turn in turns))
    note('epoch, plain fp32 loop', median(turn[2] for turn in turns))
    text = ModelTask(teachers['text'])
    note('epoch, text teacher', our_epoch(text, graph, args.steps))
    share = args.pykeen_share
    note('epoch, PyKEEN LCWA', pykeen_epoch(data, d, share))
    for name, combiner in (
        ('mean', Mean()),
        ('policy', paper_policy(teachers)),
    ):
        task = DistillTask(model, teachers, combiner.train())
        note(f'epoch, student, {name}', our_epoch(task, graph, args.steps))
    ranking = median_seconds(lambda: evaluate(model, graph), 2)
    note('ranking, all test queries', ranking)
    note('ranking, PyKEEN', pykeen_ranking(data, d, LOOP.batch_size))
    settings = {
        'dataset': 'DB15K, all training triples',
        'fingerprint': graph.fingerprint,
        'channels': d,
        'steps': args.steps,
        'pykeen_share': args.pykeen_share,
        'allocator': os.environ.get('GLIBC_TUNABLES', 'default'),
    }
    queries = len(graph.index('train'))
    return settings, {
        'product_gflops': rates,
        'seconds': seconds,
        'ratios': ratios(seconds, rates, queries, sizes[0], d),
    }


def ratios(
    seconds: dict[str, float],
    rates: dict[str, float],
    queries: int,
    entities: int,
    channels: int,
) -> dict[str, float]:
    """What the times mean."""
    ours = seconds['epoch, structure teacher']
    mean = seconds['epoch, student, mean']
    # Scores, gradient of the queries, gradient of the entities.
    gflop = 3 * 2 * queries * entities * 2 * channels / 1e9
    best = rates[resolve_precision(None, 'cpu')]
    return {
        'plain loop / ours': seconds['epoch, plain fp32 loop'] / ours,
        'PyKEEN LCWA / ours': seconds['epoch, PyKEEN LCWA'] / ours,
        'PyKEEN ranking / ours': seconds['ranking, PyKEEN']
        / seconds['ranking, all test queries'],
        'policy / student epoch': seconds['epoch, student, policy'] / mean - 1,
        'share of product rate, structure teacher': gflop / ours / best,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', default='datasets/DB15K')
    parser.add_argument('--text-model', required=True)
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--steps', type=int, default=15)
    parser.add_argument('--pykeen-share', type=float, default=0.05)
    args = parser.parse_args()
    np.random.seed(0)
    torch.manual_seed(0)
    record.benchmark('speed', *measure(args))


if __name__ == '__main__':
    main()
