"""What decisions of people bring: uncertain proposals against random ones.

    python -m benchmarks.review --seeds 3

Test triples of Countries are taken out of the graph; they are what an oracle
knows. A model of the rest proposes triples. The oracle decides on so many of
them: those whose probability is nearest to a half, or random ones among all
that are proposed. What it accepts joins train, what it rejects is never
proposed again, and everything is trained anew. MRR is that of the students on
the test triples that neither way of choosing had shown to the oracle, in
percent; ``accepted`` is how many of the decisions were a yes.
"""

import argparse
from dataclasses import replace
from typing import Any

import torch

from dsom_pyg import evaluate, recipes, train_dsom
from dsom_pyg.completion import Completer
from dsom_pyg.completion.review import Judged, reviewed
from dsom_pyg.datasets import Countries
from dsom_pyg.graph import EDGE, Triples, with_split, within
from dsom_pyg.kg import KG
from experiments import record

BUDGETS = (50, 100, 200)
POOL = 5000
NOTHING = Triples(torch.empty(2, 0).long(), torch.empty(0).long())


def triples(rows: list[tuple[int, int, int]]) -> Triples:
    """From ids of head, relation and tail."""
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).t()
    return Triples(table[[0, 2]], table[1])


def decided(chosen: list[tuple[int, int, int]], true: Triples) -> Judged:
    """What the oracle says."""
    part = triples(chosen)
    yes = within(part, true)
    return Judged(part.select(yes), part.select(~yes))


def measure(seed: int) -> dict[str, Any]:
    """One seed: of all trainings and of the random choice."""
    source = Countries()
    whole = KG(source[0])
    test = whole.triples('test')
    hidden = KG(with_split(whole.data, 'test', NOTHING))
    recipe = replace(recipes.of_size(whole), seed=seed, progress=False)
    first = train_dsom(hidden, recipe)
    model = Completer.of(source, hidden, first, teachers=False)
    pool = model.complete(limit=POOL)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(pool), generator=generator).tolist()
    orders = {
        'uncertain': sorted(pool, key=lambda row: abs(row.probability - 0.5)),
        'random': [pool[at] for at in drawn],
    }
    out: dict[str, Any] = {
        'proposed': len(pool),
        'of these true': int(
            within(triples([r.id for r in pool]), test).sum()
        ),
    }
    for budget in BUDGETS:
        said = {
            name: decided([row.id for row in rows[:budget]], test)
            for name, rows in orders.items()
        }
        shown = [each.accepted for each in said.values()]
        rest = test.select(~within(test, shown[0]) & ~within(test, shown[1]))
        # Accepted triples are true: they are no rivals of the others, in
        # whichever split they stand.
        asked = KG(with_split(whole.data, 'test', rest))
        store = asked.data[EDGE]
        store.filter_edge_index, store.filter_edge_type = test
        asked = KG(asked.data)
        found = {'before': evaluate(first.student, asked, 'test').mrr()}
        for name, judged in said.items():
            graph = reviewed(hidden, judged)
            student = train_dsom(graph, recipe).student
            found[name] = evaluate(student, asked, 'test').mrr()
        out[f'{budget} decisions'] = {
            **{name: 100 * mrr for name, mrr in found.items()},
            'rest': len(rest.edge_type),
            **{
                f'accepted, {name}': len(each.accepted.edge_type)
                for name, each in said.items()
            },
        }
        print(seed, budget, out[f'{budget} decisions'], flush=True)
    return out


def main() -> None:
    """Measure some seeds, each written when it has ended."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    graph = KG(Countries()[0])
    settings = {
        'dataset': 'Countries',
        'fingerprint': graph.fingerprint,
        'pool': POOL,
    }
    measured: dict[str, Any] = {}
    for seed in range(args.seeds):
        measured[f'seed {seed}'] = measure(seed)
        record.benchmark('review-countries', settings, measured)


if __name__ == '__main__':
    main()
