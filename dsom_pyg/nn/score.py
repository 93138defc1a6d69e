"""Score functions: knowledge graph embedding models over an entity module.

Teachers and student are the same class; only the entity module differs.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from dsom_pyg.nn.entity import (
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
)

Model = TypeVar('Model', bound='ScoreFunction')


class Factors(NamedTuple):
    r"""The rows that a regulariser acts on.

    Shapes:
        - **head, rel:** :math:`(B, 2D)`
        - **tail:** :math:`(K, 2D)`
    """

    head: Tensor
    rel: Tensor
    tail: Tensor


def side_by_side(rows: Sequence[Tensor]) -> Tensor:
    r"""Rows [real | imaginary] of several models as those of one, which has
    the coordinates of all: their real parts, then their imaginary ones.

    Shapes:
        - **rows:** :math:`(N, 2D_i)` each
        - **output:** :math:`(N, 2 \sum_i D_i)`
    """
    halves = [row.chunk(2, dim=-1) for row in rows]
    real, imaginary = zip(*halves, strict=True)
    return torch.cat([*real, *imaginary], dim=-1)


class ScoreFunction(nn.Module):
    r"""Base class of bilinear models: a query vector times an entity matrix.

    A subclass gives :meth:`query`. A model that is not a dot product
    overrides :meth:`forward` and :meth:`score_tails` as well.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R; the relation table has :math:`2R` rows, row
            :math:`r + R` belongs to the reciprocal of r.
        scale: Standard deviation of the initial relation rows.
            (default: :obj:`1e-3`)
    """

    complex_rows = True
    r"""Whether rows are [real | imaginary], for the N3 regulariser."""

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        scale: float = 1e-3,
    ) -> None:
        super().__init__()
        if num_relations < 1:
            raise ValueError(
                f'num_relations must be positive, got {num_relations}'
            )
        self.entities = entities
        self.num_relations = num_relations
        self.scale = scale
        self.relations = nn.Parameter(
            torch.empty(2 * num_relations, 2 * entities.hidden_channels)
        )
        nn.init.normal_(self.relations, std=scale)

    @property
    def num_entities(self) -> int:
        return self.entities.num_entities

    @property
    def hidden_channels(self) -> int:
        return self.entities.hidden_channels

    @property
    def is_dot_product(self) -> bool:
        r"""Whether scores are query vectors times entity rows: neither
        :meth:`score_tails` nor the entity module's ``scores`` is overridden.
        """
        return (
            type(self).score_tails is ScoreFunction.score_tails
            and type(self.entities).scores is EntityModule.scores
        )

    def reset_parameters(self) -> None:
        r"""Draw all parameters anew."""
        self.entities.reset_parameters()
        nn.init.normal_(self.relations, std=self.scale)

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        r"""Vectors whose dot product with an entity row is the score.

        Args:
            head: Rows of the head entities.
            rel: Rows of the relation table.

        Shapes:
            - **head, rel, output:** :math:`(B, 2D)`
        """
        raise NotImplementedError

    def query_vectors(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""Query vectors by id, ``[B, 2D]``."""
        rel = self.relations[rel_type]
        return self.query(self.entities.rows(head_index), rel)

    def forward(
        self, head_index: Tensor, rel_type: Tensor, tail_index: Tensor
    ) -> Tensor:
        r"""Scores of triples.

        Shapes:
            - **head_index, rel_type, tail_index, output:** :math:`(B)`
        """
        query = self.query_vectors(head_index, rel_type)
        return (query * self.entities.rows(tail_index)).sum(dim=-1)

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Scores of every entity as the tail of each query.

        Args:
            head_index: Heads.
            rel_type: Relations in :math:`0..2R - 1`.
            entities: A part of the entities. (default: all)
            precision: Of the matrix product. (default: ``'fp32'``)

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **output:** :math:`(B, E)`
        """
        query = self.query_vectors(head_index, rel_type)
        return self.entities.scores(query, entities, precision)

    def logits_and_factors(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        tail_index: Tensor,
        precision: str = 'fp32',
    ) -> tuple[Tensor, Factors]:
        r"""Logits of queries and the rows to regularise, in one pass.

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **tail_index:** :math:`(K)`, tails of these queries
            - **logits:** :math:`(B, E)`
        """
        # One gather for heads and tails: its gradient is a dense [E, 2D].
        rows = self.entities.rows(torch.cat([head_index, tail_index]))
        head, tail = rows.split([head_index.numel(), tail_index.numel()])
        rel = self.relations[rel_type]
        query = self.query(head, rel)
        if type(self).score_tails is ScoreFunction.score_tails:
            logits = self.entities.scores(query, precision=precision)
        else:
            logits = self.score_tails(
                head_index, rel_type, precision=precision
            )
        return logits, Factors(head, rel, tail)

    def as_table(self: Model) -> Model:
        r"""A copy that scores alike from a free table of entity rows.

        A student may be trained with the features inside its entity module
        (:class:`~dsom_pyg.nn.JointEmbedding`); as a table it is
        structure-only, of the size and speed of any other, and needs no
        feature to answer.

        Raises:
            ValueError: Scores are not query vectors times entity rows, see
                :attr:`is_dot_product`.
        """
        if not self.is_dot_product:
            raise ValueError(
                f'the scores of {type(self).__name__} over '
                f'{type(self.entities).__name__} are not products with '
                'entity rows, so no table of rows can take their place'
            )
        table = self.entities.as_table()
        # Neither features nor gradients are to be copied along.
        memo = {id(self.entities): table}
        return copy.deepcopy(self, memo)

    @classmethod
    @torch.no_grad()
    def concatenate(cls: type[Model], models: Sequence[Model]) -> Model:
        r"""One model whose scores are the mean of those of several.

        Its rows are theirs side by side, so its D is the sum of theirs: a
        committee of models that were trained apart answers in one matrix
        product, and can be used wherever one of them can.

        Call it on :class:`ComplEx` or :class:`DistMult`.

        Args:
            models: Of this class, over the same entities, features and
                relations; they may differ in D. Nothing of them is shared
                but the features. The device, whether it is trained further
                (:obj:`requires_grad`) and all else is as in the first.

        Raises:
            ValueError: The models do not fit together; or it is not known
                that their scores can be averaged this way, because their
                class or their entity module is not of this library.
        """
        if not models:
            raise ValueError('need one or more models, got none')
        if cls not in (ComplEx, DistMult):
            raise ValueError(
                f'the scores of {cls.__name__} may not be a sum over '
                'coordinates; call it on ComplEx or DistMult'
            )
        first = models[0]
        for model in models:
            _check_alike(cls, first, model)
        # The features are those of the first one, not a copy.
        features = {id(buffer): buffer for buffer in first.buffers()}
        joined = copy.deepcopy(first, features)
        for module in joined.modules():
            if isinstance(module, EntityModule):
                module.hidden_channels = sum(m.hidden_channels for m in models)
        for path, old in first.named_parameters():
            share = len(models) if path == 'relations' else 1
            rows = [
                model.get_parameter(path).to(old.device) / share
                for model in models
            ]
            owner, _, name = path.rpartition('.')
            new = nn.Parameter(side_by_side(rows), old.requires_grad)
            setattr(joined.get_submodule(owner), name, new)
        return joined

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.entities!r}, '
            f'num_relations={self.num_relations})'
        )


class ComplEx(ScoreFunction):
    r"""`ComplEx <https://arxiv.org/abs/1606.06357>`_ (Trouillon et al.):
    :math:`\mathrm{Re}\langle h, r, \bar t \rangle`, rows [real | imaginary].
    """

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        h_re, h_im = head.chunk(2, dim=-1)
        r_re, r_im = rel.chunk(2, dim=-1)
        return torch.cat(
            [h_re * r_re - h_im * r_im, h_re * r_im + h_im * r_re], dim=-1
        )


class DistMult(ScoreFunction):
    r"""`DistMult <https://arxiv.org/abs/1412.6575>`_ (Yang et al.):
    :math:`\langle h, r, t \rangle` over all :math:`2D` real coordinates.
    """

    complex_rows = False

    def query(self, head: Tensor, rel: Tensor) -> Tensor:
        return head * rel


# Every parameter of these is rows of 2D coordinates.
_BY_COORDINATE = (EntityEmbedding, FeatureProjection, JointEmbedding)


def _check_alike(
    kind: type[ScoreFunction], first: ScoreFunction, other: ScoreFunction
) -> None:
    for module in other.entities.modules():
        inner = type(module)
        if isinstance(module, EntityModule) and inner not in _BY_COORDINATE:
            names = ', '.join(known.__name__ for known in _BY_COORDINATE)
            raise ValueError(
                f'the coordinates of {inner.__name__} may depend on each '
                f'other; concatenate models over {names}'
            )
    if not (
        type(other) is kind
        and [type(m) for m in other.modules()]
        == [type(m) for m in first.modules()]
        and other.num_entities == first.num_entities
        and other.num_relations == first.num_relations
        and other.relations.dtype == first.relations.dtype
        and _buffers_equal(first, other)
    ):
        raise ValueError(
            f'all must be {kind.__name__} models over the same entities, '
            f'features and relations, of one dtype, got {first!r} and '
            f'{other!r}'
        )


def _buffers_equal(one: nn.Module, other: nn.Module) -> bool:
    there = dict(other.named_buffers())
    here = dict(one.named_buffers())
    return here.keys() == there.keys() and all(
        torch.equal(value, there[name].to(value.device))
        for name, value in here.items()
    )
