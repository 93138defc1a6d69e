"""Encoders whose hub takes connections and never answers."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest

from dsom_pyg.encoders import BERT, CLIP, SBERT, ViT, hub


class SilentHub:
    """A server that counts its callers and says nothing to them."""

    def __init__(self) -> None:
        self.calls: list[socket.socket] = []
        self.socket = socket.create_server(('127.0.0.1', 0))
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.socket.getsockname()[1]}'

    def _listen(self) -> None:
        while True:
            try:
                self.calls.append(self.socket.accept()[0])
            except OSError:  # closed
                return


@pytest.fixture
def silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SilentHub]:
    server = SilentHub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(hub, 'PATIENCE', 0.2)
    yield server
    server.socket.close()
    for call in server.calls:
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
