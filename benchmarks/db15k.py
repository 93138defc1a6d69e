"""DB15K with texts: every student beside its teachers, in stages.

    python benchmarks/db15k.py --root datasets/DB15K --text-model MODEL

MODEL is a sentence-transformers name or folder; the committed figures use
all-MiniLM-L6-v2. All settings are given beforehand (the defaults below),
nothing is chosen here: the last epoch is taken, and test is read once, for
the table. Each stage writes its rows to ``--out`` when it is done and is
skipped when its rows are there already; trained models lie in ``--models``.
Both belong to one protocol; another one is refused.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from protocol import commit, machine
from torch import nn
from torch_geometric.data import HeteroData

from dsom_pyg.datasets import DB15K
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import (
    fingerprint,
    get_split,
    hold_out,
    make_data,
    merge_val,
    num_entities,
    num_relations,
    pool_features,
)
from dsom_pyg.losses import mean_advantage
from dsom_pyg.nn import (
    CombinedTeachers,
    Combiner,
    ComplEx,
    EntityEmbedding,
    MeanCombiner,
    ReinforcedCombiner,
    TeacherEnsemble,
)
from dsom_pyg.training import (
    DistillConfig,
    DistillTask,
    FitConfig,
    FitResult,
    ModelTask,
    PolicyTask,
    fit,
)
from dsom_pyg.training.checkpoint import load_checkpoint, save_checkpoint


class Bench:
    """The graph, the settings, and the results so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        encoder = SBERT(args.text_model)
        # The split is only named here: fixed settings need no validation,
        # so the held-out part goes back into train.
        dataset = DB15K(args.root, split='clean', text_encoder=encoder)
        self.data: HeteroData = merge_val(dataset[0])
        self.features = {'text': pool_features(self.data, 'text')}
        self.sizes = num_entities(self.data), num_relations(self.data)
        self.out = Path(args.out)
        self.commit = commit()
        protocol = {
            'command': 'python benchmarks/db15k.py --root datasets/DB15K '
            '--text-model all-MiniLM-L6-v2',
            'dataset': 'DB15K, all 79,222 training triples',
            'fingerprint': fingerprint(self.data),
            'text': f'entity name and Wikidata description, {encoder.name}',
            'filter': 'train + val + test, known triples of the '
            'distributed validation split included',
            'ties': 'realistic',
            'selection': 'none in this run: settings given, last epoch',
            'hidden_channels': args.hidden_channels,
            'seed': args.seed,
            'fold_epochs': args.fold_epochs,
            'policy_epochs': args.policy_epochs,
            'machine': machine(args.device),
            'fit': asdict(self.config()),
        }
        self.report: dict[str, Any] = {'protocol': protocol, 'rows': {}}
        if self.out.exists():
            self.report = json.loads(self.out.read_text())
            if self.report['protocol'] != protocol:
                raise SystemExit(
                    f'{self.out} was measured under another protocol, choose '
                    f'another --out and --models:\n{self.report["protocol"]}'
                    f'\n{protocol}'
                )

    def config(self, epochs: int | None = None) -> FitConfig:
        """Settings of every fit."""
        return FitConfig(
            epochs=epochs or self.args.epochs,
            seed=self.args.seed,
            device=self.args.device,
            progress=self.args.progress,
        )

    def student(self) -> ComplEx:
        """A fresh structure-only model."""
        torch.manual_seed(self.args.seed + 1)
        entities, relations = self.sizes
        table = EntityEmbedding(entities, self.args.hidden_channels)
        return ComplEx(table, relations)

    def ensemble(self, names: list[str]) -> TeacherEnsemble:
        """Fresh teachers."""
        torch.manual_seed(self.args.seed)
        return TeacherEnsemble.from_features(
            {name: self.features[name] for name in names},
            *self.sizes,
            self.args.hidden_channels,
        )

    def add_noise(self) -> None:
        """A further modality of pure noise, as wide as the text."""
        x = self.features['text'][0]
        generator = torch.Generator().manual_seed(7)
        noise = torch.randn(x.shape, generator=generator)
        noise /= noise.norm(dim=1, keepdim=True)
        present = torch.ones(x.size(0), dtype=torch.bool)
        self.features['noise'] = (noise, present)

    def record(
        self, name: str, scorer: Scorer, result: FitResult | None, **more: Any
    ) -> None:
        """Rank test, add a row, write the report."""
        start = time.perf_counter()
        ranking = evaluate(scorer, self.data, device=self.args.device)
        row: dict[str, Any] = {
            'test': ranking.metrics(),
            'rank_seconds': time.perf_counter() - start,
            'commit': self.commit,
            **more,
        }
        if result is not None:
            row['epochs'] = len(result.history)
            row['seconds'] = result.seconds
            row['history'] = result.history
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row['peak_gib_of_the_process_so_far'] = peak / 2**20
        self.report['rows'][name] = row
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.report, indent=1) + '\n')
        print(f'{name:40s} {ranking}', flush=True)

    def done(self, name: str) -> bool:
        """Whether the report has this row."""
        return name in self.report['rows']

    def trained(
        self,
        name: str,
        module: nn.Module,
        train: Callable[[], FitResult],
    ) -> FitResult:
        """Train a module, or load it from an earlier run."""
        path = Path(self.args.models) / f'{name}.safetensors'
        expect = {'protocol': self.report['protocol']}
        if path.exists():
            meta = load_checkpoint(path, {name: module}, expect)
            return FitResult(**meta['result'])
        result = train()
        meta = {**expect, 'result': asdict(result)}
        save_checkpoint(path, {name: module}, meta)
        return result


def plain(bench: Bench) -> None:
    """Plain ComplEx-N3, the comparator beside every table."""
    if bench.done('complex-n3'):
        return
    model = bench.student()
    task = ModelTask(model, n3=0.05, name='complex-n3')
    result = fit(task, bench.data, bench.config())
    count = sum(p.numel() for p in model.parameters())
    bench.record('complex-n3', model, result, n3=0.05, parameters=count)


def teachers(bench: Bench, names: list[str]) -> TeacherEnsemble:
    """Teachers on all of train, one by one, each from its own file."""
    ensemble = bench.ensemble(names)
    for modality in ensemble.modalities:
        task = ModelTask(ensemble[modality], n3=0.01, name=modality)

        def train(task: ModelTask = task) -> FitResult:
            return fit(task, bench.data, bench.config())

        name = f'teacher-{modality}'
        result = bench.trained(name, ensemble[modality], train)
        if not bench.done(name):
            bench.record(name, ensemble[modality], result, n3=0.01)
    return ensemble


def held_out_teachers(
    bench: Bench, names: list[str]
) -> tuple[TeacherEnsemble, HeteroData]:
    """Teachers that never saw 5 % of train, and a graph of that part."""
    rest, taken = hold_out(bench.data, 0.05, seed=1)
    ensemble = bench.ensemble(names)
    for modality in ensemble.modalities:
        task = ModelTask(ensemble[modality], n3=0.01, name=f'{modality}-95')

        def train(task: ModelTask = task) -> FitResult:
            return fit(task, rest, bench.config(bench.args.fold_epochs))

        bench.trained(f'fold-{modality}', ensemble[modality], train)
    return ensemble, make_data(*bench.sizes, taken)


def distill(
    bench: Bench,
    name: str,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
    **more: Any,
) -> None:
    """A student of these teachers, and the teachers' combination itself."""
    config = DistillConfig()
    student = bench.student()
    task = DistillTask(student, ensemble, combiner, config)
    result = fit(task, bench.data, bench.config())
    if isinstance(combiner, ReinforcedCombiner):
        more['strategies'] = combiner.strategies(ensemble.modalities)
        combined = CombinedTeachers(ensemble, combiner.eval())
        bench.record(f'{name}: teachers at test time', combined, None)
    more['distill'] = asdict(config)
    bench.record(f'{name}: student', student, result, **more)


def held_out_policy(
    bench: Bench, ensemble: TeacherEnsemble, more: dict[str, Any]
) -> ReinforcedCombiner:
    """A policy rewarded on triples that its teachers never saw."""
    seen, taken = held_out_teachers(bench, ensemble.modalities[1:])
    policy = ReinforcedCombiner.for_ensemble(seen, advantage=mean_advantage)
    result = fit(
        PolicyTask(seen, policy), taken, bench.config(bench.args.policy_epochs)
    )
    policy.transfer(seen, ensemble)
    more['held_out_triples'] = get_split(taken, 'train').edge_type.numel()
    more['policy_history'] = result.history
    return policy.requires_grad_(False)


def main() -> None:
    """Run the stages that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--root', default='datasets/DB15K')
    parser.add_argument('--text-model', required=True)
    parser.add_argument('--hidden-channels', type=int, default=256)
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--fold-epochs', type=int, default=8)
    parser.add_argument('--policy-epochs', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', default='results/db15k_text.json')
    parser.add_argument('--models', default='results/models')
    parser.add_argument('--noise', action='store_true')
    parser.add_argument('--progress', action='store_true', default=None)
    bench = Bench(parser.parse_args())
    two = teachers(bench, ['text'])
    if not bench.done('mean: teachers at test time'):
        mean = CombinedTeachers(two, MeanCombiner())
        bench.record('mean: teachers at test time', mean, None)
    plain(bench)
    compare(bench, two, '')
    if bench.args.noise:
        bench.add_noise()
        three = teachers(bench, ['text', 'noise'])
        compare(bench, three, 'with noise, ')


def compare(bench: Bench, ensemble: TeacherEnsemble, prefix: str) -> None:
    """Students of the mean, of the paper's policy, of the held-out one."""
    name = f'{prefix}reinforced, as the paper writes it'
    if not bench.done(f'{name}: student'):
        torch.manual_seed(bench.args.seed + 2)
        policy = ReinforcedCombiner.for_ensemble(ensemble)
        distill(bench, name, ensemble, policy)
    name = f'{prefix}reinforced, reward held out'
    if not bench.done(f'{name}: student'):
        torch.manual_seed(bench.args.seed + 2)
        more: dict[str, Any] = {}
        policy = held_out_policy(bench, ensemble, more)
        distill(bench, name, ensemble, policy, **more)
    name = f'{prefix}mean'
    if not bench.done(f'{name}: student'):
        distill(bench, name, ensemble, MeanCombiner())


if __name__ == '__main__':
    main()
