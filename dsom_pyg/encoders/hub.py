"""Pretrained networks, from the hub or a folder, and their hidden states.

No network here has random weights, and no checkpoint brings code that is run.
"""

import importlib
import importlib.util
import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

Pooling = Literal['cls', 'mean', 'second_to_last']

# No pooling here reads these parts, so a checkpoint may lack them.
_UNUSED = ('pooler', 'mask_token')
# Entries of a configuration that make a library run code which is not its
# own, or unpickle a file.
_FOREIGN = ('trust_remote_code', 'allow_all_kernels', 'checkpoint_path')
# Entries that name a part of a library. A place in their stead, a path or a
# name on the hub, makes it load what lies there: weights or compiled code.
_PARTS = (
    *('architecture', 'backbone', 'timm_model_name'),
    *('attn_implementation', '_attn_implementation'),
    *('experts_implementation', '_experts_implementation'),
)
_CONFIGS = (
    *('config.json', 'tokenizer_config.json', 'adapter_config.json'),
    *('open_clip_config.json', 'sentence_bert_config.json'),
)
_standard_input = threading.RLock()
# Seconds until a hub that does not answer is given up. The libraries
# themselves try each file of a model six times.
PATIENCE = 3


def load_library(name: str, install: str) -> Any:
    r"""Import a library when it is first needed, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this encoder needs the package '{name}': "
            f'pip install "{install}" ({error})'
        ) from error


def need_library(name: str, install: str) -> None:
    r"""As :func:`load_library`, without the seconds of an import."""
    try:
        there = importlib.util.find_spec(name) is not None
    except ValueError:  # in sys.modules, but not a module
        there = False
    if not there:
        load_library(name, install)


@contextmanager
def loading(what: str, model: str | Path, source: str) -> Iterator[None]:
    r"""Turn every error of a block into an :class:`OSError` that names the
    model, and the :obj:`source` that the user can give instead. Nothing in
    the block can ask the user a question; for so long, standard input is
    empty for all threads.
    """
    try:
        with _unasked():
            yield
    except ImportError:
        raise
    # A wrong or damaged file raises different errors, depending on how far
    # the library reads it: KeyError, UnpicklingError, SafetensorError, ...
    except Exception as error:
        why = str(error)
        if 'trust_remote_code' in why:  # as transformers advises
            why = 'it brings code of its own, which is never run'
        raise OSError(
            f"cannot load the {what} encoder '{model}': give {source}, or a "
            f'hub name that is cached or can be downloaded ({why})'
        ) from error


@contextmanager
def _unasked() -> Iterator[None]:
    # Where transformers is not told whether to run the code of a checkpoint,
    # it asks on standard input. An empty one makes that an error.
    with _standard_input:
        before, sys.stdin = sys.stdin, io.StringIO()
        try:
            yield
        finally:
            sys.stdin = before


def find(model: str | Path, what: str, source: str) -> str | Path:
    r"""Where a model is: a folder, or its name on a hub that answers.

    If the hub does not answer, it is the folder in its cache.

    Args:
        model: A folder, or a name on the hub.
        what: As of :func:`loading`.
        source: Likewise.

    Raises:
        OSError: The hub does not answer, and nothing is in its cache.
    """
    if Path(model).exists():
        return model
    library = load_library('huggingface_hub', 'dsom_pyg[encoders]')
    errors = importlib.import_module('huggingface_hub.errors')
    with loading(what, model, source):
        try:
            library.HfApi().model_info(str(model), timeout=PATIENCE)
        # Whoever loads the model says what is wrong with it.
        except (errors.HfHubHTTPError, errors.HFValidationError):
            return model
        # The error of a connection depends on the version of the library.
        except Exception as error:
            try:
                folder = library.snapshot_download(
                    str(model), local_files_only=True
                )
            except errors.LocalEntryNotFoundError:
                why = 'it is not cached, and the hub does not answer: '
                raise OSError(f'{why}{error}') from error
            return Path(folder)
    return model


def refuse_foreign(model: str | Path, *more: str) -> None:
    r"""Raise :class:`ValueError` if a configuration of a checkpoint makes a
    library run code, or load another checkpoint.

    Args:
        model: A folder, or a name on the hub. A name that the hub does not
            have, and what cannot be read, is left to the library that loads
            it.
        more: Further entries that a configuration must not have.

    Raises:
        ValueError: A configuration has such an entry.
        OSError: The hub did not give the configuration.
    """
    for path in _find_configs(model):
        try:
            config = json.loads(path.read_text('utf-8'))
        except (OSError, ValueError, RecursionError):
            continue
        adapter = path.name == 'adapter_config.json'
        alone = adapter and not path.with_name('config.json').exists()
        base = ('base_model_name_or_path',) if alone else ()
        refuse_entries(config, path, *more, *base)


def refuse_entries(config: Any, place: str | Path, *more: str) -> None:
    r"""Raise :class:`ValueError` if a configuration, as JSON, has an entry
    that :func:`refuse_foreign` refuses.
    """
    for key, value in walk_entries(config):
        named = key in _PARTS and ('/' in str(value) or ':' in str(value))
        if named or (value and key in (*_FOREIGN, *more)):
            raise ValueError(
                f"'{place}' sets {key} to {value!r}: code that a checkpoint "
                f'names is never run, and no other checkpoint is loaded in '
                f'its stead; remove the entry if the model works without it'
            )


def walk_entries(config: Any) -> Iterator[tuple[str, Any]]:
    r"""All entries of a configuration, at any depth."""
    todo = [config]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            yield from part.items()
            todo += part.values()
        elif isinstance(part, list):
            todo += part


def _find_configs(model: str | Path) -> list[Path]:
    if Path(model).is_dir():
        return [p for p in Path(model).rglob('*.json') if p.name in _CONFIGS]
    library = load_library('huggingface_hub', 'dsom_pyg[encoders]')
    errors = importlib.import_module('huggingface_hub.errors')
    # At any depth, as a model of several parts has them.
    patterns = [x for name in _CONFIGS for x in (name, f'*/{name}')]
    try:
        folder = library.snapshot_download(str(model), allow_patterns=patterns)
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        return []  # the library that loads it will say what is wrong
    except Exception as error:
        raise OSError(
            f"cannot look at the configuration of '{model}': {error}"
        ) from error
    return _find_configs(folder)


def load_pretrained(
    model: str | Path, what: Literal['text', 'image']
) -> tuple[Any, Any]:
    r"""The tokenizer or image processor of a checkpoint of transformers, and
    its network: frozen, in float32, and without a head.
    """
    source = f'the folder of a model of {what}s'
    need_library('transformers', 'dsom_pyg[encoders]')
    place = find(model, what, source)
    transformers = load_library('transformers', 'dsom_pyg[encoders]')
    refuse_foreign(place)
    auto = 'AutoTokenizer' if what == 'text' else 'AutoImageProcessor'
    with loading(what, model, source):
        processor = getattr(transformers, auto).from_pretrained(
            str(place), trust_remote_code=False
        )
        return processor, _load_network(transformers, place)


def load_tokenizer(model: str | Path) -> Any:
    r"""The tokenizer of a checkpoint of transformers, and no weights."""
    source = 'the folder of a tokenizer'
    need_library('transformers', 'dsom_pyg[encoders]')
    place = find(model, 'text', source)
    transformers = load_library('transformers', 'dsom_pyg[encoders]')
    refuse_foreign(place)
    with loading('text', model, source):
        return transformers.AutoTokenizer.from_pretrained(
            str(place), trust_remote_code=False
        )


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
