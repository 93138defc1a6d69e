"""PyG's scatter ops, by torch-scatter where that is installed.

They are imported when they are used: PyG takes seconds, and who only asks a
trained model needs none of it.
"""

from typing import Any

from torch import Tensor


def scatter(*words: Any, **options: Any) -> Tensor:
    r"""See :func:`torch_geometric.utils.scatter`."""
    from dsom_pyg.pyg import scatter

    return scatter(*words, **options)


def segment(*words: Any, **options: Any) -> Tensor:
    r"""See :func:`torch_geometric.utils.segment`."""
    from dsom_pyg.pyg import segment

    return segment(*words, **options)


def softmax(*words: Any, **options: Any) -> Tensor:
    r"""See :func:`torch_geometric.utils.softmax`."""
    from dsom_pyg.pyg import softmax

    return softmax(*words, **options)
