"""What stands beside every measured figure: one JSON file a run.

A run is one row of a table, on one dataset, with one seed. Its file says
which command ran, on which commit and machine, under which protocol, with
which settings, and what every model of the run reached.
"""

import argparse
import inspect
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dsom_pyg.files import whole_or_nothing
from dsom_pyg.metrics import RankingResult
from dsom_pyg.precision import default_precision

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'results'
# Runs that read no test triple lie in a folder of this name.
VALIDATION = 'validation'
LIBRARIES = (
    'dsom_pyg',
    'torch_geometric',
    'torch_scatter',
    'numpy',
    'sentence_transformers',
    'bitsandbytes',
)
# What the file of every run has.
RUN = ('dataset', 'row', 'seed', 'protocol', 'models')
# What must be equal for a file to be the run that is asked for.
SAME = ('table', 'dataset', 'row', 'seed', 'graph', 'protocol', 'settings')
# The part of it that is written in the same words in converted files.
COMPARABLE = (
    'table',
    'dataset',
    'row',
    'seed',
    'graph.fingerprint',
    'protocol.split',
    'protocol.filter',
    'protocol.ties',
)


class OtherRunError(ValueError):
    r"""A file of this name holds a run with other settings."""


class DamagedError(ValueError):
    r"""A file of a run cannot be read."""


def path_of(
    results: Path, table: str, dataset: str, row: str, seed: int, split: str
) -> Path:
    r"""Where the file of a run lies."""
    folder = results / table / dataset
    if split != 'test':
        folder /= VALIDATION
    return folder / f'{slug(row)}-seed{seed}.json'


def slug(name: str) -> str:
    r"""A name of a row as a name of a file."""
    words = re.findall(r'[a-z0-9.]+', name.lower().replace("'", ''))
    return '-'.join(words)


def write(path: Path, record: Mapping[str, Any]) -> None:
    r"""Write a record; a file is whole or absent."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    with whole_or_nothing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def check_writable(path: Path) -> None:
    r"""Raise :class:`~dsom_pyg.files.NotWritten` unless a record can be
    written there: before something is trained for it.
    """
    with suppress(_Tried), whole_or_nothing(path):
        raise _Tried


class _Tried(Exception):  # noqa: N818
    r"""Nothing is written after all."""


def count(word: str) -> int:
    r"""How many seeds, on a command line."""
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError('must be 1 or more')
    return number


def seed(word: str) -> int:
    r"""A seed, on a command line."""
    if (number := int(word)) < 0:
        raise argparse.ArgumentTypeError('must not be negative')
    return number


def read(path: Path, *needed: str) -> dict[str, Any]:
    r"""The record in a file.

    Args:
        path: The file.
        needed: Keys that it must have.

    Raises:
        DamagedError: It is no such record.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        damaged = '' if isinstance(found, dict) else 'it is no JSON object'
    except ValueError as error:  # of UTF-8 as well
        found, damaged = {}, str(error)
    if lacking := [key for key in needed if key not in found]:
        damaged = damaged or f'it lacks {", ".join(lacking)}'
    if damaged:
        raise DamagedError(
            f'{path} is damaged: {damaged}. Move it away and measure it again.'
        )
    record: dict[str, Any] = found
    return record


def records(results: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    r"""Every run below a folder, in the order of its path.

    Raises:
        DamagedError: A file lies where another run belongs, whose figures it
            would replace.
    """
    for path in sorted(results.glob('*/*/**/*-seed*.json')):
        if path.name.endswith('.choices.json'):
            continue
        found = read(path, *RUN, 'table')
        words = (found[key] for key in ('table', 'dataset', 'row', 'seed'))
        place = path_of(results, *words, found['protocol']['split'])
        if path != place:
            raise DamagedError(
                f'{path} tells the run of {place}. Move it there, or say in '
                'it which table, dataset, row, seed and split it is of.'
            )
        yield path, found


def exists(path: Path, expected: Mapping[str, Any]) -> bool:
    r"""Whether a file holds the run that is asked for.

    A run that was converted from an earlier form tells its settings in
    other words, so they are not compared. An option that came later is None
    where it is off.

    Raises:
        OtherRunError: It holds a run with other settings; they are named.
    """
    if not path.exists():
        return False
    found = read(path)
    pair = (
        {key: found.get(key) for key in SAME},
        {k: expected[k] for k in SAME},
    )
    compared = COMPARABLE if 'converted_from' in found else None
    if other := differences(*pair, compared):
        lines = [
            f'  {key}: {there} there, {here} here'
            for key, (there, here) in other.items()
        ]
        raise OtherRunError(
            f'{path} holds a run with other settings. Move it away, or name '
            'another folder with --results.\n' + '\n'.join(lines)
        )
    return True


def check_alike(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    r"""Refuse to put seeds of a row together that are not of one: with other
    settings, features, texts or changes of the graph. Converted runs tell
    these in other words, and are not compared.

    Raises:
        OtherRunError: They are not; what differs is named.
    """
    told = [
        (
            path,
            {
                'settings': each.get('settings'),
                'features': each.get('graph', {}).get('features'),
                'changes': each.get('graph', {}).get('changes'),
                'texts': each.get('texts_sha256'),
            },
        )
        for path, each in runs
        if 'converted_from' not in each
    ]
    # Not all files tell which texts they had.
    told.sort(key=lambda run: run[1]['texts'] is None)
    for path, here in told[1:]:
        first, there = told[0]
        far = differences(there, here)
        if here['texts'] is None:
            far.pop('texts', None)
        if far:
            raise OtherRunError(
                f'{first} and {path} are not of one row: {", ".join(far)} '
                'differ. Move one of them away, or name another folder with '
                '--results.'
            )


def differences(
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    compared: Sequence[str] | None = None,
) -> dict[str, tuple[Any, Any]]:
    r"""What two descriptions tell differently, and how each tells it; '-' for
    what one of them does not tell. None is the same as telling nothing.

    Args:
        one: Settings within settings, as JSON has them or can.
        other: Likewise.
        compared: The keys that count, with dots. (default: all)
    """
    # JSON has no tuples.
    flats = [flat(json.loads(json.dumps(each))) for each in (one, other)]
    keys = sorted({*flats[0], *flats[1]}) if compared is None else compared
    return {
        key: (flats[0].get(key, '-'), flats[1].get(key, '-'))
        for key in keys
        if flats[0].get(key) != flats[1].get(key)
    }


def flat(nested: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    r"""Settings within settings, with dots in their names."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            out |= flat(value, f'{prefix}{key}.')
        else:
            out[f'{prefix}{key}'] = value
    return out


def describe(value: Any) -> Any:
    r"""Settings in words: dataclasses, functions and their arguments."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: getattr(value, f.name) for f in fields(value)}
        return {'kind': type(value).__name__} | {
            key: describe(each) for key, each in inner.items()
        }
    if isinstance(value, partial):
        given = inspect.signature(value.func).bind_partial(*value.args)
        named = {**given.arguments, **value.keywords}
        return {'kind': value.func.__name__} | {
            key: describe(each) for key, each in named.items()
        }
    if isinstance(value, Mapping):
        return {str(key): describe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [describe(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    words = repr(value)
    if ' at 0x' in words:
        raise TypeError(f'{words} says nothing about itself; give it a repr')
    return words


def metrics(ranking: RankingResult) -> dict[str, Any]:
    r"""Metrics overall, by side, and by relation category."""
    sides, categories = ranking.by_side(), ranking.by_category()
    return {
        **ranking.metrics(),
        'sides': {name: part.metrics() for name, part in sides.items()},
        'categories': {
            name: part.metrics() for name, part in categories.items()
        },
    }


def provenance(device: str = 'cpu') -> dict[str, Any]:
    r"""The command as it ran, the commit, the machine, the versions."""
    return {
        'command': command(),
        'commit': COMMIT,
        'machine': machine(device),
        'versions': versions(),
    }


def command() -> str:
    r"""The command line of this process, as it was typed."""
    name, *rest = sys.orig_argv
    return shlex.join([Path(name).name, *rest])


def commit() -> str:
    r"""The commit of this checkout, with ``+changes`` if its code has been
    changed since.
    """

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ['git', *words], capture_output=True, text=True, cwd=ROOT
            )
        except FileNotFoundError:
            return ''
        return done.stdout.strip()

    code = ('dsom_pyg', 'experiments', 'benchmarks', 'examples')
    changed = git('status', '--porcelain', '--', *code)
    name = git('rev-parse', '--short', 'HEAD') or 'unknown'
    return f'{name}+changes' if changed else name


# The code that this process runs is that of its beginning.
COMMIT = commit()


def machine(device: str = 'cpu') -> dict[str, Any]:
    r"""The processors, and the precision of matrix products on them."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                cpu = line.partition(':')[2].strip()
    gpu = {}
    if torch.device(device).type == 'cuda':
        gpu = {'gpu': torch.cuda.get_device_name(device)}
    return {
        'cpu': cpu,
        **gpu,
        'threads': torch.get_num_threads(),
        'precision': default_precision(torch.device(device)),
    }


def versions() -> dict[str, str]:
    r"""Of Python and of the libraries that numbers depend on."""
    found = {'python': platform.python_version(), 'torch': torch.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def benchmark(
    name: str,
    settings: Mapping[str, Any],
    measured: Mapping[str, Any],
    device: str = 'cpu',
) -> Path:
    r"""Write what a script in ``benchmarks`` measured, and print it.

    Args:
        name: Of the script.
        settings: What it was measured with.
        measured: Its figures.
        device: Where it ran.
    """
    path = RESULTS / 'benchmarks' / f'{name}.json'
    where = {'benchmark': name, **provenance(device)}
    write(path, {**where, 'settings': settings, 'measured': measured})
    print(f'{json.dumps(measured, indent=1)}\n{path}')
    return path
