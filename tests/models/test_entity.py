"""Entity modules and ensembles beyond a single model."""

import pytest
import torch
from torch import Tensor

from dsom_pyg.models import (
    Bilinear,
    ComplEx,
    DistMult,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.teachers import TeacherEnsemble


def products(entities: EntityModule, query: Tensor) -> Tensor:
    return torch.stack(
        [c @ basis.t() for c, basis in entities.terms(query)]
    ).sum(dim=0)


def test_joint_embedding_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    features = {
        'text': (torch.randn(6, 3), torch.ones(6, dtype=torch.bool)),
        'image': (torch.randn(6, 40), torch.ones(6, dtype=torch.bool)),
    }
    joint = JointEmbedding(features, 4, scale=1.0)
    free, text, image = joint.parts
    expected = (
        free.weight
        + features['text'][0] @ text.weight
        + features['image'][0] @ image.weight
    )
    torch.testing.assert_close(joint(), expected)
    index, query = torch.tensor([5, 0]), torch.randn(2, 8)
    torch.testing.assert_close(joint.rows(index), expected[index])
    torch.testing.assert_close(products(joint, query), query @ expected.t())
    trained = [query.requires_grad_(True), *joint.parameters()]
    weight = torch.randn(2, 6)
    for found, wanted in zip(
        torch.autograd.grad((products(joint, query) * weight).sum(), trained),
        torch.autograd.grad((query @ expected.t() * weight).sum(), trained),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)
    # What is frozen stands alone, so that no product costs its gradient.
    terms = joint.terms(query)
    assert [basis.requires_grad for _, basis in terms] == [True, False, True]
    for at, whole in enumerate((joint.coordinates(query), joint.basis())):
        parts = torch.cat([term[at] for term in terms], dim=1)
        torch.testing.assert_close(parts, whole)
    with pytest.raises(ValueError, match='at least one'):
        JointEmbedding({}, 4)


def test_one_product_for_all_teachers() -> None:
    torch.manual_seed(0)
    present = torch.ones(6, dtype=torch.bool)
    features = {'text': (torch.randn(6, 3), present)}
    ensemble = TeacherEnsemble.from_features(features, 6, 2, 4, joint=True)
    for p in ensemble.parameters():
        torch.nn.init.normal_(p)
    assert ensemble.modalities == ['structure', 'text', 'joint']
    head, rel = torch.tensor([0, 4, 5]), torch.tensor([1, 3, 0])
    weights = torch.rand(3, 3)
    for _ in range(2):
        expected = torch.einsum('bm,bme->be', weights, ensemble(head, rel))
        found = ensemble.combined(head, rel, weights)
        torch.testing.assert_close(found, expected)
        part = ensemble.combined(head, rel, weights, slice(2, 5))
        torch.testing.assert_close(part, expected[:, 2:5])
        kept = ensemble.tables()
        again = ensemble.scores(head, rel, weights, tables=kept)
        torch.testing.assert_close(again.dense(), expected)
        # Nothing is kept inside: fused optimisers change parameters without
        # a trace.
        with torch.no_grad():
            ensemble['text'].entities.weight.mul_(2)
            ensemble['structure'].entities.weight.add_(1)


@pytest.mark.parametrize('kind', [ComplEx, DistMult])
def test_a_table_scores_alike_without_features(
    kind: type[Bilinear],
) -> None:
    torch.manual_seed(0)
    present = torch.ones(6, dtype=torch.bool)
    features = {'text': (torch.randn(6, 3), present)}
    model = kind(JointEmbedding(features, 4, scale=1.0), 2, scale=1.0)
    head, rel = torch.tensor([0, 4, 5]), torch.tensor([1, 3, 0])
    expected = model.score_tails(head, rel)
    table = model.as_table()
    assert type(table) is kind
    # As small as a student that never had features.
    names = {name: p.shape for name, p in table.named_parameters()}
    fresh = kind(EntityEmbedding(6, 4), 2)
    assert names == {name: p.shape for name, p in fresh.named_parameters()}
    assert not list(table.buffers())
    torch.testing.assert_close(table.score_tails(head, rel), expected)
    # A copy: neither of the two follows the other.
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    torch.testing.assert_close(table.score_tails(head, rel), expected)
    again = table.as_table()
    with torch.no_grad():
        table.entities.weight.zero_()
    torch.testing.assert_close(again.score_tails(head, rel), expected)


@pytest.mark.parametrize('kind', [FeatureProjection, JointEmbedding])
def test_rows_that_would_go_on_without_an_override(
    kind: type[EntityModule],
) -> None:
    def doubled(self: EntityModule) -> Tensor:
        return 2 * super(kind, self).forward()

    with pytest.raises(TypeError, match='Doubled overrides forward but not'):
        type('Doubled', (kind,), {'forward': doubled})
    # A free table reads its rows from the matrix: that is enough there.
    type('Doubled', (EntityEmbedding,), {'forward': doubled})
