"""What a modality brings: structure only against texts, images, or both.

    python benchmarks/modalities.py --dataset Countries --seeds 3 --missing
    python benchmarks/modalities.py --dataset WN9 --text-model MODEL

For every set of modalities: the mean of the teachers at test time, and the
structure-only student that learned from it; beside them plain ComplEx-N3.
Countries has its bundled encoders, and its epochs are chosen on validation.
The benchmarks take texts through MODEL, a sentence-transformers name or
folder (the committed figures: all-MiniLM-L6-v2), the settings of
benchmarks/db15k.py, and the last epoch. Test is read once, for the table.
``--missing`` takes all modalities but structure from 20 to 80 % of their
entities (Figure 4a of the paper). Rows are written as they come, and not
measured again.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from protocol import Report
from torch_geometric.data import HeteroData

from dsom_pyg import datasets, nn
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import (
    drop_modality,
    fingerprint,
    merge_val,
    modalities,
    pool_features,
)
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    ModelTask,
    TeachersTask,
    fit,
)

RATES = (0.2, 0.4, 0.6, 0.8)


@dataclass
class Settings:
    """All that is given beforehand."""

    channels: int
    plain_n3: float
    structure_n3: float
    feature_n3: float
    distill: DistillConfig
    fit: FitConfig


class Bench:
    """One dataset, its settings, and the rows so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        kind = getattr(datasets, args.dataset)
        if args.dataset == 'Countries':
            text = 'bundled'
            dataset = datasets.Countries(args.root)
            self.settings = countries_settings(args)
        else:
            root = args.root or Path('datasets') / args.dataset
            encoder = SBERT(args.text_model)
            text = encoder.name
            dataset = kind(root, text_encoder=encoder)
            self.settings = benchmark_settings(args)
        self.data: HeteroData = dataset[0]
        if args.dataset == 'DB15K':  # its validation split is our own
            self.data = merge_val(self.data)
        self.sizes = dataset.num_entities, dataset.num_relations
        out = Path(args.out or f'results/modalities/{args.dataset}.json')
        chosen = self.settings.fit.eval_every
        protocol = {
            'dataset': args.dataset,
            'fingerprint': fingerprint(self.data),
            'coverage': dataset.coverage(),
            'text': text,
            'filter': 'train + val + test',
            'ties': 'realistic',
            'selection': 'validation MRR' if chosen else 'last epoch',
            'settings': asdict(self.settings),
        }
        self.report = Report(out, protocol, args.device)

    def record(
        self, name: str, seed: int, scorer: Scorer, **more: Any
    ) -> None:
        """Rank test, add a row, write the report."""
        ranking = evaluate(scorer, self.data, device=self.args.device)
        self.report.add(name, seed, {'test': ranking.metrics(), **more})
        print(f'seed {seed}  {name:40s} {ranking}', flush=True)

    def fresh(self, seed: int) -> nn.ComplEx:
        """An untrained structure-only model."""
        torch.manual_seed(seed + 1)
        table = nn.EntityEmbedding(self.sizes[0], self.settings.channels)
        return nn.ComplEx(table, self.sizes[1])


def countries_settings(args: argparse.Namespace) -> Settings:
    """As in examples/train_dsom.py."""
    loop = FitConfig(
        epochs=args.epochs or 25,
        batch_size=100,
        eval_every=5,
        device=args.device,
    )
    distill = DistillConfig(n3=0.15, gamma=6)
    return Settings(args.channels or 64, 0.15, 0.15, 0.01, distill, loop)


def benchmark_settings(args: argparse.Namespace) -> Settings:
    """As in benchmarks/db15k.py; not tuned for the other benchmarks."""
    loop = FitConfig(epochs=args.epochs or 12, device=args.device)
    distill = DistillConfig()
    return Settings(args.channels or 256, 0.05, 0.01, 0.01, distill, loop)


def plain(bench: Bench, seed: int) -> None:
    """Plain ComplEx-N3: structure only."""
    if bench.report.done('structure only', seed):
        return
    bench.settings.fit.seed = seed
    model = bench.fresh(seed)
    task = ModelTask(model, bench.settings.plain_n3, 'structure only')
    result = fit(task, bench.data, bench.settings.fit)
    bench.record('structure only', seed, model, seconds=result.seconds)


def compare(
    bench: Bench, label: str, data: HeteroData, names: list[str], seed: int
) -> None:
    """The mean of these teachers, and the student that learns from it."""
    if bench.report.done(f'{label}: student', seed):
        return
    s = bench.settings
    s.fit.seed = seed
    torch.manual_seed(seed)
    ensemble = nn.TeacherEnsemble.from_features(
        {name: pool_features(data, name) for name in names},
        *bench.sizes,
        s.channels,
    )
    n3 = dict.fromkeys(ensemble.modalities, s.feature_n3)
    n3['structure'] = s.structure_n3
    first = fit(TeachersTask(ensemble, n3), data, s.fit)
    mean = nn.MeanCombiner(mask_missing=True)
    if len(names) == 1 and not bench.report.done(f'{names[0]} alone', seed):
        bench.record(f'{names[0]} alone', seed, ensemble[names[0]])
    teachers = nn.CombinedTeachers(ensemble, mean)
    bench.record(f'{label}: teachers', seed, teachers, seconds=first.seconds)
    student = bench.fresh(seed)
    task = DistillTask(student, ensemble, mean, s.distill)
    second = fit(task, data, s.fit)
    bench.record(f'{label}: student', seed, student, seconds=second.seconds)


def main() -> None:
    """Measure all sets of modalities of a dataset."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='Countries')
    parser.add_argument('--root', type=Path)
    parser.add_argument('--text-model')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--channels', type=int)
    parser.add_argument('--missing', action='store_true')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path)
    bench = Bench(parser.parse_args())
    names = modalities(bench.data)
    sets = [[name] for name in names] + ([names] if len(names) > 1 else [])
    for seed in range(bench.args.seeds):
        plain(bench, seed)
        for group in sets:
            label = ' + '.join(['structure', *group])
            compare(bench, label, bench.data, group, seed)
        for rate in RATES if bench.args.missing else ():
            smaller = bench.data
            for at, name in enumerate(names):
                smaller = drop_modality(smaller, name, rate, seed + 100 * at)
            label = f'all, {rate:.0%} missing'
            compare(bench, label, smaller, names, seed)


if __name__ == '__main__':
    main()
