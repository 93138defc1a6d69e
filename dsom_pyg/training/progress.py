"""Who is told how training goes on."""

from collections.abc import Mapping, Sequence

from tqdm.auto import tqdm

from dsom_pyg.processes import first

Record = Mapping[str, float]


class Progress:
    r"""Is told by :func:`~dsom_pyg.training.fit` how training goes on. This
    base class is silent; a subclass gives the methods that it needs.
    """

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        r"""A stage begins, or goes on. That of ``decisions`` has one epoch
        whose end nobody is told: teachers are asked, nothing is learned.

        Args:
            stage: Its name.
            epochs: How many it has, those that are done included.
            batches: Of an epoch.
            history: What :meth:`epoch` was told in earlier processes.
        """

    def step(self) -> None:
        r"""A batch is done."""

    def epoch(self, record: Record) -> None:
        r"""An epoch has ended, and is saved where there is a file; see
        :attr:`FitResult.history <dsom_pyg.training.FitResult>`.
        """

    def end(self) -> None:
        r"""The stage has ended, or was interrupted."""


class Bars(Progress):
    r"""A bar of batches for each stage.

    Args:
        shown: Whether to show it. (default: only on a terminal)
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.disable = None if shown is None else not shown

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.bar = tqdm(
            total=epochs * batches,
            initial=len(history) * batches,
            desc=stage,
            disable=self.disable,
        )

    def step(self) -> None:
        self.bar.update()

    def epoch(self, record: Record) -> None:
        self.bar.set_postfix({k: f'{v:.4g}' for k, v in record.items()})

    def end(self) -> None:
        self.bar.close()


def watching(progress: bool | Progress | None) -> Progress:
    r"""Who is told: somebody, or bars that are shown or not, see
    :class:`Bars`. Of several processes the first one speaks.
    """
    if not first():
        return Progress()
    return progress if isinstance(progress, Progress) else Bars(progress)
