"""Where what leaves the house comes from."""

from datetime import datetime, timezone
from typing import NamedTuple

import dsom_pyg
from dsom_pyg.completion.store import Parts


class Provenance(NamedTuple):
    r"""What made a file: a model of a graph, and when.

    Attributes:
        software, version: What wrote it.
        date: When, in UTC, as ISO 8601 has it.
        dataset: What the graph is called.
        fingerprint: Of the graph, see :func:`~dsom_pyg.graph.fingerprint`.
        model: The class of the model.
    """

    software: str
    version: str
    date: str
    dataset: str
    fingerprint: str
    model: str

    @classmethod
    def of(cls, parts: Parts) -> 'Provenance':
        r"""Of a file that is being made from a model now."""
        now = datetime.now(timezone.utc).isoformat(timespec='seconds')
        return cls(
            'dsom_pyg',
            dsom_pyg.__version__,
            now,
            str(parts.about.get('dataset', 'unknown')),
            parts.graph.fingerprint,
            type(parts.student).__name__,
        )
