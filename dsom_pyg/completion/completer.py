"""The object that a person trains, keeps and asks."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dsom_pyg.completion.asking import Candidates, best_tails
from dsom_pyg.completion.explaining import Rules, teachers_say
from dsom_pyg.completion.export import export
from dsom_pyg.completion.heeding import heeding, odds_by
from dsom_pyg.completion.hub import download, upload
from dsom_pyg.completion.knowledge import Knowledge
from dsom_pyg.completion.ntriples import BASE
from dsom_pyg.completion.proposals import (
    Found,
    Odds,
    claims,
    most_probable,
    propose,
    questions_for,
    questions_of,
)
from dsom_pyg.completion.questions import (
    Word,
    Words,
    check_count,
    listed,
    read_questions,
    triples_of,
)
from dsom_pyg.completion.results import (
    Answer,
    Explanation,
    Link,
    Opinion,
    Proposal,
    Rows,
    ScoredTriple,
    Suspect,
)
from dsom_pyg.completion.review import Review
from dsom_pyg.completion.store import Parts, load_parts, save_parts
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.completion.writers import write_proposals, write_triples
from dsom_pyg.evaluation import evaluate, queries_at_a_time
from dsom_pyg.graph import Triples, within
from dsom_pyg.kg import KG
from dsom_pyg.metrics import RankingResult
from dsom_pyg.models import KGE, Bilinear

if TYPE_CHECKING:
    # Only training needs them, and they take seconds to import.
    from dsom_pyg.datasets.base import MultimodalDataset
    from dsom_pyg.dsom import DSoM, Recipe
    from dsom_pyg.encoders import Encoder
    from dsom_pyg.trackers import Tracker

Triple = tuple[Word, Word, Word]


def _review(given: str | Path | Review) -> Review:
    return given if isinstance(given, Review) else Review(given)


class Completer:
    r"""A trained model, the names of its graph, and what is known.

    Make one by :meth:`train` or :meth:`load`. Whatever it is asked, entities
    and relations are given by name, by the label that the files of the graph
    use, or by id.

    Args:
        parts: What it is made of; everything below stays reachable there.

    Attributes:
        knowledge: What the model knows, and what of that it has learned.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.graph = parts.graph
        self.knowledge = Knowledge(parts)

    @classmethod
    def train(
        cls,
        dataset: MultimodalDataset,
        folder: str | Path | None = None,
        recipe: Recipe | None = None,
        teachers: bool = True,
        review: str | Path | Review | None = None,
        folds: int | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> Completer:
        r"""Train a model for a dataset, and keep it in a folder, with the
        settings and metrics of the run.

        A run that was interrupted goes on by the same call, and one that has
        ended is loaded.

        Args:
            dataset: The graph and its names.
            folder: Of the run, see :mod:`dsom_pyg.completion.run_folder`;
                :obj:`None` for none.
            recipe: How to train.
                (default: :func:`~dsom_pyg.recipes.of_size`)
            teachers: Keep the teachers, too, for :meth:`explain`.
            review: Decisions of people: what they accepted joins train, what
                they rejected leaves the graph and is not proposed.
            folds: Find :meth:`suspects` as well, by judges that are trained
                without one of so many parts of train, 2 or more. Each costs
                a training.
            trackers: Who keeps settings, curves and metrics as well, see
                :mod:`dsom_pyg.trackers`.

        Raises:
            ValueError: The folder holds another run; what differs is named. Or
                a model of the recipe cannot be kept. Or there are trackers
                and no folder.
        """
        from dsom_pyg.completion.making import train

        said = None if review is None else _review(review)
        return cls(
            train(dataset, folder, recipe, teachers, said, folds, trackers)
        )

    @classmethod
    def of(
        cls,
        dataset: MultimodalDataset,
        graph: KG,
        trained: DSoM,
        teachers: bool = True,
    ) -> Completer:
        r"""What was trained by :func:`~dsom_pyg.train_dsom` already.

        Raises:
            ValueError: The student has no table of entities.
        """
        from dsom_pyg.completion.making import parts_of

        return cls(parts_of(dataset, graph, trained, teachers))

    def add_entities(
        self,
        texts: Mapping[str, str | Sequence[str]] | None = None,
        images: Mapping[str, str | Path | Sequence[str | Path]] | None = None,
        triples: Iterable[Triple] = (),
        *,
        names: Mapping[str, str] | None = None,
        text_encoder: Encoder | None = None,
        image_encoder: Encoder | None = None,
        seed: int = 0,
    ) -> Completer:
        r"""The same model with entities that were not there in training, known
        by what is said of them. Nothing else in the model changes, but that
        they may stand before others among answers; see ``docs/review.md``.

        Args:
            texts: By the name of a new entity: a text, several, or ``[]``.
                They should be like those of the training.
            images: Likewise, paths.
            triples: What is known of new entities. At least one end of each
                is new.
            names: What new entities are called, where that is another word
                than the one which texts, images and triples use.
            text_encoder: That of the training.
                (default: made again, if it has no weights)
            image_encoder: Likewise.
            seed: Of the fit of their rows.

        Raises:
            UnknownNameError: A triple has a name that nobody has.
            ValueError: A key is there already, an encoder is not that of the
                training, or the model has no teachers.
        """
        from dsom_pyg.completion.adding import Newcomers, added

        new = Newcomers(self.parts, texts, images, triples, names)
        encoders = {'text': text_encoder, 'image': image_encoder}
        return type(self)(added(self.parts, new, encoders, seed))

    def with_review(self, review: str | Path | Review) -> Completer:
        r"""The same model, which heeds decisions that were made since: what
        people accepted is known, what they rejected is not, and is never
        proposed; both say how often proposals come true. Begin from the model
        as it was trained: what one that heeds a review already has heeded
        tells nothing more.

        Args:
            review: The decisions.
        """
        parts = self.parts
        judged = _review(review).judged(parts.entities, parts.relations)
        if not any(len(each.edge_type) for each in judged):
            return self
        odds = odds_by(self.knowledge, judged, self.claims(judged.decided))
        return Completer(heeding(self.knowledge, judged, odds))

    def claims(self, triples: Triples) -> dict[tuple[int, int, int], float]:
        r"""What the model claims of those of some triples that it proposes,
        see :class:`~dsom_pyg.completion.proposals.Odds`. Of what is known, or
        was rejected, it claims nothing: it has heeded that.
        """
        # What is known is never proposed.
        triples = triples.select(~self.knowledge.has(triples))
        if not len(triples.edge_type):
            return {}
        asked = [(triples.head, triples.edge_type)]
        found = claims(self._propose(asked, Odds()))
        ours = within(Triples.of(found), triples).tolist()
        return {x: found[x] for x, our in zip(found, ours, strict=True) if our}

    def save(self, folder: str | Path) -> None:
        r"""Write the model into a folder, see
        :mod:`dsom_pyg.completion.store`.
        """
        save_parts(folder, self.parts)

    @classmethod
    def load(
        cls, folder: str | Path, models: Sequence[type[KGE]] = ()
    ) -> Completer:
        r"""Read a model from a folder. It needs neither the dataset nor a
        network, and nothing in the folder runs.

        Args:
            folder: The folder.
            models: Classes of your own that the model may be of.

        Raises:
            ModelFolderError: The folder holds no whole model.
        """
        return cls(load_parts(folder, models))

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
    ) -> Completer:
        r"""Read a model from a folder, or from a repository of the Hugging
        Face hub; see :func:`~dsom_pyg.completion.hub.download`.
        """
        return cls.load(download(source, revision, cache_dir, token))

    def push_to_hub(
        self,
        repo_id: str,
        private: bool = True,
        token: str | bool | None = None,
        revision: str | None = None,
        license: str | None = None,
    ) -> str:
        r"""Upload the model, with a model card, to a repository of the
        Hugging Face hub; see :func:`~dsom_pyg.completion.hub.upload`.

        Returns:
            Where it can be seen.
        """
        options = private, token, revision, license
        return upload(repo_id, self.parts, *options)

    def export(self, path: str | Path) -> None:
        r"""Write the embeddings with their names to ``.safetensors``,
        ``.npz`` or ``.faiss``; see :func:`dsom_pyg.completion.export.export`.
        """
        export(path, self.parts)

    def write_triples(self, path: str | Path) -> None:
        r"""Write the graph that this model knows, as it was corrected and
        enlarged; see :func:`dsom_pyg.completion.writers.write_triples`.
        """
        write_triples(path, self.parts)

    def query_vectors(
        self, head: Any = None, relation: Any = None, tail: Any = None
    ) -> Tensor:
        r"""Vectors of questions, ``[B, 2D]``: their inner product with the row
        of an entity is its score. Give words or lists of them, as to
        :meth:`answer`; a single question has one row.

        Raises:
            ValueError: The scores of the model are no products.
        """
        student = self.parts.student
        if not isinstance(student, Bilinear):
            raise ValueError(
                f'the scores of a {type(student).__name__} are no products of '
                'vectors; score and answer work'
            )
        end, rel, _ = self._questions(head, relation, tail)
        with torch.no_grad():
            return student.query_vectors(end, rel)

    def __repr__(self) -> str:
        return (
            f'Completer({self.graph.num_entities:,} entities, '
            f'{self.graph.num_relations:,} relations, '
            f'{self.parts.student!r})'
        )

    @property
    def entities(self) -> Vocabulary:
        r"""Names and ids of entities."""
        return self.parts.entities

    @property
    def relations_known(self) -> Vocabulary:
        r"""Names and ids of relations."""
        return self.parts.relations

    def answer(
        self,
        head: Any = None,
        relation: Any = None,
        tail: Any = None,
        k: int = 10,
        known: bool = False,
        among: Iterable[Word] | Literal['all'] | None = None,
    ) -> Rows[Answer] | list[Rows[Answer]]:
        r"""The best answers to (head, relation, ?) or (?, relation, tail).

        Args:
            head: Of a question without its tail. Lists are as many questions;
                a single value goes with all of them. A
                :class:`pandas.DataFrame` is a table of questions, with
                columns of the names of these arguments.
            relation: Of the question.
            tail: Of a question without its head.
            k: How many answers.
            known: Give known answers as well, marked, in place of new ones
                alone.
            among: Candidates; also the entity that is asked about, if it is
                among them. ``'all'``: every entity.
                (default: what the relation takes, see
                :class:`~dsom_pyg.completion.Ranges`)

        Returns:
            The answers, best first; for several questions a list of such.

        Raises:
            UnknownNameError: Nothing is called so.
            ValueError: No side is asked for, or both.
        """
        end, rel, many = self._questions(head, relation, tail)
        knowledge = self.knowledge
        candidates = Candidates(
            knowledge.known,
            self.graph.num_entities,
            knowledge.ranges if among is None else None,
            self._among(among),
            new=not known,
            never=knowledge.rejected,
        )
        found, notes = self._best(end, rel, k, candidates), knowledge.notes
        out = [
            Rows(
                answers,
                notes([e], r) + self._left_out(e, r, candidates),
                Answer,
            )
            for answers, e, r in zip(
                found, end.tolist(), rel.tolist(), strict=True
            )
        ]
        return out if many else out[0]

    def _questions(
        self, head: Any, relation: Any, tail: Any
    ) -> tuple[Tensor, Tensor, bool]:
        # Ids of what is given and of the relation, from its side; and
        # whether these are several questions.
        asked = read_questions(head, relation, tail)
        end = self.entities.ids(asked.ends)
        rel = self.relations_known.ids(asked.relations)
        if asked.head_side:
            rel = rel + self.graph.num_relations
        return end, rel, asked.many

    def _among(
        self, among: Iterable[Word] | Literal['all'] | None
    ) -> Tensor | None:
        if among is None or (isinstance(among, str) and among == 'all'):
            return None
        if isinstance(among, str):
            raise ValueError(
                f"among takes several entities or 'all', got {among!r}"
            )
        mask = torch.zeros(self.graph.num_entities, dtype=torch.bool)
        mask[self.entities.ids(among)] = True
        return mask

    def _best(
        self, end: Tensor, rel: Tensor, k: int, candidates: Candidates
    ) -> list[list[Answer]]:
        check_count(k)
        temperature = self.parts.calibration.temperature
        out: list[list[Answer]] = [[] for _ in range(len(end))]
        names = self.entities.names
        asked = self.parts.student, end, rel, k, candidates, temperature
        for at, best in best_tails(*asked):
            columns = (column.numpy().tolist() for column in best)
            for place, *rows in zip(at.tolist(), *columns, strict=True):
                out[place] = [
                    Answer(names[tail], p, score, is_known, tail)
                    for tail, score, p, is_known in zip(*rows, strict=True)
                    if tail >= 0
                ]
        return out

    def _left_out(
        self, end: int, rel: int, candidates: Candidates
    ) -> list[str]:
        tails = candidates.known.lookup(*torch.tensor([[end], [rel]])).tail
        if candidates.among is not None:
            tails = tails[candidates.among[tails]]
        count = len(tails)
        if not candidates.new or not count:
            return []
        are = 'answer is' if count == 1 else 'answers are'
        return [
            f'{count} known {are} left out; known=True (--known) shows all'
        ]

    def score(self, triples: Iterable[Triple]) -> Rows[ScoredTriple]:
        r"""Scores and probabilities of given triples, or of those of a frame
        with the columns head, relation and tail; see
        :class:`~dsom_pyg.completion.results.ScoredTriple`.
        """
        return self._scored(triples, self.knowledge.rivals)

    def _scored(
        self,
        triples: Iterable[Triple],
        rivals: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Rows[ScoredTriple]:
        head, rel, tail = self._ids(triples)
        rows: list[tuple[Any, ...]] = []
        temperature = self.parts.calibration.temperature
        for part in torch.arange(len(head)).split(self._batch):
            h, r, t = head[part], rel[part], tail[part]
            scores = self._scores(h, r)
            own = scores.gather(1, t[:, None])
            mine = self.knowledge.has(Triples(torch.stack([h, t]), r))
            scores.masked_fill_(~rivals(h, r, t), -torch.inf)
            warm = temperature[r][:, None]
            log_z = (scores / warm).logsumexp(dim=1, keepdim=True)
            p = (own / warm - log_z).exp()
            rows += zip(
                *(x.tolist() for x in (h, r, t)),
                *(x[:, 0].tolist() for x in (p, own)),
                mine.tolist(),
                strict=True,
            )
        entities, relations = self.entities.names, self.relations_known.names
        made = (
            ScoredTriple(entities[h], relations[r], entities[t], *values)
            for h, r, t, *values in rows
        )
        return Rows(made, kind=ScoredTriple)

    def rank(
        self, triples: Iterable[Triple], side: str = 'tail'
    ) -> list[float]:
        r"""The filtered rank of the tail (or head) of given triples among all
        entities, as :func:`~dsom_pyg.evaluate` counts it: known answers are no
        rivals, and an equal score counts half. Rejected ones are none either.
        """
        if side not in ('head', 'tail'):
            raise ValueError(f"side must be 'head' or 'tail', got {side!r}")
        head, rel, tail = self._ids(triples)
        if side == 'head':
            head, tail, rel = tail, head, rel + self.graph.num_relations
        out: list[float] = []
        for part in torch.arange(len(head)).split(self._batch):
            h, r, t = head[part], rel[part], tail[part, None]
            scores = self._scores(h, r)
            own = scores.gather(1, t)
            settled = self.knowledge.settled.lookup(h, r)
            scores[settled.row, settled.tail] = -torch.inf
            scores.scatter_(1, t, -torch.inf)
            above = (scores > own).sum(dim=1)
            equal = (scores == own).sum(dim=1)
            out += (1 + above + equal / 2).tolist()
        return out

    def relations(self, head: Word, tail: Word, k: int = 10) -> Rows[Link]:
        r"""Which relations may link two entities, the most probable first;
        without what was rejected. Probabilities are those of the tail among
        all entities: relations take more of them, or fewer.
        """
        check_count(k)
        h, t = self.entities.id(head), self.entities.id(tail)
        asked = Triples.of((h, r, t) for r in range(self.graph.num_relations))
        if self.parts.rejected is not None:
            asked = asked.select(~within(asked, self.parts.rejected))
        found = self._scored(
            ((h, r, t) for r in asked.edge_type.tolist()),
            self.knowledge.others,
        )
        links = [
            Link(
                triple.relation, triple.probability, triple.score, triple.known
            )
            for triple in found
        ]
        links.sort(key=lambda link: -link.probability)
        return Rows(links[:k], kind=Link)

    def complete(
        self,
        relation: Words | None = None,
        entities: Words | None = None,
        min_probability: float = 0.0,
        limit: int = 10_000,
        k: int = 10,
    ) -> Rows[Proposal]:
        r"""Triples that the graph may lack, the most probable first.

        Every head that a relation takes is asked about; memory does not grow
        with the number of questions.

        Args:
            relation: One or several. (default: all that the model has
                learned)
            entities: Ask about this one or these alone, as heads and as
                tails. (default: all)
            min_probability: Leave out what is less probable, see
                :class:`~dsom_pyg.completion.results.Proposal`.
            limit: How many to keep.
            k: How many answers of a question are looked at.
        """
        check_count(k)
        if not 0 <= min_probability <= 1:
            raise ValueError(
                f'min_probability must lie in 0..1, got {min_probability}'
            )
        if relation is None:
            links = self.knowledge.trained.nonzero()[:, 0].tolist()
        else:
            links = self.relations_known.ids(listed(relation)).tolist()
        notes = [x for link in links for x in self.knowledge.notes((), link)]
        if not len(self.graph.triples('val').edge_type):
            notes.append(
                'there was no validation: probabilities are shares of the '
                'answers to a question, as if each lacked one'
            )
        ranges = self.knowledge.ranges
        words = self.parts.odds, k, min_probability
        if entities is None:
            found = self._propose(questions_of(ranges, links), *words)
        else:
            about = torch.zeros(self.graph.num_entities, dtype=torch.bool)
            about[self.entities.ids(listed(entities))] = True
            heads = questions_of(ranges, links, about)
            others = questions_for(
                about,
                links,
                self.parts.student,
                self.knowledge.candidates,
                self.parts.calibration.temperature,
                k,
            )
            found = chain(
                self._propose(heads, *words),
                self._propose(others, *words, shown=about),
            )
        names, words_of = self.entities.names, self.relations_known.names
        made = (
            Proposal(names[h], words_of[r], names[t], p, score, (h, r, t))
            for p, score, h, r, t in most_probable(found, limit)
        )
        return Rows(made, notes, Proposal)

    def _propose(
        self,
        questions: Iterable[tuple[Tensor, Tensor]],
        odds: Odds,
        k: int = 10,
        min_probability: float = 0.0,
        shown: Tensor | None = None,
    ) -> Iterator[Found]:
        return propose(
            self.parts.student,
            questions,
            self.knowledge.candidates,
            self.parts.calibration.temperature,
            self.knowledge.rates,
            odds,
            k,
            min_probability,
            shown,
        )

    def suspects(
        self, k: int = 20, relation: Word | None = None
    ) -> Rows[Suspect]:
        r"""Known triples that may be wrong, the least believed first, by
        judges that did not see them; see
        :func:`~dsom_pyg.completion.judging.suspicion`.

        Args:
            k: How many.
            relation: Of this one alone.

        Raises:
            ValueError: No such judges were trained.
        """
        check_count(k)
        found = self.parts.suspicion
        if found is None:
            raise ValueError(
                'nobody judged the triples of this model: train it with '
                'folds=4 (dsom-pyg train ... --folds 4)'
            )
        order = found.order
        if relation is not None:
            asked = self.relations_known.id(relation)
            order = order[found.triples.edge_type[order] == asked]
        best = found.select(order[:k])
        entities, relations = self.entities.names, self.relations_known.names
        part = best.triples
        columns = part.head, part.edge_type, part.tail, best.belief
        rows = [
            Suspect(entities[h], relations[r], entities[t], value, (h, r, t))
            for h, r, t, value in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]
        return Rows(rows, kind=Suspect)

    def write_proposals(
        self,
        path: str | Path,
        proposals: Iterable[Proposal],
        base: str = BASE,
    ) -> None:
        r"""Write what :meth:`complete` found to ``.tsv``, ``.nt`` or
        ``.parquet``; see
        :func:`dsom_pyg.completion.writers.write_proposals`.
        """
        write_proposals(path, proposals, self.parts, base)

    def explain(
        self, head: Word, relation: Word, tail: Word, k: int = 5
    ) -> Explanation:
        r"""Who says that a triple is true, and on what evidence.

        Args:
            head: The head.
            relation: The relation.
            tail: The tail.
            k: How many reasons.
        """
        check_count(k)
        ids = self.entities.id(head), self.relations_known.id(relation)
        h, r, t = *ids, self.entities.id(tail)
        (triple,) = self.score([(h, r, t)])
        ends = list(dict.fromkeys((h, t)))
        notes = self.knowledge.notes(ends, r)
        student = self.rank([(h, r, t)])[0]
        opinions = [
            Opinion('student', float('nan'), triple.probability, student)
        ]
        opinions += teachers_say(self.parts, self.knowledge, (h, r, t))
        if self.parts.teachers is None:
            notes.append('the teachers of this model were not kept')
        words = self.entities.names, self.relations_known.names
        rules = Rules(self.graph.index('train'), *words)
        texts, images = (
            {self.entities.names[e]: of[e] for e in ends if of and of[e]}
            for of in (self.parts.texts, self.parts.images)
        )
        return Explanation(
            triple,
            Rows(opinions),
            rules.of((h, r, t), k),
            texts,
            images,
            notes,
        )

    def evaluate(
        self, dataset: MultimodalDataset | None = None, split: str = 'test'
    ) -> RankingResult:
        r"""Rank the triples of a split, of the kept graph or of a dataset.

        Raises:
            ValueError: The dataset numbers its graph otherwise, or the model
                was trained on some triples of the split.
        """
        graph = self.graph
        if dataset is not None:
            self.check(dataset)
            graph = KG(dataset[0])
            self._check_unseen(graph, split)
        return evaluate(self.parts.student, graph, split)

    def _check_unseen(self, graph: KG, split: str) -> None:
        if split == 'train' or graph.fingerprint == self.graph.fingerprint:
            return
        part = graph.triples(split)
        h, r, t = part.head, part.edge_type, part.tail
        seen = self.graph.index('train').lookup(h, r)
        known = int((seen.tail == t[seen.row]).sum())
        if known:
            raise ValueError(
                f'{known} of {len(t)} triples of {split!r} in this dataset '
                'are training triples of the model: it is another graph, or '
                'split otherwise'
            )

    def check(self, dataset: MultimodalDataset) -> None:
        r"""Raise :class:`ValueError` unless a dataset gives entities and
        relations the ids that this model gives them.
        """
        self.entities.check(dataset.entity_names)
        self.relations_known.check(dataset.relation_names)

    def _ids(self, triples: Iterable[Triple]) -> tuple[Tensor, Tensor, Tensor]:
        given = []
        if hasattr(triples, 'columns'):  # a frame, such as of to_pandas
            triples = triples_of(triples)
        for each in triples:
            # Of a mapping these would be its keys.
            triple = [] if isinstance(each, Mapping) else listed(each)
            if len(triple) != 3:
                raise ValueError(
                    'give triples (head, relation, tail) in a list; '
                    f'{each!r} is none'
                )
            given.append(triple)
        head, rel, tail = zip(*given, strict=True) if given else ((),) * 3
        ends, links = self.entities, self.relations_known
        return ends.ids(head), links.ids(rel), ends.ids(tail)

    @torch.no_grad()
    def _scores(self, head: Tensor, rel: Tensor) -> Tensor:
        return self.parts.student.score_tails(head, rel)

    @property
    def _batch(self) -> int:
        return queries_at_a_time(self.graph.num_entities)
