"""Sentence encoders through sentence-transformers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


class SBERT:
    r"""`Sentence-BERT <https://arxiv.org/abs/1908.10084>`_ features of texts.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
            (default: ``'sentence-transformers/all-MiniLM-L6-v2'``)
        batch_size: Texts at a time. (default: :obj:`64`)
        device: Where to encode. (default: ``'cpu'``)
        progress: Show a progress bar. (default: :obj:`False`)

    Raises:
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
        from sentence_transformers import SentenceTransformer

        try:
            self.model = SentenceTransformer(
                str(model), device=device, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise OSError(
                f"cannot load the sentence encoder '{model}': give a folder "
                'of a sentence-transformers model, or a hub name that is '
                f'cached or can be downloaded ({error})'
            ) from error
        self.batch_size, self.progress = batch_size, progress
        channels = self.model.get_embedding_dimension()
        assert channels is not None
        self.out_channels = int(channels)
        # The weights themselves: a folder's name says nothing about them.
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            # float(): numpy knows no bfloat16
            digest.update(value.detach().float().cpu().numpy().tobytes())
        self.name = f'sbert-{Path(model).name}-{digest.hexdigest()[:12]}'

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        if not items:
            return torch.empty(0, self.out_channels)
        features = self.model.encode(
            [str(item) for item in items],
            batch_size=self.batch_size,
            show_progress_bar=self.progress,
            convert_to_tensor=True,
        )
        assert isinstance(features, Tensor)
        # Out of inference mode, so that the features can be trained on.
        return features.float().cpu().clone()
