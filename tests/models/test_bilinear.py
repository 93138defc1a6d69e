import pytest
import torch
from torch import Tensor
from torch_geometric.nn import ComplEx as PyGComplEx
from torch_geometric.nn import DistMult as PyGDistMult

from dsom_pyg.nn import (
    ComplEx,
    DistMult,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    ScoreFunction,
    TeacherEnsemble,
)

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


@pytest.mark.parametrize('score', [ComplEx, DistMult])
@pytest.mark.parametrize('entities', [free, projected, lambda: projected(99)])
def test_triples_and_queries_agree(score, entities) -> None:  # type: ignore[no-untyped-def]
    model = score(entities(), R, scale=1.0)
    head, rel = queries()
    scores = model.score_tails(head, rel)
    assert scores.shape == (4, E)
    for t in range(E):
        torch.testing.assert_close(
            model(head, rel, torch.full((4,), t)), scores[:, t]
        )
    torch.testing.assert_close(
        model.score_tails(head, rel, slice(3, 7)), scores[:, 3:7]
    )
    logits, factors = model.logits_and_factors(
        head, rel, torch.tensor([1, 1, 8])
    )
    torch.testing.assert_close(logits, scores)
    matrix = model.entities()
    torch.testing.assert_close(factors.head, matrix[head])
    torch.testing.assert_close(factors.rel, model.relations[rel])
    torch.testing.assert_close(factors.tail, matrix[[1, 1, 8]])


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
    torch.testing.assert_close(entities.scores(query), query @ expected.t())
    # Both ways have the same gradient.
    entities.scores(query).square().sum().backward()
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


def test_an_own_entity_module_and_score_function() -> None:
    class Shared(EntityModule):
        def __init__(self) -> None:
            super().__init__(E, D)
            self.row = torch.nn.Parameter(torch.randn(1, 2 * D))

        def forward(self) -> Tensor:
            return self.row * torch.arange(1.0, E + 1)[:, None]

    class Sum(ScoreFunction):
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
    with pytest.raises(ValueError, match='same entities'):
        TeacherEnsemble({'a': model, 'b': ComplEx(EntityEmbedding(5, 2), R)})


def test_reset_parameters_draws_anew() -> None:
    model = ComplEx(projected(), R)
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)


class Distance(ScoreFunction):
    """Not a dot product; one bias a relation, besides."""

    def __init__(self, entities: EntityModule, num_relations: int) -> None:
        super().__init__(entities, num_relations, scale=1.0)
        self.bias = torch.nn.Parameter(torch.randn(2 * num_relations, 1))

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return head + rel

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        query, rows = self.query_vectors(head_index, rel_type), self.entities()
        return self.bias[rel_type] - torch.cdist(query, rows[entities])


def test_own_scores_are_what_is_trained() -> None:
    model = Distance(free(), R)
    head, rel = queries()
    logits, factors = model.logits_and_factors(head, rel, torch.tensor([1, 8]))
    torch.testing.assert_close(logits, model.score_tails(head, rel))
    torch.testing.assert_close(factors.tail, model.entities()[[1, 8]])
    logits.sum().backward()
    assert (model.bias.grad[rel] == E).all()


def test_large_numbers_do_not_erase_small_ones() -> None:
    x = torch.tensor([[1.7e13, 60.0, 2.0], [5e12, 45.0, 9.0]])
    entities = FeatureProjection(x, torch.ones(2).bool(), D)
    assert torch.equal(entities.x, x)


@pytest.mark.parametrize('name', ['values', 'audio.wav', ''])
def test_a_name_that_torch_refuses(name: str) -> None:
    features = {name: (torch.zeros(E, 2), torch.ones(E).bool())}
    with pytest.raises(ValueError, match=f"called '{name}', rename"):
        TeacherEnsemble.from_features(features, E, R, D)
