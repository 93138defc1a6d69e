"""How a source is to be read, where it may be read in several ways."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsom_pyg.datasets.own.columns import HRT


@dataclass(frozen=True)
class Reading:
    r"""How a folder is to be read.

    Args:
        columns: The order of the columns of triples without a header:
            ``'hrt'`` for head, relation, tail, or ``'htr'``.

    Raises:
        ValueError: The columns are others.
    """

    columns: str = 'hrt'

    def __post_init__(self) -> None:
        if sorted(self.columns) != sorted('hrt'):
            raise ValueError(
                "columns must tell where head, relation and tail are, as 'hrt'"
                f" or 'htr' do, got {self.columns!r}"
            )

    @property
    def order(self) -> Sequence[str]:
        r"""The columns in order."""
        words = {word[0]: word for word in HRT}
        return [words[letter] for letter in self.columns]
