"""What a run says while it goes on: lines, a bar a stage, or JSON."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from dsom_pyg.cli.plan import Stage
from dsom_pyg.datasets.errors import printable
from dsom_pyg.files import append, explain
from dsom_pyg.processes import first
from dsom_pyg.training import Progress
from dsom_pyg.training.progress import Record

# Seconds of steps after which it is said how long the run will take.
SETTLED = 5.0
# Seconds after which a line is said where no epoch has ended.
QUIET = 60.0


def asking(*words: str | Path) -> str:
    r"""The command that asks a model, for a shell: its folder, an entity and
    a relation.
    """
    quoted = [shlex.quote(str(word)) for word in words]
    # What begins so would be an option.
    end = '-- ' if any(str(word).startswith('-') for word in words) else ''
    return f'dsom-pyg answer {end}{" ".join(quoted)}'


class Console(Progress):
    r"""Says what happens, on the terminal and in the log of the run.

    Args:
        log: The file that keeps it.
        as_json: Say everything as a line of JSON, for programs.
        stages: What is to come, see :func:`~dsom_pyg.cli.plan.stages_of`.
    """

    def __init__(
        self, log: Path, as_json: bool, stages: Mapping[str, Stage]
    ) -> None:
        self.log, self.as_json, self.clock = log, as_json, Clock(stages)
        self.bar: tqdm[Any] | None = None
        self.stage = ''
        self.estimated = False
        self.said = time.perf_counter()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            explain(error, log.parent)
            raise

    def say(self, text: str, **values: Any) -> None:
        r"""Say a line; programs get the values, too. Of several processes
        the first one speaks.
        """
        if not first():
            return
        self.said = time.perf_counter()
        self._log(text)
        if self.as_json:
            print(
                json.dumps({'said': text, **values}, ensure_ascii=False),
                flush=True,
            )
        else:
            print(printable(text), flush=True)

    def _log(self, text: str) -> None:
        now = time.strftime('%Y-%m-%d %H:%M:%S')
        append(self.log, f'{now}  {printable(text)}')

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.stage, self.epochs, self.done = stage, epochs, len(history)
        self.batches, self.batch = batches, 0
        self.clock.begin(stage, epochs, batches, len(history))
        if history and len(history) < epochs:
            self.say(
                f'{stage}: goes on after epoch {len(history)} of {epochs}',
                stage=stage,
            )
        elif history:
            self.say(f'{stage}: was done already', stage=stage)
            return
        if sys.stderr.isatty() and not self.as_json:
            self.bar = tqdm(
                total=epochs * batches,
                initial=len(history) * batches,
                desc=stage,
                bar_format='{desc}: {percentage:3.0f}%|{bar}| {postfix}',
            )

    def step(self) -> None:
        self.clock.step()
        self.batch += 1
        if not self.estimated and self.clock.spent > SETTLED:
            self.estimated = True
            self.say(
                f'time: {self.clock.left()}',
                seconds_left=self.clock.seconds_left(),
            )
        if self.bar is not None:
            self.bar.set_postfix_str(self._now(), refresh=False)
            self.bar.update()
        elif time.perf_counter() - self.said > QUIET:
            at = f'batch {self.batch} of {self.batches}'
            self.say(
                f'{self.stage}: {at}, {self._now()}',
                stage=self.stage,
                seconds_left=self.clock.seconds_left(),
            )

    def epoch(self, record: Record) -> None:
        self.done, self.batch = self.done + 1, 0
        self.said = time.perf_counter()
        told = [f'loss {record["loss"]:.4g}']
        if 'val_mrr' in record:
            told.append(f'val MRR {100 * record["val_mrr"]:.2f}')
        line = (
            f'{self.stage}: epoch {self.done} of {self.epochs}, '
            f'{", ".join(told)}, {self.clock.left()}'
        )
        if self.as_json:
            left = self.clock.seconds_left()
            self._log(line)
            values = {'stage': self.stage, **record, 'seconds_left': left}
            print(json.dumps(values), flush=True)
        elif self.bar is None:
            self.say(line)
        else:
            self._log(line)

    def end(self) -> None:
        self.clock.end()
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _now(self) -> str:
        epoch = min(self.done + 1, self.epochs)
        return f'epoch {epoch} of {self.epochs}, {self.clock.left()}'


class Clock:
    r"""How long the whole run will take, from what its steps took so far.

    Args:
        stages: What is to come.
    """

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.left_of = {
            name: stage.epochs * stage.cost for name, stage in stages.items()
        }
        self.cost = {name: stage.cost for name, stage in stages.items()}
        self.spent = self.passes = 0.0
        self.at = time.perf_counter()
        self.stage, self.of_step = '', 0.0

    def begin(self, stage: str, epochs: int, batches: int, done: int) -> None:
        r"""A stage begins, or goes on after some epochs."""
        self.stage = stage
        if stage in self.cost:  # what should have come before does not come
            for before in takewhile(lambda x: x != stage, self.cost):
                self.left_of[before] = 0.0
        cost = self.cost.get(stage, 0.0)
        self.of_step = cost / max(batches, 1)
        self.left_of[stage] = cost * (epochs - done)
        self.at = time.perf_counter()

    def step(self) -> None:
        r"""A batch is done."""
        now = time.perf_counter()
        if self.of_step:
            self.spent += now - self.at
            self.passes += self.of_step
            self.left_of[self.stage] -= self.of_step
        self.at = now

    def end(self) -> None:
        r"""The stage has ended, early or not."""
        self.left_of[self.stage] = 0.0

    def seconds_left(self) -> float | None:
        r"""Of the whole run; :obj:`None` before the first step."""
        if not self.passes:
            return None
        left = sum(max(each, 0.0) for each in self.left_of.values())
        return left * self.spent / self.passes

    def left(self) -> str:
        r"""The same in words."""
        seconds = self.seconds_left()
        if seconds is None:
            return 'time left unknown yet'
        return f'about {timedelta(seconds=round(seconds))} left'
