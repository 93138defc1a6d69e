"""Models whose score is a dot product, and all that dot products allow."""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dsom_pyg.losses import n3
from dsom_pyg.models.base import Model
from dsom_pyg.models.entity import EntityModule, side_by_side
from dsom_pyg.models.kge import KGE, Step
from dsom_pyg.models.objectives import CROSS_ENTROPY, Objective
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import QueryBatch
from dsom_pyg.scores import Scores
from dsom_pyg.scores.sources import KEEP
from dsom_pyg.scores.tables import Basis, address, product

Kind = TypeVar('Kind', bound='Bilinear')


# What makes scores, but for a query.
FIXED = (
    *('score_tails', 'scores', 'scores_of', 'own_scores', 'forward'),
    *('query_vectors', 'coordinates', 'encoded', 'loss'),
    *('compare', 'compare_all'),
)


class Bilinear(KGE):
    r"""Base class: a query vector times the matrix of all entities.

    A subclass gives :meth:`query`. Nothing else that makes scores can be
    overridden: what is no dot product is a :class:`~dsom_pyg.models.KGE`.

    Beside the objective the loss has N3 (`Lacroix et al.
    <https://arxiv.org/abs/1806.07297>`_) of heads, relations and tails.

    Args:
        entities: Gives the entity matrix ``[E, 2D]``.
        num_relations: R.
        n3: Weight of the N3 regulariser.
        scale, objective, reciprocals: See :class:`~dsom_pyg.models.KGE`.
    """

    complex_rows = True
    r"""Whether rows are [real | imaginary], for the N3 regulariser."""

    by_coordinate = False
    r"""Whether scores are a sum over coordinates, each with its own part of
    every row. A class says it of itself, not of its subclasses.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in FIXED:
            if getattr(cls, name) is not getattr(Bilinear, name):
                raise TypeError(
                    f'{cls.__name__} overrides {name}, so it may be trained '
                    'on other scores than it gives; derive it from '
                    'dsom_pyg.models.KGE or Model'
                )

    def __init__(
        self,
        entities: EntityModule,
        num_relations: int,
        n3: float = 0.01,
        scale: float = 1e-3,
        objective: Objective = CROSS_ENTROPY,
        reciprocals: bool = True,
    ) -> None:
        super().__init__(
            entities,
            num_relations,
            scale=scale,
            objective=objective,
            reciprocals=reciprocals,
        )
        if not n3 >= 0:
            raise ValueError(f'n3 must not be negative, got {n3}')
        self.n3 = n3

    def compare(self, query: Tensor, rows: Tensor) -> Tensor:
        return (query * rows).sum(dim=-1)

    def compare_all(self, query: Tensor, rows: Tensor) -> Tensor:
        return query @ rows.t()

    def pair_width(self) -> int:
        return 1

    def query_vectors(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""Query vectors by id, ``[B, 2D]``."""
        rel = self.relation_rows(rel_type)
        head = self.entities.heads(head_index, rel_type)
        return self.queries(head, rel_type, rel)

    def coordinates(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""What the scores of a query depend on, ``[B, k]``: times the basis
        of the entity module they are the scores.
        """
        query = self.query_vectors(head_index, rel_type)
        return self.entities.coordinates(query)

    def forward(
        self, head_index: Tensor, rel_type: Tensor, tail_index: Tensor
    ) -> Tensor:
        self.check_triples(head_index, rel_type, tail_index)
        query = self.query_vectors(head_index, rel_type)
        return self.compare(query, self.entities.rows(tail_index))

    def score_tails(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        query = self.query_vectors(head_index, rel_type)
        return _scores(self.entities, query, entities, precision)

    def scores(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        precision: str = 'fp32',
        tables: Sequence[Basis] | None = None,
    ) -> Scores:
        query = self.query_vectors(head_index, rel_type)
        if tables is None:
            return Scores(self.entities.terms(query), precision)
        terms = side_by_side(self.entities.coordinates(query), tables)
        return Scores(terms, precision)

    def scores_of(
        self,
        query: Tensor,
        entities: EntityModule,
        precision: str,
        batch: QueryBatch | None = None,
    ) -> Scores:
        candidates = None if batch is None else batch.candidates
        return Scores(entities.terms(query), precision, candidates)

    @torch.no_grad()
    def tables(self, precision: str) -> list[Basis]:
        tables = self.entities.tables()
        if precision != 'bf16':
            return tables
        # Features may be mapped from a file, or on the host: a cast of them
        # would take what that saves. Chunks of them are cast one by one.
        large = {
            x.data_ptr()
            for x in self.entities.buffers()
            if x.numel() > KEEP or x.device != self.relations.device
        }
        return [
            table if address(table) in large else table.to(torch.bfloat16)
            for table in tables
        ]

    def own_scores(
        self, head_index: Tensor, rel_type: Tensor
    ) -> tuple[Tensor, Shard] | None:
        query = self.query_vectors(head_index, rel_type)
        terms = self.entities.terms(query)
        return Scores([(x.detach(), basis) for x, basis in terms]).own()

    def loss(self, batch: QueryBatch, precision: str) -> dict[str, Tensor]:
        return self.scores_and_loss(batch, precision)[1]

    def penalties(self, step: Step) -> dict[str, Tensor]:
        # Head and relation rows count once for each tail of their query, so
        # that a batch of queries equals the batch of its triples.
        count = step.batch.query_weights().to(step.query.dtype)
        cubes = (
            n3(step.head, count, self.complex_rows)
            + n3(step.rel, count, self.complex_rows)
            + n3(step.tail, step.weights, self.complex_rows)
        )
        return {'n3': self.n3 * cubes / count.sum()}


def _scores(
    entities: EntityModule, query: Tensor, part: slice, precision: str
) -> Tensor:
    # Dot products of query vectors [B, 2D] with a part of the entity rows.
    terms = entities.terms(query)
    scores, *others = (product(*term, part, precision) for term in terms)
    for other in others:
        # In place: no gradient looks back at a product.
        scores.add_(other)
    return scores


@torch.no_grad()
def concatenate(models: Sequence[Kind]) -> Kind:
    r"""One model whose scores are the mean of those of several.

    They are of one class, over the same entities, features and relations, and
    may differ in D. Its rows are theirs side by side, so its D is the sum of
    theirs, and it answers in one matrix product. Nothing is shared but the
    features; device, :obj:`requires_grad` and all else is as in the first.

    Raises:
        ValueError: The models do not fit together; or their class, or that
            of their entity module, does not say that it works coordinate by
            coordinate (``by_coordinate``).
    """
    if not models:
        raise ValueError('need one or more models, got none')
    first = models[0]
    for model in models:
        _check_alike(first, model)
    # The features are those of the first one, not a copy.
    features = {id(buffer): buffer for buffer in first.buffers()}
    joined = copy.deepcopy(first, features)
    for module in joined.modules():
        if isinstance(module, EntityModule):
            module.hidden_channels = sum(m.hidden_channels for m in models)
    for path, old in first.named_parameters():
        share = len(models) if path == 'relations' else 1
        rows = [m.get_parameter(path).to(old.device) / share for m in models]
        # The real parts of all, then their imaginary ones.
        halves = zip(*(row.chunk(2, dim=-1) for row in rows), strict=True)
        new = torch.cat([part for half in halves for part in half], dim=-1)
        owner, _, name = path.rpartition('.')
        parameter = nn.Parameter(new, old.requires_grad)
        setattr(joined.get_submodule(owner), name, parameter)
    return joined


def check_by_coordinate(model: Model) -> None:
    r"""Raise :class:`ValueError` unless such models can be put side by side,
    see :func:`concatenate`.
    """
    for module in model.modules():
        if not isinstance(module, Bilinear | EntityModule):
            continue
        if not vars(type(module)).get('by_coordinate', False):
            raise ValueError(
                f'the coordinates of {type(module).__name__} may depend on '
                'each other, so models cannot be put side by side; a class '
                'whose do not says by_coordinate = True'
            )


def _check_alike(first: Model, other: Model) -> None:
    check_by_coordinate(other)
    if not (
        isinstance(first, Bilinear)
        and isinstance(other, Bilinear)
        and [type(m) for m in other.modules()]
        == [type(m) for m in first.modules()]
        and other.num_entities == first.num_entities
        and other.num_relations == first.num_relations
        and other.relations.dtype == first.relations.dtype
        and len(other.relations) == len(first.relations)
        and _buffers_equal(first, other)
    ):
        raise ValueError(
            'need bilinear models of one class over the same entities, '
            f'features and relations, of one dtype, got {first!r} and '
            f'{other!r}'
        )


def _buffers_equal(one: nn.Module, other: nn.Module) -> bool:
    here, there = dict(one.named_buffers()), dict(other.named_buffers())
    return here.keys() == there.keys() and all(
        torch.equal(x, there[name].to(x.device)) for name, x in here.items()
    )
