"""Features that stay where they are: in a file, or on the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from dsom_pyg import graph
from dsom_pyg.datasets import MKGFolder, save_features
from dsom_pyg.kg import KG
from dsom_pyg.models import (
    ComplEx,
    EntityEmbedding,
    FeatureProjection,
    entity,
)
from dsom_pyg.models.sharded import sharded
from dsom_pyg.processes import Shard
from dsom_pyg.query_index import Pairs, SampledCandidates
from dsom_pyg.scores import Scores, sources
from dsom_pyg.teachers import TeacherEnsemble

MAPS = Path('/proc/self/maps')


def file_of(x: Tensor) -> str:
    """The file that a tensor's memory is mapped from, or nothing."""
    for line in MAPS.read_text().splitlines():
        ends, *_, name = line.split(maxsplit=5)
        start, stop = (int(end, 16) for end in ends.split('-'))
        if start <= x.data_ptr() < stop:
            return name.rsplit('/')[-1]
    raise AssertionError('no such memory')


@pytest.mark.skipif(not MAPS.exists(), reason='needs Linux')
def test_features_of_a_file_are_never_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Few would be copied, if they are not where torch would put them.
    monkeypatch.setattr(graph, 'MAPPED', 0)
    root = tmp_path / 'graph'
    root.mkdir()
    ring = [f'e{i}\tr\te{(i + 1) % 40}\n' for i in range(40)]
    (root / 'train.txt').write_text(''.join(ring))
    (root / 'test.txt').write_text('e0\tr\te5\n')
    # In the order in which the graph meets them.
    names = MKGFolder(root).entity_names
    x, file = torch.randn(40, 70), root / 'given.safetensors'
    save_features(file, x, names)
    # First from the file that is given, then from the processed one.
    for once in (True, False):
        data = MKGFolder(root, features={'text': file})[0]
        pooled, present = KG(data).features['text']
        assert present.all()
        assert pooled.equal(x)
        ensemble = TeacherEnsemble.from_features(
            {'text': (pooled, present)}, 40, 1, 4, joint=True
        )
        joint = ensemble['joint'].entities.parts[1]
        for held in (ensemble['text'].entities, joint):
            assert held.x.data_ptr() == data['text'].x.data_ptr()
        assert (file_of(pooled) == file.name) is once
        assert file_of(pooled).endswith('.safetensors')


def test_features_that_do_not_fit_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    present = torch.ones(6, dtype=torch.bool)
    for fits in (True, False):
        monkeypatch.setattr(entity, 'fits', lambda *_, fits=fits: fits)
        part = FeatureProjection(torch.randn(6, 3), present, 4).to('meta')
        assert part.weight.is_meta
        assert part.present.is_meta
        assert part.x.is_meta is fits
    # Their type may change all the same.
    assert part.double().x.dtype == torch.double
    part = FeatureProjection(part.x.float(), present, 4)
    assert part.to('meta', torch.double).x.dtype == torch.double
    assert not part.x.is_meta


def test_large_features_are_not_cast_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bf16 a copy would take half of what a map of a file saves."""
    torch.manual_seed(0)
    x, present = torch.randn(40, 3), torch.ones(40, dtype=torch.bool)
    teacher = ComplEx(FeatureProjection(x, present, 4), 2)
    free = ComplEx(EntityEmbedding(40, 4), 2)
    ids = torch.arange(2)
    for most, cast in ((2**26, True), (100, False)):
        monkeypatch.setattr('dsom_pyg.models.bilinear.KEEP', most)
        monkeypatch.setattr(sources, 'KEEP', most)
        [basis] = teacher.tables('bf16')
        assert isinstance(basis, Tensor)
        assert (basis.dtype == torch.bfloat16) == cast
        assert (basis.data_ptr() == teacher.entities.x.data_ptr()) != cast
        # What is learned is cast once, however large it is.
        [table] = free.tables('bf16')
        assert isinstance(table, Tensor)
        assert table.dtype == torch.bfloat16
        found = teacher.scores(ids, ids, 'bf16', [basis]).dense()
        expected = teacher.score_tails(ids, ids, precision='bf16')
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0.02)


def test_products_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity, 'ROWS', 4)
    torch.manual_seed(0)
    for size in (8, 11, 3, 0):
        x = torch.randn(size, 5, dtype=torch.double)
        weight = torch.randn(5, 6, dtype=torch.double, requires_grad=True)
        out = entity._Projected.apply(weight, x)
        torch.testing.assert_close(out, x @ weight)
        grad = torch.randn_like(out)
        found, expected = (
            torch.autograd.grad(y, weight, grad)[0] for y in (out, x @ weight)
        )
        torch.testing.assert_close(found, expected)
        # Features of another type are cast to that of the matrix.
        half = entity._Projected.apply(weight.float(), x)
        assert half.dtype == torch.float32


def test_no_features_stay_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entity, 'ROWS', 4)
    part = FeatureProjection(torch.ones(11, 70), torch.ones(11).bool(), 4)
    part.weight = nn.Parameter(part.weight.to('meta'))
    kept, made = [], []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.is_meta:
                made.append([*out.shape])
            return out

    def pack(x: Tensor) -> Tensor:
        kept.append([*x.shape])
        return x

    with saved_tensors_hooks(pack, lambda x: x), Watch():
        out = part()
        out.backward(torch.ones_like(out))
    assert [11, 8] in made
    assert [70, 8] in made  # the gradient
    # No more than a chunk of the features is there at once, and none stays.
    assert [4, 70] in made
    assert [11, 70] not in made
    assert all(70 not in shape for shape in kept)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Tensors without values, so that of a GPU, too, there may be some."""
    if torch.version.cuda is None:
        pytest.skip('needs a build of torch that knows CUDA')
    torch._C._ensureCUDADeviceGuardSet()
    with FakeTensorMode():
        yield


def test_scores_on_a_device_of_features_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entity, '_without_dead', lambda x, _: x)
    # Narrower and wider than rows: the latter are multiplied first.
    for width in (3, 70):
        with elsewhere():
            x = torch.empty(6, width)
            with torch.device('cuda'):
                ids = torch.zeros(2, dtype=torch.long)
                present = torch.ones(6, dtype=torch.bool)
                some = SampledCandidates(torch.zeros(3).long(), torch.zeros(3))
                weights = torch.empty(2, 3)
                ensemble = TeacherEnsemble.from_features(
                    {'text': (x, present)}, 6, 2, 4, joint=True
                )
            assert ensemble['text'].entities.x.device.type == 'cpu'
            found = [
                ensemble.combined(ids, ids, weights),
                ensemble.available(ids),
            ]
            for candidates in (None, some):
                scores = ensemble.scores(ids, ids, weights)
                if candidates is not None:
                    scores = scores.among(candidates)
                found += [scores.at(Pairs(ids, ids)), scores.dense()]
            for teacher in ensemble:
                found += [
                    teacher.score_tails(ids, ids, slice(1, 3)),
                    teacher.entities.rows(ids),
                    teacher.entities(),
                    teacher.as_table().entities.weight,
                ]
                query = teacher.query_vectors(ids, ids)
                scores = Scores(teacher.entities.terms(query))
                found += gradients(scores)
            assert {x.device.type for x in found} == {'cuda'}


def test_whole_tables_stay_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While processes share them, a device holds its part alone."""

    def in_turn(shard: Shard, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        devices.add(x.device.type)
        for start in (0, 3):
            yield slice(start, start + 3), torch.full((3, 8), float(start))

    def to(module: nn.Module, device: str) -> nn.Module:
        def moved(x: Tensor) -> Tensor:
            stays = x.device == torch.device(device)
            return x if stays else torch.empty_like(x, device=device)

        return module._apply(moved)

    monkeypatch.setattr('dsom_pyg.processes.count', lambda: 2)
    monkeypatch.setattr('dsom_pyg.models.sharded.count', lambda: 2)
    monkeypatch.setattr('torch.distributed.get_rank', lambda: 0)
    monkeypatch.setattr(Shard, '_in_turn', in_turn)
    # The device is one of tensors without values: none comes back from it.
    monkeypatch.setattr(nn.Module, 'to', to)
    for changed in (True, False):
        devices: set[str] = set()
        x, present = torch.randn(6, 3), torch.ones(6, dtype=torch.bool)
        ensemble = TeacherEnsemble.from_features(
            {'text': (x, present)}, 6, 2, 4, joint=True
        )
        table = ensemble['structure'].entities
        before = table.weight.detach().clone()
        with sharded([ensemble], changed):
            ensemble.to('meta')
            there = {*ensemble.parameters(), *ensemble.buffers()}
            assert all(x.is_meta for x in there)
            assert ensemble['structure'].entities.weight.shape == (3, 8)
            # The whole one is set aside.
            assert table.weight.equal(before)
        assert ensemble['structure'].entities is table
        there = {*ensemble.parameters(), *ensemble.buffers()}
        assert not any(x.is_meta for x in there)
        # Rows that were learned come from the device, others stay.
        assert devices == ({'meta'} if changed else set())
        learned = torch.tensor([0.0] * 3 + [3.0] * 3)[:, None].expand(6, 8)
        assert table.weight.equal(learned if changed else before)


def test_one_table_of_two_models_stays_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While processes share it, and behind that."""

    def in_turn(_: Shard, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        yield slice(0, 3), x
        yield slice(3, 6), torch.full((3, 4), 5.0)  # of the other process

    monkeypatch.setattr('dsom_pyg.processes.count', lambda: 2)
    monkeypatch.setattr('dsom_pyg.models.sharded.count', lambda: 2)
    monkeypatch.setattr('torch.distributed.get_rank', lambda: 0)
    monkeypatch.setattr(Shard, '_in_turn', in_turn)
    one, other = EntityEmbedding(6, 2), EntityEmbedding(6, 2)
    kept = other.weight = one.weight
    both = ComplEx(one, 2), ComplEx(other, 2)
    with sharded(both):
        rows = both[0].entities.weight
        assert both[1].entities.weight is rows
        assert rows.shape == (3, 4)
        rows.data.fill_(7.0)
    assert one.weight is other.weight is kept
    assert kept[:3].eq(7.0).all()
    assert kept[3:].eq(5.0).all()


def gradients(scores: Scores) -> list[Tensor]:
    """Those of coordinates: autograd would ask for the device."""
    source = scores.source
    source.parts.append(lambda _, chunk, out, last: chunk)
    terms = len(source.terms)
    return [x for x in source.back([True, False] * terms) if x is not None]


def test_few_features_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    x, present = torch.randn(6 * 3 + 1)[1:].view(6, 3), torch.ones(6).bool()
    part = FeatureProjection(x, present, 4)
    assert part.x.equal(x)
    assert x.data_ptr() % 64
    assert not part.x.data_ptr() % 64
    monkeypatch.setattr(graph, 'MAPPED', 6 * 3 * 4 - 1)
    assert FeatureProjection(x, present, 4).x.data_ptr() == x.data_ptr()
