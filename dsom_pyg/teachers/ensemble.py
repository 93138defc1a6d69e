"""Several teachers side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from dsom_pyg.graph import check_queries, check_sizes
from dsom_pyg.losses import Scores
from dsom_pyg.losses.tables import Basis, product
from dsom_pyg.models import (
    Bilinear,
    ComplEx,
    EntityEmbedding,
    EntityModule,
    FeatureProjection,
    JointEmbedding,
    Model,
    concatenate,
)
from dsom_pyg.models.entity import side_by_side
from dsom_pyg.query_index import Candidates

# From an entity module and R to a model.
ModelFactory = Callable[[EntityModule, int], Model]


def weighted_sum(weights: Tensor, logits: Sequence[Tensor]) -> Tensor:
    r"""Weighted sum ``[B, E]`` of the logits of M teachers, each ``[B, E]``,
    under weights ``[B, M]`` (Eq. 7).
    """
    _check_width(weights, len(logits))
    out = logits[0] * weights[:, 0, None]
    for m in range(1, len(logits)):
        out.addcmul_(logits[m], weights[:, m, None])
    return out


def _check_width(weights: Tensor, num_teachers: int) -> None:
    if weights.size(1) != num_teachers:
        raise ValueError(
            f'got weights of {weights.size(1)} teachers for {num_teachers}'
        )


class TeacherEnsemble(nn.Module):
    r"""Teachers of M modalities; nothing is shared between them (Eq. 3).

    Args:
        teachers: A model for each modality, all over the same entities and
            relations.

    Raises:
        ValueError: There is no teacher, they are for different numbers of
            entities or relations, or a name is none that torch can hold.
    """

    def __init__(self, teachers: Mapping[str, Model]) -> None:
        super().__init__()
        if not teachers:
            raise ValueError('need one or more teachers, got none')
        check_sizes(**teachers)
        self.teachers = nn.ModuleDict()
        for name, teacher in teachers.items():
            if not name or '.' in name or hasattr(self.teachers, name):
                raise ValueError(
                    f'torch cannot hold a module called {name!r}, rename the '
                    'modality'
                )
            self.teachers[name] = teacher

    @classmethod
    def from_features(
        cls,
        features: Mapping[str, tuple[Tensor, Tensor]],
        num_entities: int,
        num_relations: int,
        hidden_channels: int,
        structure: ModelFactory = ComplEx,
        feature: ModelFactory = ComplEx,
        joint: bool = False,
    ) -> 'TeacherEnsemble':
        r"""A structure teacher and one teacher for each feature modality.

        Args:
            features: For each modality its pooled features and which
                entities have them, see :attr:`~dsom_pyg.kg.KG.features`.
            num_entities: E.
            num_relations: R.
            hidden_channels: D.
            structure: Makes the teachers that have a free entity table,
                structure and joint, from an entity module and R.
            feature: Makes the others.
            joint: Add a teacher ``'joint'`` over structure and all features
                at once, which the paper does not have.
        """
        taken = {'structure', 'joint'} if joint else {'structure'}
        if taken & set(features):
            raise ValueError(
                f'{sorted(taken & set(features))[0]!r} is taken as the name '
                'of a teacher, rename the modality'
            )
        free = EntityEmbedding(num_entities, hidden_channels)
        teachers = {'structure': structure(free, num_relations)}
        for name, (x, present) in features.items():
            projected = FeatureProjection(x, present, hidden_channels)
            teachers[name] = feature(projected, num_relations)
        if joint:
            together = JointEmbedding(features, hidden_channels)
            teachers['joint'] = structure(together, num_relations)
        return cls(teachers)

    @classmethod
    def concatenate(
        cls, ensembles: Sequence['TeacherEnsemble']
    ) -> 'TeacherEnsemble':
        r"""A committee for each modality, see
        :func:`~dsom_pyg.models.concatenate`: one teacher whose logits are the
        mean of those of several ensembles. A single one stays as it is.

        Raises:
            ValueError: Their modalities differ, or their teachers do not fit
                together.
        """
        if not ensembles:
            raise ValueError('need one or more ensembles, got none')
        first, *others = ensembles
        if not others:
            return first
        names = first.modalities
        for other in others:
            if other.modalities != names:
                raise ValueError(
                    'the ensembles of a committee must have the same '
                    f'modalities, got {names} and {other.modalities}'
                )
        committees: dict[str, Model] = {}
        for name in names:
            teachers = [ensemble[name] for ensemble in ensembles]
            members = [t for t in teachers if isinstance(t, Bilinear)]
            if len(members) < len(teachers):
                raise ValueError(
                    f'the teachers of {name!r} are no bilinear models, so '
                    'several of them cannot answer as one'
                )
            committees[name] = concatenate(members)
        return cls(committees).train(first.training)

    @property
    def modalities(self) -> list[str]:
        r"""Names of the teachers, in the order of the axis M."""
        return list(self.teachers)

    @property
    def num_entities(self) -> int:
        r"""E."""
        return next(iter(self)).num_entities

    @property
    def num_relations(self) -> int:
        r"""R."""
        return next(iter(self)).num_relations

    @property
    def bilinear(self) -> list[Bilinear] | None:
        r"""The teachers, if all of them are dot products."""
        found = [t for t in self if isinstance(t, Bilinear)]
        return found if len(found) == len(self) else None

    def __len__(self) -> int:
        return len(self.teachers)

    def __getitem__(self, modality: str) -> Model:
        teacher = self.teachers[modality]
        assert isinstance(teacher, Model)
        return teacher

    def __iter__(self) -> Iterator[Model]:
        return (self[modality] for modality in self.teachers)

    def forward(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""Logits of all teachers, ``[B, M, E]``.

        Raises:
            ValueError: An id is out of range.
        """
        sizes = self.num_entities, self.num_relations
        check_queries(head_index, rel_type, *sizes)
        return torch.stack(self.each(head_index, rel_type), dim=1)

    def each(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``."""
        return [
            teacher.score_tails(head_index, rel_type, entities, precision)
            for teacher in self
        ]

    def scores(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        precision: str = 'fp32',
        bases: Sequence[Sequence[Basis]] | None = None,
        candidates: Candidates | None = None,
    ) -> Scores:
        r"""Weighted sum of the teachers' logits (Eq. 7), in chunks.

        If all teachers are dot products no teacher's logits are written:
        weights multiply the coordinates of the query.

        Args:
            head_index: Heads, ``[B]``.
            rel_type: Relations, ``[B]``.
            weights: Of the teachers, ``[B, M]``.
            precision: Of the products.
            bases: What :meth:`bases` gave.
            candidates: Of these entities alone, see
                :class:`~dsom_pyg.losses.Scores`.

        Raises:
            ValueError: There are candidates, and a teacher is no dot product.
        """
        terms = self._terms(head_index, rel_type, weights, bases)
        if terms is None and candidates is not None:
            raise ValueError(
                'teachers that are no dot products cannot score sampled '
                'entities; leave Loop(sampled=...) out'
            )
        if terms is None:
            each = self.each(head_index, rel_type, precision=precision)
            return Scores.of(weighted_sum(weights, each))
        return Scores(terms, precision, candidates)

    def combined(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""A part of :meth:`scores` as a matrix.

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **weights:** :math:`(B, M)`
            - **output:** :math:`(B, E)`
        """
        terms = self._terms(head_index, rel_type, weights)
        if terms is None:
            each = self.each(head_index, rel_type, entities, precision)
            return weighted_sum(weights, each)
        out, *others = (product(*term, entities, precision) for term in terms)
        for other in others:
            out.add_(other)
        return out

    def _terms(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        bases: Sequence[Sequence[Basis]] | None = None,
    ) -> list[tuple[Tensor, Basis]] | None:
        _check_width(weights, len(self))
        teachers = self.bilinear
        if teachers is None:
            return None
        if bases is None:
            bases = self.bases()
        assert bases is not None
        terms: list[tuple[Tensor, Basis]] = []
        for m, (teacher, tables) in enumerate(
            zip(teachers, bases, strict=True)
        ):
            part = teacher.coordinates(head_index, rel_type)
            terms += side_by_side(part * weights[:, m, None], tables)
        return terms

    @torch.no_grad()
    def bases(self, precision: str = 'fp32') -> list[list[Basis]] | None:
        r"""The basis ``[E, k]`` of each teacher, in parts that lie side by
        side and in the type that products of this precision take;
        :obj:`None` if they are no dot products. Worth keeping as long as the
        teachers do not change.
        """
        teachers = self.bilinear
        if teachers is None:
            return None
        bases = [teacher.entities.tables() for teacher in teachers]
        if precision == 'bf16':
            bases = [[x.to(torch.bfloat16) for x in each] for each in bases]
        return bases

    def available(self, head_index: Tensor) -> Tensor:
        r"""Which teachers know heads ``[B]``, bool ``[B, M]``."""
        everyone = torch.ones_like(head_index, dtype=torch.bool)
        masks = [teacher.available for teacher in self]
        columns = [everyone if m is None else m[head_index] for m in masks]
        return torch.stack(columns, dim=1)
