"""Training: batches, the loop, and the tasks it runs."""

from dsom_pyg.training.batches import QueryLoader
from dsom_pyg.training.fit import fit
from dsom_pyg.training.folds import (
    Fold,
    KFolds,
    OneFold,
    OnValidation,
    PolicyTask,
    held_graph,
)
from dsom_pyg.training.loop import (
    Adagrad,
    Adam,
    Adam8bit,
    FitResult,
    Loop,
    RowwiseAdagrad,
)
from dsom_pyg.training.progress import Progress
from dsom_pyg.training.run import Run, drawn_with
from dsom_pyg.training.sampled import Sampled
from dsom_pyg.training.task import Task
from dsom_pyg.training.tasks import (
    Distill,
    DistillTask,
    ModelTask,
    TeachersTask,
)

__all__ = [
    'Adagrad',
    'Adam',
    'Adam8bit',
    'Distill',
    'DistillTask',
    'FitResult',
    'Fold',
    'KFolds',
    'Loop',
    'ModelTask',
    'OnValidation',
    'OneFold',
    'PolicyTask',
    'Progress',
    'QueryLoader',
    'RowwiseAdagrad',
    'Run',
    'Sampled',
    'Task',
    'TeachersTask',
    'drawn_with',
    'fit',
    'held_graph',
]
