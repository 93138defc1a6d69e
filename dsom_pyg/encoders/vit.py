"""Image encoders through transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from dsom_pyg.encoders import batching, hub, identity
from dsom_pyg.encoders.images import IMAGE_VERSION, WHITE, open_image
from dsom_pyg.processes import own_device


class ViT:
    r"""`Vision transformer <https://arxiv.org/abs/2010.11929>`_ features of
    images, frozen.

    :func:`~dsom_pyg.encoders.open_image` opens the images; the checkpoint's
    own image processor prepares them. The DSoM paper uses this checkpoint
    and does not say how it pools the tokens. Other vision transformers (DeiT,
    DINOv2, BEiT, ...) work as well. If a model has two towers, the one for
    images is used.

    Args:
        model: A name on the Hugging Face hub, or a local folder.
        pooling: ``'cls'`` is the last hidden state of the [CLS] token;
            ``'mean'`` is the mean of the last hidden states of all patches,
            excluding [CLS] and other extra tokens; ``'second_to_last'`` is the
            same mean in the layer before the last. The checkpoint's pooler
            is never used.
        batch_size: Images at a time.

    Raises:
        ImportError: transformers is not installed.
        OSError: The model can neither be found nor downloaded, or its
            checkpoint is not whole.
        ValueError: The model is no vision transformer, or it has no [CLS]
            token and :obj:`pooling` asks for it.
        UnreadableImage: On a call, an image cannot be read.
    """

    def __init__(
        self,
        model: str | Path = 'google/vit-base-patch16-224',
        pooling: hub.Pooling = 'cls',
        batch_size: int = 32,
        device: str = 'cpu',
        progress: bool = False,
    ) -> None:
        batching.check_choice('pooling', pooling, hub.Pooling)
        self.pooling, self.progress = pooling, progress
        self.batch_size = batching.check_batch_size(batch_size)
        self.processor, network = hub.load_pretrained(model, 'image')
        self.model = getattr(network, 'vision_model', network)
        self._check_model(model)
        settings = [
            type(self.processor).__name__,
            self.processor.to_dict(),
            identity.config_settings(self.model.config),
            [pooling, IMAGE_VERSION, WHITE],
        ]
        weights = hub.used_weights(self.model)
        self.name = identity.make_name(
            'vit', model, pooling, weights, settings
        )
        self.device = torch.device(own_device(device))
        self.model.to(self.device)

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        size, batch, bar = self.out_channels, self.batch_size, self.progress
        return batching.encode_images(
            items, self._open, self._pool, size, batch, self.device, bar
        )

    def _open(self, path: Path) -> Tensor:
        return self._pixels(open_image(path))

    def _pixels(self, image: Image.Image) -> Tensor:
        return self.processor(image, return_tensors='pt')['pixel_values'][0]

    def _pool(self, pixels: Tensor) -> Tensor:
        hidden = hub.hidden_states(
            self.model, self.pooling, pixel_values=pixels
        )
        if self.pooling == 'cls':
            return hidden[:, 0]
        return hidden[:, self._num_extra :].mean(dim=1)

    @torch.no_grad()
    def _check_model(self, model: str | Path) -> None:
        # The configuration does not say how many tokens are no patches and
        # how wide a feature is. One grey image shows both.
        config = self.model.config
        if getattr(config, 'mask_ratio', 0):
            raise ValueError(
                f"'{model}' hides random patches, its features are random too"
            )
        side = getattr(config, 'patch_size', None)
        pixels = self._pixels(Image.new('RGB', (64, 64), (128, 128, 128)))
        tokens = self.model(pixel_values=pixels[None]).last_hidden_state
        if side is None or tokens.dim() != 3:
            raise ValueError(f"'{model}' is no vision transformer")
        height, width = (side, side) if isinstance(side, int) else side
        patches = (pixels.size(1) // height) * (pixels.size(2) // width)
        # The difference is negative if the model merges patches.
        self._num_extra = max(tokens.size(1) - patches, 0)
        if self.pooling == 'cls' and not self._num_extra:
            raise ValueError(
                f"'{model}' has no [CLS] token, choose pooling='mean'"
            )
        self.out_channels = self._pool(pixels[None]).size(1)
