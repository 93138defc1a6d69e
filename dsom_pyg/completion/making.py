"""How a kept model is made: by a training, or of one that has ended."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dsom_pyg import recipes
from dsom_pyg.completion.calibration import Calibration
from dsom_pyg.completion.judging import suspicion
from dsom_pyg.completion.proposals import Odds
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.completion.review import FILE, Judged, Review, reviewed
from dsom_pyg.completion.run_folder import RunFolder, identity_of
from dsom_pyg.completion.store import (
    Maps,
    Parts,
    check_kept,
    load_parts,
    save_parts,
)
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.datasets.errors import well_formed
from dsom_pyg.dsom import DSoM, Recipe, train_dsom
from dsom_pyg.evaluation import evaluate
from dsom_pyg.files import digest
from dsom_pyg.graph import Triples, add_reciprocals, make_data
from dsom_pyg.kg import KG
from dsom_pyg.models import (
    KGE,
    EntityEmbedding,
    FeatureProjection,
    JointEmbedding,
    Model,
    Observed,
)
from dsom_pyg.processes import first
from dsom_pyg.query_index import QueryIndex
from dsom_pyg.stages import decided, made_for
from dsom_pyg.teachers import Lookup, TeacherEnsemble
from dsom_pyg.teachers.ensemble import ModelFactory
from dsom_pyg.trackers import Tracked, Tracker
from dsom_pyg.training import Run, drawn_with

# Findings of each kind that a model keeps.
FINDINGS = 3


def train(
    dataset: MultimodalDataset,
    folder: str | Path | None,
    recipe: Recipe | None,
    teachers: bool,
    review: Review | None = None,
    folds: int | None = None,
    trackers: Sequence[Tracker] = (),
) -> Parts:
    r"""See :meth:`Completer.train <dsom_pyg.completion.Completer.train>`."""
    graph, judged = KG(dataset[0]), None
    if review is not None:
        judged = review.judged(*vocabularies(dataset))
        graph = reviewed(graph, judged)
    recipe = recipe or recipes.of_size(graph)
    # Found out now, not after everything was trained.
    kinds = _kinds(recipe, teachers)
    identity = identity_of(recipe, graph)
    if judged is not None:
        parts = judged.accepted, judged.rejected
        columns = enumerate(x for part in parts for x in part)
        identity['review'] = digest((str(at), x) for at, x in columns)
    if folds is not None:
        identity['suspects'] = folds
        count = graph.index('train').tail.numel() // 2
        if not 2 <= folds <= count:
            raise ValueError(
                f'folds must lie in 2..{count}, the training triples, got '
                f'{folds}'
            )

    def make(recipe: Recipe, stages: Path | None) -> Parts:
        trained = train_dsom(graph, recipe, stages)
        made = parts_of(dataset, graph, trained, teachers, identity, judged)
        if folds is not None:
            words = graph, recipe, folds, stages, trained.results
            made.suspicion = suspicion(*words)
        return made

    if folder is None:
        if trackers:
            raise ValueError('trackers need the folder of a run')
        return make(recipe, None)
    run = RunFolder(folder, identity)
    kept = load_parts(run.folder, kinds) if run.has_ended() else None
    # Teachers that were not asked for then can be had of the stages.
    if kept is not None and not (teachers and kept.about.get('alone')):
        kept.entities.check(dataset.entity_names)
        kept.relations.check(dataset.relation_names)
        if trackers:
            warnings.warn(
                f'{run.folder} holds this run, which has ended: its trackers '
                'are told nothing',
                stacklevel=3,
            )
        return kept
    told = Tracked(trackers, recipe.progress)
    with run.begun(), told.run(run.folder, identity):
        if review is not None and first():
            # What was decided before goes along with what will be decided.
            review.copy_to(run.folder / FILE)
        recipe = replace(recipe, progress=run.metrics(told))
        made = make(recipe, run.stages)
        save_parts(run.folder, made)
        told.metrics = made.about['metrics']
    return made


def parts_of(
    dataset: MultimodalDataset,
    graph: KG,
    trained: DSoM,
    teachers: bool,
    identity: dict[str, Any] | None = None,
    judged: Judged | None = None,
) -> Parts:
    r"""See :meth:`Completer.of <dsom_pyg.completion.Completer.of>`."""
    student = _product(trained.student).as_table().cpu().eval()
    images = getattr(dataset, 'entity_images', None)
    sizes = graph.num_entities, graph.num_relations
    ranges = Ranges(graph.index('train'), *sizes)
    never = None
    if judged is not None:
        both = add_reciprocals(judged.rejected, graph.num_relations)
        never = QueryIndex(both, *sizes)
    calibration = Calibration.fit(student, graph, ranges=ranges, never=never)
    entities, relations = vocabularies(dataset)
    parts = Parts(
        student=student,
        graph=KG(graph.triple_graph),
        entities=entities,
        relations=relations,
        calibration=calibration,
        odds=Odds.fit(
            student, graph, ranges, calibration.temperature, never=never
        ),
        rejected=judged.rejected if judged else None,
        texts=dataset.entity_texts,
        images=[
            [str(Path(p).resolve()) for p in each] for each in images or []
        ],
        about={
            'dataset': _name(dataset),
            'run': identity or identity_of(trained.recipe, graph),
            'metrics': _metrics(student, graph),
            'seconds': {k: r.seconds for k, r in trained.results.items()},
            'findings': _findings(dataset),
            'encoders': dataset.encoder_names,
            # Whether nobody asked for its teachers.
            'alone': not teachers,
        },
    )
    if teachers and all(_can_be_kept(x) for x in trained.ensemble):
        parts.teachers, parts.weights = _frozen(trained, graph)
        parts.maps = _maps(trained.ensemble, graph)
    return parts


def vocabularies(
    dataset: MultimodalDataset,
) -> tuple[Vocabulary, Vocabulary]:
    r"""What entities and relations of a dataset are called."""
    entities = getattr(dataset, 'entity_keys', None)
    relations = getattr(dataset, 'relation_keys', None)
    return (
        Vocabulary(dataset.entity_names, entities),
        Vocabulary(dataset.relation_names, relations, 'relation'),
    )


def _findings(dataset: MultimodalDataset) -> dict[str, Any]:
    # How many of each kind, and the first of them in words.
    found = dataset.findings
    return {
        kind: {
            'count': count,
            'examples': [
                str(x) for x in found.examples.get(kind, ())[:FINDINGS]
            ],
        }
        for kind, count in sorted(found.counts.items())
    }


def _product(model: Model) -> KGE:
    check_kept(model)
    assert isinstance(model, KGE)
    return model


def _name(dataset: MultimodalDataset) -> str:
    # A folder of one's own is known by its name.
    kind = type(dataset).__name__
    if kind != 'MKGFolder':
        return kind
    return well_formed(Path(dataset.root).resolve().name)


def _kinds(recipe: Recipe, teachers: bool) -> list[type[KGE]]:
    # The classes of what will be kept, if it can be.
    tiny = KG(make_data(2, 1, Triples.of([(0, 0, 1)])))

    def probe(make: ModelFactory) -> Model:
        table = EntityEmbedding(2, recipe.student.channels)
        return made_for(tiny, make)(table, 1)

    with drawn_with(0):
        out = [_product(probe(recipe.student.model))]
        if teachers:
            makers = recipe.teachers.structure, recipe.teachers.feature
            # Teachers without tables are not kept.
            found = [probe(make) for make in makers]
            out += [_product(x) for x in found if isinstance(x, KGE)]
    return [type(model) for model in out]


def _metrics(student: KGE, graph: KG) -> dict[str, dict[str, float]]:
    return {
        split: evaluate(student, graph, split).metrics()
        for split in ('val', 'test')
        if len(graph.triples(split).edge_type)
    }


def _maps(ensemble: TeacherEnsemble, graph: KG) -> Maps:
    # What tells features from what teachers made of them, in the order in
    # which they were given.
    out: dict[str, dict[str, Tensor]] = {}
    for name in ensemble.modalities:
        entities = getattr(ensemble[name], 'entities', None)
        if isinstance(entities, FeatureProjection):
            out[name] = {name: entities.weight.detach().cpu()}
        elif isinstance(entities, JointEmbedding):
            found = [
                part.weight.detach().cpu()
                for part in entities.parts
                if isinstance(part, FeatureProjection)
            ]
            out[name] = dict(zip(graph.features, found, strict=True))
    return out


def _can_be_kept(teacher: Model) -> bool:
    # As a table, or because it counts what is kept.
    if isinstance(teacher, KGE):
        return not teacher.entities.by_query
    return isinstance(teacher, Observed)


def _frozen(trained: DSoM, graph: KG) -> tuple[TeacherEnsemble, Lookup]:
    # Tables need no features, and the policy's weights no state.
    names, recipe = trained.ensemble.modalities, trained.recipe
    weights = trained.decisions
    if weights is None:  # it learned along
        run = Run(
            graph=graph,
            device=recipe.device,
            precision=recipe.precision,
            progress=False,  # who was told is told no more
        )
        weights = decided(run, trained.ensemble, trained.policy)
    weights = weights.cpu()
    trained.ensemble.cpu()
    kept = {
        name: teacher.as_table() if isinstance(teacher, KGE) else teacher
        for name, teacher in zip(names, trained.ensemble, strict=True)
    }
    return TeacherEnsemble(kept).eval(), weights
