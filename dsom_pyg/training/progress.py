"""Who is told how training goes on."""

from collections.abc import Mapping, Sequence

from tqdm.auto import tqdm

Record = Mapping[str, float]


class Progress:
    r"""Is told by :func:`~dsom_pyg.training.fit` how training goes on. This
    base class is silent; a subclass gives the methods that it needs.
    """

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        r"""A stage begins, or goes on.

        Args:
            stage: Its name.
            epochs: How many it has, those that are done included.
            batches: Of an epoch.
            history: What :meth:`epoch` was told in earlier processes.
        """

    def step(self) -> None:
        r"""A batch has been learned from."""

    def epoch(self, record: Record) -> None:
        r"""An epoch has ended, and is saved where there is a file; see
        :attr:`FitResult.history <dsom_pyg.training.FitResult>`.
        """

    def end(self) -> None:
        r"""The stage has ended, or was interrupted."""


class Bars(Progress):
    r"""A bar for each stage.

    Args:
        shown: Whether to show it. (default: only on a terminal)
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.disable = None if shown is None else not shown

    def begin(
        self, stage: str, epochs: int, batches: int, history: Sequence[Record]
    ) -> None:
        self.bar = tqdm(
            total=epochs,
            initial=len(history),
            desc=stage,
            disable=self.disable,
        )

    def epoch(self, record: Record) -> None:
        self.bar.update()
        self.bar.set_postfix({k: f'{v:.4g}' for k, v in record.items()})

    def end(self) -> None:
        self.bar.close()
