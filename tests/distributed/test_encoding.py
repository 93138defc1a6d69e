"""Two and four processes encode what one encodes, and each item once."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from test_processes import run


def images(folder: Path) -> Path:
    folder.mkdir()
    for width in range(1, 24):
        Image.new('RGB', (width, 5)).save(folder / f'{width}.png')
    (folder / '9.png').write_bytes(b'no image')
    return folder


def said(folder: Path, processes: int) -> list[Any]:
    found: list[Any] = json.loads((folder / f'{processes}.json').read_text())
    return found


def test_each_encodes_a_part(tmp_path: Path) -> None:
    folder = images(tmp_path / 'images')
    run(folder, 1, 'one', job='encoding.py')
    ((first, _),) = said(folder, 1)
    assert first[0][:2] == [[23.0, 5.0], [22.0, 5.0]]
    assert list(first[2]) == ['14']
    assert sorted(first[3]) == sorted(
        f'{width}.png' for width in range(1, 24) if width != 9
    )
    for processes in (2, 4):
        caches = ['shared'] * processes
        run(folder, processes, *caches, job='encoding.py')
        each = said(folder, processes)
        for once, twice in each:
            assert once[:3] == twice[:3] == first[:3]
            # All but the first process find nothing else in the cache.
            assert once[3]
            assert not twice[3]
        asked = [name for once, _ in each for name in once[3]]
        assert sorted(asked) == sorted(first[3])
        for file in (folder / 'shared').rglob('*.safetensors'):
            file.unlink()


def test_caches_that_differ(tmp_path: Path) -> None:
    folder = images(tmp_path / 'images')
    run(folder, 1, 'one', job='encoding.py')
    ((first, _),) = said(folder, 1)
    # The second process has nothing, and writes nothing.
    run(folder, 2, 'one', 'other', job='encoding.py')
    each = said(folder, 2)
    for once, _ in each:
        assert once[:3] == first[:3]
    assert not (folder / 'other').exists()


def test_processes_that_see_other_images(tmp_path: Path) -> None:
    folder = images(tmp_path / 'images')
    for process in range(2):
        path = folder / f'of process {process}.png'
        Image.new('RGB', (30 + process, 5)).save(path)
    run(folder, 2, 'cache', 'cache', job='encoding.py')
    for process, told in enumerate(said(folder, 2)):
        name = f'of process {process}.png'
        assert told.startswith(f"processes read '{folder / name}' differently")
    assert not (folder / 'cache').exists()


def test_one_process_speaks(tmp_path: Path) -> None:
    words = 'encode', 'Countries', '--device', 'cpu', '--root', str(tmp_path)
    said = run(tmp_path / 'job', 2, *words, job='command.py').splitlines()
    kinds = [line.partition(':')[0] for line in said]
    assert sorted(kinds) == ['image', 'text']
