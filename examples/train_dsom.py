"""Train DSoM and what it is compared with, on one graph.

    python examples/train_dsom.py                    # the bundled Countries
    python examples/train_dsom.py --dataset DB15K --text-model MODEL

For every seed: plain ComplEx-N3, the teachers, and three students: of the
teachers' mean; of the policy as the paper rewards it, on training triples;
and by the recipe of this library, whose policy is rewarded on triples that
its teachers were not trained on (`dsom_pyg.training.train_dsom`). Epochs are
chosen on validation, as were the default settings (on Countries, seed 0);
test is read once, for the table.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

from dsom_pyg import datasets
from dsom_pyg.encoders import SBERT
from dsom_pyg.evaluation import Scorer, evaluate
from dsom_pyg.graph import (
    fingerprint,
    modalities,
    num_entities,
    num_relations,
    pool_features,
)
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
    ModelTask,
    RecipeConfig,
    TeachersTask,
    fit,
    train_dsom,
)
from dsom_pyg.training.checkpoint import save_checkpoint

Scores = dict[str, dict[str, float]]


def load(args: argparse.Namespace) -> datasets.MultimodalDataset:
    """The dataset by its class name, with features where asked for."""
    if args.dataset == 'Countries':
        return datasets.Countries()
    text = SBERT(args.text_model) if args.text_model else None
    root = args.root or Path('datasets') / args.dataset
    kind = getattr(datasets, args.dataset)
    dataset: datasets.MultimodalDataset = kind(root, text_encoder=text)
    return dataset


def train(
    args: argparse.Namespace, dataset: datasets.MultimodalDataset, seed: int
) -> Scores:
    """All models of one seed, with their test metrics."""
    data: HeteroData = dataset[0]
    torch.manual_seed(seed)
    sizes = num_entities(data), num_relations(data)
    config = FitConfig(
        epochs=args.epochs,
        batch_size=args.batch_size,
        eval_every=5,
        seed=seed,
        device=args.device,
    )
    scores: Scores = {}

    def report(name: str, scorer: Scorer) -> None:
        result = evaluate(scorer, data, device=args.device)
        scores[name] = result.metrics()
        print(f'  {name:30s} {result}', flush=True)

    def fresh() -> ComplEx:
        return ComplEx(EntityEmbedding(sizes[0], args.channels), sizes[1])

    plain = fresh()
    fit(ModelTask(plain, args.n3, 'plain ComplEx-N3'), data, config)
    report('plain ComplEx-N3', plain)

    features = {name: pool_features(data, name) for name in modalities(data)}
    teachers = TeacherEnsemble.from_features(features, *sizes, args.channels)
    n3 = dict.fromkeys(teachers.modalities, args.feature_n3)
    n3['structure'] = args.n3
    fit(TeachersTask(teachers, n3), data, config)
    for name in teachers.modalities:
        report(f'teacher: {name}', teachers[name])
    mean = MeanCombiner(mask_missing=True)
    report('mean of the teachers', CombinedTeachers(teachers, mean))

    combiners: dict[str, Combiner] = {
        'mean': mean,
        "paper's policy": ReinforcedCombiner.for_ensemble(
            teachers, mask_missing=True
        ),
    }
    for name, combiner in combiners.items():
        student = fresh()
        objective = DistillConfig(n3=args.n3, gamma=args.gamma)
        task = DistillTask(student, teachers, combiner, objective)
        fit(task, data, config)
        if name != 'mean':
            report(f'teachers by {name}', CombinedTeachers(teachers, combiner))
        report(f'student of {name}', student)

    trained = train_dsom(data, recipe(args, config))
    if 'joint' in trained.ensemble.modalities:
        report('teacher: joint', trained.ensemble['joint'])
    report('teachers by held-out policy', trained.combined(data))
    report('student of held-out policy', trained.student)
    if args.save:
        meta = {
            'seed': seed,
            'fingerprint': fingerprint(data),
            'hidden_channels': args.channels,
            'entity_names': dataset.entity_names,
            'relation_names': dataset.relation_names,
        }
        path = args.save / f'student-seed{seed}.safetensors'
        save_checkpoint(path, {'student': trained.student}, meta)
    return scores


def recipe(args: argparse.Namespace, config: FitConfig) -> RecipeConfig:
    """The settings of the policy rewarded on held-out triples."""
    return RecipeConfig(
        hidden_channels=args.channels,
        n3=args.n3,
        feature_n3=args.feature_n3,
        folds=args.folds,
        teachers=config,
        student=config,
        unlabeled=20_000,
        warm_start=True,
        distill=DistillConfig(n3=args.student_n3, tau=2.0, gamma=4.0),
    )


def main() -> None:
    """Train every seed and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='Countries')
    parser.add_argument('--root', type=Path)
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--epochs', type=int, default=25)
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--batch-size', type=int, default=100)
    parser.add_argument('--n3', type=float, default=0.15)
    parser.add_argument('--feature-n3', type=float, default=0.01)
    parser.add_argument('--gamma', type=float, default=6.0)
    parser.add_argument('--student-n3', type=float, default=0.05)
    parser.add_argument('--folds', type=int, default=4)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--save', type=Path, help='folder for the students')
    parser.add_argument('--out', type=Path, help='metrics of all, as JSON')
    args = parser.parse_args()
    dataset = load(args)
    print(f'{args.dataset}: {dataset[0]}')
    start = time.perf_counter()
    runs = []
    for seed in range(args.seeds):
        print(f'seed {seed}')
        runs.append(train(args, dataset, seed))
    print(f'\n{args.dataset}, test, {args.seeds} seeds, mean (deviation)')
    print(f'{"":30s}{"MRR":>14s}{"H@1":>8s}{"H@3":>8s}{"H@10":>8s}{"MR":>8s}')
    for name in runs[0]:
        mrr = [run[name]['mrr'] for run in runs]
        spread = f'{statistics.stdev(mrr):.2f}' if len(mrr) > 1 else '-'
        cells = [
            statistics.fmean(run[name][key] for run in runs)
            for key in ('hits@1', 'hits@3', 'hits@10', 'mr')
        ]
        print(
            f'{name:30s}{statistics.fmean(mrr):7.2f} {f"({spread})":6s}'
            + ''.join(f'{cell:8.2f}' for cell in cells)
        )
    seconds = time.perf_counter() - start
    print(f'{seconds:.0f} s')
    if args.out:
        report = {
            'settings': {k: str(v) for k, v in vars(args).items()},
            'fingerprint': fingerprint(dataset[0]),
            'protocol': 'filtered (train + val + test), realistic ties, '
            'epoch by validation MRR, test read once',
            'torch': torch.__version__,
            'threads': torch.get_num_threads(),
            'seconds': seconds,
            'test': runs,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
    main()
