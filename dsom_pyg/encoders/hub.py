"""Loading models by their hub name or from a folder, none of them random."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

# Parts that no pooling here looks at; a checkpoint may lack them.
_UNUSED = ('pooler', 'mask_token')


def load_library(name: str, install: str) -> Any:
    r"""Import a library when it is first needed.

    Args:
        name: Of the module.
        install: What ``pip install`` has to be told.

    Raises:
        ImportError: It is missing; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this encoder needs the package '{name}': "
            f'pip install "{install}" ({error})'
        ) from error


def load_transformers() -> Any:
    r"""Import transformers."""
    return load_library('transformers', 'dsom_pyg[encoders]')


@contextmanager
def loading(what: str, model: str | Path, source: str) -> Iterator[None]:
    r"""Say what was to be loaded when anything goes wrong.

    Args:
        what: Kind of encoder.
        model: Its folder or name.
        source: What can be given instead.

    Raises:
        OSError: Loading failed.
    """
    try:
        yield
    except ImportError:
        raise
    # What a wrong or damaged file brings about depends on how far a library
    # gets with it: KeyError, UnpicklingError, SafetensorError, ...
    except Exception as error:
        raise OSError(
            f"cannot load the {what} encoder '{model}': give {source}, or a "
            f'hub name that is cached or can be downloaded ({error})'
        ) from error


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    r"""Without the report on weights that are not used here anyway."""
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def load_network(transformers: Any, model: str | Path) -> nn.Module:
    r"""The network of a checkpoint, frozen, in float32, without a head.

    Raises:
        OSError: The checkpoint lacks weights, which would be random.
    """
    options = {
        'trust_remote_code': False,
        'dtype': torch.float32,
        'output_loading_info': True,
    }
    auto = transformers.AutoModel
    with quiet(transformers):
        try:
            network, info = auto.from_pretrained(
                str(model), add_pooling_layer=False, **options
            )
        except TypeError:  # a class that has no such layer, or no choice
            network, info = auto.from_pretrained(str(model), **options)
    missing = [key for key in info['missing_keys'] if not is_unused(key)]
    if missing:
        raise OSError(
            f'{len(missing)} weights are not in the checkpoint and would be '
            f"random, such as '{min(missing)}'"
        )
    frozen: nn.Module = network.eval().requires_grad_(False)
    return frozen


def is_unused(key: str) -> bool:
    r"""Whether a weight has no part in any feature here."""
    return any(part in _UNUSED for part in key.split('.'))


def used_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    r"""The weights that features depend on, by name."""
    weights = network.state_dict()
    return {k: v for k, v in weights.items() if not is_unused(k)}
