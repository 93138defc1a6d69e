import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import link_copy, save_processor
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsom_pyg.encoders import UnreadableImage, ViT

transformers = pytest.importorskip('transformers')
CLOSE = {'rtol': 0, 'atol': 1e-5}


def direct(folder: Path, paths: list[Path]) -> tuple[list[Tensor], Tensor]:
    """All hidden states and the last one, as transformers' users get them."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pictures = [Image.open(path).convert('RGB') for path in paths]
    inputs = processor(pictures, return_tensors='pt')
    states: list[Tensor] = []
    layers = getattr(model, 'layers', None) or model.encoder.layer
    for layer in layers:
        layer.register_forward_hook(
            lambda module, args, out: states.append(
                out if isinstance(out, Tensor) else out[0]
            )
        )
    with torch.no_grad():
        last = model(pixel_values=inputs['pixel_values']).last_hidden_state
    assert len(states) == model.config.num_hidden_layers
    return states, last


def test_poolings_by_hand(vit_folder: Path, pictures: list[Path]) -> None:
    states, last = direct(vit_folder, pictures)
    assert last.shape == (5, 17, 32)  # [CLS] and 4 x 4 patches
    expected = {
        'cls': last[:, 0],
        'mean': last[:, 1:].mean(dim=1),
        'second_to_last': states[1][:, 1:].mean(dim=1),  # of 3 layers
    }
    assert ViT(vit_folder).pooling == 'cls'
    for pooling, want in expected.items():
        encoder = ViT(vit_folder, pooling=pooling)  # type: ignore[arg-type]
        x = encoder(pictures)
        assert encoder.out_channels == 32
        torch.testing.assert_close(x, want, **CLOSE)
        assert pooling in encoder.name
    # Else the test says little.
    assert torch.dist(expected['cls'], expected['mean']) > 1
    assert torch.dist(expected['mean'], expected['second_to_last']) > 1


def test_real_photographs(vit_folder: Path, samples: list[Path]) -> None:
    paths = samples[::6]
    _, last = direct(vit_folder, paths)
    torch.testing.assert_close(ViT(vit_folder)(paths), last[:, 0], **CLOSE)


def test_batches_and_order(vit_folder: Path, pictures: list[Path]) -> None:
    whole = ViT(vit_folder)(pictures)
    assert (whole.dtype, whole.device.type) == (torch.float32, 'cpu')
    assert not whole.requires_grad
    assert not whole.is_inference()
    for size in (1, 2, 5):
        encoder = ViT(vit_folder, batch_size=size)
        torch.testing.assert_close(encoder(pictures), whole, **CLOSE)
        mixed = encoder([str(path) for path in pictures[::-1]])
        torch.testing.assert_close(mixed.flip(0), whole, **CLOSE)
    assert encoder([]).shape == (0, 32)
    assert encoder.name == ViT(vit_folder).name
    # Images do not all look the same to it.
    assert torch.cdist(whole, whole).add(torch.eye(5) * 9).min() > 0.1


def test_frozen(vit_folder: Path) -> None:
    encoder = ViT(vit_folder)
    assert not any(part.training for part in encoder.model.modules())
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert encoder.model.pooler is None


def test_name(vit_folder: Path, tmp_path: Path) -> None:
    names = {ViT(vit_folder).name}
    same = link_copy(vit_folder, tmp_path / 'same' / 'tiny-vit')
    assert {ViT(same).name} == names
    processor = json.loads(
        (vit_folder / 'preprocessor_config.json').read_text()
    )
    processor['image_mean'] = [0.4, 0.5, 0.5]
    config = json.loads((vit_folder / 'config.json').read_text())
    config['num_attention_heads'] = 2
    changed = {
        'mean': {'preprocessor_config__json': json.dumps(processor)},
        'heads': {'config__json': json.dumps(config)},
    }
    for key, files in changed.items():
        copy = link_copy(vit_folder, tmp_path / key / 'tiny-vit', **files)
        names.add(ViT(copy).name)
    weights = load_file(vit_folder / 'model.safetensors')
    key = next(
        key for key in sorted(weights) if '.1.' in key and key.endswith('bias')
    )
    weights[key][0] += 1e-3
    copy = link_copy(vit_folder, tmp_path / 'weights' / 'tiny-vit')
    (copy / 'model.safetensors').unlink()
    save_file(weights, copy / 'model.safetensors', {'format': 'pt'})
    names.add(ViT(copy).name)
    names.add(ViT(vit_folder, pooling='mean').name)
    assert len(names) == 5
    assert all(name.startswith('vit-tiny-vit-') for name in names)


def test_missing_weights_are_not_random(
    vit_folder: Path, tmp_path: Path
) -> None:
    weights = load_file(vit_folder / 'model.safetensors')
    del weights[next(key for key in sorted(weights) if '.2.' in key)]
    copy = link_copy(vit_folder, tmp_path / 'copy')
    (copy / 'model.safetensors').unlink()
    save_file(weights, copy / 'model.safetensors', {'format': 'pt'})
    with pytest.raises(OSError, match='1 weights are not in the checkpoint'):
        ViT(copy)
    (copy / 'model.safetensors').write_bytes(b'damaged')
    with pytest.raises(OSError, match='cannot load the image encoder'):
        ViT(copy)


def test_a_pooler_is_neither_needed_nor_used(
    vit_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    weights = load_file(vit_folder / 'model.safetensors')
    plain = ViT(vit_folder)
    for value in (0.0, 1.0):
        folder = tmp_path / str(value) / 'tiny-vit'
        copy = link_copy(vit_folder, folder)
        (copy / 'model.safetensors').unlink()
        pooler = {
            'vit.pooler.dense.weight': torch.full((32, 32), value),
            'vit.pooler.dense.bias': torch.full((32,), value),
        }
        save_file(
            weights | pooler, copy / 'model.safetensors', {'format': 'pt'}
        )
        encoder = ViT(copy)
        assert encoder.name == plain.name
        assert torch.equal(encoder(pictures), plain(pictures))


def small(kind: str, **more: Any) -> Any:
    config = getattr(transformers, f'{kind}Config')(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
        **more,
    )
    torch.manual_seed(0)
    return getattr(transformers, f'{kind}Model')(config)


def siglip() -> Any:
    tower = {
        'hidden_size': 16,
        'num_hidden_layers': 2,
        'num_attention_heads': 2,
        'intermediate_size': 32,
    }
    vision = {**tower, 'image_size': 32, 'patch_size': 8}
    torch.manual_seed(0)
    return transformers.SiglipModel(
        transformers.SiglipConfig(
            vision_config=vision, text_config={**tower, 'vocab_size': 50}
        )
    )


OTHERS: dict[str, tuple[Callable[[], Any], int]] = {
    'DeiT': (lambda: small('DeiT'), 2),
    'DINOv2': (lambda: small('Dinov2', mlp_ratio=2), 1),
    'registers': (
        lambda: small('Dinov2WithRegisters', num_register_tokens=3),
        4,
    ),
    'BEiT': (lambda: small('Beit', use_mask_token=True), 1),
    'SigLIP': (siglip, 0),
}


@pytest.mark.parametrize('kind', OTHERS)
def test_other_transformers(
    tmp_path: Path, pictures: list[Path], kind: str
) -> None:
    make, extra = OTHERS[kind]
    network = make().eval()
    folder = tmp_path / kind
    network.save_pretrained(folder)
    save_processor(folder)
    encoder = ViT(folder, pooling='mean')
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = processor(
        [Image.open(path) for path in pictures], return_tensors='pt'
    )
    tower = getattr(network, 'vision_model', network)
    with torch.no_grad():
        last = tower(pixel_values=inputs['pixel_values']).last_hidden_state
    assert last.size(1) == 16 + extra
    torch.testing.assert_close(
        encoder(pictures), last[:, extra:].mean(dim=1), **CLOSE
    )
    assert encoder.name == ViT(folder, pooling='mean').name
    if extra:
        x = ViT(folder, pooling='cls')(pictures)
        torch.testing.assert_close(x, last[:, 0], **CLOSE)
    else:
        with pytest.raises(ValueError, match=r'no \[CLS\] token'):
            ViT(folder)


def test_no_vision_transformer(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1]
    )
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    save_processor(tmp_path)
    with pytest.raises(ValueError, match='is no vision transformer'):
        ViT(tmp_path)
    config = transformers.ViTMAEConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    folder = tmp_path / 'mae'
    transformers.ViTMAEModel(config).save_pretrained(folder)
    save_processor(folder)
    with pytest.raises(ValueError, match='hides random patches'):
        ViT(folder)


def test_arguments(vit_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"pooling must be .* got 'max'"):
        ViT(vit_folder, pooling='max')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'batch_size must be .* got 0'):
        ViT(vit_folder, batch_size=0)
    with pytest.raises(
        OSError, match="cannot load the image encoder 'no-such/model'"
    ):
        ViT('no-such/model')


def test_bad_images_are_named(
    vit_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(pictures[1].read_bytes()[:200])
    encoder = ViT(vit_folder, batch_size=2)
    with pytest.raises(UnreadableImage, match=r'bad\.jpg') as caught:
        encoder([*pictures, bad, pictures[0]])
    assert caught.value.path == bad
    assert encoder(pictures).shape == (5, 32)


def test_images_of_one_pixel(vit_folder: Path, tmp_path: Path) -> None:
    # Whose three bytes could be three rows, columns or colours.
    paths = []
    for width, height in ((1, 1), (3, 1), (1, 3), (3, 3)):
        paths.append(tmp_path / f'{width}-{height}.png')
        Image.new('RGB', (width, height), (255, 0, 0)).save(paths[-1])
    x = ViT(vit_folder)(paths)
    torch.testing.assert_close(x, x[:1].expand(4, -1), **CLOSE)
