"""How a source is to be read, where it may be read in several ways."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsom_pyg.datasets.own.columns import HRT

TYPES = ('relation', 'type')
DECLARATIONS = ('leave', 'keep')


@dataclass(frozen=True)
class Reading:
    r"""How a folder is to be read.

    Args:
        columns: The order of the columns of triples without a header:
            ``'hrt'`` for head, relation, tail, or ``'htr'``.
        language: Of names and texts in RDF that have several; what has no
            language comes next, and then the first one by its code.
        types: What ``rdf:type`` and Wikidata's ``P31`` are: a
            ``'relation'`` like any other, or the ``'type'`` of an entity,
            which is in no triple, but in the ``entity_types`` of the
            dataset.
        declarations: Whether triples that declare a vocabulary, such as
            those of owl, are left out (``'leave'``) or kept (``'keep'``).

    Raises:
        ValueError: A word is another one.
    """

    columns: str = 'hrt'
    language: str = 'en'
    types: str = 'relation'
    declarations: str = 'leave'

    def __post_init__(self) -> None:
        if sorted(self.columns) != sorted('hrt'):
            raise ValueError(
                "columns must tell where head, relation and tail are, as 'hrt'"
                f" or 'htr' do, got {self.columns!r}"
            )
        for word, choices in (
            ('types', TYPES),
            ('declarations', DECLARATIONS),
        ):
            if (got := getattr(self, word)) not in choices:
                raise ValueError(
                    f'{word} must be one of {choices}, got {got!r}'
                )

    @property
    def order(self) -> Sequence[str]:
        r"""The columns in order."""
        words = {word[0]: word for word in HRT}
        return [words[letter] for letter in self.columns]
