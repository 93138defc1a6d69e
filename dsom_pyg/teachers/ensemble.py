"""Several teachers side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from dsom_pyg.graph import check_queries, check_sizes
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
from dsom_pyg.models.bilinear import check_by_coordinate
from dsom_pyg.scores import Scores, weighted_sum
from dsom_pyg.scores.tables import Basis

# From an entity module and R to a model.
ModelFactory = Callable[[EntityModule, int], Model]


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
        near: Callable[[EntityModule], EntityModule] | None = None,
        feature_channels: int | None = None,
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
            near: What teachers with features see of a head beside its row,
                see :class:`~dsom_pyg.models.OneHop`.
            feature_channels: D of the teachers of one modality. (default: as
                the others)
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
            width = feature_channels or hidden_channels
            projected = FeatureProjection(x, present, width)
            rows = near(projected) if near else projected
            teachers[name] = feature(rows, num_relations)
        if joint:
            together = JointEmbedding(features, hidden_channels)
            rows = near(together) if near else together
            teachers['joint'] = structure(rows, num_relations)
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
            committees[name] = concatenate(
                [_bilinear(name, teacher) for teacher in teachers]
            )
        return cls(committees).train(first.training)

    def check_committee(self) -> None:
        r"""Raise :class:`ValueError` unless several such teachers can answer
        as one, see :meth:`concatenate`.
        """
        for name in self.modalities:
            check_by_coordinate(_bilinear(name, self[name]))

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

    def streams(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        precision: str = 'fp32',
        tables: Sequence[Sequence[Basis] | None] | None = None,
    ) -> list[Scores]:
        r"""The same logits, which need not be held at once, without gradient.

        Args:
            head_index: Heads, ``[B]``.
            rel_type: Relations, ``[B]``.
            precision: Of the products.
            tables: What :meth:`tables` gave.
        """
        words = head_index, rel_type, precision
        kept = tables or [None] * len(self)
        out = [
            teacher.scores(*words, known).detach()
            for teacher, known in zip(self, kept, strict=True)
        ]
        # Where processes share entities, some teachers may be whole in each.
        shared = [each for each in out if each.source.shard is not None]
        return [each.beside(shared[0]) for each in out] if shared else out

    def scores(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        precision: str = 'fp32',
        tables: Sequence[Sequence[Basis] | None] | None = None,
    ) -> Scores:
        r"""Weighted sum of the teachers' logits (Eq. 7), in chunks.

        No logits of a teacher that is a dot product are written: weights
        multiply the coordinates of the query.

        Args:
            head_index: Heads, ``[B]``.
            rel_type: Relations, ``[B]``.
            weights: Of the teachers, ``[B, M]``.
            precision: Of the products.
            tables: What :meth:`tables` gave.
        """
        words = head_index, rel_type, precision, tables
        return weighted_sum(weights, self.streams(*words), again=False)

    def combined(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""A part of :meth:`scores` as a matrix, without gradient.

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **weights:** :math:`(B, M)`
            - **output:** :math:`(B, E)`
        """
        words = head_index, rel_type, weights, precision
        return self.scores(*words).part(entities)

    def tables(self, precision: str = 'fp32') -> list[list[Basis] | None]:
        r"""What is worth keeping of each teacher as long as it does not
        change, see :meth:`Model.tables <dsom_pyg.models.Model.tables>`.
        """
        return [teacher.tables(precision) for teacher in self]

    def available(self, head_index: Tensor) -> Tensor:
        r"""Which teachers know heads ``[B]``, bool ``[B, M]``."""
        everyone = torch.ones_like(head_index, dtype=torch.bool)
        masks = [teacher.available for teacher in self]
        columns = [everyone if m is None else m[head_index] for m in masks]
        return torch.stack(columns, dim=1)


def _bilinear(name: str, teacher: Model) -> Bilinear:
    if not isinstance(teacher, Bilinear):
        raise ValueError(
            f'the teachers of {name!r} are no bilinear models, so several of '
            'them cannot answer as one'
        )
    return teacher
