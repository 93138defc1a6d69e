"""What people decided about triples, in a file that only grows.

A line of JSON for each decision: ``head``, ``relation`` and ``tail`` as the
files of the graph call them, ``verdict``, ``time``, and the ``model`` that was
shown. Of several decisions on a triple the last one holds.
"""

import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from dsom_pyg.completion.vocabulary import UnknownNameError, Vocabulary
from dsom_pyg.files import explain, whole_or_nothing
from dsom_pyg.graph import (
    EDGE,
    SPLITS,
    Triples,
    concat,
    with_split,
    within,
)
from dsom_pyg.kg import KG

FILE = 'review.jsonl'
# What a person says of a triple: it holds, it does not, or that is open.
VERDICTS = ('accept', 'reject', 'unsure')


@dataclass(frozen=True)
class Decision:
    r"""What somebody said of a triple.

    Attributes:
        head, relation, tail: As the files of the graph call them.
        verdict: ``'accept'``, ``'reject'`` or ``'unsure'``.
        time: When, in UTC, as ISO 8601 has it.
        model: Fingerprint of the graph of the model that was shown, as it was
            corrected by then.
    """

    head: str
    relation: str
    tail: str
    verdict: str
    time: str = ''
    model: str = ''

    @property
    def triple(self) -> tuple[str, str, str]:
        r"""What it is about."""
        return self.head, self.relation, self.tail

    def ids(
        self, entities: Vocabulary, relations: Vocabulary
    ) -> tuple[int, int, int]:
        r"""Head, relation and tail by their ids.

        Raises:
            UnknownNameError: The graph does not have one of them.
        """
        head, link = entities.id(self.head), relations.id(self.relation)
        return head, link, entities.id(self.tail)


# What a line may say beside is for others.
WORDS = {field.name for field in fields(Decision)}


class Judged(NamedTuple):
    r"""Triples by their ids, by the last decision on each.

    Attributes:
        accepted, rejected: The decided ones.
        unsure: Those that are open, or open again.
    """

    accepted: Triples
    rejected: Triples
    unsure: Triples = Triples.of([])

    @property
    def decided(self) -> Triples:
        r"""Accepted and rejected ones."""
        return concat(self.accepted, self.rejected)


class Review:
    r"""A file of decisions.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._lock = Lock()

    @property
    def stamp(self) -> tuple[int, ...]:
        r"""What changes when anybody writes to the file."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def content(self) -> bytes:
        r"""All of the file; nothing if it is not there."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b''

    def decide(
        self, head: str, relation: str, tail: str, verdict: str, model: str
    ) -> Decision:
        r"""Add a decision. When this returns, it is on the disk.

        Raises:
            ValueError: There is no such verdict.
            NotWritten: The disk is full, or the file read-only.
        """
        if verdict not in VERDICTS:
            raise ValueError(
                f'a verdict is one of {", ".join(VERDICTS)}, got {verdict!r}'
            )
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        made = Decision(head, relation, tail, verdict, now, model)
        line = json.dumps(asdict(made), ensure_ascii=True) + '\n'
        with self._lock:
            try:
                self._append(line.encode())
            except OSError as error:
                explain(error, self.path)
                raise
        return made

    def _append(self, line: bytes) -> None:
        # One write at the end of the file: of several processes that decide
        # none overwrites another. What a kill has left of a line stays alone.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, 'O_BINARY', 0)  # of Windows
        file = os.open(self.path, flags, 0o644)
        try:
            size = os.fstat(file).st_size
            if size:
                os.lseek(file, size - 1, os.SEEK_SET)  # no pread on Windows
                if os.read(file, 1) != b'\n':
                    line = b'\n' + line
            written = os.write(file, line)
            if written < len(line):
                raise OSError(28, os.strerror(28))
            os.fsync(file)
        finally:
            os.close(file)

    def __iter__(self) -> Iterator[Decision]:
        r"""All decisions, in their order. A line that is none, such as half
        of one, is told by a warning.
        """
        yield from self.read(self.content())

    def read(self, content: bytes, above: int = 0) -> Iterator[Decision]:
        r"""The decisions in a part of the file.

        Args:
            content: The part.
            above: Lines before it.
        """
        text = content.decode('utf-8-sig', 'replace')
        for number, line in enumerate(text.split('\n'), 1 + above):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
                made = Decision(
                    **{key: str(x) for key, x in said.items() if key in WORDS}
                )
                if made.verdict not in VERDICTS:
                    raise ValueError
            except (TypeError, ValueError, AttributeError, RecursionError):
                warnings.warn(
                    f'{self.path}, line {number} is no decision and is left '
                    'out',
                    UserWarning,
                    stacklevel=2,
                )
                continue
            yield made

    def last(self) -> dict[tuple[str, str, str], Decision]:
        r"""The decision that holds, for each triple as it was called."""
        return {each.triple: each for each in self}

    def holding(
        self, entities: Vocabulary, relations: Vocabulary
    ) -> dict[tuple[int, int, int] | tuple[str, str, str], Decision]:
        r"""The decision that holds of each triple, whatever it was called,
        the latest last; by its words where the graph does not have them.
        """
        out: dict[Any, Decision] = {}
        for each in self:
            key: Any = each.triple
            with suppress(UnknownNameError):
                key = each.ids(entities, relations)
            # The one decided last comes last.
            out.pop(key, None)
            out[key] = each
        return out

    def copy_to(self, path: Path) -> None:
        r"""Begin a file with these decisions, unless there is one."""
        if path.exists() or not self.path.exists():
            return
        with whole_or_nothing(path) as temporary:
            shutil.copyfile(self.path, temporary)

    def counts(
        self, entities: Vocabulary, relations: Vocabulary
    ) -> dict[str, int]:
        r"""How many triples were decided in which way."""
        holds = self.holding(entities, relations)
        said = Counter(each.verdict for each in holds.values())
        return {verdict: said[verdict] for verdict in VERDICTS}

    def judged(self, entities: Vocabulary, relations: Vocabulary) -> Judged:
        r"""What holds of each triple, however it was called. A decision with
        a name that the graph does not have is told by a warning.
        """
        said: dict[str, list[tuple[int, int, int]]] = {v: [] for v in VERDICTS}
        for each in self.holding(entities, relations).values():
            try:
                said[each.verdict].append(each.ids(entities, relations))
            except UnknownNameError as error:
                warnings.warn(
                    f'{self.path}: {error}; the decision is left out',
                    UserWarning,
                    stacklevel=2,
                )
        return Judged(*(Triples.of(said[verdict]) for verdict in VERDICTS))


def reviewed(graph: KG, judged: Judged) -> KG:
    r"""The graph as people have corrected it: what they accepted is in train,
    unless it is in a split already; what they rejected is in none.
    """
    accepted, rejected = judged.accepted, judged.rejected
    data = graph.data
    known = concat(*map(graph.triples, SPLITS))
    for split in SPLITS:
        part = graph.triples(split)
        part = part.select(~within(part, rejected))
        if split == 'train':
            part = concat(part, accepted.select(~within(accepted, known)))
        data = with_split(data, split, part)
    store = data[EDGE]
    if 'filter_edge_index' in store:
        part = Triples(store.filter_edge_index, store.filter_edge_type)
        store.filter_edge_index, store.filter_edge_type = part.select(
            ~within(part, rejected)
        )
    return KG(data)
