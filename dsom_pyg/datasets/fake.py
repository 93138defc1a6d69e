"""A tiny graph for tests."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.datasets.base import MultimodalDataset, RawGraph
from dsom_pyg.datasets.text import to_triples
from dsom_pyg.graph import Triples, make_data


class _RandomFeatures:
    name, corpus_dependent = 'random', True

    def __init__(self, out_channels: int, seed: int) -> None:
        self.out_channels, self.seed = out_channels, seed

    def __call__(self, items: Sequence[object]) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(len(items), self.out_channels, generator=generator)


class FakeMMKG(MultimodalDataset):
    r"""A random graph with every awkward case, for tests.

    The last entity occurs in validation and test, but in no training triple.
    Entity 0 has two images, entity 1 no image, entity 2 no text, entity 3
    neither. Every other entity and every relation occurs in train, and the
    splits are disjoint; 10 % of the triples each go to validation and test.
    Nothing is written to disk, and the global random state is left alone.

    Shapes:
        - **data['text'].x:** :math:`(E - 2, 8)`
        - **data['image'].x:** :math:`(E - 1, 6)`
    """

    def __init__(
        self,
        num_entities: int = 20,
        num_relations: int = 4,
        num_triples: int = 100,
        seed: int = 0,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        if num_entities < 6 or not 1 <= num_relations < num_entities:
            raise ValueError(
                'need at least 6 entities and 1 to num_entities - 1 '
                f'relations, got {num_entities} and {num_relations}'
            )
        seen = num_entities - 1
        low, high = seen + 10, seen * (seen - 1) * num_relations
        if not low <= num_triples <= high:
            raise ValueError(
                f'num_triples must lie in {low}..{high} for {num_entities} '
                f'entities and {num_relations} relations, got {num_triples}'
            )
        self._sizes = (num_entities, num_relations, num_triples, seed)
        super().__init__(
            None,
            image_encoder=_RandomFeatures(6, seed=seed),
            text_encoder=_RandomFeatures(8, seed=seed + 1),
            transform=transform,
        )

    def read(self) -> RawGraph:
        entities, relations, *_ = self._sizes
        names = [f'entity {entity}' for entity in range(entities)]
        images = [[Path(f'{entity}.png')] for entity in range(entities)]
        images[0].append(Path('0b.png'))
        images[1] = images[3] = []
        texts = [[f'the text of {name}'] for name in names]
        texts[2] = texts[3] = []
        return RawGraph(
            make_data(entities, relations, *self._splits()),
            names,
            [f'relation {relation}' for relation in range(relations)],
            texts,
            images,
        )

    def _splits(self) -> tuple[Triples, Triples, Triples]:
        entities, relations, count, seed = self._sizes
        rng = random.Random(seed)
        last = entities - 1
        # A ring through all entities but the last and all relations: h, t, r.
        ring = [(i, (i + 1) % last, i % relations) for i in range(last)]
        drawn = dict.fromkeys(ring)
        unseen = 3
        while len(drawn) < count - unseen:
            head, tail = rng.sample(range(last), 2)
            drawn[head, tail, rng.randrange(relations)] = None
        rest = list(drawn)[last:]
        part = max(1, round(0.1 * count))
        middle, end = part - 1, 2 * part - unseen
        val = [(last, 0, 0), *rest[:middle]]
        test = [(last, 1, relations - 1), (2, last, 0), *rest[middle:end]]
        train = ring + rest[end:]
        return to_triples(train), to_triples(val), to_triples(test)
