"""Who trains is told how it goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dsom_pyg.datasets import FakeMMKG
from dsom_pyg.models import ComplEx, EntityEmbedding
from dsom_pyg.training import Adagrad, Loop, ModelTask, Progress, fit
from dsom_pyg.training.progress import Record

DATA = FakeMMKG(30, 4, 200)[0]


class Diary(Progress):
    def __init__(self, until: int = 99) -> None:
        self.lines: list[str] = []
        self.until = until

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.lines.append(f'{stage} {len(history)}/{epochs} x {batches}')

    def step(self) -> None:
        self.lines.append('.')

    def epoch(self, record: Record) -> None:
        self.lines.append(f'{record["epoch"]:.0f}')
        if record['epoch'] == self.until:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.lines.append('end')


def run(path: Path | None, watch: Progress | bool | None, epochs: int) -> int:
    torch.manual_seed(0)
    task = ModelTask(ComplEx(EntityEmbedding(30, 4), 4), 'model')
    loop = Loop(epochs=epochs, batch_size=40)
    return len(fit(task, DATA, loop, path, progress=watch).history)


def test_what_is_told(tmp_path: Path) -> None:
    path = tmp_path / 'run.safetensors'
    first = Diary(until=1)
    with pytest.raises(KeyboardInterrupt, match=r"epoch 1 is saved in '.*run"):
        run(path, first, 2)
    batches = first.lines.count('.')
    assert batches > 1
    epoch = ['.'] * batches
    head = f'/2 x {batches}'
    assert first.lines == [f'model 0{head}', *epoch, '1', 'end']
    second = Diary()
    run(path, second, 2)
    assert second.lines == [f'model 1{head}', *epoch, '2', 'end']
    third = Diary()
    run(path, third, 2)
    assert third.lines == [f'model 2{head}', 'end']


def test_the_base_class_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(None, Progress(), 2) == 2
    run(None, False, 2)
    run(None, None, 2)  # no terminal
    assert capfd.readouterr() == ('', '')


def test_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    diary = Diary()
    run(None, diary, 2)
    steps = diary.lines.count('.')
    run(None, True, 2)
    said = capfd.readouterr().err
    assert 'model: 100%' in said
    assert f'{steps}/{steps} ' in said
    assert 'epoch=2' in said
    assert 'loss=' in said


def test_what_is_told_of_a_run_that_stopped_early(tmp_path: Path) -> None:
    class Greedy(Diary):
        # What it is told is its own.
        def begin(self, *args: Any) -> None:
            super().begin(*args)
            args[3].append({'epoch': 7.0})

        def epoch(self, record: Any) -> None:
            super().epoch(record)
            record['epoch'] = 8.0

    def trained(watch: Progress) -> list[Any]:
        torch.manual_seed(0)
        task = ModelTask(ComplEx(EntityEmbedding(30, 4), 4), 'model')
        optimizer = Adagrad(lr=1e-9)  # nothing gets better
        loop = Loop(epochs=9, optimizer=optimizer, eval_every=1, patience=1)
        path = tmp_path / 'run.safetensors'
        return fit(task, DATA, loop, path, progress=watch).history

    first, second = Greedy(), Greedy()
    history = trained(first)
    assert [x['epoch'] for x in history] == [1, 2]
    assert first.lines[0].startswith('model 0/9 ')
    assert trained(second) == history
    assert second.lines[0].startswith('model 2/2 ')
