"""results/README.md from the files of runs: ``python -m experiments page``.

What the page shows is declared in :mod:`experiments.layout`. Every figure in
its tables is computed from the files; what was not measured is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiments.record import check_alike, path_of, read, records

COLUMNS = {'mrr': 'MRR', 'hits@1': 'H@1', 'hits@3': 'H@3', 'hits@10': 'H@10'}
# A model of a run, by seed.
Seeds = dict[int, dict[str, Any]]


@dataclass(frozen=True)
class Model:
    r"""One model of one row: what a cell is about.

    Args:
        table, dataset, row: As in the path of the files.
        model: Its name within a run, as ``'student'``.
        split: Where it was measured.
        seeds: These alone. (default: all that are there)
        by: The experiment that measures it, if another one than the table:
            one of the paper.
    """

    table: str
    dataset: str
    row: str
    model: str = 'student'
    split: str = 'test'
    seeds: tuple[int, ...] | None = None
    by: str | None = None


@dataclass(frozen=True)
class Claim:
    r"""A line of the first table."""

    text: str
    model: Model
    bold: bool = False
    # Runs of an earlier recipe that no table measures any more.
    command: bool = True


@dataclass(frozen=True)
class Column:
    r"""A column of a table whose rows are policies: where its runs lie.

    Args:
        head: What stands above it.
        table, dataset: As in the path of the files.
        suffix: What the names of its rows end with.
        seeds: These alone. (default: all that are there)
    """

    head: str
    table: str
    dataset: str
    suffix: str = ''
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Line:
    r"""A line of such a table: a row, and which of its models."""

    label: str
    row: str
    models: tuple[str, ...] = ('teachers', 'student')


@dataclass(frozen=True)
class Grid:
    r"""MRR of the same rows on several datasets."""

    title: str
    text: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Detail:
    r"""All metrics of some models of one dataset."""

    title: str
    text: str
    models: Mapping[str, Model]


@dataclass(frozen=True)
class Figure:
    r"""One figure of a file in ``benchmarks``, and the way to it."""

    label: str
    benchmark: str
    keys: tuple[str | int, ...]


@dataclass(frozen=True)
class Figures:
    r"""Ratios of speed and memory, one a line."""

    title: str
    text: str
    figures: tuple[Figure, ...]


class Runs:
    r"""All runs below a folder, by row and seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[tuple[str, ...], Seeds] = {}
        rows: dict[tuple[str, ...], list[tuple[Path, dict[str, Any]]]] = {}
        for path, record in records(folder):
            name = (
                record['table'],
                record['dataset'],
                record['row'],
                record['protocol']['split'],
            )
            rows.setdefault(name, []).append((path, record))
            for model, values in record['models'].items():
                seeds = self.found.setdefault((*name, model), {})
                seeds[record['seed']] = values
        for runs in rows.values():
            check_alike(runs)

    def seeds(self, model: Model) -> Seeds:
        r"""What was measured of a model, seed by seed; maybe nothing."""
        key = model.table, model.dataset, model.row, model.split, model.model
        found = self.found.get(key, {})
        wanted = model.seeds
        return {
            seed: found[seed]
            for seed in sorted(found)
            if wanted is None or seed in wanted
        }

    def link(self, model: Model) -> str:
        r"""To the file of its first seed."""
        words = model.table, model.dataset, model.row
        first = min(self.seeds(model))
        path = path_of(self.folder, *words, first, model.split)
        return path.relative_to(self.folder).as_posix()

    def spread(self, model: Model, key: str = 'mrr') -> str:
        r"""Mean and deviation of a metric over seeds."""
        return spread([values[key] for values in self.seeds(model).values()])


def spread(values: Sequence[float]) -> str:
    r"""Mean and, of several values, the deviation of a sample."""
    if not values:
        return ''
    if len(values) == 1:
        return f'{values[0]:.2f}'
    return f'{mean(values):.2f} ({stdev(values):.2f})'


def differences(one: Seeds, other: Seeds) -> list[float]:
    r"""How far a model's MRR lies above another's, seed by seed.

    Models of one seed share their teachers, so differences vary less than
    the models do.
    """
    both = sorted(one.keys() & other.keys())
    return [one[seed]['mrr'] - other[seed]['mrr'] for seed in both]


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    r"""A table."""
    rows = [head, ['---'] * len(head), *lines]
    return [f'| {" | ".join(row)} |' for row in rows]


def command(model: Model) -> str:
    r"""The command that measures a model."""
    words = [
        f'python -m experiments {model.by or model.table}',
        f'--dataset {model.dataset}',
        f'--only "{model.row}"',
    ]
    if model.split != 'test':
        words.append('--select')
    return ' '.join(words)


def claims(runs: Runs, lines: Iterable[Claim]) -> list[str]:
    r"""The first table: claim, dataset, MRR, seeds, command, file."""
    head = ['claim', 'dataset', 'MRR (deviation)', 'seeds', 'command', 'file']
    out = []
    for claim in lines:
        model, seeds = claim.model, runs.seeds(claim.model)
        if not seeds:
            continue
        mark = '**' if claim.bold else ''
        line = f'`{command(model)} --seeds {len(seeds)}`'
        out.append(
            [
                f'{mark}{claim.text}{mark}',
                model.dataset,
                f'{mark}{runs.spread(model)}{mark}',
                str(len(seeds)),
                line if claim.command else 'see the file',
                f'[seed {min(seeds)}]({runs.link(model)})',
            ]
        )
    return markdown(head, out)


def grid(runs: Runs, section: Grid) -> list[str]:
    r"""MRR of the same rows on several datasets."""

    def cell(line: Line, column: Column) -> str:
        row = line.row + column.suffix
        models = [
            Model(column.table, column.dataset, row, name, seeds=column.seeds)
            for name in line.models
        ]
        models = [model for model in models if runs.seeds(model)]
        if not models:
            return ''
        figures = ' → '.join(runs.spread(model) for model in models)
        return f'[{figures}]({runs.link(models[0])})'

    head = ['', *(column.head for column in section.columns)]
    return markdown(
        head,
        (
            [line.label, *(cell(line, column) for column in section.columns)]
            for line in section.lines
        ),
    )


def detail(runs: Runs, section: Detail) -> list[str]:
    r"""All metrics of some models."""
    out = []
    for label, model in section.models.items():
        seeds = runs.seeds(model).values()
        if not seeds:
            continue
        rest = [
            f'{mean(values[key] for values in seeds):.2f}'
            for key in list(COLUMNS)[1:]
        ]
        rank = f'{mean(values["mr"] for values in seeds):.0f}'
        out.append(
            [label, str(len(seeds)), runs.spread(model), *rest, rank],
        )
    return markdown(['', 'seeds', *COLUMNS.values(), 'MR'], out)


def ratios(folder: Path, section: Figures) -> list[str]:
    r"""Figures of the benchmarks."""
    out = []
    for figure in section.figures:
        path = folder / 'benchmarks' / f'{figure.benchmark}.json'
        if not path.exists():
            continue
        value = read(path, 'measured')['measured']
        try:
            for key in figure.keys:
                value = value[key]
        except (KeyError, IndexError, TypeError):
            where = '.'.join(map(str, figure.keys))
            raise ValueError(
                f'{path} has no figure {where}; run python -m '
                f'benchmarks.{figure.benchmark} again'
            ) from None
        link = f'[{figure.benchmark}](benchmarks/{path.name})'
        out.append([figure.label, f'{value:.2f}', link])
    return markdown(['', 'ratio', 'file'], out)


def paragraphs(text: str) -> list[str]:
    r"""One line for each paragraph, and an empty one after it."""
    out = []
    for part in text.strip().split('\n\n'):
        out += [part.replace('\n', ' '), '']
    return out


def render(folder: Path) -> str:
    r"""The page, from the files below a folder."""
    from experiments.layout import CLAIMS, FOOT, HEAD, SECTIONS

    runs = Runs(folder)
    lines = [*paragraphs(HEAD), *claims(runs, CLAIMS), '', *paragraphs(FOOT)]
    for section in SECTIONS:
        lines += [f'## {section.title}', '', *paragraphs(section.text)]
        if isinstance(section, Grid):
            lines += [*grid(runs, section), '']
        elif isinstance(section, Detail):
            lines += [*detail(runs, section), '']
        else:
            lines += [*ratios(folder, section), '']
    return '\n'.join(lines).rstrip('\n') + '\n'


def write_page(folder: Path) -> Path:
    r"""Write the page beside the files."""
    path = folder / 'README.md'
    path.write_text(render(folder), encoding='utf-8')
    return path
