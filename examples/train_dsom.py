"""Train DSoM on the bundled graph, and print what each part is worth.

    python examples/train_dsom.py

Epochs are chosen on validation; test is read once, for the table.
"""

import argparse
from pathlib import Path

import torch

from dsom_pyg import KG, evaluate, recipes, train_dsom
from dsom_pyg.datasets import Countries
from dsom_pyg.models import EntityEmbedding
from dsom_pyg.training import ModelTask, fit


def main() -> None:
    """Train a plain model, the teachers and the student; rank them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=25)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--folder', type=Path, help='keep the run here')
    args = parser.parse_args()
    graph = KG(Countries()[0])
    print(graph)
    recipe = recipes.small(
        epochs=args.epochs, seed=args.seed, device=args.device
    )

    # What there is without teachers: the structure alone, by ComplEx-N3.
    torch.manual_seed(args.seed)
    table = EntityEmbedding(graph.num_entities, recipe.student.channels)
    plain = recipe.teachers.structure(table, graph.num_relations)
    task = ModelTask(plain, 'plain ComplEx-N3')
    loop = recipe.teachers.loop
    fit(task, graph, loop, seed=args.seed, device=args.device)

    trained = train_dsom(graph, recipe, args.folder)
    scorers = {
        'plain ComplEx-N3': plain,
        **{f'teacher: {m}': t for m, t in trained.ensemble.teachers.items()},
        'teachers by the policy': trained.teachers,
        'student': trained.student,
    }
    for name, scorer in scorers.items():
        print(f'{name:24s} {evaluate(scorer, graph, device=args.device)}')


if __name__ == '__main__':
    main()
