r"""Graphs of your own: from a folder, pandas or networkx.

A reader (``layouts/``, ``delimited``, ``rdf``, ``frames``) makes a
:class:`~.table.Table` of its source, in labels.
:func:`~.build.build_graph` gives them ids and draws splits.
"""
