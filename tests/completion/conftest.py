"""A small graph with names, and a model of it."""

from functools import partial
from itertools import pairwise, product

import pandas as pd
import pytest
import torch

from dsom_pyg import Recipe
from dsom_pyg.completion import Completer
from dsom_pyg.datasets import from_pandas
from dsom_pyg.datasets.own.base import OwnGraph
from dsom_pyg.encoders import TfidfText
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import MeanOfTeachers
from dsom_pyg.stages import Student, Teachers
from dsom_pyg.training import Loop

SHIPS = ['MV Auk', 'MV Brent', 'MV Dunlin', 'MV Eider', 'MV Gull']
PORTS = ['Arnel', 'Port Bude', 'Crail', 'Doune', 'Elie', 'Forth']
WARES = ['coal', 'salt', 'wool']


@pytest.fixture(scope='session')
def triples() -> pd.DataFrame:
    rows = []
    for at, (ship, port) in enumerate(product(SHIPS, PORTS)):
        if at % 3:
            rows.append((ship, 'calls at', port))
        if at % 7 == 0:
            rows.append((ship, 'carries', WARES[at % 3]))
    for one, other in pairwise(PORTS):
        rows += [(one, 'sea route to', other), (other, 'sea route to', one)]
    return pd.DataFrame(rows, columns=['head', 'relation', 'tail'])


@pytest.fixture(scope='session')
def dataset(triples: pd.DataFrame) -> OwnGraph:
    texts = pd.DataFrame(
        [(port, f'a harbour called {port}') for port in PORTS],
        columns=['entity', 'text'],
    )
    return from_pandas(
        triples, texts=texts, text_encoder=TfidfText(out_channels=4)
    )


@pytest.fixture(scope='session')
def recipe() -> Recipe:
    loop = Loop(epochs=8, batch_size=20)
    return Recipe(
        teachers=Teachers(channels=4, loop=loop),
        policy=MeanOfTeachers(),
        student=Student(
            channels=4, loop=loop, model=partial(ComplEx), unlabeled=None
        ),
    )


@pytest.fixture(scope='session')
def model(dataset: OwnGraph, recipe: Recipe) -> Completer:
    torch.manual_seed(0)
    return Completer.train(dataset, recipe=recipe)
