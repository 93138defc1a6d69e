"""The one form of every own graph before its labels have ids."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dsom_pyg.datasets.findings import Findings


class Triple(NamedTuple):
    r"""A triple in labels.

    Args:
        head: The label of the head.
        relation: The label of the relation.
        tail: The label of the tail.
        file: The file it comes from. (default: :obj:`None`)
        line: Its line in that file, counted from 1. (default: :obj:`None`)
    """

    head: str
    relation: str
    tail: str
    file: Path | None = None
    line: int | None = None


class Entry(NamedTuple):
    r"""A text, a name or an image of an entity.

    Args:
        entity: What the source calls the entity, the likeliest label first.
        value: The text, the name or the path.
        file: The file it comes from. (default: :obj:`None`)
        line: Its line in that file, counted from 1. (default: :obj:`None`)
    """

    entity: tuple[str, ...]
    value: str
    file: Path | None = None
    line: int | None = None


@dataclass
class Table:
    r"""A graph in labels, as a source gives it.

    Args:
        triples: The triples of each split that the source gives. A split
            without a key is drawn from ``'train'``.
        texts: Texts of entities. (default: none)
        names: Readable names of entities. A name whose entity is unknown is
            the name of the relation with that label. (default: none)
        relation_names: Readable names of relations. (default: none)
        images: Image paths of entities. (default: none)
        image_folder: Where further images lie, see
            :func:`~dsom_pyg.datasets.features.images.find_images`.
            (default: :obj:`None`)
        entities: Labels that get the first ids, in this order, even if they
            are in no triple. (default: none)
        relations: The same for relations. (default: none)
        findings: What the reader of the source noticed. (default: none)
    """

    triples: dict[str, list[Triple]]
    texts: list[Entry] = field(default_factory=list)
    names: list[Entry] = field(default_factory=list)
    relation_names: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    image_folder: Path | None = None
    entities: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
