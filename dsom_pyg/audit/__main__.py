"""``python -m dsom_pyg.audit FOLDER``: audit a folder, change nothing."""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from dsom_pyg.audit.report import audit_raw
from dsom_pyg.datasets.errors import (
    DatasetError,
    printable,
)
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.folder import read_folder
from dsom_pyg.datasets.own.literals import CHOICES
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.files import output
from dsom_pyg.terminal import escape_what_cannot_be_shown


def main(
    arguments: list[str] | None = None, prog: str = 'python -m dsom_pyg.audit'
) -> int:
    r"""The command; 2 means that the folder cannot be read, 1 problems, if it
    is ``--strict``.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description='Check a folder with a graph; nothing is changed there.',
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument('--json', type=Path, help='write the report there')
    parser.add_argument(
        '--strict', action='store_true', help='exit with 1 on any problem'
    )
    parser.add_argument(
        '--no-images', action='store_true', help='do not open the images'
    )
    parser.add_argument(
        '--columns', default='hrt', help='of triples without a header'
    )
    parser.add_argument(
        '--literals',
        default='leave',
        choices=CHOICES,
        help='what happens to numbers and dates among the tails',
    )
    args = parser.parse_args(arguments)
    escape_what_cannot_be_shown()
    if args.json and not args.json.parent.is_dir():
        parser.error(f"--json: there is no folder '{args.json.parent}'")
    if args.json and args.json.is_dir():
        parser.error(f"--json: '{args.json}' is a folder; name a file")
    try:
        reading = Reading(args.columns)
    except ValueError as error:
        parser.error(str(error))
    try:
        table = read_folder(args.folder, reading)
        with warnings.catch_warnings():
            # The report says it all.
            warnings.simplefilter('ignore', UserWarning)
            raw = build_graph(table, literals=args.literals)
    except (DatasetError, ImportError) as error:
        print(printable(f'error: {error}'), file=sys.stderr)
        return 2
    name = args.folder.resolve().name
    report = audit_raw(raw, name, args.folder, not args.no_images)
    if args.json:
        try:
            with output(args.json) as path:
                path.write_text(_json(report.to_json()), encoding='utf-8')
        except OSError as error:
            print(report)
            print(printable(f'error: {error}'), file=sys.stderr)
            return 2
    print(report)
    return int(args.strict and not report.ok)


def _json(report: dict[str, Any]) -> str:
    # Letters of all languages as they are, else as escapes of JSON.
    text = json.dumps(report, indent=1, ensure_ascii=False) + '\n'
    return ''.join(
        c if c.isprintable() or c == '\n' else json.dumps(c)[1:-1]
        for c in text
    )


if __name__ == '__main__':
    sys.exit(main())
