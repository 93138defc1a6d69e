"""Big libraries: imported late, missed with advice, offline when cached."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from model_folders import link_copy

from dsom_pyg.encoders import BERT, CLIP, SBERT, ViT, hub


@pytest.mark.parametrize(
    ('make', 'module', 'install'),
    [
        (ViT, 'transformers', 'dsom_pyg[encoders]'),
        (BERT, 'transformers', 'dsom_pyg[encoders]'),
        (CLIP, 'open_clip', 'open-clip-torch'),
        (SBERT, 'sentence_transformers', 'sentence-transformers'),
    ],
)
def test_a_missing_library(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], object],
    module: str,
    install: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        make()
    assert f"needs the package '{module}'" in str(caught.value)
    assert f'pip install "{install}"' in str(caught.value)


def cache(root: Path, name: str, folder: Path) -> None:
    """Lay a model out as the hub's cache does."""
    place = root / f'models--{name.replace("/", "--")}'
    revision = '0123456789abcdef0123456789abcdef01234567'
    shutil.copytree(folder, place / 'snapshots' / revision)
    (place / 'refs').mkdir()
    (place / 'refs' / 'main').write_text(revision)


SCRIPT = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError('reached for the network')

socket.socket.connect = socket.create_connection = refuse
import torch

of_torch = {*sys.modules}
import dsom_pyg.completion

late = {
    'PIL', 'h5py', 'matplotlib', 'networkx', 'pandas', 'scipy', 'sklearn',
    'torch_geometric', 'torch_scatter', 'tqdm', 'transformers',
}
print(late & (sys.modules.keys() - of_torch))
from dsom_pyg.encoders import BERT, CLIP, SBERT, ViT

big = {'transformers', 'open_clip', 'sentence_transformers', 'sklearn'}
print(big & sys.modules.keys())
for encoder in (
    ViT('someone/tiny-vit'),
    BERT('someone/tiny-bert'),
    CLIP('hf-hub:someone/tiny-clip'),
    CLIP('hf-hub:someone/tiny-clip', tower='text'),
    SBERT('someone/tiny-sbert'),
):
    print(encoder.name)
print(big - sys.modules.keys())
try:
    ViT('someone/not-cached')
except OSError as error:
    print(error)
"""


def test_imported_late_and_offline_from_the_cache(
    tmp_path: Path,
    vit_folder: Path,
    bert_folder: Path,
    clip_folder: Path,
    sbert_folder: Path,
) -> None:
    for folder in (vit_folder, bert_folder, clip_folder, sbert_folder):
        cache(tmp_path, f'someone/{folder.name}', folder)
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT],
        env={
            **os.environ,
            'HF_HUB_OFFLINE': '1',
            'HF_HUB_CACHE': str(tmp_path),
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    asking, early, *names, late, failure = done.stdout.splitlines()
    # Who asks a model that is kept does not wait for what trains one.
    assert asking == 'set()'
    assert early == 'set()'
    # The names tell that these are the same weights and settings.
    assert names == [
        ViT(vit_folder).name,
        BERT(bert_folder).name,
        CLIP(clip_folder).name,
        CLIP(clip_folder, tower='text').name,
        SBERT(sbert_folder).name,
    ]
    assert late in ('set()', "{'sklearn'}")
    assert "cannot load the image encoder 'someone/not-cached'" in failure


def test_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = io.StringIO('y\n')
    monkeypatch.setattr('sys.stdin', answers)
    with pytest.raises(OSError, match='EOF'), hub.loading('text', 'm', 's'):
        input('Do you wish to run the custom code? [y/N] ')
    assert sys.stdin is answers
    assert answers.read() == 'y\n'


@pytest.mark.parametrize(
    ('file', 'entries'),
    [
        ('config.json', {'a': [{'trust_remote_code': True}]}),
        ('config.json', {'model_args': {'checkpoint_path': 'pickle.pth'}}),
        ('config.json', {'architecture': 'local-dir:elsewhere'}),
        ('config.json', {'backbone': '/else/where'}),
        ('config.json', {'attn_implementation': 'someone/kernel'}),
        ('config.json', {'attn_implementation': {'': 'someone/kernel'}}),
        ('sub/config.json', {'allow_all_kernels': True}),
        ('tokenizer_config.json', {'trust_remote_code': True}),
        (
            'sub/adapter_config.json',
            {'base_model_name_or_path': 'someone/else'},
        ),
    ],
)
def test_what_a_configuration_must_not_name(
    file: str,
    entries: dict[str, object],
    tmp_path: Path,
    vit_folder: Path,
    bert_folder: Path,
    sbert_folder: Path,
) -> None:
    for number, (make, source) in enumerate(
        [(ViT, vit_folder), (BERT, bert_folder), (SBERT, sbert_folder)]
    ):
        folder = tmp_path / str(number)
        shutil.copytree(source, folder, symlinks=True)
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**old, **entries}))
        with pytest.raises(ValueError, match=f'{path.name}.* sets '):
            make(folder)


def test_code_beside_a_model_that_the_library_knows(
    bert_folder: Path, tmp_path: Path
) -> None:
    # transformers leaves it alone, as it is told to.
    config = json.loads((bert_folder / 'config.json').read_text())
    config['auto_map'] = {'AutoModel': 'evil.Model'}
    folder = tmp_path / bert_folder.name
    link_copy(bert_folder, folder, config__json=json.dumps(config))
    words = BERT(folder).name.split('-')
    assert words[:4] == BERT(bert_folder).name.split('-')[:4]
