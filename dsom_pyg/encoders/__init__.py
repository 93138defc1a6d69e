"""Encoders: texts and images to frozen features."""

from dsom_pyg.encoders.base import Encoder
from dsom_pyg.encoders.classical import ImageStatistics, TfidfText
from dsom_pyg.encoders.sbert import SBERT

__all__ = ['SBERT', 'Encoder', 'ImageStatistics', 'TfidfText']
