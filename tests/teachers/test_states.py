"""The state of a policy against a naive version that knows its words only."""

import math

import pytest
import torch
from fake_answers import GRAPH, SEEN, answers, by_teacher, ensemble

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx, EntityEmbedding, TailFrequency
from dsom_pyg.query_index import Pairs
from dsom_pyg.scores import chunks, sources
from dsom_pyg.teachers import CompactState, QueryState, TeacherEnsemble
from dsom_pyg.teachers.answers import Answers

K, E, M = 4, 20, 3


DEGREE = torch.tensor([5, 0, 1, 12])


def compact(k: int = K) -> CompactState:
    torch.manual_seed(0)
    state = CompactState(M, 4, GRAPH.degree, k=k, relation_channels=5)
    # A vector for each relation, far from each other.
    torch.nn.init.normal_(state.relation.weight)
    return state


def naive_numbers(
    said: Answers, k: int, degree: list[int]
) -> list[list[float]]:
    """What the class says of itself, in loops over plain numbers."""
    logits = by_teacher(said).tolist()
    seen = said.context.seen or Pairs(*torch.empty(2, 0).long())
    out = []
    for query in range(len(said)):
        known = seen.tail[seen.row == query].tolist()
        left = [e for e in range(E) if e not in known]
        numbers: list[float] = []
        best = []
        for m in range(M):
            scores = {e: logits[query][m][e] for e in left}
            ranked = sorted(left, key=lambda e: -scores[e])
            favourites = ranked[:k]
            best.append(favourites)
            top = scores[ranked[0]]
            total = sum(math.exp(x - top) for x in scores.values())
            share = [math.exp(x - top) / total for x in scores.values()]
            entropy = -sum(p * math.log(p) for p in share) / math.log(E)
            mean = sum(scores.values()) / len(left)
            spread = math.sqrt(
                sum((x - mean) ** 2 for x in scores.values()) / len(left)
            )
            numbers += [entropy, top - mean, spread]
            numbers += [scores[e] - top for e in favourites]
        for a in range(M):
            for b in range(M):
                if a == b:
                    continue
                scores_b = [logits[query][b][e] for e in left]
                # Somebody who does not know the head has no favourites.
                both = bool(
                    said.available[query, a] and said.available[query, b]
                )
                numbers += [
                    both * (logits[query][b][e] - max(scores_b))
                    for e in best[a]
                ]
                shared = set(best[a]) & set(best[b])
                numbers.append(both * len(shared) / k)
        count = len(known)
        numbers += [
            math.log(1 + degree[query]),
            math.log(1 + count),
            float(count == 0),
        ]
        out.append(numbers)
    return out


def naive_state(
    numbers: list[list[float]],
    all_numbers: list[list[float]],
    state: CompactState,
    said: Answers,
) -> torch.Tensor:
    """Each number by its mean and deviation in training, then the rest."""
    rows = []
    for query, row in enumerate(numbers):
        out = []
        for value, column in zip(
            row, zip(*all_numbers, strict=True), strict=True
        ):
            mean = sum(column) / len(column)
            var = sum((x - mean) ** 2 for x in column) / len(column)
            scaled = (value - mean) / math.sqrt(max(var, 1e-6))
            out.append(max(-5.0, min(5.0, scaled)))
        out += [float(x) for x in said.available[query]]
        out += state.relation.weight[said.rel[query]].tolist()
        rows.append(out)
    return torch.tensor(rows)


def teachers(scale: float = 1.0) -> TeacherEnsemble:
    made = ensemble()
    with torch.no_grad():
        for name in made.modalities:
            made[name].relations.mul_(scale)
    return made


@pytest.mark.parametrize('seen', [None, SEEN])
@pytest.mark.parametrize('degree', [None, DEGREE])
@pytest.mark.parametrize(
    ('k', 'width', 'keep'), [(1, 20, 0), (K, 1, 80), (K, 7, 0), (K, 20, 80)]
)
@pytest.mark.parametrize('many', [1, 9, 2048])
def test_every_number_of_every_row(
    seen: Pairs | None,
    degree: torch.Tensor | None,
    k: int,
    width: int,
    keep: int,
    many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So many entities are walked through at a time, and so many scores kept.
    monkeypatch.setattr(sources, 'CHUNK_CPU', 4 * width)
    monkeypatch.setattr(sources, 'COLUMNS', 1)
    monkeypatch.setattr(sources, 'KEEP', keep)
    monkeypatch.setattr(chunks, 'MANY', many)
    said = answers(teachers(), seen=seen, degree=degree)
    assert (~said.available).any(dim=1).tolist() == [False, True, True, True]
    own = GRAPH.degree[said.head] if degree is None else degree
    expected = naive_numbers(said, k, own.tolist())
    state = compact(k)
    raw = torch.cat([state._of_teachers(said), state._of_query(said)], 1)
    wanted = torch.tensor(expected)
    assert raw.shape == wanted.shape == (4, M * (k + 3) + 6 * (k + 1) + 3)
    torch.testing.assert_close(raw, wanted, rtol=1e-4, atol=1e-4)
    # Favourites are shared, and not by all.
    shared = wanted[0, M * (k + 3) + k :: k + 1][:6]
    assert k == 1 or 0 < shared.mean() < 1
    out = state.train()(said)
    assert out.shape == (4, state.out_channels)
    normal = naive_state(expected, expected, state, said)
    torch.testing.assert_close(out, normal, rtol=1e-2, atol=1e-2)
    # In evaluation the moments stay, whatever is asked.
    other = answers(teachers(0.7), seen=SEEN, degree=DEGREE.flip(0))
    numbers = naive_numbers(other, k, DEGREE.flip(0).tolist())
    for _ in range(2):
        out = state.eval()(other)
        normal = naive_state(numbers, expected, state, other)
        torch.testing.assert_close(out, normal, rtol=1e-2, atol=1e-2)


def test_moments_are_those_of_all_numbers() -> None:
    state = compact().train()
    numbers = torch.randn(30, state.mean.numel()) * 3 + 1
    for part in numbers.split(7):
        state._normalised(part)
    torch.testing.assert_close(state.mean, numbers.mean(dim=0))
    normal = state.eval()._normalised(numbers)
    expected = (numbers - numbers.mean(dim=0)) / numbers.std(
        dim=0, correction=0
    )
    torch.testing.assert_close(normal, expected, rtol=1e-3, atol=1e-3)


def test_nothing_left_to_answer_is_no_nan() -> None:
    everyone = Pairs(torch.zeros(E, dtype=torch.long), torch.arange(E))
    said = answers(ensemble(), seen=everyone)
    state = compact().train()
    assert state(said).isfinite().all()
    assert state.eval()(said).isfinite().all()


def test_ties_do_not_depend_on_who_else_is_asked() -> None:
    graph = KG(FakeMMKG(3000, 4, 4000, seed=1)[0])
    index = graph.index('train')
    torch.manual_seed(0)
    net = ComplEx(EntityEmbedding(3000, 4, 1.0), 4, scale=1.0)
    both = {'structure': net, 'frequency': TailFrequency(index)}
    teachers = TeacherEnsemble(both)
    state = CompactState.for_teachers(teachers, graph).eval()

    def numbers(size: int) -> torch.Tensor:
        queries = zip(
            index.head[:300].split(size),
            index.rel[:300].split(size),
            strict=True,
        )
        with torch.no_grad():
            return torch.cat(
                [state(Answers(teachers, *query)) for query in queries]
            )

    torch.testing.assert_close(numbers(1), numbers(300), atol=1e-3, rtol=1e-3)


def test_of_no_query_nothing_is_said() -> None:
    said = answers(ensemble(), seen=Pairs(*torch.empty(2, 0).long()))
    said.head, said.rel = said.head[:0], said.rel[:0]
    state = compact().eval()
    assert state(said).shape == (0, state.out_channels)


def test_more_favourites_than_entities() -> None:
    state = compact(k=99)
    assert state.k == E
    assert state(answers(ensemble())).shape == (4, state.out_channels)


def test_a_relation_is_learned_and_nothing_else() -> None:
    state = compact().train()
    said = answers(ensemble())
    state(said).square().sum().backward()
    assert [name for name, _ in state.named_parameters()] == [
        'relation.weight'
    ]
    asked = state.relation.weight.grad.any(dim=1).nonzero().flatten()
    assert asked.tolist() == sorted(said.rel.tolist())


def test_query_vectors_are_what_logits_depend_on() -> None:
    made = ensemble()
    said = answers(made)
    state = QueryState.for_teachers(made, GRAPH)
    found = state(said)
    assert found.shape == (4, state.out_channels)
    assert not found.requires_grad
    widths = [t.entities.basis().size(1) for t in made.bilinear]
    for part, teacher, logits in zip(
        found.split(widths, dim=1), made, said.each, strict=True
    ):
        torch.testing.assert_close(part @ teacher.entities.basis().t(), logits)


def test_no_weights_of_all_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = ensemble()
    state, layers = QueryState(teachers), []
    for keep in (2**26, 3 * 8):
        monkeypatch.setattr('dsom_pyg.teachers.states.KEEP', keep)
        layers.append(torch.nn.Linear(state.out_channels, 8))
        torch.manual_seed(0)
        state.fold(layers[-1], teachers)
    whole, parts = (layer.weight for layer in layers)
    # Other draws of the same kind.
    assert not torch.equal(whole, parts)
    spread = float(whole.std()), float(parts.std())
    assert spread[1] == pytest.approx(spread[0], rel=0.2)
