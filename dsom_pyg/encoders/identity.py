"""Names of encoders. A name changes with everything that changes a feature."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

# Entries of a configuration that no feature depends on: where the model came
# from, and what its head is for.
_IRRELEVANT = {
    '_name_or_path',
    '_commit_hash',
    'architectures',
    'dtype',
    'id2label',
    'label2id',
    'name_or_path',
    'problem_type',
    'torch_dtype',
    'transformers_version',
}


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    r"""SHA-256 of tensors and their names, in any order."""
    digest = hashlib.sha256()
    for key, value in sorted(tensors.items()):
        digest.update(key.encode())
        # float(): numpy knows no bfloat16
        array = value.detach().float().cpu().contiguous().numpy()
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()


def settings_digest(*settings: Any) -> str:
    r"""SHA-256 of settings as JSON. A value that JSON cannot hold is
    represented by its text, without addresses.
    """
    text = json.dumps(settings, sort_keys=True, default=_text)
    return hashlib.sha256(text.encode()).hexdigest()


def make_name(
    kind: str,
    model: str | Path,
    what: str,
    weights: Mapping[str, Tensor],
    settings: Sequence[Any],
) -> str:
    r"""The name of an encoder: its kind, the last part of the folder or hub
    name of its :obj:`model`, what it pools or encodes, and digests of the
    weights and of all other settings that features depend on.
    """
    path = Path(model)
    short = path.resolve().name if path.is_dir() else path.name
    digests = weights_digest(weights)[:12], settings_digest(*settings)[:8]
    return '-'.join(word for word in (kind, short, what, *digests) if word)


def config_settings(config: Any) -> dict[str, Any]:
    r"""The entries of a transformers configuration that change features."""
    entries = config.to_dict().items()
    kept = {key: value for key, value in entries if key not in _IRRELEVANT}
    return {'class': type(config).__name__, **kept}


def tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    r"""How a transformers tokenizer turns a text into tokens."""
    backend = getattr(tokenizer, 'backend_tokenizer', None)
    if backend is None:  # written in Python
        options = {
            key: value
            for key, value in tokenizer.init_kwargs.items()
            if isinstance(value, bool | int | float) and 'local' not in key
        }
        vocabulary = tokenizer.get_vocab()
        rules: Any = {'vocabulary': vocabulary, 'options': options}
    else:
        rules = json.loads(backend.to_str())
        # The last call left these behind.
        rules.pop('padding', None)
        rules.pop('truncation', None)
    return {
        'class': type(tokenizer).__name__,
        'rules': rules,
        'special': tokenizer.special_tokens_map,
        'inputs': tokenizer.model_input_names,
        'padding': tokenizer.padding_side,
        'truncation': tokenizer.truncation_side,
    }


def module_settings(module: nn.Module) -> list[Any]:
    r"""Classes and plain attributes of a module and all its parts, which
    stand for the configuration that a model does not bring.
    """
    return [
        (
            name,
            type(part).__name__,
            {
                key: value
                for key, value in vars(part).items()
                if isinstance(value, bool | int | float | str | tuple)
                and not key.startswith('_')
                and key != 'training'
            },
        )
        for name, part in module.named_modules()
    ]


def _text(value: object) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    name = getattr(value, '__qualname__', None)
    return str(name) if name else re.sub(r' at 0x[0-9a-f]+', '', str(value))
