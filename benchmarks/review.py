"""What decisions of people bring: uncertain proposals against random ones.

    python -m benchmarks.review --seeds 3

Test triples of Countries are taken out of the graph; they are what an oracle
knows. A model of the rest proposes triples. The oracle decides on so many of
them: on ten at a time whose probability is nearest to a half, which the model
tells anew after each ten
(:meth:`~dsom_pyg.completion.Completer.with_review`), or on random ones among
all that were proposed at first. What it accepts joins train, what it rejects
is never given as an answer again, and everything is trained anew. MRR is that
of the students on the test triples that neither way of choosing had shown to
the oracle, in percent: mean and standard error of ``--trainings``, which
differ in their seed. ``among all`` counts every entity as a rival, as
benchmarks do.
``without rejected`` is what a user gets: what was rejected is no rival, as
:meth:`~dsom_pyg.completion.Completer.answer` leaves it out.
``accepted`` is how many of the decisions were a yes.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dsom_pyg import evaluate, recipes, train_dsom
from dsom_pyg.completion import Completer
from dsom_pyg.completion.review import Judged, Review, reviewed
from dsom_pyg.datasets import Countries
from dsom_pyg.dsom import Recipe
from dsom_pyg.graph import EDGE, Triples, concat, with_split, within
from dsom_pyg.kg import KG
from dsom_pyg.models import Model
from experiments import record

BUDGETS, AT_ONCE = (50, 100, 200), 10
POOL = 5000
NOTHING = Triples.of([])
Rows = list[tuple[int, int, int]]


def decided(chosen: Rows, true: Triples) -> Judged:
    """What the oracle says."""
    part = Triples.of(chosen)
    yes = within(part, true)
    return Judged(part.select(yes), part.select(~yes))


def uncertain(model: Completer, true: Triples, path: Path) -> Rows:
    """What is asked, in this order, if each ten decisions are heeded."""
    review, heeding = Review(path), model
    ends, links = model.entities.labels, model.relations_known.labels
    asked: Rows = []
    while len(asked) < max(BUDGETS):
        pool = heeding.complete(limit=POOL)
        pool.sort(key=lambda row: abs(row.probability - 0.5))
        for h, r, t in (row.id for row in pool[:AT_ONCE]):
            yes = len(decided([(h, r, t)], true).accepted.edge_type)
            verdict = 'accept' if yes else 'reject'
            review.decide(ends[h], links[r], ends[t], verdict, 'oracle')
            asked.append((h, r, t))
        heeding = model.with_review(review)
    return asked


def students(graph: KG, recipe: Recipe, count: int) -> list[Model]:
    """Of some trainings."""
    seeds = [100 * at + recipe.seed for at in range(count)]
    return [
        train_dsom(graph, replace(recipe, seed=seed)).student for seed in seeds
    ]


def asking(whole: KG, rest: Triples, known: Triples) -> KG:
    """The graph that asks for the rest of test. What is known besides is no
    rival of its answers, in whichever split it stands.
    """
    data = with_split(whole.data, 'test', rest)
    store = data[EDGE]
    store.filter_edge_index, store.filter_edge_type = known
    return KG(data)


def summary(taught: list[Model], asked: KG) -> dict[str, float]:
    """Mean MRR and its standard error."""
    mrr = [100 * evaluate(each, asked, 'test').mrr() for each in taught]
    spread = statistics.stdev(mrr) if len(mrr) > 1 else 0.0
    return {'mean': statistics.mean(mrr), 'error': spread / len(mrr) ** 0.5}


def measure(seed: int, count: int) -> dict[str, Any]:
    """One seed: of the first model, of all trainings and the random choice."""
    source = Countries()
    whole = KG(source[0])
    test = whole.triples('test')
    hidden = KG(with_split(whole.data, 'test', NOTHING))
    recipe = replace(recipes.of_size(whole), seed=seed, progress=False)
    first = train_dsom(hidden, recipe)
    model = Completer.of(source, hidden, first, teachers=False)
    pool = [row.id for row in model.complete(limit=POOL)]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(pool), generator=generator).tolist()
    with tempfile.TemporaryDirectory() as folder:
        orders = {
            'uncertain': uncertain(model, test, Path(folder) / 'review.jsonl'),
            'random': [pool[at] for at in drawn],
        }
    before = students(hidden, recipe, count)
    out: dict[str, Any] = {
        'proposed': len(pool),
        'of these true': int(within(Triples.of(pool), test).sum()),
    }
    for budget in BUDGETS:
        said = {
            name: decided(rows[:budget], test) for name, rows in orders.items()
        }
        shown = [each.accepted for each in said.values()]
        rest = test.select(~within(test, shown[0]) & ~within(test, shown[1]))
        # Accepted triples are true: they are no rivals of the others.
        plain = asking(whole, rest, test)
        row: dict[str, Any] = {
            'rest': len(rest.edge_type),
            'before': summary(before, plain),
        }
        for name, each in said.items():
            taught = students(reviewed(hidden, each), recipe, count)
            left = asking(whole, rest, concat(test, each.rejected))
            row[name] = {
                'accepted': len(each.accepted.edge_type),
                'among all': summary(taught, plain),
                'without rejected': summary(taught, left),
                'without rejected, not trained anew': summary(before, left),
            }
        out[f'{budget} decisions'] = row
        print(seed, budget, out[f'{budget} decisions'], flush=True)
    return out


def main() -> None:
    """Measure some seeds, each written when it has ended."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--trainings', type=int, default=4)
    args = parser.parse_args()
    graph = KG(Countries()[0])
    settings = {
        'dataset': 'Countries',
        'fingerprint': graph.fingerprint,
        'pool': POOL,
        'trainings': args.trainings,
    }
    measured: dict[str, Any] = {}
    for seed in range(args.seeds):
        measured[f'seed {seed}'] = measure(seed, args.trainings)
        record.benchmark('review-countries', settings, measured)


if __name__ == '__main__':
    main()
