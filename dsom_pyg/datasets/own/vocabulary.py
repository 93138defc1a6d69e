"""Labels and their ids."""

import unicodedata
from collections.abc import Iterable

from dsom_pyg.datasets.errors import shorten, well_formed
from dsom_pyg.datasets.findings import Findings
from dsom_pyg.datasets.own.table import NOWHERE, Place

# Spaces of no width, joiners, the byte order mark, the soft hyphen.
INVISIBLE = dict.fromkeys(map(ord, '\u200b\u200c\u200d\u2060\ufeff\u00ad'))


class Vocabulary:
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
        self._as_written: dict[str, int] = {}
        for label in labels:
            self.add(label)

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, label: str, place: Place = NOWHERE) -> int:
        r"""The id of a label; a new label gets the next id."""
        if label not in self._as_written:
            clean = composed(label)
            if clean in self._ids:
                message = (
                    f'{self.what} {shorten(clean)} is written with other code '
                    f'points ({ascii(label)[:80]}) than before; taken as one'
                )
                self.findings.add('Unicode twins', message, *place)
            else:
                self._ids[clean] = len(self.labels)
                self.labels.append(clean)
            self._as_written[label] = self._ids[clean]
        return self._as_written[label]

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
            groups: dict[str, list[str]] = {}
            for label in self.labels:
                groups.setdefault(plain(label), []).append(label)
            message = f'{self.what} names that differ {how} are kept apart: '
            for twins in groups.values():
                if len(twins) > 1:
                    named = ', '.join(map(shorten, twins[:5]))
                    self.findings.add(kind, message + named)


def composed(text: str) -> str:
    r"""A text in Unicode form NFC, with lone surrogates replaced."""
    return unicodedata.normalize('NFC', well_formed(text))


def _look(label: str) -> str:
    # One kind and number of spaces, nothing invisible, usual widths.
    seen = unicodedata.normalize('NFKC', label.translate(INVISIBLE))
    return ' '.join(seen.split())
