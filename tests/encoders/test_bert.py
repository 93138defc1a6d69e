import json
from pathlib import Path
from typing import Any

import pytest
import torch
from model_folders import TEXTS, link_copy
from torch import Tensor
from torch.nn import functional as F

from dsom_pyg.encoders import BERT, SBERT
from dsom_pyg.encoders.identity import tokenizer_settings

transformers = pytest.importorskip('transformers')
CLOSE = {'rtol': 0, 'atol': 1e-5}


def one_by_one(folder: Path, pooling: str) -> Tensor:
    """Without padding: as the predecessor MoSE encodes texts."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    states: list[Tensor] = []
    for layer in model.encoder.layer:
        layer.register_forward_hook(
            lambda module, args, out: states.append(
                out if isinstance(out, Tensor) else out[0]
            )
        )
    limit = model.config.max_position_embeddings
    rows = []
    for text in TEXTS:
        states.clear()
        words = tokenizer(
            text, return_tensors='pt', truncation=True, max_length=limit
        )
        with torch.no_grad():
            last = model(**words).last_hidden_state
        assert len(states) == model.config.num_hidden_layers
        assert torch.equal(states[-1], last)
        rows.append(
            {
                'cls': last[0, 0],
                'mean': last[0].mean(dim=0),
                'second_to_last': states[-2][0].mean(dim=0),
            }[pooling]
        )
    return torch.stack(rows)


@pytest.mark.parametrize('pooling', ['cls', 'mean', 'second_to_last'])
def test_poolings_by_hand(bert_folder: Path, pooling: Any) -> None:
    encoder = BERT(bert_folder, pooling=pooling, batch_size=3)
    want = one_by_one(bert_folder, pooling)
    torch.testing.assert_close(encoder(TEXTS), want, **CLOSE)
    assert encoder.out_channels == 32
    assert f'-{pooling}-' in encoder.name
    others = {'cls', 'mean', 'second_to_last'} - {pooling}
    for other in others:  # else the test says little
        assert torch.dist(want, one_by_one(bert_folder, other)) > 1


def test_real_weights(minilm: Path) -> None:
    texts = [text for text in TEXTS if text]
    encoder = BERT(minilm, pooling='mean')
    assert encoder.max_length == 512
    unit = F.normalize(encoder(texts), dim=1)
    torch.testing.assert_close(unit, SBERT(minilm)(texts), **CLOSE)


def test_default_is_cls(bert_folder: Path) -> None:
    assert BERT(bert_folder).pooling == 'cls'
    encoder = BERT(bert_folder)
    assert not any(part.training for part in encoder.model.modules())
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert encoder.model.pooler is None


def test_batches_and_order(bert_folder: Path) -> None:
    whole = BERT(bert_folder, pooling='mean')(TEXTS)
    assert (whole.dtype, whole.device.type) == (torch.float32, 'cpu')
    assert not whole.requires_grad
    assert not whole.is_inference()
    for size in (1, 2, 4):
        encoder = BERT(bert_folder, pooling='mean', batch_size=size)
        torch.testing.assert_close(encoder(TEXTS), whole, **CLOSE)
        mixed = encoder(TEXTS[::-1]).flip(0)
        torch.testing.assert_close(mixed, whole, **CLOSE)
    assert encoder([]).shape == (0, 32)
    assert encoder.name == BERT(bert_folder, pooling='mean').name


def test_long_texts_are_cut(bert_folder: Path) -> None:
    encoder = BERT(bert_folder, pooling='mean')
    assert encoder.max_length == 24  # of the model: the tokenizer knows none
    long, longer = 'a cat ' * 30, 'a cat ' * 90
    assert torch.equal(encoder([long]), encoder([longer]))
    short = BERT(bert_folder, pooling='mean', max_length=4)
    assert torch.equal(short(['a cat sits']), short(['a cat lies']))
    assert short.name != encoder.name
    with pytest.raises(ValueError, match='between 1 and 24, got 25'):
        BERT(bert_folder, max_length=25)


def test_positions_of_roberta(tmp_path: Path, bert_folder: Path) -> None:
    # It counts from behind the padding's: two positions are never used.
    config = transformers.RobertaConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        (tmp_path / name).write_text((bert_folder / name).read_text())
    encoder = BERT(tmp_path)
    assert encoder.max_length == 18
    assert encoder(['a cat ' * 30]).isfinite().all()


def test_name(bert_folder: Path, tmp_path: Path) -> None:
    names = {BERT(bert_folder).name}
    same = link_copy(bert_folder, tmp_path / 'same' / 'tiny-bert')
    assert {BERT(same).name} == names
    names.add(BERT(bert_folder, pooling='mean').name)
    config = json.loads((bert_folder / 'config.json').read_text())
    config['hidden_act'] = 'relu'
    tokenizer = (bert_folder / 'tokenizer.json').read_text()
    options = json.loads((bert_folder / 'tokenizer_config.json').read_text())
    # Releases of transformers differ in what the fixture became.
    lower = options['do_lower_case']
    options['do_lower_case'] = not lower
    said, flipped = (
        f'"lowercase": {json.dumps(x)}' for x in (lower, not lower)
    )
    assert said in tokenizer
    changed = {
        'activation': {'config__json': json.dumps(config)},
        'case': {
            'tokenizer_config__json': json.dumps(options),
            'tokenizer__json': tokenizer.replace(said, flipped),
        },
        'words': {'tokenizer__json': tokenizer.replace('"danube"', '"rhine"')},
    }
    for key, files in changed.items():
        copy = link_copy(bert_folder, tmp_path / key / 'tiny-bert', **files)
        names.add(BERT(copy).name)
    torch.manual_seed(1)
    encoder = BERT(bert_folder)
    other = transformers.BertModel(encoder.model.config)
    copy = link_copy(bert_folder, tmp_path / 'weights' / 'tiny-bert')
    (copy / 'model.safetensors').unlink()
    other.save_pretrained(copy)
    names.add(BERT(copy).name)
    assert len(names) == 6
    assert all(name.startswith('bert-tiny-bert-') for name in names)


def test_a_call_does_not_change_the_settings(bert_folder: Path) -> None:
    # A tokenizer remembers how it padded and cut last.
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert_folder)
    before = tokenizer_settings(tokenizer)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=7)
    assert json.loads(tokenizer.backend_tokenizer.to_str())['padding']
    assert tokenizer_settings(tokenizer) == before


def test_no_cls_token(bert_folder: Path, tmp_path: Path) -> None:
    data = json.loads((bert_folder / 'tokenizer.json').read_text())
    data['post_processor'] = None
    options = json.loads((bert_folder / 'tokenizer_config.json').read_text())
    options['tokenizer_class'] = 'PreTrainedTokenizerFast'
    copy = link_copy(
        bert_folder,
        tmp_path / 'copy',
        tokenizer__json=json.dumps(data),
        tokenizer_config__json=json.dumps(options),
    )
    with pytest.raises(ValueError, match=r'sets no \[CLS\] token'):
        BERT(copy)
    encoder = BERT(copy, pooling='mean')
    # No tokens at all: zero, not NaN.
    assert torch.equal(encoder(['', 'a'])[0], torch.zeros(32))


def test_arguments(bert_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"pooling must be .* got 'max'"):
        BERT(bert_folder, pooling='max')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'batch_size must be .* got -1'):
        BERT(bert_folder, batch_size=-1)
    with pytest.raises(
        OSError, match="cannot load the text encoder 'no-such/model'"
    ):
        BERT('no-such/model')
