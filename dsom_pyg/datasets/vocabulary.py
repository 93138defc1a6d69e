"""Labels and their ids, and what is said of them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.features.images import find_images
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import local_name, unique_names
from dsom_pyg.datasets.tables import Item

# Spaces of no width, joiners, the byte order mark, the soft hyphen.
INVISIBLE = dict.fromkeys(map(ord, '\u200b\u200c\u200d\u2060\ufeff\u00ad'))


class Vocabulary:
    r"""Labels and their ids, in the order in which they first occur.

    Labels that are equal after NFC are one.

    Args:
        what: ``'entity'`` or ``'relation'``, for messages.
        findings: Gets Unicode twins.
    """

    def __init__(self, what: str, findings: Findings) -> None:
        self.what, self.findings = what, findings
        self.labels: list[str] = []
        self._written: dict[str, int] = {}
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def add(
        self, label: str, file: Path | None = None, line: int | None = None
    ) -> int:
        r"""The id of a label, a new one if need be."""
        index = self._written.get(label)
        if index is not None:
            return index
        clean = unicodedata.normalize('NFC', label)
        index = self._ids.get(clean)
        if index is None:
            index = self._ids[clean] = len(self.labels)
            self.labels.append(clean)
        else:
            self.findings.add(
                'Unicode twins',
                f'{self.what} {shorten(clean)} is written with other code '
                f'points ({ascii(label)[:80]}) than before; taken as one',
                file,
                line,
            )
        self._written[label] = index
        return index

    def find(self, label: str) -> int | None:
        r"""The id of a label, if it has one."""
        return self._ids.get(unicodedata.normalize('NFC', label))

    def note_twins(self) -> None:
        r"""Report labels that differ by case only, or look the same."""
        for kind, how, plain in (
            ('case twins', 'by case only', str.casefold),
            ('spelling twins', 'by spaces or look-alike signs only', _plain),
        ):
            groups: dict[str, list[str]] = {}
            for label in self.labels:
                groups.setdefault(plain(label), []).append(label)
            for twins in groups.values():
                if len(twins) > 1:
                    self.findings.add(
                        kind,
                        f'{self.what} names that differ {how} are kept '
                        f'apart: {", ".join(map(shorten, twins[:5]))}',
                    )


def _plain(label: str) -> str:
    # As it looks: one kind and number of spaces, no invisible signs, letters
    # of usual width.
    seen = unicodedata.normalize('NFKC', label.translate(INVISIBLE))
    return ' '.join(seen.split())


def readable(label: str) -> str:
    r"""A label as people read it: of an IRI, its last segment."""
    if re.match(r'[A-Za-z][A-Za-z0-9+.-]*://', label):
        name = unquote(local_name(label.rstrip('/#'))).replace('_', ' ')
        return name.strip() or label
    return label


def names_of(
    items: Sequence[Item],
    relation_names: Mapping[str, str],
    entities: Vocabulary,
    relations: Vocabulary,
    findings: Findings,
) -> tuple[list[str], list[str]]:
    r"""A unique name for each entity and each relation.

    It is the first one given, else the label as people read it.

    Args:
        items: Names of entities; one that is no entity may be a relation.
        relation_names: Names of relations.
        entities: The entities.
        relations: The relations.
        findings: Gets names of neither, and second names.
    """
    called: dict[tuple[str, int], str] = {}
    for label, name in relation_names.items():
        known = relations.find(label)
        if known is not None:
            called['relation', known] = name
    for item in items:
        index, what = _find(item, entities), 'entity'
        if index is None:
            index, what = _find(item, relations), 'relation'
        if index is None:
            _note_unknown('name', item, findings)
            continue
        name = unicodedata.normalize('NFC', item.value)
        if called.setdefault((what, index), name) != name:
            findings.add(
                'second name',
                f'{shorten(name)} is not used, {what} '
                f'{shorten(item.entity[0])} has the name '
                f'{shorten(called[what, index])}',
                item.file,
                item.line,
            )
    out = []
    for vocabulary in (entities, relations):
        names = [
            called.get((vocabulary.what, index), readable(label))
            for index, label in enumerate(vocabulary.labels)
        ]
        out.append(unique_names(names, vocabulary.labels))
    return out[0], out[1]


def texts_of(
    items: Sequence[Item],
    entities: Vocabulary,
    findings: Findings,
    what: str = 'text',
) -> list[list[str]]:
    r"""The texts (or images) of each entity, equal ones once."""
    out: list[list[str]] = [[] for _ in entities.labels]
    for item in items:
        index = _find(item, entities)
        if index is None:
            _note_unknown(what, item, findings)
        elif item.value in out[index]:
            findings.add(
                f'duplicate {what}',
                f'dropped {shorten(item.value)} of {shorten(item.entity[0])}',
                item.file,
                item.line,
            )
        else:
            out[index].append(item.value)
    return out


def images_of(
    items: Sequence[Item],
    folder: Path | None,
    entities: Vocabulary,
    names: Sequence[str],
    findings: Findings,
) -> list[list[Path]]:
    r"""The images of each entity, given ones before those of a folder."""
    given = texts_of(items, entities, findings, 'image')
    images = [[Path(image) for image in each] for each in given]
    if folder is not None:
        aliases = [
            list(dict.fromkeys((label, name, readable(label))))
            for label, name in zip(entities.labels, names, strict=True)
        ]
        found, noticed = find_images(folder, aliases)
        findings.extend(noticed)
        for paths, more in zip(images, found, strict=True):
            paths += more
    return images


def _find(item: Item, vocabulary: Vocabulary) -> int | None:
    found = (vocabulary.find(name) for name in item.entity)
    return next((index for index in found if index is not None), None)


def _note_unknown(what: str, item: Item, findings: Findings) -> None:
    findings.add(
        f'{what} of an unknown entity',
        f'no triple has {shorten(item.entity[0])}',
        item.file,
        item.line,
    )
