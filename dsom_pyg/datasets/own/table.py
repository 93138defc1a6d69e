"""The one form of every own graph before its labels have ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dsom_pyg.datasets.findings import Findings


class Place(NamedTuple):
    r"""Where a row stands; lines, and rows of Parquet, are counted from 1."""

    file: Path | None = None
    line: int | None = None


NOWHERE = Place()


class Triple(NamedTuple):
    r"""A triple in labels."""

    head: str
    relation: str
    tail: str
    place: Place = NOWHERE


# What an entity is called; the first one that the graph knows counts.
Labels = tuple[str, ...]


class Entry(NamedTuple):
    r"""A text, a name or an image path of the entity that has the first of
    the labels that the graph knows.
    """

    entity: Labels
    value: str
    place: Place = NOWHERE


@dataclass
class Table:
    r"""A graph in labels, as a source gives it.

    Args:
        triples: By split. A split without a key is drawn from ``'train'``.
        literals: By split, triples whose tails are values for sure: numbers,
            dates, words.
        texts, images: Texts and image paths of entities.
        addresses: Of images of entities elsewhere. They are not fetched.
        types: What entities are.
        aliases: Further words that files may use for an entity: all labels
            of an entry mean the same one, and its value is not read.
        names: Readable names of entities; also of relations, where the label
            is that of a relation only, or an IRI, which is one thing.
        relation_names: Readable names of relations alone.
        image_folder: Where further images lie.
        entities: Labels that get the first ids, even if in no triple.
        relations: The same, with readable names, or ``''`` for none.
        findings: What the reader of the source noticed.
    """

    triples: dict[str, Sequence[Triple]]
    literals: dict[str, list[Triple]] = field(default_factory=dict)
    texts: list[Entry] = field(default_factory=list)
    names: list[Entry] = field(default_factory=list)
    relation_names: list[Entry] = field(default_factory=list)
    images: list[Entry] = field(default_factory=list)
    addresses: list[Entry] = field(default_factory=list)
    types: list[Entry] = field(default_factory=list)
    aliases: list[Entry] = field(default_factory=list)
    image_folder: Path | None = None
    entities: list[str] = field(default_factory=list)
    relations: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    def of_split(self, split: str) -> list[Triple]:
        r"""The list that triples of a split are added to."""
        found = self.triples.setdefault(split, [])
        assert isinstance(found, list)
        return found
