"""Processes that are not about to do the same: what each says.

python other.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch

from dsom_pyg import Recipe, train_dsom
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.processes import join, rank, share
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Loop

out = Path(sys.argv[1])
torch.set_num_threads(1)
join()


def train(what: str, folder: Path | None = None) -> None:
    """What differs is the seed, the graph, the features, who keeps a file, or
    nothing.
    """
    data = FakeMMKG(61, num_triples=300, seed=rank() * (what == 'graph'))[0]
    if what == 'features' and rank():
        data['text'].x = data['text'].x.flip(0)
    loop = Loop(epochs=1, batch_size=40)
    recipe = Recipe(
        teachers=Teachers(channels=8, loop=loop),
        student=Student(channels=8, loop=loop, unlabeled=None),
        policy=MeanOfTeachers(),
        seed=rank() * (what == 'seed'),
    )
    if what == 'kept' and rank():
        folder = None
    train_dsom(data, recipe, folder)


said = {}
apart = out / str(rank())  # where the first one alone will write
train('folder', apart)
share(None)  # until both have ended
for kind in ('seed', 'graph', 'features', 'kept', 'folder'):
    try:
        train(kind, apart if kind in ('kept', 'folder') else None)
    except ValueError as error:
        said[kind] = str(error)
(out / f'{rank()}.json').write_text(json.dumps(said))
