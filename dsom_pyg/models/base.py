"""What every model of triples gives: scores, and the loss it learns by."""

from collections.abc import Sequence

from torch import Tensor, nn

from dsom_pyg.graph import check_ids
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.scores import Scores
from dsom_pyg.scores.tables import Basis


class Model(nn.Module):
    r"""Base class of everything that scores triples and can be trained.

    A subclass gives :meth:`score_tails` and :meth:`loss`, and
    :meth:`reset_parameters` if it is to be drawn anew; its tables and settings
    are its own. Teachers, students and plain models are all of this kind.

    Args:
        num_entities: E.
        num_relations: R. Relations :math:`R..2R - 1` are the reciprocals.
    """

    # Whether it is made with the training triples as well, and looks at them.
    given_triples = False

    def __init__(self, num_entities: int, num_relations: int) -> None:
        super().__init__()
        if num_entities < 1 or num_relations < 1:
            raise ValueError(
                'num_entities and num_relations must be positive, got '
                f'{num_entities} and {num_relations}'
            )
        self.num_entities = num_entities
        self.num_relations = num_relations

    asked: Sequence[nn.Module] = ()
    r"""Modules that it asks and that stay as they are: no part of its state,
    so nothing of them is trained, or kept with it.
    """

    @property
    def available(self) -> Tensor | None:
        r"""Which entities it knows as heads, bool ``[E]``; None for all."""
        return None

    def reset_parameters(self) -> None:
        r"""Draw all parameters anew."""
        raise NotImplementedError

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Scores ``[B, E]`` of every entity as the tail of each query.

        Training steps come here, so nobody looks at the ids:
        :func:`~dsom_pyg.predict_tails` and :meth:`forward` do.

        Args:
            head_index: Heads, ``[B]``.
            rel_type: Relations in :math:`0..2R - 1`, ``[B]``.
            entities: A part of the entities.
            precision: Of matrix products.
        """
        raise NotImplementedError

    def scores(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        precision: str = 'fp32',
        tables: Sequence[Basis] | None = None,
    ) -> Scores:
        r"""The same scores, which need not be held at once. Override it where
        they can be made in parts.

        Args:
            head_index: Heads, ``[B]``.
            rel_type: Relations in :math:`0..2R - 1`, ``[B]``.
            precision: Of matrix products.
            tables: What :meth:`tables` gave.
        """
        words = head_index, rel_type
        return Scores.of(self.score_tails(*words, precision=precision))

    def tables(self, precision: str) -> list[Basis] | None:
        r"""What :meth:`scores` makes of all entities in the same way for all
        queries, in the type that products of this precision take; it is worth
        keeping as long as the model does not change.
        """
        return None

    def own_scores(
        self, head_index: Tensor, rel_type: Tensor
    ) -> tuple[Tensor, Shard] | None:
        r"""Of several processes that share the entities, the scores ``[B, C]``
        of those that this one holds; :obj:`None` if all hold all.
        """
        return None

    def forward(
        self, head_index: Tensor, rel_type: Tensor, tail_index: Tensor
    ) -> Tensor:
        r"""The scores ``[B]`` that :meth:`score_tails` gives triples.

        Raises:
            ValueError: An id is out of range.
        """
        self.check_triples(head_index, rel_type, tail_index)
        scores = self.score_tails(head_index, rel_type)
        return scores.gather(1, tail_index[:, None]).squeeze(1)

    def check_triples(
        self, head_index: Tensor, rel_type: Tensor, tail_index: Tensor
    ) -> None:
        r"""Raise :class:`ValueError` unless these are triples ``[B]`` of this
        many entities and relations.
        """
        check_ids(
            head_index=(head_index, self.num_entities),
            rel_type=(rel_type, 2 * self.num_relations),
            tail_index=(tail_index, self.num_entities),
        )

    def check_loop(self, sampled: bool, rarity: float) -> None:
        r"""Raise :class:`ValueError` unless it can learn from sampled
        entities, if these are to be, and from pairs weighed by such a rarity;
        see :class:`~dsom_pyg.training.Loop`.
        """
        # Some would learn from all entities in silence.
        if sampled:
            raise ValueError(
                f'{type(self).__name__} cannot learn from sampled entities; '
                'leave Loop(sampled=...) out'
            )

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        r"""The terms that the model minimises; their sum is its loss. Queries
        without tails cost nothing.
        """
        raise NotImplementedError

    def scores_and_loss(
        self, batch: QueryBatch, precision: str
    ) -> tuple[Scores, dict[str, Tensor]]:
        r"""Scores ``[B, E]`` of the queries, with gradient, and :meth:`loss`:
        what distillation asks of a student. Override it where one pass gives
        both.
        """
        scores = self.scores(batch.head, batch.rel, precision)
        return scores, self.loss(batch, precision)


def total(terms: dict[str, Tensor]) -> Tensor:
    r"""The sum of the terms of a loss.

    Raises:
        TypeError: There are none, or they have no names.
    """
    if not isinstance(terms, dict) or not terms:
        raise TypeError(
            "the loss of a model is a dict of its terms, such as {'ce': ...}, "
            f'got {terms!r:.80}'
        )
    out, *others = terms.values()
    for term in others:
        out = out + term
    return out
