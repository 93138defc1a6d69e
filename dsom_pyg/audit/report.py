"""The report of an audit."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsom_pyg.audit.checks import Checks, Section
from dsom_pyg.datasets.base import MultimodalDataset, RawGraph
from dsom_pyg.datasets.errors import printable
from dsom_pyg.datasets.own.build import build_graph
from dsom_pyg.datasets.own.folder import read_folder
from dsom_pyg.datasets.own.literals import check_literals
from dsom_pyg.datasets.own.reading import Reading
from dsom_pyg.files import output


@dataclass
class AuditReport:
    r"""What :func:`audit` found about a dataset: sections by title."""

    name: str
    sections: dict[str, Section]

    @property
    def problems(self) -> list[str]:
        r"""All problems, in words."""
        return [p for each in self.sections.values() for p in each.problems]

    @property
    def ok(self) -> bool:
        r"""Whether there is no problem."""
        return not self.problems

    def __getitem__(self, title: str) -> dict[str, int | float]:
        return self.sections[title].facts

    def __str__(self) -> str:
        lines = [self.name, '=' * len(printable(self.name))]
        for title, section in self.sections.items():
            lines += ['', title]
            # Zeros would hide the rest.
            facts = {k: v for k, v in section.facts.items() if v}
            for key, value in facts.items():
                share = isinstance(value, float)
                text = f'{100 * value:.1f} %' if share else f'{value:,}'
                lines.append(f'  {key:<44}{text:>12}')
            lines += [] if facts else ['  none']
            lines += [f'  {_line(each)}' for each in section.relations]
            lines += [f'  - {each}' for each in section.examples]
        lines += ['', f'problems: {len(self.problems) or "none"}']
        lines += [f'  - {each}' for each in self.problems]
        # The names in them come from strangers.
        return '\n'.join(map(printable, lines))

    def to_json(self) -> dict[str, Any]:
        r"""The report as plain values."""
        return {
            'dataset': self.name,
            'ok': self.ok,
            'problems': self.problems,
            'sections': {k: asdict(v) for k, v in self.sections.items()},
        }

    def save(self, path: str | Path) -> None:
        r"""Write the report as JSON."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + '\n'
        # Letters of all languages as they are, else as escapes of JSON.
        plain = (
            c if c.isprintable() or c == '\n' else json.dumps(c)[1:-1]
            for c in text
        )
        with output(Path(path)) as file:
            file.write_text(''.join(plain), encoding='utf-8')


def _line(row: dict[str, Any]) -> str:
    share = f'{row["pairs"]:,} pairs, {100 * row["share"]:.0f} %'
    if row['kind'] == 'symmetric':
        return f'{row["relation"]} is symmetric: {share}'
    return (
        f'{row["relation"]} is {row["kind"]} in {row["other"]}: {share} of '
        f'its own, {100 * row["share_of_other"]:.0f} % of the other'
    )


def audit(
    dataset: MultimodalDataset, images: bool = True, threshold: float = 0.8
) -> AuditReport:
    r"""Look for whatever makes a graph, or scores on it, misleading.

    The raw files are read again, and downloaded first if they are missing,
    so that examples name file and line. The report includes what encoders
    and feature files added to the findings.

    Args:
        dataset: Any dataset of the library.
        images: Open every image to see whether it can be read.
        threshold: Share of the pairs of a relation that another one must
            have, perhaps reversed, for the two to be listed.
    """
    dataset.download()
    with warnings.catch_warnings():
        # The report says it all.
        warnings.simplefilter('ignore', UserWarning)
        raw = dataset.read()
    raw.findings.extend(dataset.findings, without=set(raw.findings.counts))
    name, root = type(dataset).__name__, dataset.folder
    return audit_raw(raw, name, root, images, threshold, dataset.coverage())


def audit_folder(
    folder: str | Path,
    columns: str = 'hrt',
    literals: str = 'leave',
    images: bool = True,
) -> AuditReport:
    r"""As :func:`audit`, of a folder as :class:`~dsom_pyg.datasets.MKGFolder`
    reads it. Nothing is written there.

    Args:
        folder: The folder.
        columns: Of triples without a header.
        literals: What happens to numbers and dates among the tails.
        images: Open every image.

    Raises:
        DatasetError: The folder cannot be read.
        ValueError: There are no such columns or literals.
    """
    check_literals(literals)
    folder = Path(folder)
    table = read_folder(folder, Reading(columns))
    with warnings.catch_warnings():
        # The report says it all.
        warnings.simplefilter('ignore', UserWarning)
        raw = build_graph(table, literals=literals)
    return audit_raw(raw, folder.resolve().name, folder, images)


def audit_raw(
    raw: RawGraph,
    name: str,
    root: Path | None = None,
    images: bool = True,
    threshold: float = 0.8,
    loaded: Mapping[str, float] | None = None,
) -> AuditReport:
    r"""As :func:`audit`, of what a dataset read.

    Files are named relative to :obj:`root`. The coverage of the dataset that
    was made of the graph is :obj:`loaded`.
    """
    checks = Checks(raw, root, threshold, loaded or {})
    sections = {
        'sizes': checks.sizes(),
        'duplicates within a split': checks.duplicates(),
        'overlaps between splits': checks.overlaps(),
        'pairs known from train': checks.known_pairs(),
        'relations that repeat or reverse others': checks.relations(),
        'not in train': checks.unseen(),
        'self loops': checks.self_loops(),
        'structure': checks.structure(),
        'coverage': checks.coverage(),
    }
    if images:
        sections['images'] = checks.images()
    sections['noticed while reading'] = checks.reading(opened=images)
    return AuditReport(name, sections)
