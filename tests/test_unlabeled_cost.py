"""Drawing unlabeled queries costs what the data cost, and draws the same."""

import pytest
import torch

from dsom_pyg.graph import Triples, add_reciprocals
from dsom_pyg.query_index import Queries, QueryIndex, unlabeled_queries


def from_dense_rows(index: QueryIndex, num: int, seed: int) -> Queries:
    """The same draws from a matrix of all relations, counted one by one."""
    head, rel, size = index.head, index.rel, int(index.rel.max()) + 1
    shared = torch.zeros(size, size)
    for h in head.unique():
        mine = rel[head == h]
        for r in mine:
            shared[r, mine] += 1
    shared.fill_diagonal_(0)
    rows = (shared.sum(dim=1)[rel] > 0).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    found: set[int] = set()
    known = set((head * size + rel).tolist())
    for _ in range(20 if len(rows) else 0):
        count, draws = len(found), (max(2 * num, 4096),)
        at = rows[torch.randint(len(rows), draws, generator=generator)]
        at = at[rel[at].argsort(stable=True)]
        _, times = rel[at].unique(return_counts=True)
        for same in at.split(times.tolist()):
            row = shared[rel[same[0]]]
            drawn = torch.multinomial(
                row, len(same), replacement=True, generator=generator
            )
            found |= set((head[same] * size + drawn).tolist()) - known
        if len(found) >= num or len(found) == count:
            break
    order = torch.randperm(len(found), generator=generator)[:num]
    keys = torch.tensor(sorted(found), dtype=torch.long)[order]
    return Queries(keys // size, keys % size)


def graph(entities: int, relations: int, count: int, skew: int) -> QueryIndex:
    generator = torch.Generator().manual_seed(relations)
    ends = torch.randint(entities, (2, count), generator=generator)
    share = torch.rand(count, generator=generator) ** skew
    triples = Triples(ends, (share * relations).long())
    return QueryIndex(add_reciprocals(triples, relations))


@pytest.mark.parametrize(
    ('entities', 'relations', 'count', 'skew'),
    [
        (30, 4, 100, 1),
        (200, 20, 150, 1),
        (600, 200, 2000, 6),  # some relations are drawn once
        (50, 1, 60, 1),
        (40, 30, 20, 1),
    ],
)
def test_the_draws_are_those_from_dense_rows(
    entities: int, relations: int, count: int, skew: int
) -> None:
    index = graph(entities, relations, count, skew)
    for num in (5, 3000):
        drawn = unlabeled_queries(index, entities, num, seed=num)
        expected = from_dense_rows(index, num, seed=num)
        assert torch.equal(drawn.head, expected.head)
        assert torch.equal(drawn.rel, expected.rel)


def test_relations_that_are_not_in_use_cost_nothing() -> None:
    """A matrix of all would have 200,000 rows and columns: 160 GB."""
    small = graph(30, 4, 100, 1)
    # Relations apart: 0, 1, 2, ... become 0, 28571, 57142, ...
    step = 200_000 // 7
    pairs = small.rows(torch.arange(len(small)))
    ends = torch.stack([small.head[pairs.row], pairs.tail])
    large = QueryIndex(Triples(ends, step * small.rel[pairs.row]))
    drawn, same = (
        unlabeled_queries(x, 30, 20, seed=1) for x in (large, small)
    )
    assert torch.equal(drawn.head, same.head)
    assert torch.equal(drawn.rel, step * same.rel)


def test_an_empty_index_offers_nothing() -> None:
    none = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    assert len(unlabeled_queries(QueryIndex(none), 3, 5).head) == 0
