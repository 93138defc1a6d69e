"""Folds, and combiners that learn from what their teachers never saw."""

import copy

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.graph import (
    Triples,
    concat,
    get_split,
    hold_out,
    k_folds,
    make_data,
    merge_val,
    set_split,
)
from dsom_pyg.kg import KG
from dsom_pyg.models import ComplEx
from dsom_pyg.policies import ByRelation
from dsom_pyg.stages import Teachers, fit_folds, fit_teachers
from dsom_pyg.teachers import (
    CompactState,
    Policy,
    RankReward,
    TeacherEnsemble,
    Weighted,
    paper_policy,
    subsets,
)
from dsom_pyg.training import (
    Fold,
    KFolds,
    Loop,
    ModelTask,
    OneFold,
    PolicyTask,
    QueryLoader,
    Run,
    TeachersTask,
    fit,
    held_graph,
)

DATA = FakeMMKG(30, 4, 200)[0]
GRAPH = KG(DATA)
LOOP = Loop(epochs=3, batch_size=50)
TEACHERS = Teachers(channels=8, structure=ComplEx, joint=False, loop=LOOP)


def build() -> TeacherEnsemble:
    return TEACHERS.build(GRAPH, 0)


def folds_of(
    evidence: OneFold | KFolds, graph: KG = GRAPH, **options: object
) -> list[Fold]:
    return fit_folds(Run(graph=graph, **options), TEACHERS, evidence)  # type: ignore[arg-type]


def part_of(graph: KG, held: torch.Tensor) -> tuple[KG, Triples]:
    train = graph.triples('train')
    return graph.with_train(train.select(~held)), train.select(held)


def rows(part) -> list[tuple[int, ...]]:  # type: ignore[no-untyped-def]
    head, tail = part.edge_index.tolist()
    return sorted(zip(head, part.edge_type.tolist(), tail, strict=True))


def test_every_triple_is_in_one_fold() -> None:
    folds = k_folds(DATA, 3, seed=4)
    train = get_split(DATA, 'train')
    assert rows(concat(*(part for _, part in folds))) == rows(train)
    for rest, part in folds:
        left = get_split(rest, 'train')
        assert rows(concat(left, part)) == rows(train)
        assert abs(len(rows(part)) - len(rows(train)) / 3) < 1
    assert rows(get_split(DATA, 'train')) == rows(train)
    with pytest.raises(ValueError, match='k must be 2 to'):
        k_folds(DATA, 1)
    twins = make_data(2, 1, Triples.of([(0, 0, 1), (0, 0, 1)]))
    with pytest.raises(ValueError, match=r'k must be 2 to 1 \(distinct'):
        k_folds(twins, 2)


def test_a_fold_is_never_empty() -> None:
    # However often a triple is there.
    twins = make_data(2, 1, Triples.of([(0, 0, 1)] * 3 + [(1, 0, 0)]))
    for seed in range(8):
        sizes = [len(rows(part)) for _, part in k_folds(twins, 2, seed)]
        assert sorted(sizes) == [1, 3]


def test_teachers_of_a_fold_never_saw_what_it_holds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folds = folds_of(KFolds(2), folder=tmp_path)
    train = GRAPH.triples('train')
    assert rows(held_graph(GRAPH, folds).triples('train')) == rows(train)
    for fold in folds:
        seen = fold.graph.triples('train')
        assert not set(rows(fold.held)) & set(rows(seen))
        assert rows(concat(fold.held, seen)) == rows(train)
        # The teachers are those of the same task on what is left.
        alone = build()
        fit(TeachersTask(alone), fold.graph, LOOP)
        for a, b in zip(
            alone.parameters(), fold.ensemble.parameters(), strict=True
        ):
            assert torch.equal(a, b)
    # A second call goes on from the files: nothing is trained again.
    stamps = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    again = folds_of(KFolds(2), folder=tmp_path)
    for one, two in zip(folds, again, strict=True):
        for a, b in zip(
            one.ensemble.parameters(), two.ensemble.parameters(), strict=True
        ):
            assert torch.equal(a, b)
    assert stamps == [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    (single,) = OneFold(0.1).parts(GRAPH, seed=1)
    # Any triple may be in it, the only one of an entity as well.
    assert len(rows(single[1])) == round(0.1 * len(rows(train)))


@pytest.mark.parametrize('evidence', [OneFold(0.2), KFolds(3)])
def test_indices_of_a_fold(evidence: OneFold | KFolds) -> None:
    for rest, held in evidence.parts(GRAPH, seed=0):
        fold = Fold(build(), rest, held)
        expected: dict[str, dict[tuple[int, int], set[int]]] = {
            'seen': {},
            'held': {},
            'known': {},
        }
        for name, part in (('seen', rest.triples('train')), ('held', held)):
            for head, rel, tail in rows(part):
                for key in (name, 'known'):
                    asked = expected[key]
                    asked.setdefault((head, rel), set()).add(tail)
                    asked.setdefault((tail, rel + 4), set()).add(head)
        found = (fold.seen_index, fold.held_index, fold.known_index)
        for index, asked in zip(found, expected.values(), strict=True):
            tails: dict[tuple[int, int], set[int]] = {}
            pairs = index.rows(torch.arange(len(index)))
            for row, tail in zip(
                pairs.row.tolist(), pairs.tail.tolist(), strict=True
            ):
                query = int(index.head[row]), int(index.rel[row])
                tails.setdefault(query, set()).add(tail)
            assert tails == asked


@pytest.mark.parametrize(
    ('kind', 'word', 'message'),
    [
        (OneFold, 0.0, r'ratio must lie in \(0, 1\), got 0\.0'),
        (OneFold, 1.0, 'got 1'),
        (KFolds, 1, r'k must be 2 or more, got 1; one part is OneFold'),
    ],
)
def test_evidence_is_checked(kind: type, word: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(word)


def test_twins_stay_together() -> None:
    # Every third triple twice.
    whole = copy.copy(DATA)
    train = get_split(DATA, 'train')
    third = torch.arange(train.edge_type.numel()) % 3 == 0
    set_split(whole, 'train', concat(train, train.select(third)))
    parts = k_folds(whole, 3)
    parts += [hold_out(whole, 0.2, keep=k) for k in ('roles', 'nothing')]
    for rest, held in parts:
        assert not set(rows(get_split(rest, 'train'))) & set(rows(held))
        both = concat(get_split(rest, 'train'), held)
        assert rows(both) == rows(get_split(whole, 'train'))
    # A twin does not make up for the only triple of a head.
    head = torch.arange(15)
    only = Triples(torch.stack([head, head + 15]), torch.zeros_like(head))
    set_split(whole, 'train', concat(only, only))
    assert hold_out(whole, 0.2)[1].edge_type.numel() == 0
    # A part that teachers are judged on may have it all the same.
    ((_, held),) = OneFold(0.2).parts(KG(whole), seed=0)
    assert len(set(rows(held))) == 3
    assert len(rows(held)) == 6


def test_vectors_of_other_teachers_are_refused() -> None:
    folds = [Fold(build(), *part) for part in OneFold().parts(GRAPH, 0)]
    policy = paper_policy(build())
    with pytest.raises(ValueError, match='QueryState means something else'):
        PolicyTask(folds, policy)


def test_folds_take_as_many_epochs_as_the_teachers_of_their_run() -> None:
    loop = Loop(epochs=3, batch_size=50, eval_every=1)
    teachers = Teachers(channels=4, loop=loop)
    run = Run(graph=KG(FakeMMKG(30, 4, 200)[0]), within='part/')
    fit_teachers(run, teachers)
    whole = run.results['part/teachers']
    whole.best_epoch = 2
    fit_folds(run, teachers, OneFold(0.2))
    assert len(run.results['part/fold-1-of-1'].history) == 2


def test_a_triple_that_stands_twice_counts_once() -> None:
    graph = KG(FakeMMKG(30, 4, 200)[0])
    [(rest, held)] = OneFold(0.3).parts(graph, 0)
    ensemble = TeacherEnsemble.from_features(graph.features, 30, 4, 4)
    learned = [
        ByRelation(epochs=2).learn(
            Run(graph=graph, progress=False),
            Loop(batch_size=20),
            [Fold(ensemble.requires_grad_(False), rest, each)],
            mask_missing=False,
        )
        for each in (held, concat(held, held, held))
    ]
    one, other = (combiner.state_dict() for combiner in learned)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)


def test_folds_are_not_evaluated_along_the_way() -> None:
    loop = Loop(epochs=1, eval_every=1)
    # Nothing to evaluate on is no obstacle to the teachers of a fold.
    graph = KG(merge_val(DATA))
    teachers = Teachers(channels=8, loop=loop)
    folds = fit_folds(Run(graph=graph), teachers, OneFold())
    task = PolicyTask(folds, Weighted(4))
    with pytest.raises(ValueError, match="'policy' is not evaluated along"):
        fit(task, held_graph(GRAPH, folds), loop)


@pytest.mark.parametrize('batch_by', ['queries', 'triples'])
def test_every_pair_is_judged_by_its_own_fold(batch_by: str) -> None:
    train = GRAPH.triples('train')
    third = torch.arange(train.edge_type.numel()) % 3 == 0
    folds = []
    for at, mask in enumerate((third, ~third)):
        ensemble = build()
        for p in ensemble.parameters():
            torch.nn.init.normal_(p, std=0.3 + at)
        folds.append(Fold(ensemble, *part_of(GRAPH, mask)))
    combiner = Weighted(3).train()
    task = PolicyTask(folds, combiner)
    graph = held_graph(GRAPH, folds)
    known = GRAPH.index('train')
    for batch in QueryLoader(graph.index('train'), 40, batch_by):
        found = task.step(batch, 'fp32')['loss'].item()
        pairs = zip(
            batch.targets.row.tolist(),
            batch.targets.tail.tolist(),
            strict=True,
        )
        terms = []
        for row, tail in pairs:
            head, rel = batch.head[row], batch.rel[row]
            triple = (int(head), int(rel), tail)
            if rel >= 4:
                triple = (tail, int(rel) - 4, int(head))
            fold = folds[0] if triple in set(rows(folds[0].held)) else folds[1]
            assert triple in rows(fold.held)
            logits = fold.ensemble(head[None], rel[None]).mean(dim=1)[0]
            others = known.lookup(head[None], rel[None]).tail
            score = logits[tail].clone()
            logits[others] = -torch.inf
            total = torch.logaddexp(logits.logsumexp(dim=0), score)
            terms.append((total - score).item())
        assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_every_query_is_looked_at_with_what_its_fold_saw() -> None:
    asked = []

    class Spy(Weighted):
        def forward(self, answers, *rest):  # type: ignore[no-untyped-def]
            asked.append(answers)
            return super().forward(answers, *rest)

    folds = [Fold(build(), *part) for part in KFolds(2).parts(GRAPH, 0)]
    task = PolicyTask(folds, Spy(3).train())
    (batch,) = QueryLoader(held_graph(GRAPH, folds).index('train'), 10_000)
    task.step(batch, 'fp32')
    assert len(asked) == 2
    for fold, answers in zip(folds, asked, strict=True):
        assert answers.ensemble is fold.ensemble
        seen = rows(fold.graph.triples('train'))
        degree = [0] * 30
        for head, _, tail in seen:
            degree[head] += 1
            degree[tail] += 1
        both = {(h, r, t) for h, r, t in seen}
        both |= {(t, r + 4, h) for h, r, t in seen}
        everything = rows(GRAPH.triples('train'))
        true = {(h, r, t) for h, r, t in everything}
        true |= {(t, r + 4, h) for h, r, t in everything}
        queries = list(
            zip(answers.head.tolist(), answers.rel.tolist(), strict=True)
        )
        context = answers.context
        assert context.degree.tolist() == [degree[head] for head, _ in queries]
        for pairs, known in ((context.seen, both), (context.known, true)):
            found = {
                (*queries[row], tail)
                for row, tail in zip(
                    pairs.row.tolist(), pairs.tail.tolist(), strict=True
                )
            }
            assert found == {row for row in known if row[:2] in set(queries)}


def test_data_that_no_fold_held_out_are_refused() -> None:
    train = GRAPH.triples('train')
    first = torch.arange(train.edge_type.numel()) == 0
    fold = Fold(build(), *part_of(GRAPH, first))
    with pytest.raises(ValueError, match='held_graph'):
        fit(PolicyTask([fold], Weighted(3)), fold.graph, LOOP)


@pytest.mark.parametrize(
    ('options', 'least'),
    # Subsets that do no harm stay in as far as the prior holds them.
    [({}, 0.6), ({'prior': 2.0, 'kl': 3.0}, 0.4)],
)
def test_noise_is_excluded_on_held_out_triples(
    options: dict[str, float], least: float
) -> None:
    # The graph's own random structure cannot be learned, noise even less;
    # what answers the held-out triples is a teacher that knows them.
    torch.manual_seed(0)
    folds = [Fold(build(), *part) for part in KFolds(2).parts(GRAPH, 1)]
    whole = build()
    loop = Loop(epochs=30, batch_size=50)
    fit(ModelTask(whole['structure']), GRAPH, loop)
    for fold in folds:
        fit(TeachersTask(fold.ensemble), fold.graph, LOOP)
        fold.ensemble.teachers['structure'] = whole['structure']
    policy = Policy(
        CompactState(3, 4, GRAPH.degree, relation_channels=4),
        subsets(3),
        RankReward(),
        'mean',
        mlp_channels=64,
        dropout=0.2,
        lr=0.01,
        **options,  # type: ignore[arg-type]
    )
    loop = Loop(epochs=20, batch_size=50)
    graph = held_graph(GRAPH, folds)
    history = fit(PolicyTask(folds, policy), graph, loop).history
    assert history[-1]['weight structure'] > least
    # With all teachers alike it was 86.
    assert history[-1]['reward'] > 95


@pytest.mark.parametrize(
    ('evidence', 'count', 'message'),
    [
        (OneFold(), 1, '1 training triple; a policy .* needs 2: take'),
        (KFolds(3), 2, '2 training triples; a policy .* needs 3: take'),
    ],
)
def test_too_few_triples_to_hold_out(
    evidence: OneFold | KFolds, count: int, message: str
) -> None:
    ends = torch.tensor([[0, 1], [1, 2]])[:, :count]
    none = Triples(torch.empty(2, 0).long(), torch.empty(0).long())
    few = Triples(ends, torch.zeros(count, dtype=torch.long))
    graph = KG(make_data(3, 1, few, none, none))
    with pytest.raises(ValueError, match=message):
        evidence.parts(graph, 0)
