"""A run of several stages: its graph, seeds, files and results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from dsom_pyg.kg import KG
from dsom_pyg.precision import resolve_precision
from dsom_pyg.processes import begin
from dsom_pyg.training.fit import fit
from dsom_pyg.training.loop import FitResult, Loop
from dsom_pyg.training.progress import Progress, watching
from dsom_pyg.training.task import Task


@dataclass(kw_only=True)
class Run:
    r"""What the stages of one training share.

    Args:
        graph: The graph.
        folder: Where each stage writes a file after each epoch, and goes on
            from it; :obj:`None` for nowhere.
        seed: Of all draws; stages add small numbers to it.
        device, precision, progress: See :func:`~dsom_pyg.training.fit`.
        results: What happened, stage by stage.
        within: Begins the name of each stage, for a run that is a part of
            another one.
    """

    graph: KG
    folder: Path | None = None
    seed: int = 0
    device: str = 'cpu'
    precision: str | None = None
    progress: bool | Progress | None = None
    results: dict[str, FitResult] = field(default_factory=dict)
    within: str = ''

    def __post_init__(self) -> None:
        self.device = begin(self.device)

    def fit(
        self,
        stage: str,
        task: Task,
        loop: Loop,
        graph: KG | None = None,
        *,
        last: bool = False,
    ) -> FitResult:
        r"""Train a task as a stage of this run, on the run's graph unless
        another is given. The stage names the file to go on from, the result,
        and the task in what is shown of it. The last stage, on which no other
        one builds, may go on with more epochs.
        """
        stage = self.within + stage
        task.name = stage
        path = self.folder and self.folder / f'{stage}.safetensors'
        self.results[stage] = fit(
            task,
            graph or self.graph,
            loop,
            path,
            prolong=last,
            seed=self.seed,
            device=self.device,
            precision=self.precision,
            progress=self.progress,
        )
        return self.results[stage]

    @contextmanager
    def watched(
        self, stage: str, batches: int
    ) -> Iterator[Callable[[], None]]:
        r"""Tell how a stage goes on that learns nothing; the block calls what
        it is given after each batch.
        """
        watch = watching(self.progress)
        watch.begin(self.within + stage, 1, batches, [])
        try:
            yield watch.step
        finally:
            watch.end()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        r"""Let an interruption between stages say what is saved, as one
        within a stage does.
        """
        try:
            yield
        except KeyboardInterrupt as error:
            if error.args:
                raise
            ended = ', '.join(self.results) or 'none'
            kept = 'nothing is saved, for want of a folder'
            if self.folder is not None:
                kept = f"they are saved in '{self.folder}'"
            raise KeyboardInterrupt(
                f'training was interrupted between its stages; those that '
                f'ended: {ended}; {kept}; run the same again to go on'
            ) from None

    def member(self, at: int) -> 'Run':
        r"""The run of a committee's member; the first keeps the seed."""
        # So far apart that runs of near seeds have no member in common.
        return replace(self, seed=self.seed + 1000 * at)

    def resolved_precision(self) -> str:
        r"""The precision that will be used."""
        return resolve_precision(self.precision, self.device)


@contextmanager
def drawn_with(seed: int) -> Iterator[None]:
    r"""Draw parameters with a seed, on the CPU. The caller's own stream goes
    on as if nothing had happened.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
