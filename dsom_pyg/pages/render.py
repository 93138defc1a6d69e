"""From values to HTML. Every value is escaped by the template engine."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dsom_pyg.plots import new_figure

# Of the longer side of a thumbnail, in pixels.
THUMBNAIL = 96
# Bytes of an image file that is opened at most.
LARGEST = 20_000_000


@cache
def environment() -> Environment:
    r"""The templates of this package."""
    made = Environment(
        loader=PackageLoader('dsom_pyg.pages'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters['percent'] = lambda x: f'{100 * x:.1f} %'
    made.filters['number'] = lambda x: f'{x:,}'
    made.filters['short'] = short
    return made


def render(template: str, **values: Any) -> str:
    r"""A page."""
    return environment().get_template(template).render(**values)


def short(text: str, size: int = 300) -> str:
    r"""A text in one line, and not too long."""
    line = ' '.join(str(text).split())
    return line if len(line) <= size else f'{line[: size - 1]}…'


def thumbnail(paths: Sequence[str]) -> str | None:
    r"""The first image that can be read, small, as an address of its own
    bytes; :obj:`None` if there is none.
    """
    found = image_bytes(paths, THUMBNAIL)
    if found is None:
        return None
    return f'data:image/jpeg;base64,{base64.b64encode(found).decode()}'


def image_bytes(paths: Sequence[str], side: int = 320) -> bytes | None:
    r"""The first image that can be read, as a JPEG of this longer side."""
    from PIL import Image

    for path in paths[:3]:
        file = Path(path)
        try:
            if not file.is_file() or file.stat().st_size > LARGEST:
                continue
            with Image.open(file) as image:
                image.thumbnail((side, side))
                small = image.convert('RGB')
            out = BytesIO()
            small.save(out, 'JPEG', quality=70)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        return out.getvalue()
    return None


# Matplotlib would tell where, when and by whom a figure was drawn.
NOTHING = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
Curves = Mapping[str, Sequence[tuple[float, float]]]


def plot(
    curves: Curves,
    xlabel: str,
    ylabel: str,
    diagonal: bool = False,
) -> Markup:
    r"""Curves by name, as SVG that looks well on light and on dark pages.

    Raises:
        ImportError: matplotlib is not installed (extra ``plots``).
    """
    grey = '#808080'
    figure = new_figure(4.2, 2.6)
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=grey, linewidth=0.8)
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker='o', ms=3, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(colors=grey)
    for part in (axes.xaxis.label, axes.yaxis.label):
        part.set_color(grey)
    for spine in axes.spines.values():
        spine.set_color(grey)
    if len(curves) > 1:
        axes.legend(fontsize=7, labelcolor=grey, framealpha=0)
    from matplotlib import rc_context

    out = BytesIO()
    # The same curves give the same bytes.
    with rc_context({'svg.hashsalt': 'dsom_pyg', 'svg.fonttype': 'none'}):
        figure.savefig(out, format='svg', metadata=NOTHING)
    text = out.getvalue().decode()
    return Markup(text[text.index('<svg') :])
