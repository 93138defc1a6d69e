"""A kept model and entities that came later: the same model, a little larger.

What newcomers are to a model is in :mod:`dsom_pyg.completion.newcomers`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.completion import newcomers
from dsom_pyg.completion.explaining import counted_anew
from dsom_pyg.completion.store import Parts, with_entities
from dsom_pyg.completion.vocabulary import UnknownNameError, Vocabulary
from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.features.encode import encode_items
from dsom_pyg.datasets.names import NameIndex, composed
from dsom_pyg.encoders import Encoder, ImageStatistics, TfidfText
from dsom_pyg.graph import TripleGraph, Triples, add_reciprocals, concat
from dsom_pyg.kg import KG
from dsom_pyg.models import KGE
from dsom_pyg.query_index import Queries, QueryIndex, unlabeled_queries
from dsom_pyg.scatter import scatter
from dsom_pyg.teachers import TeacherEnsemble

# Entities whose rows tell whether an encoder is that of the training, and how
# far, in parts of their length, they may be from what they were.
LOOKED_AT, FAR = 64, 0.05

Items = Mapping[str, Any]
Features = dict[str, tuple[Tensor, Tensor]]


class Newcomers:
    r"""What is told of new entities, checked against a model.

    Args:
        parts: The model.
        texts, images: By the name of the entity: one, several, or none.
        triples: With names of entities, old and new, and of relations.
        names: What some are called.

    Raises:
        UnknownNameError: A triple has a name that nobody has.
        ValueError: There is no newcomer, one is in the graph already, or a
            triple has none.
    """

    def __init__(
        self,
        parts: Parts,
        texts: Items | None,
        images: Items | None,
        triples: Iterable[Sequence[str | int]],
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.parts = parts
        texts, images, names = _by_key(texts), _by_key(images), _by_key(names)
        self.keys = list(dict.fromkeys([*texts, *images]))
        if not self.keys:
            raise ValueError(
                'no new entity is named; texts or images name them, and '
                "texts={'Elie': []} names one that has neither"
            )
        keys, called = {*self.keys}, names
        for key in called:
            if key not in keys:
                raise ValueError(
                    f'names has {shorten(key)}, which texts and images do '
                    'not have'
                )
        known = NameIndex([[*parts.entities.names, *parts.entities.keys]])
        for name in (*self.keys, *called.values()):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f'a name is a text, got {name!r}')
            # Several may have one name where keys tell them apart.
            if name in keys and known.exact(name):
                raise ValueError(
                    f'{shorten(name)} is in the graph already; what is new '
                    'about it needs another training'
                )
        self.texts = [_listed(texts, name) for name in self.keys]
        self.images = [
            [str(Path(path).resolve()) for path in _listed(images, name)]
            for name in self.keys
        ]
        old = parts.entities
        # Names are unique; those that were there stay as they are.
        said, taken = [], {*old.names}
        for key in self.keys:
            name = composed(called.get(key, key)).strip()
            while name in taken:
                name = f'{name} ({key})'
            said.append(name)
            taken.add(name)
        self.entities = Vocabulary(
            [*old.names, *said], [*old.keys, *self.keys]
        )
        self.triples = self._read(triples)

    @property
    def first(self) -> int:
        r"""The id of the first newcomer."""
        return self.parts.graph.num_entities

    def _read(self, triples: Iterable[Sequence[str | int]]) -> Triples:
        rows = []
        for at, each in enumerate(triples, 1):
            if len(each) != 3:
                raise ValueError(
                    f'triple {at}, {each!r}, is not head, relation, tail'
                )
            head, rel, tail = each
            try:
                ends = self.entities.id(head), self.entities.id(tail)
                link = self.parts.relations.id(rel)
            except UnknownNameError as error:
                raise UnknownNameError(
                    f'triple {at}, {each!r}: {error}; a new entity needs a '
                    'place in texts or images, and a new relation another '
                    'training'
                ) from None
            if max(ends) < self.first:
                raise ValueError(
                    f'triple {at}, {each!r}, has no new entity; accept it in '
                    'a review, or train again'
                )
            rows.append((*ends, link))
        table = torch.tensor(rows, dtype=torch.long).reshape(-1, 3)
        table = table.unique(dim=0).t()
        return Triples(table[:2].contiguous(), table[2].contiguous())


def _by_key(items: Mapping[str, Any] | None) -> dict[str, Any]:
    # By keys as people see them: one that is written in two ways is one
    # entity, whose words nobody can tell apart.
    if items is not None and not hasattr(items, 'items'):
        raise TypeError(
            "texts, images and names are by entity, such as {'Elie': 'a "
            f"harbour'}}, got {type(items).__name__}"
        )
    out: dict[str, Any] = {}
    for key, value in (items or {}).items():
        if not isinstance(key, str) or not key.strip():
            raise ValueError(f'a name is a text, got {key!r}')
        plain = composed(key).strip()
        if plain in out:
            raise ValueError(
                f'{shorten(plain)} is named twice, once as {key!a}; '
                'give it once'
            )
        out[plain] = value
    return out


def _listed(items: Items | None, name: str) -> list[str]:
    given = (items or {}).get(name, [])
    if isinstance(given, str | Path):
        return [str(given)]
    # It may be read once alone.
    found = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(each, str | Path) for each in found):
        raise ValueError(
            f'{shorten(name)}: give a text or a path, or a list of them ([] '
            f'for none), got {given!r}'
        )
    return [str(each) for each in found]


def added(
    parts: Parts,
    new: Newcomers,
    encoders: Mapping[str, Encoder | None],
    seed: int,
) -> Parts:
    r"""A model with rows for newcomers.

    Args:
        parts: The model; it does not change.
        new: The newcomers.
        encoders: Of ``'text'`` and ``'image'``; :obj:`None` for that of the
            training, where it needs no weights.
        seed: Of the fit.

    Raises:
        ValueError: The model has kept no teachers over features, or an
            encoder is not that of the training.
    """
    if parts.teachers is None:
        raise ValueError(
            'new entities need the teachers, which this model has not kept; '
            'train it again with teachers=True, and without '
            'Teachers(one_hop=...)'
        )
    features = _features(parts, new, encoders)
    known = torch.zeros(len(new.keys), dtype=torch.bool)
    for x, present in features.values():
        # Of a text of which no word is known an encoder that counts words
        # says nothing.
        known |= present & x.any(dim=1)
    rows = newcomers.rows_of(parts.maps, features, len(new.keys))
    tables = {
        # Who knows no features says nothing of newcomers.
        name: _longer(teacher, rows.get(name, _zeros(teacher, new)))
        for name, teacher in _tables(parts.teachers)
    }
    # On validation of MKG-W the joint teacher made answers worse: it has no
    # row of structure for a newcomer.
    alone = [name for name in features if name in tables]
    index = parts.graph.index('train')
    old = {
        name: teacher.entities().detach()
        for name, teacher in _tables(parts.teachers)
        if name in alone
    }
    own = {name: rows[name] for name in alone}
    silent = [torch.empty(0, dtype=torch.long)] * len(new.keys)
    near = newcomers.nearest(old, own, index) if alone else silent
    links = add_reciprocals(new.triples, parts.graph.num_relations)
    given = links.select(links.head >= new.first)
    asked = newcomers.likely_questions(near, index, given, new.first)
    student = newcomers.fit_rows(
        parts.student,
        [(1.0 / len(alone), tables[name]) for name in alone],
        asked,
        _plausible(index, new.first),
        given,
        known,
        seed=seed,
    )
    graph = parts.graph.triple_graph
    train = concat(graph.split('train'), new.triples)
    splits = {**graph.splits, 'train': train}
    size = len(new.entities)
    longer = KG(TripleGraph(size, graph.num_relations, splits))
    count = len(new.keys) + parts.about.get('added', 0)
    return replace(
        parts,
        student=_longer(parts.student, student),
        graph=longer,
        entities=new.entities,
        texts=_beside(parts.texts, new.texts, new.first),
        images=_beside(parts.images, new.images, new.first),
        teachers=counted_anew(parts.teachers, longer, tables),
        likely=_both(parts.likely, asked),
        about={**parts.about, 'added': count},
    )


def _plausible(index: QueryIndex, size: int) -> Queries:
    # Those of train, and as many without an answer there: a newcomer is to
    # keep out of these as well.
    more = unlabeled_queries(index, size, len(index)) if len(index) else None
    own = Queries(index.head, index.rel)
    return own if more is None else _both(own, more)


def _tables(teachers: TeacherEnsemble) -> Iterator[tuple[str, KGE]]:
    for name in teachers.modalities:
        teacher = teachers[name]
        if isinstance(teacher, KGE):
            yield name, teacher


def _zeros(model: KGE, new: Newcomers) -> Tensor:
    return torch.zeros(len(new.keys), 2 * model.hidden_channels)


def _longer(model: KGE, rows: Tensor) -> KGE:
    return with_entities(model, torch.cat([model.entities().detach(), rows]))


def _beside(
    old: list[list[str]], new: list[list[str]], first: int
) -> list[list[str]]:
    return [*(old or [[] for _ in range(first)]), *new]


def _both(old: Queries | None, new: Queries) -> Queries:
    if old is None:
        return new
    pairs = zip(old, new, strict=True)
    return Queries(*(torch.cat(pair) for pair in pairs))


def _features(
    parts: Parts, new: Newcomers, encoders: Mapping[str, Encoder | None]
) -> Features:
    out = {}
    for modality, items in (('text', new.texts), ('image', new.images)):
        if not any(items):
            continue
        if modality not in parts.maps:
            warnings.warn(
                f'no teacher of this model knows {modality}s; those of new '
                'entities are kept, and say nothing to it',
                UserWarning,
                stacklevel=4,
            )
            continue
        encoder = _encoder(parts, modality, encoders.get(modality))
        out[modality] = _pooled(encoder, modality, items)
    return out


def _pooled(
    encoder: Encoder, modality: str, items: Sequence[Sequence[str]]
) -> tuple[Tensor, Tensor]:
    # Mean feature of each entity, and which have any.
    kind: Any = Path if modality == 'image' else str
    flat = [kind(item) for each in items for item in each]
    owner = [at for at, each in enumerate(items) for _ in each]
    x, position, failures = encode_items(encoder, flat)
    for at, why in failures.items():
        warnings.warn(
            f'{flat[at]} counts as missing: {why}', UserWarning, stacklevel=5
        )
    entity = torch.tensor(owner, dtype=torch.long)[position]
    pooled = scatter(x, entity, dim_size=len(items), reduce='mean')
    present = torch.zeros(len(items), dtype=torch.bool)
    present[entity] = True
    return pooled, present


def _encoder(parts: Parts, modality: str, given: Encoder | None) -> Encoder:
    name = parts.about.get('encoders', {}).get(modality)
    encoder = given or _without_weights(name)
    if encoder is None:
        by = 'features of a file' if name is None else f'{name!r}'
        raise ValueError(
            f'the {modality}s of this model were encoded by {by}; give the '
            f'same encoder as {modality}_encoder'
        )
    if name is not None and encoder.name != name:
        raise ValueError(
            f'the {modality}s of this model were encoded by {name!r}, and '
            f'{modality}_encoder is {encoder.name!r}'
        )
    items = parts.texts if modality == 'text' else parts.images
    items = items[: len(items) - parts.about.get('added', 0)]
    if isinstance(encoder, TfidfText):
        encoder = encoder.fitted([text for each in items for text in each])
    _check(parts, modality, encoder, items)
    return encoder


def _without_weights(name: str | None) -> Encoder | None:
    # What its name tells all about.
    if name is None:
        return None
    if found := re.fullmatch(r'tfidf-svd-d(\d+)-min(\d+)-seed(\d+)', name):
        return TfidfText(*map(int, found.groups()))
    if found := re.fullmatch(r'image-statistics2-s(\d+)', name):
        return ImageStatistics(int(found[1]))
    return None


def _check(
    parts: Parts, modality: str, encoder: Encoder, items: list[list[str]]
) -> None:
    # Some entities of the training, encoded again, have the rows they had.
    weight = parts.maps[modality][modality]
    if encoder.out_channels != len(weight):
        raise ValueError(
            f'{modality}_encoder {encoder.name!r} gives '
            f'{encoder.out_channels} values, and this model knows '
            f'{modality}s of {len(weight)}'
        )
    assert parts.teachers is not None
    some = [at for at, each in enumerate(items) if each][:LOOKED_AT]
    if modality == 'image':  # they may have stayed on another machine
        some = [at for at in some if all(Path(x).is_file() for x in items[at])]
    if not some:
        return
    x, _ = _pooled(encoder, modality, [items[at] for at in some])
    teacher = parts.teachers[modality]
    assert isinstance(teacher, KGE)
    were = teacher.entities().detach()[some]
    far = float((x @ weight - were).norm() / were.norm().clamp(min=1e-12))
    if far > FAR:
        raise ValueError(
            f'{modality}_encoder {encoder.name!r} is not that of the '
            f'training: encoded again, known entities are off by '
            f'{100 * far:.0f} %'
        )
