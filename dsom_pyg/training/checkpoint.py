"""Trained modules in a file, with what they belong to."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import dsom_pyg
from dsom_pyg.files import DamagedFile, load_tensors, read_header, save_tensors

FORMAT = 'dsom_pyg-2'


def save_checkpoint(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    meta: Mapping[str, Any] | None = None,
) -> None:
    r"""Write the parameters of named modules to ``*.safetensors``, with meta
    data: anything JSON can hold, such as a configuration, the fingerprint of
    the graph, ``entity_names`` and ``relation_names``. An earlier file stays
    until this one is whole.
    """
    tensors = {
        f'{name}/{key}': value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    header = {
        'format': FORMAT,
        'version': dsom_pyg.__version__,
        'meta': json.dumps(dict(meta or {})),
    }
    save_tensors(path, tensors, header)


def load_checkpoint(
    path: str | Path,
    modules: Mapping[str, nn.Module],
    expect: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    r"""Read parameters back into modules of the same names and shapes.

    Args:
        path: Of the checkpoint.
        modules: By name; some of those that were saved may be left out.
        expect: Entries the meta data must have, such as the fingerprint of
            the graph at hand.

    Returns:
        The meta data.

    Raises:
        ValueError: The file is damaged, is no checkpoint of this version
            of the library, or belongs to another graph or configuration;
            the keys are named. Nothing has been loaded then.
    """
    with _whole(path):
        tensors, header = load_tensors(path, hashed=True)
        meta = _meta(path, header)
    expected = {k: v for k, v in (expect or {}).items() if meta.get(k) != v}
    if expected:
        raise ValueError(
            f'{path} does not fit: {", ".join(expected)} differ; expected '
            f'{[*expected.values()]}, it has {[meta.get(k) for k in expected]}'
        )
    states: dict[str, dict[str, Tensor]] = {name: {} for name in modules}
    for key, value in tensors.items():
        name, _, rest = key.partition('/')
        if name in states:
            states[name][rest] = value
    for name, module in modules.items():
        own = {k: v.shape for k, v in module.state_dict().items()}
        saved = {k: v.shape for k, v in states[name].items()}
        if own != saved:
            raise ValueError(
                f"{path}: parameters of '{name}' do not fit, the module has "
                f'{own}, the file {saved}'
            )
    for name, module in modules.items():
        module.load_state_dict(states[name])
    return meta


def read_meta(path: str | Path) -> dict[str, Any]:
    r"""The meta data of a checkpoint, without its parameters; only
    :func:`load_checkpoint` compares both with their hash.
    """
    with _whole(path):
        return _meta(path, read_header(path))


def _meta(path: str | Path, header: Mapping[str, str]) -> dict[str, Any]:
    if header.get('format') != FORMAT:
        raise ValueError(
            f'{path} is not a checkpoint of this library: its format is '
            f"{header.get('format')!r}, expected '{FORMAT}'"
        )
    try:
        meta: dict[str, Any] = json.loads(header['meta'])
    except (KeyError, json.JSONDecodeError) as error:
        raise DamagedFile(f'its meta data cannot be read: {error}') from error
    return meta


@contextmanager
def _whole(path: str | Path) -> Iterator[None]:
    try:
        yield
    except DamagedFile as error:
        message = f'{path} is not a whole checkpoint: {error}'
        raise ValueError(message) from error
