"""What a policy learns from is what it is asked later."""

import pytest
import torch
from torch import Tensor

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.kg import KG
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.teachers import (
    Answers,
    CompactState,
    EnsembleScorer,
    Mean,
    Policy,
    RankReward,
    TeacherEnsemble,
    Weighing,
    ask,
    subsets,
)
from dsom_pyg.training import (
    Fold,
    OneFold,
    PolicyTask,
    QueryLoader,
    held_graph,
)

GRAPH = KG(FakeMMKG(30, 4, 200)[0])


class Recorded(Policy):
    """Remembers which weights it gave."""

    def record(self, answers: Answers, weights: Tensor) -> None:
        queries = zip(answers.head.tolist(), answers.rel.tolist(), strict=True)
        self.given: dict[tuple[int, int], Tensor] = dict(
            zip(queries, weights.detach(), strict=True)
        )

    def weights(self, answers: Answers) -> Tensor:
        weights = super().weights(answers)
        self.record(answers, weights)
        return weights

    def forward(self, answers: Answers, *learning: object) -> Weighing:
        decision = super().forward(answers, *learning)  # type: ignore[arg-type]
        self.record(answers, decision.weights)
        return decision


def prepared() -> tuple[Fold, Recorded, list[QueryBatch]]:
    [(rest, held)] = OneFold(0.3).parts(GRAPH, seed=0)
    torch.manual_seed(0)
    ensemble = TeacherEnsemble.from_features(rest.features, 30, 4, 8)
    for parameter in ensemble.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    fold = Fold(ensemble, rest, held)
    state = CompactState.for_teachers(ensemble, GRAPH)
    policy = Recorded(state, subsets(3), RankReward(), 'mean', mlp_channels=32)
    batches = list(QueryLoader(held_graph(GRAPH, [fold]).index('train'), 20))
    # The moments of the state, as training collects them.
    task = PolicyTask([fold], policy.train())
    for batch in batches:
        task.step(batch, 'fp32')
    return fold, policy, batches


def test_weights_in_fitting_are_those_in_evaluation() -> None:
    fold, policy, batches = prepared()
    task = PolicyTask([fold], policy)
    scorer = EnsembleScorer(
        fold.ensemble, policy, seen=fold.graph.index('train')
    )
    ensemble, some = fold.ensemble, 0
    for batch in batches:
        # It learns, but the moments stand still and nothing is dropped.
        policy.train().state.eval()
        policy.state.degree = GRAPH.degree.float()
        task.step(batch, 'fp32')
        fitted = policy.given
        head, rel = batch.head, batch.rel
        assert len(fitted) == len(batch)
        # Asked as the full teachers are: the state knows their graph.
        policy.eval()
        policy.state.degree = fold.graph.degree.float()
        scores = scorer.score_tails(head, rel)
        for query, weights in policy.given.items():
            torch.testing.assert_close(weights, fitted[query])
        weights = torch.stack(
            [fitted[q] for q in zip(head.tolist(), rel.tolist(), strict=True)]
        )
        expected = ensemble.combined(head, rel, weights)
        torch.testing.assert_close(scores, expected)
        asked = ask(policy, ensemble, batch, fold.graph.index('train'))
        torch.testing.assert_close(asked, weights)
        some += (fold.graph.degree[head] != GRAPH.degree[head]).sum().item()
        # They depend on the query: it is no constant that agrees.
        assert weights.std(dim=0).max() > 1e-3
    assert some > 0


@pytest.mark.parametrize('name', ['seen', 'degree'])
def test_the_policy_reads_what_the_teachers_saw(name: str) -> None:
    # Otherwise the test above would hold whatever is passed.
    fold, policy, batches = prepared()
    policy.eval()
    head, rel = batches[0].head, batches[0].rel
    seen = fold.graph.index('train')
    scores = EnsembleScorer(fold.ensemble, policy, seen).score_tails(head, rel)
    if name == 'seen':
        scorer = EnsembleScorer(fold.ensemble, policy)
    else:
        policy.state.degree = fold.graph.degree.float()
        scorer = EnsembleScorer(fold.ensemble, policy, seen)
    assert not torch.allclose(scorer.score_tails(head, rel), scores)


class Counted(Mean):
    """Counts how many queries it was asked about."""

    asked = 0

    def weights(self, answers: Answers) -> Tensor:
        self.asked += len(answers)
        return super().weights(answers)


def test_each_query_is_weighed_once() -> None:
    ensemble = TeacherEnsemble.from_features(GRAPH.features, 30, 4, 8)
    combiner = Counted()
    evaluate(EnsembleScorer(ensemble, combiner), GRAPH)
    assert combiner.asked == len(GRAPH.index('test'))
