"""Training: batches, the loop, and the tasks it runs."""

from dsom_pyg.training.batches import QueryBatch, QueryLoader
from dsom_pyg.training.config import FitConfig, FitResult
from dsom_pyg.training.fit import Task, fit, train_index
from dsom_pyg.training.held_out import (
    Fold,
    PolicyTask,
    cross_fit,
    held_out_data,
)
from dsom_pyg.training.recipe import Trained, train_dsom
from dsom_pyg.training.recipe_config import RecipeConfig
from dsom_pyg.training.stages import (
    build_teachers,
    fit_folds,
    fit_policy,
    fit_teachers,
    fit_weights,
    policy_loop,
    start_student,
    teacher_n3,
)
from dsom_pyg.training.tasks import (
    DistillConfig,
    DistillTask,
    ModelTask,
    TeachersTask,
    model_step,
)

__all__ = [
    'DistillConfig',
    'DistillTask',
    'FitConfig',
    'FitResult',
    'Fold',
    'ModelTask',
    'PolicyTask',
    'QueryBatch',
    'QueryLoader',
    'RecipeConfig',
    'Task',
    'TeachersTask',
    'Trained',
    'build_teachers',
    'cross_fit',
    'fit',
    'fit_folds',
    'fit_policy',
    'fit_teachers',
    'fit_weights',
    'held_out_data',
    'model_step',
    'policy_loop',
    'start_student',
    'teacher_n3',
    'train_dsom',
    'train_index',
]
