"""Image and text encoders through open_clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from dsom_pyg.encoders import batching, hub, identity
from dsom_pyg.encoders.images import IMAGE_VERSION, WHITE, open_image
from dsom_pyg.processes import own_device

Tower = Literal['image', 'text']


class CLIP:
    r"""`CLIP <https://arxiv.org/abs/2103.00020>`_ features of images or of
    texts, frozen, from one tower of an open_clip model.

    Two encoders with the same weights, one for each tower, put images and
    texts into one space.

    Args:
        architecture: A model name of open_clip, ``'hf-hub:org/name'``, or a
            folder with an ``open_clip_config.json``. The last two bring
            their own weights.
        pretrained: A tag of open_clip, or a checkpoint file. It is not used
            if :obj:`architecture` brings its own weights.
        normalize: Scale features to unit norm.
        batch_size: Items at a time.

    Raises:
        ImportError: open_clip is not installed.
        OSError: The weights can neither be found nor downloaded, or they do
            not fit.
        ValueError: No weights are given, so that they would be random; or
            a configuration names code, or another checkpoint.
        UnreadableImage: On a call, an image cannot be read.

    .. note::
        With a tag, the activation is the one that its weights were trained
        with, such as QuickGELU for ``'openai'``. A file does not say which
        one that was: if it was QuickGELU, give an architecture such as
        ``'ViT-B-32-quickgelu'``.
    """

    def __init__(
        self,
        architecture: str | Path = 'ViT-B-32',
        pretrained: str | Path | None = 'laion2b_s34b_b79k',
        tower: Tower = 'image',
        normalize: bool = True,
        batch_size: int = 32,
        device: str = 'cpu',
        progress: bool = False,
    ) -> None:
        batching.check_choice('tower', tower, Tower)
        self.tower, self.normalize = tower, normalize
        self.batch_size = batching.check_batch_size(batch_size)
        self.progress = progress
        source, weights = _source(architecture, pretrained)
        open_clip = hub.load_library('open_clip', 'open-clip-torch')
        place = 'a model of open_clip with a tag or a checkpoint file'
        given = ', '.join(filter(None, (source, weights)))
        self._look_up(open_clip, source, weights, place)
        with hub.loading('CLIP', given, place):
            config = open_clip.get_model_config(source)
        _refuse_foreign(source, config)
        with hub.loading('CLIP', given, place):
            tag = open_clip.get_pretrained_cfg(source, weights or '')
            model, self.preprocess = open_clip.create_model_from_pretrained(
                source,
                weights,
                force_quick_gelu=bool(tag.get('quick_gelu', False)),
                weights_only=True,
            )
            if tower == 'text':
                self.tokenizer = open_clip.get_tokenizer(source)
        self.model: Any = model.float().eval().requires_grad_(False)
        self.name = self._name(source)
        self.device = torch.device(own_device(device))
        self.model.to(self.device)
        with torch.no_grad():
            self.out_channels = self._probe().size(1)

    @staticmethod
    def _look_up(
        open_clip: Any, source: str, weights: str | None, place: str
    ) -> None:
        # Before open_clip waits for a hub that does not answer.
        name = source.removeprefix('hf-hub:')
        if name == source and weights and not Path(weights).exists():
            tag = open_clip.get_pretrained_cfg(source, weights)
            # A file of the repository may follow its name.
            name = '/'.join(str(tag.get('hf_hub') or '').split('/')[:2])
        if name and name != source:
            hub.find(name, 'CLIP', place)

    def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
        size, batch, bar = self.out_channels, self.batch_size, self.progress
        if self.tower == 'text':
            encode = self._encode_texts
            return batching.encode_texts(items, encode, size, batch, bar)
        pool = self._encode_images
        return batching.encode_images(
            items, self._open, pool, size, batch, self.device, bar
        )

    def _open(self, path: Path) -> Tensor:
        return self.preprocess(open_image(path))

    def _encode_images(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels, normalize=self.normalize)

    def _encode_texts(self, texts: list[str]) -> Tensor:
        words = self.tokenizer(texts).to(self.device)
        return self.model.encode_text(words, normalize=self.normalize)

    def _probe(self) -> Tensor:
        if self.tower == 'text':
            return self._encode_texts(['a'])
        pixels = self.preprocess(Image.new('RGB', (64, 64)))
        return self._encode_images(pixels[None].to(self.device))

    def _name(self, source: str) -> str:
        # The attention mask is a buffer that no checkpoint holds.
        weights = dict(self.model.named_parameters())
        weights |= dict(self.model.named_buffers())
        steps = (
            _tokenizer_settings(self.tokenizer)
            if self.tower == 'text'
            else [repr(self.preprocess), IMAGE_VERSION, WHITE]
        )
        parts = identity.module_settings(self.model)
        settings = [steps, parts, self.normalize]
        what = self.tower if self.normalize else f'{self.tower}-raw'
        return identity.make_name('clip', source, what, weights, settings)


def _source(
    architecture: str | Path, pretrained: str | Path | None
) -> tuple[str, str | None]:
    # The model as open_clip names it, and its weights if it has none itself.
    text = str(architecture)
    if (Path(text) / 'open_clip_config.json').is_file():
        return f'local-dir:{text}', None
    if text.startswith(('hf-hub:', 'local-dir:')):
        return text, None
    if not pretrained:
        raise ValueError(
            'CLIP without pretrained weights would give random features; '
            f'give a tag or a checkpoint file, got pretrained={pretrained!r}'
        )
    # 'ViT-B/32' is another spelling of 'ViT-B-32'.
    return text.replace('/', '-'), str(pretrained)


def _refuse_foreign(source: str, config: Any) -> None:
    # open_clip hands options and names of a configuration to transformers
    # and timm, without saying that no code may be run.
    hub.refuse_entries(config, source)
    kind, _, place = source.partition(':')
    if kind == 'local-dir':
        hub.refuse_foreign(place)
    for key, value in hub.walk_entries(config):
        if value and key in ('hf_model_name', 'hf_tokenizer_name'):
            hub.refuse_foreign(str(value), 'auto_map')


def _tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    inner = getattr(tokenizer, 'tokenizer', None)
    keys = (
        *('context_length', 'clean_fn', 'reduction_fn'),
        *('strip_sep_token', 'tokenizer_mode'),
    )
    return {
        'class': type(tokenizer).__name__,
        'words': tokenizer.encoder
        if inner is None
        else identity.tokenizer_settings(inner),
        **{key: getattr(tokenizer, key, None) for key in keys},
    }
