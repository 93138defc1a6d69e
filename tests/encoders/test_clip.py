import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import TEXTS, link_copy
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from dsom_pyg.encoders import CLIP, UnreadableImage, hub

open_clip = pytest.importorskip('open_clip')
CLOSE = {'rtol': 0, 'atol': 1e-5}


def direct(folder: Path, paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Unscaled features of pictures and texts."""
    source = f'local-dir:{folder}'
    model, _, preprocess = open_clip.create_model_and_transforms(source)
    tokenizer = open_clip.get_tokenizer(source)
    model.eval()
    pixels = [preprocess(Image.open(path).convert('RGB')) for path in paths]
    with torch.no_grad():
        images = model.encode_image(torch.stack(pixels))
        return images, model.encode_text(tokenizer(TEXTS))


@pytest.fixture
def architecture(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a built-in architecture."""
    config = json.loads((clip_folder / 'open_clip_config.json').read_text())
    known = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(known, 'tiny', config['model_cfg'])
    return 'tiny'


def test_agrees_with_open_clip(
    clip_folder: Path, pictures: list[Path]
) -> None:
    images, texts = direct(clip_folder, pictures)
    for tower, items, want in (
        ('image', pictures, images),
        ('text', TEXTS, texts),
    ):
        raw = CLIP(clip_folder, tower=tower, normalize=False)  # type: ignore[arg-type]
        torch.testing.assert_close(raw(items), want, **CLOSE)
        unit = CLIP(clip_folder, tower=tower)  # type: ignore[arg-type]
        torch.testing.assert_close(
            unit(items), F.normalize(want, dim=1), **CLOSE
        )
        assert (raw.out_channels, unit.out_channels) == (16, 16)
        assert torch.dist(raw(items), unit(items)) > 0.1


def test_real_photographs(clip_folder: Path, samples: list[Path]) -> None:
    paths = samples[::6]
    images, _ = direct(clip_folder, paths)
    x = CLIP(clip_folder, normalize=False)(paths)
    torch.testing.assert_close(x, images, **CLOSE)


def test_batches_and_order(clip_folder: Path, pictures: list[Path]) -> None:
    cases: list[tuple[Any, list[Any]]] = [('image', pictures), ('text', TEXTS)]
    for tower, items in cases:
        whole = CLIP(clip_folder, tower=tower)(items)
        assert (whole.dtype, whole.device.type) == (torch.float32, 'cpu')
        assert not whole.requires_grad
        assert not whole.is_inference()
        encoder = CLIP(clip_folder, tower=tower, batch_size=2)
        torch.testing.assert_close(encoder(items), whole, **CLOSE)
        mixed = encoder(items[::-1]).flip(0)
        torch.testing.assert_close(mixed, whole, **CLOSE)
        assert encoder([]).shape == (0, 16)
        assert encoder.name == CLIP(clip_folder, tower=tower).name


def test_checkpoint_of_a_built_in_architecture(
    clip_folder: Path,
    pictures: list[Path],
    architecture: str,
    tmp_path: Path,
) -> None:
    weights = load_file(clip_folder / 'open_clip_model.safetensors')
    file = tmp_path / 'weights.pt'
    torch.save({'state_dict': weights}, file)
    encoder = CLIP(architecture, file)
    safe = CLIP(architecture, clip_folder / 'open_clip_model.safetensors')
    assert encoder.name == safe.name
    assert torch.equal(encoder(pictures), safe(pictures))
    # Other means and deviations of colours than in the folder.
    assert encoder.name.split('-')[-2] == CLIP(clip_folder).name.split('-')[-2]
    assert encoder.name != CLIP(clip_folder).name.replace('tiny-clip', 'tiny')


class Evil:
    """Runs when a pickle is read without care."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ('raise SystemExit("a pickle was run")',)


def test_no_pickle_is_run(architecture: str, tmp_path: Path) -> None:
    file = tmp_path / 'evil.pt'
    torch.save({'state_dict': Evil()}, file)
    with pytest.raises(OSError, match=r'cannot load the CLIP .*evil\.pt'):
        CLIP(architecture, file)


def test_random_weights_are_refused(
    architecture: str, clip_folder: Path, tmp_path: Path
) -> None:
    for nothing in (None, ''):
        with pytest.raises(ValueError, match='would give random features'):
            CLIP(architecture, nothing)
    with pytest.raises(OSError, match='no-such-tag'):
        CLIP(architecture, 'no-such-tag')
    empty = link_copy(clip_folder, tmp_path / 'empty')
    (empty / 'open_clip_model.safetensors').unlink()
    with pytest.raises(OSError, match='cannot load the CLIP encoder'):
        CLIP(empty)
    weights = load_file(clip_folder / 'open_clip_model.safetensors')
    del weights['visual.conv1.weight']
    save_file(weights, empty / 'open_clip_model.safetensors')
    with pytest.raises(OSError, match=r'visual\.conv1\.weight'):
        CLIP(empty)


def test_activation_of_a_tag(
    clip_folder: Path,
    architecture: str,
    pictures: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # open_clip only warns and uses the wrong one.
    file = str(clip_folder / 'open_clip_model.safetensors')
    tags = {
        'plain': {'file': file},
        'quick': {'file': file, 'quick_gelu': True},
    }
    known = open_clip.pretrained._PRETRAINED
    monkeypatch.setitem(known, architecture, tags)
    plain = CLIP(architecture, 'plain')
    quick = CLIP(architecture, 'quick')
    kinds = {type(part).__name__ for part in quick.model.modules()}
    assert 'QuickGELU' in kinds
    assert 'GELU' not in kinds
    assert torch.dist(plain(pictures), quick(pictures)) > 1e-5
    assert quick.name != plain.name


def test_name(clip_folder: Path, tmp_path: Path) -> None:
    config = json.loads((clip_folder / 'open_clip_config.json').read_text())
    same = link_copy(clip_folder, tmp_path / 'same' / 'tiny-clip')
    image = {CLIP(same).name}
    assert image == {CLIP(clip_folder).name}
    assert image == {CLIP(f'local-dir:{clip_folder}').name}
    text = {CLIP(same, tower='text').name}
    image.add(CLIP(clip_folder, normalize=False).name)
    text.add(CLIP(clip_folder, tower='text', normalize=False).name)

    def change(key: str, part: str, entry: str, value: object) -> Path:
        new = json.loads(json.dumps(config))
        (new['model_cfg'][part] if part else new['preprocess_cfg'])[entry] = (
            value
        )
        folder = tmp_path / key / 'tiny-clip'
        files = {'open_clip_config__json': json.dumps(new)}
        return link_copy(clip_folder, folder, **files)

    mean = change('mean', '', 'mean', [0.4, 0.4, 0.4])
    image.add(CLIP(mean).name)
    # What the texts pass through is the same.
    assert CLIP(mean, tower='text').name in text
    image.add(CLIP(change('heads', 'vision_cfg', 'head_width', 8)).name)
    clean = {'clean': 'whitespace'}
    words = change('words', 'text_cfg', 'tokenizer_kwargs', clean)
    text.add(CLIP(words, tower='text').name)
    weights = load_file(clip_folder / 'open_clip_model.safetensors')
    weights['visual.proj'][0, 0] += 1e-3
    copy = link_copy(clip_folder, tmp_path / 'weights' / 'tiny-clip')
    (copy / 'open_clip_model.safetensors').unlink()
    save_file(weights, copy / 'open_clip_model.safetensors')
    image.add(CLIP(copy).name)
    assert len(image) == 5
    assert len(text) == 3
    assert all(name.startswith('clip-tiny-clip-image-') for name in image)
    assert all(name.startswith('clip-tiny-clip-text-') for name in text)


def test_arguments(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tower must be .* got 'audio'"):
        CLIP(clip_folder, tower='audio')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'batch_size must be .* got 0'):
        CLIP(clip_folder, batch_size=0)
    bad = tmp_path / 'bad.jpg'
    bad.write_text('no image')
    with pytest.raises(UnreadableImage, match=r'bad\.jpg'):
        CLIP(clip_folder)([bad])


# What a configuration can name: code that lies beside it.
EVIL = """
from pathlib import Path
from transformers import BertConfig, BertModel, BertTokenizer

Path(__file__).with_name('ran').touch()
Path({marker!r}).touch()

class Config(BertConfig):
    model_type = 'evil'

class Model(BertModel):
    config_class = Config

class Tokenizer(BertTokenizer):
    pass
"""


def foreign(folder: Path, marker: Path) -> Path:
    """A checkpoint of transformers that brings its own code."""
    folder.mkdir()
    (folder / 'evil.py').write_text(EVIL.format(marker=str(marker)))
    (folder / 'vocab.txt').write_text('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]')
    config = {
        'model_type': 'evil',
        'auto_map': {'AutoConfig': 'evil.Config', 'AutoModel': 'evil.Model'},
    }
    words = {'auto_map': {'AutoTokenizer': ['evil.Tokenizer', None]}}
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'tokenizer_config.json').write_text(json.dumps(words))
    return folder


def configured(clip_folder: Path, folder: Path, **text: Any) -> Path:
    """A copy with other entries in its configuration of texts."""
    link_copy(clip_folder, folder)
    path = folder / 'open_clip_config.json'
    config = json.loads(path.read_text())
    config['model_cfg']['text_cfg'].update(text)
    path.unlink()
    path.write_text(json.dumps(config))
    return folder


def test_no_code_of_a_checkpoint_is_run(
    clip_folder: Path, tmp_path: Path
) -> None:
    options = {'trust_remote_code': True}
    folder = tmp_path / 'evil'
    configured(clip_folder, folder, tokenizer_kwargs=options)
    for source in (folder, f'local-dir:{folder}'):
        with pytest.raises(ValueError, match='sets trust_remote_code'):
            CLIP(source, tower='text')


@pytest.mark.parametrize('key', ['hf_model_name', 'hf_tokenizer_name'])
@pytest.mark.parametrize('built_in', [False, True])
def test_code_of_a_checkpoint_that_a_configuration_names(
    key: str,
    built_in: bool,
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marker = tmp_path / 'marker'
    foreign(tmp_path / 'text-model', marker)
    monkeypatch.setenv('HF_MODULES_CACHE', str(tmp_path / 'modules'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.stdin', io.StringIO('y\n' * 9))
    folder = configured(clip_folder, tmp_path / 'c', **{key: 'text-model'})
    config = json.loads((folder / 'open_clip_config.json').read_text())
    known = open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(known, 'tiny', config['model_cfg'])
    weights = folder / 'open_clip_model.safetensors'
    given = ('tiny', weights) if built_in else (folder,)
    with pytest.raises(ValueError, match=r'text-model.*sets auto_map'):
        CLIP(*given, tower='text')  # type: ignore[arg-type]
    assert not marker.exists()
    # Nor is anybody asked if that check finds nothing.
    monkeypatch.setattr(hub, 'refuse_foreign', lambda *_: None)
    with pytest.raises(OSError, match=r'code of its own|tokenizer'):
        CLIP(*given, tower='text')  # type: ignore[arg-type]
    assert not marker.exists()
    assert sys.stdin.readline() == 'y\n'


def test_another_checkpoint_of_images(
    clip_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / 'c'
    link_copy(clip_folder, folder)
    path = folder / 'open_clip_config.json'
    config = json.loads(path.read_text())
    path.unlink()
    for name in ('local-dir:elsewhere', 'hf-hub:someone/else'):
        config['model_cfg']['vision_cfg']['timm_model_name'] = name
        path.write_text(json.dumps(config))
        with pytest.raises(ValueError, match=f'timm_model_name.*{name}'):
            CLIP(folder)
