"""The one form of every own graph before its labels have ids."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dsom_pyg.datasets.findings import Findings


class Place(NamedTuple):
    r"""Where a row stands; lines are counted from 1."""

    file: Path | None = None
    line: int | None = None


NOWHERE = Place()


class Triple(NamedTuple):
    r"""A triple in labels."""

    head: str
    relation: str
    tail: str
    place: Place = NOWHERE


class Entry(NamedTuple):
    r"""A text, a name or an image path of an entity.

    Args:
        entity: What the row calls the entity. The first label that the
            graph has is meant.
        value: The text, the name or the path.
        place: Where the row stands. (default: nowhere)
    """

    entity: tuple[str, ...]
    value: str
    place: Place = NOWHERE


@dataclass
class Table:
    r"""A graph in labels, as a source gives it.

    Args:
        triples: The triples of each split that the source gives. A split
            without a key is drawn from ``'train'``.
        texts: Texts of entities. (default: none)
        names: Readable names of entities. A name whose entity is unknown is
            the name of the relation with that label. (default: none)
        images: Image paths of entities. (default: none)
        image_folder: Where further images lie, see
            :func:`~dsom_pyg.datasets.features.images.find_images`.
            (default: :obj:`None`)
        entities: Labels that get the first ids, in this order, even if they
            are in no triple. (default: none)
        relations: The same for relations, each with its readable name, or
            ``''`` if it has none. (default: none)
        findings: What the reader of the source noticed. (default: none)
    """

    triples: dict[str, list[Triple]]
    texts: list[Entry] = field(default_factory=list)
    names: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    image_folder: Path | None = None
    entities: list[str] = field(default_factory=list)
    relations: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
