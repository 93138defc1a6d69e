"""Ratios of speed and memory: ``python -m benchmarks.NAME``.

Each script writes one file in ``results/benchmarks``. What accuracy a model
reaches is measured by ``python -m experiments``.
"""
