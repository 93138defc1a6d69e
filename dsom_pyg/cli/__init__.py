"""The command ``dsom-pyg``."""
