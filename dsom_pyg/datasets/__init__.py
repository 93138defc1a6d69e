r"""Datasets: benchmarks, a bundled graph, your own graphs, one for tests."""

from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.datasets.benchmarks.db15k import DB15K
from dsom_pyg.datasets.benchmarks.fb15k_237 import FB15k_237
from dsom_pyg.datasets.benchmarks.mkg import MKG_W, MKG_Y
from dsom_pyg.datasets.benchmarks.wordnet import WN9, WN18
from dsom_pyg.datasets.countries import Countries
from dsom_pyg.datasets.fake import FakeMMKG
from dsom_pyg.datasets.features.files import read_features, save_features
from dsom_pyg.datasets.own.base import LabeledGraph
from dsom_pyg.datasets.own.folder import MKGFolder
from dsom_pyg.datasets.own.frames import (
    from_networkx,
    from_pandas,
    to_networkx,
)

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
