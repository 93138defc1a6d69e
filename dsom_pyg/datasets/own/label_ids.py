"""Labels and their ids."""

import re
import unicodedata
from collections.abc import Callable, Iterable

from dsom_pyg.datasets.errors import shorten
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.names import composed
from dsom_pyg.datasets.own.table import NOWHERE, Place

# Spaces of no width, joiners, the byte order mark, the soft hyphen.
PRINTED = re.compile('[!-~]*')
INVISIBLE = dict.fromkeys(map(ord, '\u200b\u200c\u200d\u2060\ufeff\u00ad'))


class LabelIds:
    r"""Labels and their ids, in the order in which they are added.

    Labels that are equal in Unicode form NFC have one id; labels that are
    nearly equal become findings about ``what``: entity or relation.
    """

    def __init__(
        self, what: str, labels: Iterable[str], findings: Findings
    ) -> None:
        self.what, self.findings = what, findings
        self.labels: list[str] = []
        self._ids: dict[str, int] = {}
        # Other spellings; and labels that were read in these alone so far.
        self._others: dict[str, int] = {}
        self._unread: set[str] = set()
        for label in labels:
            self.add(label)

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, label: str, place: Place = NOWHERE) -> int:
        r"""The id of a label; a new label gets the next id."""
        return self.add_all([label], lambda _: place)[0]

    def add_all(
        self, labels: Iterable[str], place: Callable[[int], Place]
    ) -> list[int]:
        r"""The ids of labels, each of which stands at the place that its
        number has.
        """
        labels = list(labels)
        if not self.labels and all(x == composed(x) for x in labels):
            ids = dict(zip(labels, range(len(labels)), strict=True))
            if len(ids) == len(labels):  # of millions that is faster
                self.labels, self._ids = labels, ids
                return list(range(len(labels)))
        out = []
        for at, label in enumerate(labels):
            found = self._ids.get(label)
            if found is None or label in self._unread:
                found = self._others.get(label)
            out.append(self._new(label, place, at) if found is None else found)
        return out

    def _new(self, label: str, place: Callable[[int], Place], at: int) -> int:
        # The id of a spelling that is read for the first time.
        clean = composed(label)
        if clean in self._ids:
            message = (
                f'{self.what} {shorten(clean)} is written with other code '
                f'points ({ascii(label)[:80]}) than before; taken as one'
            )
            self.findings.add('Unicode twins', message, *place(at))
        else:
            self._ids[clean] = len(self.labels)
            self.labels.append(clean)
            if label != clean:
                self._unread.add(clean)
        if label == clean:
            self._unread.discard(clean)
        else:
            self._others[label] = self._ids[clean]
        return self._ids[clean]

    def find(self, words: Iterable[str]) -> int | None:
        r"""The id of the first word that is a label."""
        clean = map(composed, words)
        return next((self._ids[x] for x in clean if x in self._ids), None)

    def note_twins(self) -> None:
        r"""Report labels that differ by case only, or look the same."""
        for kind, how, plain in (
            ('case twins', 'by case only', str.casefold),
            ('spelling twins', 'by spaces or look-alike signs only', _look),
        ):
            # Of twins, one at least does not look like itself.
            labels = self.labels
            if plain is _look:
                labels = [x for x in labels if not PRINTED.fullmatch(x)]
            looks = [y for x in labels if (y := plain(x)) != x]
            known = set(looks)
            if len(known) == len(looks) and known.isdisjoint(self._ids):
                continue
            groups: dict[str, list[str]] = {}
            for label in self.labels:
                groups.setdefault(plain(label), []).append(label)
            message = f'{self.what} names that differ {how} are kept apart: '
            for twins in groups.values():
                if len(twins) > 1:
                    named = ', '.join(map(shorten, twins[:5]))
                    self.findings.add(kind, message + named)


def _look(label: str) -> str:
    # One kind and number of spaces, nothing invisible, usual widths.
    seen = unicodedata.normalize('NFKC', label.translate(INVISIBLE))
    return ' '.join(seen.split())
