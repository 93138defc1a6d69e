"""Fitted weights against an optimiser that knows nothing of the library."""

import numpy as np
import pytest
import torch
from fake_answers import by_teacher
from scipy.optimize import minimize
from torch_geometric.data import HeteroData

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    Triples,
    add_reciprocals,
    drop_modality,
    get_split,
    pool_features,
)
from dsom_pyg.kg import KG
from dsom_pyg.query_index import QueryIndex, unlabeled_queries
from dsom_pyg.teachers import (
    Answers,
    Context,
    Lookup,
    Mean,
    TeacherEnsemble,
    Weighted,
)
from dsom_pyg.training import (
    Fold,
    Loop,
    PolicyTask,
    TeachersTask,
    fit,
    held_graph,
)

DATA = FakeMMKG(30, 4, 200)[0]
PAIRS = add_reciprocals(get_split(DATA, 'train'), 4)
COUNTS = torch.bincount(PAIRS.edge_type, minlength=8)
# For each pair the entities that are no other answer to its query.
RIVAL = np.ones((len(PAIRS.tail), 30), dtype=bool)
for k, query in enumerate(zip(PAIRS.head, PAIRS.edge_type, strict=True)):
    same = (PAIRS.head == query[0]) & (PAIRS.edge_type == query[1])
    RIVAL[k, PAIRS.tail[same]] = False
    RIVAL[k, PAIRS.tail[k]] = True


def teachers(data: HeteroData = DATA) -> TeacherEnsemble:
    torch.manual_seed(0)
    ensemble = TeacherEnsemble.from_features(KG(data).features, 30, 4, 8)
    loop = Loop(epochs=3, batch_size=50)
    fit(TeachersTask(ensemble), DATA, loop, progress=False)
    return ensemble


def objective(
    flat: np.ndarray, logits: np.ndarray, by_relation: bool, shrinkage: float
) -> float:
    """Mean cross-entropy and prior over all pairs, among no other answers
    of the same query.
    """
    offset = flat[3:].reshape(8, 3) if by_relation else np.zeros((8, 3))
    weights = np.exp(flat[:3] + offset)[PAIRS.edge_type.numpy()]
    rows = np.einsum('km,kme->ke', weights, logits)
    at_target = rows[np.arange(len(rows)), PAIRS.tail.numpy()]
    rows = np.where(RIVAL, rows, -np.inf)
    log_z = np.logaddexp.reduce(rows, axis=1)
    total = (log_z - at_target).sum() + shrinkage * (offset**2).sum()
    return float(total / len(rows))


@pytest.mark.parametrize(
    ('by_relation', 'shrinkage', 'lr'),
    [(False, 0.0, 0.1), (True, 5.0, 0.1), (True, 1e6, 0.03)],
)
def test_the_fit_is_the_optimum(
    by_relation: bool, shrinkage: float, lr: float
) -> None:
    ensemble = teachers()
    batch = Answers(ensemble, PAIRS.head, PAIRS.edge_type)
    logits = by_teacher(batch).double().numpy()
    combiner = Weighted(3, COUNTS if by_relation else None, shrinkage, lr=lr)
    start = np.zeros(3 + 24 * by_relation)
    start[:3] = np.log(1 / 3)
    words = (logits, by_relation, shrinkage)
    best = minimize(objective, start, words, method='L-BFGS-B').fun
    before = objective(start, *words)
    # Every triple is held out, and nothing else is known.
    nothing = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    graph = KG(DATA)
    folds = [Fold(ensemble, graph.with_train(nothing), graph.triples('train'))]
    task = PolicyTask(folds, combiner)
    loop = Loop(epochs=120, batch_size=1000, cooldown=0.6)
    fit(task, held_graph(graph, folds), loop, progress=False)
    parts = [p.detach().double().flatten() for p in combiner.parameters()]
    reached = objective(torch.cat(parts).numpy(), *words)
    assert before - best > 0.05
    assert reached - best < 1e-3
    if shrinkage == 1e6:
        assert combiner.offset is not None
        assert combiner.offset.abs().max() < 1e-3


def test_the_loss_does_not_depend_on_the_batches() -> None:
    combiner = Weighted(3, COUNTS).train()
    with torch.no_grad():
        combiner.offset.normal_()
    ensemble, index = teachers(), QueryIndex(PAIRS)
    total = 0.0
    for part in torch.arange(len(index)).split(7):
        targets = index.rows(part)
        batch = Answers(
            ensemble,
            index.head[part],
            index.rel[part],
            context=Context(known=targets),
        )
        loss = combiner(batch, targets).loss.item()
        total += loss * targets.row.numel()
    flat = [p.detach().double().flatten() for p in combiner.parameters()]
    batch = Answers(ensemble, PAIRS.head, PAIRS.edge_type)
    logits = by_teacher(batch).double().numpy()
    expected = objective(torch.cat(flat).numpy(), logits, True, 10.0)
    assert total / PAIRS.edge_type.numel() == pytest.approx(expected, rel=1e-5)


def test_missing_modalities_get_no_weight() -> None:
    data = drop_modality(DATA, 'text', 0.5)
    head = torch.arange(30)
    batch = Answers(teachers(data), head, torch.zeros_like(head))
    combiner = Weighted(3, COUNTS, mask_missing=True)
    weights = combiner.weights(batch)
    _, present = pool_features(data, 'text')
    column = batch.ensemble.modalities.index('text')
    assert torch.equal(weights[:, column] > 0, present)
    assert torch.equal(weights > 0, batch.available)
    assert (Weighted(3).weights(batch) > 0).all()


def test_it_starts_as_the_mean_and_is_frozen_outside_training() -> None:
    head = torch.arange(5)
    batch = Answers(teachers(), head, torch.zeros_like(head))
    combiner = Weighted(3, COUNTS).eval()
    out = combiner(batch)
    assert out.loss is None
    assert not out.weights.requires_grad
    torch.testing.assert_close(out.weights, Mean().weights(batch))


def test_looked_up_queries_of_narrow_ids() -> None:
    head = torch.tensor([3_000_000, 1], dtype=torch.int32)
    rel = torch.tensor([2000, 0], dtype=torch.int32)
    found = Lookup(head, rel, torch.rand(2, 2)).keys
    assert found.tolist() == [2001, 3_000_000 * 2001 + 2000]


@pytest.mark.parametrize(
    ('queries', 'rows', 'why'),
    [
        ([0, 1], 3, 'got 3 for 2 queries'),
        ([], 0, 'got 0 for 0 queries'),
        ([1, 1], 2, 'a query has several weights'),
    ],
)
def test_weights_that_cannot_be_looked_up(
    queries: list[int], rows: int, why: str
) -> None:
    head = torch.tensor(queries).long()
    with pytest.raises(ValueError, match=why):
        Lookup(head, torch.zeros_like(head), torch.rand(rows, 2))


def test_looked_up_weights_are_those_of_the_combiner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ensemble, index = teachers(), QueryIndex(PAIRS)
    combiner = Weighted(3, COUNTS)
    with torch.no_grad():
        combiner.offset.normal_()
    extra = unlabeled_queries(index, 30, 10)
    decided = Lookup.of(combiner, ensemble, index, extra, batch_size=7)
    at = torch.randperm(len(index))[:20]
    head = torch.cat([index.head[at], extra.head])
    rel = torch.cat([index.rel[at], extra.rel])
    batch = Answers(ensemble, head, rel)
    expected = combiner.eval()(batch)
    torch.testing.assert_close(decided(batch).weights, expected.weights)
    # So are those of a combiner that holds all logits, where they are many:
    # fewer are asked at a time.
    asked_at_a_time = []
    weights_of = Weighted.weights

    def spy(self: Weighted, answers: Answers) -> torch.Tensor:
        asked_at_a_time.append(len(answers))
        return weights_of(self, answers)

    monkeypatch.setattr(Weighted, 'weights', spy)
    row = 4 * 30 * len(ensemble)
    monkeypatch.setattr('dsom_pyg.teachers.lookup.MEMORY', 3 * row + 1)
    Lookup.of(combiner, ensemble, index, extra, batch_size=7)
    assert max(asked_at_a_time) == 7
    asked_at_a_time.clear()
    combiner.wide = True
    few = Lookup.of(combiner, ensemble, index, extra, batch_size=7)
    assert max(asked_at_a_time) == 3
    torch.testing.assert_close(few.table, decided.table)
    monkeypatch.setattr('dsom_pyg.teachers.lookup.MEMORY', 1)
    Lookup.of(combiner, ensemble, index, extra)
    assert asked_at_a_time[-1] == 1
    monkeypatch.undo()
    # Any other query gets the mean.
    asked = set(zip(index.head.tolist(), index.rel.tolist(), strict=True))
    asked |= set(zip(extra.head.tolist(), extra.rel.tolist(), strict=True))
    rest = [(h, r) for h in range(30) for r in range(9) if (h, r) not in asked]
    head, rel = torch.tensor(rest).t()
    weights = decided.weights(Answers(ensemble, head, rel))
    mean = decided.table[:-1].mean(dim=0)
    torch.testing.assert_close(weights, mean.expand(len(rest), -1))
