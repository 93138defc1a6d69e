"""What a training will take, said before it begins: memory, and shares of
the time.
"""

from dataclasses import dataclass
from typing import Any

from dsom_pyg.dsom import Recipe
from dsom_pyg.kg import KG
from dsom_pyg.policies import HeldOut, RewardedPolicy
from dsom_pyg.precision import resolve_precision
from dsom_pyg.scores.sources import KEEP, KEEP_LEARNING
from dsom_pyg.training import (
    Adam,
    Adam8bit,
    KFolds,
    Loop,
    OnValidation,
    RowwiseAdagrad,
)

FLOAT = 4  # bytes
# A model that learns multiplies three times as much as one that is asked.
LEARNING = 3
# A policy looks for the best and sums over all, which takes longer than the
# products do.
ASKING = 2.5


@dataclass(frozen=True)
class Stage:
    r"""A stage to come.

    Args:
        epochs: How many it has at most.
        cost: Of an epoch, as passes of one model over all training queries.
    """

    epochs: int
    cost: float


def stages_of(
    recipe: Recipe, graph: KG, folds: int | None = None
) -> dict[str, Stage]:
    r"""The stages of a recipe, and of judges of so many folds, and what each
    costs, roughly; a policy of one's own counts nothing.
    """
    t, s = recipe.teachers, recipe.student
    kinds, counting = _teachers(recipe, graph)
    out = {
        'teachers' if at == 0 else f'teachers-{at + 1}': Stage(
            t.loop.epochs, LEARNING * kinds
        )
        for at in range(t.committee)
    }
    if isinstance(recipe.policy, HeldOut):
        out |= _of_held_out(recipe.policy, kinds, t.committee, t.loop)
        if isinstance(recipe.policy.learner, RewardedPolicy):
            asked = 1.0
            if s.unlabeled is not None:
                seen = len(graph.index('train').head)
                there = 2 * graph.num_relations * graph.num_entities
                more = min(s.unlabeled.queries, there - seen)
                asked += more / max(seen, 1)
            cost = ASKING * asked * (kinds * t.committee + counting)
            out['decisions'] = Stage(1, cost)
    step: float = LEARNING + kinds * t.committee + counting
    if s.unlabeled is not None:
        step *= 1 + s.unlabeled.share
    out['student'] = Stage(s.loop.epochs, step)
    if folds is not None:
        # Those that the policy has trained already are taken.
        out |= _of_folds(folds, 1 - 1 / folds, kinds, t.committee, t.loop)
        for at in range(folds):
            name = f'judge-{at + 1}-of-{folds}/student'
            out[name] = Stage(s.loop.epochs, step * (1 - 1 / folds))
    return out


def _of_folds(
    count: int, rest: float, kinds: int, committee: int, loop: Loop
) -> dict[str, Stage]:
    # Teachers of the rest of each part of train.
    out = {}
    for at in range(committee):
        for number in range(count):
            folder = '' if at == 0 else f'member-{at + 1}/'
            name = f'{folder}fold-{number + 1}-of-{count}'
            out[name] = Stage(loop.epochs, LEARNING * kinds * rest)
    return out


def _of_held_out(
    policy: HeldOut, kinds: int, committee: int, loop: Loop
) -> dict[str, Stage]:
    count, rest, held = _held_out(policy)
    out = _of_folds(count, rest, kinds, committee, loop)
    # Asked about what was held out.
    cost = held * kinds * committee
    learner: Any = policy.learner
    base = learner.base if isinstance(learner, RewardedPolicy) else learner
    if base is not None and hasattr(base, 'epochs'):
        out['weights'] = Stage(base.epochs, cost)
    if isinstance(learner, RewardedPolicy):
        out['policy'] = Stage(learner.epochs, cost)
    return out


def _held_out(policy: HeldOut) -> tuple[int, float, float]:
    # Folds, the share of train that each learns, and what all hold out.
    evidence = policy.evidence
    if isinstance(evidence, KFolds):
        return evidence.k, 1 - 1 / evidence.k, 1.0
    if isinstance(evidence, OnValidation):  # nothing is trained for it
        return 0, 1.0, 0.05
    return 1, 1 - evidence.ratio, evidence.ratio


def _teachers(recipe: Recipe, graph: KG) -> tuple[int, int]:
    # How many kinds learn, and how many count.
    counting = len(recipe.teachers.observed or ())
    return len(recipe.teachers.names(graph)) - counting, counting


def memory(
    recipe: Recipe, graph: KG, folds: int | None = None
) -> tuple[int, str]:
    r"""The bytes that training takes at most, with judges of so many folds,
    roughly, and how they come about, in words.
    """
    size, t, s = graph.num_entities, recipe.teachers, recipe.student
    kinds, counting = _teachers(recipe, graph)
    widths = {name: x.size(1) for name, (x, _) in graph.features.items()}
    features = size * sum(widths.values()) * FLOAT
    # With a free table: the structure teacher, and the joint one.
    free = 2 if kinds > 1 + len(widths) else 1
    table = size * 2 * t.channels * FLOAT
    teaching = round(free * table * _copies(t.loop))
    student = round(size * 2 * s.channels * FLOAT * _copies(s.loop))
    scores = FLOAT * _scores(recipe, kinds, counting, size)
    # Those of the policy are gone before those of judges come.
    parts = folds or 0
    if isinstance(recipe.policy, HeldOut):
        parts = max(parts, _held_out(recipe.policy)[0])
    kept = t.committee * (1 + parts) * free * table
    # Those that a student listens to are there in bf16 as well.
    if resolve_precision(recipe.precision, recipe.device) == 'bf16':
        student += t.committee * free * table // 2
    most = features + scores + max(teaching, student) + kept
    words = (
        f'{size:,} entities x {2 * t.channels} numbers x {FLOAT} bytes x '
        f'{_copies(t.loop)} (with gradients and '
        f'{type(t.loop.optimizer).__name__}) x {free} tables of teachers, '
        f'features {size_of(features)}, scores of a step {size_of(scores)}'
    )
    return most, words


def _scores(recipe: Recipe, kinds: int, counting: int, size: int) -> int:
    # Scores that a step keeps between two walks through them: of each teacher
    # that learns, or of the student and of each teacher that it listens to.
    t, s = recipe.teachers.loop, recipe.student.loop
    more = recipe.student.unlabeled
    queries = round(s.batch_size * (1 + (more.share if more else 0)))
    teaching = t.batch_size * _width(t, size)
    learning = queries * _width(s, size)
    return max(
        kinds * min(teaching, KEEP_LEARNING),
        min(learning, KEEP_LEARNING)
        + kinds * min(learning, KEEP)
        # Those that count give whole matrices.
        + counting * queries * size,
    )


def _width(loop: Loop, size: int) -> int:
    # Entities that losses are over; the tails of a batch are not counted.
    return size if loop.sampled is None else min(size, loop.sampled.count)


def _copies(loop: Loop) -> float:
    # The parameter, its gradient, and the moments of the optimiser.
    if isinstance(loop.optimizer, RowwiseAdagrad):
        return 2
    if isinstance(loop.optimizer, Adam8bit):
        return 2.5
    return 4 if isinstance(loop.optimizer, Adam) else 3


def size_of(count: int) -> str:
    r"""Bytes in words."""
    gib = count / 2**30
    return f'{gib:.1f} GiB' if gib >= 1 else f'{gib * 1024:.0f} MiB'
