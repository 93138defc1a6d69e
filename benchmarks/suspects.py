"""How many wrong facts are found among those that nobody believes.

    python -m benchmarks.suspects --dataset Countries --seeds 3 4 5
    python -m benchmarks.suspects --dataset DB15K --channels 64 --epochs 6

Of the training triples 2 % get another tail that their relation takes and that
makes no known triple. Then training triples are ranked by

- *judges*: :func:`~dsom_pyg.completion.judging.suspicion`, four folds; and the
  same without comparing within relations;
- *ComplEx-N3* and *text*: the teachers of structure and of texts that were
  trained on all of them, wrong ones as well, by the score of the triple, as
  tail and as head.

The form of the judgement was chosen on seeds 0 and 1 of Countries; figures are
of others. ``--epochs`` is for large graphs: so many of teachers and students.

``found`` is the share of the wrong ones among the first 2 %, which is
precision and recall at once; ``auc`` is the area under the ROC curve.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from dsom_pyg import recipes
from dsom_pyg.completion import Ranges
from dsom_pyg.completion.judging import beliefs
from dsom_pyg.completion.suspects import standardised
from dsom_pyg.dsom import Recipe
from dsom_pyg.graph import Triples, with_split
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from dsom_pyg.stages import fit_teachers
from dsom_pyg.training import Run
from experiments import record
from experiments.measure import Setting
from experiments.table import Row, Table

SHARE, FOLDS = 0.02, 4


def corrupted(graph: KG, seed: int) -> tuple[KG, Tensor]:
    """The graph with wrong training triples, and which these are, ``[T]``."""
    train = graph.triples('train')
    known = graph.index('train', 'val', 'test')
    ranges = Ranges(
        graph.index('train'), graph.num_entities, graph.num_relations
    )
    generator = torch.Generator().manual_seed(seed)
    size = len(train.edge_type)
    wanted = round(SHARE * size)
    edge_index = train.edge_index.clone()
    wrong = torch.zeros(size, dtype=torch.bool)
    for at in torch.randperm(size, generator=generator).tolist():
        if int(wrong.sum()) == wanted:
            break
        head, rel = train.head[at : at + 1], train.edge_type[at : at + 1]
        fits = ranges[int(rel)].clone()
        fits[known.lookup(head, rel).tail] = False
        fits[head] = False
        candidates = fits.nonzero()[:, 0]
        if len(candidates):
            drawn = torch.randint(len(candidates), (1,), generator=generator)
            edge_index[1, at] = candidates[drawn]
            wrong[at] = True
    noisy = Triples(edge_index, train.edge_type)
    return KG(with_split(graph.data, 'train', noisy)), wrong


@torch.no_grad()
def scores(model: Model, triples: Triples) -> Tensor:
    """Of triples, as tail and as head, ``[T]``."""
    head, rel, tail = triples.head, triples.edge_type, triples.tail
    turned = rel + model.num_relations
    model = model.cpu().eval()
    return model(head, rel, tail) + model(tail, turned, head)


def judged(belief: Tensor, wrong: Tensor) -> dict[str, float]:
    """What a ranking by belief finds."""
    first = belief.argsort()[: int(wrong.sum())]
    return {
        'found': float(wrong[first].float().mean()),
        'auc': float(roc_auc_score(wrong, -belief)),
    }


def recipe_for(graph: KG, channels: int | None, epochs: int | None) -> Recipe:
    """Of this size, and nobody looks at the validation split."""
    size = {} if channels is None else {'channels': channels}
    recipe = recipes.of_size(graph, **size)
    loop, learn = (
        replace(x.loop, eval_every=0, epochs=epochs or x.loop.epochs)
        for x in (recipe.teachers, recipe.student)
    )
    return replace(
        recipe,
        teachers=replace(recipe.teachers, loop=loop),
        student=replace(recipe.student, loop=learn),
    )


def measure(
    graph: KG, recipe: Recipe, seed: int, folder: Path | None
) -> dict[str, Any]:
    """One seed: of the corruption, and of all trainings."""
    noisy, wrong = corrupted(graph, seed)
    recipe = replace(recipe, seed=seed)
    train = noisy.triples('train')
    # Those of train come first.
    believed = beliefs(noisy, recipe, FOLDS, folder)[: len(wrong)]
    within = standardised(believed, train.edge_type)
    run = Run(graph=noisy, seed=seed, folder=folder)
    teachers = fit_teachers(run, recipe.teachers)
    return {
        'wrong': int(wrong.sum()),
        'judges': judged(within, wrong),
        'judges, over all relations': judged(believed, wrong),
        'ComplEx-N3': judged(scores(teachers['structure'], train), wrong),
        'text': judged(scores(teachers['text'], train), wrong),
    }


def main() -> None:
    """Measure some seeds, each written when it has ended."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='Countries')
    parser.add_argument('--seeds', type=int, nargs='+', default=[3, 4, 5])
    parser.add_argument('--channels', type=int)
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--folder', type=Path, help='for checkpoints')
    args = parser.parse_args()
    table = Table((args.dataset,), ())
    setting = Setting(
        name='suspects', table=table, dataset=args.dataset, root=args.root
    )
    row = Row('', recipes.small())
    graph = KG(setting.source(row)[0])
    recipe = recipe_for(graph, args.channels, args.epochs)
    measured: dict[str, Any] = {}
    for seed in args.seeds:
        folder = args.folder and args.folder / str(seed)
        measured[f'seed {seed}'] = measure(graph, recipe, seed, folder)
        settings = {
            'dataset': args.dataset,
            'fingerprint': graph.fingerprint,
            'features': setting.features(row),
            'wrong': SHARE,
            'folds': FOLDS,
            'channels': recipe.teachers.channels,
            'epochs': recipe.teachers.loop.epochs,
        }
        name = f'suspects-{args.dataset.lower()}'
        record.benchmark(name, settings, measured)


if __name__ == '__main__':
    main()
