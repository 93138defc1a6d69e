"""Text encoders through transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsom_pyg.encoders import batching, hub, identity
from dsom_pyg.processes import own_device


class BERT:
    r"""`BERT <https://arxiv.org/abs/1810.04805>`_ features of texts, frozen.

    The DSoM paper uses this checkpoint and does not say how it pools the
    tokens; its predecessor `MoSE <https://arxiv.org/abs/2210.08821>`_ takes
    ``'second_to_last'``. Other text encoders (RoBERTa, DistilBERT, MPNet,
    ...) work as well.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
        pooling: ``'cls'`` is the last hidden state of the [CLS] token;
            ``'mean'`` is the mean of the last hidden states of all tokens of
            the text, including [CLS] and [SEP], excluding padding;
            ``'second_to_last'`` is the same mean in the layer before the
            last. The checkpoint's pooler is never used.
        max_length: The number of tokens after which a text is cut; by
            default as many as the model can take.
        batch_size: Texts at a time.

    Raises:
        ImportError: transformers is not installed.
        OSError: The model can neither be found nor downloaded, or its
            checkpoint is not whole.
        ValueError: The tokenizer sets no [CLS] token and :obj:`pooling` asks
            for it, or :obj:`max_length` is more than the model can take.
    """

    def __init__(
        self,
        model: str | Path = 'bert-base-uncased',
        pooling: hub.Pooling = 'cls',
        max_length: int | None = None,
        batch_size: int = 64,
        device: str = 'cpu',
        progress: bool = False,
    ) -> None:
        batching.check_choice('pooling', pooling, hub.Pooling)
        self.pooling, self.progress = pooling, progress
        self.batch_size = batching.check_batch_size(batch_size)
        self.tokenizer, self.model = hub.load_pretrained(model, 'text')
        self.tokenizer.padding_side = 'right'  # so that [CLS] comes first
        self.max_length = self._limit(max_length)
        first = self.tokenizer('a')['input_ids'][0]
        if pooling == 'cls' and first != self.tokenizer.cls_token_id:
            raise ValueError(
                f"the tokenizer of '{model}' sets no [CLS] token before a "
                "text, choose pooling='mean'"
            )
        words = identity.tokenizer_settings(self.tokenizer)
        config = identity.config_settings(self.model.config)
        settings = [words, config, [pooling, self.max_length]]
        weights = hub.used_weights(self.model)
        self.name = identity.make_name(
            'bert', model, pooling, weights, settings
        )
        self.device = torch.device(own_device(device))
        self.model.to(self.device)
        with torch.no_grad():
            self.out_channels = self._encode(['a']).size(1)

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        size, batch, bar = self.out_channels, self.batch_size, self.progress
        return batching.encode_texts(items, self._encode, size, batch, bar)

    def _encode(self, texts: list[str]) -> Tensor:
        words = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=True,
            return_tensors='pt',
        ).to(self.device)
        hidden = hub.hidden_states(self.model, self.pooling, **words)
        if self.pooling == 'cls':
            return hidden[:, 0]
        real = words['attention_mask'][..., None].to(hidden.dtype)
        return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)

    def _limit(self, max_length: int | None) -> int:
        # A tokenizer without a limit names a huge one.
        limit = int(min(self.tokenizer.model_max_length, 1_000_000))
        embeddings = getattr(self.model, 'embeddings', None)
        positions = getattr(embeddings, 'position_embeddings', None)
        if isinstance(positions, torch.nn.Embedding):
            # RoBERTa and its relatives count positions after the padding's.
            padding = positions.padding_idx
            before = 0 if padding is None else padding + 1
            limit = min(limit, positions.num_embeddings - before)
        if max_length is None:
            return limit
        if not 1 <= max_length <= limit:
            raise ValueError(
                f'max_length must be between 1 and {limit}, got {max_length}'
            )
        return max_length
