"""Training: batches, the loop, and the tasks it runs."""

from dsom_pyg.training.batches import QueryBatch, QueryLoader
from dsom_pyg.training.fit import (
    FitConfig,
    FitResult,
    Task,
    fit,
    train_index,
)
from dsom_pyg.training.tasks import (
    DistillConfig,
    DistillTask,
    ModelTask,
    PolicyTask,
    TeachersTask,
    model_step,
)

__all__ = [
    'DistillConfig',
    'DistillTask',
    'FitConfig',
    'FitResult',
    'ModelTask',
    'PolicyTask',
    'QueryBatch',
    'QueryLoader',
    'Task',
    'TeachersTask',
    'fit',
    'model_step',
    'train_index',
]
