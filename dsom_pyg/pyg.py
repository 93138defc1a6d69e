"""What is used of PyG, imported in silence.

PyG compiles parts of itself in a way that torch calls deprecated, at every
import. Who uses this package can do nothing about it.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings('ignore', r'`torch\.jit\.')
    from torch_geometric.data import HeteroData as HeteroData
    from torch_geometric.data import InMemoryDataset as InMemoryDataset
    from torch_geometric.utils import scatter as scatter
    from torch_geometric.utils import segment as segment
    from torch_geometric.utils import softmax as softmax
