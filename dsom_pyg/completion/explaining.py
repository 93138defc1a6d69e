"""What teachers say of a triple, and which rules, in words."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dsom_pyg.completion.evidence import paths, reliability, traits
from dsom_pyg.completion.knowledge import Knowledge
from dsom_pyg.completion.results import Opinion, Reason
from dsom_pyg.completion.store import Parts
from dsom_pyg.kg import KG
from dsom_pyg.models import KGE, Model, Observed
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.teachers import Answers, TeacherEnsemble
from dsom_pyg.teachers.combiner import shares_of

Ids = tuple[int, int, int]


def counted_anew(
    teachers: TeacherEnsemble, graph: KG, instead: Mapping[str, Model]
) -> TeacherEnsemble:
    r"""Teachers of another graph: some have others in their place, and those
    that count have counted its triples.
    """
    out: dict[str, Model] = {}
    for name in teachers.modalities:
        teacher = teachers[name]
        if isinstance(teacher, Observed):
            teacher = type(teacher)(graph.index('train'))
        out[name] = instead.get(name, teacher)
    return TeacherEnsemble(out).eval()


@torch.no_grad()
def teachers_say(
    parts: Parts, knowledge: Knowledge, triple: Ids
) -> list[Opinion]:
    r"""What each teacher says of a triple, and how much the policy heeds it;
    nothing if the teachers were not kept.

    Args:
        parts: The model.
        knowledge: What it knows, which tells the rivals of the tail.
        triple: Ids of head, relation and tail.
    """
    head, _, tail = triple
    teachers, lookup = parts.teachers, parts.weights
    if teachers is None or lookup is None:
        return []
    h, r, t = (torch.tensor([x]) for x in triple)
    weights = lookup.weights(Answers(teachers, h, r))[0]
    others, rivals = knowledge.others(h, r, t), knowledge.rivals(h, r, t)
    # A teacher without a row for one of the ends has nothing to say.
    speaks = [
        not isinstance(teacher, KGE)
        or bool(teacher.kept()['entities'][[head, tail]].any(dim=1).all())
        for teacher in teachers
    ]
    shares = weights * torch.tensor(speaks)
    shares = shares_of(shares)
    out = []
    for name, speak, share, (logits,) in zip(
        teachers.modalities,
        speaks,
        shares.tolist(),
        teachers.each(h, r),
        strict=True,
    ):
        if not speak:
            continue
        own = logits[tail]
        probability = (own - logits[rivals[0]].logsumexp(dim=0)).exp()
        logits = logits[others[0]]
        # The tail itself is among its equals.
        equal = (logits == own).sum() - 1
        rank = 1 + (logits > own).sum() + equal / 2
        out.append(Opinion(name, share, float(probability), float(rank)))
    return out


class Rules:
    r"""Rules over training triples that speak for others, in words.

    Args:
        train: N(h, r) over training triples with reciprocals.
        entities, relations: What they are called.
    """

    def __init__(
        self, train: QueryIndex, entities: list[str], relations: list[str]
    ) -> None:
        self.train, self.entities, self.relations = train, entities, relations

    def of(self, triple: Ids, k: int) -> list[Reason]:
        r"""The best reasons for a triple, the most reliable first; of equals
        those that lead from its head to its tail.
        """
        head, rel, tail = triple
        out = [
            Reason(
                self._path([step[1] for step in path.steps], rel),
                [' | '.join(self._parts(*step)) for step in path.steps],
                path.support,
                path.confidence,
                path.sampled,
            )
            for path in paths(self.train, head, rel, tail, k)
        ]
        names = self.entities
        for trait in traits(self.train, head, rel, tail, k):
            _, r, constant = trait.step
            one = 'x' if trait.of_head else 'z'
            body = self._atom(one, r, names[constant])
            ends = (one, names[tail]) if trait.of_head else (names[head], one)
            out.append(
                Reason(
                    f'{body} => {self._atom(ends[0], rel, ends[1])}',
                    [' | '.join(self._parts(*trait.step))],
                    trait.support,
                    trait.confidence,
                )
            )
        out.sort(key=lambda each: -reliability(each.support, each.confidence))
        return out[:k]

    def _path(self, body: list[int], rel: int) -> str:
        letters = 'xyz' if len(body) == 2 else 'xz'
        atoms = [
            self._atom(letters[at], step, letters[at + 1])
            for at, step in enumerate(body)
        ]
        return f'{" and ".join(atoms)} => {self._atom("x", rel, "z")}'

    def _atom(self, head: str, rel: int, tail: str) -> str:
        # A relation beyond R - 1 goes backwards.
        size = len(self.relations)
        if rel >= size:
            head, tail = tail, head
        return f'{head} {self.relations[rel % size]} {tail}'

    def _parts(self, head: int, rel: int, tail: int) -> tuple[str, str, str]:
        size = len(self.relations)
        if rel >= size:
            head, tail = tail, head
        return (
            self.entities[head],
            self.relations[rel % size],
            self.entities[tail],
        )
