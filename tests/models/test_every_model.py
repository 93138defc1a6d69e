"""What every exported model promises, whatever it computes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transe import TransE

from dsom_pyg import models
from dsom_pyg.graph import Triples, add_reciprocals
from dsom_pyg.models import (
    GCOTE,
    KGE,
    OTE,
    Bilinear,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
    Model,
    Observed,
    OneHop,
    Step,
)
from dsom_pyg.query_index import Pairs, QueryBatch, QueryIndex

E, R, D = 11, 3, 4
HEAD, REL = torch.tensor([0, 4, 7, 10]), torch.tensor([0, 2, 3, 5])
TARGETS = Pairs(torch.tensor([0, 1, 1, 3]), torch.tensor([1, 2, 5, 8]))
BATCH = QueryBatch(HEAD, REL, TARGETS, TARGETS)
X = torch.randn(E, 5, generator=torch.Generator().manual_seed(9))
PRESENT = torch.arange(E) % 3 != 0
PRESENT[0] = True

# Triples of all heads of the batch, by other relations than it asks for too.
ENDS = torch.tensor([[0, 0, 4, 7, 10, 1], [1, 4, 7, 10, 0, 2]])
INDEX = QueryIndex(
    add_reciprocals(Triples(ENDS, torch.tensor([0, 1, 2, 0, 1, 2])), R), E, R
)

# A new entity module, or a new model that is not bilinear, says here how it
# is made.
ENTITIES: dict[type[EntityModule], Callable[[], EntityModule]] = {
    EntityEmbedding: lambda: EntityEmbedding(E, D, scale=1.0),
    FeatureProjection: lambda: FeatureProjection(X, PRESENT, D),
    JointEmbedding: lambda: JointEmbedding({'text': (X, PRESENT)}, D, 1.0),
    OneHop: lambda: OneHop(
        FeatureProjection(X, PRESENT, D), INDEX, dropout=0.0
    ),
}
OTHERS: dict[type[Model], Callable[[], Model]] = {TransE: lambda: TransE(E, R)}
# None of the batch, which would be left out.
GRAPH = Triples(torch.tensor([[0, 1, 9], [3, 5, 1]]), torch.tensor([0, 2, 1]))
# What a model asks for beside entities and R.
OPTIONS: dict[type[Model], dict[str, object]] = {
    GCOTE: {'triples': GRAPH},
    models.TuckER: {'relation_channels': 5, 'n3': 0.01},
}


def exported(base: type) -> list[type]:
    found = [getattr(models, name) for name in models.__all__]
    abstract = (EntityModule, Model, KGE, Bilinear)
    return [
        each
        for each in found
        if isinstance(each, type)
        and issubclass(each, base)
        and each not in abstract
        # These learn nothing, as test_observed says.
        and not issubclass(each, Observed)
    ]


def every() -> list[tuple[type, type | None]]:
    kinds = {kind: None for kind in (*exported(Model), *OTHERS)}
    return [
        (kind, entities)
        for kind in kinds
        for entities in (
            exported(EntityModule) if issubclass(kind, KGE) else [None]
        )
        if (kind, entities) != (GCOTE, OneHop)  # refused, as tested elsewhere
    ]


@pytest.fixture(params=every(), ids=lambda words: str(words))
def model(request: pytest.FixtureRequest) -> Model:
    kind, entities = request.param
    torch.manual_seed(0)
    if entities is None:
        return OTHERS[kind]()
    options = OPTIONS.get(kind, {})
    made: Model = kind(ENTITIES[entities](), R, scale=1.0, **options)
    return made


def test_forward_is_what_score_tails_says(model: Model) -> None:
    scores = model.score_tails(HEAD, REL)
    assert scores.shape == (4, E)
    assert scores.dtype == torch.float32
    # Lengths of differences that are made by products are rounded more.
    loose = {'rtol': 1e-4, 'atol': 1e-4} if isinstance(model, OTE) else {}
    for t in range(E):
        tail = torch.full_like(HEAD, t)
        found = model(HEAD, REL, tail)
        torch.testing.assert_close(found, scores[:, t], **loose)
    for part in (slice(3, 7), slice(0, 1), slice(9, E), slice(None)):
        found = model.score_tails(HEAD, REL, part)
        torch.testing.assert_close(found, scores[:, part])
    # The caller may overwrite them.
    model.score_tails(HEAD, REL).detach().zero_()
    torch.testing.assert_close(model.score_tails(HEAD, REL), scores)
    logits = model.scores_and_loss(BATCH, 'fp32')[0].dense()
    torch.testing.assert_close(logits, scores)


def test_relations_are_scored_as_triples_are(model: Model) -> None:
    if not isinstance(model, KGE):
        return
    # Both in evaluation: a query by itself, and drops nothing.
    model.eval()
    step = Step(model, BATCH, 'fp32')
    scores = step.of_relations()
    assert scores.shape == (4, 2 * R)
    head = HEAD[TARGETS.row]
    for r in range(2 * R):
        one = step.entities.rows(head), step.entities.rows(TARGETS.tail)
        rel = model.relation_rows(torch.full_like(head, r))
        expected = model.compare(model.query(one[0], rel), one[1])
        torch.testing.assert_close(scores[:, r], expected)
    # Where entity rows are the same in every step, triples say it as well.
    if not isinstance(model, GCOTE) and not model.entities.by_query:
        for r in range(2 * R):
            found = model(head, torch.full_like(head, r), TARGETS.tail)
            torch.testing.assert_close(scores[:, r], found)


def test_both_sides_are_asked_of_a_model_with_its_own_relations(
    model: Model,
) -> None:
    # A relation and its reciprocal are two, and each head is its own.
    assert (model.num_entities, model.num_relations) == (E, R)
    scores = model.score_tails(torch.ones(2 * R).long(), torch.arange(2 * R))
    assert len(scores.unique(dim=0)) == 2 * R


def test_loss_teaches_every_parameter(model: Model) -> None:
    terms = model.loss(BATCH, 'fp32')
    assert all(term.isfinite() and term.dim() == 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any(), name


def test_a_few_steps_lift_the_targets_above_all_others(model: Model) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(model.loss(BATCH, 'fp32').values())).sum().backward()
        optimizer.step()
    scores = model.score_tails(HEAD, REL)
    for query in range(4):
        tails = TARGETS.tail[TARGETS.row == query]
        best = scores[query].topk(max(1, tails.numel())).indices
        if tails.numel():
            assert set(best.tolist()) == set(tails.tolist())


def test_queries_without_tails_cost_nothing(model: Model) -> None:
    asked = TARGETS.row.unique()
    row = torch.searchsorted(asked, TARGETS.row)
    targets = Pairs(row, TARGETS.tail)
    fewer = QueryBatch(HEAD[asked], REL[asked], targets, targets)
    for name, term in model.loss(fewer, 'fp32').items():
        torch.testing.assert_close(term, model.loss(BATCH, 'fp32')[name])


def test_reset_parameters_draws_everything_anew(model: Model) -> None:
    drawn = []
    for _ in range(2):
        for parameter in model.parameters():
            nn.init.constant_(parameter, 7.0)
        model.reset_parameters()
        drawn.append({n: p.clone() for n, p in model.named_parameters()})
    assert drawn[0]
    for name, one in drawn[0].items():
        assert (one != 7.0).all(), name
        # What is not drawn begins as 0.
        other = drawn[1][name]
        assert ((one != other) | ((one == 0) & (other == 0))).all(), name
    assert any((one != 0).all() for one in drawn[0].values())


def test_n3_is_of_models_that_have_it(model: Model) -> None:
    terms = model.loss(BATCH, 'fp32')
    assert ('n3' in terms) == hasattr(model, 'n3')
    if 'n3' in terms:
        assert terms['n3'] > 0
        model.n3 = 7 * model.n3  # type: ignore[assignment, operator]
        again = model.loss(BATCH, 'fp32')
        torch.testing.assert_close(again['n3'], 7 * terms['n3'])
        torch.testing.assert_close(again['ce'], terms['ce'])


def test_a_model_knows_its_own_size() -> None:
    for size in ((0, R), (E, 0)):
        with pytest.raises(ValueError, match='positive'):
            TransE(*size)
