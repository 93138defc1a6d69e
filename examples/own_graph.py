"""From a folder of one's own to answers with names.

    python examples/own_graph.py FOLDER --query "Norway" "capital"

``MKGFolder`` says what FOLDER holds. Prints what is wrong with the data,
trains DSoM (`dsom_pyg.training.train_dsom`), and answers with the best tails
that are not known yet. Run again after an interruption, it goes on where it
was: features that were encoded and epochs that were trained are kept in
FOLDER.
"""

import argparse
import hashlib
from pathlib import Path

import torch

from dsom_pyg import graph, nn, training
from dsom_pyg.datasets.audit import audit
from dsom_pyg.datasets.folder import MKGFolder
from dsom_pyg.datasets.reading import unknown_name
from dsom_pyg.encoders import SBERT, ImageStatistics, TfidfText, ViT
from dsom_pyg.evaluation import evaluate, predict_tails


def load(args: argparse.Namespace) -> MKGFolder:
    """The folder with features of the modalities it has."""
    have = MKGFolder(args.folder).coverage()
    image = ViT(args.image_model) if args.image_model else ImageStatistics()
    text = SBERT(args.text_model) if args.text_model else TfidfText()
    return MKGFolder(
        args.folder,
        image_encoder=image if have['image'] else None,
        text_encoder=text if have['text'] else None,
    )


def train(args: argparse.Namespace, dataset: MKGFolder) -> nn.ComplEx:
    """Teachers, a policy, and a student of those that the policy picks."""
    data = dataset[0]
    every = 5 if len(graph.get_split(data, 'val').edge_type) else 0
    loop = training.FitConfig(
        epochs=args.epochs, batch_size=args.batch_size, eval_every=every
    )
    config = training.RecipeConfig(
        hidden_channels=args.channels,
        n3=0.15,
        folds=2,
        unlabeled=20_000,
        warm_start=True,
        teachers=loop,
        student=loop,
        distill=training.DistillConfig(n3=0.05, tau=2.0, gamma=4.0),
    )
    # Interrupted, the next run of this script goes on from these files; with
    # other data or settings it begins anew.
    chosen = {k: v for k, v in vars(args).items() if k not in ('query',)}
    chosen['config'] = repr(config)
    names = graph.modalities(data)
    sums = [float(graph.pool_features(data, name)[0].sum()) for name in names]
    key = repr((graph.fingerprint(data), sorted(chosen.items()), sums))
    digest = hashlib.sha256(key.encode()).hexdigest()[:10]
    runs = args.folder / 'runs' / digest
    return training.train_dsom(data, config, runs).student


def find(dataset: MKGFolder, head: str, rel: str) -> list[torch.Tensor]:
    """Ids of a head and a relation, by name or label."""
    out = []
    for name, names, keys, what in (
        (head, dataset.entity_names, dataset.entity_keys, 'entity'),
        (rel, dataset.relation_names, dataset.relation_keys, 'relation'),
    ):
        ids = {each: at for at, each in enumerate(names)}
        ids |= {each: at for at, each in enumerate(keys)}
        if name not in ids:
            raise SystemExit(unknown_name(name, ids, what))
        out.append(torch.tensor([ids[name]]))
    return out


def main() -> None:
    """Audit, train, answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--query', nargs=2, metavar=('HEAD', 'RELATION'))
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--image-model', help='for ViT, a name or a folder')
    parser.add_argument('--epochs', type=int, default=25)
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--batch-size', type=int, default=100)
    args = parser.parse_args()
    dataset = load(args)
    print(audit(dataset, images=False))
    # Before training, which would be in vain for an unknown name.
    query = find(dataset, *args.query) if args.query else []
    torch.manual_seed(0)
    student, data = train(args, dataset), dataset[0]
    if len(graph.get_split(data, 'test').edge_type):
        print(f'\ntest: {evaluate(student, data)}')
    if query:
        known, size = graph.known_triples(data), dataset.num_relations
        scores, tails = predict_tails(student, *query, 10, known, size)
        print(f'\n{" | ".join(args.query)} | ?   (without known answers)')
        for score, tail in zip(scores[0], tails[0], strict=True):
            if tail >= 0:
                print(f'{score:8.2f}  {dataset.entity_names[int(tail)]}')


if __name__ == '__main__':
    main()
