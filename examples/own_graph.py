"""From a folder of your own to answers with names.

    python examples/own_graph.py FOLDER --query "Norway" "capital"

Prints what is wrong with the data, trains, answers with new tails, and goes on
from FOLDER/runs if it was interrupted.
"""

import argparse
from pathlib import Path

import torch

from dsom_pyg import KG, evaluate, predict_tails, recipes, train_dsom
from dsom_pyg.audit import audit
from dsom_pyg.datasets import MKGFolder
from dsom_pyg.encoders import SBERT, ImageStatistics, TfidfText


def main() -> None:
    """Audit, train, answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--query', nargs=2)
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--epochs', type=int, default=25)
    parser.add_argument('--channels', type=int, default=64)
    args = parser.parse_args()
    text = SBERT(args.text_model) if args.text_model else TfidfText()
    has = MKGFolder(args.folder).coverage()
    dataset = MKGFolder(
        args.folder,
        image_encoder=ImageStatistics() if has['image'] else None,
        text_encoder=text if has['text'] else None,
    )
    print(audit(dataset, images=False))
    query = dataset.find(*args.query) if args.query else None
    view = KG(dataset[0])
    looks = 5 if len(view.triples('val').edge_type) else 0
    recipe = recipes.small(args.channels, args.epochs, 2, looks)
    run = f'runs/{view.fingerprint[:8]}-D{args.channels}-{args.epochs}'
    trained = train_dsom(view, recipe, args.folder / run)
    if len(view.triples('test').edge_type):
        print(f'\ntest: {evaluate(trained.student, view)}')
    if query:
        head, rel = torch.tensor(query)[:, None]
        known = view.index('train', 'val', 'test')
        best = predict_tails(trained.student, head, rel, 10, known)
        print(f'\n{" | ".join(args.query)} | ?   (without known answers)')
        for score, tail in zip(
            *(column[0].tolist() for column in best), strict=True
        ):
            if tail >= 0:
                print(f'{score:8.2f}  {dataset.entity_names[tail]}')


if __name__ == '__main__':
    main()
