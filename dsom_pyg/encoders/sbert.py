"""Sentence encoders through sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dsom_pyg.encoders import hub, identity
from dsom_pyg.encoders.batching import check_batch_size
from dsom_pyg.processes import own_device

PACKAGE = 'sentence-transformers'


class SBERT:
    r"""`Sentence-BERT <https://arxiv.org/abs/1908.10084>`_ features of texts.

    The model itself says how it pools tokens and whether features have unit
    norm.

    Args:
        model: A name on the Hugging Face hub, or a local folder. One
            without an owner is of ``sentence-transformers``.
        batch_size: Texts at a time.

    Raises:
        ImportError: sentence-transformers is not installed.
        OSError: The model can neither be found nor downloaded.
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
        source = f'the folder of a {PACKAGE} model'
        hub.need_library('sentence_transformers', PACKAGE)
        place = hub.find(_in_full(model), 'sentence', source)
        library = hub.load_library('sentence_transformers', PACKAGE)
        hub.refuse_foreign(place)
        with hub.loading('sentence', model, source):
            self.model: Any = library.SentenceTransformer(
                str(place), device=own_device(device), trust_remote_code=False
            )
        self.model.float().eval().requires_grad_(False)
        self.out_channels = int(self.model.get_embedding_dimension())
        weights, settings = hub.used_weights(self.model), _settings(self.model)
        self.name = identity.make_name('sbert', model, '', weights, settings)

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


def _in_full(model: str | Path) -> str | Path:
    # The library takes names without an owner for its own, but for some that
    # the hub has had from its beginning.
    short = isinstance(model, str) and not {'/', '\\'} & {*model}
    if not short or Path(model).exists():
        return model
    library = hub.load_library('sentence_transformers.util', PACKAGE)
    if str(model).lower() in library.ORIGINAL_TRANSFORMER_MODELS:
        return model
    return f'{PACKAGE}/{model}'


def _settings(model: Any) -> list[Any]:
    keys = 'max_seq_length', 'prompts', 'default_prompt_name', 'truncate_dim'
    settings: list[Any] = [{key: getattr(model, key, None) for key in keys}]
    for part in model:
        steps: dict[str, Any] = {'class': type(part).__name__}
        if hasattr(part, 'get_config_dict'):
            steps['config'] = part.get_config_dict()
        network = getattr(part, 'auto_model', None)
        if network is not None:
            steps['network'] = identity.config_settings(network.config)
        tokenizer = getattr(part, 'tokenizer', None)
        if hasattr(tokenizer, 'special_tokens_map'):
            steps['tokenizer'] = identity.tokenizer_settings(tokenizer)
        settings.append(steps)
    return settings
