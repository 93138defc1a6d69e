"""Whether the library still computes what release 0.1.0 computed.

    python experiments/unchanged.py --out before.json            # at 0.1.0
    python experiments/unchanged.py --against before.json        # now

On one machine, in one thread, these must be equal to the last bit:
the fingerprint and names of every dataset; all weights that the default
recipe trains on DB15K (texts by TF-IDF, seed 0, two epochs a stage); the
table of Countries that 0.1.0 printed for `make train`. The script runs with
both releases, and holds the old way to say each thing beside the new one.

On two cores all of it takes hours. `--every 16` trains on one in sixteen of
the triples of DB15K, `--unlabeled` draws fewer queries there, and `--epochs`
is that of Countries.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

import dsom_pyg
from dsom_pyg import datasets
from dsom_pyg.encoders import TfidfText
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import fingerprint, get_split, set_split

OLD = dsom_pyg.__version__ == '0.1.0'
BENCHMARKS = ('DB15K', 'MKG_W', 'MKG_Y', 'FB15k_237', 'WN18', 'WN9')
# Of Countries, as 0.1.0 trained it: batches, D, epochs between looks.
BATCH, CHANNELS, EVERY = 100, 64, 5


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 of the bytes of a tensor."""
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()[:16]


def weights(prefix: str, module: torch.nn.Module) -> dict[str, str]:
    """A digest of every parameter and kept buffer of a module."""
    state = module.state_dict()
    return {f'{prefix}.{name}': digest(value) for name, value in state.items()}


def features(data: Any) -> dict[str, str]:
    """A digest of the features of each modality."""
    names = (name for name in data.node_types if 'x' in data[name])
    return {f'features of {name}': digest(data[name].x) for name in names}


def fingerprints(root: Path) -> dict[str, Any]:
    """What each dataset is, split by split, and what things are called."""
    found = {}
    for name in ('Countries', 'FakeMMKG', *BENCHMARKS):
        kind = getattr(datasets, name)
        bundled = name in ('Countries', 'FakeMMKG')
        dataset = kind() if bundled else kind(root / name)
        names = [dataset.entity_names, dataset.relation_names]
        text = json.dumps(names, ensure_ascii=False)
        raw = text.encode('utf-8', 'surrogatepass')
        found[name] = {
            'graph': fingerprint(dataset[0]),
            'names': hashlib.sha256(raw).hexdigest(),
        }
    return found


def recipe_on_db15k(root: Path, every: int, unlabeled: int) -> dict[str, str]:
    """All weights of the default recipe after two epochs a stage; what is
    interrupted goes on.
    """
    runs = root / f'runs-{dsom_pyg.__version__}-{every}-{unlabeled}'
    dataset = datasets.DB15K(root / 'tfidf', text_encoder=TfidfText())
    data = dataset[0]
    train = get_split(data, 'train')
    thin = torch.arange(0, train.edge_type.numel(), every)
    set_split(data, 'train', train.select(thin))
    if OLD:
        from dsom_pyg.training import RecipeConfig, train_dsom

        given = RecipeConfig()
        config = replace(
            given,
            weight_epochs=2,
            policy_epochs=2,
            unlabeled=unlabeled,
            teachers=replace(given.teachers, epochs=2),
            student=replace(given.student_loop(), epochs=2),
        )
        trained = train_dsom(data, config, runs)
    else:
        from dsom_pyg import Recipe, train_dsom
        from dsom_pyg.policies import ByRelation, HeldOut, RewardedPolicy
        from dsom_pyg.stages import (
            DECAYING_ADAM,
            Student,
            Teachers,
            Unlabeled,
        )

        loop = replace(DECAYING_ADAM, epochs=2)
        learner = RewardedPolicy(base=ByRelation(epochs=2), epochs=2)
        recipe = Recipe(
            teachers=Teachers(loop=loop),
            policy=HeldOut(learner=learner),
            student=Student(loop=loop, unlabeled=Unlabeled(unlabeled)),
        )
        trained = train_dsom(data, recipe, runs)
    return {
        **features(data),
        **weights('teachers', trained.ensemble),
        **weights('policy', trained.policy),
        **weights('student', trained.student),
    }


def countries(root: Path, epochs: int) -> dict[str, Any]:
    """The table that `make train` printed, test metrics by model."""
    # Not those of the user's cache: other threads may have made them.
    dataset = datasets.Countries(root / 'Countries', force_reload=True)
    data = dataset[0]
    made = old_countries if OLD else new_countries
    return {**features(data), **made(data, epochs)}


def old_countries(data: Any, epochs: int) -> dict[str, dict[str, float]]:
    """By the code of `examples/train_dsom.py` of 0.1.0."""
    from types import SimpleNamespace

    sys.path.insert(0, 'examples')
    import train_dsom as example

    args = SimpleNamespace(
        epochs=epochs,
        channels=CHANNELS,
        batch_size=BATCH,
        n3=0.15,
        feature_n3=0.01,
        gamma=6.0,
        student_n3=0.05,
        folds=4,
        device='cpu',
        save=None,
    )
    return example.train(args, [data], 0)


def new_countries(data: Any, epochs: int) -> dict[str, dict[str, float]]:
    """The same models in the same order of draws."""
    from dsom_pyg import KG, recipes, train_dsom
    from dsom_pyg.models import ComplEx, EntityEmbedding
    from dsom_pyg.teachers import (
        EnsembleScorer,
        Mean,
        TeacherEnsemble,
        paper_policy,
    )
    from dsom_pyg.training import (
        Distill,
        DistillTask,
        Loop,
        ModelTask,
        TeachersTask,
        fit,
    )

    graph, scores = KG(data), {}
    sizes = graph.num_entities, graph.num_relations
    loop = Loop(epochs=epochs, batch_size=BATCH, eval_every=EVERY)
    complex_n3 = partial(ComplEx, n3=0.15)
    feature = partial(ComplEx, n3=0.01)

    def report(name: str, scorer: Any) -> None:
        scores[name] = evaluate(scorer, graph).metrics()
        print(f'  {name:30s} {scores[name]["mrr"]:.2f}', flush=True)

    def fresh() -> ComplEx:
        return complex_n3(EntityEmbedding(sizes[0], CHANNELS), sizes[1])

    torch.manual_seed(0)
    plain = fresh()
    fit(ModelTask(plain), graph, loop)
    report('plain ComplEx-N3', plain)
    teachers = TeacherEnsemble.from_features(
        graph.features, *sizes, CHANNELS, complex_n3, feature
    )
    fit(TeachersTask(teachers), graph, loop)
    for name in teachers.modalities:
        report(f'teacher: {name}', teachers[name])
    mean = Mean(mask_missing=True)
    report('mean of the teachers', EnsembleScorer(teachers, mean))
    combiners = {
        'mean': mean,
        "paper's policy": paper_policy(teachers, mask_missing=True),
    }
    for name, combiner in combiners.items():
        student = fresh()
        fit(
            DistillTask(student, teachers, combiner, Distill(gamma=6.0)),
            graph,
            loop,
        )
        if name != 'mean':
            report(f'teachers by {name}', EnsembleScorer(teachers, combiner))
        report(f'student of {name}', student)
    trained = train_dsom(graph, recipes.tiny(CHANNELS, epochs))
    report('teacher: joint', trained.ensemble['joint'])
    report('teachers by held-out policy', trained.teachers)
    report('student of held-out policy', trained.student)
    return scores


def differences(before: Any, now: Any, path: str = '') -> list[str]:
    """Where two nested results differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted({*before, *now})
            for line in differences(
                before.get(key), now.get(key), f'{path}/{key}'
            )
        ]
    return [] if before == now else [f'{path}: {before} before, {now} now']


def main() -> None:
    """Measure, write, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--root', type=Path, default=Path('datasets/unchanged')
    )
    parser.add_argument('--epochs', type=int, default=25, help='of Countries')
    parser.add_argument('--every', type=int, default=1, help='of DB15K')
    parser.add_argument('--unlabeled', type=int, default=250_000)
    parser.add_argument('--out', type=Path, help='write what was measured')
    parser.add_argument('--against', type=Path, help='compare with this file')
    parts = {
        'fingerprints': lambda: fingerprints(args.root),
        'countries': lambda: countries(args.root, args.epochs),
        'db15k': lambda: recipe_on_db15k(
            args.root, args.every, args.unlabeled
        ),
    }
    parser.add_argument('--only', action='append', choices=parts)
    args = parser.parse_args()
    # Sums that several threads add up to are in no fixed order. The second
    # line is for the features that scikit-learn makes.
    torch.set_num_threads(1)
    threadpool_limits(1)
    before = json.loads(args.against.read_text()) if args.against else None
    found: dict[str, Any] = {
        'version': dsom_pyg.__version__,
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        'command': ' '.join(sys.argv),
    }
    different = 0
    for name in args.only or parts:
        found[name] = parts[name]()
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + '\n')
        if before is not None:
            lines = differences(before[name], found[name])
            different += len(lines)
            print(f'{name}: {"equal" if not lines else "DIFFERENT"}')
            print('\n'.join(lines))
    sys.exit(bool(different))


if __name__ == '__main__':
    main()
