r"""Graphs of your own: from a folder, pandas or networkx.

Rows flow one way. A reader makes a :class:`~.table.Table` of its source, in
labels; :func:`~.build.build_graph` gives them ids and draws splits.

- readers: ``layouts/`` (how a folder is laid out), ``delimited`` (tables and
  JSON lines), ``rdf`` (N-Triples), ``frames`` (pandas, networkx)
- ``columns``: what columns are called, and what a row says by them
- ``vocabulary``: labels and their ids
- datasets: ``base`` (all own graphs), ``folder`` (:class:`MKGFolder`)

A further layout of folders is one file in ``layouts/``.
"""
