"""A model that is asked, and what was decided since.

This is what the site knows. How it is reached, and by whom, is not told here.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from threading import Lock
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from dsom_pyg.completion import (
    Completer,
    Decision,
    Proposal,
    Review,
    UnknownNameError,
)
from dsom_pyg.completion.heeding import heeding, odds_by
from dsom_pyg.completion.results import Explanation
from dsom_pyg.completion.review import VERDICTS, Judged
from dsom_pyg.graph import Triples, add_reciprocals

# Questions of a request, and answers to each.
QUESTIONS, ANSWERS = 1000, 1000
# Proposals that are made at once, those or other rows of a page, entities that
# a search finds, answers to a question that are looked at.
PROPOSALS, FACTS, FOUND, DEPTH = 1000, 50, 20, 10
# Questions about all relations that are asked at once, some seconds' worth.
MANY = 10_000
Verdict = Literal['accept', 'reject', 'unsure']
Ids = tuple[int, int, int]
# Not True, which Python counts as 1.
Word = StrictStr | StrictInt


class Asking(BaseModel):
    """What a program sends; a word that nobody knows is refused."""

    model_config = ConfigDict(extra='forbid')


class Question(Asking):
    """(head, relation, ?) or (?, relation, tail)."""

    relation: Word
    head: Word | None = None
    tail: Word | None = None


class QuestionList(Asking):
    """Several questions."""

    questions: Annotated[list[Question], Field(max_length=QUESTIONS)]
    k: Annotated[int, Field(ge=1, le=ANSWERS)] = 10
    known: bool = False
    any_kind: bool = False


class Judgement(Asking):
    """What somebody says of a triple."""

    head: Word
    relation: Word
    tail: Word
    verdict: Verdict


class Wanted(NamedTuple):
    r"""A question by ids."""

    end: int
    rel: int
    at_head: bool
    k: int
    known: bool
    any_kind: bool

    @property
    def given(self) -> tuple[int | None, int, int | None]:
        r"""Head, relation and tail, as far as they are given."""
        ends = (None, self.end) if self.at_head else (self.end, None)
        return ends[0], self.rel, ends[1]


class Asked:
    r"""A model and what was decided since.

    What it proposes is sifted by the decisions, and how probable proposals
    are is told by them: lists of proposals take long to make. They are made
    anew after a decision that changes what a relation takes, or what was
    decided when they were made. Answers come from a model that heeds all that
    is decided, :func:`~dsom_pyg.completion.heeding.heeding`.

    Args:
        base: The model, as it was trained.
        review: Where decisions are kept; :obj:`None` if nobody decides.
    """

    def __init__(self, base: Completer, review: Review | None) -> None:
        self.base, self.review = base, review
        self.lock = Lock()
        self._stamp: tuple[int, ...] = ()
        content = b''
        if review is not None:
            self._stamp, content = review.stamp, review.content()
        self._start(content)

    def _start(self, content: bytes) -> None:
        # What takes long comes first: others may ask meanwhile.
        said = self._said(content)
        claims = self.base.claims(Triples.of(said))
        # The lines of the file that were read.
        self._content = _lines(content)
        self.decided: dict[Ids, str] = {}
        # What was claimed of proposals that were decided on.
        self.claims: dict[Ids, float] = claims
        # How many answers to a question were decided on, by what is given.
        self.counts: Counter[tuple[int | None, int, int | None]] = Counter()
        # How many triples of a relation, and of an entity, were.
        self.of_relation: Counter[int | None] = Counter()
        self.of_entity: Counter[int] = Counter()
        # How many at most of one question about it.
        self.deepest: Counter[tuple[str, int | None]] = Counter()
        for ids, verdict in said.items():
            self._heed(ids, verdict)
        self._learn()
        self._begin()

    def _said(self, content: bytes, above: int = 0) -> dict[Ids, str]:
        # The verdicts of a part of the file, as far as they are of this graph.
        out: dict[Ids, str] = {}
        if self.review is None:
            return out
        names = self.base.entities, self.base.relations_known
        for each in self.review.read(content, above):
            try:
                out[each.ids(*names)] = each.verdict
            except UnknownNameError as error:
                warnings.warn(
                    f'{self.review.path}: {error}; the decision is left out',
                    UserWarning,
                    stacklevel=2,
                )
        return out

    def _begin(self) -> None:
        # A model that heeds what is decided by now; what comes is sifted.
        self.heeded = dict(self.decided)
        self.model = self.answering = self._heeding()
        self.answers_are_old = False
        self._proposals = lru_cache(64)(self._propose)
        self._about = lru_cache(256)(self._propose_about)

    def _heeding(self) -> Completer:
        judged = self._judgement()
        if not len(judged.decided.edge_type):
            return self.base
        return Completer(heeding(self.base.knowledge, judged, self.odds))

    def catch_up(self) -> None:
        r"""Heed what was written into the file of decisions, by whomever."""
        if self.review is None or self.review.stamp == self._stamp:
            return
        with self.lock:
            stamp = self.review.stamp
            try:
                content = self.review.content()
            except OSError:  # it is tried again; who decides is told
                return
            self._stamp, before = stamp, self._content
            if not content.startswith(before):  # somebody has edited it
                self._start(content)
                return
            said = self._said(content[len(before) :], before.count(b'\n'))
            self._content = _lines(content)
            held = self.decided.get
            new = {ids: said[ids] for ids in said if held(ids) != said[ids]}
            if new:
                first = [ids for ids in new if ids not in self.decided]
                self._take(new, self.base.claims(Triples.of(first)))

    def last(self) -> list[Decision]:
        r"""The decisions that hold, each triple once."""
        if self.review is None:
            return []
        names = self.base.entities, self.base.relations_known
        return [*self.review.holding(*names).values()]

    def ids(self, head: Word, relation: Word, tail: Word) -> Ids:
        r"""Ids of what is called so."""
        ends, links = self.base.entities, self.base.relations_known
        return ends.id(head), links.id(relation), ends.id(tail)

    def ids_if_known(self, each: Decision) -> Ids | None:
        r"""Those of a decision, which may be of another state of the graph."""
        try:
            return each.ids(self.base.entities, self.base.relations_known)
        except UnknownNameError:
            return None

    def entity_id(self, at: int) -> int:
        r"""An id that somebody has written into an address."""
        if not 0 <= at < self.model.graph.num_entities:
            raise UnknownNameError(f'there is no entity {at}')
        return at

    def relation_id(self, at: int) -> int:
        r"""Likewise."""
        if not 0 <= at < self.model.graph.num_relations:
            raise UnknownNameError(f'there is no relation {at}')
        return at

    def relation_at(self, word: str) -> int:
        r"""Likewise, of what may be no number."""
        # Python reads no number of thousands of digits.
        if not word.isdecimal() or not word.isascii() or len(word) > 18:
            raise UnknownNameError(f'there is no relation {word[:20]!r}')
        return self.relation_id(int(word))

    def checked(self, head: int, relation: int, tail: int) -> Ids:
        r"""Likewise, those of a triple."""
        rel = self.relation_id(relation)
        return self.entity_id(head), rel, self.entity_id(tail)

    def decide(self, triple: Ids, verdict: str) -> Decision:
        r"""Keep a decision. When this returns, it is on the disk."""
        h, r, t = triple
        ends, links = self.model.entities, self.model.relations_known
        words = ends.labels[h], links.labels[r], ends.labels[t]
        assert self.review is not None  # nobody is asked otherwise
        with self.lock:
            # Whatever may fail does so before the decision is kept.
            claims = self.base.claims(Triples.of([triple]))
            made = self.review.decide(
                *words, verdict, self.model.graph.fingerprint
            )
            self._take({triple: verdict}, claims)
        return made

    def _take(
        self, said: Mapping[Ids, str], claims: Mapping[Ids, float]
    ) -> None:
        # Decisions that are new, and what was claimed of them.
        self.claims |= claims
        for triple, verdict in said.items():
            self._heed(triple, verdict)
        self._learn()
        self.answers_are_old = True
        otherwise = any(self.heeded.get(x, y) != y for x, y in said.items())
        if otherwise or self._bend(said):
            self._begin()

    def _bend(self, said: Mapping[Ids, str]) -> bool:
        # Whether relations may take others than before: somebody accepted
        # what they did not take, or rejected a known triple.
        yes, no = (
            Triples.of([x for x, verdict in said.items() if verdict == word])
            for word in VERDICTS[:2]
        )
        known = self.model.knowledge
        both = add_reciprocals(yes, self.model.graph.num_relations)
        taken = known.ranges.take(both.head, both.edge_type, both.tail)
        return bool(known.has(no).any()) or not bool(taken.all())

    def _heed(self, triple: Ids, verdict: str) -> None:
        if triple not in self.decided:
            h, r, t = triple
            self.counts[h, r, None] += 1
            self.counts[None, r, t] += 1
            self.of_relation.update((r, None))
            self.of_entity.update({h, t})
            deep = max(self.counts[h, r, None], self.counts[None, r, t])
            for what in (
                ('relation', r),
                ('relation', None),
                ('entity', h),
                ('entity', t),
            ):
                self.deepest[what] = max(self.deepest[what], deep)
        self.decided[triple] = verdict

    def _judgement(self) -> Judged:
        said: dict[str, list[Ids]] = {verdict: [] for verdict in VERDICTS}
        for triple, verdict in self.decided.items():
            said[verdict].append(triple)
        return Judged(*(Triples.of(said[verdict]) for verdict in VERDICTS))

    def _learn(self) -> None:
        known = self.base.knowledge
        self.odds = odds_by(known, self._judgement(), self.claims)

    def read(self, asked: QuestionList) -> list[Wanted]:
        r"""Questions by ids.

        Raises:
            UnknownNameError: Nothing is called so.
            ValueError: A question gives both ends, or none.
        """
        out = []
        for each in asked.questions:
            if (each.head is None) == (each.tail is None):
                raise ValueError('a question gives its head or its tail')
            rel = self.model.relations_known.id(each.relation)
            at_head = each.head is None
            end = each.tail if at_head else each.head
            other = self.model.entities.id(end if end is not None else 0)
            what = asked.k, asked.known, asked.any_kind
            out.append(Wanted(other, rel, at_head, *what))
        return out

    def answers(self, asked: Sequence[Wanted]) -> list[list[dict[str, Any]]]:
        r"""The best answers to each question, as decided: what was rejected
        is none, what was accepted is known. Questions of a kind are put to
        the model at once, which reads its table once for all of them.
        """
        if self.answers_are_old:
            with self.lock:
                self.answering, self.answers_are_old = self._heeding(), False
        out: list[list[dict[str, Any]]] = [[] for _ in asked]
        kinds: dict[tuple[bool, bool, bool], list[int]] = {}
        for at, each in enumerate(asked):
            kind = each.at_head, each.known, each.any_kind
            kinds.setdefault(kind, []).append(at)
        for (at_head, known, any_kind), places in kinds.items():
            some = [asked[at] for at in places]
            ends = [each.end for each in some]
            found: Any = self.answering.answer(
                None if at_head else ends,
                [each.rel for each in some],
                ends if at_head else None,
                k=max(each.k + self.counts[each.given] for each in some),
                known=known,
                among='all' if any_kind else None,
            )
            for at, each, rows in zip(places, some, found, strict=True):
                out[at] = self._sifted(each, rows)
        return out

    def _sifted(self, asked: Wanted, rows: Sequence[Any]) -> list[Any]:
        out = []
        for answer in rows:
            ids = (asked.end, asked.rel, answer.id)
            if asked.at_head:
                ids = (answer.id, asked.rel, asked.end)
            said = self.decided.get(ids)
            known = answer.known or said == 'accept'
            if said != 'reject' and (asked.known or not known):
                out.append(
                    {
                        'name': answer.name,
                        'id': answer.id,
                        'probability': answer.probability,
                        'score': answer.score,
                        'known': known,
                    }
                )
            if len(out) == asked.k:
                break
        return out

    def proposals(self, relation: int | None) -> list[Proposal]:
        r"""Those of a relation, or of all, that are open. More are made before
        they run out.
        """
        times = 1 + self.of_relation[relation] // (PROPOSALS - FACTS)
        k = self._depth('relation', relation)
        return self.proposed(self._proposals(relation, times * PROPOSALS, k))

    def _depth(self, what: str, which: int | None) -> int:
        # How many answers to each question are looked at.
        return DEPTH * (1 + 2 * self.deepest[what, which] // DEPTH)

    def _propose(self, relation: int | None, limit: int, k: int) -> list[Any]:
        return list(self.model.complete(relation, k=k, limit=limit))

    @cached_property
    def few(self) -> bool:
        r"""Whether all relations can be asked about at once."""
        heads = map(self.model.knowledge.ranges.heads, range(len(self.links)))
        return sum(int(each.sum()) for each in heads) <= MANY

    @property
    def most(self) -> int:
        r"""The relation of most triples."""
        return int(
            self.model.graph.triples('train').edge_type.bincount().argmax()
        )

    @property
    def links(self) -> list[str]:
        r"""What relations are called."""
        return self.model.relations_known.names

    def about(self, entity: int) -> list[Proposal]:
        r"""The best open ones about an entity."""
        times = 1 + self.of_entity[entity] // FOUND
        k = self._depth('entity', entity)
        rows = self._about(entity, times * 2 * FOUND, k)
        return self.proposed(rows)[:FOUND]

    def _propose_about(self, entity: int, limit: int, k: int) -> list[Any]:
        asked = [entity]
        return list(self.model.complete(entities=asked, k=k, limit=limit))

    def suspects(self, k: int) -> list[Any]:
        r"""The most suspicious open ones."""
        return self.open(self.model.suspects(k + len(self.decided)))[:k]

    def open(self, rows: Sequence[Any]) -> list[Any]:
        r"""Those on which nobody has decided, or somebody was unsure."""
        return [
            row
            for row in rows
            if self.decided.get(row.id, 'unsure') == 'unsure'
        ]

    def explain(self, triple: Ids) -> Explanation:
        r"""Why a triple may be true; known, if it was accepted by now."""
        found = self.model.explain(*triple)
        said = self.decided.get(triple)
        if said in ('accept', 'reject'):
            known = said == 'accept'
            found = replace(found, triple=replace(found.triple, known=known))
        return found

    def trained_with(self, triple: Ids) -> bool:
        r"""Whether the teachers and the student have seen a triple."""
        h, r, t = (torch.tensor([x]) for x in triple)
        known = self.base.graph.index('train').lookup(h, r)
        return bool((known.tail == t).any())

    def belief(self, triple: Ids) -> float | None:
        r"""How much a known triple is believed by who did not see it."""
        found = self.base.parts.suspicion
        if found is None:
            return None
        places = self._judged.get(triple)
        return None if places is None else float(found.belief[places])

    @cached_property
    def _judged(self) -> dict[Ids, int]:
        found = self.base.parts.suspicion
        part = found.triples if found is not None else Triples.of([])
        columns = part.head, part.edge_type, part.tail
        rows = zip(*(x.tolist() for x in columns), strict=True)
        return {ids: at for at, ids in enumerate(rows)}

    def proposed(self, rows: Sequence[Proposal]) -> list[Proposal]:
        r"""Those that are open, with probabilities that heed what was
        decided.
        """
        before, now = self.model.parts.odds, self.odds
        return [
            replace(row, probability=now.instead_of(before, row.probability))
            for row in self.open(rows)
        ]

    def search(self, text: str) -> list[tuple[int, str]]:
        r"""Entities whose names have a text in them, those that begin with it
        first, shorter ones before.
        """
        text = folded(text.strip())
        if not text:
            return []
        found = [at for at, name in enumerate(self.folded) if text in name]
        found.sort(
            key=lambda at: (
                not self.folded[at].startswith(text),
                len(self.folded[at]),
            )
        )
        names = self.model.entities.names
        return [(at, names[at]) for at in found[:FOUND]]

    @cached_property
    def folded(self) -> list[str]:
        r"""Names of entities, as they are searched."""
        return [folded(name) for name in self.model.entities.names]

    def facts(self, entity: int) -> dict[str, list[dict[str, Any]]]:
        r"""Known facts of an entity, by relation: as head, and as tail."""
        known = self.model.knowledge.known
        size = self.model.graph.num_relations
        rel = torch.arange(2 * size)
        found = known.lookup(torch.full_like(rel, entity), rel)
        out: dict[str, list[dict[str, Any]]] = {}
        names = self.model.entities.names
        for r, other in zip(
            found.row.tolist(), found.tail.tolist(), strict=True
        ):
            ids = (entity, r, other) if r < size else (other, r - size, entity)
            # A loop is found from both sides.
            twice = r >= size and other == entity
            if twice or self.decided.get(ids) == 'reject':
                continue
            out.setdefault(self._label(ids, entity), []).append(
                {'id': ids, 'other': other, 'name': names[other]}
            )
        for ids, verdict in list(self.decided.items()):
            if verdict != 'accept' or entity not in (ids[0], ids[2]):
                continue
            rows = out.setdefault(self._label(ids, entity), [])
            if all(row['id'] != ids for row in rows):
                other = ids[2] if ids[0] == entity else ids[0]
                rows.append({'id': ids, 'other': other, 'name': names[other]})
        return out

    def _label(self, triple: Ids, entity: int) -> str:
        words = self.model.relations_known.names
        word = words[triple[1]]
        if triple[0] == entity:
            return word
        # Another relation may be called so.
        label = f'{word} of'
        return f'{label} (as tail)' if label in words else label


def _lines(content: bytes) -> bytes:
    # Without half a line that somebody is writing.
    return content[: content.rfind(b'\n') + 1]


def folded(text: str) -> str:
    r"""Without case and accents: who types 'Malaga' finds 'Málaga'."""
    apart = unicodedata.normalize('NFKD', text.casefold())
    plain = ''.join(x for x in apart if not unicodedata.combining(x))
    return plain.casefold()  # what stood for capitals, as in '№'
