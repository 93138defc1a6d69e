"""Measure what a table of the paper needs, print it, render the page."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from statistics import mean, stdev
from typing import Any

from experiments import paper, record
from experiments.measure import Setting, measure
from experiments.measure import settings as settings_of
from experiments.page import COLUMNS, markdown, paragraphs
from experiments.paper.catalogue import PROFILES, Profile, home, rows
from experiments.paper.published import SIZES, Numbers
from experiments.paper.sources import source
from experiments.table import Row, Source, Table, load

SELECTION = 'settings given, last epoch'


@dataclass(frozen=True)
class Line:
    r"""A line of a table of the paper.

    Args:
        label: What it is called.
        row: Its row in the catalogue.
        model: Which model of the run.
        published: What the paper reports, by dataset.
        seeds: How many are measured.
    """

    label: str
    row: str
    model: str = 'student'
    published: Mapping[str, Numbers] = field(default_factory=dict)
    seeds: int = 1


@dataclass(frozen=True)
class PaperTable:
    r"""A table of the paper.

    Args:
        title: Its heading.
        text: What to know of it.
        datasets: A block for each.
        lines: Of every block.
        missing: Lines of the paper that are not here, and why.
    """

    title: str
    text: str
    datasets: Sequence[str]
    lines: Sequence[Line]
    missing: str = ''


def names() -> list[str]:
    r"""All tables and figures of the paper, and an overview of them."""
    found = (module.name for module in iter_modules(paper.__path__))
    shown = 'table', 'figure', 'overview'
    return sorted(n for n in found if n.startswith(shown))


def table_of(name: str) -> Shown:
    r"""A table or figure by its name."""
    module = import_module(f'experiments.paper.{name}')
    found: Shown = module.TABLE
    return found


@dataclass(frozen=True)
class Panel:
    r"""A curve of a figure of the paper.

    Args:
        title: What is varied.
        points: Each value, and its row in the catalogue.
        model: Which model of the runs.
        term: What is drawn over the epochs of the one row, as the history of
            its training tells it, instead of MRR over values.
    """

    title: str
    points: Sequence[tuple[float, str]]
    model: str = 'student'
    term: str | None = None


@dataclass(frozen=True)
class PaperFigure:
    r"""A figure of the paper.

    Args:
        title: Its heading.
        text: What to know of it.
        datasets: A block for each.
        panels: Its curves.
    """

    title: str
    text: str
    datasets: Sequence[str]
    panels: Sequence[Panel]

    @property
    def lines(self) -> list[Line]:
        r"""What is measured for it."""
        names = [row for panel in self.panels for _, row in panel.points]
        return [Line(name, name) for name in dict.fromkeys(names)]


@dataclass(frozen=True)
class PaperChoices:
    r"""A figure of the paper that shows which teachers a policy chose.

    Args:
        title: Its heading.
        text: What to know of it.
        datasets: A block for each.
        row: Whose policy, in the catalogue.
        groups: Which groups of queries, as
            :func:`~dsom_pyg.choices.choices` calls them.
        top: Rows of each group.
    """

    title: str
    text: str
    datasets: Sequence[str]
    row: str
    groups: Sequence[str]
    top: int = 8

    @property
    def lines(self) -> list[Line]:
        r"""What is measured for it."""
        return [Line(self.row, self.row, 'teachers')]


Shown = PaperTable | PaperFigure | PaperChoices


@dataclass(frozen=True)
class Wanted:
    r"""One run that a table needs."""

    dataset: str
    folder: str
    row: str
    name: str
    seed: int

    def path(self, results: Path) -> Path:
        r"""Where its file lies."""
        words = self.folder, self.dataset, self.row, self.seed, 'test'
        return record.path_of(results, *words)


def wanted(
    table: Shown,
    profile: Profile,
    dataset: str | None = None,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[Wanted]:
    r"""The runs of a table, each once; with these seeds, or with those that a
    row has.
    """
    seen = set()
    for name in table.datasets:
        if dataset not in (None, name):
            continue
        if profile.datasets is not None and name not in profile.datasets:
            continue
        for line in table.lines:
            if only and line.row not in only:
                continue
            for seed in range(line.seeds) if seeds is None else seeds:
                folder, row, _ = home(profile, name, line.row)
                run = Wanted(name, folder, row, line.row, seed)
                if run not in seen:
                    seen.add(run)
                    yield run


def main(name: str, words: Sequence[str]) -> None:
    r"""Run the command line."""
    # An option is written out: --seed is not --seeds.
    parser = argparse.ArgumentParser(
        prog=f'python -m experiments {name}', allow_abbrev=False
    )
    parser.add_argument('--profile', choices=[*PROFILES], default='small')
    parser.add_argument('--dataset', help='this one alone')
    parser.add_argument('--only', action='append', help='this row alone')
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--seeds', type=record.count, help='of every row')
    which.add_argument('--seed', type=record.seed, help='this one alone')
    parser.add_argument(
        '--dry-run', action='store_true', help='tell what is missing'
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--results', type=Path, default=record.RESULTS)
    parser.add_argument('--models', type=Path)
    args = parser.parse_args(words)
    table, profile = table_of(name), PROFILES[args.profile]
    seeds = None if args.seeds is None else range(args.seeds)
    if args.seed is not None:
        seeds = [args.seed]
    runs = [*wanted(table, profile, args.dataset, args.only, seeds)]
    known = dict.fromkeys(line.row for line in table.lines)
    if not runs or {*(args.only or ())} - known.keys():
        raise ValueError(
            f'{name} has no such dataset or row; its datasets are '
            f'{", ".join(table.datasets)}, its rows {", ".join(known)}'
        )
    if args.dry_run:
        print('\n'.join(missing(runs, args.results)))
        return
    settings: dict[tuple[str, str], Setting] = {}
    for run in runs:
        if run.path(args.results).exists():
            _check(run, profile, args.results)
        else:
            draws = isinstance(table, PaperChoices)
            _measure(run, profile, args, settings, draws)
    if isinstance(table, PaperFigure):
        for dataset in table.datasets:
            draw(name, table, dataset, profile, args.results)
    print('\n'.join(shown(name, table, profile, args.results)))
    print(write_page(args.results))


def _declared(run: Wanted, profile: Profile) -> tuple[Row, Table]:
    # The row of a run, and the table that it is of.
    if run.folder == profile.name:
        row = rows(profile, run.dataset)[run.name]
        return row, Table((run.dataset,), (row,), SELECTION)
    # A run of an experiment that was there before.
    tables = load(run.folder)
    table = next(x for x in tables if run.dataset in x.datasets)
    return next(x for x in table.rows if x.name == run.row), table


def _check(run: Wanted, profile: Profile, results: Path) -> None:
    # A file with other settings is refused, also where nothing is measured.
    path = run.path(results)
    found = record.read(path, *record.RUN)
    same = {
        'dataset': run.dataset,
        'row': run.row,
        'seed': run.seed,
        'protocol.split': 'test',
        'protocol.ties': 'realistic',
        'protocol.filter': ['train', 'val', 'test'],
    }
    there = record.flat(found)
    far = [key for key, value in same.items() if there.get(key) != value]
    # Those of before told settings in other words.
    if 'converted_from' not in found:
        row = _declared(run, profile)[0]
        here = json.loads(json.dumps(settings_of(row)))
        one, other = record.flat(found.get('settings', {})), record.flat(here)
        changes = record.describe([row.change] if row.change else [])
        if found.get('graph', {}).get('changes', changes) != changes:
            far.append('graph.changes')
        far += sorted(
            key for key in {*one, *other} if one.get(key) != other.get(key)
        )
    if far:
        raise record.OtherRunError(
            f'{path} holds a run with other settings: {", ".join(far)}. Move '
            'it away, or name another folder with --results.'
        )


def _measure(
    run: Wanted,
    profile: Profile,
    args: argparse.Namespace,
    settings: dict[tuple[str, str], Setting],
    draws: bool,
) -> None:
    row, table = _declared(run, profile)
    # A dataset is read once.
    key = run.folder, run.dataset
    if key not in settings:
        settings[key] = Setting(
            name=run.folder,
            table=table,
            dataset=run.dataset,
            device=args.device,
            root=args.root,
            text_model=args.text_model,
            results=args.results,
            models=args.models or args.results / 'models',
            draw=draws,
        )
    measure(settings[key], row, run.seed)


def missing(runs: Sequence[Wanted], results: Path) -> list[str]:
    r"""The runs without a file, and how long each may take: as long as the
    same row took with another seed; or (``~``) on another graph, whose steps
    are fewer or more, and shorter or longer, as it has triples and entities.
    """
    out, total, unknown = [], 0.0, 0
    for run in runs:
        if run.path(results).exists():
            record.read(run.path(results), *record.RUN)
            continue
        took, time = _seconds(run, results), ''
        if took is None:
            took, time = _scaled(run, results), '~'
        if took is None:
            unknown += 1
        else:
            total += took
        time = '?' if took is None else f'{time}{took / 60:.0f} min'
        out.append(f'{run.dataset}  {run.name}  seed {run.seed}  {time}')
    said = [f'{total / 60:.0f} min'] * (len(out) > unknown)
    said += [f'{unknown} runs of unknown length'] * bool(unknown)
    end = f': {" and ".join(said)}' if said else ''
    out.append(f'{len(out)} of {len(runs)} runs are missing{end}')
    return out


def _scaled(run: Wanted, results: Path) -> float | None:
    # From the graph whose size is nearest.
    def size(dataset: str) -> float:
        return math.prod(SIZES[dataset])

    here = size(run.dataset)
    others = (x for x in SIZES if x != run.dataset)
    for name in sorted(others, key=lambda x: abs(math.log(size(x) / here))):
        took = _seconds(replace(run, dataset=name), results)
        if took is not None:
            return took * here / size(name)
    return None


def _seconds(run: Wanted, results: Path) -> float | None:
    folder = run.path(results).parent
    for path in sorted(folder.glob(f'{record.slug(run.row)}-seed*.json')):
        if path.name.endswith('.choices.json'):
            continue
        found = record.read(path, *record.RUN)
        took = found.get('seconds')
        # Where stages were trained before, it says too little. Files of
        # before those were noted show it by a model that took longer.
        parts = (x.get('seconds', 0) for x in found['models'].values())
        if took and not found.get('stages_before') and took >= max(parts):
            return float(took)
    return None


def shown(
    name: str, table: Shown, profile: Profile, results: Path
) -> list[str]:
    r"""A table in markdown: our figure, that of the paper, the difference."""
    out = [f'## {table.title}', '', *paragraphs(table.text)]
    if isinstance(table, PaperFigure):
        for dataset in table.datasets:
            out += _curves(name, table, dataset, profile, results)
        return out
    if isinstance(table, PaperChoices):
        for dataset in table.datasets:
            out += _choices(table, dataset, profile, results)
        return out
    for dataset in table.datasets:
        lines, absent = [], []
        for line in table.lines:
            cells = _cells(line, dataset, profile, results)
            if cells:
                lines.append(cells)
            else:
                absent.append(line.label)
        head = ['', 'seeds', *COLUMNS.values(), 'MR', 'files']
        measured = markdown(head, lines) if lines else []
        out += _block(dataset, measured, absent)
    return [*out, *paragraphs(table.missing)] if table.missing else out


def _block(
    dataset: str, lines: Sequence[str], absent: Sequence[str]
) -> list[str]:
    # What is measured on a dataset, and what is not.
    out = [f'### {dataset.replace("_", "-")}', '']
    out += [*lines, ''] if lines else []
    if absent:
        out += [f'Not measured yet: {"; ".join(absent)}.', '']
    return out


def _found(
    row: str, model: str, dataset: str, profile: Profile, results: Path
) -> list[tuple[Path, Mapping[str, Any]]]:
    # The files of a row, and what they tell of a model.
    where = home(profile, dataset, row)
    name, runs = where.models.get(model, model), []
    for seed in range(10):
        path = record.path_of(
            results, where.folder, dataset, where.row, seed, 'test'
        )
        if path.exists():
            runs.append((path, record.read(path, *record.RUN)))
    record.check_alike(runs)
    return [
        (path, there['models'][name])
        for path, there in runs
        if name in there['models']
    ]


def curve(
    panel: Panel, dataset: str, profile: Profile, results: Path
) -> list[tuple[float, list[float]]]:
    r"""The points of a curve that are measured: value, and MRR of each seed;
    or epoch, and the term.
    """
    out = []
    for value, row in panel.points:
        found = _found(row, panel.model, dataset, profile, results)
        if panel.term is None and found:
            out.append((value, [each['mrr'] for _, each in found]))
        for _, each in found[:1]:
            for epoch in each.get('history', []) if panel.term else []:
                if panel.term in epoch:
                    out.append((epoch['epoch'], [epoch[panel.term]]))
    return out


def _curves(
    name: str,
    figure: PaperFigure,
    dataset: str,
    profile: Profile,
    results: Path,
) -> list[str]:
    out, absent = [], []
    for panel in figure.panels:
        points = curve(panel, dataset, profile, results)
        there = {value for value, _ in points}
        gaps = [x for x, _ in panel.points if x not in there]
        if panel.term is None and gaps:
            values = ', '.join(f'{x:g}' for x in gaps)
            absent.append(f'{panel.title} {values}')
        elif not points:
            absent.append(f'{panel.term} by {panel.title}')
        if len(points) > 1:
            head = [panel.title, *(f'{value:g}' for value, _ in points)]
            what = panel.term or 'MRR'
            cells = [what, *(f'{mean(values):.2f}' for _, values in points)]
            out += [*markdown(head, [cells]), '']
    path = _drawn(name, dataset, profile, results)
    if path.exists():
        out += [f'[Drawn]({path.relative_to(results).as_posix()})', '']
    return _block(dataset, out[:-1], absent)


def _drawn(name: str, dataset: str, profile: Profile, results: Path) -> Path:
    return results / profile.name / dataset / f'{name}.png'


def _choices(
    figure: PaperChoices, dataset: str, profile: Profile, results: Path
) -> list[str]:
    where = home(profile, dataset, figure.row)
    path = record.path_of(
        results, where.folder, dataset, where.row, 0, 'test'
    ).with_suffix('.choices.json')
    if not path.exists():
        return _block(dataset, [], [figure.row])
    found = record.read(path, 'tables', 'teachers')
    out = [f'### {dataset.replace("_", "-")}', '']
    for group in figure.groups:
        lines = [
            [label, f'{count:,}', *(f'{100 * x:.0f}' for x in weights)]
            for label, count, weights in found['tables'][group][: figure.top]
        ]
        out += [*markdown([group, 'queries', *found['teachers']], lines), '']
    drawn = path.with_suffix('').with_suffix('.png').relative_to(results)
    return [*out, f'[Drawn, with further groups]({drawn.as_posix()})', '']


def draw(
    name: str,
    figure: PaperFigure,
    dataset: str,
    profile: Profile,
    results: Path,
) -> Path | None:
    r"""Draw what is measured of a figure, if anything is."""
    curves = [
        (panel, points)
        for panel in figure.panels
        if len(points := curve(panel, dataset, profile, results)) > 1
    ]
    if not curves:
        return None
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(3.2 * len(curves), 2.8), layout='constrained')
    axes = drawn.subplots(1, len(curves), squeeze=False)[0]
    for ax, (panel, points) in zip(axes, curves, strict=True):
        ax.plot(
            [value for value, _ in points],
            [mean(values) for _, values in points],
            marker='o',
        )
        ax.set_title(panel.title, fontsize=9)
        ax.set_ylabel(panel.term or 'MRR')
    path = _drawn(name, dataset, profile, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=120, metadata={'Software': None})
    return path


def _cells(
    line: Line, dataset: str, profile: Profile, results: Path
) -> list[str]:
    found = _found(line.row, line.model, dataset, profile, results)
    if not found:
        return []
    theirs = line.published.get(dataset, ())
    cells = []
    for at, key in enumerate((*COLUMNS, 'mr')):
        values = [values[key] for _, values in found]
        places = 0 if key == 'mr' else 2
        text = f'{mean(values):.{places}f}'
        if len(values) > 1 and places:
            text += f' ±{stdev(values):.2f}'
        if at < len(theirs) and not math.isnan(theirs[at]):
            far = mean(values) - theirs[at]
            text += f' ({theirs[at]:.{places}f}, {far:+.{places}f})'
        cells.append(text)
    path = found[0][0].relative_to(results).as_posix()
    file = f'[{path.rpartition("/")[2]}]({path})'
    return [line.label, str(len(found)), *cells, file]


HEAD = """
# The paper's tables

*Generated by `python -m experiments table1` (or any other table) from the
files in this folder. Do not edit.*

Each figure is ours on test, in percent, then in brackets that of the paper and
the difference. Where several seeds were measured it is their mean ± the
deviation of a sample. The library's recipe is bold. The file of the first seed
tells command, commit, settings, protocol and machine: filtered ranks over all
entities, both sides, realistic ties. Files in `combiners` and
`committees/DB15K` were converted from an earlier form. They tell no time of a
whole run and no memory, and the script of their command is in the commit that
they name alone; `python -m experiments combiners` measures the same rows
today. [Where lines come from](#where-lines-come-from), with the tie rule of
the code that they were specified from, stands at the end. Published figures
follow other tie rules in part, and are of texts and images; ours are of texts
alone, by all-MiniLM-L6-v2, which state facts of the test set as well. A
difference that the text of a table does not explain is unexplained.
"""


def render(results: Path) -> str:
    r"""The page, from the files below a folder."""
    lines = paragraphs(HEAD)
    for profile in PROFILES.values():
        if profile.name == 'smoke':
            continue
        # Overview and tables before figures.
        for name in sorted(names(), key=lambda name: 'figure' in name):
            table = table_of(name)
            part = shown(name, table, profile, results)
            if any(line.startswith('|') for line in part):
                sizes = f'D = {profile.channels}'
                part[0] = f'{part[0]} ({profile.name}, {sizes})'
                lines += part
    lines += sources()
    return '\n'.join(lines).rstrip('\n') + '\n'


def sources() -> list[str]:
    r"""Where the lines of all tables come from, by source."""
    labels: dict[Source, list[str]] = {}
    for name in names():
        table = table_of(name)
        for line in table.lines if isinstance(table, PaperTable) else ():
            # In the overview a label ends with which model of the row it is.
            label = line.label.replace('**', '').partition(': ')[0]
            group = labels.setdefault(source(line.row), [])
            if label not in group:
                group.append(label)
    head = ['lines', 'from', 'here', 'ties there']
    told = [
        ['; '.join(group), each.work, each.variant, each.ties]
        for each, group in labels.items()
    ]
    return ['## Where lines come from', '', *markdown(head, told), '']


def write_page(results: Path) -> Path:
    r"""Write the page beside the files."""
    path = results / 'paper.md'
    path.write_text(render(results), encoding='utf-8')
    return path
