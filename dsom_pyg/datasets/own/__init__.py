"""Graphs of your own: from a folder, pandas or networkx."""
