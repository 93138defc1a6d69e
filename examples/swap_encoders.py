"""One teacher for each encoder of texts or images, on the bundled graph.

    python examples/swap_encoders.py                       # needs no download
    python examples/swap_encoders.py --text-encoder bert sbert letters
    python examples/swap_encoders.py --image-encoder vit --image-model FOLDER

Names stand for classes of ``dsom_pyg.encoders``, but for ``letters``, which is
written here. Each teacher sees one modality alone and is trained for a few
epochs; its rank on validation says which features are worth more.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from dsom_pyg import encoders
from dsom_pyg.datasets import Countries
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import pool_features
from dsom_pyg.nn import ComplEx, FeatureProjection
from dsom_pyg.training import FitConfig, ModelTask, fit


class LetterTriples:
    """An encoder of one's own: any callable with these two attributes."""

    name = 'letter-triples-256'
    out_channels = 256

    def __call__(self, items: Sequence[Any]) -> Tensor:
        rows = []
        for item in items:
            text = f'  {item} '.lower().encode()
            runs = [crc32(text[at : at + 3]) for at in range(len(text) - 2)]
            columns = torch.tensor(runs) % self.out_channels
            rows.append(columns.bincount(minlength=self.out_channels))
        return torch.nn.functional.normalize(torch.stack(rows).float())


# By modality and name: makes an encoder from [model] or from nothing.
ENCODERS: dict[str, dict[str, Callable[..., Any]]] = {
    'text': {
        'letters': lambda *model, **where: LetterTriples(),
        'tfidf': lambda *model, **where: encoders.TfidfText(),
        'bert': encoders.BERT,
        'sbert': encoders.SBERT,
        'clip': partial(encoders.CLIP, tower='text'),
    },
    'image': {
        'statistics': lambda *model, **where: encoders.ImageStatistics(),
        'vit': encoders.ViT,
        'clip': encoders.CLIP,
    },
}


def try_out(args: Namespace, modality: str, encoder: Any) -> None:
    """Train a teacher on these features alone, and print its rank."""
    use: dict[str, Any] = {f'{name}_encoder': None for name in ENCODERS}
    dataset = Countries(**{**use, f'{modality}_encoder': encoder})
    data = dataset[0]
    features = FeatureProjection(*pool_features(data, modality), 64)
    teacher = ComplEx(features, dataset.num_relations)
    config = FitConfig(epochs=args.epochs, device=args.device, progress=False)
    fit(ModelTask(teacher, name=modality), data, config)
    result = evaluate(teacher, data, split='val', device=args.device)
    shape = list(data[modality].x.shape)
    print(f'{modality:6s}{encoder.name:44s}{shape!s:12s} {result}')


def main() -> None:
    """Try out every encoder asked for."""
    parser = ArgumentParser(description=__doc__)
    for modality, names in ENCODERS.items():
        flag = f'--{modality}-encoder'
        parser.add_argument(flag, nargs='+', choices=names, default=[])
        parser.add_argument(f'--{modality}-model', help='folder or hub name')
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.manual_seed(0)
    chosen = {name: vars(args)[f'{name}_encoder'] for name in ENCODERS}
    if not any(chosen.values()):
        chosen = {'text': ['letters', 'tfidf'], 'image': ['statistics']}
    for modality, names in chosen.items():
        given = vars(args)[f'{modality}_model']
        model = [given] if given else []
        for name in names:
            encoder = ENCODERS[modality][name](*model, device=args.device)
            try_out(args, modality, encoder)


if __name__ == '__main__':
    main()
