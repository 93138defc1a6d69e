"""What a model answers, as values with names that print as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, SupportsIndex, TypeVar, overload

from dsom_pyg.datasets.errors import printable

Row = TypeVar('Row')


@dataclass(frozen=True, slots=True)
class Answer:
    r"""One answer to a question.

    Attributes:
        name, id: The entity.
        probability: How likely it is the answer, see
            :class:`~dsom_pyg.completion.Calibration`.
        score: What the model gives it.
        known: Whether the graph has this triple.
    """

    name: str
    probability: float
    score: float
    known: bool
    id: int


@dataclass(frozen=True)
class ScoredTriple:
    r"""A given triple, as the model sees it.

    Attributes:
        head, relation, tail: Their names.
        probability: How likely the tail is the answer to (head, relation, ?),
            as :meth:`~dsom_pyg.completion.Completer.answer` says it; among all
            entities, if the relation does not take the tail.
        score: What the model gives it.
        known: Whether the graph has this triple.
    """

    head: str
    relation: str
    tail: str
    probability: float
    score: float
    known: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    r"""A triple that the graph may lack.

    Attributes:
        head, relation, tail: Their names.
        probability: How likely it is to be among triples that are held back,
            if as many are as validation holds; see
            :class:`~dsom_pyg.completion.proposals.Odds`.
        score: What the model gives it.
        id: Of head, relation and tail.
    """

    head: str
    relation: str
    tail: str
    probability: float
    score: float
    id: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Suspect:
    r"""A known triple that may be wrong.

    Attributes:
        head, relation, tail: Their names.
        belief: How much it is believed by who did not see it, in standard
            deviations from the mean of its relation.
        id: Of head, relation and tail.
    """

    head: str
    relation: str
    tail: str
    belief: float
    id: tuple[int, int, int]


@dataclass(frozen=True)
class Opinion:
    r"""What a teacher thinks of a triple, and how much the policy listens.

    Attributes:
        teacher: Its name, or ``'student'``.
        weight: Its share in what the student was taught; NaN for the student.
        probability: How likely the tail is the answer, among the same rivals
            for all; at temperature 1 for a teacher.
        rank: Of the tail among all entities, known answers left out.
    """

    teacher: str
    weight: float
    probability: float
    rank: float


@dataclass(frozen=True)
class Reason:
    r"""Training triples that speak for a triple.

    Attributes:
        rule: In words.
        triples: Those that the rule connects here.
        support, confidence, sampled: See
            :class:`~dsom_pyg.completion.evidence.Path`.
    """

    rule: str
    triples: list[str]
    support: int
    confidence: float
    sampled: bool = False


@dataclass(frozen=True)
class Explanation:
    r"""Who says that a triple is true, and on what evidence."""

    triple: ScoredTriple
    opinions: Rows[Opinion]
    reasons: list[Reason]
    texts: dict[str, list[str]]
    images: dict[str, list[str]]
    notes: list[str]

    def __str__(self) -> str:
        t = self.triple
        known = 'known' if t.known else 'not known'
        lines = [f'{t.head} | {t.relation} | {t.tail}   ({known})', '']
        lines += [*str(self.opinions).split('\n'), '']
        if not self.reasons:
            lines.append('No rule speaks for it.')
        for reason in self.reasons:
            share = f'{100 * reason.confidence:.0f} %'
            least = 'at least ' * reason.sampled
            lines.append(
                f'{reason.rule}  (holds in {least}{reason.support} other '
                f'cases, {share} of those where its left side does)'
            )
            lines += [f'    {each}' for each in reason.triples]
        for name, texts in self.texts.items():
            lines += ['', f'{name}:', *(f'    {_short(x)}' for x in texts[:3])]
        for name, images in self.images.items():
            lines += [f'images of {name}: {", ".join(images[:3])}']
        lines += [f'Note: {note}' for note in self.notes]
        return '\n'.join(printable(line) for line in lines)


@dataclass(frozen=True)
class Link:
    r"""A relation that may link two given entities; see
    :class:`ScoredTriple`.
    """

    relation: str
    probability: float
    score: float
    known: bool


class Rows(list[Row], Generic[Row]):
    r"""A list of such values. It prints as a table, and tells what is to be
    borne in mind (:attr:`notes`).
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        notes: Sequence[str] = (),
        kind: type[Row] | None = None,
    ) -> None:
        super().__init__(rows)
        self.notes = list(notes)
        # What they would be where there are none.
        self.kind = type(self[0]) if self else kind

    def to_pandas(self) -> Any:
        r"""The values as a :class:`pandas.DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            message = 'to_pandas needs pandas: pip install pandas'
            raise ImportError(message) from error
        rows: list[Any] = list(self)
        kind: Any = self.kind
        columns = kind and [field.name for field in fields(kind)]
        return pandas.DataFrame([asdict(row) for row in rows], columns=columns)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> Rows[Row]: ...

    def __getitem__(self, at: SupportsIndex | slice) -> Row | Rows[Row]:
        if isinstance(at, slice):
            return Rows(super().__getitem__(at), self.notes, self.kind)
        return super().__getitem__(at)

    def __repr__(self) -> str:
        return str(self)  # as notebooks show it

    def __str__(self) -> str:
        lines = [*table(self), *(f'Note: {note}' for note in self.notes)]
        return '\n'.join(lines)


def _short(text: str) -> str:
    line = ' '.join(text.split())
    return line if len(line) <= 200 else f'{line[:197]}...'


def table(rows: Sequence[Any]) -> list[str]:
    r"""Lines of a table, one for each value; the id is left out."""
    if not rows:
        return ['(nothing)']
    names = [f.name for f in fields(rows[0]) if f.name != 'id']
    cells = [names]
    cells += [
        [_cell(name, getattr(row, name)) for name in names] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [isinstance(getattr(rows[0], n), int | float) for n in names]
    return [
        '  '.join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else ''
    if isinstance(value, float):
        return '' if math.isnan(value) else f'{value:.3f}'
    return printable(str(value))
