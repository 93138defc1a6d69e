"""Measure an experiment, or make the page of results.

    python -m experiments combiners --dataset DB15K --seeds 3 --device cuda
    python -m experiments table1 --profile small --dry-run
    python -m experiments search FB15k_237 structure
    python -m experiments page

A run whose file exists is skipped. A file with other settings under the same
name is refused, and what differs is named. ``--select`` measures on validation
and reads no test triple; without it all settings are given, and test is read
once for each row.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsom_pyg.files import NotWritten
from experiments import record, table
from experiments.measure import Setting, measure
from experiments.page import write_page
from experiments.paper import show
from experiments.table import Row


def main(words: Sequence[str] | None = None) -> None:
    r"""Run the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m experiments',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    words = list(sys.argv[1:] if words is None else words)
    try:
        if words[:1] == ['search']:
            from experiments import search  # Optuna is there for it alone

            search.main(words[1:])
            return
        if words and words[0] in show.names():
            show.main(words[0], words[1:])
            return
    except (ValueError, NotWritten) as error:
        parser.exit(1, f'{error}\n')
    parser.add_argument(
        'name',
        choices=[*table.names(), *show.names(), 'search', 'page'],
        metavar='NAME',
        help=f'{", ".join(table.names())}; a table of the paper '
        f'({", ".join(show.names())}), which has options of its own; search; '
        'or page',
    )
    parser.add_argument('--dataset', help='this one alone')
    parser.add_argument('--only', action='append', help='this row alone')
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument(
        '--seeds', type=record.count, default=1, help='how many'
    )
    seeds.add_argument('--seed', type=record.seed, help='this one alone')
    parser.add_argument('--select', action='store_true')
    parser.add_argument(
        '--dry-run', action='store_true', help='tell what is missing'
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--draw', action='store_true', help='what policies chose, seed 0'
    )
    parser.add_argument('--text-model', help='for SBERT, a name or a folder')
    parser.add_argument('--root', type=Path, default=Path('datasets'))
    parser.add_argument('--results', type=Path, default=record.RESULTS)
    parser.add_argument(
        '--models',
        type=Path,
        help='trained models (default: models in --results)',
    )
    args = parser.parse_args(words)
    try:
        if args.name == 'page':
            print(write_page(args.results))
        else:
            run(args)
    except (ValueError, NotWritten) as error:
        parser.exit(1, f'{error}\n')


def run(args: argparse.Namespace) -> None:
    r"""Measure the rows that are asked for, seed by seed, or tell which are
    missing.
    """
    count = missing = 0
    for setting, row, seed in [*asked(args)]:  # before something is trained
        count += 1
        path = setting.path(row, seed)
        if not args.dry_run:
            measure(setting, row, seed)
        elif path.exists():
            record.read(path, *record.RUN)
        else:
            missing += 1
            print(f'{setting.dataset}  {row.name}  seed {seed}')
    if not count:
        raise ValueError(
            f'all rows of {args.name} are trials that choose a setting: '
            'measure them with --select'
        )
    if args.dry_run:
        print(f'{missing} of {count} runs are missing')


def asked(args: argparse.Namespace) -> Iterator[tuple[Setting, Row, int]]:
    r"""The runs that are asked for."""
    seeds = range(args.seeds) if args.seed is None else [args.seed]
    for each in chosen(table.load(args.name), args.dataset, args.only):
        for dataset in each.datasets:
            setting = Setting(
                name=args.name,
                table=each,
                dataset=dataset,
                select=args.select,
                device=args.device,
                root=args.root,
                text_model=args.text_model,
                results=args.results,
                models=args.models or args.results / 'models',
                draw=args.draw,
            )
            for seed in seeds:
                for row in each.rows:
                    if args.select or not row.only_validation:
                        yield setting, row, seed
                    elif args.only:
                        raise ValueError(
                            f"row '{row.name}' is a trial that chooses a "
                            'setting: measure it with --select'
                        )


def chosen(
    tables: Sequence[table.Table],
    dataset: str | None,
    only: Sequence[str] | None,
) -> list[table.Table]:
    r"""The parts of tables that are asked for.

    Raises:
        ValueError: No table has such a dataset or row; those that there are
            are named.
    """
    found = [
        table.Table(
            [name for name in each.datasets if dataset in (None, name)],
            [row for row in each.rows if not only or row.name in only],
            each.selection,
        )
        for each in tables
    ]
    found = [each for each in found if each.datasets]
    if not found:
        known = dict.fromkeys(
            name for each in tables for name in each.datasets
        )
        raise ValueError(
            f"this experiment has no dataset '{dataset}'; it has: "
            f'{", ".join(known)}'
        )
    there = {row.name for each in found for row in each.rows}
    unknown = set(only or ()) - there
    if unknown:
        rows = dict.fromkeys(
            row.name
            for each in tables
            for row in each.rows
            if dataset is None or dataset in each.datasets
        )
        where = '' if dataset is None else f' on {dataset}'
        raise ValueError(
            f'no row {", ".join(map(repr, sorted(unknown)))}{where}; there '
            'are:\n  ' + '\n  '.join(rows)
        )
    return found


if __name__ == '__main__':
    main()
