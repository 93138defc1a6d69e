"""Pretrained networks, from the hub or a folder, and their hidden states.

No network here has random weights, and no checkpoint brings code that is run.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal['cls', 'mean', 'second_to_last']

# No pooling here reads these parts, so a checkpoint may lack them.
_UNUSED = ('pooler', 'mask_token')


def load_library(name: str, install: str) -> Any:
    r"""Import a library when it is first needed, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this encoder needs the package '{name}': "
            f'pip install "{install}" ({error})'
        ) from error


@contextmanager
def loading(what: str, model: str | Path, source: str) -> Iterator[None]:
    r"""Turn every error of a block into an :class:`OSError` that names the
    model, and the :obj:`source` that the user can give instead.
    """
    try:
        yield
    except ImportError:
        raise
    # A wrong or damaged file raises different errors, depending on how far
    # the library reads it: KeyError, UnpicklingError, SafetensorError, ...
    except Exception as error:
        raise OSError(
            f"cannot load the {what} encoder '{model}': give {source}, or a "
            f'hub name that is cached or can be downloaded ({error})'
        ) from error


def load_pretrained(
    model: str | Path, what: Literal['text', 'image']
) -> tuple[Any, Any]:
    r"""The tokenizer or image processor of a checkpoint of transformers, and
    its network: frozen, in float32, and without a head.
    """
    transformers = load_library('transformers', 'dsom_pyg[encoders]')
    auto = 'AutoTokenizer' if what == 'text' else 'AutoImageProcessor'
    with loading(what, model, f'a folder of a {what} model'):
        processor = getattr(transformers, auto).from_pretrained(
            str(model), trust_remote_code=False
        )
        return processor, _load_network(transformers, model)


def _load_network(transformers: Any, model: str | Path) -> nn.Module:
    options = {
        'trust_remote_code': False,
        'dtype': torch.float32,
        'output_loading_info': True,
    }
    load = transformers.AutoModel.from_pretrained
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    # Nobody wants a report on weights that are not used here.
    logging.set_verbosity_error()
    try:
        network, info = load(str(model), add_pooling_layer=False, **options)
    except TypeError:  # this class has no such argument
        network, info = load(str(model), **options)
    finally:
        logging.set_verbosity(verbosity)
    missing = [key for key in info['missing_keys'] if not _is_unused(key)]
    if missing:
        raise OSError(
            f'{len(missing)} weights are not in the checkpoint and would be '
            f"random, such as '{min(missing)}'"
        )
    return network.eval().requires_grad_(False)


def hidden_states(network: Any, pooling: Pooling, **inputs: Any) -> Tensor:
    r"""The hidden states that :obj:`pooling` reads, ``[n, tokens, d]``: of
    the layer before the last one for ``'second_to_last'``, else of the last.
    """
    earlier = pooling == 'second_to_last'
    out = network(**inputs, output_hidden_states=earlier)
    return out.hidden_states[-2] if earlier else out.last_hidden_state


def used_weights(network: nn.Module) -> dict[str, Tensor]:
    r"""The weights that features depend on, by name."""
    weights = network.state_dict()
    return {k: v for k, v in weights.items() if not _is_unused(k)}


def _is_unused(key: str) -> bool:
    return any(part in _UNUSED for part in key.split('.'))
