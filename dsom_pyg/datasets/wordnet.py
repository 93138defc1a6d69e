"""Words and definitions of WordNet synsets."""

from pathlib import Path

from dsom_pyg.datasets.benchmark import Texts
from dsom_pyg.datasets.reading import read_table


def read_definitions(path: Path, offsets: list[str]) -> Texts:
    r"""Names and texts from rows of synset offset and ``words, definition``.

    Args:
        path: A tab-separated file.
        offsets: The synset of each entity; one that the file lacks has no
            text and is called by its offset.
    """
    texts = dict(read_table(path, 2))
    found = [texts.get(offset) for offset in offsets]
    return Texts(
        [
            text.split(', ', 1)[0] if text else offset
            for text, offset in zip(found, offsets, strict=True)
        ],
        [[text] if text else [] for text in found],
        [text is not None for text in found],
    )
