"""A report as a table: means over seeds, and how far rows lie apart.

    python benchmarks/table.py results/combiners/MKG_W.json --against mean

Deviations (in brackets) are those of a sample, n - 1 in the denominator. With
``--against NAME`` a further column has the difference in MRR to NAME's row of
the same kind (teachers or student), seed by seed: teachers of a seed are the
same in both, so it varies less than the rows do.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

COLUMNS = {'mrr': 'MRR', 'hits@1': 'H@1', 'hits@3': 'H@3', 'hits@10': 'H@10'}


def spread(values: Sequence[float]) -> str:
    """Mean and deviation."""
    if len(values) < 2:
        return f'{mean(values):.2f}'
    return f'{mean(values):.2f} ({stdev(values):.2f})'


def differences(
    rows: Mapping[str, Mapping[str, Any]], name: str, other: str, split: str
) -> str:
    """How far a row lies above its counterpart, seed by seed."""
    kind = name.rpartition(': ')[2]
    there = rows.get(f'{other}: {kind}', {})
    if name.partition(': ')[0] == other or not there:
        return ''
    both = [seed for seed in rows[name] if seed in there]
    values = [
        rows[name][s][split]['mrr'] - there[s][split]['mrr'] for s in both
    ]
    if not values:
        return ''
    return f'{spread(values)}, least {min(values):.2f}'


def table(report: Mapping[str, Any], against: str | None = None) -> str:
    """The rows of a report in Markdown.

    Args:
        report: What `protocol.Report` wrote.
        against: A combiner. (default: no differences)

    Raises:
        SystemExit: The report has no such combiner.
    """
    rows, split = report['rows'], report['protocol']['measured_on']
    names = {
        name.rpartition(': ')[0]
        for name in rows
        if name.endswith((': teachers', ': student'))
    }
    if against is not None and against not in names:
        known = ', '.join(sorted(names))
        raise SystemExit(f"no rows of '{against}'; there are: {known}")
    head = ['', 'seeds', *COLUMNS.values()]
    head += [f'MRR against {against}'] if against else []
    lines = [head, ['---'] * len(head)]
    for name, seeds in rows.items():
        line = [name, str(len(seeds))]
        for key in COLUMNS:
            values = [row[split][key] for row in seeds.values()]
            # The spread of one figure is enough to read.
            one = spread(values) if key == 'mrr' else f'{mean(values):.2f}'
            line.append(one)
        line += [differences(rows, name, against, split)] if against else []
        lines.append(line)
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main() -> None:
    """Print a report as a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('report', type=Path)
    parser.add_argument('--against')
    args = parser.parse_args()
    print(table(json.loads(args.report.read_text()), args.against))


if __name__ == '__main__':
    main()
