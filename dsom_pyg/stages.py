"""The stages of DSoM: teachers, folds, the student, distillation.

Each stage is a public function that you can call yourself; each is described
by a small class that holds its own settings and no others.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

from dsom_pyg.files import DamagedFile, digest, load_tensors, save_tensors
from dsom_pyg.kg import KG
from dsom_pyg.models import KGE, ComplEx, Model, OneHop
from dsom_pyg.models.entity import (
    EntityEmbedding,
    EntityModule,
    JointEmbedding,
)
from dsom_pyg.models.observed import OBSERVED
from dsom_pyg.models.sharded import sharded
from dsom_pyg.processes import first, share
from dsom_pyg.query_index import Queries, unlabeled_queries
from dsom_pyg.teachers import Combiner, Lookup, TeacherEnsemble
from dsom_pyg.teachers.ensemble import ModelFactory
from dsom_pyg.teachers.lookup import queries_at_once
from dsom_pyg.training import Adam, Distill, Fold, KFolds, Loop, OneFold, Run
from dsom_pyg.training.fit import check_loop
from dsom_pyg.training.run import drawn_with
from dsom_pyg.training.task import details, held
from dsom_pyg.training.tasks import DistillTask, ModelTask, TeachersTask
from dsom_pyg.words import in_words, make_plain, plain

__all__ = [
    'FreshTable',
    'Student',
    'Teachers',
    'Unlabeled',
    'WarmStart',
    'ask_once',
    'decided',
    'distil',
    'fit_folds',
    'fit_teachers',
    'start_student',
]

# From trials on the validation splits of DB15K and MKG-W.
DECAYING_ADAM = Loop(batch_size=250, optimizer=Adam(lr=0.02), cooldown=1.0)
# A free table of entities overfits sooner than projected features do.
STRONG: ModelFactory = partial(ComplEx, n3=0.05)
MILD: ModelFactory = partial(ComplEx, n3=0.01)


def made_for(graph: KG, make: ModelFactory) -> ModelFactory:
    r"""A maker of models, with the training triples of the graph for models
    that are made with them: those of a fold without what it holds out.
    """
    kind: Any = make.func if isinstance(make, partial) else make
    asked = getattr(kind, 'given_triples', False)
    if not asked or 'triples' not in signature(kind).parameters:
        return make
    given: Any = make
    return partial(given, triples=graph.triples('train'))


@dataclass(kw_only=True, frozen=True)
class Teachers:
    r"""One teacher over the structure, and one for each modality.

    Args:
        channels: D.
        structure: Makes the teachers with a free entity table, structure and
            joint. (default: ComplEx with N3 0.05)
        feature: Makes each of the others. (default: ComplEx with N3 0.01)
        feature_channels: D of the teachers of one modality, which have no
            free table; :obj:`None` for that of the others.
        joint: Add a teacher over structure and all features at once, which
            the paper does not have.
        one_hop: Teachers with features see so many of the triples of a head
            as well, those that do not answer the query; :obj:`None` for
            none, as in the paper. See :class:`~dsom_pyg.models.OneHop`. A
            :class:`~dsom_pyg.completion.Completer` keeps no such teachers:
            they are more than tables.
        observed: Further teachers, which count training triples and learn
            nothing, by name; :obj:`None` for none, as in the paper:
            ``'frequency'`` of the tails of a relation, other
            ``'links'`` of the head, see :class:`~dsom_pyg.models.Observed`.
            On FB15k-237 both together cost 0.5 points: no pair that train
            links is asked for there, and triples that are held out of train
            do not tell a policy so.
        committee: How many teachers of each kind are trained alone; what is
            distilled is the mean of their logits. Each costs as much as the
            first, and so do its folds; the steps of the distillation grow
            wider as well.
        loop: How they are trained. (default: 12 epochs, batches of 250
            queries, Adam at a rate of 0.02 that falls to 0)
    """

    channels: int = 256
    structure: ModelFactory = STRONG
    feature: ModelFactory = MILD
    feature_channels: int | None = None
    joint: bool = True
    one_hop: int | None = None
    observed: tuple[str, ...] | None = None
    committee: int = 1
    loop: Loop = DECAYING_ADAM

    def __post_init__(self) -> None:
        make_plain(self)
        # Found out now, not after the teachers were trained.
        if self.committee < 1 or not isinstance(self.committee, Integral):
            raise ValueError(
                f'committee must be a positive integer, got {self.committee}'
            )
        for name in ('one_hop', 'feature_channels'):
            value = getattr(self, name)
            if value is not None and (
                value < 1 or not isinstance(value, Integral)
            ):
                raise ValueError(
                    f'{name} must be a positive integer, got {value}'
                )
        if isinstance(self.observed, str):
            raise ValueError(
                f"observed must be a tuple of names, such as ('frequency',), "
                f'got {self.observed!r}'
            )
        for name in self.observed or ():
            if name not in OBSERVED:
                raise ValueError(
                    f'nothing observed is called {name!r}; there are '
                    f'{", ".join(OBSERVED)}'
                )

    def names(self, graph: KG) -> list[str]:
        r"""What the teachers of a graph are called, in their order."""
        joint = ['joint'] if self.joint and graph.features else []
        return ['structure', *graph.features, *joint, *(self.observed or ())]

    def build(self, graph: KG, seed: int) -> TeacherEnsemble:
        r"""Untrained teachers, one of each kind, that are to learn the
        training split of a graph.

        Raises:
            ValueError: A modality has the name of another teacher.
        """
        for name in self.observed or ():
            if name in graph.features:
                raise ValueError(
                    f'{name!r} is taken as the name of a teacher, rename the '
                    'modality'
                )
        sizes = graph.num_entities, graph.num_relations, self.channels
        joint = self.joint and bool(graph.features)
        near = None
        if self.one_hop is not None:
            index = graph.index('train')
            near = partial(OneHop, index=index, most=self.one_hop)
        with drawn_with(seed):
            return TeacherEnsemble.from_features(
                graph.features,
                *sizes,
                made_for(graph, self.structure),
                made_for(graph, self.feature),
                joint,
                near,
                self.feature_channels,
            )

    def with_observed(
        self, ensemble: TeacherEnsemble, graph: KG
    ) -> TeacherEnsemble:
        r"""Trained teachers, and those that count what they have learned."""
        if not self.observed:
            return ensemble
        index = graph.index('train')
        counted = {name: OBSERVED[name](index) for name in self.observed}
        learned = {name: ensemble[name] for name in ensemble.modalities}
        return TeacherEnsemble({**learned, **counted}).train(ensemble.training)


@dataclass(frozen=True)
class Unlabeled:
    r"""Plausible queries without a known answer, which the student learns to
    answer as its teachers do; see
    :func:`~dsom_pyg.query_index.unlabeled_queries`.

    Args:
        queries: How many to draw.
        share: How many come into a batch, relative to its other queries.
    """

    queries: int = 250_000
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise ValueError(
                f'queries must be positive, got {self.queries}; '
                'Student(unlabeled=None) is without'
            )
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f'share must lie in (0, 1], got {self.share}')

    def draw(self, run: Run) -> Queries:
        r"""The queries of a run."""
        index = run.graph.index('train').to(run.device)
        size = run.graph.num_entities
        return unlabeled_queries(index, size, self.queries, run.seed)


@dataclass(frozen=True)
class FreshTable:
    r"""The student begins as a fresh table of entities."""

    has_learned = False
    r"""Whether the student knows train already, and so may lose some of that
    while it learns to generalise.
    """

    def check(self, model: Model, teachers: Teachers, graph: KG) -> None:
        r"""Raise :class:`ValueError` unless a student can begin so.

        Args:
            model: A student over a table of entities.
            teachers: Its teachers.
            graph: What they learn.
        """

    def begin(
        self,
        run: Run,
        student: 'Student',
        teachers: Teachers,
        ensemble: TeacherEnsemble,
    ) -> Model:
        r"""The student before distillation."""
        with drawn_with(run.seed + 1):
            table = EntityEmbedding(run.graph.num_entities, student.channels)
            make = made_for(run.graph, student.model)
            return make(table, run.graph.num_relations)

    def finish(self, model: Model) -> Model:
        r"""What answers in the end."""
        return model


@dataclass(frozen=True)
class WarmStart(FreshTable):
    r"""The student begins as a copy of the joint teacher and uses the features
    while it learns. In the end its entity rows are frozen into a table, which
    answers without features. Of a graph without features it begins as a copy
    of the teacher of structure.

    If no such teacher is a model like the student, or it sees neighbors as
    well, one that is like it is trained first, by the loop of the teachers.
    With :class:`~dsom_pyg.training.Adagrad`, set its
    ``initial_accumulator``.

    Raises:
        ValueError: The student has no entity rows.
    """

    has_learned = True

    def check(self, model: Model, teachers: Teachers, graph: KG) -> None:
        if not isinstance(model, KGE):
            raise ValueError(
                f'the scores of {type(model).__name__} are not those of '
                'entity rows, so no table can take their place; use '
                'FreshTable()'
            )
        with drawn_with(0):  # what is drawn here is not used
            make = made_for(graph, teachers.structure)
            source = make(model.entities, graph.num_relations)
        if not _alike(source, model):  # it may be trained as they are
            check_loop(teachers.loop, graph, [model])

    def begin(
        self,
        run: Run,
        student: 'Student',
        teachers: Teachers,
        ensemble: TeacherEnsemble,
    ) -> Model:
        graph = run.graph

        def untrained(make: ModelFactory) -> Model:
            channels, size = student.channels, graph.num_entities
            with drawn_with(run.seed + 1):
                blank: EntityModule = (
                    JointEmbedding(graph.features, channels)
                    if graph.features
                    else EntityEmbedding(size, channels)
                )
                return made_for(graph, make)(blank, graph.num_relations)

        begun = untrained(student.model)
        self.check(begun, teachers, graph)
        assert isinstance(begun, KGE)
        name = 'joint' if graph.features else 'structure'
        source = ensemble[name] if name in ensemble.modalities else None
        if source is None or not _alike(source, begun):
            source = untrained(teachers.structure)
            if not _alike(source, begun):
                source = untrained(student.model)
            task = ModelTask(source, 'start of the student')
            run.fit('start', task, teachers.loop)
        begun.load_state_dict(source.state_dict())
        return begun

    def finish(self, model: Model) -> Model:
        assert isinstance(model, KGE)
        return model.as_table()


def _alike(one: Model, other: KGE) -> bool:
    # Whether one can begin as a copy of the other.
    def sizes(model: Model) -> dict[str, tuple[int, ...]]:
        return {k: (*x.shape,) for k, x in model.state_dict().items()}

    return (
        isinstance(one, KGE)
        and type(one) is type(other)
        and type(one.entities) is type(other.entities)
        and sizes(one) == sizes(other)
    )


@dataclass(kw_only=True, frozen=True)
class Student:
    r"""The model that answers at test time, and how it learns.

    Args:
        channels: D.
        model: Makes the student from an entity module. (default: ComplEx with
            N3 0.01)
        start: How it begins: :class:`FreshTable()` or :class:`WarmStart()`.
        loop: How it is trained. (default: like the teachers)
        distill: Its objective.
        unlabeled: Further queries to learn from; :obj:`None` for none, as in
            the paper.
    """

    channels: int = 256
    model: ModelFactory = MILD
    start: FreshTable = field(default_factory=FreshTable)
    loop: Loop = DECAYING_ADAM
    distill: Distill = field(default_factory=lambda: Distill(tau=2, gamma=4))
    unlabeled: Unlabeled | None = field(default_factory=Unlabeled)

    def __post_init__(self) -> None:
        make_plain(self)
        if not isinstance(self.unlabeled, Unlabeled | None):
            raise TypeError(
                'unlabeled must be Unlabeled(queries=...) or None, got '
                f'{self.unlabeled!r}'
            )

    def check(self, graph: KG, teachers: Teachers) -> None:
        r"""Raise :class:`ValueError` unless such a student can learn from
        these teachers of a graph.
        """
        self.distill.check(self.loop)
        with drawn_with(0):
            table = EntityEmbedding(graph.num_entities, self.channels)
            make = made_for(graph, self.model)
            model = make(table, graph.num_relations)
        self.start.check(model, teachers, graph)
        check_loop(self.loop, graph, [model])


def fit_teachers(run: Run, teachers: Teachers) -> TeacherEnsemble:
    r"""Train the teachers on all of train (Eq. 1, 3).

    Files and results of the stages are called ``'teachers'``, and
    ``'teachers-2'`` and so on for further members of a committee.
    """
    ensembles = []
    for at in range(teachers.committee):
        member = run.member(at)
        ensemble = teachers.build(run.graph, member.seed)
        if teachers.committee > 1:
            ensemble.check_committee()
        member.fit(_stage(at), TeachersTask(ensemble), teachers.loop)
        ensembles.append(ensemble)
    learned = TeacherEnsemble.concatenate(ensembles)
    return teachers.with_observed(learned, run.graph)


def fit_folds(
    run: Run, teachers: Teachers, evidence: OneFold | KFolds
) -> list[Fold]:
    r"""Train teachers that never saw a part of train, for every part.

    They train for as many epochs as the full teachers of this run, if there
    are any; the last epoch is kept. All members of a committee leave out
    the same parts.
    """
    parts = evidence.parts(run.graph, run.seed + 1)
    ensembles: list[list[TeacherEnsemble]] = [[] for _ in parts]
    for at in range(teachers.committee):
        member = run.member(at)
        whole = run.results.get(run.within + _stage(at))
        epochs = teachers.loop.epochs if whole is None else whole.best_epoch
        loop = replace(teachers.loop, epochs=epochs, eval_every=0)
        for number, (rest, _) in enumerate(parts):
            folder = '' if at == 0 else f'member-{at + 1}/'
            stage = f'{folder}fold-{number + 1}-of-{len(parts)}'
            ensemble = teachers.build(rest, member.seed)
            member.fit(stage, TeachersTask(ensemble), loop, rest)
            ensembles[number].append(ensemble)
    folds = []
    for members, (rest, part) in zip(ensembles, parts, strict=True):
        learned = TeacherEnsemble.concatenate(members)
        folds.append(Fold(teachers.with_observed(learned, rest), rest, part))
    return folds


def _stage(at: int) -> str:
    return 'teachers' if at == 0 else f'teachers-{at + 1}'


def start_student(
    run: Run, student: Student, teachers: Teachers, ensemble: TeacherEnsemble
) -> Model:
    r"""The student before distillation, see :class:`WarmStart`."""
    return student.start.begin(run, student, teachers, ensemble)


def decided(
    run: Run,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
    unlabeled: Queries | None = None,
) -> Lookup:
    r"""What a combiner that has learned says of every training query, and of
    unlabeled ones, by the device and the processes of a run.
    """
    seen = run.graph.index('train').to(run.device)
    asked = len(seen.head) + (0 if unlabeled is None else len(unlabeled.head))
    size = queries_at_once(ensemble, combiner.wide)
    with (
        run.watched('decisions', -(-asked // size)) as step,
        sharded([combiner, ensemble], changed=False),
    ):
        return Lookup.of(
            combiner.to(run.device),
            ensemble.to(run.device),
            seen,
            unlabeled,
            batch_size=size,
            precision=run.resolved_precision(),
            step=step,
        )


def ask_once(
    run: Run, student: Student, ensemble: TeacherEnsemble, combiner: Combiner
) -> Combiner:
    r"""Who weighs the teachers in a distillation: what a combiner says that
    has learned, asked once about every query. One that learns along with the
    student, or needs the answers, does so itself.
    """
    if combiner.learns or combiner.by_target or isinstance(combiner, Lookup):
        return combiner
    extra = student.unlabeled
    pool = None if extra is None else extra.draw(run)
    return _decided_once(run, ensemble, combiner, pool)


def _decided_once(
    run: Run,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
    unlabeled: Queries | None,
) -> Lookup:
    # Asking takes as long as epochs of the student, and on another machine
    # the last bits may differ, as if its teachers were others.
    if run.folder is None:
        return decided(run, ensemble, combiner, unlabeled)
    path = run.folder / f'{run.within}decisions.safetensors'
    asked = _asked(run, ensemble, combiner, unlabeled)
    found = _decided_before(path, asked)
    everywhere = all(share(found is not None))
    if found is not None and everywhere:
        return found.to(run.device)
    out = decided(run, ensemble, combiner, unlabeled)
    if first():
        with suppress(OSError):  # then it is asked again
            words = {'asked': asked, 'num_rels': str(out.num_rels)}
            save_tensors(path, out.state_dict(), words)
    return out


def _asked(
    run: Run,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
    unlabeled: Queries | None,
) -> str:
    # Who was asked what: nobody else's answers are taken.
    named = [
        pair
        for module in (ensemble, combiner)
        for pair in (*module.named_parameters(), *module.named_buffers())
    ]
    if unlabeled is not None:
        named += [('head', unlabeled.head), ('rel', unlabeled.rel)]
    words = {
        'graph': run.graph.fingerprint,
        'modules and queries': digest(named),
        'combiner': [*details(combiner), *held(combiner)],
    }
    return json.dumps(words, default=plain, sort_keys=True)


def _decided_before(path: Path, asked: str) -> Lookup | None:
    try:
        tensors, header = load_tensors(path, hashed=True)
    except (DamagedFile, OSError):
        return None
    if header.get('asked') != asked:
        return None
    size, keys = int(header['num_rels']), tensors['keys']
    out = Lookup(keys // size, keys % size, tensors['table'][:-1])
    # Means of rows in another order differ in their last bits.
    out.load_state_dict(tensors)
    return out


def distil(
    run: Run,
    student: Student,
    model: Model,
    ensemble: TeacherEnsemble,
    combiner: Combiner,
) -> Model:
    r"""Teach a model (see :func:`start_student`) what its teachers say, as a
    combiner weighs them (Eq. 4, 11-12, Algorithm 1); returns what answers at
    test time.

    A combiner that learns does so along with the student; another one is
    asked once about every query, see :func:`ask_once`.
    """
    combiner = ask_once(run, student, ensemble, combiner)
    extra = student.unlabeled
    pool, share = (extra.draw(run), extra.share) if extra else (None, 1.0)
    # Files of before know of nothing but fresh tables.
    fresh = type(student.start) is FreshTable
    begins_as = None if fresh else in_words(student.start)
    task = DistillTask(
        model, ensemble, combiner, student.distill, pool, share, begins_as
    )
    if student.start.has_learned:
        task.falling = ()
    run.fit('student', task, student.loop, last=True)
    return student.start.finish(model)
