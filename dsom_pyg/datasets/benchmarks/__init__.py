r"""Public benchmarks, one small class each."""
