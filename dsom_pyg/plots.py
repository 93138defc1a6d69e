"""Where figures come from, for those who have matplotlib."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> 'Figure':
    r"""An empty figure of this size, in inches, which no window shows.

    Raises:
        ImportError: matplotlib is not installed (extra ``plots``).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = 'plots need matplotlib: pip install "dsom_pyg[plots]"'
        raise ImportError(message) from error
    return Figure(figsize=(width, height), layout='constrained')
