import pytest
import torch
from torch import Tensor
from torch_geometric.nn import ComplEx as PyGComplEx
from torch_geometric.nn import DistMult as PyGDistMult

from dsom_pyg.models import (
    Bilinear,
    ComplEx,
    DistMult,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.query_index import Pairs, QueryBatch
from dsom_pyg.teachers import TeacherEnsemble

E, R, D = 11, 3, 4


def free() -> EntityEmbedding:
    torch.manual_seed(0)
    return EntityEmbedding(E, D, scale=1.0)


def projected(d: int = 5) -> FeatureProjection:
    torch.manual_seed(0)
    present = torch.arange(E) % 3 != 0
    return FeatureProjection(torch.randn(E, d), present, D)


def queries() -> tuple[Tensor, Tensor]:
    return torch.tensor([0, 4, 7, 10]), torch.tensor([0, 2, 3, 5])


@pytest.mark.parametrize('kind', [ComplEx, DistMult])
@pytest.mark.parametrize('entities', [free, projected, lambda: projected(99)])
def test_loss_by_hand(kind, entities) -> None:  # type: ignore[no-untyped-def]
    model = kind(entities(), R, n3=0.3, scale=1.0)
    head, rel = queries()
    # The last query has no tail: it costs nothing.
    targets = Pairs(torch.tensor([0, 0, 2, 1]), torch.tensor([1, 8, 1, 5]))
    batch = QueryBatch(head, rel, targets, targets)
    matrix, ce, cubes = model.entities(), 0.0, 0.0
    scores = model.score_tails(head, rel)
    for q, t in zip(targets.row.tolist(), targets.tail.tolist(), strict=True):
        ce -= scores[q].log_softmax(dim=0)[t].item() / 4
        for row in (matrix[head[q]], model.relations[rel[q]], matrix[t]):
            if kind is ComplEx:
                row = torch.complex(row[:D], row[D:])
            cubes += (row.abs() ** 3).sum().item() / 4
    said, terms = model.scores_and_loss(batch, 'fp32')
    logits = said.dense()
    torch.testing.assert_close(logits, scores)
    assert list(terms) == ['ce', 'n3']
    assert terms['ce'].item() == pytest.approx(ce, rel=1e-5)
    assert terms['n3'].item() == pytest.approx(0.3 * cubes, rel=1e-5)
    alone = model.loss(batch, 'fp32')
    assert {k: v.item() for k, v in alone.items()} == {
        k: v.item() for k, v in terms.items()
    }


def test_complex_equals_pyg() -> None:
    mine = ComplEx(free(), R, scale=1.0)
    theirs = PyGComplEx(E, 2 * R, D)
    weight, relations = mine.entities(), mine.relations
    with torch.no_grad():
        theirs.node_emb.weight.copy_(weight[:, :D])
        theirs.node_emb_im.weight.copy_(weight[:, D:])
        theirs.rel_emb.weight.copy_(relations[:, :D])
        theirs.rel_emb_im.weight.copy_(relations[:, D:])
    head, rel = queries()
    tail = torch.tensor([3, 3, 0, 9])
    torch.testing.assert_close(mine(head, rel, tail), theirs(head, rel, tail))


def test_complex_by_complex_numbers() -> None:
    model = ComplEx(free(), R, scale=1.0)

    def numbers(rows: Tensor) -> Tensor:
        return torch.complex(rows[:, :D], rows[:, D:])

    head, rel = queries()
    h = numbers(model.entities()[head])
    r = numbers(model.relations[rel])
    t = numbers(model.entities())
    expected = ((h * r)[:, None] * t.conj()[None]).sum(-1).real
    torch.testing.assert_close(model.score_tails(head, rel), expected)


def test_distmult_equals_pyg() -> None:
    mine = DistMult(free(), R, scale=1.0)
    theirs = PyGDistMult(E, 2 * R, 2 * D)
    with torch.no_grad():
        theirs.node_emb.weight.copy_(mine.entities())
        theirs.rel_emb.weight.copy_(mine.relations)
    head, rel = queries()
    tail = torch.tensor([3, 3, 0, 9])
    torch.testing.assert_close(mine(head, rel, tail), theirs(head, rel, tail))


@pytest.mark.parametrize('d', [5, 99])
def test_projection_is_features_times_weight(d: int) -> None:
    entities = projected(d)
    expected = entities.x @ entities.weight
    torch.testing.assert_close(entities(), expected)
    assert (entities.x[~entities.present] == 0).all()
    query = torch.randn(3, 2 * D)
    [(coordinates, basis)] = entities.terms(query)
    scores = coordinates @ basis.t()
    torch.testing.assert_close(scores, query @ expected.t())
    # Both ways have the same gradient.
    scores.square().sum().backward()
    assert entities.weight.grad is not None
    mine = entities.weight.grad.clone()
    entities.weight.grad = None
    (query @ entities().t()).square().sum().backward()
    torch.testing.assert_close(mine, entities.weight.grad)


def test_absent_features_do_not_matter() -> None:
    present = torch.arange(E) % 3 != 0
    x = torch.randn(E, 5)
    other = x.clone()
    other[~present] = float('nan')
    a, b = (
        FeatureProjection(x, present, D),
        FeatureProjection(other, present, D),
    )
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(), b())
    assert list(a.state_dict()) == ['weight']


def test_dead_channels_are_zero() -> None:
    x = torch.randn(E, 3)
    x[:, 1] = 1e-36
    entities = FeatureProjection(x, torch.ones(E).bool(), D)
    assert (entities.x[:, 1] == 0).all()
    assert torch.equal(entities.x[:, 0], x[:, 0])


def test_feature_scores_are_unscaled() -> None:
    # Twice the features: heads and tails count once each.
    a, b = projected(), projected()
    b.load_state_dict(a.state_dict())
    b.x.mul_(2)
    head, rel = queries()
    one, two = ComplEx(a, R, scale=1.0), ComplEx(b, R, scale=1.0)
    two.relations.data.copy_(one.relations)
    torch.testing.assert_close(
        4 * one.score_tails(head, rel), two.score_tails(head, rel)
    )


def test_bfloat16_is_close_and_float32_comes_out() -> None:
    model = ComplEx(free(), R, scale=1.0)
    head, rel = queries()
    rough = model.score_tails(head, rel, precision='bf16')
    assert rough.dtype == torch.float32
    exact = model.score_tails(head, rel)
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.1)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ('channels', 'millions'),
    [(2000, 53.6), (1000, 26.8), (512, 13.7216), (64, 1.7152)],
)
def test_student_sizes_on_db15k(channels: int, millions: float) -> None:
    with torch.device('meta'):
        student = ComplEx(EntityEmbedding(12_842, channels), 279)
    assert count(student) == round(millions * 1e6)


def test_teacher_sizes_on_db15k() -> None:
    with torch.device('meta'):
        x = torch.empty(12_842, 768)
        present = torch.ones(12_842, dtype=torch.bool)
        features = {'image': (x, present), 'text': (x, present)}
        teachers = TeacherEnsemble.from_features(features, 12_842, 279, 2000)
    assert count(teachers) == 64_208_000


def test_an_own_entity_module_and_bilinear_model() -> None:
    class Shared(EntityModule):
        def __init__(self) -> None:
            super().__init__(E, D)
            self.row = torch.nn.Parameter(torch.randn(1, 2 * D))

        def forward(self) -> Tensor:
            return self.row * torch.arange(1.0, E + 1)[:, None]

    class Sum(Bilinear):
        def query(self, head: Tensor, rel: Tensor) -> Tensor:
            return head + rel

    model = Sum(Shared(), R)
    head, rel = queries()
    expected = (
        model.entities()[head] + model.relations[rel]
    ) @ model.entities().t()
    torch.testing.assert_close(model.score_tails(head, rel), expected)


def test_structure_is_no_feature_modality() -> None:
    features = {'structure': (torch.zeros(E, 2), torch.ones(E).bool())}
    with pytest.raises(ValueError, match="'structure' is taken"):
        TeacherEnsemble.from_features(features, E, R, D)


def test_representation_and_errors() -> None:
    model = ComplEx(free(), R)
    assert str(model) == (
        'ComplEx(EntityEmbedding(11, hidden_channels=4), num_relations=3)'
    )
    with pytest.raises(ValueError, match='num_relations'):
        ComplEx(free(), 0)
    with pytest.raises(ValueError, match='positive'):
        EntityEmbedding(0, 4)
    with pytest.raises(ValueError, match=r'\[E, d\]'):
        FeatureProjection(torch.zeros(4, 2), torch.ones(3), 4)
    with pytest.raises(ValueError, match='one or more teachers'):
        TeacherEnsemble({})
    with pytest.raises(ValueError, match='num_entities differ'):
        TeacherEnsemble({'a': model, 'b': ComplEx(EntityEmbedding(5, 2), R)})


def test_what_is_no_dot_product_is_no_bilinear_model() -> None:
    with pytest.raises(TypeError, match='Distance overrides score_tails'):

        class Distance(ComplEx):
            def score_tails(  # type: ignore[no-untyped-def]
                self, head, rel, entities=slice(None), precision='fp32'
            ):
                rows = self.entities()[entities]
                return -torch.cdist(self.query_vectors(head, rel), rows)

    with pytest.raises(TypeError, match='Squared overrides forward'):

        class Squared(Bilinear):
            def forward(self, *triple: Tensor) -> Tensor:
                return super().forward(*triple).square()

    class Negated:
        def forward(self, *triple: Tensor) -> Tensor:
            return -super().forward(*triple)  # type: ignore[misc]

    with pytest.raises(TypeError, match='Mixed overrides forward'):

        class Mixed(Negated, ComplEx):
            pass

    # Nor what would be trained on other scores than it gives.
    for name in ('loss', 'query_vectors', 'coordinates', 'encoded'):
        with pytest.raises(TypeError, match=f'Other overrides {name}'):
            type('Other', (ComplEx,), {name: lambda self, *words: None})
    # Another loss comes with the scores that it is a loss of.
    type('Other', (ComplEx,), {'scores_and_loss': lambda self, *words: None})


class Network(EntityModule):
    """Rows with dropout; counts how often they are made."""

    def __init__(self) -> None:
        super().__init__(E, D)
        self.register_buffer('x', torch.randn(E, 5), persistent=False)
        self.linear = torch.nn.Linear(5, 2 * D)
        self.made: list[Tensor] = []

    def forward(self) -> Tensor:
        rows = torch.nn.functional.dropout(
            self.linear(self.x), 0.5, self.training
        )
        self.made.append(rows)
        return rows


class Dropped(EntityEmbedding):
    """A table with dropout."""

    def __init__(self) -> None:
        super().__init__(E, D, scale=1.0)
        self.made: list[Tensor] = []

    def forward(self) -> Tensor:
        rows = torch.nn.functional.dropout(self.weight, 0.5, self.training)
        self.made.append(rows)
        return rows


@pytest.mark.parametrize('kind', [Network, Dropped])
@pytest.mark.parametrize('inside', [False, True])
def test_a_network_is_evaluated_once_a_step(
    kind: type[Network | Dropped], inside: bool
) -> None:
    torch.manual_seed(0)
    network = kind()
    entities: EntityModule = network
    rest = torch.zeros(())
    if inside:
        features = {'text': (torch.randn(E, 3), torch.ones(E).bool())}
        entities = JointEmbedding(features, D, scale=1.0)
        rest = entities().detach() - entities.parts[1]().detach()
        entities.parts[1] = network
    model = ComplEx(entities, R, n3=1.0, scale=1.0).train()
    head, rel = queries()
    targets = Pairs(torch.tensor([0, 1]), torch.tensor([7, 3]))
    batch = QueryBatch(head, rel, targets, targets)
    said, terms = model.scores_and_loss(batch, 'fp32')
    logits = said.dense()
    assert len(network.made) == 1
    # Heads and tails have the same rows, those that were made.
    rows = rest + network.made[0]
    query = model.query(rows[head], model.relations[rel])
    torch.testing.assert_close(logits, query @ rows.t())
    heads, rels, tails = rows[[0, 4]], model.relations[[0, 2]], rows[[7, 3]]
    factors = torch.cat([heads, rels, tails])
    cubes = torch.complex(factors[:, :D], factors[:, D:]).abs() ** 3
    torch.testing.assert_close(terms['n3'], cubes.sum() / 2)
    # Another step has another mask, and all parts learn.
    again = model.scores_and_loss(batch, 'fp32')[0].dense()
    assert len(network.made) == 2
    assert not torch.equal(again, logits)
    torch.stack(list(terms.values())).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).any()


def test_large_numbers_do_not_erase_small_ones() -> None:
    x = torch.tensor([[1.7e13, 60.0, 2.0], [5e12, 45.0, 9.0]])
    entities = FeatureProjection(x, torch.ones(2).bool(), D)
    assert torch.equal(entities.x, x)


@pytest.mark.parametrize('name', ['values', 'audio.wav', ''])
def test_a_name_that_torch_refuses(name: str) -> None:
    features = {name: (torch.zeros(E, 2), torch.ones(E).bool())}
    with pytest.raises(ValueError, match=f"called '{name}', rename"):
        TeacherEnsemble.from_features(features, E, R, D)
