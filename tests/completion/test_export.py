"""Embeddings in files, read without this library."""

import json
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dsom_pyg.completion import Completer, Vocabulary
from dsom_pyg.completion import export as module
from dsom_pyg.models import EntityEmbedding, TransE, TuckER


def check_about(about: dict[str, str], model: Completer) -> None:
    assert about['fingerprint'] == model.graph.fingerprint
    assert about['software'] == 'dsom_pyg'
    assert about['model'] == 'ComplEx'


def named(model: Completer, first: str) -> Completer:
    names = [first, *model.entities.names[1:]]
    keys = [f'key:{at}' for at in range(len(names))]
    return Completer(replace(model.parts, entities=Vocabulary(names, keys)))


def by_formula(entities: np.ndarray, relations: np.ndarray) -> np.ndarray:
    # Re <h, r, conj(t)> of all triples, [E, 2R, E].
    half = entities.shape[1] // 2
    e = entities[:, :half] + 1j * entities[:, half:]
    r = relations[:, :half] + 1j * relations[:, half:]
    return np.einsum('hd,rd,td->hrt', e, r, e.conj()).real


def scores(model: Completer) -> np.ndarray:
    size, rels = model.graph.num_entities, 2 * model.graph.num_relations
    head = torch.arange(size).repeat_interleave(rels)
    rel = torch.arange(rels).repeat(size)
    out = model.parts.student.score_tails(head, rel)
    return out.detach().reshape(size, rels, size).numpy()


def test_safetensors(model: Completer, tmp_path: Path) -> None:
    mine = named(model, 'Auk "Ø"\n\ud800')
    path = tmp_path / 'deep' / 'rows.safetensors'
    mine.export(path)
    with safe_open(path, 'np') as file:
        tensors = {name: file.get_tensor(name) for name in [*file.keys()]}
        about = file.metadata()
    check_about(about, model)
    said = json.loads(bytes(tensors.pop('names')))
    assert said == {
        'entities': {'names': mine.entities.names, 'keys': mine.entities.keys},
        'relations': {
            'names': model.relations_known.names,
            'keys': model.relations_known.keys,
        },
    }
    assert np.allclose(by_formula(**tensors), scores(model), atol=1e-5)


@pytest.mark.parametrize('ending', ['safetensors', 'npz'])
def test_what_a_link_leads_to_is_written(
    ending: str, model: Completer, tmp_path: Path
) -> None:
    disk, link = tmp_path / 'disk', tmp_path / f'rows.{ending}'
    link.symlink_to(disk)
    model.export(link)
    assert link.is_symlink()
    assert disk.stat().st_size > 0


def test_npz(model: Completer, tmp_path: Path) -> None:
    mine = named(model, ' Auk "Ø"\n\u2028')
    path = tmp_path / 'rows.npz'
    mine.export(path)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    check_about(json.loads(str(arrays.pop('about'))), model)
    names = {k: arrays.pop(k).tolist() for k in [*arrays] if '_' in k}
    assert names == {
        'entity_names': mine.entities.names,
        'entity_keys': mine.entities.keys,
        'relation_names': model.relations_known.names,
        'relation_keys': model.relations_known.keys,
    }
    assert np.allclose(by_formula(**arrays), scores(model), atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'why'),
    [
        ('x' * 2**25, 'one entity has 33,554,432 characters'),
        ('x\0', 'ends in a zero'),
    ],
)
def test_names_that_npz_cannot_hold(
    model: Completer, tmp_path: Path, name: str, why: str
) -> None:
    path = tmp_path / 'rows.npz'
    with pytest.raises(ValueError, match=why):
        named(model, name).export(path)
    assert not list(tmp_path.iterdir())


def test_neighbours_are_the_answers(model: Completer, tmp_path: Path) -> None:
    faiss = pytest.importorskip('faiss')
    path = tmp_path / 'rows.faiss'
    model.export(path)
    index = faiss.read_index(str(path))
    said = json.loads(path.with_name('rows.faiss.json').read_text())
    names = said['entities']['names']
    check_about(said, model)
    assert said['sha256'] == sha256(path.read_bytes()).hexdigest()
    assert said['relations']['names'] == model.relations_known.names
    assert (index.ntotal, index.d) == (len(names), 8)
    ends, links = model.entities.names, model.relations_known.names
    given, rels = zip(*product(ends, links), strict=True)
    for side in ('head', 'tail'):
        asked = {side: given, 'relation': rels}
        score, found = index.search(model.query_vectors(**asked).numpy(), 5)
        answers = model.answer(**asked, k=5, known=True, among='all')
        assert [[names[at] for at in row] for row in found] == [
            [answer.name for answer in row] for row in answers
        ]
        expected = [[answer.score for answer in row] for row in answers]
        assert np.allclose(score, expected, atol=1e-5)


def test_a_single_question(model: Completer) -> None:
    one = model.query_vectors('MV Auk', 'calls at')
    assert one.shape == (1, 8)
    many = model.query_vectors(['MV Auk', 'MV Brent'], 'calls at')
    assert torch.equal(many[:1], one)
    assert not one.requires_grad
    other = model.query_vectors(tail='MV Auk', relation='calls at')
    assert not torch.allclose(one, other)
    with pytest.raises(ValueError, match='either the head or the tail'):
        model.query_vectors('MV Auk')


def test_faiss_is_missing(
    model: Completer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match=r'"dsom_pyg\[index\]"'):
        model.export(tmp_path / 'rows.faiss')
    assert not list(tmp_path.iterdir())


def test_another_ending(model: Completer, tmp_path: Path) -> None:
    endings = r'\.safetensors, \.npz .*\.faiss.*\.tsv'
    with pytest.raises(ValueError, match=endings):
        model.export(tmp_path / 'rows.pt')


def test_all_that_a_model_holds(model: Completer, tmp_path: Path) -> None:
    """The core of TuckER makes scores of rows."""
    torch.manual_seed(0)
    sizes = model.graph.num_entities, model.graph.num_relations
    student = TuckER(EntityEmbedding(sizes[0], 4), sizes[1], 3).eval()
    mine = Completer(replace(model.parts, student=student))
    mine.export(tmp_path / 'rows.npz')
    with np.load(tmp_path / 'rows.npz') as file:
        rows, rels, core = (
            file[name] for name in ('entities', 'relations', 'core')
        )
    found = np.einsum('hd,rk,kde,te->hrt', rows, rels, core, rows)
    assert np.allclose(found, scores(mine), atol=1e-5)
    assert mine.query_vectors('MV Auk', 'calls at').shape == (1, 8)


def test_distances_have_no_query_vectors(model: Completer) -> None:
    sizes = model.graph.num_entities, model.graph.num_relations
    student = TransE(EntityEmbedding(sizes[0], 4), sizes[1]).eval()
    mine = Completer(replace(model.parts, student=student))
    with pytest.raises(ValueError, match='a TransE are no products'):
        mine.query_vectors('MV Auk', 'calls at')


def test_a_part_of_a_model_is_no_place(
    model: Completer, tmp_path: Path
) -> None:
    path = tmp_path / 'student.safetensors'
    model.export(path)  # there is no model here
    model.save(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match='is a part of the model'):
        model.export(path)
    assert path.read_bytes() == before
    model.export(tmp_path / 'rows.safetensors')


@pytest.mark.parametrize('ending', ['safetensors', 'npz', 'faiss'])
def test_whole_or_nothing(
    model: Completer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    path = tmp_path / f'rows.{ending}'
    model.export(path)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def failing(*args: object, **options: object) -> None:
        raise OSError(28, 'no space')

    monkeypatch.setattr(np, 'savez', failing)
    monkeypatch.setattr(module, 'hash_file', failing)
    monkeypatch.setattr('dsom_pyg.files.save_file', failing)
    with pytest.raises(OSError, match='the disk is full'):
        model.export(path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
