"""What is made for another number of entities or relations is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transe import TransE

from dsom_pyg import KG, evaluate, predict_tails
from dsom_pyg.choices import choices
from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import Triples, add_reciprocals, check_sizes, get_split
from dsom_pyg.models import (
    ComplEx,
    EntityEmbedding,
    JointEmbedding,
    Model,
)
from dsom_pyg.query_index import Queries, QueryIndex
from dsom_pyg.scores import weighted_sum
from dsom_pyg.teachers import (
    CompactState,
    EnsembleScorer,
    Mean,
    Policy,
    RankReward,
    TeacherEnsemble,
    Weighted,
    ask,
    subsets,
)
from dsom_pyg.training import (
    DistillTask,
    Fold,
    Loop,
    ModelTask,
    PolicyTask,
    TeachersTask,
    fit,
)

E, R = 30, 4
DATA = FakeMMKG(E, R, 200)[0]
GRAPH = KG(DATA)
LOOP = Loop(epochs=1)
OTHERS = [(E + 5, R), (E - 3, R), (E, R + 1), (E, R - 1)]


def complex_(entities: int = E, relations: int = R) -> Model:
    return ComplEx(EntityEmbedding(entities, 4), relations)


def teachers(entities: int = E, relations: int = R) -> TeacherEnsemble:
    made = complex_(entities, relations)
    return TeacherEnsemble({'one': made, 'two': TransE(entities, relations)})


def weighted(entities: int, relations: int) -> Weighted:
    return Weighted(2, torch.ones(2 * relations))


def policy(entities: int, relations: int) -> Policy:
    degree = torch.zeros(entities)
    state = CompactState(2, relations, degree, k=3)
    return Policy(state, subsets(2), RankReward(), 'mean', mlp_channels=4)


def based(entities: int, relations: int) -> Policy:
    class Nothing(CompactState):
        num_entities = num_relations = None  # type: ignore[assignment]

    state = Nothing(2, R, torch.zeros(E), k=3)
    base = weighted(entities, relations)
    return Policy(state, subsets(2), RankReward(), 'mean', base=base)


def graph(entities: int, relations: int) -> KG:
    return KG(FakeMMKG(entities, relations, 200)[0])


def fold(entities: int, relations: int) -> Fold:
    other = graph(entities, relations)
    held = other.triples('val')
    return Fold(teachers(entities, relations), other, held)


def asked(
    ensemble: TeacherEnsemble, combiner: object, seen: QueryIndex
) -> Tensor:
    queries = Queries(torch.tensor([0, 1]), torch.tensor([1, 0]))
    return ask(combiner, ensemble, queries, seen)  # type: ignore[arg-type]


class Silent:
    """A scorer that does not tell what it is for, and takes any head."""

    def __init__(self, entities: int, relations: int) -> None:
        self.model = TransE(entities, relations)

    def score_tails(self, head: Tensor, *words: object) -> Tensor:
        head = head.clamp(max=self.model.num_entities - 1)
        return self.model.score_tails(head, *words)  # type: ignore[arg-type]


HEAD, REL = torch.tensor([0, 5]), torch.tensor([1, 2])
# What takes part made for other sizes, the rest for E and R.
DOORS: dict[str, Callable[[int, int], object]] = {
    'evaluate': lambda e, r: evaluate(complex_(e, r), DATA),
    'evaluate, a distance': lambda e, r: evaluate(TransE(e, r), GRAPH, 'val'),
    'evaluate, teachers': lambda e, r: evaluate(
        EnsembleScorer(teachers(e, r), Mean()), DATA
    ),
    'evaluate, graph': lambda e, r: evaluate(complex_(), graph(e, r)),
    'fit, model': lambda e, r: fit(ModelTask(complex_(e, r)), DATA, LOOP),
    'fit, teachers': lambda e, r: fit(
        TeachersTask(teachers(e, r)), DATA, LOOP
    ),
    'fit, student': lambda e, r: fit(
        DistillTask(complex_(e, r), teachers(e, r), Mean()), DATA, LOOP
    ),
    'student': lambda e, r: DistillTask(complex_(e, r), teachers(), Mean()),
    'student, teachers': lambda e, r: DistillTask(
        complex_(), teachers(e, r), Mean()
    ),
    'exclude': lambda e, r: predict_tails(
        complex_(), HEAD, REL, exclude=graph(e, r).index('train')
    ),
    'exclude, teachers': lambda e, r: predict_tails(
        EnsembleScorer(teachers(), Mean()),
        HEAD,
        REL,
        exclude=graph(e, r).index('train'),
    ),
    'ensemble': lambda e, r: TeacherEnsemble(
        {'one': complex_(), 'two': complex_(e, r)}
    ),
    'ensemble, a distance': lambda e, r: TeacherEnsemble(
        {'one': complex_(), 'two': TransE(e, r)}
    ),
    'scorer, seen': lambda e, r: EnsembleScorer(
        teachers(), Mean(), graph(e, r).index('train')
    ),
    'scorer, policy': lambda e, r: EnsembleScorer(teachers(), policy(e, r)),
    'student, policy': lambda e, r: DistillTask(
        complex_(), teachers(), policy(e, r)
    ),
    'fold': lambda e, r: Fold(teachers(e, r), GRAPH, GRAPH.triples('val')),
    'folds': lambda e, r: PolicyTask([fold(E, R), fold(e, r)], Weighted(2)),
    'folds, policy': lambda e, r: PolicyTask([fold(E, R)], policy(e, r)),
    'fit, folds': lambda e, r: fit(
        PolicyTask([fold(e, r)], Weighted(2)), GRAPH, LOOP
    ),
    'choices': lambda e, r: choices(DATA, teachers(e, r), Mean()),
    'choices, policy': lambda e, r: choices(DATA, teachers(), policy(e, r)),
    'ask, seen': lambda e, r: asked(
        teachers(), Mean(), graph(e, r).index('train')
    ),
    'ask, policy': lambda e, r: asked(
        teachers(), policy(e, r), GRAPH.index('train')
    ),
}
# These know R alone.
BY_RELATION: dict[str, Callable[[int, int], object]] = {
    'scorer': lambda e, r: EnsembleScorer(teachers(), weighted(e, r)),
    'student': lambda e, r: DistillTask(
        complex_(), teachers(), weighted(e, r)
    ),
    'policy': lambda e, r: Policy(
        CompactState(2, R, torch.zeros(E), k=3),
        subsets(2),
        RankReward(),
        'mean',
        base=weighted(e, r),
    ),
    'policy by its base': lambda e, r: EnsembleScorer(teachers(), based(e, r)),
}


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('sizes', OTHERS, ids=str)
def test_other_sizes_are_named(door: str, sizes: tuple[int, int]) -> None:
    name = 'num_entities' if sizes[1] == R else 'num_relations'
    one, other = sorted({*sizes} - {E, R} | {E if sizes[1] == R else R})
    numbers = rf'({one}\b.*\b{other}|{other}\b.*\b{one})\b'
    with pytest.raises(ValueError, match=rf'{name} differ .*{numbers}'):
        DOORS[door](*sizes)


@pytest.mark.parametrize('door', ['evaluate', 'fit, model', 'choices'])
def test_the_graph_is_named(door: str) -> None:
    with pytest.raises(ValueError, match=rf'\(graph: {E}, \w+: {E + 5}\b'):
        DOORS[door](E + 5, R)


@pytest.mark.parametrize('door', {**DOORS, **BY_RELATION})
def test_equal_sizes_are_taken(door: str) -> None:
    for doors in (DOORS, BY_RELATION):
        if door in doors and door != 'fit, folds':
            doors[door](E, R)


@pytest.mark.parametrize('door', BY_RELATION)
@pytest.mark.parametrize('relations', [R - 1, R + 1])
def test_weights_of_other_relations(door: str, relations: int) -> None:
    with pytest.raises(ValueError, match=rf'num_relations differ .*{R}'):
        BY_RELATION[door](E, relations)


@pytest.mark.parametrize('entities', [E - 3, E + 5])
@pytest.mark.parametrize('memory', [None, 16 * 64, 16 * 7, 16 * E])
def test_the_width_of_scores_tells_the_rest(
    entities: int, memory: int | None
) -> None:
    with pytest.raises(ValueError, match=r'scores of shape \[\d+, \d+\] whe'):
        evaluate(Silent(entities, R), DATA, 'val', max_memory=memory)
    with pytest.raises(ValueError, match=rf'\[2, {entities}\] where \[2, {E}'):
        predict_tails(
            Silent(entities, R), HEAD, REL, exclude=GRAPH.index('train')
        )
    assert len(evaluate(Silent(E, R), DATA, 'val', max_memory=memory)) > 0


def test_a_wrong_number_of_scores() -> None:
    class Short(TransE):
        def score_tails(self, *words: object) -> Tensor:  # type: ignore[override]
            return super().score_tails(*words)[:1]  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r'\[1, 30\] where \[2, 30\]'):
        predict_tails(Short(E, R), HEAD, REL)


def test_what_is_excluded_is_said_by_an_index_that_knows() -> None:
    train = get_split(DATA, 'train')
    untold = QueryIndex(add_reciprocals(train, R))
    for scorer in (complex_(), Silent(E, R)):
        with pytest.raises(ValueError, match='exclude does not tell'):
            predict_tails(scorer, HEAD, REL, exclude=untold)
    # Excluded are the training tails of both sides, and nothing else.
    both = torch.cat([HEAD, HEAD]), torch.cat([REL, REL + R])
    _, tails = predict_tails(
        complex_(), *both, k=E, exclude=GRAPH.index('train')
    )
    triples = {tuple(x) for x in torch.stack([*rows(train)]).t().tolist()}
    for h, r, left in zip(*(x.tolist() for x in both), tails, strict=True):
        there = {
            t
            for t in range(E)
            if ((h, r, t) if r < R else (t, r - R, h)) not in triples
        }
        assert set(left.tolist()) - {-1} == there


def rows(part: Triples) -> tuple[Tensor, Tensor, Tensor]:
    return part.head, part.edge_type, part.tail


def test_weights_are_of_as_many_teachers() -> None:
    logits = [torch.ones(2, E)] * 2
    for width in (1, 3):
        with pytest.raises(ValueError, match=f'{width} teachers for 2'):
            weighted_sum(torch.ones(2, width), logits)
        weights = torch.ones(2, width)
        with pytest.raises(ValueError, match=f'{width} teachers for 2'):
            teachers().combined(HEAD, REL, weights)
        bilinear = TeacherEnsemble({'one': complex_(), 'two': complex_()})
        with pytest.raises(ValueError, match=f'{width} teachers for 2'):
            bilinear.combined(HEAD, REL, weights)


def test_features_of_different_graphs() -> None:
    features = {
        name: (torch.ones(size, 3), torch.ones(size).bool())
        for name, size in (('image', E), ('text', E + 1))
    }
    with pytest.raises(ValueError, match=r"'image': 30, 'text': 31"):
        JointEmbedding(features, 4)
    with pytest.raises(ValueError, match='structure: 30, image: 30, text: 31'):
        TeacherEnsemble.from_features(features, E, R, 4)


def test_what_tells_nothing_is_not_compared() -> None:
    check_sizes(graph=GRAPH, nothing=None, silent=object(), model=complex_())
    ensemble = teachers()
    scorer = EnsembleScorer(ensemble, Mean())
    assert (ensemble.num_entities, ensemble.num_relations) == (E, R)
    assert (scorer.num_entities, scorer.num_relations) == (E, R)
    assert weighted(E, R).num_relations == R
    assert Weighted(2).num_relations is None
    assert (policy(E, R).num_entities, policy(E, R).num_relations) == (E, R)
