r"""From texts, images and feature files to node types of a graph."""
