"""Reinforced multimodal distillation for knowledge graph completion."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsom_pyg.completion import Completer
    from dsom_pyg.dsom import DSoM, Recipe, train_dsom
    from dsom_pyg.evaluation import evaluate, predict_tails
    from dsom_pyg.kg import KG

__version__ = '0.2.0'

__all__ = [
    'Completer',
    'DSoM',
    'KG',
    'Recipe',
    'evaluate',
    'predict_tails',
    'train_dsom',
]

# Imported when asked for: torch alone takes seconds.
_HOME = {
    'Completer': 'dsom_pyg.completion',
    'DSoM': 'dsom_pyg.dsom',
    'KG': 'dsom_pyg.kg',
    'Recipe': 'dsom_pyg.dsom',
    'evaluate': 'dsom_pyg.evaluation',
    'predict_tails': 'dsom_pyg.evaluation',
    'train_dsom': 'dsom_pyg.dsom',
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
