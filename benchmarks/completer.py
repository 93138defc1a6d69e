"""What a kept model is worth: calibration, proposals, speed.

    dsom-pyg train Countries
    python -m benchmarks.completer runs/countries

Writes ``results/benchmarks/completer-NAME.json`` and a reliability diagram
beside it. Test is read here and was used for nothing before: temperatures
come from validation.

- ranks: those of ``Completer.rank`` against those of ``evaluate``
- calibration: expected calibration error on test, in 15 bins, with
  temperature 1 and with those of the model
- proposals: what ``complete`` proposes of a graph that knows no test triple,
  and how much of it test has. Test holds a part of what is true, so this is a
  lower bound of the precision; the probabilities claim just that part.
- speed: a process that loads and answers once, and a batch of questions, by
  name. Nothing else should run meanwhile.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dsom_pyg import KG, evaluate
from dsom_pyg.completion import Calibration, Completer, Confidences
from dsom_pyg.completion.calibration import plot_reliability
from dsom_pyg.graph import SPLITS, TripleGraph, Triples
from experiments import record

LEVELS = (0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
FIRST = """
import json, sys, time
begun = time.perf_counter()
import torch
torched = time.perf_counter()
from dsom_pyg import Completer
imported = time.perf_counter()
model = Completer.load(sys.argv[1])
loaded = time.perf_counter()
head, rel = (model.graph.triples('train')[at][..., 0] for at in (0, 1))
model.answer(int(head[0]), int(rel))
answered = time.perf_counter()
print(json.dumps({
    'import of torch': torched - begun,
    'import beyond torch': imported - torched,
    'loading': loaded - imported,
    'first answer': answered - loaded,
}))
"""


def ranks(model: Completer, count: int | None, seed: int) -> dict[str, Any]:
    """Whether both ways to rank test agree, from both sides."""
    edge_index, edge_type = model.graph.triples('test')
    chosen = torch.arange(len(edge_type))
    if count is not None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(len(edge_type), generator=generator)
        chosen = drawn[:count].sort().values
    result = evaluate(model.parts.student, model.graph)
    ranked = result.above + 1 + result.equal / 2
    size = model.graph.num_relations
    keys = zip(
        *(x.tolist() for x in (result.head, result.rel, result.tail)),
        strict=True,
    )
    expected = dict(zip(keys, ranked.tolist(), strict=True))
    differ = 0
    head, tail = edge_index[:, chosen].tolist()
    rel = edge_type[chosen].tolist()
    triples = list(zip(head, rel, tail, strict=True))
    for side in ('tail', 'head'):
        for (h, r, t), rank in zip(
            triples, model.rank(triples, side), strict=True
        ):
            key = (h, r, t) if side == 'tail' else (t, r + size, h)
            differ += expected[key] != rank
    return {'triples': len(triples), 'ranks that differ': differ}


def calibration(model: Completer, out: Path) -> dict[str, Any]:
    """On test, before and after; draws the diagram."""
    student, graph = model.parts.student, model.graph
    found: dict[str, Confidences] = {
        'temperature 1': Calibration.none(graph.num_relations).confidences(
            student, graph
        ),
        'calibrated on validation': model.parts.calibration.confidences(
            student, graph
        ),
    }
    plot_reliability(found, out)
    temperature = model.parts.calibration.temperature
    return {
        'pairs': len(next(iter(found.values())).top),
        'expected calibration error': {
            name: each.error() for name, each in found.items()
        },
        'on validation': {
            'before': model.parts.calibration.before,
            'after': model.parts.calibration.after,
        },
        'temperatures': [float(temperature.min()), float(temperature.max())],
    }


def proposals(model: Completer, limit: int) -> dict[str, Any]:
    """Of a graph without its test triples, against these."""
    parts = {split: model.graph.triples(split) for split in SPLITS}
    (head, tail), rel = parts['test']
    parts['test'] = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    sizes = model.graph.num_entities, model.graph.num_relations
    graph = KG(TripleGraph(*sizes, parts))
    begun = time.perf_counter()
    found = Completer(replace(model.parts, graph=graph)).complete(limit=limit)
    seconds = time.perf_counter() - begun
    names = model.entities.names, model.relations_known.names
    test = {
        (names[0][h], names[1][r], names[0][t])
        for h, r, t in zip(
            *(x.tolist() for x in (head, rel, tail)), strict=True
        )
    }
    rows = []
    for level in LEVELS:
        some = [p for p in found if p.probability >= level]
        hits = sum((p.head, p.relation, p.tail) in test for p in some)
        rows.append(
            {
                'probability at least': level,
                'proposals': len(some),
                'in test': hits,
                'share': hits / len(some) if some else None,
                'as claimed': sum(p.probability for p in some) / len(some)
                if some
                else None,
            }
        )
    return {
        'seconds': seconds,
        'test triples': len(test),
        'kept': len(found),
        'least probability kept': found[-1].probability if found else None,
        'levels': rows,
    }


def speed(model: Completer, folder: Path, count: int) -> dict[str, Any]:
    """The first answer of a process, and answers a second in a batch."""
    runs = []
    for _ in range(3):
        words = [sys.executable, '-W', 'ignore', '-c', FIRST, str(folder)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout))
    best = min(runs, key=lambda run: sum(run.values()))
    edge_index, edge_type = model.graph.triples('train')
    at = torch.randperm(len(edge_type))[:count]
    heads = [model.entities.names[h] for h in edge_index[0, at].tolist()]
    rels = [model.relations_known.names[r] for r in edge_type[at].tolist()]
    begun = time.perf_counter()
    found = model.answer(heads, rels)
    seconds = time.perf_counter() - begun
    assert len(found) == len(at)
    return {
        'seconds of the first answer': best,
        'questions': len(at),
        'questions a second': len(at) / seconds,
        'threads': torch.get_num_threads(),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path, help='of a run')
    parser.add_argument('--ranked', type=int, help='how many (default: all)')
    parser.add_argument('--questions', type=int, default=10_000)
    parser.add_argument('--limit', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = Completer.load(args.folder)
    name = f'completer-{args.folder.name}'
    plot = record.RESULTS / 'benchmarks' / f'{name}.png'
    plot.parent.mkdir(parents=True, exist_ok=True)
    measured = {
        'ranks': ranks(model, args.ranked, args.seed),
        'calibration': calibration(model, plot),
        'proposals': proposals(model, args.limit),
        'speed': speed(model, args.folder, args.questions),
    }
    settings = {
        'graph': model.graph.fingerprint,
        'protocol': 'filtered by all splits, equal scores count half, '
        'both sides',
        'trained with': model.parts.about.get('run'),
        'metrics': model.parts.about.get('metrics'),
        'seed': args.seed,
    }
    record.benchmark(name, settings, measured)


if __name__ == '__main__':
    main()
