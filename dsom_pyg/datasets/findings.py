"""What a reader notices in data: counted, kept, shown to people."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


def printable(text: str) -> str:
    r"""A text with escapes for what no encoding has."""
    return text.encode(errors='backslashreplace').decode()


@dataclass(frozen=True)
class Finding:
    r"""One thing that was noticed.

    Args:
        kind: A short phrase shared by all findings of its sort, such as
            ``'duplicate triple'``.
        message: What exactly, for people.
        file: Where it stands. (default: :obj:`None`)
        line: The line in that file, counted from 1. (default: :obj:`None`)
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        # Names of files that are not UTF-8 could not be printed.
        object.__setattr__(self, 'message', printable(self.message))
        if self.file is not None:
            object.__setattr__(self, 'file', printable(self.file))

    def __str__(self) -> str:
        place = f'{self.file}:{self.line}' if self.line else self.file
        return f'{place}: {self.message}' if place else self.message


@dataclass
class Findings:
    r"""Findings by kind: all are counted, the first ones are kept.

    Args:
        keep: Findings of each kind that are kept. (default: :obj:`20`)
    """

    keep: int = 20
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[Finding]] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        message: str,
        file: str | Path | None = None,
        line: int | None = None,
    ) -> None:
        r"""Count a finding, and keep it if there is room."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < self.keep:
            where = None if file is None else str(file)
            kept.append(Finding(kind, message, where, line))

    def extend(self, other: 'Findings') -> None:
        r"""Add what another collection holds."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            kept = self.examples.setdefault(kind, [])
            kept += other.examples[kind][: self.keep - len(kept)]

    def without(self, kinds: Collection[str]) -> 'Findings':
        r"""The findings of all other kinds."""
        out = Findings(self.keep)
        for kind in self.counts:
            if kind not in kinds:
                out.counts[kind] = self.counts[kind]
                out.examples[kind] = list(self.examples[kind])
        return out

    def __iter__(self) -> Iterator[Finding]:
        for kept in self.examples.values():
            yield from kept

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __str__(self) -> str:
        lines = []
        for kind, count in self.counts.items():
            lines.append(f'{kind}: {count}')
            lines += [f'  {each}' for each in self.examples[kind]]
            more = count - len(self.examples[kind])
            lines += [f'  and {more} more'] if more else []
        return '\n'.join(lines)

    def to_json(self) -> dict[str, Any]:
        r"""Counts and examples as plain values."""
        return {
            'counts': dict(self.counts),
            'examples': [asdict(finding) for finding in self],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> 'Findings':
        r"""What :meth:`to_json` gave."""
        kept: Iterable[dict[str, Any]] = value['examples']
        out = cls(counts=dict(value['counts']))
        for each in kept:
            out.examples.setdefault(each['kind'], []).append(Finding(**each))
        for kind in out.counts:
            out.examples.setdefault(kind, [])
        return out
