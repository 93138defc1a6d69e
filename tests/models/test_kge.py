"""Score functions against PyG, PyKEEN, and values worked by hand."""

import math
from typing import Any

import pytest
import torch
from pykeen.nn.modules import TuckERInteraction
from torch import Tensor
from torch_geometric.nn import RotatE as PyGRotatE
from torch_geometric.nn import TransE as PyGTransE

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples
from dsom_pyg.kg import KG
from dsom_pyg.models import (
    GCOTE,
    KGE,
    OTE,
    Bilinear,
    ComplEx,
    CrossEntropy,
    DistMult,
    EntityEmbedding,
    EntityModule,
    Negatives,
    RotatE,
    SelfAdversarial,
    Step,
    TransE,
    TuckER,
)
from dsom_pyg.models.gcote import orthonormal
from dsom_pyg.query_index import Pairs, QueryBatch
from dsom_pyg.scores import Scores, sources
from dsom_pyg.scores.tables import Basis, EntityTable
from dsom_pyg.training import DistillTask, Loop, ModelTask, fit

E, R, D = 13, 3, 4
TRIPLES = Triples(
    torch.tensor([[0, 1, 5, 1, 0], [1, 2, 2, 0, 7]]),
    torch.tensor([0, 1, 0, 2, 0]),
)
KINDS: dict[str, Any] = {
    'TransE, 1': lambda e: TransE(e, R, reciprocals=False),
    'TransE, 2': lambda e: TransE(e, R, p=2),
    'RotatE': lambda e: RotatE(e, R, reciprocals=False),
    'TuckER': lambda e: TuckER(e, R, relation_channels=5),
    'ComplEx': lambda e: ComplEx(e, R, reciprocals=False, scale=1.0),
    'DistMult': lambda e: DistMult(e, R, reciprocals=False, scale=1.0),
    'OTE': lambda e: OTE(e, R, block=2),
    'GCOTE': lambda e: GCOTE(e, R, TRIPLES, block=2),
}


def made(name: str, entities: int = E) -> KGE:
    torch.manual_seed(0)
    model: KGE = KINDS[name](EntityEmbedding(entities, D, scale=1.0))
    if isinstance(model, OTE):  # scales other than 1
        torch.nn.init.normal_(model.relations)
    if isinstance(model, GCOTE):
        torch.nn.init.normal_(model.blank)
    return model.double()


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.double)


def row(*values: complex) -> Tensor:
    """A row [real | imaginary]."""
    return torch.cat(
        [vector(*(v.real for v in values)), vector(*(v.imag for v in values))]
    )


@pytest.mark.parametrize('name', KINDS)
def test_shared_negatives_score_as_those_of_each_query(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts, where all pairs at once would leave the cache."""
    monkeypatch.setattr(sources, 'TILE_CPU', 2 * 3 * 2 * D)
    compared: list[int] = []
    once = Scores.compared

    def watched(*args: Any) -> Scores:
        compared.append(args[-1])
        return once(*args)

    monkeypatch.setattr(Scores, 'compared', watched)
    model = made(name)
    head, rel = torch.tensor([0, 5, 1]), torch.tensor([0, 2, 4])
    none = torch.empty(0, dtype=torch.long)
    nothing = Pairs(none, none)
    drawn = torch.tensor([3, 3, 12, 0, 7])
    weight = torch.randn(3, 5, dtype=torch.double)
    found = []
    for ids in (drawn, drawn.expand(3, 5)):
        step = Step(model, QueryBatch(head, rel, nothing, nothing), 'fp32')
        scores = step.of(ids)
        grads = torch.autograd.grad(
            (scores * weight).sum(), [*model.parameters()], allow_unused=True
        )
        found.append((scores, *(x for x in grads if x is not None)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    # Products and distances over a whole row hold a number for each pair, and
    # those over so few blocks not many more.
    alone = isinstance(model, Bilinear | TransE | OTE)
    assert compared == ([] if alone else [model.pair_width()])


@pytest.mark.parametrize('p', [1, 2])
def test_transe_is_that_of_pyg(p: int) -> None:
    model = TransE(EntityEmbedding(E, D, scale=1.0), R, p=p, scale=1.0)
    theirs = PyGTransE(E, 2 * R, 2 * D, p_norm=float(p))
    with torch.no_grad():
        # Theirs takes rows of length 1.
        rows = torch.nn.functional.normalize(model.entities(), p=p, dim=-1)
        model.entities.weight.copy_(rows)
        theirs.node_emb.weight.copy_(rows)
        theirs.rel_emb.weight.copy_(model.relations)
    h, r, t = torch.arange(6), torch.arange(6), torch.arange(6) + 5
    torch.testing.assert_close(model(h, r, t), theirs(h, r, t))


def test_rotate_is_that_of_pyg_by_coordinate() -> None:
    # Theirs takes the length over all coordinates, so one at a time.
    model = RotatE(EntityEmbedding(E, D, scale=1.0), R)
    h, r, t = torch.arange(6), torch.arange(6), torch.arange(6) + 5
    total = torch.zeros(6)
    real, imag = model.entities().detach().chunk(2, dim=1)
    for k in range(D):
        theirs = PyGRotatE(E, 2 * R, 1, margin=0.0)
        with torch.no_grad():
            theirs.node_emb.weight.copy_(real[:, k : k + 1])
            theirs.node_emb_im.weight.copy_(imag[:, k : k + 1])
            theirs.rel_emb.weight.copy_(model.relations[:, k : k + 1])
        total += theirs(h, r, t)
    torch.testing.assert_close(model(h, r, t), total)


def test_tucker_is_that_of_pykeen() -> None:
    model = TuckER(EntityEmbedding(E, D, scale=1.0), R, 5, scale=1.0)
    theirs = TuckERInteraction(
        embedding_dim=2 * D,
        relation_dim=5,
        head_dropout=0.0,
        relation_dropout=0.0,
        head_relation_dropout=0.0,
        apply_batch_normalization=False,
    )
    with torch.no_grad():
        theirs.core_tensor.copy_(model.core.permute(1, 0, 2))
    h, r, t = torch.arange(6), torch.arange(6), torch.arange(6) + 5
    rows = model.entities()
    expected = theirs(rows[h], model.relations[r], rows[t])
    torch.testing.assert_close(model(h, r, t), expected)


def test_values_by_hand() -> None:
    entities = EntityEmbedding(3, 2).double()
    # TransE: h + r = t has distance 0.
    model = TransE(entities, 1)
    h, r = vector(1, 2, 3, 4), vector(1, -1, 0, 2)
    assert model.compare(model.query(h, r), h + r).item() == 0
    assert model.compare(model.query(h, r), h).item() == -4
    # RotatE: moduli of differences.
    turn = RotatE(entities, 1)
    query = turn.query(row(1 + 2j, 1j)[None], vector(math.pi / 3, 0)[None])
    found = turn.compare(query, row(1j, 1)[None])
    assert found.item() == pytest.approx(-2.920185, abs=1e-6)
    quarter = turn.query(row(1, 1)[None], vector(math.pi / 2, 0)[None])
    assert turn.compare(quarter, row(1j, 1)[None]).item() == pytest.approx(0)
    # ComplEx: h = 1 + 2i, r = 3 - i, t = 2 + i.
    one = EntityEmbedding(3, 1).double()
    product = ComplEx(one, 1)
    query = product.query(row(1 + 2j), row(3 - 1j))
    assert product.compare(query, row(2 + 1j)).item() == pytest.approx(15)


def test_tucker_holds_distmult_and_complex() -> None:
    torch.manual_seed(0)
    h, r, t = torch.randn(3, 5, 2 * D).double().unbind()
    entities = EntityEmbedding(3, D).double()
    tucker = TuckER(entities, 1, 2 * D).double()
    core = torch.zeros(2 * D, 2 * D, 2 * D).double()
    every = torch.arange(2 * D)
    core[every, every, every] = 1.0
    tucker.core.data = core
    found = tucker.compare(tucker.query(h, r), t)
    torch.testing.assert_close(found, (h * r * t).sum(dim=1))
    # Re<h, r, conj t>: four products of real numbers, one of them negative.
    core = torch.zeros_like(core)
    re, im = every[:D], every[D:]
    for rel, head, tail, sign in (
        (re, re, re, 1.0),
        (re, im, im, 1.0),
        (im, re, im, 1.0),
        (im, im, re, -1.0),
    ):
        core[rel, head, tail] = sign
    tucker.core.data = core
    other = ComplEx(entities, 1)
    torch.testing.assert_close(
        tucker.compare(tucker.query(h, r), t),
        other.compare(other.query(h, r), t),
    )


def test_tucker_in_training() -> None:
    torch.manual_seed(0)
    entities = EntityEmbedding(E, D, scale=1.0)
    model = TuckER(entities, R, 5, 0.2, 0.3, 0.4, batch_norm=True)
    count = sum(p.numel() for p in model.parameters())
    assert count == 2 * D * E + 5 * 2 * R + 5 * (2 * D) ** 2 + 2 * 2 * 2 * D
    head, rel = torch.arange(6), torch.arange(6)
    one = model.query_vectors(head, rel)
    assert not torch.equal(one, model.query_vectors(head, rel))
    # Each of the three dropouts, and both normalisations, do something.
    for at in range(3):
        shares = [0.0, 0.0, 0.0]
        shares[at] = 0.5
        torch.manual_seed(0)
        one = TuckER(entities, R, 5, *shares, scale=1.0)
        found = [one.query_vectors(head, rel) for _ in range(2)]
        assert not torch.equal(*found)
    plain = model.norms[1]
    assert isinstance(plain, torch.nn.BatchNorm1d)
    assert plain.num_batches_tracked.item() > 0
    # A batch of one query has no variance.
    assert model.query_vectors(head[:1], rel[:1]).isfinite().all()
    model.eval()
    one = model.query_vectors(head, rel)
    assert torch.equal(one, model.query_vectors(head, rel))


def test_tucker_makes_a_matrix_once_for_all_queries_of_a_relation() -> None:
    torch.manual_seed(0)
    entities = EntityEmbedding(E, D, scale=1.0)
    model = TuckER(entities, R, 5, scale=1.0, batch_norm=True).double()
    head, rel = torch.arange(7), torch.tensor([3, 0, 3, 1, 0, 3, 2 * R - 1])
    made = []
    matrices = model._matrices
    model._matrices = lambda rows: made.append(len(rows)) or matrices(rows)
    leaves = model.relations, model.core, entities.weight
    found = []
    for query in (
        model.query_vectors(head, rel),
        model.query(model.entities()[head], model.relations[rel]),
    ):
        # Both gradients, of all that is learned.
        found.append((query, *torch.autograd.grad(query.sin().sum(), leaves)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert made == [4, 7]
    assert model.query_vectors(head[:0], rel[:0]).shape == (0, 2 * D)


def test_ote_by_hand() -> None:
    model = OTE(EntityEmbedding(2, 1).double(), 1, block=2).double()
    raw = vector(1, 1, 0, 1, 0, 0)
    model.relations.data = raw[None]
    half = 0.5**0.5
    expected = torch.tensor([[half, half], [-half, half]]).double()
    found = orthonormal(raw[:4].view(2, 2))
    torch.testing.assert_close(found, expected)
    zero, one = torch.tensor([0]), torch.tensor([1])
    there, back = model.relation_rows(zero), model.relation_rows(one)
    x = vector(1, 2)[None]
    y = model.map(x, there)
    torch.testing.assert_close(y, vector(-0.7071068, 2.1213203)[None])
    assert model.compare(y, vector(0, 1)[None]).item() == pytest.approx(
        -1.325654, abs=1e-6
    )
    torch.testing.assert_close(model.map(y, back), x)
    # With scales.
    model.relations.data[0, 4:] = vector(0.5, -0.2)
    there, back = model.relation_rows(zero), model.relation_rows(one)
    y = model.map(x, there)
    torch.testing.assert_close(
        y, vector(0.007962, 2.323682)[None], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(model.map(y, back), x)
    model.as_coded = True
    other = model.map(y, model.relation_rows(one))
    torch.testing.assert_close(
        other, vector(2.010291, 2.003462)[None], atol=1e-6, rtol=0
    )


def test_ote_of_pairs_is_rotate() -> None:
    torch.manual_seed(0)
    entities = EntityEmbedding(E, D, scale=1.0)
    turn, model = RotatE(entities, 1, reciprocals=False), OTE(entities, 1, 2)
    # [real | imaginary] there, pairs here.
    pairs = entities.weight.unflatten(1, (2, D)).transpose(1, 2).flatten(1)
    cos, sin = turn.relations[0].cos(), turn.relations[0].sin()
    blocks = torch.stack([cos, sin, -sin, cos], dim=1).flatten()
    model.relations.data[0, : 4 * D] = blocks.detach()
    rel = torch.tensor([0, 1])
    query = model.query(pairs[:2], model.relation_rows(rel))
    found = model.compare(query[:, None], pairs)
    torch.testing.assert_close(found, turn.scores(rel, rel).dense())


@pytest.mark.parametrize('block', [2, 4])
@pytest.mark.parametrize('name', ['OTE', 'GCOTE'])
def test_distances_by_products(name: str, block: int) -> None:
    """Of all pairs at once, against the lengths of differences."""
    torch.manual_seed(0)
    words = (TRIPLES,) if name == 'GCOTE' else ()
    kind = GCOTE if name == 'GCOTE' else OTE
    entities = EntityEmbedding(E, D, scale=1.0)
    model = kind(entities, R, *words, block=block, scale=0.5).double()
    torch.nn.init.normal_(model.relations)
    if isinstance(model, GCOTE):
        torch.nn.init.normal_(model.blank)
    rows = whole(model.encoded().table())
    rel = torch.tensor([0, 2, R, 2 * R - 1])
    # Of heads without triples: other contexts are nearly the tails that are
    # asked for, and of a difference that is nearly 0 little is left.
    query = model.query(rows[8:12], model.relation_rows(rel)).detach()
    found = []
    for compare, asked in (
        (model.compare_all, query),
        (model.compare, query[:, None]),
    ):
        ends = asked.clone().requires_grad_(), rows.clone().requires_grad_()
        scores = compare(*ends)
        weight = torch.arange(scores.numel()).view_as(scores).to(scores)
        grads = torch.autograd.grad((scores * weight).sum(), ends)
        found.append((scores, grads[0].flatten(), grads[1]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_no_distance_at_all() -> None:
    """Where a relation takes a head to a tail, in fp32."""
    torch.manual_seed(0)
    model = OTE(EntityEmbedding(E, 64, scale=1.0), R)
    torch.nn.init.normal_(model.relations)
    rows = model.relation_rows(torch.zeros(E, dtype=torch.long))
    query = model.query(model.entities(), rows).detach().requires_grad_()
    scores = model.compare_all(query, query.detach())
    # 32 blocks; rounding leaves some 1e-7 of the squares of lengths.
    assert scores.diagonal().abs().max() < 1e-3 * query.norm(dim=1).max()
    assert scores.argmax(dim=1).tolist() == list(range(E))
    scores.sum().backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()


def whole(table: Basis) -> Tensor:
    matrix = table.matrix if isinstance(table, EntityTable) else table
    return matrix.detach()


def gcote_by_hand(model: GCOTE, triple: tuple[int, int, int]) -> float:
    """Eq. 11 to 14, from the triples themselves."""
    h, r, t = triple
    x = model.entities()

    def turned(e: int, rel: int, back: bool) -> Tensor:
        at = torch.tensor([rel + R * back])
        rows = OTE.relation_rows(model, at)
        return model.map(x[e][None], rows)[0]

    def context(e: int, side: int) -> Tensor:
        edges = zip(
            *TRIPLES.edge_index.tolist(), TRIPLES.edge_type, strict=True
        )
        messages = [model.blank[side]]
        for a, b, rel in edges:
            if (b if side == 0 else a) == e:
                other = a if side == 0 else b
                messages.append(turned(other, int(rel), side == 1))
        many = torch.stack(messages)
        weight = ((many @ x[e]) / (2 * D) ** 0.5).softmax(dim=0)
        return weight @ many

    def far(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).view(-1, model.block).norm(dim=1).sum()

    there, back = turned(h, r, False), turned(t, r, True)
    total = far(back, x[h]) + far(back, context(h, 1))
    total = total + far(there, x[t]) + far(there, context(t, 0))
    return -total.item() / 4


def test_gcote_by_hand() -> None:
    model = made('GCOTE')
    for h, r, t in ((0, 0, 1), (5, 2, 12), (1, 1, 0)):
        expected = gcote_by_hand(model, (h, r, t))
        ids = (torch.tensor([x]) for x in (h, r, t))
        assert model(*ids).item() == pytest.approx(expected)


def test_a_batch_does_not_see_its_own_triples() -> None:
    model = made('GCOTE')
    targets = Pairs(torch.tensor([0, 1]), torch.tensor([1, 1]))
    # (0, 0, 1), and (1, 1, 2) asked from its tail.
    asked = torch.tensor([0, 2]), torch.tensor([0, 1 + R])
    batch = QueryBatch(*asked, targets, targets)
    left = torch.tensor([2, 3, 4])
    fewer = Triples(TRIPLES.edge_index[:, left], TRIPLES.edge_type[left])
    other = GCOTE.of(model, fewer)
    other.blank = model.blank
    torch.testing.assert_close(model.encoded(batch)(), other.encoded()())
    assert not torch.allclose(model.encoded()(), other.encoded()())


def test_contexts_of_few_entities_are_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made('GCOTE')
    assert isinstance(model, GCOTE)
    model.objective = SelfAdversarial(negatives=Negatives(3, shared=True))
    targets = Pairs(torch.tensor([0, 1]), torch.tensor([1, 1]))
    asked = torch.tensor([0, 2]), torch.tensor([0, 1 + R])
    batch = QueryBatch(*asked, targets, targets)
    index = torch.tensor([2, 9, 0, 2, 1])  # 9 has no triple
    few = model.encoded(batch).rows(index)
    every = model.encoded(batch)()[index]
    torch.testing.assert_close(few, every)
    weight = torch.randn_like(few)
    own = [*model.parameters()]
    grads = [
        torch.autograd.grad((x * weight).sum(), own) for x in (few, every)
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
    # A step with negatives makes no others.
    wide: list[int] = []
    forward = type(model.encoded(batch)).forward

    def counted(made: EntityModule) -> Tensor:
        wide.append(1)
        return forward(made)

    monkeypatch.setattr(type(model.encoded(batch)), 'forward', counted)
    sum(model.loss(batch, 'fp32').values()).backward()
    assert not wide
    model.objective = CrossEntropy()
    model.loss(batch, 'fp32')
    assert wide == [1]


def test_the_second_stage_begins_as_the_first() -> None:
    first = made('OTE')
    second = GCOTE.of(first, TRIPLES)
    assert isinstance(first, OTE)
    assert second.entities is first.entities
    assert second.relations is first.relations
    assert second.block == first.block


@pytest.mark.parametrize('name', KINDS)
@pytest.mark.parametrize('size', [3, 5 * E, 2**17])
def test_scores_and_gradients_in_chunks(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, 'CHUNK_CPU', size)
    monkeypatch.setattr(sources, 'COLUMNS', 2)
    monkeypatch.setattr(sources, 'TILE_CPU', 7 * size)
    if size == 3:
        monkeypatch.setattr(sources, 'KEEP_LEARNING', 0)
    model = made(name).eval()
    head, rel = torch.tensor([0, 5, 1, 12]), torch.tensor([0, 5, 2, 3])
    every = [
        model(head, rel, torch.full_like(head, tail)) for tail in range(E)
    ]
    plain = torch.stack(every, dim=1)
    scores = model.scores(head, rel)
    torch.testing.assert_close(scores.dense(), plain)
    some = Pairs(torch.tensor([0, 0, 3]), torch.tensor([4, 12, 0]))
    torch.testing.assert_close(scores.at(some), plain[some.row, some.tail])
    weight = torch.rand(4).double()
    (plain.logsumexp(dim=1) * weight).sum().backward()
    expected = {n: p.grad for n, p in model.named_parameters()}
    model.zero_grad()
    (model.scores(head, rel).logsumexp() * weight).sum().backward()
    for parameter, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[parameter])
    with torch.no_grad():
        part = model.score_tails(head, rel, slice(3, 9))
    torch.testing.assert_close(part, plain[:, 3:9])


@pytest.mark.parametrize('name', KINDS)
def test_reciprocals_that_are_inverses(name: str) -> None:
    model = made(name).eval()
    if model.reciprocals:
        return
    if name == 'OTE':  # lengths differ where scales are not 1
        model.relations.data[:, -2 * D :] = 0.0
    h, r, t = torch.arange(6), torch.arange(6) % R, torch.arange(6) + 5
    torch.testing.assert_close(model(h, r, t), model(t, r + R, h))


class Stubborn(Bilinear):
    """It does not say what a reciprocal is."""


def test_who_knows_no_inverse() -> None:
    with pytest.raises(ValueError, match='reciprocals=True'):
        Stubborn(EntityEmbedding(E, D), R, reciprocals=False)
    for kind, options in ((TransE, {'p': 3}), (OTE, {'block': 3})):
        with pytest.raises(ValueError, match='got 3'):
            kind(EntityEmbedding(E, D), R, **options)


GRAPH = KG(FakeMMKG(E, R, 60, seed=1)[0])


@pytest.mark.parametrize('name', KINDS)
def test_each_learns_and_teaches(name: str) -> None:
    """As a plain model, as a teacher, and as a student."""
    from dsom_pyg.teachers import Mean, TeacherEnsemble

    loop = Loop(epochs=3, batch_size=16)
    model, student = made(name).float(), made(name).float()
    assert (model.num_entities, model.num_relations) == (E, R)
    history = fit(ModelTask(model), GRAPH, loop).history
    assert history[-1]['loss'] < history[0]['loss']
    teachers = TeacherEnsemble({'one': model, 'two': made('ComplEx').float()})
    task = DistillTask(student, teachers.requires_grad_(False), Mean())
    history = fit(task, GRAPH, loop).history
    assert history[-1]['ndkd'] < history[0]['ndkd']


@pytest.mark.parametrize('name', ['TransE, 1', 'TransE, 2', 'RotatE', 'OTE'])
def test_a_distance_of_0_has_a_gradient(name: str) -> None:
    model = made(name)
    query = model.query_vectors(torch.tensor([3]), torch.tensor([0]))
    for compare in (model.compare, model.compare_all):
        found = compare(query, query.detach())
        assert found.item() == pytest.approx(0.0, abs=1e-12)
        [grad] = torch.autograd.grad(found.sum(), query, retain_graph=True)
        assert grad.isfinite().all()


@pytest.mark.parametrize('block', [4, 20])
def test_blocks_are_orthonormal(block: int) -> None:
    torch.manual_seed(0)
    q = orthonormal(torch.rand(500, block, block))
    far = (q @ q.transpose(1, 2) - torch.eye(block)).abs().max()
    assert far < 1e-5
