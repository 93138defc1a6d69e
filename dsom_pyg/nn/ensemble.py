"""Several teachers side by side."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from dsom_pyg.nn.entity import (
    EntityEmbedding,
    FeatureProjection,
    JointEmbedding,
)
from dsom_pyg.nn.score import ComplEx, ScoreFunction
from dsom_pyg.precision import matmul
from dsom_pyg.query_index import Pairs


def combine(weights: Tensor, logits: Sequence[Tensor]) -> Tensor:
    r"""Weighted sum of teacher logits.

    Args:
        weights: Of each query and teacher.
        logits: Of each teacher.

    Shapes:
        - **weights:** :math:`(B, M)`
        - **logits:** M times :math:`(B, E)`
        - **output:** :math:`(B, E)`
    """
    out = logits[0] * weights[:, 0, None]
    for m in range(1, len(logits)):
        out.addcmul_(logits[m], weights[:, m, None])
    return out


class TeacherEnsemble(nn.Module):
    r"""Teachers of M modalities; nothing is shared between them (Eq. 3).

    Args:
        teachers: A score function for each modality, all over the same
            entities and relations.
    """

    def __init__(self, teachers: Mapping[str, ScoreFunction]) -> None:
        super().__init__()
        sizes = {(t.num_entities, t.num_relations) for t in teachers.values()}
        if len(sizes) != 1:
            raise ValueError(
                'need one or more teachers over the same entities and '
                f'relations, got sizes (E, R) {sorted(sizes)}'
            )
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
        score: type[ScoreFunction] = ComplEx,
        joint: bool = False,
    ) -> 'TeacherEnsemble':
        r"""A structure teacher and one teacher for each feature modality.

        Args:
            features: For each modality its pooled features and which
                entities have them, as
                :func:`~dsom_pyg.graph.pool_features` gives them.
            num_entities: E.
            num_relations: R.
            hidden_channels: D.
            score: Score function class. (default:
                :class:`~dsom_pyg.nn.ComplEx`)
            joint: Add a teacher ``'joint'`` over structure and all features
                at once, which the paper does not have.
                (default: :obj:`False`)
        """
        taken = {'structure', 'joint'} if joint else {'structure'}
        if taken & set(features):
            raise ValueError(
                f'{sorted(taken & set(features))[0]!r} is taken as the name '
                'of a teacher, rename the modality'
            )
        free = EntityEmbedding(num_entities, hidden_channels)
        teachers = {'structure': score(free, num_relations)}
        for name, (x, present) in features.items():
            projected = FeatureProjection(x, present, hidden_channels)
            teachers[name] = score(projected, num_relations)
        if joint:
            together = JointEmbedding(features, hidden_channels)
            teachers['joint'] = score(together, num_relations)
        return cls(teachers)

    @classmethod
    def concatenate(
        cls, ensembles: Sequence['TeacherEnsemble']
    ) -> 'TeacherEnsemble':
        r"""A committee for each modality: one teacher whose logits are the
        mean of those of several ensembles, see
        :meth:`ScoreFunction.concatenate`.

        Args:
            ensembles: Of the same modalities.

        Raises:
            ValueError: Their modalities differ, or their teachers do not fit
                together.
        """
        if not ensembles:
            raise ValueError('need one or more ensembles, got none')
        names = ensembles[0].modalities
        for other in ensembles:
            if other.modalities != names:
                raise ValueError(
                    'the ensembles of a committee must have the same '
                    f'modalities, got {names} and {other.modalities}'
                )
        committees = {}
        for name in names:
            members = [ensemble[name] for ensemble in ensembles]
            committees[name] = type(members[0]).concatenate(members)
        return cls(committees).train(ensembles[0].training)

    @property
    def modalities(self) -> list[str]:
        r"""Names of the teachers, in the order of the axis M."""
        return list(self.teachers)

    def __len__(self) -> int:
        return len(self.teachers)

    def __getitem__(self, modality: str) -> ScoreFunction:
        teacher = self.teachers[modality]
        assert isinstance(teacher, ScoreFunction)
        return teacher

    def __iter__(self) -> Iterator[ScoreFunction]:
        return (self[modality] for modality in self.teachers)

    def forward(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> Tensor:
        r"""Logits of all teachers.

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **output:** :math:`(B, M, E)`
        """
        each = self.each(head_index, rel_type, entities, precision)
        # Stored teacher by teacher, so that stacking copies whole matrices.
        return torch.stack(each).transpose(0, 1)

    def each(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
    ) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``, without the copy
        that stacking costs.
        """
        return [
            teacher.score_tails(head_index, rel_type, entities, precision)
            for teacher in self
        ]

    def combined(
        self,
        head_index: Tensor,
        rel_type: Tensor,
        weights: Tensor,
        entities: slice = slice(None),
        precision: str = 'fp32',
        bases: Tensor | None = None,
    ) -> Tensor:
        r"""Weighted sum of the teachers' logits.

        As long as all teachers are dot products this is one, too: of the
        weighted coordinates of the query with the bases side by side. It
        costs one matrix product, and no teacher's logits are written.

        Args:
            head_index: Heads.
            rel_type: Relations in :math:`0..2R - 1`.
            weights: Of each query and teacher.
            entities: A part of the entities. (default: all)
            precision: Of the matrix product. (default: ``'fp32'``)
            bases: What :meth:`bases` gives, if it is kept.
                (default: made anew)

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **weights:** :math:`(B, M)`
            - **output:** :math:`(B, E)`
        """
        if not self.is_dot_product:
            return combine(
                weights, self.each(head_index, rel_type, entities, precision)
            )
        parts = []
        for m, teacher in enumerate(self):
            query = teacher.query_vectors(head_index, rel_type)
            parts.append(
                teacher.entities.coordinates(query) * weights[:, m, None]
            )
        if bases is None:
            bases = self.bases(precision)
        together = torch.cat(parts, dim=1)
        return matmul(together, bases[entities].t(), precision)

    @property
    def is_dot_product(self) -> bool:
        r"""Whether all teachers are."""
        return all(teacher.is_dot_product for teacher in self)

    @torch.no_grad()
    def bases(self, precision: str = 'fp32') -> Tensor:
        r"""The bases of all teachers side by side, ``[E, sum k]``, in the
        type that products of this precision take.

        Worth keeping as long as the teachers do not change.
        """
        bases = torch.cat([t.entities.basis() for t in self], dim=1)
        return bases.bfloat16() if precision == 'bf16' else bases

    def coordinates(self, head_index: Tensor, rel_type: Tensor) -> Tensor:
        r"""What the logits of each teacher depend on, side by side.

        The logits of teacher m are its part of these, times ``basis()`` of
        its entity module.

        Shapes:
            - **head_index, rel_type:** :math:`(B)`
            - **output:** :math:`(B, \sum_m k_m)`
        """
        parts = [
            teacher.entities.coordinates(
                teacher.query_vectors(head_index, rel_type)
            )
            for teacher in self
        ]
        return torch.cat(parts, dim=-1)

    def available(self, head_index: Tensor) -> Tensor:
        r"""Which teachers know the head: its modality is present.

        Shapes:
            - **head_index:** :math:`(B)`
            - **output:** :math:`(B, M)`, bool
        """
        columns = []
        for teacher in self:
            mask = teacher.entities.available
            if mask is None:
                columns.append(torch.ones_like(head_index, dtype=torch.bool))
            else:
                columns.append(mask[head_index])
        return torch.stack(columns, dim=1)


class TeacherBatch:
    r"""What frozen teachers say on a batch of queries, computed on demand.

    A combiner that decides from query vectors or availability alone never
    pays for the logits, and one that is evaluated on a part of the entities
    never holds all of them.

    Args:
        ensemble: The teachers.
        head: Heads.
        rel: Relations in :math:`0..2R - 1`.
        precision: Of the matrix products. (default: ``'fp32'``)
        seen: Tails that the teachers were trained on, for combiners that
            tell memory from knowledge. (default: not told)
        known: True tails that are no rivals of each other when an answer
            is judged on held-out triples, as in a filtered ranking.
            (default: every other entity is a rival)
        bases: The teachers' bases, if they are kept.
        degree: How often the heads occur in what the teachers were trained
            on, if that is not the whole training split.

    Shapes:
        - **head, rel, degree:** :math:`(B)`
    """

    def __init__(
        self,
        ensemble: TeacherEnsemble,
        head: Tensor,
        rel: Tensor,
        precision: str = 'fp32',
        seen: Pairs | None = None,
        known: Pairs | None = None,
        bases: Tensor | None = None,
        degree: Tensor | None = None,
    ) -> None:
        self.ensemble, self.head, self.rel = ensemble, head, rel
        self.precision, self.seen, self.known = precision, seen, known
        self.bases, self.degree = bases, degree

    def __len__(self) -> int:
        return self.head.numel()

    @cached_property
    def each(self) -> list[Tensor]:
        r"""Logits of each teacher, M times ``[B, E]``, without gradient."""
        with torch.no_grad():
            return self.ensemble.each(
                self.head, self.rel, precision=self.precision
            )

    def combine(self, weights: Tensor) -> Tensor:
        r"""Weighted sum of the teachers' logits, without gradient.

        Shapes:
            - **weights:** :math:`(B, M)`
            - **output:** :math:`(B, E)`
        """
        weights = weights.detach()
        if 'each' in vars(self):  # they are there already
            return combine(weights, self.each)
        with torch.no_grad():
            return self.ensemble.combined(
                self.head,
                self.rel,
                weights,
                precision=self.precision,
                bases=self.bases,
            )

    @cached_property
    def logits(self) -> Tensor:
        r"""Logits ``[B, M, E]``, without gradient."""
        return torch.stack(self.each).transpose(0, 1)

    @cached_property
    def queries(self) -> Tensor:
        r"""Coordinates of the queries, ``[B, sum k]``, without gradient."""
        with torch.no_grad():
            return self.ensemble.coordinates(self.head, self.rel)

    @cached_property
    def available(self) -> Tensor:
        r"""``[B, M]``, bool."""
        return self.ensemble.available(self.head)
