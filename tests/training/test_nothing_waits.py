"""Between the steps of an epoch the host waits for no device."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dsom_pyg import Recipe, train_dsom
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.models import (
    ComplEx,
    EntityEmbedding,
    Negatives,
    SelfAdversarial,
)
from dsom_pyg.policies import HeldOut, MeanOfTeachers, RewardedPolicy
from dsom_pyg.scores import chunks, sources
from dsom_pyg.stages import Student, Teachers, Unlabeled
from dsom_pyg.training import (
    Adam,
    Loop,
    ModelTask,
    RowwiseAdagrad,
    Task,
    fit,
)
from dsom_pyg.training.batches import QueryLoader

GRAPH = KG(FakeMMKG(60, 4, 300)[0])
# Their shapes, or what they return, depend on values: a device is waited for.
READING = {
    *('_local_scalar_dense', 'nonzero', 'masked_select', 'bincount', 'equal'),
    *('_unique2', 'unique_dim', 'unique_consecutive', 'isin'),
}
# Copies of what a list of Python holds.
FRESH = {'lift_fresh', 'lift_fresh_copy'}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}


class Watch(TorchDispatchMode):
    """Notes what a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.entered = 0

    def __enter__(self) -> Any:
        self.entered += 1
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = func._schema.name.split('::')[1], kwargs or {}
        waits = name in READING | FRESH
        if name == 'repeat_interleave':
            waits = kwargs.get('output_size') is None
        if name in INDEXING:
            masks = (torch.bool, torch.uint8)
            waits = any(i is not None and i.dtype in masks for i in args[1])
        if waits:
            self.found.append(name)
        return func(*args, **kwargs)


@pytest.mark.parametrize(
    'wait',
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: (x > 0).nonzero(),
        lambda x: x.unique(),
        lambda x: bool((x > 0).any()),
        lambda x: x + torch.tensor([1.0]),
        lambda x: torch.isin(x, x),
        lambda x: torch.arange(3).repeat_interleave(x.long()),
        lambda x: x.masked_scatter(x > 0, x)[x > 0].sum().backward(),
    ],
)
def test_the_watch_sees(wait: Any) -> None:
    x = torch.ones(3, requires_grad=True)
    with Watch() as watch:
        wait(x)
    assert watch.found


def a_model(loop: Loop, device: str) -> None:
    table = EntityEmbedding(GRAPH.num_entities, 4)
    task = ModelTask(ComplEx(table, GRAPH.num_relations))
    fit(task, GRAPH, loop, device=device)


def with_negatives(loop: Loop, device: str) -> None:
    for shared in (False, True):
        objective = SelfAdversarial(negatives=Negatives(5, shared=shared))
        table = EntityEmbedding(GRAPH.num_entities, 4)
        words: dict[str, Any] = {'objective': objective}
        model = ComplEx(table, GRAPH.num_relations, **words)
        fit(ModelTask(model), GRAPH, loop, device=device)


def mean_of_teachers(loop: Loop, device: str) -> None:
    trained(loop, device, MeanOfTeachers())


def policy(loop: Loop, device: str) -> None:
    trained(loop, device, HeldOut(learner=RewardedPolicy(epochs=1)))


def trained(loop: Loop, device: str, chosen: Any) -> None:
    recipe = Recipe(
        teachers=Teachers(channels=4, loop=loop),
        student=Student(channels=4, loop=loop, unlabeled=Unlabeled(30)),
        policy=chosen,
        device=device,
    )
    train_dsom(GRAPH, recipe)


RUNS = (a_model, with_negatives, mean_of_teachers, policy)
LOOPS = (
    Loop(epochs=2, batch_size=40, optimizer=Adam()),
    Loop(
        epochs=2,
        batch_size=40,
        batch_by='triples',
        optimizer=RowwiseAdagrad(),
        equal_pairs=True,
    ),
)


def watched(monkeypatch: pytest.MonkeyPatch, before: Any, after: Any) -> None:
    """Call something around each batch and each step."""
    batches, update = QueryLoader.__iter__, Task.update

    def iterate(self: QueryLoader) -> Iterator[Any]:
        given = batches(self)
        # The first one comes with what is done once an epoch.
        batch = next(given, None)
        while batch is not None:
            yield batch
            before()
            batch = next(given, None)
            after()

    def step(self: Task, *args: Any) -> dict[str, Tensor]:
        # Those of a policy, and of its weights, which rank, are few.
        if self.name in ('policy', 'weights'):
            return update(self, *args)
        before()
        terms = update(self, *args)
        after()
        return terms

    monkeypatch.setattr(QueryLoader, '__iter__', iterate)
    monkeypatch.setattr(Task, 'update', step)


@pytest.mark.parametrize('loop', LOOPS)
@pytest.mark.parametrize('run', RUNS)
@pytest.mark.parametrize('chunk', [2**26, 7 * 80])
def test_as_if_on_a_device(
    run: Any, loop: Loop, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, 'HOSTS', ())
    monkeypatch.setattr(sources, 'CHUNK_CPU', chunk)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    watch = Watch()
    end = partial(watch.__exit__, None, None, None)
    watched(monkeypatch, watch.__enter__, end)
    run(loop, 'cpu')
    assert watch.entered > 10
    assert not watch.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('loop', LOOPS)
@pytest.mark.parametrize('run', RUNS)
@pytest.mark.parametrize('chunk', [2**26, 7 * 80])
def test_on_a_device(
    run: Any, loop: Loop, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_GPU', chunk)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    mode = torch.cuda.set_sync_debug_mode
    try:
        watched(monkeypatch, lambda: mode('error'), lambda: mode('default'))
        run(loop, 'cuda')
    finally:
        mode('default')
