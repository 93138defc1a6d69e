"""What a reader notices in data: counted, kept, shown to people."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsom_pyg.datasets.errors import place_in, printable

# Findings of each kind that are kept.
KEEP = 20


@dataclass(frozen=True)
class Finding:
    r"""One thing that was noticed, and where; lines, and rows of Parquet,
    are counted from 1.

    All findings of a sort share a kind, such as ``'duplicate triple'``.
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None

    def __post_init__(self) -> None:
        # Names in them come from strangers.
        object.__setattr__(self, 'message', printable(self.message))
        if self.file is not None:
            object.__setattr__(self, 'file', printable(self.file))

    def __str__(self) -> str:
        if not self.file:
            return self.message
        return f'{place_in(self.file, self.line)}: {self.message}'


@dataclass
class Findings:
    r"""Findings by kind: all are counted, the first ones are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Finding]] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        message: str,
        file: str | Path | None = None,
        line: int | None = None,
    ) -> None:
        r"""Count a finding, and keep it if there is room."""
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < KEEP:
            where = None if file is None else str(file)
            kept.append(Finding(kind, message, where, line))

    def add_many(
        self,
        kind: str,
        count: int,
        each: Callable[[int], tuple[str, Path | None, int | None]],
    ) -> None:
        r"""Count many findings at once; message and place of those that are
        kept are made from their number.
        """
        if not count:
            return
        kept = min(count, KEEP - len(self.examples.get(kind, ())))
        for at in range(kept):
            self.add(kind, *each(at))
        self.counts[kind] += count - kept
        self.examples.setdefault(kind, [])

    def extend(self, other: 'Findings', without: Collection[str] = ()) -> None:
        r"""Add what another collection holds, apart from some kinds."""
        for kind, count in other.counts.items():
            if kind not in without:
                self.counts[kind] += count
                kept = self.examples.setdefault(kind, [])
                kept += other.examples[kind][: KEEP - len(kept)]

    def __iter__(self) -> Iterator[Finding]:
        for kept in self.examples.values():
            yield from kept

    def __len__(self) -> int:
        return self.counts.total()

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
        examples = [asdict(finding) for finding in self]
        return {'counts': dict(self.counts), 'examples': examples}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> 'Findings':
        r"""What :meth:`to_json` gave."""
        counts = Counter[str](value['counts'])
        out = cls(counts, {kind: [] for kind in counts})
        for each in value['examples']:
            out.examples[each['kind']].append(Finding(**each))
        return out
