r"""Datasets: benchmarks, a bundled graph, your own graphs, one for tests."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsom_pyg.datasets.base import MultimodalDataset, RawGraph
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
    'RawGraph',
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

# Imported when asked for: what only wants a name or an error out of here does
# not wait for PyG.
_HOME = {
    'MultimodalDataset': 'dsom_pyg.datasets.base',
    'RawGraph': 'dsom_pyg.datasets.base',
    'DB15K': 'dsom_pyg.datasets.benchmarks.db15k',
    'FB15k_237': 'dsom_pyg.datasets.benchmarks.fb15k_237',
    'MKG_W': 'dsom_pyg.datasets.benchmarks.mkg',
    'MKG_Y': 'dsom_pyg.datasets.benchmarks.mkg',
    'WN9': 'dsom_pyg.datasets.benchmarks.wordnet',
    'WN18': 'dsom_pyg.datasets.benchmarks.wordnet',
    'Countries': 'dsom_pyg.datasets.countries',
    'FakeMMKG': 'dsom_pyg.datasets.fake',
    'read_features': 'dsom_pyg.datasets.features.files',
    'save_features': 'dsom_pyg.datasets.features.files',
    'LabeledGraph': 'dsom_pyg.datasets.own.base',
    'MKGFolder': 'dsom_pyg.datasets.own.folder',
    'from_networkx': 'dsom_pyg.datasets.own.frames',
    'from_pandas': 'dsom_pyg.datasets.own.frames',
    'to_networkx': 'dsom_pyg.datasets.own.frames',
}


# Those that are downloaded from their public addresses.
BENCHMARKS = tuple(
    name for name, home in _HOME.items() if '.benchmarks.' in home
)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
