"""Train DSoM on the bundled graph, say what each part is worth, and ask it.

    python examples/train_dsom.py

Test is read once, for the table. A run that was interrupted goes on. Several
devices share the work: torchrun --nproc-per-node 2 examples/train_dsom.py
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from dsom_pyg import KG, evaluate, recipes, train_dsom
from dsom_pyg.completion import Completer
from dsom_pyg.datasets import Countries
from dsom_pyg.processes import first

parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
parser.add_argument('--epochs', type=int, default=8)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--device', default='cpu')
parser.add_argument('--folder', type=Path, default=Path('runs/example'))
args = parser.parse_args()
if not first():  # of several processes, one speaks
    sys.stdout = Path(os.devnull).open('w')  # noqa: SIM115
where = {'seed': args.seed, 'device': args.device}
dataset = Countries()
graph = KG(dataset[0])
recipe = recipes.small(epochs=args.epochs, **where)

try:
    trained = train_dsom(graph, recipe, args.folder / 'stages')
except ValueError as error:  # as of a folder with another run
    sys.exit(f'error: {error}')
scorers = {f'teacher: {m}': t for m, t in trained.ensemble.teachers.items()}
# Each learns alone, so this one is what there is without the others.
scorers = {'plain ComplEx-N3': scorers.pop('teacher: structure'), **scorers}
scorers['teachers by the policy'] = trained.teachers
scorers['student'] = trained.student
for name, scorer in scorers.items():
    print(f'{name:24s} {evaluate(scorer, graph, device=args.device)}')

model = Completer.of(dataset, graph, trained)
model.save(args.folder)
print('\nThe student answers (* is in the graph):')
for relation in 'official_language', 'borders', 'time_zone':
    best = model.answer('Norway', relation, k=3, known=True)
    said = (f'{"*" * a.known}{a.name} {a.probability:.0%}' for a in best)
    print(f'Norway | {relation} | ?   {", ".join(said)}')
found = shutil.which('dsom-pyg')  # not where Python was called by its path
command = 'dsom-pyg' if found else f'{sys.prefix}/bin/dsom-pyg'
print(f'\nThe run is in {args.folder}. Ask it more:')
print(f'  {os.path.relpath(command)} answer {args.folder} Norway borders')
