"""How a source is to be read, where it may be read in several ways."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsom_pyg.datasets.own.columns import HRT

TYPES = ('relation', 'leave')


@dataclass(frozen=True)
class Reading:
    r"""How a folder is to be read.

    Args:
        columns: The order of the columns of triples without a header:
            ``'hrt'`` for head, relation, tail, or ``'htr'``.
        language: Of names and texts in RDF that have several; what has no
            language comes next, and then the first one by its code.
        types: What ``rdf:type`` is: ``'relation'`` like any other, or left
            out (``'leave'``).

    Raises:
        ValueError: A word is another one.
    """

    columns: str = 'hrt'
    language: str = 'en'
    types: str = 'relation'

    def __post_init__(self) -> None:
        if sorted(self.columns) != sorted('hrt'):
            raise ValueError(
                "columns must tell where head, relation and tail are, as 'hrt'"
                f" or 'htr' do, got {self.columns!r}"
            )

        if self.types not in TYPES:
            why = f'types must be one of {TYPES}, got {self.types!r}'
            raise ValueError(why)

    @property
    def order(self) -> Sequence[str]:
        r"""The columns in order."""
        words = {word[0]: word for word in HRT}
        return [words[letter] for letter in self.columns]
