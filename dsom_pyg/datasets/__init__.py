r"""Datasets: benchmarks, the bundled graph, one's own, one for tests."""

from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.datasets.convert import from_networkx, from_pandas, to_networkx
from dsom_pyg.datasets.countries import Countries
from dsom_pyg.datasets.db15k import DB15K
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.datasets.fb15k_237 import FB15k_237
from dsom_pyg.datasets.feature_files import read_features, save_features
from dsom_pyg.datasets.folder import MKGFolder
from dsom_pyg.datasets.mkg_w import MKG_W
from dsom_pyg.datasets.mkg_y import MKG_Y
from dsom_pyg.datasets.own import LabeledGraph
from dsom_pyg.datasets.wn9 import WN9
from dsom_pyg.datasets.wn18 import WN18

__all__ = [
    'MultimodalDataset',
    'DB15K',
    'MKG_W',
    'MKG_Y',
    'FB15k_237',
    'WN18',
    'WN9',
    'Countries',
    'MKGFolder',
    'LabeledGraph',
    'FakeMMKG',
    'from_networkx',
    'from_pandas',
    'to_networkx',
    'read_features',
    'save_features',
]
