"""Experiments on accuracy: ``python -m experiments NAME``.

A table of the paper is one file in ``experiments/tables``; any other question
is one file in ``experiments/studies``. Such a file declares what is trained on
which datasets, as :class:`~experiments.table.Table` objects in ``TABLES``.
Each run writes one JSON file below ``results``, and ``python -m experiments
page`` makes results/README.md of them.
"""
