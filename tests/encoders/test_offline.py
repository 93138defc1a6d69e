"""Encoders whose hub takes connections and never answers."""

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors
import pytest
from huggingface_hub import constants

from dsom_pyg.encoders import BERT, CLIP, SBERT, ViT, hub


class SilentHub:
    """A server that counts who asks for a model and says nothing to them."""

    def __init__(self) -> None:
        self.calls: list[socket.socket] = []
        self.held: list[socket.socket] = []
        self.socket = socket.create_server(('127.0.0.1', 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.socket.getsockname()[1]}'

    def _listen(self) -> None:
        while True:
            try:
                call = self.socket.accept()[0]
            except OSError:  # closed
                return
            # The library may ask for other things, once a process.
            if b' /api/models/' in call.recv(200):
                self.calls.append(call)
            self.held.append(call)


@pytest.fixture
def silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SilentHub]:
    server = SilentHub()
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(hub, 'PATIENCE', 0.2)
    yield server
    server.socket.close()
    for call in server.held:
        call.close()


@pytest.mark.parametrize('make', [BERT, SBERT, ViT, CLIP])
def test_a_silent_hub_is_asked_once(
    make: Callable[[], object], silent: SilentHub
) -> None:
    with pytest.raises(OSError, match='the hub does not answer') as error:
        make()
    # What to do about it, and that nobody went on trying.
    assert 'folder' in str(error.value) or 'file' in str(error.value)
    assert 'is cached' in str(error.value)
    assert len(silent.calls) == 1


def test_what_is_cached_needs_no_hub(
    silent: SilentHub, minilm: Path, tmp_path: Path
) -> None:
    # As huggingface_hub lays out its cache.
    place = tmp_path / 'cache' / 'models--someone--small'
    shutil.copytree(minilm, place / 'snapshots' / 'abc')
    (place / 'refs').mkdir()
    (place / 'refs' / 'main').write_text('abc')
    model = SBERT('someone/small')
    assert model.out_channels == 384
    assert model(['a cat']).equal(SBERT(minilm)(['a cat']))
    # The same weights under the name that was asked for.
    assert 'small' in model.name
    assert len(silent.calls) == 1


def test_a_folder_needs_no_hub(silent: SilentHub, minilm: Path) -> None:
    SBERT(minilm)
    assert not silent.calls


def test_names_without_an_owner(
    silent: SilentHub, minilm: Path, tmp_path: Path
) -> None:
    # As sentence-transformers takes them for its own.
    place = tmp_path / 'cache' / 'models--sentence-transformers--small'
    shutil.copytree(minilm, place / 'snapshots' / 'abc')
    (place / 'refs').mkdir()
    (place / 'refs' / 'main').write_text('abc')
    assert SBERT('small').out_channels == 384
    # But for some, which the hub has had from its beginning.
    place = place.rename(tmp_path / 'cache' / 'models--bert-base-uncased')
    assert SBERT('bert-base-uncased').out_channels == 384


def test_configurations_on_the_hub_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / '0_Transformer'
    deep.mkdir()
    config = {'attn_implementation': 'someone/kernel'}
    (deep / 'config.json').write_text(json.dumps(config))
    asked: list[tuple[str, list[str]]] = []
    answer: list[Any] = [str(tmp_path)]

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if isinstance(answer[0], Exception):
            raise answer[0]
        return str(answer[0])

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
    with pytest.raises(ValueError, match='sets attn_implementation to'):
        hub.refuse_foreign('someone/model')
    ((name, patterns),) = asked
    assert name == 'someone/model'
    for path in ('config.json', '0_Transformer/config.json'):
        assert any(fnmatch(path, pattern) for pattern in patterns)
    # One fault on the way must not end the check.
    answer[0] = TimeoutError('the hub is slow')
    with pytest.raises(OSError, match=r"look at .* 'someone/model': the hub"):
        hub.refuse_foreign('someone/model')
    # Whoever loads it says that it is not there.
    answer[0] = huggingface_hub.errors.HFValidationError('no name')
    hub.refuse_foreign('no name')
