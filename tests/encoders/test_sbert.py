import json
from pathlib import Path

import pytest
import torch
from model_folders import TEXTS, link_copy
from safetensors.torch import load_file, save_file

from dsom_pyg.encoders import SBERT

pytest.importorskip('sentence_transformers')


@pytest.fixture(scope='module')
def sbert(minilm: Path) -> SBERT:
    return SBERT(minilm, batch_size=2)


def test_agrees_with_transformers(sbert: SBERT, minilm: Path) -> None:
    # Mean over real tokens, unit norm, by hand.
    transformers = pytest.importorskip('transformers')
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    words = tokenizer(TEXTS, padding=True, return_tensors='pt')
    with torch.no_grad():
        hidden = model(**words).last_hidden_state
    mask = words['attention_mask'][..., None]
    expected = (hidden * mask).sum(1) / mask.sum(1)
    expected /= expected.norm(dim=1, keepdim=True)
    mine = sbert(TEXTS)
    assert mine.shape == (len(TEXTS), sbert.out_channels) == (6, 384)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)


def test_batches_and_order(sbert: SBERT) -> None:
    whole = sbert(TEXTS)
    assert (whole.dtype, whole.device.type) == (torch.float32, 'cpu')
    assert not whole.requires_grad
    assert not whole.is_inference()
    mixed = sbert(TEXTS[::-1]).flip(0)
    torch.testing.assert_close(mixed, whole, rtol=0, atol=1e-5)
    single = torch.cat([sbert([text]) for text in TEXTS])
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-5)
    assert sbert([]).shape == (0, 384)


def test_name(sbert_folder: Path, tmp_path: Path) -> None:
    first = SBERT(sbert_folder)
    same = link_copy(sbert_folder, tmp_path / 'same' / 'tiny-sbert')
    assert SBERT(same, batch_size=7).name == first.name
    names = {first.name}

    def change(key: str, file: str, **new: object) -> None:
        copy = link_copy(sbert_folder, tmp_path / key / 'tiny-sbert')
        target = copy / file
        data = json.loads(target.read_text())
        assert {entry: data.get(entry) for entry in new} != new
        if target.parent != copy:  # the folder itself is a link
            inner = target.parent.resolve()
            target.parent.unlink()
            link_copy(inner, target.parent)
        target.unlink()
        target.write_text(json.dumps({**data, **new}))
        encoder = SBERT(copy)
        names.add(encoder.name)
        assert torch.dist(encoder(TEXTS), first(TEXTS)) > 1e-3

    change('pooling', '1_Pooling/config.json', pooling_mode='max')
    change('activation', 'config.json', hidden_act='relu')
    change(
        'prompt',
        'config_sentence_transformers.json',
        prompts={'query': 'the '},
        default_prompt_name='query',
    )
    assert len(names) == 4
    assert all(name.startswith('sbert-tiny-sbert-') for name in names)


def test_name_follows_the_weights(sbert_folder: Path, tmp_path: Path) -> None:
    weights = load_file(sbert_folder / 'model.safetensors')
    next(iter(weights.values())).add_(1e-3)
    copy = link_copy(sbert_folder, tmp_path / 'tiny-sbert')
    (copy / 'model.safetensors').unlink()
    save_file(weights, copy / 'model.safetensors', {'format': 'pt'})
    first, other = SBERT(sbert_folder).name, SBERT(copy).name
    assert first != other
    assert first.split('-')[-1] == other.split('-')[-1]  # the settings


def test_name_without_a_pooler(sbert_folder: Path, tmp_path: Path) -> None:
    # It would be random in every run, and no feature depends on it.
    weights = load_file(sbert_folder / 'model.safetensors')
    kept = {k: v for k, v in weights.items() if 'pooler' not in k}
    assert len(kept) == len(weights) - 2
    copy = link_copy(sbert_folder, tmp_path / 'tiny-sbert')
    (copy / 'model.safetensors').unlink()
    save_file(kept, copy / 'model.safetensors', {'format': 'pt'})
    assert SBERT(copy).name == SBERT(sbert_folder).name


def test_without_weights() -> None:
    with pytest.raises(
        OSError, match="cannot load the sentence encoder 'no-such-folder"
    ):
        SBERT('no-such-folder/at-all')
