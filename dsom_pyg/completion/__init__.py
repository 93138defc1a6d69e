"""Trained models that are kept and asked by name."""

from dsom_pyg.completion.calibration import Calibration, Confidences
from dsom_pyg.completion.completer import Completer
from dsom_pyg.completion.ranges import Ranges
from dsom_pyg.completion.results import (
    Answer,
    Link,
    Proposal,
    Rows,
    ScoredTriple,
    Suspect,
)
from dsom_pyg.completion.review import Decision, Review
from dsom_pyg.completion.store import ModelFolderError, Parts
from dsom_pyg.completion.suspects import Suspicion
from dsom_pyg.completion.vocabulary import UnknownNameError, Vocabulary

__all__ = [
    'Answer',
    'Calibration',
    'Completer',
    'Confidences',
    'Decision',
    'Link',
    'ModelFolderError',
    'Parts',
    'Proposal',
    'Ranges',
    'Review',
    'Rows',
    'ScoredTriple',
    'Suspect',
    'Suspicion',
    'UnknownNameError',
    'Vocabulary',
]
