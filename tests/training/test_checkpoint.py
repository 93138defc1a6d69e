from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dsom_pyg.files import save_tensors
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.training.checkpoint import (
    load_checkpoint,
    read_meta,
    save_checkpoint,
)

META = {'fingerprint': 'abc', 'entity_names': ['a', 'ü']}


def model(channels: int = 4) -> ComplEx:
    return ComplEx(EntityEmbedding(5, channels), 2)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / 'deep' / 'student.safetensors'
    old, new = model(), model()
    save_checkpoint(path, {'student': old}, META)
    assert (
        load_checkpoint(path, {'student': new}, {'fingerprint': 'abc'}) == META
    )
    for a, b in zip(old.parameters(), new.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_checkpoint(path, {'student': model()}, META)
    other = model()
    before = other.relations.clone()
    with pytest.raises(ValueError, match=r"fingerprint differ.*'xyz'.*'abc'"):
        load_checkpoint(path, {'student': other}, {'fingerprint': 'xyz'})
    with pytest.raises(ValueError, match="parameters of 'student'"):
        load_checkpoint(path, {'student': model(3)})
    with pytest.raises(ValueError, match="parameters of 'policy'"):
        load_checkpoint(path, {'student': other, 'policy': model()})
    assert torch.equal(other.relations, before)


def test_broken_files(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_checkpoint(path, {'student': model()})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match='not a whole checkpoint'):
        read_meta(path)
    save_tensors(tmp_path / 'b.safetensors', {'x': torch.zeros(1)})
    with pytest.raises(ValueError, match='not a checkpoint of this library'):
        read_meta(tmp_path / 'b.safetensors')
    with pytest.raises(FileNotFoundError):
        read_meta(tmp_path / 'missing.safetensors')


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_checkpoint(path, {'student': model()}, META)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    net = model()
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(ValueError, match=r'a\.safetensors is not a whole'):
        load_checkpoint(path, {'student': net})
    for a, b in zip(before, net.parameters(), strict=True):
        assert torch.equal(a, b)
    # What is changed is not taken for what belongs to another graph.
    content[-5] ^= 1
    content[content.index(b'abc')] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match='content is not what was written'):
        load_checkpoint(path, {'student': net}, {'fingerprint': 'abc'})
    # An older version wrote no hash.
    header = {'format': 'dsom_pyg-1', 'meta': '{}'}
    save_file({'student/x': torch.zeros(1)}, path, header)
    with pytest.raises(ValueError, match=r'no hash.*earlier version'):
        load_checkpoint(path, {'student': net})


def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.safetensors'
    save_checkpoint(path, {'student': model()}, {'version': 1})

    def fail(tensors: object, name: Path, metadata: object) -> None:
        Path(name).write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr('dsom_pyg.files.save_file', fail)
    with pytest.raises(OSError, match='disk full'):
        save_checkpoint(path, {'student': model()}, {'version': 2})
    assert read_meta(path) == {'version': 1}
    assert len(list(tmp_path.iterdir())) == 1
