"""Datasets and encoders by the words of a command line."""

import difflib
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dsom_pyg import datasets
from dsom_pyg.audit import AuditReport, audit, audit_folder
from dsom_pyg.datasets import MKGFolder
from dsom_pyg.datasets.base import MultimodalDataset
from dsom_pyg.encoders import (
    BERT,
    CLIP,
    SBERT,
    Encoder,
    ImageStatistics,
    TfidfText,
    ViT,
)
from dsom_pyg.processes import check_device

BENCHMARKS = ('Countries', *datasets.BENCHMARKS)
# Encoders by modality and word; what follows a colon goes to the encoder.
ENCODERS: dict[str, dict[str, Any]] = {
    'text': {
        'bert': BERT,
        'clip': partial(CLIP, tower='text'),
        'sbert': SBERT,
        'tfidf': TfidfText,
    },
    'image': {
        'clip': partial(CLIP, tower='image'),
        'statistics': ImageStatistics,
        'vit': ViT,
    },
}
# Those that need no network, no device and little time.
LIGHT = (TfidfText, ImageStatistics)


def device_of(word: str) -> str:
    r"""The device that ``'auto'`` stands for; other words stay.

    Raises:
        ValueError: There is no such device.
    """
    if word != 'auto':
        check_device(word)
        return word
    if torch.cuda.is_available():
        return 'cuda'
    return 'mps' if torch.backends.mps.is_available() else 'cpu'


def features_of(words: Iterable[str]) -> dict[str, str]:
    r"""Files of features by modality, from words such as ``audio=a.npy``.

    Raises:
        ValueError: A word is none such.
    """
    out = {}
    for word in words:
        name, _, file = word.partition('=')
        if not name or not file:
            raise ValueError(f'{word!r} names no features; write NAME=FILE')
        out[name] = file
    return out


def encoder_of(
    modality: str, word: str, device: str = 'cpu'
) -> Encoder | None:
    r"""An encoder by a word such as ``'tfidf'``, ``'none'`` or
    ``'sbert:all-MiniLM-L6-v2'``.

    Raises:
        ValueError: There is no such encoder.
    """
    if word == 'none':
        return None
    name, colon, model = word.partition(':')
    known = ENCODERS[modality]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise ValueError(
            f'no encoder of {modality}s is called {name!r}; {hint}there are '
            f'none, {", ".join(known)}, and NAME:MODEL'
        )
    make = known[name]
    options: dict[str, Any] = {}
    if make not in LIGHT:
        options = {'device': device, 'progress': sys.stderr.isatty()}
    elif colon:
        raise ValueError(f'{name} takes no model, got {model!r}')
    made: Encoder = make(*[model] * bool(colon), **options)
    return made


def dataset_of(
    source: str,
    root: Path,
    text_encoder: str | None = None,
    image_encoder: str | None = None,
    features: Mapping[str, str] | None = None,
    images: str | None = None,
    texts: str | None = None,
    device: str = 'cpu',
    columns: str | None = None,
    literals: str | None = None,
    more_texts: bool | None = None,
) -> MultimodalDataset:
    r"""A folder of one's own, or a benchmark by its name.

    Without a word for it, texts are encoded by TF-IDF and images by their
    statistics, which need no network.

    Args:
        source: The folder, or one of :data:`BENCHMARKS`.
        root: Folder for what benchmarks download.
        text_encoder: See :func:`encoder_of`.
        image_encoder: Likewise.
        features: Files of features, by modality.
        images: Of a benchmark, a folder or a file of features.
        texts: Of a benchmark, a file of entity and text.
        device: Where they are encoded.
        columns: Of a folder, see :class:`~dsom_pyg.datasets.MKGFolder`.
        literals: Likewise.
        more_texts: Of a benchmark, whether texts that others have published
            are read as well.

    Raises:
        ValueError: There is no such folder and no such benchmark.
    """
    words = {'text': text_encoder, 'image': image_encoder}
    given = {
        f'{modality}_encoder': encoder_of(modality, word, device)
        for modality, word in words.items()
        if word is not None
    }
    options: dict[str, Any] = {**given, 'features': dict(features or {})}
    benchmark = source in BENCHMARKS and not Path(source).is_dir()
    if more_texts not in (None, True, False):  # of a file of settings
        raise ValueError(
            f'more_texts must be true or false, got {more_texts!r}'
        )
    files = {'images': images, 'texts': texts, 'more_texts': more_texts}
    if benchmark and source != 'Countries':
        options |= {k: v for k, v in files.items() if v is not None}
    elif word := next((k for k, v in files.items() if v), None):
        raise ValueError(
            f'{word} are files of a benchmark that is downloaded, not of '
            f'{source}; a folder has them within'
        )
    both = {'columns': columns, 'literals': literals}
    own = {word: value for word, value in both.items() if value is not None}
    if benchmark:
        for word in own:
            raise ValueError(f'{word} are told of a folder, not of {source}')
        kind = getattr(datasets, source)
        if source == 'Countries':
            made: MultimodalDataset = kind(**options)
            return made
        taken = options['features']
        if 'text' not in taken:
            options.setdefault('text_encoder', TfidfText())
        made = kind(root / source, **options)
        return made
    if not Path(source).is_dir():
        near = difflib.get_close_matches(source, BENCHMARKS, n=1, cutoff=0.5)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(
            f'{source!r} is neither a folder nor one of '
            f'{", ".join(BENCHMARKS)}{hint}'
        )
    options |= own
    has = MKGFolder(source, **options).coverage()
    for modality, encoder in (('text', TfidfText), ('image', ImageStatistics)):
        key = f'{modality}_encoder'
        if has[modality] and modality not in options['features']:
            options.setdefault(key, encoder())
    return MKGFolder(source, **options)


def audit_of(
    source: str,
    root: Path,
    images: bool = True,
    columns: str | None = None,
    literals: str | None = None,
) -> AuditReport:
    r"""What is wrong with a folder or a benchmark, see :func:`dataset_of`.

    Raises:
        ValueError: There is no such folder and no such benchmark.
    """
    if Path(source).is_dir():
        how = columns or 'hrt', literals or 'leave'
        return audit_folder(source, *how, images)
    data = dataset_of(source, root, 'none', columns=columns, literals=literals)
    return audit(data, images)
