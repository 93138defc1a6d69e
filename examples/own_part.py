"""Parts of your own: a text encoder, a model, and a recipe that uses them.

python examples/own_part.py --epochs 5
"""

import argparse
from dataclasses import replace
from functools import partial
from zlib import crc32

import torch
from torch import Tensor

from dsom_pyg import evaluate, recipes, train_dsom
from dsom_pyg.datasets import Countries
from dsom_pyg.models import Bilinear


class LetterTriples:
    """An encoder: a callable with a name and a width."""

    name = 'letter-triples-256'
    out_channels = 256

    def __call__(self, items: list[str]) -> Tensor:
        """How often each hashed run of three letters occurs."""
        rows = torch.zeros(len(items), self.out_channels)
        for row, item in zip(rows, items, strict=True):
            text = f'  {item} '.lower().encode()
            for at in range(len(text) - 2):
                row[crc32(text[at : at + 3]) % self.out_channels] += 1
        return torch.nn.functional.normalize(rows)


class Analogy(Bilinear):
    """A model: half its coordinates as in DistMult, half as in ComplEx."""

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        """What rows of tails are multiplied with."""
        (a, b, c, d), (w, x, y, z) = head.chunk(4, -1), rel.chunk(4, -1)
        return torch.cat([a * w, b * x - d * z, c * y, b * z + d * x], -1)


def main() -> None:
    """Train with these parts, and rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--epochs', type=int, default=25)
    args = parser.parse_args()
    data = Countries(text_encoder=LetterTriples())[0]
    recipe = recipes.small(epochs=args.epochs)
    model = partial(Analogy, n3=0.05)
    teachers = replace(recipe.teachers, structure=model, feature=model)
    student = replace(recipe.student, model=model)
    recipe = replace(recipe, teachers=teachers, student=student)
    print(evaluate(train_dsom(data, recipe).student, data))


if __name__ == '__main__':
    main()
