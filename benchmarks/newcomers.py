"""What a model says of entities that were not there in training.

    python -m benchmarks.newcomers --dataset MKG_W --channels 64 --epochs 6

Of the entities 5 % are held out with all their triples, and a model is trained
on the rest: teachers of structure and texts, their mean, a student. Then
:meth:`~dsom_pyg.completion.Completer.add_entities` brings back those that have
three training triples with others, by their texts alone, with one of these
triples, and with three. Ranked are their test triples, against

- *chance*: the row of another entity, drawn at random;
- *mean of neighbours*: the mean row of the other ends of the given triples;
  without any, of the ten entities with the most similar texts;
- *text teacher*: which knows the text alone, and the *joint* one of structure
  and texts;
- *triples alone*: a row fitted to the given triples, without texts;
- *from the start*: a model of the same recipe, trained on the given triples as
  well (``--from-the-start``; it takes a training each).

``asked`` are questions about newcomers, ``answer`` are those that they answer.
``others`` are test triples of all others, among all entities: newcomers should
not push in.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dsom_pyg import Completer, evaluate, recipes
from dsom_pyg.completion.store import with_entities
from dsom_pyg.datasets import from_pandas
from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.dsom import Recipe
from dsom_pyg.graph import TripleGraph, Triples, concat
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from dsom_pyg.policies import MeanOfTeachers
from experiments import record
from experiments.measure import Setting
from experiments.table import Row, Table

SHARE, GIVEN = 0.05, (0, 1, 3)
Rows = list[tuple[str, str, str]]


class Known:
    """Features that are there already, by their text."""

    def __init__(self, dataset: MultimodalDataset, name: str) -> None:
        texts = [text for each in dataset.entity_texts for text in each]
        x = dataset[0]['text'].x
        self.name, self.out_channels = name, x.size(1)
        self._rows = dict(zip(texts, x, strict=True))

    def __call__(self, items: Sequence[Any]) -> Tensor:
        """The features of some texts."""
        return torch.stack([self._rows[str(item)] for item in items])


class World:
    """A dataset, and which of its entities are held out."""

    def __init__(self, dataset: MultimodalDataset, seed: int) -> None:
        graph = KG(dataset[0])
        self.texts = {
            f'e{at}': texts for at, texts in enumerate(dataset.entity_texts)
        }
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(graph.num_entities, generator=draw)
        out = {f'e{at}' for at in order[: round(SHARE * len(order))].tolist()}
        self.splits = {
            split: self._named(graph.triples(split), draw)
            for split in ('train', 'val', 'test')
        }
        self.rest = {
            split: [row for row in rows if not out & {row[0], row[2]}]
            for split, rows in self.splits.items()
        }
        known = {end for row in self.rest['train'] for end in row[::2]}
        links = {row[1] for row in self.rest['train']}
        found: dict[str, Rows] = {name: [] for name in sorted(out)}
        for row in self.splits['train']:
            inside, others = out & {row[0], row[2]}, known & {row[0], row[2]}
            if inside and others and row[1] in links:
                found[inside.pop()].append(row)
        self.given = {
            name: rows[: max(GIVEN)]
            for name, rows in found.items()
            if len(rows) >= max(GIVEN)
        }
        ends = known | self.given.keys()
        self.others = self.rest['test']
        self.asked = [
            row
            for row in self.splits['test']
            if self.given.keys() & {row[0], row[2]}
            and {row[0], row[2]} <= ends
            and row[1] in links
        ]

    @staticmethod
    def _named(triples: Triples, draw: torch.Generator) -> Rows:
        order = torch.randperm(len(triples.edge_type), generator=draw)
        part = triples.select(order)
        columns = part.head, part.edge_type, part.tail
        return [
            (f'e{h}', f'r{r}', f'e{t}')
            for h, r, t in zip(*(x.tolist() for x in columns), strict=True)
        ]

    def triples(self, count: int) -> Rows:
        """The given triples, so many of each newcomer."""
        return [row for rows in self.given.values() for row in rows[:count]]

    def train(
        self, more: Rows, encoder: Known, recipe: Recipe, folder: Path | None
    ) -> Completer:
        """A model of the rest, and of more triples."""
        splits = {**self.rest, 'train': [*self.rest['train'], *more]}
        frame = pd.DataFrame(
            [(*row, split) for split, rows in splits.items() for row in rows],
            columns=['head', 'relation', 'tail', 'split'],
        )
        named = {*frame['head'], *frame['tail']}
        texts = {x: self.texts[x] for x in self.texts if x in named}
        made = from_pandas(frame, texts=texts, text_encoder=encoder)
        return Completer.train(made, folder, recipe)


def ranked(world: World, model: Completer, scorer: Model) -> dict[str, float]:
    """The test triples of newcomers, filtered by all that is known."""
    ends, links = model.entities, model.relations_known

    def ids(rows: Rows) -> Triples:
        here, there = {*ends.keys}, {*links.keys}
        rows = [
            row for row in rows if {row[0], row[2]} <= here and row[1] in there
        ]
        head, rel, tail = zip(*rows, strict=True)
        edges = torch.stack([ends.ids(head), ends.ids(tail)])
        return Triples(edges, links.ids(rel))

    asked, others = ids(world.asked), ids(world.others)
    known = concat(*(ids(rows) for rows in world.splits.values()))
    size = len(ends), len(links)
    splits = {'train': known, 'val': others, 'test': asked}
    graph = KG(TripleGraph(*size, splits))
    found = evaluate(scorer, graph, 'test')
    new = torch.zeros(size[0], dtype=torch.bool)
    new[ends.ids(world.given)] = True
    out = {'mrr': 100 * found.mrr(), 'hits@10': 100 * found.hits(10)}
    for name, end in (('asked', found.head), ('answer', found.tail)):
        part = found.select(new[end])
        out[f'{name} mrr'] = 100 * part.mrr()
        out[f'{name} ranks'] = float(len(part))
    out['others mrr'] = 100 * evaluate(scorer, graph, 'val').mrr()
    return out


def with_rows(model: Completer, rows: Tensor) -> Model:
    """The student with other rows of the newcomers."""
    student = model.parts.student
    old = student.entities().detach()[: -len(rows)]
    return with_entities(student, torch.cat([old, rows]))


def neighbours(
    base: Completer, model: Completer, given: Rows, size: int
) -> Tensor:
    """Mean rows, see above."""
    table = base.parts.student.entities().detach()
    first = len(table)
    ends: list[list[int]] = [[] for _ in range(size)]
    for head, _, tail in given:
        h, t = model.entities.id(head), model.entities.id(tail)
        new, old = (h, t) if h >= first else (t, h)
        ends[new - first].append(old)
    assert model.parts.teachers is not None
    text = model.parts.teachers['text'].entities().detach()
    unit = torch.nn.functional.normalize(text)
    near = (unit[first:] @ unit[:first].t()).topk(10, dim=1).indices
    return torch.stack(
        [
            table[torch.tensor(each) if each else near[at]].mean(dim=0)
            for at, each in enumerate(ends)
        ]
    )


def measure(
    world: World,
    encoder: Known,
    recipe: Recipe,
    folder: Path | None,
    from_the_start: bool,
) -> dict[str, Any]:
    """All rows of one seed."""
    base = world.train([], encoder, recipe, folder and folder / 'rest')
    texts = {name: world.texts[name] for name in world.given}
    before = evaluate(base.parts.student, base.graph, 'test')
    out: dict[str, Any] = {
        'newcomers': len(world.given),
        'test triples': len(world.asked),
        'others mrr, before': 100 * before.mrr(),
    }
    draw = torch.Generator().manual_seed(recipe.seed)
    size = base.graph.num_entities
    other = torch.randint(size, (len(texts),), generator=draw)
    table = base.parts.student.entities().detach()
    for count in GIVEN:
        given = world.triples(count)
        model = base.add_entities(texts, triples=given, text_encoder=encoder)
        assert model.parts.teachers is not None
        rows = {
            'this library': model.parts.student,
            'text teacher': model.parts.teachers['text'],
            'joint teacher': model.parts.teachers['joint'],
            'mean of neighbours': with_rows(
                model, neighbours(base, model, given, len(texts))
            ),
            'chance': with_rows(model, table[other]),
        }
        if count:
            silent = {name: [] for name in texts}
            rows['triples alone'] = base.add_entities(
                silent, triples=given
            ).parts.student
        found = {name: ranked(world, model, row) for name, row in rows.items()}
        if count and from_the_start:
            path = folder and folder / f'from-the-start-{count}'
            whole = world.train(given, encoder, recipe, path)
            student = whole.parts.student
            found['from the start'] = ranked(world, whole, student)
        out[f'{count} triples'] = found
    return out


def main() -> None:
    """Measure some seeds, each written when it has ended."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--dataset', default='MKG_W')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--channels', type=int, default=64)
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--from-the-start', action='store_true')
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--folder', type=Path, help='for checkpoints')
    args = parser.parse_args()
    table = Table((args.dataset,), ())
    setting = Setting(
        name='newcomers', table=table, dataset=args.dataset, root=args.root
    )
    recipe = recipes.held_out(args.channels)
    loop = replace(recipe.teachers.loop, epochs=args.epochs)
    recipe = replace(
        recipe,
        teachers=replace(recipe.teachers, loop=loop),
        policy=MeanOfTeachers(),
        student=replace(recipe.student, loop=loop),
    )
    row = Row('', recipe)
    dataset = setting.source(row)
    features = setting.features(row)
    encoder = Known(dataset, str(features['text']))
    measured: dict[str, Any] = {}
    for seed in args.seeds:
        folder = args.folder and args.folder / str(seed)
        measured[f'seed {seed}'] = measure(
            World(dataset, seed),
            encoder,
            replace(recipe, seed=seed),
            folder,
            args.from_the_start,
        )
        settings = {
            'dataset': args.dataset,
            'fingerprint': KG(dataset[0]).fingerprint,
            'features': features,
            'held out': SHARE,
            'channels': args.channels,
            'epochs': args.epochs,
        }
        name = f'newcomers-{args.dataset.lower()}'
        record.benchmark(name, settings, measured)


if __name__ == '__main__':
    main()
