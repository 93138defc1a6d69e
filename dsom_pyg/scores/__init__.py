"""Scores of all entities, made in chunks; what losses and rankings read."""

from dsom_pyg.scores.scores import Scores, as_scores, weighted_sum

__all__ = ['Scores', 'as_scores', 'weighted_sum']
