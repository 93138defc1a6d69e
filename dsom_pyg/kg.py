"""A read-only view of a graph that works out each thing once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dsom_pyg import graph, metrics
from dsom_pyg.graph import TripleGraph, Triples
from dsom_pyg.query_index import QueryIndex

if TYPE_CHECKING:
    from dsom_pyg.pyg import HeteroData


class KG:
    r"""What training and evaluation ask of a graph.

    Indices, pooled features, degrees and the fingerprint are computed when
    they are first asked for, and kept. Change a graph by making another one,
    not under the eyes of its view.

    Args:
        data: The graph, with its features, or its triples alone.

    Raises:
        ValueError: The graph has an id out of range, or shapes do not fit.
    """

    def __init__(self, data: HeteroData | TripleGraph) -> None:
        self.modalities: list[str] = []
        if not isinstance(data, TripleGraph):
            if not hasattr(data, 'node_types'):
                raise TypeError(
                    f'need a graph, such as Countries()[0], got {data!r:.80}'
                )
            self.data = data
            self.modalities = graph.modalities(data)
            data = graph.triple_graph(data)
        self.triple_graph = data
        self.num_entities = data.num_entities
        self.num_relations = data.num_relations
        self._indices: dict[frozenset[str], QueryIndex] = {}
        self._origin: KG | None = None

    @classmethod
    def of(cls, data: HeteroData | KG) -> KG:
        r"""The view of a graph, or the view that was given."""
        return data if isinstance(data, KG) else cls(data)

    def __repr__(self) -> str:
        return (
            f'KG({self.num_entities} entities, {self.num_relations} '
            f'relations, features of {self.modalities})'
        )

    @cached_property
    def data(self) -> HeteroData:
        r"""The graph as :class:`HeteroData`."""
        return self.triple_graph.to_data()

    def triples(self, split: str) -> Triples:
        r"""The triples of ``'train'``, ``'val'`` or ``'test'``."""
        return self.triple_graph.split(split)

    def index(self, *splits: str) -> QueryIndex:
        r"""The tails of every query of some splits, reciprocals included.

        ``index('train')`` is N(h, r). The index of all three splits is the
        filter of an evaluation: it also holds the further known triples that
        a dataset may bring.
        """
        names = frozenset(splits)
        if names not in self._indices:
            if names == frozenset(graph.SPLITS):
                found = self.triple_graph.known()
            else:
                found = graph.concat(*(self.triples(name) for name in splits))
            both = graph.add_reciprocals(found, self.num_relations)
            sizes = self.num_entities, self.num_relations
            self._indices[names] = QueryIndex(both, *sizes)
        return self._indices[names]

    @cached_property
    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        r"""For each modality its pooled features and which entities have
        them, see :func:`~dsom_pyg.graph.pool_features`.
        """
        if self._origin is not None:
            return self._origin.features
        names = self.modalities
        return {name: graph.pool_features(self.data, name) for name in names}

    @cached_property
    def degree(self) -> Tensor:
        r"""How many ends of training triples each entity is, ``[E]``."""
        # The index has both directions of each, and each once.
        head = self.index('train').of_tails().head
        return torch.bincount(head, minlength=self.num_entities)

    @cached_property
    def relation_categories(self) -> Tensor:
        r"""Category of each relation in train, ``[R]``."""
        index = self.index('train')
        return metrics.relation_categories(index, self.num_relations)

    @cached_property
    def fingerprint(self) -> str:
        r"""See :meth:`~dsom_pyg.graph.TripleGraph.fingerprint`."""
        return self.triple_graph.fingerprint()

    def with_train(self, train: Triples) -> KG:
        r"""The same graph, and features, with other training triples."""
        view = KG(graph.with_split(self.data, 'train', train))
        view._origin = self
        return view
