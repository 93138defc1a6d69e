"""From a graph to a student in one call."""

from pathlib import Path

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.evaluation import evaluate
from dsom_pyg.graph import drop_modality, get_split, set_split
from dsom_pyg.nn import TeacherBatch
from dsom_pyg.training import FitConfig, RecipeConfig, train_dsom

DATA = FakeMMKG(30, 4, 200)[0]
LOOP = FitConfig(epochs=4, batch_size=50, progress=False)


def config(**options: object) -> RecipeConfig:
    words = {
        'hidden_channels': 8,
        'teachers': LOOP,
        'student': LOOP,
        'policy_epochs': 3,
        'unlabeled': 40,
        **options,
    }
    return RecipeConfig(**words)  # type: ignore[arg-type]


def test_stages_and_what_answers(tmp_path: Path) -> None:
    trained = train_dsom(DATA, config(folds=2), tmp_path)
    assert trained.ensemble.modalities == [
        'structure',
        'image',
        'text',
        'joint',
    ]
    assert list(trained.results) == ['teachers', 'policy', 'student']
    assert evaluate(trained.student, DATA).ranks().max() <= 30
    assert evaluate(trained.combined(DATA), DATA).ranks().max() <= 30
    names = {path.name for path in tmp_path.glob('*.safetensors')}
    assert names == {
        'teachers.safetensors',
        'fold-1-of-2.safetensors',
        'fold-2-of-2.safetensors',
        'policy.safetensors',
        'student.safetensors',
    }
    # Everything is there already: the same student, nothing trained.
    stamps = [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    again = train_dsom(DATA, config(folds=2), tmp_path)
    for a, b in zip(
        trained.student.parameters(), again.student.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    assert stamps == [path.stat().st_mtime_ns for path in tmp_path.iterdir()]
    # A student of another policy is another run.
    (tmp_path / 'policy.safetensors').unlink()
    with pytest.raises(ValueError, match=r'student\.safetensors'):
        train_dsom(DATA, config(folds=2, policy_epochs=9), tmp_path)


def test_test_triples_are_never_read() -> None:
    blind = DATA.clone()
    test = get_split(DATA, 'test')
    set_split(blind, 'test', test.select(torch.arange(0)))
    students = [train_dsom(d, config()).student for d in (DATA, blind)]
    for a, b in zip(*(s.parameters() for s in students), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('rate', [0.5, 1.0])
def test_missing_modalities(rate: float) -> None:
    data = drop_modality(DATA, 'text', rate)
    trained = train_dsom(data, config(unlabeled=0))
    head, rel = torch.arange(30), torch.zeros(30, dtype=torch.long)
    batch = TeacherBatch(trained.ensemble, head, rel)
    weights = trained.policy.weights(batch)
    assert (weights[~batch.available] == 0).all()
    assert evaluate(trained.student, data).ranks().isfinite().all()
