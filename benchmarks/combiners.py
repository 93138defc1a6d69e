"""Combiners fitted on held-out triples, beside the paper's and the mean.

    python benchmarks/combiners.py --dataset DB15K --text-model MODEL --seeds 3

For every seed: plain ComplEx-N3, the text teacher, and for every combiner
the teachers at test time and the student that learned from them. Combiners
are fitted on a part of train that their own teachers never saw
(`dsom_pyg.training.cross_fit`), and then used with the full teachers; the
paper's is trained along with its student, as the paper writes it.

``--select`` reads no test triple: it measures the same on the validation
split (DB15K: its clean one), with the validation triples left out of train.
Without it settings are given, the last epoch is taken, and test is read once,
for the table.

Rows are written as they come, and not measured again. Trained teachers lie
in ``--models`` and are used again.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from protocol import commit, machine
from torch import Tensor
from torch_geometric.data import HeteroData

from dsom_pyg import datasets, nn
from dsom_pyg.atomic import whole_or_nothing
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import (
    add_reciprocals,
    drop_modality,
    fingerprint,
    get_split,
    merge_val,
    pool_features,
)
from dsom_pyg.query_index import Queries, unlabeled_queries
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    Fold,
    ModelTask,
    PolicyTask,
    cross_fit,
    fit,
    held_out_data,
    train_index,
)

# N3 as in benchmarks/db15k.py; gamma and tau by trials on the clean
# validation split of DB15K, seed 0.
N3 = {'structure': 0.05, 'text': 0.01, 'joint': 0.05, 'noise': 0.01}
DISTILL = DistillConfig(tau=2.0, gamma=4.0)
# As the paper has it.
PAPER = DistillConfig(tau=4.0, gamma=2.0)
# Combiners whose students are left out: siblings of 'policy'.
NO_STUDENT = ('policy, sampled', 'policy over weights')


class Bench:
    """One dataset, its settings, and the rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        encoder = SBERT(args.text_model)
        kind = getattr(datasets, args.dataset)
        root = args.root or Path('datasets') / args.dataset
        dataset = kind(root, text_encoder=encoder)
        self.data: HeteroData = dataset[0]
        if args.dataset == 'DB15K' and not args.select:
            # The split is only named here: settings are given.
            self.data = merge_val(self.data)
        if args.missing:
            self.data = drop_modality(self.data, 'text', args.missing)
        self.split = 'val' if args.select else 'test'
        self.sizes = dataset.num_entities, dataset.num_relations
        self.features = {'text': pool_features(self.data, 'text')}
        if args.shuffled:
            self.features['text'] = shuffled(*self.features['text'])
        if args.noise:
            self.features['noise'] = noise(self.features['text'][0])
        self.out = Path(args.out or f'results/combiners/{args.dataset}.json')
        self.commit = commit()
        self.filter = ('train', 'val', 'test')[: 2 if args.select else 3]
        protocol = {
            'dataset': args.dataset,
            'fingerprint': fingerprint(self.data),
            'text': encoder.name,
            'text_missing': args.missing,
            'text_shuffled': args.shuffled,
            'noise_teacher': args.noise,
            'measured_on': self.split,
            'filter': list(self.filter),
            'ties': 'realistic',
            'selection': 'settings given, last epoch',
            'channels': args.channels,
            'epochs': args.epochs,
            'student_epochs': args.student_epochs,
            'folds': args.folds,
            'policy_epochs': args.policy_epochs,
            'n3': self.n3(),
            'unlabeled_queries': args.unlabeled,
            'distill': asdict(DISTILL),
            'distill_as_in_the_paper': asdict(PAPER),
            'machine': machine(),
        }
        self.report: dict[str, Any] = {'protocol': protocol, 'rows': {}}
        if self.out.exists():
            self.report = json.loads(self.out.read_text())
            if self.report['protocol'] != json.loads(json.dumps(protocol)):
                raise SystemExit(f'{self.out} has another protocol; move it')

    def config(self, seed: int, epochs: int) -> FitConfig:
        """The loop of every fit."""
        return FitConfig(epochs=epochs, seed=seed, device=self.args.device)

    def record(
        self, name: str, seed: int, scorer: Scorer, **more: Any
    ) -> None:
        """Rank, add a row, write the report."""
        ranking = evaluate(
            scorer,
            self.data,
            split=self.split,
            filter_splits=self.filter,
            device=self.args.device,
        )
        row = {self.split: ranking.metrics(), 'commit': self.commit, **more}
        self.report['rows'].setdefault(name, {})[str(seed)] = row
        with whole_or_nothing(self.out) as temporary:
            temporary.write_text(json.dumps(self.report, indent=1) + '\n')
        print(f'seed {seed}  {name:40s} {ranking}', flush=True)

    def done(self, name: str, seed: int) -> bool:
        """Whether the report has this row."""
        return str(seed) in self.report['rows'].get(name, {})

    def student(self, seed: int) -> nn.ComplEx:
        """An untrained structure-only model."""
        torch.manual_seed(seed + 1)
        table = nn.EntityEmbedding(self.sizes[0], self.args.channels)
        return nn.ComplEx(table, self.sizes[1])

    def ensemble(self, seed: int) -> nn.TeacherEnsemble:
        """Untrained teachers."""
        torch.manual_seed(seed)
        return nn.TeacherEnsemble.from_features(
            self.features, *self.sizes, self.args.channels, joint=True
        )

    def n3(self) -> dict[str, float]:
        """Weight of the regulariser of each teacher."""
        return {m: N3[m] for m in ['structure', *self.features, 'joint']}

    def unlabeled(self, seed: int) -> Queries:
        """Queries without a known answer."""
        index = train_index(self.data).to(self.args.device)
        return unlabeled_queries(
            index, self.sizes[0], self.args.unlabeled, seed
        )

    def combined(
        self, ensemble: nn.TeacherEnsemble, combiner: nn.Combiner
    ) -> nn.CombinedTeachers:
        """The teachers at test time."""
        index = train_index(self.data)
        return nn.CombinedTeachers(ensemble, combiner.eval(), index)


def shuffled(x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Features of other entities."""
    generator = torch.Generator().manual_seed(7)
    order = torch.randperm(len(x), generator=generator)
    return x[order], present[order]


def noise(like: Tensor) -> tuple[Tensor, Tensor]:
    """A modality of pure noise, of unit norm, as wide as another one."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(like.shape, generator=generator)
    x /= x.norm(dim=1, keepdim=True)
    return x, torch.ones(len(x), dtype=torch.bool)


def teachers(bench: Bench, seed: int) -> nn.TeacherEnsemble:
    """The teachers on all of train; the first one is plain ComplEx-N3."""
    ensemble = bench.ensemble(seed)
    for name in ensemble.modalities:
        task = ModelTask(ensemble[name], bench.n3()[name], name)
        path = Path(bench.args.models) / f'{name}-{seed}.safetensors'
        path.parent.mkdir(parents=True, exist_ok=True)
        config = bench.config(seed, bench.args.epochs)
        result = fit(task, bench.data, config, checkpoint=path)
        row = f'teacher: {name}'
        if name == 'structure':
            row = 'plain ComplEx-N3 = teacher: structure'
        if not bench.done(row, seed):
            bench.record(row, seed, ensemble[name], seconds=result.seconds)
    return ensemble


def folds(bench: Bench, seed: int) -> list[Fold]:
    """Teachers that never saw a part of train."""
    return cross_fit(
        bench.data,
        lambda: bench.ensemble(seed),
        bench.config(seed, bench.args.epochs),
        k=bench.args.folds,
        n3=bench.n3(),
        seed=seed + 1,
        checkpoints=Path(bench.args.models) / f'folds-{seed}',
    )


def candidates(
    bench: Bench, held: list[Fold], seed: int
) -> Iterator[tuple[str, Callable[[], nn.Combiner]]]:
    """The combiners that are fitted on held-out triples."""
    count = len(bench.features) + 2
    train = get_split(bench.data, 'train')
    degree = torch.bincount(
        train.edge_index.flatten(), minlength=bench.sizes[0]
    )
    data = held_out_data(bench.data, held)
    asked = add_reciprocals(get_split(data, 'train'), bench.sizes[1])
    counts = torch.bincount(asked.edge_type, minlength=2 * bench.sizes[1])

    def learned(combiner: nn.Combiner, lr: float, epochs: int) -> nn.Combiner:
        fit(PolicyTask(held, combiner, lr), data, bench.config(seed, epochs))
        return combiner.requires_grad_(False).eval()

    def adaptive(actions: Tensor, **options: Any) -> nn.Combiner:
        torch.manual_seed(seed)
        state = nn.CompactState(count, bench.sizes[1], degree)
        policy = nn.AdaptiveCombiner(state, actions, **options)
        return learned(policy, 2e-3, bench.args.policy_epochs)

    subsets = nn.AdaptiveCombiner.subsets(count)
    grid = nn.AdaptiveCombiner.grid(count, (0.0, 0.3, 1.0))
    yield 'mean', nn.MeanCombiner
    yield (
        'fixed weights',
        lambda: learned(nn.WeightedCombiner(count), 0.05, 10),
    )
    yield (
        'weights by relation',
        lambda: learned(nn.WeightedCombiner(count, counts), 0.05, 15),
    )
    yield 'policy', lambda: adaptive(subsets)
    yield 'policy, sampled', lambda: adaptive(subsets, estimator='sampled')
    yield 'policy over weights', lambda: adaptive(grid)


def distill(
    bench: Bench,
    name: str,
    seed: int,
    ensemble: nn.TeacherEnsemble,
    combiner: nn.Combiner,
    objective: DistillConfig,
    unlabeled: Queries | None = None,
) -> None:
    """The student of these teachers."""
    student = bench.student(seed)
    task = DistillTask(student, ensemble, combiner, objective, unlabeled)
    config = bench.config(seed, bench.args.student_epochs)
    result = fit(task, bench.data, config)
    last = {k: v for k, v in result.history[-1].items() if k != 'epoch'}
    bench.record(
        f'{name}: student',
        seed,
        student,
        seconds=result.seconds,
        last_epoch=last,
    )


def run(bench: Bench, seed: int) -> None:
    """Everything for one seed."""
    ensemble = teachers(bench, seed)
    as_in_the_paper(bench, seed, ensemble)
    held = folds(bench, seed)
    for name, make in candidates(bench, held, seed):
        wanted = not bench.args.only or name in bench.args.only
        student = name not in NO_STUDENT and not bench.args.no_students
        last = f'{name}: student' if student else f'{name}: teachers'
        if not wanted or bench.done(last, seed):
            continue
        combiner = make().to(bench.args.device).eval()
        both = bench.combined(ensemble, combiner)
        bench.record(f'{name}: teachers', seed, both)
        if student:
            pool = bench.unlabeled(seed)
            loop = bench.config(seed, 1)
            decided = nn.QueryWeights.of(
                combiner,
                ensemble,
                train_index(bench.data).to(loop.device),
                pool,
                precision=loop.resolved_precision(),
            )
            distill(bench, name, seed, ensemble, decided, DISTILL, pool)


def as_in_the_paper(
    bench: Bench, seed: int, ensemble: nn.TeacherEnsemble
) -> None:
    """One teacher a modality; the mean of them, and the paper's policy."""
    names = ['structure', *bench.features]
    single = nn.TeacherEnsemble({name: ensemble[name] for name in names})
    makers: dict[str, Callable[[], nn.Combiner]] = {
        'no joint teacher, mean': nn.MeanCombiner,
        "no joint teacher, the paper's policy": (
            lambda: nn.ReinforcedCombiner.for_ensemble(single)
        ),
    }
    for name, make in makers.items():
        wanted = not bench.args.only or name in bench.args.only
        # The paper's policy learns along with its student.
        wanted &= not bench.args.no_students or name.endswith('mean')
        if not wanted or bench.done(f'{name}: teachers', seed):
            continue
        torch.manual_seed(seed + 2)
        combiner = make()
        if not bench.args.no_students:
            distill(bench, name, seed, single, combiner, PAPER)
        both = bench.combined(single, combiner)
        bench.record(f'{name}: teachers', seed, both)


def main() -> None:
    """Measure all combiners on a dataset."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='DB15K')
    parser.add_argument('--root', type=Path)
    parser.add_argument('--text-model', required=True)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--student-epochs', type=int, default=14)
    parser.add_argument('--policy-epochs', type=int, default=8)
    parser.add_argument('--unlabeled', type=int, default=60_000)
    parser.add_argument('--folds', type=int, default=1)
    parser.add_argument('--select', action='store_true')
    parser.add_argument('--noise', action='store_true')
    parser.add_argument('--shuffled', action='store_true')
    parser.add_argument('--missing', type=float, default=0.0)
    parser.add_argument('--only', action='append')
    parser.add_argument('--no-students', action='store_true')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--models', default='results/models')
    parser.add_argument('--out', type=Path)
    bench = Bench(parser.parse_args())
    for seed in range(bench.args.seeds):
        run(bench, seed)


if __name__ == '__main__':
    main()
