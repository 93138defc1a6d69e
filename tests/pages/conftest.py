"""A kept model whose names are as awkward as names can be."""

from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from dsom_pyg import Recipe
from dsom_pyg.completion import Completer
from dsom_pyg.datasets import from_pandas
from dsom_pyg.encoders import TfidfText
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Loop

SCRIPT = '<script>alert(1)</script>'
LONG = 'long ' * 14_000
SHIPS = [SCRIPT, 'سفينة', '🚢 Dunlin', LONG.strip(), '"Gull" & \'Co\'']
PORTS = ['Arnel', 'Port Bude', 'Crail', 'Doune', 'Elie', 'Forth']


@pytest.fixture(scope='session')
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('pages')
    rows = [
        (ship, 'calls at', port)
        for at, (ship, port) in enumerate(product(SHIPS, PORTS))
        if at % 4
    ]
    frame = pd.DataFrame(rows, columns=['head', 'relation', 'tail'])
    said = [(port, f'<b>a harbour</b> called {port}') for port in PORTS]
    Image.new('RGB', (90, 60), (9, 90, 200)).save(root / 'arnel.png')
    (root / 'broken.png').write_bytes(b'no image')
    images = [('Arnel', root / 'arnel.png'), ('Elie', root / 'broken.png')]
    dataset = from_pandas(
        frame,
        texts=pd.DataFrame(said, columns=['entity', 'text']),
        images=pd.DataFrame(images, columns=['entity', 'image']),
        text_encoder=TfidfText(out_channels=4),
        image_encoder=None,
    )
    loop = Loop(epochs=8, batch_size=20)
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=loop),
        policy=MeanOfTeachers(),
        student=Student(
            channels=4, loop=loop, model=partial(ComplEx), unlabeled=None
        ),
        progress=False,
    )
    torch.manual_seed(0)
    Completer.train(dataset, root / 'run', recipe, folds=2)
    return root / 'run'
