"""Untrained teachers of a small graph, and what they answer."""

from typing import Any

import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.kg import KG
from dsom_pyg.query_index import Pairs
from dsom_pyg.teachers import Answers, Context, TeacherEnsemble

DATA = FakeMMKG()[0]
GRAPH = KG.of(DATA)
TARGETS = Pairs(torch.tensor([0, 0, 1, 2, 3]), torch.tensor([1, 4, 2, 0, 9]))
# The targets, and others of the same queries.
KNOWN = Pairs(
    torch.tensor([0, 0, 0, 1, 2, 3, 3]), torch.tensor([1, 4, 7, 2, 0, 9, 3])
)
SEEN = Pairs(torch.tensor([0, 0, 2]), torch.tensor([3, 8, 5]))


def ensemble(seed: int = 0, channels: int = 4) -> TeacherEnsemble:
    torch.manual_seed(seed)
    teachers = TeacherEnsemble.from_features(
        GRAPH.features, GRAPH.num_entities, GRAPH.num_relations, channels
    )
    for name in teachers.modalities:
        torch.nn.init.normal_(teachers[name].relations)
    torch.nn.init.normal_(teachers['structure'].entities.weight)
    return teachers


def answers(teachers: TeacherEnsemble, **context: Any) -> Answers:
    # Entity 0 has everything, 1 no image, 2 no text, 3 neither.
    head, rel = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3, 5, 7])
    return Answers(teachers, head, rel, context=Context(**context))


def by_teacher(answers: Answers) -> torch.Tensor:
    """Logits of all teachers, [B, M, E]."""
    return torch.stack(answers.each, dim=1)
