"""Triples in labels by columns: tens of millions of them fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from dsom_pyg.datasets.own.table import Place, Triple

Array = np.ndarray[Any, Any]


class TripleRows(Sequence[Triple]):
    r"""Triples in labels, each of which is held once.

    Args:
        labels: Different labels.
        codes: Place of head, relation and tail of each triple among the
            labels, ``[3, N]``.
        files: The files that triples stand in.
        file: The place of that of each triple among them, ``[N]``. (default:
            the first one)
        lines: The line of each, ``[N]``; 0 for none.
    """

    def __init__(
        self,
        labels: list[str],
        codes: Array,
        files: Sequence[Path | None] = (None,),
        file: Array | None = None,
        lines: Array | None = None,
    ) -> None:
        count = codes.shape[1]
        self.labels, self.codes, self.files = labels, codes, files
        self.file = np.zeros(count, np.int16) if file is None else file
        self.lines = np.zeros(count, np.int64) if lines is None else lines

    @classmethod
    def of(cls, triples: Iterable[Triple]) -> TripleRows:
        r"""Triples by columns, if they are not yet."""
        if isinstance(triples, TripleRows):
            return triples
        labels: dict[str, int] = {}
        files: dict[Path | None, int] = {}
        codes, places = [], []
        for *words, (file, line) in triples:
            codes.append([labels.setdefault(x, len(labels)) for x in words])
            places.append((files.setdefault(file, len(files)), line or 0))
        table = np.array(codes, np.int32).reshape(-1, 3).T
        where = np.array(places, np.int64).reshape(-1, 2).T
        return cls(list(labels), table, list(files), *where)

    @classmethod
    def concat(cls, parts: Sequence[TripleRows]) -> TripleRows:
        r"""All rows of the parts, one after the other, with common labels."""
        parts = [part for part in parts if len(part)] or list(parts[:1])
        if not parts:
            return cls([], np.zeros((3, 0), np.int32))
        if len(parts) == 1:
            return parts[0]
        labels, codes = parts[0].labels, [parts[0].codes]
        if any(part.labels is not labels for part in parts):
            ids = {label: at for at, label in enumerate(labels)}
            for part in parts[1:]:
                each = (ids.setdefault(x, len(ids)) for x in part.labels)
                number = np.fromiter(each, np.int32, len(part.labels))
                codes.append(number[part.codes])
            labels = list(ids)
        else:
            codes = [part.codes for part in parts]
        files: dict[Path | None, int] = {}
        file = []
        for part in parts:
            each = (files.setdefault(x, len(files)) for x in part.files)
            file.append(np.fromiter(each, np.int16)[part.file])
        return cls(
            labels,
            np.concatenate(codes, axis=1),
            list(files),
            np.concatenate(file),
            np.concatenate([part.lines for part in parts]),
        )

    def with_labels(self, labels: list[str]) -> TripleRows:
        r"""The same rows with other labels, equal ones of which are one."""
        if labels == self.labels:
            return self
        ids: dict[str, int] = {}
        each = (ids.setdefault(label, len(ids)) for label in labels)
        codes = np.fromiter(each, np.int32, len(labels))[self.codes]
        return TripleRows(list(ids), codes, self.files, self.file, self.lines)

    def by_line(self) -> TripleRows:
        r"""The rows of one file, in the order of their lines."""
        order = self.lines.argsort(kind='stable')
        if (order[1:] > order[:-1]).all():
            return self
        where = self.file[order], self.lines[order]
        return TripleRows(
            self.labels, self.codes[:, order], self.files, *where
        )

    def __len__(self) -> int:
        return self.codes.shape[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, at: int) -> Triple: ...

    @overload
    def __getitem__(self, at: slice) -> list[Triple]: ...

    def __getitem__(self, at: int | slice) -> Triple | list[Triple]:
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        head, relation, tail = (self.labels[x] for x in self.codes[:, at])
        return Triple(head, relation, tail, self.place(at))

    def __iter__(self) -> Iterator[Triple]:
        return (self[at] for at in range(len(self)))

    def place(self, at: int) -> Place:
        r"""Where a triple stands."""
        line = int(self.lines[at])
        return Place(self.files[int(self.file[at])], line or None)

    def select(self, which: Array) -> TripleRows:
        r"""Some of the rows, by a mask ``[N]``."""
        codes = self.codes.compress(which, axis=1)
        where = self.file.compress(which), self.lines.compress(which)
        return TripleRows(self.labels, codes, self.files, *where)
