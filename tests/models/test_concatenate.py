"""Committees: models that were trained apart and answer as one."""

import pytest
import torch
from torch import Tensor, nn
from transe import TransE

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import num_entities, num_relations, pool_features
from dsom_pyg.models import (
    Bilinear,
    ComplEx,
    DistMult,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
    concatenate,
)
from dsom_pyg.query_index import Pairs, QueryBatch
from dsom_pyg.teachers import TeacherEnsemble

E, R = 11, 3
HEAD, REL = torch.tensor([0, 4, 7, 10]), torch.tensor([0, 2, 3, 5])
X = torch.randn(E, 5, generator=torch.Generator().manual_seed(9))
PRESENT = torch.arange(E) % 3 != 0


def entities(kind: type[EntityModule], channels: int) -> EntityModule:
    if kind is EntityEmbedding:
        return EntityEmbedding(E, channels, scale=1.0)
    if kind is FeatureProjection:
        return FeatureProjection(X, PRESENT, channels)
    return JointEmbedding({'text': (X, PRESENT)}, channels, scale=1.0)


def models(score: type[Bilinear], kind: type[EntityModule]) -> list[Bilinear]:
    torch.manual_seed(0)
    return [score(entities(kind, d), R, scale=1.0) for d in (4, 4, 2)]


@pytest.mark.parametrize('score', [ComplEx, DistMult])
@pytest.mark.parametrize(
    'kind', [EntityEmbedding, FeatureProjection, JointEmbedding]
)
def test_scores_are_the_mean(
    score: type[Bilinear], kind: type[EntityModule]
) -> None:
    several = models(score, kind)
    joined = concatenate(several)
    assert type(joined) is score
    assert joined.hidden_channels == 10
    assert joined.entities().shape == (E, 20)
    expected = torch.stack([m.score_tails(HEAD, REL) for m in several])
    mean = expected.mean(dim=0)
    torch.testing.assert_close(joined.score_tails(HEAD, REL), mean)
    tail = torch.tensor([3, 3, 1, 9])
    torch.testing.assert_close(
        joined(HEAD, REL, tail), mean[torch.arange(4), tail]
    )
    # Its size is known to whatever uses it.
    again = joined.as_table()
    torch.testing.assert_close(again.score_tails(HEAD, REL), mean)
    targets = Pairs(torch.arange(4), tail)
    batch = QueryBatch(HEAD, REL, targets, targets)
    logits = joined.scores_and_loss(batch, 'fp32')[0].dense()
    torch.testing.assert_close(logits, mean)


def test_members_stay_as_they_are_and_features_are_shared() -> None:
    several = models(ComplEx, JointEmbedding)
    before = [m.score_tails(HEAD, REL) for m in several]
    joined = concatenate(several)
    expected = joined.score_tails(HEAD, REL)
    with torch.no_grad():
        for parameter in joined.parameters():
            parameter.zero_()
    for model, scores in zip(several, before, strict=True):
        assert torch.equal(model.score_tails(HEAD, REL), scores)
    assert not torch.equal(joined.score_tails(HEAD, REL), expected)
    there = {name: x.data_ptr() for name, x in several[0].named_buffers()}
    assert there
    assert there == {n: x.data_ptr() for n, x in joined.named_buffers()}


def test_what_is_frozen_stays_frozen() -> None:
    several = models(ComplEx, FeatureProjection)
    trained = concatenate(several)
    assert all(p.requires_grad for p in trained.parameters())
    several[0].requires_grad_(False)
    frozen = concatenate(several)
    assert not any(p.requires_grad for p in frozen.parameters())


class Mixing(ComplEx):
    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return super().query(head.flip(-1), rel)


class Says(Mixing):
    by_coordinate = True


class Own(EntityModule):
    def __init__(self) -> None:
        super().__init__(E, 4)
        self.weight = nn.Parameter(torch.ones(E, 8))

    def forward(self) -> Tensor:
        return self.weight.softmax(dim=1)


class Lookalike(EntityEmbedding):
    def forward(self) -> Tensor:
        return self.weight.softmax(dim=1)


def test_what_cannot_be_averaged_is_refused() -> None:
    one, other, _ = models(ComplEx, EntityEmbedding)
    text = models(ComplEx, FeatureProjection)
    with pytest.raises(ValueError, match='coordinates of Mixing'):
        concatenate([Mixing(entities(EntityEmbedding, 4), R)])
    # Nobody says it for a subclass.
    assert concatenate([Says(entities(EntityEmbedding, 4), R)])
    with pytest.raises(ValueError, match='coordinates of Own'):
        concatenate([ComplEx(Own(), R)])
    with pytest.raises(ValueError, match='coordinates of Lookalike'):
        concatenate([ComplEx(Lookalike(E, 4), R)] * 2)
    with pytest.raises(ValueError, match='need bilinear models'):
        concatenate([TransE(E, R)] * 2)  # type: ignore[type-var]
    fitting = 'same entities, features and relations'
    with pytest.raises(ValueError, match=fitting):
        concatenate([one, text[0]])
    with pytest.raises(ValueError, match=fitting):
        concatenate([one, ComplEx(other.entities, R + 1)])
    with pytest.raises(ValueError, match=fitting):
        concatenate([one, ComplEx(other.entities, R, reciprocals=False)])
    with pytest.raises(ValueError, match=fitting):
        concatenate([one, DistMult(other.entities, R)])
    features = FeatureProjection(X + 1, PRESENT, 4)
    with pytest.raises(ValueError, match=fitting):
        concatenate([text[0], ComplEx(features, R)])
    double = ComplEx(entities(EntityEmbedding, 4), R).double()
    with pytest.raises(ValueError, match='of one dtype'):
        concatenate([one, double])
    joint = entities(JointEmbedding, 4)
    assert isinstance(joint, JointEmbedding)
    joint.parts[0] = Own()
    with pytest.raises(ValueError, match='coordinates of Own'):
        concatenate([ComplEx(joint, R)])
    with pytest.raises(ValueError, match='one or more'):
        concatenate([])


def test_ensembles_are_joined_modality_by_modality() -> None:
    data = FakeMMKG(30, 4, 200)[0]
    features = {'text': pool_features(data, 'text')}
    size = num_entities(data), num_relations(data)
    torch.manual_seed(0)
    several = [
        TeacherEnsemble.from_features(features, *size, 6, joint=True)
        for _ in range(2)
    ]
    joined = TeacherEnsemble.concatenate(several)
    assert joined.training
    for one in several:
        one.eval()
    assert not TeacherEnsemble.concatenate(several).training
    assert joined.modalities == ['structure', 'text', 'joint']
    expected = (several[0](HEAD, REL) + several[1](HEAD, REL)) / 2
    torch.testing.assert_close(joined(HEAD, REL), expected)
    assert torch.equal(joined.available(HEAD), several[1].available(HEAD))
    ranking = evaluate(joined['joint'], data, split='val')
    assert ranking.metrics()['mrr'] > 0
    fewer = TeacherEnsemble({'structure': several[0]['structure']})
    with pytest.raises(ValueError, match='same modalities'):
        TeacherEnsemble.concatenate([several[0], fewer])
