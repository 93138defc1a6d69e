"""Encoders: texts and images to frozen features."""

from dsom_pyg.encoders.base import Encoder
from dsom_pyg.encoders.bert import BERT
from dsom_pyg.encoders.classical import ImageStatistics, TfidfText
from dsom_pyg.encoders.clip import CLIP
from dsom_pyg.encoders.images import UnreadableImage, open_image
from dsom_pyg.encoders.precomputed import Precomputed
from dsom_pyg.encoders.sbert import SBERT
from dsom_pyg.encoders.vit import ViT

__all__ = [
    'BERT',
    'CLIP',
    'SBERT',
    'Encoder',
    'ImageStatistics',
    'Precomputed',
    'TfidfText',
    'UnreadableImage',
    'ViT',
    'open_image',
]
