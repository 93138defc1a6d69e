import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dsom_pyg.files import whole_or_nothing


def test_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'a.txt'
    with whole_or_nothing(path) as temporary:
        temporary.write_text('whole')
        assert temporary.parent.parent == path.parent
        assert not path.exists()
    assert path.read_text() == 'whole'
    assert os.listdir(path.parent) == ['a.txt']


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_text('old')

    def interrupted() -> None:
        with whole_or_nothing(path) as temporary:
            temporary.write_text('ha')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


@pytest.mark.parametrize('safe', [False, True])
def test_others_may_read_it(tmp_path: Path, safe: bool) -> None:
    plain, path = tmp_path / 'plain', tmp_path / 'a.txt'
    plain.touch()
    with whole_or_nothing(path) as temporary:
        if safe:
            save_file({'x': torch.ones(1)}, temporary)
        else:
            temporary.touch()
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (plain, path)}
    assert len(modes) == 1
