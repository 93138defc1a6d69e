"""Sentence encoders through sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.encoders.batching import check_batch_size
from dsom_pyg.encoders.hub import load_library, loading, used_weights
from dsom_pyg.encoders.identity import (
    config_settings,
    make_name,
    tokenizer_settings,
)


class SBERT:
    r"""`Sentence-BERT <https://arxiv.org/abs/1908.10084>`_ features of texts.

    The model itself says how it pools tokens and whether features have unit
    norm.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
            (default: ``'sentence-transformers/all-MiniLM-L6-v2'``)
        batch_size: Texts at a time. (default: :obj:`64`)
        device: Where to encode. (default: ``'cpu'``)
        progress: Show a progress bar. (default: :obj:`False`)

    Raises:
        ImportError: sentence-transformers is not installed.
        OSError: The model is neither a folder nor in the hub's cache, and
            the hub cannot be reached.
    """

    def __init__(
        self,
        model: str | Path = 'sentence-transformers/all-MiniLM-L6-v2',
        batch_size: int = 64,
        device: str = 'cpu',
        progress: bool = False,
    ) -> None:
        self.batch_size = check_batch_size(batch_size)
        self.progress = progress
        library = load_library(
            'sentence_transformers', 'sentence-transformers'
        )
        place = 'a folder of a sentence-transformers model'
        with loading('sentence', model, place):
            self.model: Any = library.SentenceTransformer(
                str(model), device=device, trust_remote_code=False
            )
        self.model.float().eval().requires_grad_(False)
        self.out_channels = int(self.model.get_embedding_dimension())
        weights, settings = used_weights(self.model), _settings(self.model)
        self.name = make_name('sbert', model, '', weights, settings)

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        if not items:
            return torch.empty(0, self.out_channels)
        # The library itself sorts by length and pads by batch.
        features = self.model.encode(
            [str(item) for item in items],
            batch_size=self.batch_size,
            show_progress_bar=self.progress,
            convert_to_tensor=True,
        )
        assert isinstance(features, Tensor)
        # A clone leaves inference mode, so that autograd accepts it.
        return features.float().cpu().clone()


def _settings(model: Any) -> list[Any]:
    settings: list[Any] = [
        {
            key: getattr(model, key, None)
            for key in (
                'max_seq_length',
                'prompts',
                'default_prompt_name',
                'truncate_dim',
            )
        }
    ]
    for part in model:
        steps: dict[str, Any] = {'class': type(part).__name__}
        if hasattr(part, 'get_config_dict'):
            steps['config'] = part.get_config_dict()
        network = getattr(part, 'auto_model', None)
        if network is not None:
            steps['network'] = config_settings(network.config)
        tokenizer = getattr(part, 'tokenizer', None)
        if hasattr(tokenizer, 'special_tokens_map'):
            steps['tokenizer'] = tokenizer_settings(tokenizer)
        settings.append(steps)
    return settings
