"""Models of triples alone, each by the objective of its authors.

What matters most of DistMult and ComplEx is chosen on validation of one graph,
by ``python -m experiments search MKG_Y DistMult``, and holds for all. That of
TuckER is the best of four trials there. That of others can be searched
likewise, and was not. What remains is near the settings of the authors, with
fewer steps.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from dsom_pyg import KG
from dsom_pyg.models import (
    GCOTE,
    OTE,
    ComplEx,
    DistMult,
    KvsAll,
    Model,
    Negatives,
    RotatE,
    SelfAdversarial,
    TransE,
    TuckER,
)
from dsom_pyg.training import Adam, Loop
from experiments.table import SingleModel

_OTE = {'lr': 0.002, 'margin': 9.0}
# What the search chooses of each: words of `comparator`.
CHOSEN: dict[str, dict[str, float]] = {
    'TransE': {'lr': 0.002, 'margin': 9.0},
    'DistMult': {'lr': 0.01, 'n3': 0.01, 'scale': 0.1},
    'ComplEx': {'lr': 0.01, 'n3': 0.01, 'scale': 0.1},
    'RotatE': {'lr': 0.002, 'margin': 9.0},
    'TuckER': {'lr': 0.03, 'dropout': 0.2},
    'OTE': _OTE,
    'GC-OTE': _OTE,  # of its first stage
}
# How many times as long one learns on a graph. TuckER learns all tails of a
# query at once, slowly at first, and small graphs have few steps an epoch:
# on validation of MKG-Y it was still rising after 60.
LONGER = {('MKG_Y', 'TuckER'): 3, ('MKG_W', 'TuckER'): 2}
# Where the search looks.
RANGES = {
    'lr': (5e-4, 5e-2),
    'dropout': (0.05, 1.0),
    'margin': (3.0, 24.0),
    'n3': (1e-4, 0.1),
    'scale': (0.02, 0.2),
}


def comparator(
    name: str,
    channels: int,
    epochs: int,
    lr: float,
    margin: float = 0.0,
    n3: float = 0.0,
    scale: float = 0.02,
    dropout: float = 1.0,
) -> SingleModel:
    r"""A comparator by its name in the tables.

    Args:
        name: A key of :obj:`CHOSEN`.
        channels: D; TuckER has at most 100.
        epochs: How long it learns.
        lr: The rate of Adam, at D = 256 or less.
        margin: Of distances.
        n3: Of products, for each pair.
        scale: Standard deviation of initial rows, at D = 256 or less.
        dropout: Of TuckER, as a share of that of its authors on FB15k-237.
    """
    # Distances are sums over coordinates; at D = 256 they begin near the
    # margin, and the rate moves them by as much.
    narrower = min(1.0, 256 / channels)
    loop = Loop(
        epochs=epochs,
        batch_size=1000,
        batch_by='triples',
        optimizer=Adam(lr=lr * narrower),
        cooldown=1.0,
    )
    if name == 'TuckER':
        half = min(100, channels)
        model = partial(
            TuckER,
            relation_channels=2 * half,
            head_dropout=0.3 * dropout,
            matrix_dropout=0.4 * dropout,
            query_dropout=0.5 * dropout,
            batch_norm=True,
            objective=KvsAll(0.1),
        )
        loop = replace(
            loop,
            batch_size=128,
            batch_by='queries',
            optimizer=Adam(lr=lr),
        )
        return SingleModel(channels=half, model=model, loop=loop)
    objective = SelfAdversarial(
        margin=margin,
        temperature=1.0,
        negatives=Negatives(256, shared=True),
        subsampling=True,
    )
    # These hold every coordinate of every pair.
    fewer = replace(objective, negatives=Negatives(64, shared=True))
    scale = scale * narrower
    there = {'reciprocals': False, 'scale': scale}
    models = {
        'TransE': partial(TransE, objective=objective, **there),
        'DistMult': partial(DistMult, objective=objective, n3=n3, **there),
        'ComplEx': partial(ComplEx, objective=objective, n3=n3, **there),
        'RotatE': partial(RotatE, objective=fewer, reciprocals=False),
        'OTE': partial(OTE, objective=fewer),
        'GC-OTE': partial(OTE, objective=fewer),
    }
    what = SingleModel(
        channels=channels,
        model=models[name],
        loop=loop,
        entity_scale=scale,
    )
    if name != 'GC-OTE':
        return what
    # As of the authors: a tenth of the rate, for a quarter of the time.
    gentle = replace(
        loop,
        epochs=-(-epochs // 4),
        optimizer=Adam(lr=lr * narrower / 10),
    )
    return replace(what, second=with_contexts, second_loop=gentle)


def with_contexts(model: Model, graph: KG) -> GCOTE:
    r"""The second stage of GC-OTE."""
    assert isinstance(model, OTE)
    return GCOTE.of(model, graph.triples('train'))
