"""A model as a folder: safetensors and JSON, sealed by their hashes.

``model.json`` tells what the model is, and the SHA-256 of the other files:

- ``student.safetensors``: the parameters of the student, and temperatures
- ``graph.safetensors``: names, known triples, texts, paths of images
- ``teachers.safetensors``: the teachers, frozen into tables, if they are kept;
  those that count are made again from the graph
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import dsom_pyg
from dsom_pyg.completion.calibration import Calibration
from dsom_pyg.completion.proposals import Odds
from dsom_pyg.completion.suspects import Suspicion
from dsom_pyg.completion.vocabulary import Vocabulary
from dsom_pyg.files import (
    check_name,
    hash_file,
    load_tensors,
    save_tensors,
    whole_or_nothing,
)
from dsom_pyg.graph import (
    SPLITS,
    TripleGraph,
    Triples,
    aligned,
    check_queries,
    check_triples,
)
from dsom_pyg.kg import KG
from dsom_pyg.models import (
    KGE,
    NAMED,
    EntityEmbedding,
    Model,
    Observed,
)
from dsom_pyg.models.observed import OBSERVED
from dsom_pyg.processes import first
from dsom_pyg.query_index import Queries
from dsom_pyg.teachers import Lookup, TeacherEnsemble

FORMAT = 1
MANIFEST = 'model.json'
# What it holds at least.
KEYS: dict[str, type] = {
    **dict.fromkeys(('version', 'model', 'fingerprint'), str),
    **dict.fromkeys(('num_entities', 'num_relations'), int),
    **dict.fromkeys(('teachers', 'files', 'calibration', 'about'), dict),
}
# Triples beside those of the graph, and how much some are believed.
REJECTED, ACCEPTED, REMOVED = 'rejected', 'accepted', 'removed'
SUSPECTS, BELIEF = 'suspects', 'belief'
LIKELY = 'likely'
BESIDE = REJECTED, ACCEPTED, REMOVED, SUSPECTS
STUDENT, GRAPH, TEACHERS = (
    f'{name}.safetensors' for name in ('student', 'graph', 'teachers')
)
# Models that a folder may name; others are given by who loads it.
KINDS = NAMED
# Teachers that count the triples of the graph, which is kept: made again.
COUNTED = {kind.__name__: kind for kind in OBSERVED.values()}
Kinds = Sequence[type[KGE]]
# From a teacher and a modality to the matrix of a projection, [d, 2D].
Maps = Mapping[str, Mapping[str, Tensor]]


class ModelFolderError(ValueError):
    r"""A folder holds no whole model of this library; the message names the
    file and says what to do.
    """


@dataclass(kw_only=True)
class Parts:
    r"""What is kept of a trained model.

    Args:
        student: The model that answers, over a free table of entities.
        graph: The triples of the graph, without features.
        entities, relations: What they are called.
        calibration: From scores to probabilities of answers.
        odds: From these to probabilities of proposals.
        texts, images: Of each entity; none, one or many.
        teachers: The teachers, and the weights that the policy gave them.
        maps: What teachers have made rows of features with, by teacher and
            modality, ``[d, 2D]`` each.
        likely: Questions that can be asked of entities that came later.
        rejected: Triples that people have rejected.
        accepted: Triples of train that people have accepted after the
            training: the model has not learned them.
        removed: Triples of train that people have rejected after the
            training: the model has learned them.
        suspicion: How much known triples are believed by who did not see
            them; :obj:`None` if nobody was asked.
        about: Whatever else is to be known: settings, metrics, versions; as
            JSON.
    """

    student: KGE
    graph: KG
    entities: Vocabulary
    relations: Vocabulary
    calibration: Calibration
    odds: Odds = field(default_factory=Odds)
    texts: list[list[str]] = field(default_factory=list)
    images: list[list[str]] = field(default_factory=list)
    teachers: TeacherEnsemble | None = None
    weights: Lookup | None = None
    maps: Maps = field(default_factory=dict)
    likely: Queries | None = None
    rejected: Triples | None = None
    accepted: Triples | None = None
    removed: Triples | None = None
    suspicion: Suspicion | None = None
    about: dict[str, Any] = field(default_factory=dict)


def check_apart(path: Path) -> None:
    r"""Raise :class:`ValueError` if a file would take the place of a part of a
    model.
    """
    if (
        path.name in (MANIFEST, STUDENT, GRAPH, TEACHERS)
        and (path.parent / MANIFEST).exists()
    ):
        raise ValueError(
            f"'{path}' is a part of the model in that folder; name another "
            'file'
        )


def save_parts(folder: str | Path, parts: Parts) -> None:
    r"""Write a model into a folder. The manifest of one that is there goes
    first, and the new one comes last: what is left in between is no model.
    Of several processes that have the same model, the first one writes it.

    Raises:
        ValueError: A model cannot be made again from its tables; see
            :func:`check_kept`.
        OSError: The folder cannot be written.
    """
    for model in (parts.student, *_each(parts.teachers)):
        if not isinstance(model, Observed):
            check_kept(model)
    if not first():
        return
    folder = Path(folder).expanduser()
    check_name(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    temperature = {'temperature': parts.calibration.temperature}
    files = {
        STUDENT: parts.student.kept() | temperature,
        GRAPH: _graph_tensors(parts),
    }
    if parts.teachers is not None and parts.weights is not None:
        files[TEACHERS] = _teacher_tensors(
            parts.teachers, parts.weights, parts.maps
        )
    seals = {
        name: _save(folder / name, tensors) for name, tensors in files.items()
    }
    about = {
        'format': FORMAT,
        'version': dsom_pyg.__version__,
        'model': type(parts.student).__name__,
        'num_entities': parts.graph.num_entities,
        'num_relations': parts.graph.num_relations,
        'fingerprint': parts.graph.fingerprint,
        'teachers': {
            name: type(teacher).__name__
            for name, teacher in _named(parts.teachers)
        },
        'options': {
            'student': parts.student.options(),
            **{
                f'teacher {name}': teacher.options()
                for name, teacher in _named(parts.teachers)
                if isinstance(teacher, KGE)
            },
        },
        'calibration': {
            # JSON has no NaN.
            'before': _or_none(parts.calibration.before),
            'after': _or_none(parts.calibration.after),
            'pairs': parts.calibration.pairs,
            'odds': [*parts.odds],
        },
        'about': parts.about,
        'files': seals,
    }
    with whole_or_nothing(folder / MANIFEST) as temporary:
        temporary.write_bytes(as_json(about))


def _save(path: Path, tensors: Mapping[str, Tensor]) -> str:
    # The seal is that of what was written, whoever writes there meanwhile.
    with whole_or_nothing(path) as temporary:
        save_tensors(temporary, tensors)
        return hash_file(temporary)


def as_json(about: Mapping[str, Any]) -> bytes:
    r"""The bytes of a file of JSON that people may read. Half a surrogate
    pair, as in names of files that are not UTF-8, stays an escape.
    """
    text = json.dumps(about, indent=1, ensure_ascii=False)
    return (text + '\n').encode('utf-8', 'backslashreplace')


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def load_parts(folder: str | Path, models: Kinds = ()) -> Parts:
    r"""Read what :func:`save_parts` wrote. Nothing in the folder runs.

    Args:
        folder: The folder.
        models: Classes of your own that the model may be of.

    Raises:
        ModelFolderError: The folder holds no model, it is of another version,
            or a file is damaged.
    """
    folder = Path(folder).expanduser()
    about = read_manifest(folder)
    tensors = {
        name: _sealed(folder / name, digest)
        for name, digest in about['files'].items()
        if name in (STUDENT, GRAPH, TEACHERS)
    }
    try:
        return _assembled(about, tensors, (*models, *KINDS))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFolderError(
            f'{folder} does not fit together ({error}); save the model again'
        ) from error


def read_manifest(folder: Path) -> dict[str, Any]:
    r"""What ``model.json`` says; raises like :func:`load_parts`."""
    path = folder / MANIFEST
    if not path.is_file():
        there = 'there is no such folder'
        if folder.is_dir():
            there = 'its training has not ended, or it is another folder'
        raise ModelFolderError(f'{folder} holds no {MANIFEST}: {there}')
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        number = int(about['format'])
        for key, kind in KEYS.items():
            if not isinstance(about[key], kind):
                raise TypeError(f'{key!r} is {about[key]!r}')
        for name in ('before', 'after'):  # nothing was measured
            if about['calibration'][name] is None:
                about['calibration'][name] = math.nan
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelFolderError(
            f'{path} is damaged ({error}); copy it again, or delete it and '
            'train by the same command, which reads the stages that are there'
        ) from error
    if number != FORMAT:
        raise ModelFolderError(
            f'{path} is of format {number}, written by dsom_pyg '
            f'{about["version"]}; this version, {dsom_pyg.__version__}, reads '
            f'format {FORMAT}'
        )
    return about


def _sealed(path: Path, digest: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelFolderError(f'{path} is missing; copy the whole folder')
    if hash_file(path) != digest:
        raise ModelFolderError(
            f'{path} is damaged, or of another model: its SHA-256 is not that '
            f'in {MANIFEST}; copy the whole folder again, or delete '
            f'{MANIFEST} and train by the same command, which reads the '
            'stages that are there'
        )
    return load_tensors(path)[0]


def _assembled(
    about: Mapping[str, Any],
    tensors: Mapping[str, Mapping[str, Tensor]],
    kinds: Kinds,
) -> Parts:
    sizes = int(about['num_entities']), int(about['num_relations'])
    student = dict(tensors[STUDENT])
    numbers = dict(about['calibration'])
    odds = Odds(*numbers.pop('odds'))
    calibration = Calibration(student.pop('temperature'), **numbers)
    graph, said = _read_graph(tensors[GRAPH], *sizes)
    if graph.fingerprint != about['fingerprint']:
        raise ValueError('its triples are not those of its fingerprint')
    entities = Vocabulary(*said['entities'])
    names, keys = said['relations']
    relations = Vocabulary(names, keys, 'relation')
    if (len(entities), len(relations)) != sizes:
        raise ValueError('there are not as many names as ids')
    teachers = weights = None
    maps: Maps = {}
    if TEACHERS in tensors:
        teachers, weights = _read_teachers(
            tensors[TEACHERS], about, graph, kinds
        )
        maps = _read_maps(tensors[TEACHERS], about['teachers'])
    return Parts(
        student=model_of(
            student,
            _class(about['model'], kinds),
            sizes[1],
            about.get('options', {}).get('student', {}),
        ),
        graph=graph,
        entities=entities,
        relations=relations,
        calibration=calibration,
        odds=odds,
        texts=said['texts'],
        images=said['images'],
        teachers=teachers,
        weights=weights,
        maps=maps,
        likely=said[LIKELY],
        rejected=said[REJECTED],
        accepted=said[ACCEPTED],
        removed=said[REMOVED],
        suspicion=said[SUSPECTS],
        about=about['about'],
    )


@torch.no_grad()
def check_kept(model: Model) -> None:
    r"""Raise :class:`ValueError` unless a model scores the same if it is made
    again from its class and its tables: what else it may hold is not kept.
    """
    name = type(model).__name__
    if not isinstance(model, KGE):
        raise ValueError(
            f'a {name} cannot be kept as tables of entities and relations; '
            'keep its state_dict by torch.save'
        )
    rel = torch.arange(min(8, 2 * model.num_relations))
    head = rel % model.num_entities
    table = {key: value.cpu() for key, value in model.kept().items()}
    words = type(model), model.num_relations, model.options()
    try:
        again = model_of(table, *words)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f'a {name} cannot be kept: it cannot be made again from its class '
            f'and its tables ({error})'
        ) from error
    device = model.relations.device
    training = model.training
    model.eval()  # dropout is no part of it
    try:
        scores = model.score_tails(head.to(device), rel.to(device)).cpu()
    finally:
        model.train(training)
    others = again.score_tails(head, rel)
    # Sums of large numbers are near 0 by chance, and differ there.
    far = 1e-4 * float(scores.abs().max())
    if not torch.allclose(others, scores, rtol=1e-4, atol=far):
        raise ValueError(
            f'a {name} cannot be kept: made again from its class and its '
            'tables of entities and relations, it scores otherwise'
        )


def _named(teachers: TeacherEnsemble | None) -> list[tuple[str, Model]]:
    if teachers is None:
        return []
    return [(name, teachers[name]) for name in teachers.modalities]


def _each(teachers: TeacherEnsemble | None) -> list[Model]:
    return [teacher for _, teacher in _named(teachers)]


def _class(name: str, kinds: Kinds) -> type[KGE]:
    for kind in kinds:
        if kind.__name__ == name:
            return kind
    known = ', '.join(kind.__name__ for kind in kinds)
    raise ValueError(
        f'it has a model of class {name!r}, known are {known}; if it is '
        f'yours, load the folder with models=[{name}]'
    )


def model_of(
    tensors: Mapping[str, Tensor],
    kind: type[KGE],
    num_relations: int,
    options: Mapping[str, Any],
) -> KGE:
    r"""A model from its class, its options and its tables, frozen; see
    :meth:`KGE.kept <dsom_pyg.models.KGE.kept>`.
    """
    entities = tensors['entities']
    with torch.device('meta'):  # nothing is drawn
        table = EntityEmbedding(len(entities), entities.size(1) // 2)
        model = kind(table, num_relations, **options)
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    own = {key for key in held if not key.startswith('entities.')}
    if own != tensors.keys() - {'entities'}:
        raise ValueError(
            f'a {kind.__name__} holds {", ".join(sorted(own))}, and there are '
            f'{", ".join(sorted(tensors.keys() - {"entities"}))}'
        )
    for key in own:
        if held[key].shape != tensors[key].shape:
            raise ValueError(
                f'{key} have shape {list(tensors[key].shape)}, expected '
                f'{list(held[key].shape)}'
            )
    state = {key: aligned(tensors[key]) for key in own}
    state['entities.weight'] = aligned(entities)
    model.load_state_dict(state, strict=False, assign=True)
    return model.requires_grad_(False).eval()


def with_entities(model: KGE, table: Tensor) -> KGE:
    r"""The same model over other rows of entities, ``[E', 2D]``, frozen."""
    kept = {key: x.detach() for key, x in model.kept().items()}
    kept['entities'] = table
    return model_of(kept, type(model), model.num_relations, model.options())


def _teacher_tensors(
    teachers: TeacherEnsemble, weights: Lookup, maps: Maps
) -> dict[str, Tensor]:
    out = {'head': weights.keys // weights.num_rels}
    out['rel'] = weights.keys % weights.num_rels
    out['weights'] = weights.table[:-1]  # the last row is their mean
    for name in teachers.modalities:
        teacher = teachers[name]
        held = teacher.kept() if isinstance(teacher, KGE) else {}
        for key, value in held.items():
            out[f'teacher/{name}/{key}'] = value
    for name, each in maps.items():
        for modality, weight in each.items():
            out[f'map/{name}/{modality}'] = weight
    return out


def _read_maps(tensors: Mapping[str, Tensor], names: Iterable[str]) -> Maps:
    # Names of modalities may have slashes, as those of teachers may.
    return {
        name: found
        for name in names
        if (
            found := {
                key.removeprefix(f'map/{name}/'): value
                for key, value in tensors.items()
                if key.rpartition('/')[0] == f'map/{name}'
            }
        )
    }


def _read_teachers(
    tensors: Mapping[str, Tensor],
    about: Mapping[str, Any],
    graph: KG,
    kinds: Kinds,
) -> tuple[TeacherEnsemble, Lookup]:
    teachers = {
        name: COUNTED[kind](graph.index('train'))
        if kind in COUNTED
        else model_of(
            {
                key.removeprefix(f'teacher/{name}/'): value
                for key, value in tensors.items()
                # The name of another one may begin alike, and go on.
                if key.rpartition('/')[0] == f'teacher/{name}'
            },
            _class(kind, kinds),
            graph.num_relations,
            about.get('options', {}).get(f'teacher {name}', {}),
        )
        for name, kind in about['teachers'].items()
    }
    weights = Lookup(*(tensors[key] for key in ('head', 'rel', 'weights')))
    return TeacherEnsemble(teachers).eval(), weights


# Names and texts are in a tensor, as the header of the format has a limit.
def _graph_tensors(parts: Parts) -> dict[str, Tensor]:
    said = {
        'entities': [parts.entities.names, parts.entities.keys],
        'relations': [parts.relations.names, parts.relations.keys],
        'texts': parts.texts,
        'images': parts.images,
    }
    text = json.dumps(said, ensure_ascii=False)
    out = {'names': _packed(text.encode('utf-8', 'surrogatepass'))}
    splits = dict(parts.graph.triple_graph.splits)
    if parts.rejected is not None:
        splits[REJECTED] = parts.rejected
    if parts.accepted is not None:
        splits[ACCEPTED] = parts.accepted
    if parts.removed is not None:
        splits[REMOVED] = parts.removed
    if parts.suspicion is not None:
        splits[SUSPECTS] = parts.suspicion.triples
        out[BELIEF] = parts.suspicion.belief
    if parts.likely is not None:
        out[LIKELY] = torch.stack([parts.likely.head, parts.likely.rel])
    for name, (edge_index, edge_type) in splits.items():
        rows = torch.cat([edge_index, edge_type[None]]).cpu().numpy()
        out[name] = _packed(rows.astype('<i8').tobytes())
    return out


def _read_graph(
    tensors: Mapping[str, Tensor], num_entities: int, num_relations: int
) -> tuple[KG, dict[str, Any]]:
    text = _unpacked(tensors['names']).decode('utf-8', 'surrogatepass')
    splits = {
        name: Triples(rows[:2], rows[2])
        for name in (*SPLITS, 'filter', *BESIDE)
        if name in tensors
        for rows in [_rows(_unpacked(tensors[name]))]
    }
    said: dict[str, Any] = json.loads(text)
    for name in BESIDE:
        said[name] = splits.pop(name, None)
        if said[name] is not None:
            check_triples(said[name], num_entities, num_relations, name)
    said[LIKELY] = None
    if LIKELY in tensors:
        head, rel = tensors[LIKELY].long()
        check_queries(head, rel, num_entities, num_relations)
        said[LIKELY] = Queries(head, rel)
    if said[SUSPECTS] is not None:
        found = Suspicion(said[SUSPECTS], tensors[BELIEF])
        if found.belief.shape != found.triples.edge_type.shape:
            raise ValueError('there are not as many beliefs as suspects')
        said[SUSPECTS] = found
    return KG(TripleGraph(num_entities, num_relations, splits)), said


def _rows(raw: bytes) -> Tensor:
    rows = np.frombuffer(raw, dtype='<i8').astype(np.int64).reshape(3, -1)
    return torch.from_numpy(rows)


def _packed(raw: bytes) -> Tensor:
    # The length goes in front, so that a reader knows what to expect.
    size = len(raw).to_bytes(8, 'little')
    packed = bytearray(size + zlib.compress(raw, 6))
    return torch.frombuffer(packed, dtype=torch.uint8)


def _unpacked(tensor: Tensor) -> bytes:
    raw = tensor.numpy().tobytes()
    size = int.from_bytes(raw[:8], 'little')
    # Deflate makes at most 1032 bytes of one.
    if size > 1032 * len(raw):
        raise ValueError(f'{size} bytes cannot come of {len(raw)}')
    unpacked = zlib.decompressobj().decompress(raw[8:], max(size, 1))
    if len(unpacked) != size:
        raise ValueError('packed bytes are cut off')
    return unpacked
